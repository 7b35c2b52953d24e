// SPDX-License-Identifier: Apache-2.0
// Parameters and inference that the optimizer operators share.
#pragma once

#include "operator/op.h"
#include "ops/optimizer/update.h"

namespace mxnet::ops {

// Every number is read at run time, so that a schedule needs no new kernels.
template <class P>
typename ParamSchemaOf<P>::Field number(ParamSchemaOf<P>& s, const char* name, double P::* member, const char* doc) {
  return s.field(name, member, doc).runtime().type("float");
}

inline constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

template <class P>
void declare_betas(ParamSchemaOf<P>& s) {
  number<P>(s, "beta1", &P::beta1, "Decay rate of the mean of gradients.");
  number<P>(s, "beta2", &P::beta2, "Decay rate of the mean of squared gradients.");
  number<P>(s, "epsilon", &P::epsilon, "Added to the divisor.");
}

template <class P>
void declare_gradient_numbers(ParamSchemaOf<P>& s) {
  number<P>(s, "rescale_grad", &P::rescale_grad, "Factor of the gradient.");
  number<P>(s, "clip_gradient", &P::clip_gradient, "Bound of the scaled gradient; negative: none.");
}

template <class P>
UpdateScalars common_scalars(const P& p) {
  return {.lr = p.lr, .wd = p.wd, .rescale = p.rescale_grad, .clip = p.clip_gradient};
}

inline void need_float(InferContext& c) {
  const DType t = c.in[0].dtype;
  if (t != DType::unknown && !is_float(t)) c.bad(str("weights must be floating point, got ", name_of(t)));
}

// Weight, gradient and states alike.
inline void infer_update_dtype(InferContext& c) {
  infer::same_dtype(c);
  need_float(c);
}

// Weight and gradient alike, states and master weight in float32.
inline void infer_master_dtype(InferContext& c) {
  c.merge_in_dtype(1, c.in[0].dtype);
  c.merge_in_dtype(0, c.in[1].dtype);
  for (size_t i = 2; i < c.in.size(); ++i) c.merge_in_dtype(static_cast<int>(i), DType::f32);
  c.merge_out_dtype(0, c.in[0].dtype);
  need_float(c);
}

inline constexpr OpFlags kUpdateFlags{.inplace = true};

}  // namespace mxnet::ops
