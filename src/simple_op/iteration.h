// SPDX-License-Identifier: Apache-2.0
// How a program walks over its arrays: the shape with axes merged, one stride per operand and axis (0 where it is
// broadcast), and which of three walks fits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "operator/kernel.h"

namespace mxnet {

// Dimensions in the order in which the elements lie in memory.
Shape physical_shape(const TensorSpec& spec);

struct Iteration {
  // flat: every operand is the whole run, or one element. rows: along the last axis every operand is a run or one
  // element. expand: rows are too short; broadcast operands are written out tile by tile.
  enum class Walk : uint8_t { flat, rows, expand };

  Walk walk = Walk::flat;
  std::vector<int64_t> dims;                  // merged; at least one
  std::vector<std::vector<int64_t>> strides;  // [operand][axis], in elements
  int64_t size = 0;

  int rank() const { return static_cast<int>(dims.size()); }
  int64_t row() const { return dims.back(); }
  // The operand is one element along the run that a tile covers.
  bool is_scalar(int operand) const { return walk != Walk::expand && strides[operand].back() == 0; }
  bool is_expanded(int operand) const;
  // Element offset of an operand at row `r`.
  int64_t row_offset(int operand, int64_t r) const;
};

// `in` broadcast to `out`; all in physical order.
Iteration make_iteration(std::span<const TensorSpec> in, const TensorSpec& out);

// Writes elements [begin, begin + n) of the broadcast operand, in the order of the output, to `to`.
void expand(void* to, const void* from, int element_bytes, const Iteration& it, int operand, int64_t begin, int64_t n);

}  // namespace mxnet
