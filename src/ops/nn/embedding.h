// SPDX-License-Identifier: Apache-2.0
// What the dense and the row_sparse gradient of Embedding share.
#pragma once

#include <algorithm>

#include "operator/op.h"

namespace mxnet::nn {

struct EmbeddingParams {
  int64_t input_dim = 0;
  int64_t output_dim = 0;
  DType dtype = DType::f32;
  bool sparse_grad = false;

  static void declare(ParamSchemaOf<EmbeddingParams>& s) {
    s.field("input_dim", &EmbeddingParams::input_dim, "Number of rows of weight.").required().range(1, 1e15);
    s.field("output_dim", &EmbeddingParams::output_dim, "Length of a row of weight.").required().range(1, 1e15);
    s.field("dtype", &EmbeddingParams::dtype, "dtype of weight where nothing else says it.");
    s.field("sparse_grad", &EmbeddingParams::sparse_grad, "Whether the gradient may be row_sparse.");
  }
};

// The row that an index picks: indices outside are clipped.
template <typename Index>
int64_t row_of(Index index, int64_t rows) {
  return std::clamp<int64_t>(convert<int64_t>(index), 0, rows - 1);
}

// dy of a gradient, seen as rows of output_dim elements. Axes of dy may have size one where it is spread along them.
class HeadRows {
 public:
  HeadRows(const Shape& dy, const Shape& data, int64_t width);
  // The row of dy that belongs to each position of data.
  void number(int64_t* rows) const;
  int64_t count() const { return count_; }
  // Elements of scratch memory that `expand` needs: none unless dy is spread along its last axis.
  size_t expanded_size() const { return narrow_ ? static_cast<size_t>(count_ * width_) : 0; }
  const void* expand(const void* dy, DType dtype, void* scratch) const;
  static bool fits(const Shape& dy, const Shape& data, int64_t width);

 private:
  Shape data_;
  int64_t step_[Shape::kMaxRank];  // of each axis of data, in rows of dy
  int64_t count_ = 1, width_;
  bool narrow_;
};

}  // namespace mxnet::nn
