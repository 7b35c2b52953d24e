// SPDX-License-Identifier: Apache-2.0
// Kernels of the operators that are one (batched) matrix product: dot, batch_dot, linalg_gemm2, FullyConnected.
#pragma once

#include <memory>

#include "backend/cpu/gemm.h"
#include "operator/op.h"

namespace mxnet::nn {

struct ProductDims {
  int64_t batch = 1, m = 0, n = 0, k = 0;
  bool trans_a = false, trans_b = false;
  double alpha = 1;
};

// in: a, b; out: c.
std::unique_ptr<Kernel> product_kernel(const PrepareArgs& args, const ProductDims& dims);
// in: dc, a, b; out: da, db. Writes or adds.
std::unique_ptr<Kernel> product_backward_kernel(const PrepareArgs& args, const ProductDims& dims);

// One product a * op(b) of a layer; in: a, b, then the others at the places given. A spec that says `pack_b` leaves b
// to be packed once for many runs.
std::unique_ptr<Kernel> dense_kernel(const cpu::GemmSpec& spec, int team, int bias_input, int residual_input = 0);

// Makes b as a gemm whose `packed_b_bytes` is not 0 reads it; in: b; out: the packed one.
std::shared_ptr<const Kernel> pack_kernel(std::shared_ptr<const cpu::Gemm> gemm);

// Gradient of the hidden operator (dc, a, b) -> (da, db), which is linear in each input.
inline void product_backward_gradient(GradientBuilder& g, const char* forward, const char* backward) {
  const Value dc = g.input(0), a = g.input(1), b = g.input(2);
  const bool from_a = g.has_head(0), from_b = g.has_head(1);
  if (g.needs(0)) {
    Value sum;
    if (from_a) sum = g.call(forward, {g.head(0), b}, g.params_ref());
    if (from_b) {
      const Value term = g.call(forward, {a, g.head(1)}, g.params_ref());
      sum = sum.is_null() ? term : g.call("elemwise_add", {sum, term});
    }
    if (!sum.is_null()) g.give(0, sum);
  }
  const OpDef& op = get_op(backward);
  const auto result = [&](size_t output, const Value& second, const Value& third) {
    const Value in[] = {dc, second, third};
    return g.apply(op, g.params_ref(), in)[output];
  };
  if (from_b && g.needs(1)) g.give(1, result(0, a, g.head(1)));
  if (from_a && g.needs(2)) g.give(2, result(1, g.head(0), b));
}

}  // namespace mxnet::nn
