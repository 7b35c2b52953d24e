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

// Inputs of an operator that updates several weights: for each `stride` arrays (weight, gradient, states...[, float32
// weight]), then `more` others.
struct WeightGroups {
  int count, stride;
  bool master;              // states are float32, and the last array of each group is the float32 weight
  const char* count_param;  // the parameter that holds `count`
  int more = 0;

  int size() const { return count * stride; }
  bool mutates(int i) const { return i < size() && i % stride >= 2; }

  void check_count(const InferContext& c) const {
    const int expected = size() + more;
    if (static_cast<int>(c.in.size()) != expected) {
      c.bad(str(count_param, " = ", count, " needs ", expected, " arrays, got ", c.in.size()));
    }
  }
  void infer_shape(InferContext& c) const {
    check_count(c);
    for (int w = 0; w < count; ++w) {
      const int first = w * stride;
      for (int i = first + 1; i < first + stride; ++i) {
        c.merge_in(first, c.in[i].shape);
        c.merge_in(i, c.in[first].shape);
      }
      c.merge_out(w, c.in[first].shape);
    }
  }
  void infer_dtype(InferContext& c) const {
    check_count(c);
    for (int w = 0; w < count; ++w) {
      const int first = w * stride;
      c.merge_in_dtype(first + 1, c.in[first].dtype);
      for (int i = first + 2; i < first + stride; ++i) c.merge_in_dtype(i, master ? DType::f32 : c.in[first].dtype);
      c.merge_out_dtype(w, c.in[first].dtype);
    }
  }
};

}  // namespace mxnet::ops
