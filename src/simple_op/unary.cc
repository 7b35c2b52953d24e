// SPDX-License-Identifier: Apache-2.0
// Functions of one array.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

struct UnaryDef {
  Fn fn;
  const char* name;
  const char* doc;
  bool zero_gradient = false;
  Precision precision = Precision::any;
};

constexpr bool kHidden = true;

void add_unary(const UnaryDef& def, bool hidden = false) {
  register_elementwise({.name = def.name,
                        .doc = str(def.doc, "\n\nShapes: data (any), output the same. Dtype: that of data."),
                        .inputs = {"data"},
                        .info = {.formula = [fn = def.fn](int, int) { return apply(fn, Expr::input(0)); }},
                        .zero_gradient = def.zero_gradient,
                        .hidden = hidden,
                        .precision = def.precision});
}

void add_formula(const char* name, const char* doc, Expr expr, bool zero_gradient,
                 std::vector<std::string> aliases = {}) {
  register_elementwise({.name = name,
                        .doc = str(doc, "\n\nShapes: data (any), output the same. Dtype: that of data."),
                        .aliases = std::move(aliases),
                        .inputs = {"data"},
                        .info = {.formula = [expr](int, int) { return expr; }},
                        .zero_gradient = zero_gradient});
}

const bool registered = [] {
  constexpr bool zero = true;
  constexpr Precision full = Precision::full;  // a small error of the argument is a large one of the value
  const UnaryDef functions[] = {
      {Fn::negative, "negative", "The negative of each element."},
      {Fn::abs, "abs", "The absolute value of each element."},
      {Fn::sign, "sign", "-1, 0 or 1 by the sign of each element.", zero},
      {Fn::rint, "rint", "The nearest whole number; halves go to the one below (round takes them away from zero).",
       zero},
      {Fn::ceil, "ceil", "The smallest whole number that is not below each element.", zero},
      {Fn::floor, "floor", "The largest whole number that is not above each element.", zero},
      {Fn::trunc, "trunc", "Each element without its fraction.", zero},
      {Fn::trunc, "fix", "The nearest whole number towards zero.", zero},
      {Fn::round, "round", "The nearest whole number; halves go away from zero.", zero},
      {Fn::square, "square", "The square of each element."},
      {Fn::sqrt, "sqrt", "The square root of each element; NaN below zero."},
      {Fn::rsqrt, "rsqrt", "One divided by the square root of each element.", false, full},
      {Fn::cbrt, "cbrt", "The cube root of each element."},
      {Fn::rcbrt, "rcbrt", "One divided by the cube root of each element.", false, full},
      {Fn::reciprocal, "reciprocal", "One divided by each element.", false, full},
      {Fn::exp, "exp", "The exponential function.", false, full},
      {Fn::log, "log", "The natural logarithm; -inf at zero, NaN below.", false, full},
      {Fn::log10, "log10", "The logarithm to base 10.", false, full},
      {Fn::log2, "log2", "The logarithm to base 2.", false, full},
      {Fn::log1p, "log1p", "log(1 + x), exact for small x.", false, full},
      {Fn::expm1, "expm1", "exp(x) - 1, exact for small x.", false, full},
      {Fn::sin, "sin", "The sine; the argument is in radians."},
      {Fn::cos, "cos", "The cosine; the argument is in radians."},
      {Fn::tan, "tan", "The tangent; the argument is in radians.", false, full},
      {Fn::arcsin, "arcsin", "The inverse sine in radians; NaN outside [-1, 1].", false, full},
      {Fn::arccos, "arccos", "The inverse cosine in radians; NaN outside [-1, 1].", false, full},
      {Fn::arctan, "arctan", "The inverse tangent in radians."},
      {Fn::degrees, "degrees", "Radians as degrees."},
      {Fn::radians, "radians", "Degrees as radians."},
      {Fn::sinh, "sinh", "The hyperbolic sine.", false, full},
      {Fn::cosh, "cosh", "The hyperbolic cosine.", false, full},
      {Fn::tanh, "tanh", "The hyperbolic tangent."},
      {Fn::arcsinh, "arcsinh", "The inverse hyperbolic sine."},
      {Fn::arccosh, "arccosh", "The inverse hyperbolic cosine; NaN below 1."},
      {Fn::arctanh, "arctanh", "The inverse hyperbolic tangent; NaN outside [-1, 1].", false, full},
      {Fn::gamma, "gamma", "The gamma function.", false, full},
      {Fn::gammaln, "gammaln", "The logarithm of the absolute value of the gamma function.", false, full},
      {Fn::erf, "erf", "The error function."},
      {Fn::erfinv, "erfinv", "The inverse of the error function; NaN outside [-1, 1].", false, full},
      {Fn::sigmoid, "sigmoid", "1 / (1 + exp(-x))."},
      {Fn::softsign, "softsign", "x / (1 + |x|)."},
      {Fn::relu, "relu", "The larger of each element and zero; NaN stays."},
      {Fn::mish, "mish", "x tanh(log(1 + exp(x)))."},
      {Fn::logical_not, "logical_not", "1 where the element is zero, else 0.", zero},
      {Fn::isnan, "_contrib_isnan", "1 where the element is NaN, else 0.", zero},
      {Fn::isinf, "_contrib_isinf", "1 where the element is infinite, else 0.", zero},
      {Fn::isfinite, "_contrib_isfinite", "1 where the element is neither infinite nor NaN, else 0.", zero},
  };
  for (const UnaryDef& def : functions) add_unary(def);
  const UnaryDef helpers[] = {
      {Fn::digamma, "_digamma", "The derivative of gammaln."},
      {Fn::trigamma, "_trigamma", "The derivative of the digamma function.", zero},
      {Fn::softrelu, "_softrelu", "log(1 + exp(x))."},
      {Fn::gelu, "_gelu", "x times the normal distribution function of x."},
      {Fn::normal_cdf, "_normal_cdf", "The distribution function of the normal distribution."},
  };
  for (const UnaryDef& def : helpers) add_unary(def, kHidden);

  const Expr x = Expr::input(0);
  add_formula("log_sigmoid", "log(1 / (1 + exp(-x))).", -apply(Fn::softrelu, -x), false);
  add_formula("_copy", "A copy.", x, false, {"identity"});
  add_formula("BlockGrad", "The same values; no gradient flows back through it.", x, true, {"stop_gradient"});
  add_formula("zeros_like", "An array of zeros.", 0.0, true);
  add_formula("ones_like", "An array of ones.", 1.0, true);
  return true;
}();

}  // namespace
}  // namespace mxnet
