// SPDX-License-Identifier: Apache-2.0
// Functions of vectors. Floats: polynomials, within 2 to 4 ulp over the whole range, infinities and NaN included; the
// harder ones are computed in double and rounded once. Doubles: the C library, lane by lane.
// Coefficients without a name are least-squares fits reweighted to an even relative error.
#pragma once

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {

// c[0] + c[1] x + c[2] x^2 + ... by Estrin's scheme: halves that do not wait for each other.
template <int First, int Count, typename V, int N>
MX_INLINE V polynomial_part(const V (&powers)[5], const Lane<V> (&c)[N]) {
  if constexpr (Count == 1) {
    return V{} + c[First];
  } else if constexpr (Count == 2) {
    return powers[0] * c[First + 1] + c[First];
  } else {
    constexpr int level = Count > 8 ? 3 : Count > 4 ? 2 : 1, low = 1 << level;
    return polynomial_part<First + low, Count - low>(powers, c) * powers[level] +
           polynomial_part<First, low>(powers, c);
  }
}
template <typename V, int N>
MX_INLINE V polynomial(V x, const Lane<V> (&c)[N]) {
  static_assert(N <= 16);
  V powers[5];
  powers[0] = x;
  for (int i = 1; i < 5; ++i) powers[i] = powers[i - 1] * powers[i - 1];
  return polynomial_part<0, N>(powers, c);
}

// ---- exponentials of floats ---------------------------------------------------------------------------------------
MX_INLINE F32 exp2_int(I32 n) { return (F32)((n + 127) << 23); }

// p * 2^n for whole n; results below the normal range are reached.
MX_INLINE F32 scale(F32 p, F32 n) {
#if defined(__AVX512F__)
  return (F32)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
  const I32 k = __builtin_convertvector(n, I32), half = k >> 1;
  return p * exp2_int(half) * exp2_int(k - half);
#endif
}

MX_INLINE F32 vexp(F32 x) {
  const F32 y = limit(x, -104.0f, 89.0f);  // past these the result is infinite or zero anyway
  const F32 n = vrint(y * 1.44269504f);
  const F32 r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  constexpr float c[] = {5.000000081e-01f, 1.666666687e-01f, 4.166625860e-02f,
                         8.333263003e-03f, 1.394696008e-03f, 1.991921144e-04f};
  const F32 p = polynomial(r, c) * (r * r) + r + 1.0f;
  return scale(p, n);
}

MX_INLINE F32 vlog(F32 x) {
  const I32 tiny = x < 1.17549435e-38f;
  const F32 y = tiny ? x * 8388608.0f : x;
  const I32 bits = (I32)y - 0x3f3504f3;  // sqrt(1/2)
  const I32 e = (bits >> 23) + (tiny & -23);
  const F32 f = (F32)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
  constexpr float c[] = {3.333331058e-01f,  -2.499998663e-01f, 2.000221928e-01f,  -1.666924532e-01f, 1.421878045e-01f,
                         -1.238449410e-01f, 1.187230882e-01f,  -1.178880024e-01f, 6.915580221e-02f};
  const F32 k = __builtin_convertvector(e, F32);
  const F32 f2 = f * f;
  F32 r = polynomial(f, c) * (f2 * f) + k * -2.12194440e-4f;
  r = r - 0.5f * f2 + f + k * 0.693359375f;
  r = x == __builtin_inff() ? x : r;
  r = x == 0.0f ? splat(-__builtin_inff()) : r;
  return (x < 0.0f) | (x != x) ? splat(__builtin_nanf("")) : r;
}

MX_INLINE F32 vsigmoid(F32 x) {
  const F32 e = vexp(-vabs(x));
  return (x >= 0.0f ? splat(1.0f) : e) / (1.0f + e);
}

// From m = expm1(2|x|), which keeps its digits where x is small: m / (m + 2).
MX_INLINE F32 vtanh(F32 x) {
  const F32 a = vmin(splat(10.0f), vabs(x));  // past it the result is one
  const F32 n = vrint(a * 2.885390043f);
  const F32 r = (a - n * 0.346435546875f) - n * 1.380434114e-04f;  // within ln(2) / 4
  constexpr float c[] = {1.999999881f, 1.333323359f, 6.666752696e-01f, 2.677327096e-01f, 8.884797990e-02f};
  const F32 s = (F32)((__builtin_convertvector(n, I32) + 127) << 23);
  const F32 m = (polynomial(r, c) * (r * r) + (r + r)) * s + (s - 1.0f);
  return with_sign(m / (m + 2.0f), x);
}

// 1 - erf(x) for x >= 2/3 as exp(-x^2) times something smooth.
MX_INLINE F32 erfc_tail(F32 x) {
  constexpr float c[] = {-1.265533891e+00f, 1.000649507e+00f,  3.665790428e-01f, 1.456765577e-01f,  -3.766653678e-01f,
                         7.413091678e-01f,  -1.840595949e+00f, 2.144320196e+00f, -1.161346350e+00f, 2.456143878e-01f};
  const F32 u = 1.0f / (1.0f + 0.5f * x);
  return u * vexp(polynomial(u, c) - x * x);
}
MX_INLINE F32 erf_small(F32 x) {  // |x| <= 0.8
  constexpr float c[] = {1.128379167e+00f, -3.761263797e-01f, 1.128376797e-01f, -2.686391982e-02f,
                         5.213751326e-03f, -8.307453572e-04f, 9.170557082e-05f};
  return x * polynomial(x * x, c);
}
MX_INLINE F32 verf(F32 x) {
  const F32 a = vabs(x);
  return a < 0.75f ? erf_small(x) : (x != x ? x : with_sign(1.0f - erfc_tail(vmin(splat(10.0f), a)), x));
}
// The normal distribution function, 0.5 + 0.5 erf(x / sqrt(2)), within 2e-7: a quotient of polynomials in x^2.
MX_INLINE F32 vnormal_cdf(F32 x) {
  constexpr float p[] = {1.128379145e+00f, 1.907842209e-01f, 5.279033828e-02f,
                         3.779625718e-03f, 2.848089188e-04f, 2.041967288e-06f};
  constexpr float q[] = {1.000000000e+00f, 5.024108330e-01f, 1.142576840e-01f,
                         1.499747102e-02f, 1.165216579e-03f, 3.800405477e-05f};
  const F32 t = limit(x * 0.707106781f, -3.92f, 3.92f);  // erf is 1 from here on
  const F32 z = t * t;
  const F32 y = 0.5f + 0.5f * t * (polynomial(z, p) / polynomial(z, q));
  return x < -5.54371f ? F32{} : vmin(splat(1.0f), y);
}
MX_INLINE F32 vgelu(F32 x) { return x == -__builtin_inff() ? F32{} : x * vnormal_cdf(x); }

// ---- doubles, good for floats: relative error below 1e-9 ----------------------------------------------------------
MX_INLINE F64 exp2_int(I64 n) { return (F64)((n + 1023) << 52); }

struct ExpParts {
  F64 scale, p;  // exp(x) = scale * (1 + p)
};
MX_INLINE ExpParts exp_parts(F64 x) {
  F64 y = x > 700.0 ? splat(700.0) : x;
  y = y < -700.0 ? splat(-700.0) : y;
  const F64 magic = splat(6755399441055744.0);  // 1.5 * 2^52: adding it rounds to an integer in the low bits
  const F64 shifted = y * 1.4426950408889634 + magic;
  const F64 n = shifted - magic;
  const F64 r = (y - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
  constexpr double c[] = {1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, 1.0 / 40320, 1.0 / 362880};
  return {exp2_int((I64)shifted - (I64)magic), polynomial(r, c) * (r * r) + r};
}
MX_INLINE F64 exp_d(F64 x) {
  const ExpParts e = exp_parts(x);
  return e.scale + e.scale * e.p;
}
MX_INLINE F64 expm1_d(F64 x) {
  const ExpParts e = exp_parts(x);
  return (e.scale - 1.0) + e.scale * e.p;
}
// Of a positive normal number.
MX_INLINE F64 log_d(F64 x) {
  const I64 bits = (I64)x - 0x3fe6a09e667f3bcdLL;
  // The exponent as a double, without an integer conversion: place it under 2^52.
  const F64 e = (F64)(((bits >> 52) + 2048) | 0x4330000000000000LL) - (4503599627370496.0 + 2048.0);
  const F64 f = (F64)((bits & 0x000fffffffffffffLL) + 0x3fe6a09e667f3bcdLL) - 1.0;
  const F64 s = f / (2.0 + f), z = s * s;
  constexpr double c[] = {2.0, 2.0 / 3, 2.0 / 5, 2.0 / 7, 2.0 / 9, 2.0 / 11, 2.0 / 13};
  return s * polynomial(z, c) + e * 0.6931471805599453;
}
MX_INLINE F64 log1p_d(F64 x) {
  const F64 u = 1.0 + x;
  const F64 far = log_d(u) + (x - (u - 1.0)) / u;
  return vabs(x) < 1e-8 ? x - 0.5 * x * x : far;
}
MX_INLINE F64 atan_d(F64 x) {
  const F64 a = vabs(x);
  const I64 invert = a > 1.0;
  const F64 t = invert ? 1.0 / a : a;
  const I64 shift = t > 0.41421356237309503;
  const F64 r = shift ? (t - 1.0) / (t + 1.0) : t;
  constexpr double c[] = {9.99999999999287237e-01,  -3.33333332791697579e-01, 1.99999932535943697e-01,
                          -1.42853932104558767e-01, 1.11035622056986194e-01,  -8.99340653173037463e-02,
                          6.97762275805206278e-02,  -3.77089739398589682e-02};
  F64 y = r * polynomial(r * r, c) + (shift ? splat(0.78539816339744831) : F64{});
  y = invert ? 1.5707963267948966 - y : y;
  return with_sign(y, x);
}

struct SinCos {
  F64 sin, cos;
};
MX_INLINE SinCos sincos_d(F64 x) {  // |x| < 2^20: then n times the first part is exact
  const F64 n = vrint(x * 0.63661977236758134);
  const F64 r = (x - n * 1.57079632673412561417) - n * 6.07710050650619224932e-11;
  const F64 z = r * r;
  constexpr double s[] = {1.0, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880, -1.0 / 39916800};
  constexpr double c[] = {1.0, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600};
  const F64 sin_r = r * polynomial(z, s), cos_r = polynomial(z, c);
  const F64 quarter = n - 4.0 * vfloor(n * 0.25);
  const I64 odd = (quarter == 1.0) | (quarter == 3.0);
  const F64 sine = odd ? cos_r : sin_r, cosine = odd ? sin_r : cos_r;
  return {quarter >= 2.0 ? -sine : sine, (quarter == 1.0) | (quarter == 2.0) ? -cosine : cosine};
}

// ---- floats through double ----------------------------------------------------------------------------------------
#define MX_LIBM(name) [](auto v) { return __builtin_##name(v); }
#define MX_LIBM2(name) [](auto a, auto b) { return __builtin_##name(a, b); }

// log1p and friends meet zero, infinity or NaN: the lanes with these take `special` instead.
MX_INLINE I32 is_normal_range(F32 x) { return (vabs(x) >= 1.17549435e-38f) & (vabs(x) < __builtin_inff()); }

// From twice 2^(n - 1), so that the largest results are reached. Near zero n is 0, and the polynomial keeps its digits.
MX_INLINE F32 vexpm1(F32 x) {
  const F32 y = limit(x, -20.0f, 89.0f);
  const F32 n = vrint(y * 1.44269504f);
  const F32 r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  constexpr float c[] = {5.000000081e-01f, 1.666666687e-01f, 4.166625860e-02f,
                         8.333263003e-03f, 1.394696008e-03f, 1.991921144e-04f};
  const F32 half = (F32)((__builtin_convertvector(n, I32) + 126) << 23);
  const F32 m = (polynomial(r, c) * (r * r) + r) * half + (half - 0.5f);
  return (x != x) | (x == 0.0f) ? x : m + m;
}
MX_INLINE F32 vlog1p(F32 x) {
  const F32 y = in_double(x, [](F64 v) { return log1p_d(v); });
  const F32 edge = x == -1.0f ? splat(-__builtin_inff()) : splat(__builtin_nanf(""));
  return x > -1.0f ? ((x == 0.0f) | (x == __builtin_inff()) ? x : y) : edge;
}
MX_INLINE F32 log_times(F32 x, double factor) {
  const F32 y = in_double(x, [factor](F64 v) { return log_d(v) * factor; });
  return (x > 0.0f) & (x < __builtin_inff()) ? y : vlog(x);
}
template <typename F>
MX_INLINE F32 circular(F32 x, F f, float (*scalar)(float)) {
  const I32 far = !(vabs(x) < 1048576.0f);
  F32 y = in_double(x, f);
  if (any(far)) [[unlikely]] {
    for (int i = 0; i < kLanes<float>; ++i) {
      if (far[i]) y[i] = scalar(x[i]);
    }
  }
  return y;
}
MX_INLINE F32 vsin(F32 x) {
  const F32 y = circular(x, [](F64 v) { return sincos_d(v).sin; }, __builtin_sinf);
  return x == 0.0f ? x : y;
}
MX_INLINE F32 vcos(F32 x) {
  return circular(x, [](F64 v) { return sincos_d(v).cos; }, __builtin_cosf);
}
MX_INLINE F32 vtan(F32 x) {
  const F32 y = circular(
      x,
      [](F64 v) {
        const SinCos s = sincos_d(v);
        return s.sin / s.cos;
      },
      __builtin_tanf);
  return x == 0.0f ? x : y;
}
MX_INLINE F32 vasin(F32 x) {
  const F32 y = in_double(x, [](F64 v) { return atan_d(v / vsqrt((1.0 - v) * (1.0 + v))); });
  return x == 0.0f ? x : y;
}
MX_INLINE F32 vacos(F32 x) {
  return in_double(x, [](F64 v) { return 2.0 * atan_d(vsqrt((1.0 - v) / (1.0 + v))); });
}
MX_INLINE F32 vatan(F32 x) {
  return x != x ? x : in_double(x, [](F64 v) { return atan_d(v); });
}
MX_INLINE F32 vatan2(F32 y, F32 x) { return by_lane(y, x, MX_LIBM2(atan2f)); }
MX_INLINE F32 vsinh(F32 x) {
  const F32 y = in_double(vabs(x), [](F64 v) {
    const F64 e = expm1_d(v);
    return 0.5 * (e + e / (e + 1.0));
  });
  return x != x ? x : with_sign(y, x);
}
MX_INLINE F32 vcosh(F32 x) {
  const F32 y = in_double(x, [](F64 v) {
    const F64 e = exp_d(vabs(v));
    return 0.5 * (e + 1.0 / e);
  });
  return x != x ? x : y;
}
MX_INLINE F32 vasinh(F32 x) {
  const F32 y = in_double(vabs(x), [](F64 v) { return log1p_d(v + v * v / (1.0 + vsqrt(v * v + 1.0))); });
  return vabs(x) < __builtin_inff() ? with_sign(y, x) : x;
}
MX_INLINE F32 vacosh(F32 x) {
  const F32 y = in_double(x, [](F64 v) {
    const F64 t = v - 1.0;
    return log1p_d(t + vsqrt(t * (v + 1.0)));
  });
  const F32 outside = x == __builtin_inff() ? x : splat(__builtin_nanf(""));
  return (x >= 1.0f) & (x < __builtin_inff()) ? y : outside;
}
MX_INLINE F32 vatanh(F32 x) {
  const F32 a = vabs(x);
  const F32 y = in_double(a, [](F64 v) { return 0.5 * log1p_d(2.0 * v / (1.0 - v)); });
  const F32 outside = a == 1.0f ? with_sign(splat(__builtin_inff()), x) : splat(__builtin_nanf(""));
  return a < 1.0f ? with_sign(y, x) : outside;
}
// log(1 + exp(x)). What 1 + e loses of e is given back to the logarithm to first order.
MX_INLINE F32 vsoftrelu(F32 x) {
  const F32 e = vexp(-vabs(x)), u = 1.0f + e;
  return (x > 0.0f ? x : F32{}) + (vlog(u) + (e - (u - 1.0f)) / u);
}
MX_INLINE F32 vmish(F32 x) {  // x tanh(log(1 + e^x))
  const F32 e = vexp(vmin(x, splat(20.0f))), n = e * (e + 2.0f);
  const F32 y = x * n / (n + 2.0f);
  return x == -__builtin_inff() ? F32{} : ((x > 20.0f) | (x != x) ? x : y);
}
template <bool Reciprocal>
MX_INLINE F32 cbrt_like(F32 x) {
  F32 a = vabs(x);
  const I32 tiny = a < 1.17549435e-38f;
  a = tiny ? a * 16777216.0f : a;
  // A third of the exponent and mantissa bits is a guess within 4 %.
  const I32 guess = __builtin_convertvector(__builtin_convertvector((I32)a, F32) * (1.0f / 3.0f), I32) + 0x2a5137a0;
  const Wide w = widen(a), g = widen((F32)guess);
  const auto refine = [](F64 v, F64 y) {  // Halley's step: three times the digits
    for (int i = 0; i < 2; ++i) {
      const F64 y3 = y * y * y;
      y = y * (y3 + v + v) / (y3 + y3 + v);
    }
    return y;
  };
  F64 lo = refine(w.lo, g.lo), hi = refine(w.hi, g.hi);
  if constexpr (Reciprocal) lo = 1.0 / lo, hi = 1.0 / hi;
  F32 y = narrow({lo, hi});
  y = tiny ? y * (Reciprocal ? 256.0f : 0.00390625f) : y;
  const F32 edge = Reciprocal ? 1.0f / x : x;  // 0, infinity, NaN
  return (x != 0.0f) & (vabs(x) < __builtin_inff()) ? with_sign(y, x) : edge;
}
MX_INLINE F32 vhypot(F32 x, F32 y) {
  const F32 r = in_double(x, y, [](F64 a, F64 b) { return vsqrt(a * a + b * b); });
  const I32 infinite = (vabs(x) == __builtin_inff()) | (vabs(y) == __builtin_inff());
  return infinite ? splat(__builtin_inff()) : r;
}

MX_INLINE F32 vpow(F32 x, F32 y) {
  F32 r = in_double(vabs(x), y, [](F64 a, F64 b) { return exp_d(log_d(a) * b); });
  // A negative base: real for whole exponents, negative for odd ones.
  const F32 half = y * 0.5f;
  const I32 whole = vtrunc(y) == y, odd = whole & (vtrunc(half) != half);
  r = (x < 0.0f) & odd ? -r : r;
  r = (x < 0.0f) & ~whole ? splat(__builtin_nanf("")) : r;
  const I32 special = ~is_normal_range(x) | ~(vabs(y) < __builtin_inff());
  if (any(special)) [[unlikely]] {
    for (int i = 0; i < kLanes<float>; ++i) {
      if (special[i]) r[i] = __builtin_powf(x[i], y[i]);
    }
  }
  return r;
}

// ---- doubles ------------------------------------------------------------------------------------------------------
MX_INLINE F64 vexp(F64 x) { return by_lane(x, MX_LIBM(exp)); }
MX_INLINE F64 vlog(F64 x) { return by_lane(x, MX_LIBM(log)); }
MX_INLINE F64 vtanh(F64 x) { return by_lane(x, MX_LIBM(tanh)); }
MX_INLINE F64 vsigmoid(F64 x) {
  const F64 e = vexp(-vabs(x));
  return (x >= 0.0 ? splat(1.0) : e) / (1.0 + e);
}
MX_INLINE F64 verf(F64 x) { return by_lane(x, MX_LIBM(erf)); }
MX_INLINE F64 vnormal_cdf(F64 x) { return 0.5 * by_lane(x * -0.70710678118654752, MX_LIBM(erfc)); }
MX_INLINE F64 vgelu(F64 x) { return x == -__builtin_inf() ? F64{} : x * vnormal_cdf(x); }
MX_INLINE F64 vexpm1(F64 x) { return by_lane(x, MX_LIBM(expm1)); }
MX_INLINE F64 vlog1p(F64 x) { return by_lane(x, MX_LIBM(log1p)); }
MX_INLINE F64 vsin(F64 x) { return by_lane(x, MX_LIBM(sin)); }
MX_INLINE F64 vcos(F64 x) { return by_lane(x, MX_LIBM(cos)); }
MX_INLINE F64 vtan(F64 x) { return by_lane(x, MX_LIBM(tan)); }
MX_INLINE F64 vasin(F64 x) { return by_lane(x, MX_LIBM(asin)); }
MX_INLINE F64 vacos(F64 x) { return by_lane(x, MX_LIBM(acos)); }
MX_INLINE F64 vatan(F64 x) { return by_lane(x, MX_LIBM(atan)); }
MX_INLINE F64 vatan2(F64 y, F64 x) { return by_lane(y, x, MX_LIBM2(atan2)); }
MX_INLINE F64 vsinh(F64 x) { return by_lane(x, MX_LIBM(sinh)); }
MX_INLINE F64 vcosh(F64 x) { return by_lane(x, MX_LIBM(cosh)); }
MX_INLINE F64 vasinh(F64 x) { return by_lane(x, MX_LIBM(asinh)); }
MX_INLINE F64 vacosh(F64 x) { return by_lane(x, MX_LIBM(acosh)); }
MX_INLINE F64 vatanh(F64 x) { return by_lane(x, MX_LIBM(atanh)); }
MX_INLINE F64 vsoftrelu(F64 x) { return (x > 0.0 ? x : F64{}) + vlog1p(vexp(-vabs(x))); }
MX_INLINE F64 vmish(F64 x) {
  const F64 y = x * vtanh(vsoftrelu(x));
  return x == -__builtin_inf() ? F64{} : y;
}
template <bool Reciprocal>
MX_INLINE F64 cbrt_like(F64 x) {
  const F64 y = by_lane(x, MX_LIBM(cbrt));
  return Reciprocal ? 1.0 / y : y;
}
MX_INLINE F64 vhypot(F64 x, F64 y) { return by_lane(x, y, MX_LIBM2(hypot)); }
MX_INLINE F64 vpow(F64 x, F64 y) { return by_lane(x, y, MX_LIBM2(pow)); }

#undef MX_LIBM
#undef MX_LIBM2

}  // namespace mxnet::MX_ISA
