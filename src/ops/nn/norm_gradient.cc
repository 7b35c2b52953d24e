// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/norm_gradient.h"

namespace mxnet::nn {
namespace {

class SecondOrder {
 public:
  SecondOrder(GradientBuilder& g, const NormalizationRule& rule, bool constant)
      : g_(g), rule_(rule), constant_(constant) {
    dy_ = fold(g.input(0));
    const Value x = fold(g.input(1));
    gamma_ = widen(rule.unit_gamma ? g.call("ones_like", {g.input(2)}) : g.input(2));
    const Value mean = constant ? widen(g.input(3)) : average(x);
    const Value centred = sub(x, mean);
    const Value variance = constant ? widen(g.input(4)) : average(g.call("square", {centred}));
    rstd_ = g.call("rsqrt", {g.call("_plus_scalar", {variance}, ParamMap{{"scalar", rule.eps}})});
    z_ = mul(centred, rstd_);
  }

  // Heads: a of dx, b of dgamma, c of dbeta.
  void give() {
    const bool a = g_.has_head(0), b = g_.has_head(1) && !rule_.unit_gamma, c = g_.has_head(2);
    if (a) head_ = fold(g_.head(0));
    if (g_.needs(0)) {
      Value sum;
      if (a) plus(sum, mul(project(head_), gamma_));
      if (b) plus(sum, mul(z_, widen(g_.head(1))));
      if (c) plus(sum, mul(g_.call("ones_like", {dy_}), widen(g_.head(2))));
      if (!sum.is_null()) g_.give(0, unfold(sum));
    }
    if (a && g_.needs(2) && !rule_.unit_gamma)
      g_.give(2, g_.call("sum", {mul(dy_, project(head_))}, rule_.all_but_gamma));
    if (!g_.needs(1)) return;
    Value of_x;
    if (b) plus(of_x, project(mul(dy_, widen(g_.head(1)))));
    if (a && !constant_) through_statistics(of_x);
    if (!of_x.is_null()) g_.give(1, unfold(of_x));
  }

 private:
  Value fold(const Value& v) { return rule_.fold ? rule_.fold(v) : v; }
  Value unfold(const Value& v) { return rule_.unfold ? rule_.unfold(v) : v; }
  Value mul(const Value& a, const Value& b) { return g_.call("broadcast_mul", {a, b}); }
  Value sub(const Value& a, const Value& b) { return g_.call("broadcast_sub", {a, b}); }
  Value average(const Value& v) { return g_.call("mean", {v}, rule_.together); }
  // A vector like gamma with the axes of the data.
  Value widen(const Value& vector) {
    return g_.call("reshape_like", {vector, g_.call("mean", {dy_}, rule_.keep_gamma)});
  }
  void plus(Value& sum, const Value& term) { sum = sum.is_null() ? term : g_.call("elemwise_add", {sum, term}); }
  Value project(const Value& v) {
    if (constant_) return mul(v, rstd_);
    return mul(sub(sub(v, average(v)), mul(z_, average(mul(v, z_)))), rstd_);
  }

  // <a, L(v)> with v = gamma dy depends on x through z and through rstd.
  void through_statistics(Value& of_x) {
    const Value v = mul(dy_, gamma_);
    const Value az = average(mul(head_, z_)), vz = average(mul(v, z_));
    const Value of_z = mul(g_.call("elemwise_add", {mul(head_, vz), mul(v, az)}), rstd_);
    plus(of_x, g_.call("negative", {project(of_z)}));
    const Value spread = sub(sub(average(mul(head_, v)), mul(average(head_), average(v))), mul(az, vz));
    plus(of_x, g_.call("negative", {mul(z_, mul(spread, g_.call("square", {rstd_})))}));
  }

  GradientBuilder& g_;
  const NormalizationRule& rule_;
  bool constant_;
  Value dy_, z_, rstd_, gamma_, head_;
};

}  // namespace

void normalization_backward_gradient(GradientBuilder& g, const NormalizationRule& rule, bool constant) {
  SecondOrder(g, rule, constant).give();
}

}  // namespace mxnet::nn
