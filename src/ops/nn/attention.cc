// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/attention.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/parallel.h"
#include "resource/scratch.h"

namespace mxnet::nn {

void AttentionParams::declare(ParamSchemaOf<AttentionParams>& s) {
  s.field("sizes", &AttentionParams::sizes, "Batch, rows of q, rows of k, columns of q and k, columns of v.")
      .required();
  s.field("q", &AttentionParams::q, "Where the queries lie.").required();
  s.field("k", &AttentionParams::k, "Where the keys lie.").required();
  s.field("v", &AttentionParams::v, "Where the values lie.").required();
  s.field("out", &AttentionParams::out, "Where the results lie.").required();
  s.field("out_shape", &AttentionParams::out_shape, "Shape of the output.").required();
  s.field("scale", &AttentionParams::scale, "Multiplies the scores.");
  s.field("packed", &AttentionParams::packed, "Whether one input holds queries, keys and values.");
}

namespace {

// The matrices of one operand.
struct Matrices {
  std::vector<int64_t> at;  // offset of each
  int64_t row = 0;

  explicit Matrices(const Shape& place) : row(place[1]) {
    at.push_back(place[0]);
    for (int i = 2; i < place.rank(); i += 2) {
      std::vector<int64_t> next;
      for (const int64_t base : at) {
        for (int64_t j = 0; j < place[i]; ++j) next.push_back(base + j * place[i + 1]);
      }
      at = std::move(next);
    }
  }
  template <typename T>
  T* of(T* array, int64_t batch) const {
    return array + at[static_cast<size_t>(batch)];
  }
};

struct Layout {
  // `floats`: scores that are worked on at once.
  Layout(const AttentionParams& p, int64_t floats)
      : batch(p.sizes[0]),
        rows(p.sizes[1]),
        keys(p.sizes[2]),
        depth(p.sizes[3]),
        width(p.sizes[4]),
        q(p.q),
        k(p.k),
        v(p.v),
        out(p.out),
        scale(static_cast<float>(p.scale)) {
    const TileKernels& t = tile_kernels();
    ld = (keys + t.cols - 1) / t.cols * t.cols;
    block = std::clamp<int64_t>(floats / ld / t.rows, 1, 32) * t.rows;
  }

  int64_t batch, rows, keys, depth, width;
  Matrices q, k, v, out;
  float scale;
  int64_t ld;     // from one row of scores to the next
  int64_t block;  // rows of scores
};

int64_t cost(const Layout& l, int products) {
  const double ops = 2.0 * l.batch * l.rows * l.keys * (l.depth + l.width) * products / 2;
  return static_cast<int64_t>(200 + ops / 50 + 1.0 * l.batch * l.rows * l.keys);
}

// ---- forward --------------------------------------------------------------------------------------------------------
// in: q, k, v (or all in one); out: the result, log of the sums of exponentials.
class ForwardKernel final : public Kernel {
 public:
  explicit ForwardKernel(const AttentionParams& p) : l_(p, 4096), packed_(p.packed) {
    cost_ns = cost(l_, 2);
    // Enough pieces for a team: a piece packs k and v for itself.
    const int64_t wanted = std::max<int64_t>(1, kPieces / std::max<int64_t>(1, l_.batch));
    const int64_t each = std::max<int64_t>((l_.rows + wanted - 1) / wanted, 4 * l_.block);
    piece_ = (each + l_.block - 1) / l_.block * l_.block;
    pieces_ = (l_.rows + piece_ - 1) / piece_;
  }

  void run(const KernelCall& c) const override {
    const auto* q = static_cast<const float*>(c.in[0]);
    const auto* k = static_cast<const float*>(c.in[packed_ ? 0 : 1]);
    const auto* v = static_cast<const float*>(c.in[packed_ ? 0 : 2]);
    auto* out = static_cast<float*>(c.out[0]);
    auto* log_sums = static_cast<float*>(c.out[1]);
    cpu::parallel_for(
        l_.batch * pieces_, 1,
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t b = i / pieces_, first = i % pieces_ * piece_;
            work(l_.q.of(q, b), l_.k.of(k, b), l_.v.of(v, b), l_.out.of(out, b),
                 log_sums ? log_sums + b * l_.rows : nullptr, first, std::min(l_.rows, first + piece_));
          }
        },
        true);
  }

 private:
  static constexpr int64_t kPieces = 32;

  void work(const float* q, const float* k, const float* v, float* out, float* log_sums, int64_t first,
            int64_t last) const {
    const TileKernels& t = tile_kernels();
    const AttentionKernels& own = attention_kernels();
    Scratch scratch;
    auto* keys = scratch.get<float>(static_cast<size_t>(packed_size(t, l_.keys, l_.depth)));
    auto* values = scratch.get<float>(static_cast<size_t>(packed_size(t, l_.width, l_.keys)));
    auto* scores = scratch.get<float>(static_cast<size_t>(l_.block * l_.ld));
    auto* sums = scratch.get<float>(static_cast<size_t>(2 * l_.block));
    t.pack(k, l_.k.row, 1, l_.keys, l_.depth, keys);
    t.pack(v, 1, l_.v.row, l_.width, l_.keys, values);
    for (int64_t r = first; r < last; r += l_.block) {
      const int64_t rows = std::min(l_.block, last - r);
      float* to = out + r * l_.out.row;
      float* inverse = sums + l_.block;
      t.multiply({.rows = rows,
                  .cols = l_.keys,
                  .depth = l_.depth,
                  .a = q + r * l_.q.row,
                  .a_row = l_.q.row,
                  .b = keys,
                  .c = scores,
                  .c_row = l_.ld,
                  .alpha = l_.scale});
      own.exponentials(scores, rows, l_.keys, l_.ld, log_sums ? log_sums + r : sums, inverse);
      t.multiply({.rows = rows,
                  .cols = l_.width,
                  .depth = l_.keys,
                  .a = scores,
                  .a_row = l_.ld,
                  .b = values,
                  .c = to,
                  .c_row = l_.out.row});
      own.scale_rows(to, rows, l_.width, l_.out.row, inverse);
    }
  }

  Layout l_;
  bool packed_;
  int64_t piece_, pieces_;
};

// ---- backward -------------------------------------------------------------------------------------------------------
// in: dout, q, k, v (or all in one), out, log of the sums; out: dq, dk, dv (or all in one). Scores are computed again,
// a block of rows at a time, and what the blocks give to dk and dv is added in their order.
class BackwardKernel final : public Kernel {
 public:
  explicit BackwardKernel(const AttentionParams& p) : l_(p, 16384), packed_(p.packed) { cost_ns = cost(l_, 5); }

  void run(const KernelCall& c) const override {
    const auto in = [&](int i) { return static_cast<const float*>(c.in[i]); };
    const int last = packed_ ? 1 : 3;
    const auto out = [&](int i) { return static_cast<float*>(c.out[packed_ ? 0 : i]); };
    cpu::parallel_for(
        l_.batch, 1,
        [&](int64_t begin, int64_t end) {
          for (int64_t b = begin; b < end; ++b) {
            const auto grad = [&](const Matrices& m, int i) { return out(i) ? m.of(out(i), b) : nullptr; };
            work({l_.out.of(in(0), b), l_.q.of(in(1), b), l_.k.of(in(packed_ ? 1 : 2), b), l_.v.of(in(last), b),
                  l_.out.of(in(last + 1), b), in(last + 2) + b * l_.rows, grad(l_.q, 0), grad(l_.k, 1), grad(l_.v, 2)});
          }
        },
        true);
  }

 private:
  struct Pair {
    const float *dout, *q, *k, *v, *out, *log_sums;
    float *dq, *dk, *dv;
  };
  struct Memory {
    float *keys, *values, *keys_across, *scores, *grads, *dout, *q, *dots;
  };

  void work(const Pair& p) const {
    const TileKernels& t = tile_kernels();
    Scratch scratch;
    const auto floats = [&](int64_t n) { return scratch.get<float>(static_cast<size_t>(n)); };
    Memory m;
    m.keys = floats(packed_size(t, l_.keys, l_.depth));
    m.values = floats(packed_size(t, l_.keys, l_.width));
    m.keys_across = floats(packed_size(t, l_.depth, l_.keys));
    m.scores = floats(l_.block * l_.ld);
    m.grads = floats(l_.block * l_.ld);
    m.dout = floats(packed_size(t, l_.width, l_.block));
    m.q = floats(packed_size(t, l_.depth, l_.block));
    m.dots = floats(l_.block);
    t.pack(p.k, l_.k.row, 1, l_.keys, l_.depth, m.keys);
    t.pack(p.v, l_.v.row, 1, l_.keys, l_.width, m.values);
    if (p.dq) t.pack(p.k, 1, l_.k.row, l_.depth, l_.keys, m.keys_across);
    for (int64_t r = 0; r < l_.rows; r += l_.block) rows(p, m, r, std::min(l_.block, l_.rows - r));
  }

  void rows(const Pair& p, const Memory& m, int64_t first, int64_t count) const {
    const TileKernels& t = tile_kernels();
    const AttentionKernels& own = attention_kernels();
    const float* q = p.q + first * l_.q.row;
    const float* dout = p.dout + first * l_.out.row;
    const float* out = p.out + first * l_.out.row;
    for (int64_t r = 0; r < count; ++r) {
      m.dots[r] = own.dot(dout + r * l_.out.row, out + r * l_.out.row, l_.width);
    }
    TileProduct product{.rows = count,
                        .cols = l_.keys,
                        .depth = l_.depth,
                        .a = q,
                        .a_row = l_.q.row,
                        .b = m.keys,
                        .c = m.scores,
                        .c_row = l_.ld,
                        .alpha = l_.scale};
    t.multiply(product);
    product.depth = l_.width;
    product.a = dout;
    product.a_row = l_.out.row;
    product.b = m.values;
    product.c = m.grads;
    product.alpha = 1;
    t.multiply(product);
    own.gradient(m.scores, m.grads, count, l_.keys, l_.ld, p.log_sums + first, m.dots, l_.scale);
    if (p.dq) {
      t.multiply({.rows = count,
                  .cols = l_.depth,
                  .depth = l_.keys,
                  .a = m.grads,
                  .a_row = l_.ld,
                  .b = m.keys_across,
                  .c = p.dq + first * l_.q.row,
                  .c_row = l_.q.row});
    }
    if (p.dv) across(dout, l_.out.row, l_.width, m.scores, m.dout, p.dv, l_.v.row, first, count);
    if (p.dk) across(q, l_.q.row, l_.depth, m.grads, m.q, p.dk, l_.k.row, first, count);
  }

  // to (+)= left' * from, over `count` rows.
  void across(const float* from, int64_t from_row, int64_t cols, const float* left, float* pack_to, float* to,
              int64_t to_row, int64_t first, int64_t count) const {
    const TileKernels& t = tile_kernels();
    t.pack(from, 1, from_row, cols, count, pack_to);
    t.multiply({.rows = l_.keys,
                .cols = cols,
                .depth = count,
                .a = left,
                .a_row = 1,
                .a_depth = l_.ld,
                .b = pack_to,
                .c = to,
                .c_row = to_row,
                .add = first > 0});
  }

  Layout l_;
  bool packed_;
};

// ---- registration ---------------------------------------------------------------------------------------------------
int num_inputs(const Params& p) { return p.as<AttentionParams>().packed ? 1 : 3; }

template <typename K>
Prepared prepare(const PrepareArgs& a) {
  return std::unique_ptr<Kernel>(std::make_unique<K>(a.as<AttentionParams>()));
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<AttentionParams>();
  c.merge_out(0, p.out_shape);
  c.merge_out(1, {p.sizes[0], p.sizes[1]});
}

void infer_backward_shape(InferContext& c) {
  for (int i = 0; i < num_inputs(c.params); ++i) c.merge_out(i, c.in[static_cast<size_t>(1 + i)].shape);
}

void gradient(GradientBuilder& g) {
  if (g.num_inputs() == 1) {
    g.give_all({0}, "_backward_attention", {g.head(0), g.input(0), g.output(0), g.output(1)}, g.params_ref());
  } else {
    g.give_all({0, 1, 2}, "_backward_attention",
               {g.head(0), g.input(0), g.input(1), g.input(2), g.output(0), g.output(1)}, g.params_ref());
  }
}

const RegisterOp attention{{
    .name = "_attention",
    .doc = "softmax(scale * q k') v over the last two axes, the batch being what `sizes` says; operands lie in their "
           "arrays as `q`, `k`, `v` and `out` say. Plans use it in place of its composition.",
    .params = schema_of<AttentionParams>(),
    .inputs = Inputs({"q", "k", "v"}, num_inputs),
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer::out_dtype<DType::f32>},
    .gradient = Gradient(gradient),
    .kernels = {{"tiles", prepare<ForwardKernel>}},
    .flags = {.hidden = true},
}};

const RegisterOp backward_attention{{
    .name = "_backward_attention",
    .doc = "Gradients of _attention with respect to its inputs.",
    .params = schema_of<AttentionParams>(),
    .inputs = Inputs({"dout", "q", "k", "v", "out", "log_sums"}, [](const Params& p) { return num_inputs(p) + 3; }),
    .outputs = Outputs(num_inputs),
    .infer = {infer_backward_shape, infer::out_dtype<DType::f32>},
    .gradient = Gradient::none(),
    .kernels = {{"tiles", prepare<BackwardKernel>}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
