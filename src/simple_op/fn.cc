// SPDX-License-Identifier: Apache-2.0
#include "simple_op/fn.h"

namespace mxnet {
namespace {

constexpr FnInfo unary(Fn fn, const char* name, float ns) { return {fn, name, ns, name, name}; }
constexpr FnInfo binary(Fn fn, const char* name, float ns, const char* op, const char* broadcast_op,
                        const char* scalar_op, const char* rscalar_op) {
  return {fn, name, ns, op, broadcast_op, scalar_op, rscalar_op};
}

constexpr FnInfo kInfo[] = {
    unary(Fn::copy, "_copy", 0.023f),
    unary(Fn::negative, "negative", 0.023f),
    unary(Fn::abs, "abs", 0.02f),
    unary(Fn::sign, "sign", 0.039f),
    unary(Fn::rint, "rint", 0.02f),
    unary(Fn::ceil, "ceil", 0.02f),
    unary(Fn::floor, "floor", 0.02f),
    unary(Fn::trunc, "trunc", 0.02f),
    unary(Fn::round, "round", 0.039f),
    unary(Fn::square, "square", 0.02f),
    unary(Fn::sqrt, "sqrt", 0.079f),
    unary(Fn::rsqrt, "rsqrt", 0.13f),
    unary(Fn::cbrt, "cbrt", 0.72f),
    unary(Fn::rcbrt, "rcbrt", 0.83f),
    unary(Fn::reciprocal, "reciprocal", 0.042f),
    unary(Fn::exp, "exp", 0.14f),
    unary(Fn::log, "log", 0.28f),
    unary(Fn::log10, "log10", 0.73f),
    unary(Fn::log2, "log2", 0.73f),
    unary(Fn::log1p, "log1p", 0.66f),
    unary(Fn::expm1, "expm1", 0.57f),
    unary(Fn::sin, "sin", 0.67f),
    unary(Fn::cos, "cos", 0.64f),
    unary(Fn::tan, "tan", 0.79f),
    unary(Fn::arcsin, "arcsin", 1.2f),
    unary(Fn::arccos, "arccos", 1.2f),
    unary(Fn::arctan, "arctan", 0.68f),
    unary(Fn::sinh, "sinh", 0.73f),
    unary(Fn::cosh, "cosh", 0.68f),
    unary(Fn::tanh, "tanh", 0.28f),
    unary(Fn::arcsinh, "arcsinh", 1.4f),
    unary(Fn::arccosh, "arccosh", 1.1f),
    unary(Fn::arctanh, "arctanh", 0.94f),
    unary(Fn::degrees, "degrees", 0.02f),
    unary(Fn::radians, "radians", 0.02f),
    unary(Fn::gamma, "gamma", 27.0f),
    unary(Fn::gammaln, "gammaln", 11.0f),
    unary(Fn::digamma, "_digamma", 17.0f),
    unary(Fn::trigamma, "_trigamma", 17.0f),
    unary(Fn::erf, "erf", 0.53f),
    unary(Fn::erfinv, "erfinv", 120.0f),
    unary(Fn::sigmoid, "sigmoid", 0.2f),
    unary(Fn::softsign, "softsign", 0.043f),
    unary(Fn::relu, "relu", 0.042f),
    unary(Fn::softrelu, "_softrelu", 1.7f),
    unary(Fn::mish, "mish", 0.27f),
    unary(Fn::gelu, "_gelu", 0.21f),
    unary(Fn::normal_cdf, "_normal_cdf", 0.2f),
    unary(Fn::logical_not, "logical_not", 0.029f),
    unary(Fn::isnan, "_contrib_isnan", 0.026f),
    unary(Fn::isinf, "_contrib_isinf", 0.027f),
    unary(Fn::isfinite, "_contrib_isfinite", 0.02f),
    binary(Fn::add, "add", 0.048f, "elemwise_add", "broadcast_add", "_plus_scalar", "_plus_scalar"),
    binary(Fn::sub, "sub", 0.055f, "elemwise_sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"),
    binary(Fn::mul, "mul", 0.055f, "elemwise_mul", "broadcast_mul", "_mul_scalar", "_mul_scalar"),
    binary(Fn::div, "div", 0.056f, "elemwise_div", "broadcast_div", "_div_scalar", "_rdiv_scalar"),
    binary(Fn::mod, "mod", 0.64f, "_mod", "broadcast_mod", "_mod_scalar", "_rmod_scalar"),
    binary(Fn::power, "power", 1.5f, "_power", "broadcast_power", "_power_scalar", "_rpower_scalar"),
    binary(Fn::maximum, "maximum", 0.062f, "_maximum", "broadcast_maximum", "_maximum_scalar", "_maximum_scalar"),
    binary(Fn::minimum, "minimum", 0.062f, "_minimum", "broadcast_minimum", "_minimum_scalar", "_minimum_scalar"),
    binary(Fn::hypot, "hypot", 0.31f, "_hypot", "broadcast_hypot", "_hypot_scalar", "_hypot_scalar"),
    binary(Fn::arctan2, "arctan2", 10.0f, "_arctan2", "_broadcast_arctan2", nullptr, nullptr),
    binary(Fn::equal, "equal", 0.053f, "_equal", "broadcast_equal", "_equal_scalar", "_equal_scalar"),
    binary(Fn::not_equal, "not_equal", 0.051f, "_not_equal", "broadcast_not_equal", "_not_equal_scalar",
           "_not_equal_scalar"),
    binary(Fn::greater, "greater", 0.053f, "_greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar"),
    binary(Fn::greater_equal, "greater_equal", 0.052f, "_greater_equal", "broadcast_greater_equal",
           "_greater_equal_scalar", "_lesser_equal_scalar"),
    binary(Fn::lesser, "lesser", 0.053f, "_lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar"),
    binary(Fn::lesser_equal, "lesser_equal", 0.053f, "_lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar",
           "_greater_equal_scalar"),
    binary(Fn::logical_and, "logical_and", 0.053f, "_logical_and", "broadcast_logical_and", "_logical_and_scalar",
           "_logical_and_scalar"),
    binary(Fn::logical_or, "logical_or", 0.058f, "_logical_or", "broadcast_logical_or", "_logical_or_scalar",
           "_logical_or_scalar"),
    binary(Fn::logical_xor, "logical_xor", 0.069f, "_logical_xor", "broadcast_logical_xor", "_logical_xor_scalar",
           "_logical_xor_scalar"),
    binary(Fn::leaky, "leaky", 0.053f, "_leaky", "_broadcast_leaky", nullptr, nullptr),
    binary(Fn::unless_nan, "unless_nan", 0.052f, "_unless_nan", "_broadcast_unless_nan", nullptr, nullptr),
    {Fn::select, "select", 0.06f, "_select", "_select", nullptr, nullptr},
    {Fn::clip, "clip", 0.06f, "_clip", "_clip", nullptr, nullptr},
};

constexpr bool in_order() {
  for (int i = 0; i < kFnCount; ++i) {
    if (kInfo[i].fn != static_cast<Fn>(i)) return false;
  }
  return true;
}
static_assert(sizeof kInfo / sizeof kInfo[0] == kFnCount && in_order(), "one line per function, in the order of Fn");

}  // namespace

const FnInfo& info(Fn fn) { return kInfo[static_cast<int>(fn)]; }

}  // namespace mxnet
