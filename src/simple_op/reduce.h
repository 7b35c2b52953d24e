// SPDX-License-Identifier: Apache-2.0
// Reductions: a program over the inputs, a combination of its values along axes, a formula over the results.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "simple_op/program.h"
#include "simple_op/tile_table.h"

namespace mxnet {

struct Reduction {
  Program values;  // one output, of a dtype that registers have (no half, no bool)
  Combine combine = Combine::add;
  Expr finish = Expr::input(0);  // over the combined values, computed in double unless they pass unchanged
};

// A reduction prepared for shapes. The order of combination depends on shapes alone.
class ReduceKernel {
 public:
  // `space`: the shape, in memory order, that the inputs broadcast to and that is reduced along the axes where
  // `reduced` is true. The result is the other axes in the same order.
  static std::unique_ptr<ReduceKernel> prepare(const Reduction& reduction, std::span<const TensorSpec> in,
                                               const TensorSpec& space, const std::vector<bool>& reduced,
                                               const TensorSpec& out, Req req);
  virtual ~ReduceKernel() = default;
  virtual void run(void* const* in, void* out, const Scalar* scalars) const = 0;
  int64_t cost_ns = 0;
};

}  // namespace mxnet
