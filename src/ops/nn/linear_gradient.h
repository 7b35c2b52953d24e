// SPDX-License-Identifier: Apache-2.0
// FullyConnected, Convolution and Deconvolution are y = L(x, w) + b with L linear in x and in w. Their backward
// operator (dy, x, w) -> (dx, dw, db) is again made of L and of itself, so one rule serves all orders.
#pragma once

#include "operator/op.h"

namespace mxnet::nn {

// Forward operator: `backward` is its hidden operator.
template <typename P>
void linear_gradient(GradientBuilder& g, const char* backward) {
  if (g.params<P>().no_bias) {
    g.give_all({0, 1}, backward, {g.head(0), g.input(0), g.input(1)}, g.params_ref());
  } else {
    g.give_all({0, 1, 2}, backward, {g.head(0), g.input(0), g.input(1)}, g.params_ref());
  }
}

// Hidden operator (dy, x, w) -> (dx, dw[, db]).
template <typename P>
void linear_backward_gradient(GradientBuilder& g, const char* forward, const char* backward) {
  P plain = g.params<P>();
  plain.no_bias = true;
  const Ref<Params> no_bias = make_params(plain);
  const Value dy = g.input(0), x = g.input(1), w = g.input(2);
  const bool from_x = g.has_head(0), from_w = g.has_head(1);
  const bool from_b = !g.params<P>().no_bias && g.has_head(2);
  if (g.needs(0)) {
    Value of_dy;
    const auto add = [&](const Value& term) { of_dy = of_dy.is_null() ? term : g.call("elemwise_add", {of_dy, term}); };
    if (from_x) add(g.call(forward, {g.head(0), w}, no_bias));
    if (from_b) {  // the weight's head may be zeros: the bias needs somebody to carry it
      add(g.call(forward, {x, g.head(1), g.head(2)}, g.params_ref()));
    } else if (from_w) {
      add(g.call(forward, {x, g.head(1)}, no_bias));
    }
    if (!of_dy.is_null()) g.give(0, of_dy);
  }
  const OpDef& op = get_op(backward);
  const auto result = [&](int output, const Value& second, const Value& third) {
    const Value in[] = {dy, second, third};
    return g.apply(op, no_bias, in)[static_cast<size_t>(output)];
  };
  if (from_w && g.needs(1)) g.give(1, result(0, x, g.head(1)));
  if (from_x && g.needs(2)) g.give(2, result(1, g.head(0), w));
}

}  // namespace mxnet::nn
