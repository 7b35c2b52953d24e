// SPDX-License-Identifier: Apache-2.0
// Second derivatives of the normalization layers, from public operators.
#pragma once

#include <functional>

#include "operator/gradient.h"
#include "operator/op.h"

namespace mxnet::nn {

// With z = (x - mean) * rstd, L(v) = rstd * (v - <v> - z <v z>), and <.> the mean over what is normalized together, the
// backward operator (dy, x, gamma, ...) -> (dx, dgamma, dbeta) of a normalization is
//   dx = L(gamma dy),  dgamma = sum(dy z),  dbeta = sum(dy).
// With constant statistics L(v) = rstd * v.
struct NormalizationRule {
  ParamMap together;       // axes that are normalized together, keepdims
  ParamMap all_but_gamma;  // axes that gamma does not have
  ParamMap keep_gamma;     // the same with keepdims
  double eps = 0;
  bool unit_gamma = false;                         // gamma counts as 1 and has no gradient
  std::function<Value(const Value&)> fold = {};    // data as the axes above see it; none: as it is
  std::function<Value(const Value&)> unfold = {};  // and back
};

// Gives the gradients of inputs 0 (dy), 1 (x) and 2 (gamma). `constant`: inputs 3 and 4 are the mean and the variance.
void normalization_backward_gradient(GradientBuilder& g, const NormalizationRule& rule, bool constant = false);

}  // namespace mxnet::nn
