// SPDX-License-Identifier: Apache-2.0
// The formula of every elementwise function over vectors V of any native type. Only for *_isa.cc.
#pragma once

#include "backend/cpu/simd_math.h"
#include "simple_op/fn.h"
#include "simple_op/special.h"

namespace mxnet::MX_ISA {

template <typename V>
MX_INLINE V truth(Mask<V> mask) {
  return mask ? V{} + Lane<V>(1) : V{};
}
template <typename V>
MX_INLINE Mask<V> is_nan(V x) {
  return (Mask<V>)(x != x);
}

// Signed integers wrap: they are added as unsigned.
template <typename V>
using Unsigned = Vec<std::make_unsigned_t<IntOfSize<sizeof(Lane<V>)>>>;
template <typename V>
MX_INLINE V plus(V a, V b) {
  if constexpr (kIsFloat<V>)
    return a + b;
  else
    return (V)((Unsigned<V>)a + (Unsigned<V>)b);
}
template <typename V>
MX_INLINE V minus(V a, V b) {
  if constexpr (kIsFloat<V>)
    return a - b;
  else
    return (V)((Unsigned<V>)a - (Unsigned<V>)b);
}
template <typename V>
MX_INLINE V times(V a, V b) {
  if constexpr (kIsFloat<V>)
    return a * b;
  else
    return (V)((Unsigned<V>)a * (Unsigned<V>)b);
}
template <typename V>
MX_INLINE V negated(V a) {
  if constexpr (kIsFloat<V>)
    return -a;
  else
    return minus(V{}, a);
}
template <typename V>
MX_INLINE V magnitude(V a) {
  if constexpr (kIsFloat<V>)
    return vabs(a);
  else if constexpr (std::is_signed_v<Lane<V>>)
    return a < 0 ? negated(a) : a;
  else
    return a;
}

// A NaN on either side wins; of two equal values the left.
template <typename V>
MX_INLINE V maximum(V a, V b) {
  if constexpr (kIsFloat<V>)
    return (a >= b) | (a != a) ? a : b;
  else
    return a >= b ? a : b;
}
template <typename V>
MX_INLINE V minimum(V a, V b) {
  if constexpr (kIsFloat<V>)
    return (a <= b) | (a != a) ? a : b;
  else
    return a <= b ? a : b;
}

template <typename V>
MX_INLINE V sign_of(V x) {
  using T = Lane<V>;
  if constexpr (std::is_signed_v<T>)
    return truth<V>(x > T(0)) - truth<V>(x < T(0));
  else
    return truth<V>(x > T(0));
}

template <typename V>
MX_INLINE V round_away(V x) {  // halves away from zero
  const V t = vtrunc(x);
  return vabs(x - t) >= Lane<V>(0.5) ? t + with_sign(V{} + Lane<V>(1), x) : t;
}

template <typename V>
MX_INLINE V round_down(V x) {  // halves to the whole number below
  const V below = vfloor(x), above = vceil(x);
  return x - below <= above - x ? below : above;
}

// Integers: a division by zero gives 0, and the smallest by -1 wraps, neither traps.
template <typename V>
MX_INLINE V int_div(V a, V b) {
  using T = Lane<V>;
  V safe = b == T(0) ? V{} + T(1) : b;
  if constexpr (std::is_signed_v<T>) {
    safe = b == T(-1) ? V{} + T(1) : safe;
    const V q = a / safe;
    return b == T(-1) ? negated(a) : (b == T(0) ? V{} : q);
  } else {
    return b == T(0) ? V{} : a / safe;
  }
}
template <typename V>
MX_INLINE V int_mod(V a, V b) {  // has the sign of b
  using T = Lane<V>;
  const V r = b == T(0) ? V{} : minus(a, times(int_div(a, b), b));
  if constexpr (std::is_signed_v<T>)
    return (r != T(0)) & ((r ^ b) < T(0)) ? r + b : r;
  else
    return r;
}

template <typename T>
MX_INLINE T mod_lane(T a, T b) {
  if (b == T(0)) return T(0);
  const T r = sizeof(T) == 4 ? T(__builtin_fmodf(a, b)) : T(__builtin_fmod(a, b));
  return r != T(0) && (r < T(0)) != (b < T(0)) ? r + b : r;
}
MX_INLINE F64 vmod(F64 a, F64 b) {
  return by_lane(a, b, [](double x, double y) { return mod_lane(x, y); });
}
MX_INLINE F32 vmod(F32 a, F32 b) {
  // In double the quotient, its floor and the product with b are exact enough below 2^29.
  const Wide x = widen(a), y = widen(b);
  const auto one = [](F64 p, F64 q) {
    F64 r = p - vfloor(p / q) * q;
    r = (r != 0.0) & ((r < 0.0) != (q < 0.0)) ? r + q : r;
    return vabs(r) >= vabs(q) ? r - q : r;
  };
  F32 r = narrow({one(x.lo, y.lo), one(x.hi, y.hi)});
  r = b == 0.0f ? F32{} : r;
  const I32 hard = (b != 0.0f) & (~(vabs(a) < vabs(b) * 536870912.0f) | ~(vabs(b) < __builtin_inff()));
  if (any(hard)) [[unlikely]] {
    for (int i = 0; i < kLanes<float>; ++i) {
      if (hard[i]) r[i] = mod_lane(a[i], b[i]);
    }
  }
  return r;
}

// `Both` chooses between a formula for floats and one for integers.
// M. Giles, "Approximating the erfinv function", GPU Computing Gems, 2011: the polynomials for single precision, here
// within 3 ulp.
MX_INLINE F64 erfinv_d(F64 x) {
  constexpr double middle[] = {1.50140941,      0.246640727,    -0.00417768164, -0.00125372503, 0.00021858087,
                               -4.39150654e-06, -3.5233877e-06, 3.43273939e-07, 2.81022636e-08};
  constexpr double tail[] = {2.83297682,     1.00167406,    0.00943887047,  -0.0076224613,  0.00573950773,
                             -0.00367342844, 0.00134934322, 0.000100950558, -0.000200214257};
  const F64 w = -log_d((1.0 - x) * (1.0 + x));
  return (w < 5.0 ? polynomial(w - 2.5, middle) : polynomial(vsqrt(w) - 3.0, tail)) * x;
}
MX_INLINE F32 verfinv(F32 x) {
  const F32 y = in_double(x, [](F64 v) { return erfinv_d(v); });
  const F32 edge = vabs(x) == 1.0f ? x * __builtin_inff() : splat(__builtin_nanf(""));
  return vabs(x) < 1.0f ? y : edge;
}

#define MX_BOTH(floats, integers) \
  [&] {                           \
    if constexpr (kIsFloat<V>)    \
      return floats;              \
    else                          \
      return integers;            \
  }()

template <Fn f>
struct Formula;

#define MX_FORMULA(fn, ...)                       \
  template <>                                     \
  struct Formula<Fn::fn> {                        \
    template <typename V>                         \
    MX_INLINE static V of(V a, V b, V c) {        \
      using T = Lane<V>;                          \
      (void)a, (void)b, (void)c, (void)sizeof(T); \
      return __VA_ARGS__;                         \
    }                                             \
  };

MX_FORMULA(copy, a)
MX_FORMULA(negative, negated(a))
MX_FORMULA(abs, magnitude(a))
MX_FORMULA(sign, sign_of(a))
MX_FORMULA(rint, MX_BOTH(round_down(a), a))
MX_FORMULA(ceil, MX_BOTH(vceil(a), a))
MX_FORMULA(floor, MX_BOTH(vfloor(a), a))
MX_FORMULA(trunc, MX_BOTH(vtrunc(a), a))
MX_FORMULA(round, MX_BOTH(round_away(a), a))
MX_FORMULA(square, times(a, a))
MX_FORMULA(sqrt, vsqrt(a))
MX_FORMULA(rsqrt, T(1) / vsqrt(a))
MX_FORMULA(cbrt, cbrt_like<false>(a))
MX_FORMULA(rcbrt, cbrt_like<true>(a))
MX_FORMULA(reciprocal, T(1) / a)
MX_FORMULA(exp, vexp(a))
MX_FORMULA(log, vlog(a))
template <>
struct Formula<Fn::log10> {
  MX_INLINE static F32 of(F32 a, F32, F32) { return log_times(a, 0.43429448190325182); }
  MX_INLINE static F64 of(F64 a, F64, F64) {
    return by_lane(a, [](double v) { return __builtin_log10(v); });
  }
};
template <>
struct Formula<Fn::log2> {
  MX_INLINE static F32 of(F32 a, F32, F32) { return log_times(a, 1.4426950408889634); }
  MX_INLINE static F64 of(F64 a, F64, F64) {
    return by_lane(a, [](double v) { return __builtin_log2(v); });
  }
};
MX_FORMULA(log1p, vlog1p(a))
MX_FORMULA(expm1, vexpm1(a))
MX_FORMULA(sin, vsin(a))
MX_FORMULA(cos, vcos(a))
MX_FORMULA(tan, vtan(a))
MX_FORMULA(arcsin, vasin(a))
MX_FORMULA(arccos, vacos(a))
MX_FORMULA(arctan, vatan(a))
MX_FORMULA(sinh, vsinh(a))
MX_FORMULA(cosh, vcosh(a))
MX_FORMULA(tanh, vtanh(a))
MX_FORMULA(arcsinh, vasinh(a))
MX_FORMULA(arccosh, vacosh(a))
MX_FORMULA(arctanh, vatanh(a))
MX_FORMULA(degrees, a* T(57.295779513082321))
MX_FORMULA(radians, a* T(0.017453292519943296))
MX_FORMULA(gamma, by_lane(a, special::gamma))
MX_FORMULA(gammaln, by_lane(a, special::gammaln))
MX_FORMULA(digamma, by_lane(a, special::digamma))
MX_FORMULA(trigamma, by_lane(a, special::trigamma))
MX_FORMULA(erf, verf(a))
template <>
struct Formula<Fn::erfinv> {
  MX_INLINE static F32 of(F32 a, F32, F32) { return verfinv(a); }
  MX_INLINE static F64 of(F64 a, F64, F64) { return by_lane(a, special::erfinv); }
};
MX_FORMULA(sigmoid, vsigmoid(a))
MX_FORMULA(softsign, a / (T(1) + vabs(a)))
MX_FORMULA(relu, a <= T(0) ? V{} : a)
MX_FORMULA(softrelu, vsoftrelu(a))
MX_FORMULA(mish, vmish(a))
MX_FORMULA(gelu, vgelu(a))
MX_FORMULA(normal_cdf, vnormal_cdf(a))
MX_FORMULA(logical_not, truth<V>(a == T(0)))
MX_FORMULA(isnan, truth<V>(is_nan(a)))
MX_FORMULA(isinf, MX_BOTH(truth<V>(vabs(a) == T(__builtin_inf())), V{}))
MX_FORMULA(isfinite, MX_BOTH(truth<V>(vabs(a) < T(__builtin_inf())), V{} + T(1)))
MX_FORMULA(add, plus(a, b))
MX_FORMULA(sub, minus(a, b))
MX_FORMULA(mul, times(a, b))
MX_FORMULA(div, MX_BOTH(a / b, int_div(a, b)))
MX_FORMULA(mod, MX_BOTH(vmod(a, b), int_mod(a, b)))
MX_FORMULA(power, vpow(a, b))
MX_FORMULA(maximum, maximum(a, b))
MX_FORMULA(minimum, minimum(a, b))
MX_FORMULA(hypot, vhypot(a, b))
MX_FORMULA(arctan2, vatan2(a, b))
MX_FORMULA(equal, truth<V>(a == b))
MX_FORMULA(not_equal, truth<V>(a != b))
MX_FORMULA(greater, truth<V>(a > b))
MX_FORMULA(greater_equal, truth<V>(a >= b))
MX_FORMULA(lesser, truth<V>(a < b))
MX_FORMULA(lesser_equal, truth<V>(a <= b))
MX_FORMULA(logical_and, truth<V>((a != T(0)) & (b != T(0))))
MX_FORMULA(logical_or, truth<V>((a != T(0)) | (b != T(0))))
MX_FORMULA(logical_xor, truth<V>((a != T(0)) ^ (b != T(0))))
MX_FORMULA(leaky, a > T(0) ? a : a * b)
MX_FORMULA(unless_nan, is_nan(a) ? b : a)
MX_FORMULA(select, a != T(0) ? b : c)
MX_FORMULA(clip, a < b ? b : (a > c ? c : a))

#undef MX_FORMULA
#undef MX_BOTH

}  // namespace mxnet::MX_ISA
