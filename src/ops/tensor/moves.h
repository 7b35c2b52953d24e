// SPDX-License-Identifier: Apache-2.0
// Operators that only move elements (transpose, slice, concat, split, tile, flip, pad, their gradients) are lists of
// strided copies, made at prepare. This is their one kernel.
#pragma once

#include <memory>
#include <vector>

#include "backend/cpu/strided_copy.h"
#include "operator/kernel.h"

namespace mxnet::ops {

// A window on an array: the shape it shows, strides in elements, and the element it starts at.
struct Window {
  Shape shape;
  Shape strides;
  int64_t offset = 0;

  static Window all(const Shape& shape) { return {shape, strides_of(shape), 0}; }
  // [begin, begin + count * step) of one axis.
  Window narrow(int axis, int64_t begin, int64_t count, int64_t step = 1) const;
  Window permute(const std::vector<int>& axes) const;
  Window insert_axis(int axis, int64_t extent, int64_t stride) const;
  Window flip(int axis) const { return shape[axis] ? narrow(axis, shape[axis] - 1, shape[axis], -1) : *this; }
};

class MoveKernel final : public Kernel {
 public:
  // in < 0 stands for nothing: the move is a fill of the whole output.
  void copy(int out, const Window& to, int in, const Window& from, DType dtype);
  void fill(int out, const Shape& shape, DType dtype, double value);
  // Fills and copies run in the order in which they were added; skipped where the output is not asked for.
  void run(const KernelCall& call) const override;
  std::unique_ptr<Kernel> finish() { return std::make_unique<MoveKernel>(std::move(*this)); }

 private:
  struct Step {
    int out = 0;
    int in = -1;
    int64_t out_offset = 0;  // bytes
    int64_t in_offset = 0;
    cpu::StridedCopy copy;
    int64_t fill_items = 0;
    uint64_t fill_bits = 0;
    int item = 1;
  };
  void count(int64_t ns) { cost_ns = (cost_ns == kUnknownCost ? 0 : cost_ns) + ns; }

  std::vector<Step> steps_;
};

// The bits of `value` as an element of `dtype`, in the first bytes.
uint64_t element_bits(DType dtype, double value);

// The plain copy of input 0 to output 0, in place when they are the same memory.
Prepared prepare_copy(const PrepareArgs& args);

}  // namespace mxnet::ops
