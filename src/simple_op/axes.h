// SPDX-License-Identifier: Apache-2.0
// The parameters that reductions share, and which axes they mean.
#pragma once

#include <optional>
#include <vector>

#include "operator/op.h"

namespace mxnet {

struct ReduceParams {
  std::optional<Shape> axis;
  bool keepdims = false;
  bool exclude = false;
  static void declare(ParamSchemaOf<ReduceParams>& s);
};

struct NormParams {
  int ord = 2;
  std::optional<Shape> axis;
  std::optional<DType> out_dtype;
  bool keepdims = false;
  static void declare(ParamSchemaOf<NormParams>& s) {
    s.field("ord", &NormParams::ord, "1: sum of absolute values; 2: root of the sum of squares.").range(1, 2);
    s.field("axis", &NormParams::axis, "Axes to reduce; all if None.");
    s.field("out_dtype", &NormParams::out_dtype, "The dtype of the output; that of data if None.");
    s.field("keepdims", &NormParams::keepdims, "Leaves reduced axes in the result as axes of size one.");
  }
};

// True for the axes to reduce. None and () mean all; raises on an axis that is out of range or given twice.
std::vector<bool> reduced_axes(const std::optional<Shape>& axis, bool exclude, int rank, const char* op);
// With all axes reduced and dropped the result has shape (1,).
Shape reduced_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims);
// The result's shape with an axis of 1 in the place of each reduced one.
Shape kept_shape(const Shape& shape, const std::vector<bool>& reduced);

// A kernel that sums input 0 over the axes along which `to` would broadcast to its shape.
Prepared prepare_sum_to(const PrepareArgs& args, const Shape& to);

}  // namespace mxnet
