// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backend/cpu/parallel.h"
#include "ops/nn/embedding.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

void infer_shape(InferContext& c) {
  const auto& p = c.as<EmbeddingParams>();
  c.merge_in(1, {p.input_dim, p.output_dim});
  if (!c.in[0].shape.rank_known()) return;
  Shape out = c.in[0].shape;
  out.push_back(p.output_dim);
  c.merge_out(0, out);
}

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype == DType::boolean) c.bad("data must hold numbers, got dtype bool");
  if (c.in[1].dtype == DType::unknown) {
    c.merge_in_dtype(1, c.out[0].dtype == DType::unknown ? c.as<EmbeddingParams>().dtype : c.out[0].dtype);
  }
  c.merge_out_dtype(0, c.in[1].dtype);
}

constexpr int64_t kAhead = 12;  // positions

void fetch(const char* row, size_t bytes) {
  for (size_t at = 0; at < std::min<size_t>(bytes, 1024); at += 64) __builtin_prefetch(row + at);
}

Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<EmbeddingParams>();
  const int64_t n = a.in[0].shape.size(), rows = p.input_dim;
  const size_t bytes = static_cast<size_t>(p.output_dim) * size_of(a.in[1].dtype);
  return dispatch(a.in[0].dtype, [&]<typename Index>(TypeTag<Index>) -> Prepared {
    auto run = [n, rows, bytes](const KernelCall& c) {
      const auto* index = static_cast<const Index*>(c.in[0]);
      const auto* weight = static_cast<const char*>(c.in[1]);
      auto* out = static_cast<char*>(c.out[0]);
      const int64_t grain = static_cast<int64_t>(std::max<size_t>(1, 32768 / bytes));
      cpu::parallel_for(n, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          // Rows lie anywhere: the hardware cannot foresee them.
          if (i + kAhead < end) fetch(weight + static_cast<size_t>(row_of(index[i + kAhead], rows)) * bytes, bytes);
          std::memcpy(out + static_cast<size_t>(i) * bytes,
                      weight + static_cast<size_t>(row_of(index[i], rows)) * bytes, bytes);
        }
      });
    };
    return make_kernel(std::move(run), 50 + n * static_cast<int64_t>(10 + bytes / 16));
  });
}

// in: dy, data. Positions are grouped by row (counting sort), then each row is summed in the order of the positions:
// no two threads touch a row, and the result does not depend on their number.
template <typename T, typename Index>
class BackwardKernel final : public Kernel {
 public:
  explicit BackwardKernel(const PrepareArgs& a)
      : heads_(a.in[0].shape, a.in[1].shape, a.as<EmbeddingParams>().output_dim) {
    const auto& p = a.as<EmbeddingParams>();
    n_ = a.in[1].shape.size();
    rows_ = p.input_dim;
    width_ = p.output_dim;
    add_ = a.req[0] == Req::add;
    accepts_add = true;
    cost_ns = 100 + 2 * rows_ + n_ * (10 + width_ / 4) + rows_ * width_ / 8;
    scratch = sizeof(int64_t) * static_cast<size_t>(rows_ + 1 + 2 * n_) + sizeof(T) * heads_.expanded_size();
  }

  void run(const KernelCall& c) const override {
    const T* dy = static_cast<const T*>(c.in[0]);
    const auto* index = static_cast<const Index*>(c.in[1]);
    T* to = static_cast<T*>(c.out[0]);
    auto* first = static_cast<int64_t*>(c.scratch);
    int64_t* order = first + rows_ + 1;
    int64_t* from = order + n_;
    heads_.number(from);
    dy = static_cast<const T*>(heads_.expand(dy, dtype_of<T>(), from + n_));
    group(index, from, first, order);
    const int64_t grain = std::max<int64_t>(1, 32768 / (width_ * std::max<int64_t>(1, n_ / rows_ + 1)));
    cpu::parallel_for(rows_, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        sum_row(dy, order + first[r], order + first[r + 1], to + r * width_);
      }
    });
  }

 private:
  // order[first[r] ... first[r + 1]) are the rows of dy that belong to row r.
  void group(const Index* index, const int64_t* from, int64_t* first, int64_t* order) const {
    std::fill_n(first, rows_ + 1, int64_t{0});
    for (int64_t i = 0; i < n_; ++i) ++first[row_of(index[i], rows_)];
    int64_t sum = 0;
    for (int64_t r = 0; r <= rows_; ++r) {
      const int64_t count = first[r];
      first[r] = sum;
      sum += count;
    }
    for (int64_t i = 0; i < n_; ++i) order[first[row_of(index[i], rows_)]++] = from[i];
    for (int64_t r = rows_; r > 0; --r) first[r] = first[r - 1];
    first[0] = 0;
  }

  void sum_row(const T* dy, const int64_t* begin, const int64_t* end, T* to) const {
    if (begin == end) {
      if (!add_) std::memset(static_cast<void*>(to), 0, sizeof(T) * static_cast<size_t>(width_));
      return;
    }
    if constexpr (std::is_integral_v<T>) {
      for (int64_t j = 0; j < width_; ++j) {
        int64_t sum = add_ ? static_cast<int64_t>(to[j]) : 0;
        for (const int64_t* at = begin; at != end; ++at) sum += static_cast<int64_t>(dy[*at * width_ + j]);
        to[j] = static_cast<T>(sum);
      }
    } else {
      row_sum_kernels().rows(dtype_of<T>(), dy, begin, end - begin, width_, width_, to, add_);
    }
  }

  int64_t n_, rows_, width_;
  HeadRows heads_;
  bool add_;
};

Prepared prepare_backward(const PrepareArgs& a) {
  return dispatch(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    if constexpr (std::is_same_v<T, bool>) {
      return "gradients of dtype bool";
    } else {
      return dispatch(a.in[1].dtype, [&]<typename Index>(TypeTag<Index>) -> Prepared {
        return std::unique_ptr<Kernel>(new BackwardKernel<T, Index>(a));
      });
    }
  });
}

void infer_backward_shape(InferContext& c) {
  const auto& p = c.as<EmbeddingParams>();
  const Shape &dy = c.in[0].shape, &data = c.in[1].shape;
  if (dy.known() && data.known() && !HeadRows::fits(dy, data, p.output_dim)) {
    c.bad(str("dy of shape ", dy, " does not fit data of shape ", data, " and output_dim ", p.output_dim));
  }
  c.merge_out(0, {p.input_dim, p.output_dim});
}
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

const RegisterOp embedding{{
    .name = "Embedding",
    .doc =
        "Picks rows of weight by index; indices outside are clipped to the first or last row.\n\n"
        "Shapes: data (...) of any numeric dtype, weight (input_dim, output_dim), output (..., output_dim) of weight's "
        "dtype.",
    .aliases = {"_contrib_SparseEmbedding"},
    .params = schema_of<EmbeddingParams>(),
    .inputs = {"data", "weight"},
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(1, "_backward_Embedding", {g.head_unspread(0), g.input(0)}, g.params_ref());
                })
                    .without_outputs()
                    .with_spread_heads(),
    .kernels = {{"rows", prepare_forward}},
}};

const RegisterOp backward_embedding{{
    .name = "_backward_Embedding",
    .doc = "Gradient of Embedding with respect to weight.",
    .params = schema_of<EmbeddingParams>(),
    .inputs = {"dy", "data"},
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  if (g.needs(0)) g.give_reduced(0, g.call("Embedding", {g.input(1), g.head(0)}, g.params_ref()));
                }).without_outputs(),
    .kernels = {{"segments", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace

bool HeadRows::fits(const Shape& dy, const Shape& data, int64_t width) {
  // A reduction over the only axis leaves one of size one.
  if (data.rank() == 0) return dy.size() == width || dy.size() == 1;
  bool fits = dy.rank() == data.rank() + 1 && (dy[data.rank()] == width || dy[data.rank()] == 1);
  for (int i = 0; fits && i < data.rank(); ++i) fits = dy[i] == data[i] || dy[i] == 1;
  return fits;
}

HeadRows::HeadRows(const Shape& dy, const Shape& data, int64_t width)
    : data_(data), width_(width), narrow_(dy[dy.rank() - 1] != width) {
  for (int i = data.rank() - 1; i >= 0; --i) {
    step_[i] = dy[i] == 1 ? 0 : count_;
    count_ *= dy[i];
  }
}

const void* HeadRows::expand(const void* dy, DType dtype, void* scratch) const {
  if (!narrow_) return dy;
  const size_t size = size_of(dtype), width = static_cast<size_t>(width_), count = static_cast<size_t>(count_);
  for (size_t r = 0; r < count; ++r) {
    for (size_t j = 0; j < width; ++j) {
      std::memcpy(static_cast<char*>(scratch) + (r * width + j) * size, static_cast<const char*>(dy) + r * size, size);
    }
  }
  return scratch;
}

void HeadRows::number(int64_t* rows) const {
  int64_t at[Shape::kMaxRank] = {}, row = 0;
  const int64_t n = data_.size();
  for (int64_t p = 0; p < n; ++p) {
    rows[p] = row;
    for (int i = data_.rank() - 1; i >= 0; --i) {
      row += step_[i];
      if (++at[i] < data_[i]) break;
      row -= step_[i] * data_[i];
      at[i] = 0;
    }
  }
}

}  // namespace mxnet::nn
