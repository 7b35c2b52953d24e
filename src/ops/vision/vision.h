// SPDX-License-Identifier: Apache-2.0
// What the operators on images and boxes share.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "operator/through_float.h"

namespace mxnet::vision {

// All inputs and outputs have one floating point dtype.
inline void infer_float(InferContext& c) {
  infer::same_dtype(c);
  for (size_t i = 0; i < c.in.size(); ++i) {
    const DType t = c.in[i].dtype;
    if (t != DType::unknown && !is_float(t)) {
      c.bad(str(c.name_in(static_cast<int>(i)), " must have a floating point dtype, got ", name_of(t)));
    }
  }
}

// The rank of an input, once it is known.
inline void check_rank(const InferContext& c, int input, int rank, const char* dims) {
  const Shape& s = c.in[static_cast<size_t>(input)].shape;
  if (s.rank_known() && s.rank() != rank) {
    c.bad(str(c.name_in(input), " must have shape ", dims, ", got ", s));
  }
}

// Kernels are written for float and double; half types go through float (prepare_through_float).
template <typename F>
Prepared for_wide_floats(DType dtype, F&& f) {
  if (dtype == DType::f32) return f(TypeTag<float>{});
  if (dtype == DType::f64) return f(TypeTag<double>{});
  return "half types go through float";
}

// The kernel list of such an operator.
template <PrepareFn kPrepare>
std::vector<KernelDef> wide_kernels() {
  return {{"portable", kPrepare}, {"through float", prepare_through_float<kPrepare>}};
}

// Items per piece of a parallel loop when one item costs about `ns`.
inline int64_t grain_of(int64_t ns) { return std::max<int64_t>(1, 20'000 / std::max<int64_t>(1, ns)); }

}  // namespace mxnet::vision
