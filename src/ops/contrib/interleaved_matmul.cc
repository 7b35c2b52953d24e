// SPDX-License-Identifier: Apache-2.0
// Products of multi-head attention on projections that lie interleaved: in the last axis of an array (length, batch,
// heads * parts * width) each head has its parts (queries, keys, values) one after the other.
#include <cmath>

#include "operator/through_float.h"
#include "ops/linalg/matrices.h"
#include "ops/nn/matrix_product.h"

namespace mxnet::contrib {
namespace {

using linalg::multiply;

struct HeadsParams {
  int heads = 1;
  static void declare(ParamSchemaOf<HeadsParams>& s) {
    s.field("heads", &HeadsParams::heads, "Number of heads.").required().range(1, 1 << 20);
  }
};

int64_t heads_of(const Params& params) { return params.as<HeadsParams>().heads; }

// One part of an interleaved array as a matrix (length x width) for each item and head.
struct Part {
  int64_t length, row, step, width, offset;

  static Part of(const Shape& s, int64_t heads, int parts, int part) {
    const int64_t width = s[2] / (heads * parts);
    return {s[0], s[1] * s[2], parts * width, width, part * width};
  }
  template <typename T>
  T* at(T* array, int64_t item_and_head) const {
    return array + item_and_head * step + offset;
  }
};

// ---- inference ----------------------------------------------------------------------------------------------------

bool known_projection(InferContext& c, int i, int parts) {
  const Shape& s = c.in[i].shape;
  if (!s.rank_known()) return false;
  if (s.rank() != 3) c.bad(str(c.name_in(i), " must have 3 dimensions (length, batch, projections), got shape ", s));
  const int64_t unit = heads_of(c.params) * parts;
  if (s[2] >= 0 && s[2] % unit != 0) {
    c.bad(str("the last axis of ", c.name_in(i), " must be a multiple of ", unit, ", heads times ", parts,
              "; got shape ", s));
  }
  return s.known();
}

void infer_self_qk(InferContext& c) {
  if (!known_projection(c, 0, 3)) return;
  const Shape& s = c.in[0].shape;
  c.merge_out(0, Shape{s[1] * heads_of(c.params), s[0], s[0]});
}

void infer_cross_qk(InferContext& c) {
  if (!known_projection(c, 0, 1) || !known_projection(c, 1, 2)) return;
  const Shape &q = c.in[0].shape, &kv = c.in[1].shape;
  if (q[1] != kv[1] || 2 * q[2] != kv[2]) {
    c.bad(str("queries of shape ", q, " and keys_values of shape ", kv,
              " must have the same batch, and the latter twice as many projections"));
  }
  c.merge_out(0, Shape{q[1] * heads_of(c.params), q[0], kv[0]});
}

template <int Parts>
void infer_values(InferContext& c) {
  if (!known_projection(c, 0, Parts)) return;
  const Shape &s = c.in[0].shape, &attention = c.in[1].shape;
  if (!attention.known()) return;
  const int64_t items = s[1] * heads_of(c.params);
  if (attention.rank() != 3 || attention[0] != items || attention[2] != s[0] || (Parts == 3 && attention[1] != s[0])) {
    c.bad(str("attention must have shape (", items, ", queries, ", s[0], "), got ", attention));
  }
  c.merge_out(0, Shape{attention[1], s[1], s[2] / Parts});
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str(c.name_in(0), " must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

// Gradients have the shapes of the inputs behind the head.
void infer_backward(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[i + 1].shape);
}

// ---- kernels ------------------------------------------------------------------------------------------------------

// Calls one(TypeTag, item and head) over the team.
template <typename One>
Prepared each_head(const PrepareArgs& args, int64_t items, int64_t work, One one) {
  if (is_half(args.in[0].dtype)) return "half types go through float";
  return linalg::dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) { linalg::each_matrix(items, work, [&](int64_t i) { one(TypeTag<T>{}, i, c); }); },
        linalg::cost_of(items, work));
  });
}

template <typename T>
void clear(void* out, int64_t size) {
  cpu::parallel_for(size, 65536, [&](int64_t begin, int64_t end) {
    std::fill(static_cast<T*>(out) + begin, static_cast<T*>(out) + end, T(0));
  });
}

// out = factor * q k', for every item and head.
struct Scores {
  Part q, k;
  double factor;

  Scores(const Part& q, const Part& k)
      : q(q), k(k), factor(1 / std::sqrt(static_cast<double>(std::max<int64_t>(1, q.width)))) {}
  int64_t work() const { return q.length * k.length * q.width; }

  template <typename T>
  void forward(const T* queries, const T* keys, T* out, int64_t i) const {
    multiply(BlockProduct<T>{.m = q.length,
                             .n = k.length,
                             .k = q.width,
                             .a = q.at(queries, i),
                             .a_row = q.row,
                             .b = k.at(keys, i),
                             .b_row = 1,
                             .b_col = k.row,
                             .c = out + i * q.length * k.length,
                             .c_row = k.length,
                             .alpha = static_cast<T>(factor),
                             .add = false});
  }
  template <typename T>
  void to_queries(const T* dy, const T* keys, T* dq, int64_t i) const {
    multiply(BlockProduct<T>{.m = q.length,
                             .n = q.width,
                             .k = k.length,
                             .a = dy + i * q.length * k.length,
                             .a_row = k.length,
                             .b = k.at(keys, i),
                             .b_row = k.row,
                             .c = q.at(dq, i),
                             .c_row = q.row,
                             .alpha = static_cast<T>(factor),
                             .add = false});
  }
  template <typename T>
  void to_keys(const T* dy, const T* queries, T* dk, int64_t i) const {
    multiply(BlockProduct<T>{.m = k.length,
                             .n = k.width,
                             .k = q.length,
                             .a = dy + i * q.length * k.length,
                             .a_row = 1,
                             .a_col = k.length,
                             .b = q.at(queries, i),
                             .b_row = q.row,
                             .c = k.at(dk, i),
                             .c_row = k.row,
                             .alpha = static_cast<T>(factor),
                             .add = false});
  }
};

// out = attention * v, for every item and head; out is a part as well.
struct Weighted {
  Part v, out;

  int64_t work() const { return out.length * v.length * v.width; }

  template <typename T>
  void forward(const T* values, const T* attention, T* y, int64_t i) const {
    multiply(BlockProduct<T>{.m = out.length,
                             .n = v.width,
                             .k = v.length,
                             .a = attention + i * out.length * v.length,
                             .a_row = v.length,
                             .b = v.at(values, i),
                             .b_row = v.row,
                             .c = out.at(y, i),
                             .c_row = out.row,
                             .add = false});
  }
  template <typename T>
  void to_values(const T* dy, const T* attention, T* dv, int64_t i) const {
    multiply(BlockProduct<T>{.m = v.length,
                             .n = v.width,
                             .k = out.length,
                             .a = attention + i * out.length * v.length,
                             .a_row = 1,
                             .a_col = v.length,
                             .b = out.at(dy, i),
                             .b_row = out.row,
                             .c = v.at(dv, i),
                             .c_row = v.row,
                             .add = false});
  }
  template <typename T>
  void to_attention(const T* dy, const T* values, T* da, int64_t i) const {
    multiply(BlockProduct<T>{.m = out.length,
                             .n = v.length,
                             .k = v.width,
                             .a = out.at(dy, i),
                             .a_row = out.row,
                             .b = v.at(values, i),
                             .b_row = 1,
                             .b_col = v.row,
                             .c = da + i * out.length * v.length,
                             .c_row = v.length,
                             .add = false});
  }
};

template <typename T>
const T* in(const KernelCall& c, int i) {
  return static_cast<const T*>(c.in[i]);
}
template <typename T>
T* out(const KernelCall& c, int i) {
  return static_cast<T*>(c.out[i]);
}

// Queries and keys of one array, or of two.
Scores scores_of(const Shape& first, const Shape* second, int64_t heads) {
  if (!second) return {Part::of(first, heads, 3, 0), Part::of(first, heads, 3, 1)};
  return {Part::of(first, heads, 1, 0), Part::of(*second, heads, 2, 0)};
}

template <bool Self>
Prepared prepare_qk(const PrepareArgs& args) {
  const Scores s = scores_of(args.in[0].shape, Self ? nullptr : &args.in[1].shape, heads_of(args.params));
  return each_head(args, args.out[0].shape[0], s.work(), [s]<typename T>(TypeTag<T>, int64_t i, const KernelCall& c) {
    s.forward(in<T>(c, 0), in<T>(c, Self ? 0 : 1), out<T>(c, 0), i);
  });
}

// A kernel that first clears outputs of which it writes only some parts.
class ClearedKernel final : public Kernel {
 public:
  ClearedKernel(std::unique_ptr<Kernel> inner, int64_t first, int64_t second, DType dtype)
      : inner_(std::move(inner)), sizes_{first, second}, dtype_(dtype) {
    cost_ns = inner_->cost_ns;
  }
  void run(const KernelCall& c) const override {
    for (int i = 0; i < 2; ++i) {
      if (sizes_[i] == 0 || !c.out[i]) continue;
      linalg::dispatch_matrix(dtype_, [&]<typename T>(TypeTag<T>) { clear<T>(c.out[i], sizes_[i]); });
    }
    inner_->run(c);
  }

 private:
  std::unique_ptr<Kernel> inner_;
  int64_t sizes_[2];
  DType dtype_;
};

Prepared cleared(const PrepareArgs& args, Prepared made, int64_t first, int64_t second) {
  if (!made.kernel) return made;
  return std::unique_ptr<Kernel>(new ClearedKernel(std::move(made.kernel), first, second, args.in[0].dtype));
}

// in: dy, queries_keys_values or queries, keys_values.
template <bool Self>
Prepared prepare_qk_backward(const PrepareArgs& args) {
  const Scores s = scores_of(args.in[1].shape, Self ? nullptr : &args.in[2].shape, heads_of(args.params));
  Prepared made =
      each_head(args, args.in[0].shape[0], 2 * s.work(), [s]<typename T>(TypeTag<T>, int64_t i, const KernelCall& c) {
        constexpr int kKeys = Self ? 0 : 1;
        if (c.out[0]) s.to_queries(in<T>(c, 0), in<T>(c, kKeys + 1), out<T>(c, 0), i);
        if (c.out[kKeys]) s.to_keys(in<T>(c, 0), in<T>(c, 1), out<T>(c, kKeys), i);
      });
  return Self ? cleared(args, std::move(made), args.out[0].shape.size(), 0)
              : cleared(args, std::move(made), 0, args.out[1].shape.size());
}

template <int Parts>
Weighted weighted_of(const Shape& projections, const Shape& result, int64_t heads) {
  return {Part::of(projections, heads, Parts, Parts - 1), Part::of(result, heads, 1, 0)};
}

template <int Parts>
Prepared prepare_values(const PrepareArgs& args) {
  const Weighted w = weighted_of<Parts>(args.in[0].shape, args.out[0].shape, heads_of(args.params));
  return each_head(args, args.in[1].shape[0], w.work(), [w]<typename T>(TypeTag<T>, int64_t i, const KernelCall& c) {
    w.forward(in<T>(c, 0), in<T>(c, 1), out<T>(c, 0), i);
  });
}

// in: dy, projections, attention.
template <int Parts>
Prepared prepare_values_backward(const PrepareArgs& args) {
  const Weighted w = weighted_of<Parts>(args.in[1].shape, args.in[0].shape, heads_of(args.params));
  Prepared made =
      each_head(args, args.in[2].shape[0], 2 * w.work(), [w]<typename T>(TypeTag<T>, int64_t i, const KernelCall& c) {
        if (c.out[0]) w.to_values(in<T>(c, 0), in<T>(c, 2), out<T>(c, 0), i);
        if (c.out[1]) w.to_attention(in<T>(c, 0), in<T>(c, 1), out<T>(c, 1), i);
      });
  return cleared(args, std::move(made), args.out[0].shape.size(), 0);
}

// ---- gradients ----------------------------------------------------------------------------------------------------

constexpr const char* kSelfQk = "_contrib_interleaved_matmul_selfatt_qk";
constexpr const char* kSelfQkBack = "_backward_interleaved_matmul_selfatt_qk";

// The scores s(x) are quadratic in x, so along h they change by s(x + h) - s(x) - s(h).
void self_qk_backward_gradient(GradientBuilder& g) {
  const Value dy = g.input(0), x = g.input(1), h = g.head(0);
  const auto scores = [&](const Value& v) { return g.call(kSelfQk, {v}, g.params_ref()); };
  if (g.needs(0)) {
    const Value both = scores(g.call("elemwise_add", {x, h}));
    g.give(0, "elemwise_sub", {g.call("elemwise_sub", {both, scores(x)}), scores(h)});
  }
  if (g.needs(1)) g.give(1, kSelfQkBack, {dy, h}, g.params_ref());
}

struct Product {
  const char* name;
  const char* backward;
  const char* doc;
  Inputs inputs, backward_inputs;
  InferFn shape;
  PrepareFn kernel, half, backward_kernel, backward_half;
  Gradient::Fn gradient, backward_gradient;
};

template <const char* const* Names>
void bilinear_gradient(GradientBuilder& g) {
  g.give_all({0, 1}, Names[1], {g.head(0), g.input(0), g.input(1)}, g.params_ref());
}
template <const char* const* Names>
void bilinear_backward_gradient(GradientBuilder& g) {
  nn::product_backward_gradient(g, Names[0], Names[1]);
}

constexpr const char* kSelfValues[] = {"_contrib_interleaved_matmul_selfatt_valatt",
                                       "_backward_interleaved_matmul_selfatt_valatt"};
constexpr const char* kCrossQk[] = {"_contrib_interleaved_matmul_encdec_qk", "_backward_interleaved_matmul_encdec_qk"};
constexpr const char* kCrossValues[] = {"_contrib_interleaved_matmul_encdec_valatt",
                                        "_backward_interleaved_matmul_encdec_valatt"};

void add(const Product& p) {
  RegisterOp({.name = p.name,
              .doc = p.doc,
              .params = schema_of<HeadsParams>(),
              .inputs = p.inputs,
              .infer = {p.shape, infer_dtype},
              .gradient = Gradient(p.gradient).without_outputs(),
              .kernels = {{"blocks", p.kernel}, {"through float", p.half}},
              .flags = {.precision = Precision::low}});
  RegisterOp({.name = p.backward,
              .doc = str("Gradients of ", p.name, "."),
              .params = schema_of<HeadsParams>(),
              .inputs = p.backward_inputs,
              .outputs = static_cast<int>(p.inputs.names.size()),
              .infer = {infer_backward, infer_dtype},
              .gradient = Gradient(p.backward_gradient).without_outputs(),
              .kernels = {{"blocks", p.backward_kernel}, {"through float", p.backward_half}},
              .flags = {.hidden = true}});
}

const bool registered = [] {
  add({.name = kSelfQk,
       .backward = kSelfQkBack,
       .doc = "Scores of self-attention: queries times keys over the root of their width.\n\nShapes: "
              "queries_keys_values (length, batch, heads * 3 * width), each head with its queries, keys and values; "
              "output (batch * heads, length, length).",
       .inputs = {"queries_keys_values"},
       .backward_inputs = {"dy", "queries_keys_values"},
       .shape = infer_self_qk,
       .kernel = prepare_qk<true>,
       .half = prepare_through_float<prepare_qk<true>>,
       .backward_kernel = prepare_qk_backward<true>,
       .backward_half = prepare_through_float<prepare_qk_backward<true>>,
       .gradient = [](GradientBuilder& g) { g.give_all({0}, kSelfQkBack, {g.head(0), g.input(0)}, g.params_ref()); },
       .backward_gradient = self_qk_backward_gradient});
  add({.name = kSelfValues[0],
       .backward = kSelfValues[1],
       .doc = "Values of self-attention, weighted.\n\nShapes: queries_keys_values (length, batch, heads * 3 * width), "
              "attention (batch * heads, length, length); output (length, batch, heads * width).",
       .inputs = {"queries_keys_values", "attention"},
       .backward_inputs = {"dy", "queries_keys_values", "attention"},
       .shape = infer_values<3>,
       .kernel = prepare_values<3>,
       .half = prepare_through_float<prepare_values<3>>,
       .backward_kernel = prepare_values_backward<3>,
       .backward_half = prepare_through_float<prepare_values_backward<3>>,
       .gradient = bilinear_gradient<kSelfValues>,
       .backward_gradient = bilinear_backward_gradient<kSelfValues>});
  add({.name = kCrossQk[0],
       .backward = kCrossQk[1],
       .doc = "Scores of attention from one sequence to another: queries times keys over the root of their width.\n\n"
              "Shapes: queries (q_length, batch, heads * width), keys_values (kv_length, batch, heads * 2 * width), "
              "each head with its keys and values; output (batch * heads, q_length, kv_length).",
       .inputs = {"queries", "keys_values"},
       .backward_inputs = {"dy", "queries", "keys_values"},
       .shape = infer_cross_qk,
       .kernel = prepare_qk<false>,
       .half = prepare_through_float<prepare_qk<false>>,
       .backward_kernel = prepare_qk_backward<false>,
       .backward_half = prepare_through_float<prepare_qk_backward<false>>,
       .gradient = bilinear_gradient<kCrossQk>,
       .backward_gradient = bilinear_backward_gradient<kCrossQk>});
  add({.name = kCrossValues[0],
       .backward = kCrossValues[1],
       .doc = "Values of attention from one sequence to another, weighted.\n\nShapes: keys_values (kv_length, batch, "
              "heads * 2 * width), attention (batch * heads, q_length, kv_length); output (q_length, batch, heads * "
              "width).",
       .inputs = {"keys_values", "attention"},
       .backward_inputs = {"dy", "keys_values", "attention"},
       .shape = infer_values<2>,
       .kernel = prepare_values<2>,
       .half = prepare_through_float<prepare_values<2>>,
       .backward_kernel = prepare_values_backward<2>,
       .backward_half = prepare_through_float<prepare_values_backward<2>>,
       .gradient = bilinear_gradient<kCrossValues>,
       .backward_gradient = bilinear_backward_gradient<kCrossValues>});
  return true;
}();

}  // namespace
}  // namespace mxnet::contrib
