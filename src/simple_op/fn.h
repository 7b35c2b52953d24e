// SPDX-License-Identifier: Apache-2.0
// The elementwise functions: what programs are made of. A function is one enumerator here, one line in fn.cc (name,
// cost, operators that apply it), one formula in tile_formulas.h and one derivative in expr.cc.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/dtype.h"

namespace mxnet {

// clang-format off
enum class Fn : uint8_t {
  // of one argument
  copy, negative, abs, sign, rint, ceil, floor, trunc, round, square, sqrt, rsqrt, cbrt, rcbrt, reciprocal,
  exp, log, log10, log2, log1p, expm1, sin, cos, tan, arcsin, arccos, arctan, sinh, cosh, tanh, arcsinh, arccosh,
  arctanh, degrees, radians, gamma, gammaln, digamma, trigamma, erf, erfinv, sigmoid, softsign, relu, softrelu, mish,
  gelu, normal_cdf, logical_not, isnan, isinf, isfinite,
  // of two
  add, sub, mul, div, mod, power, maximum, minimum, hypot, arctan2, equal, not_equal, greater, greater_equal, lesser,
  lesser_equal, logical_and, logical_or, logical_xor, leaky, unless_nan,
  // of three
  select, clip,
  count
};
// clang-format on
inline constexpr int kFnCount = static_cast<int>(Fn::count);

constexpr int arity_of(Fn f) { return f < Fn::add ? 1 : f < Fn::select ? 2 : 3; }

// Whether the formula makes sense on integers; the other functions are computed in double and truncated.
constexpr bool on_integers(Fn f) {
  switch (f) {
      // clang-format off
    case Fn::copy: case Fn::negative: case Fn::abs: case Fn::sign: case Fn::rint: case Fn::ceil: case Fn::floor:
    case Fn::trunc: case Fn::round: case Fn::square: case Fn::relu: case Fn::logical_not: case Fn::isnan:
    case Fn::isinf: case Fn::isfinite: case Fn::add: case Fn::sub: case Fn::mul: case Fn::div: case Fn::mod:
    case Fn::maximum: case Fn::minimum: case Fn::equal: case Fn::not_equal: case Fn::greater: case Fn::greater_equal:
    case Fn::lesser: case Fn::lesser_equal: case Fn::logical_and: case Fn::logical_or: case Fn::logical_xor:
    case Fn::unless_nan: case Fn::select: case Fn::clip:
      return true;
    // clang-format on
    default: return false;
  }
}

struct FnInfo {
  Fn fn;
  const char* name;
  float ns;  // per float element with data in the first cache: measured on 512-bit vectors, and a third more
  // The operators that apply the function, for gradients of gradients: to arrays of one shape, to arrays that
  // broadcast, to an array and a scalar, to a scalar and an array. Null: there is none.
  const char* op = nullptr;
  const char* broadcast_op = nullptr;
  const char* scalar_op = nullptr;
  const char* rscalar_op = nullptr;
};

const FnInfo& info(Fn fn);

}  // namespace mxnet
