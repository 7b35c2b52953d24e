// SPDX-License-Identifier: Apache-2.0
// Vectors for files that are compiled once per instruction set (*_isa.cc). Everything lives in the namespace of the
// instruction set, so that no code of one leaks into another. Arithmetic, comparisons and `mask ? a : b` are those of
// the compiler's vector types; a mask has lanes of -1 and 0. Include it only from *_isa.cc and headers like it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/dtype.h"

#if defined(__SSE4_1__)
// g++ 12 calls the deliberately undefined registers of its own intrinsics uninitialized, at every use.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#endif

#ifndef MX_ISA
#error "simd.h belongs to files that are compiled once per instruction set"
#endif

namespace mxnet::MX_ISA {

#define MX_INLINE [[gnu::always_inline]] inline
#define MX_LAMBDA_INLINE __attribute__((always_inline))

#if defined(__AVX512F__)
inline constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kVectorBytes = 32;
#else
inline constexpr int kVectorBytes = 16;
#endif

template <typename T>
struct VecOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <typename T>
using Vec = typename VecOf<T>::type;
template <typename T>
inline constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(T));

template <typename V>
using Lane = std::remove_cvref_t<decltype(std::declval<V&>()[0])>;
template <int Bytes>
using IntOfSize =
    std::conditional_t<Bytes == 1, int8_t,
                       std::conditional_t<Bytes == 2, int16_t, std::conditional_t<Bytes == 4, int32_t, int64_t>>>;
// The integer vector with lanes of the same size: masks and bit patterns.
template <typename V>
using Mask = Vec<IntOfSize<sizeof(Lane<V>)>>;
template <typename V>
inline constexpr bool kIsFloat = std::is_floating_point_v<Lane<V>>;

using F32 = Vec<float>;
using F64 = Vec<double>;
using I32 = Vec<int32_t>;
using I64 = Vec<int64_t>;

// ---- memory -------------------------------------------------------------------------------------------------------
template <typename T>
concept Number = std::is_arithmetic_v<T>;
template <Number T>
MX_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VecOf<T>::unaligned*>(p);
}
template <Number T>
MX_INLINE void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VecOf<T>::unaligned*>(p) = v;
}
template <typename T>
MX_INLINE Vec<T> splat(T value) {
  return value - Vec<T>{};  // keeps -0
}

// The first n < kLanes<T> lanes; the others are zero, and are not written.
template <typename T>
MX_INLINE Vec<T> load_part(const T* p, int64_t n) {
#if defined(__AVX512BW__)
  const __mmask64 mask = (uint64_t{1} << (n * sizeof(T))) - 1;
  return (Vec<T>)_mm512_maskz_loadu_epi8(mask, p);
#else
  alignas(kVectorBytes) T lanes[kLanes<T>] = {};
  __builtin_memcpy(lanes, p, n * sizeof(T));
  return load(lanes);
#endif
}
template <typename T>
MX_INLINE void store_part(T* p, Vec<T> v, int64_t n) {
#if defined(__AVX512BW__)
  const __mmask64 mask = (uint64_t{1} << (n * sizeof(T))) - 1;
  _mm512_mask_storeu_epi8(p, mask, (__m512i)v);
#else
  alignas(kVectorBytes) T lanes[kLanes<T>];
  store(lanes, v);
  __builtin_memcpy(p, lanes, n * sizeof(T));
#endif
}

// ---- lanes --------------------------------------------------------------------------------------------------------
// A scalar function lane by lane: for functions that are rare or hard.
template <typename V, typename F>
MX_INLINE V by_lane(V x, F f) {
  V r{};
  for (int i = 0; i < kLanes<Lane<V>>; ++i) r[i] = static_cast<Lane<V>>(f(x[i]));
  return r;
}
template <typename V, typename F>
MX_INLINE V by_lane(V x, V y, F f) {
  V r{};
  for (int i = 0; i < kLanes<Lane<V>>; ++i) r[i] = static_cast<Lane<V>>(f(x[i], y[i]));
  return r;
}

template <typename V>
MX_INLINE bool any(V mask) {
#if defined(__AVX512F__)
  return _mm512_test_epi64_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif defined(__SSE4_1__)
  return !_mm_testz_si128((__m128i)mask, (__m128i)mask);
#else
  const Vec<int64_t> words = (Vec<int64_t>)mask;
  return (words[0] | words[1]) != 0;
#endif
}

template <int Width, typename V>
MX_INLINE V swap_halves(V v) {  // lane i and lane i ^ Width change places
  Mask<V> order{};
  for (int i = 0; i < kLanes<Lane<V>>; ++i) order[i] = static_cast<Lane<Mask<V>>>(i ^ Width);
  return __builtin_shuffle(v, order);
}
// Combines all lanes pairwise by f(V, V), in a fixed order.
template <int Width, typename V, typename F>
MX_INLINE V fold_halves(V v, F f) {
  if constexpr (Width == 0)
    return v;
  else
    return fold_halves<Width / 2>(f(v, swap_halves<Width>(v)), f);
}
template <typename V, typename F>
MX_INLINE Lane<V> fold(V v, F f) {
  return fold_halves<kLanes<Lane<V>> / 2>(v, f)[0];
}

// ---- arithmetic ---------------------------------------------------------------------------------------------------
// b where one of the two is NaN.
template <typename V>
MX_INLINE V vmin(V a, V b) {
  return a < b ? a : b;
}
template <typename V>
MX_INLINE V vmax(V a, V b) {
  return a > b ? a : b;
}
#if defined(__AVX512F__)
MX_INLINE F32 vmin(F32 a, F32 b) { return (F32)_mm512_min_ps((__m512)a, (__m512)b); }
MX_INLINE F32 vmax(F32 a, F32 b) { return (F32)_mm512_max_ps((__m512)a, (__m512)b); }
#elif defined(__AVX2__)
MX_INLINE F32 vmin(F32 a, F32 b) { return (F32)_mm256_min_ps((__m256)a, (__m256)b); }
MX_INLINE F32 vmax(F32 a, F32 b) { return (F32)_mm256_max_ps((__m256)a, (__m256)b); }
#endif
// x within [low, high]; NaN stays.
MX_INLINE F32 limit(F32 x, float low, float high) { return vmax(splat(low), vmin(splat(high), x)); }

template <typename V>
MX_INLINE V vabs(V x) {
  using M = Mask<V>;
  return (V)((M)x & ~((M{} + 1) << (8 * sizeof(Lane<V>) - 1)));
}
template <typename V>
MX_INLINE V sign_bit(V x) {  // -0.0 where x is negative, else 0.0
  using M = Mask<V>;
  return (V)((M)x & ((M{} + 1) << (8 * sizeof(Lane<V>) - 1)));
}
template <typename V>
MX_INLINE V with_sign(V magnitude, V sign) {  // magnitude >= 0
  using M = Mask<V>;
  return (V)((M)magnitude | (M)sign_bit(sign));
}

MX_INLINE F32 vsqrt(F32 x) {
#if defined(__AVX512F__)
  return (F32)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX2__)
  return (F32)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE4_1__)
  return (F32)_mm_sqrt_ps((__m128)x);
#else
  return by_lane(x, [](float v) { return __builtin_sqrtf(v); });
#endif
}
MX_INLINE F64 vsqrt(F64 x) {
#if defined(__AVX512F__)
  return (F64)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
  return (F64)_mm256_sqrt_pd((__m256d)x);
#elif defined(__SSE4_1__)
  return (F64)_mm_sqrt_pd((__m128d)x);
#else
  return by_lane(x, [](double v) { return __builtin_sqrt(v); });
#endif
}

// Mode: 0 to nearest even, 1 down, 2 up, 3 to zero (the encoding of the x86 rounding instructions).
template <int Mode>
MX_INLINE F32 round_to(F32 x) {
#if defined(__AVX512F__)
  return (F32)_mm512_roundscale_ps((__m512)x, Mode | 8);
#elif defined(__AVX2__)
  return (F32)_mm256_round_ps((__m256)x, Mode | 8);
#elif defined(__SSE4_1__)
  return (F32)_mm_round_ps((__m128)x, Mode | 8);
#else
  return by_lane(x, [](float v) {
    return Mode == 0   ? __builtin_nearbyintf(v)
           : Mode == 1 ? __builtin_floorf(v)
           : Mode == 2 ? __builtin_ceilf(v)
                       : __builtin_truncf(v);
  });
#endif
}
template <int Mode>
MX_INLINE F64 round_to(F64 x) {
#if defined(__AVX512F__)
  return (F64)_mm512_roundscale_pd((__m512d)x, Mode | 8);
#elif defined(__AVX2__)
  return (F64)_mm256_round_pd((__m256d)x, Mode | 8);
#elif defined(__SSE4_1__)
  return (F64)_mm_round_pd((__m128d)x, Mode | 8);
#else
  return by_lane(x, [](double v) {
    return Mode == 0   ? __builtin_nearbyint(v)
           : Mode == 1 ? __builtin_floor(v)
           : Mode == 2 ? __builtin_ceil(v)
                       : __builtin_trunc(v);
  });
#endif
}
template <typename V>
MX_INLINE V vrint(V x) {
  return round_to<0>(x);
}
template <typename V>
MX_INLINE V vfloor(V x) {
  return round_to<1>(x);
}
template <typename V>
MX_INLINE V vceil(V x) {
  return round_to<2>(x);
}
template <typename V>
MX_INLINE V vtrunc(V x) {
  return round_to<3>(x);
}

// ---- float <-> double ---------------------------------------------------------------------------------------------
// One vector of floats as two of doubles.
struct Wide {
  F64 lo, hi;
};
MX_INLINE Wide widen(F32 x) {
#if defined(__AVX512F__)
  return {(F64)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)x)),
          (F64)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)x, 1))};
#elif defined(__AVX2__)
  return {(F64)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)x)),
          (F64)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)x, 1))};
#elif defined(__SSE4_1__)
  return {(F64)_mm_cvtps_pd((__m128)x), (F64)_mm_cvtps_pd(_mm_movehl_ps((__m128)x, (__m128)x))};
#else
  return {F64{x[0], x[1]}, F64{x[2], x[3]}};
#endif
}
MX_INLINE F32 narrow(Wide w) {
#if defined(__AVX512F__)
  return (F32)_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps((__m512d)w.lo)), _mm512_cvtpd_ps((__m512d)w.hi),
                                 1);
#elif defined(__AVX2__)
  return (F32)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps((__m256d)w.lo)),
                                   _mm256_cvtpd_ps((__m256d)w.hi), 1);
#elif defined(__SSE4_1__)
  return (F32)_mm_movelh_ps(_mm_cvtpd_ps((__m128d)w.lo), _mm_cvtpd_ps((__m128d)w.hi));
#else
  return F32{float(w.lo[0]), float(w.lo[1]), float(w.hi[0]), float(w.hi[1])};
#endif
}
// A function of double vectors applied to floats: the easy way to a float result that is right to half an ulp.
template <typename F>
MX_INLINE F32 in_double(F32 x, F f) {
  const Wide w = widen(x);
  return narrow({f(w.lo), f(w.hi)});
}
template <typename F>
MX_INLINE F32 in_double(F32 x, F32 y, F f) {
  const Wide a = widen(x), b = widen(y);
  return narrow({f(a.lo, b.lo), f(a.hi, b.hi)});
}

// ---- halves -------------------------------------------------------------------------------------------------------
// kLanes<float> halves to floats and back, rounding to nearest even.
MX_INLINE F32 load(const half_t* p) {
#if defined(__AVX512F__)
  return (F32)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return (F32)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  F32 r{};
  for (int i = 0; i < kLanes<float>; ++i) r[i] = half_t::decode(p[i].bits);
  return r;
#endif
}
MX_INLINE void store(half_t* p, F32 v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)v, 8));
#elif defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v, 8));
#else
  for (int i = 0; i < kLanes<float>; ++i) p[i].bits = half_t::encode(v[i]);
#endif
}
typedef uint16_t HalfWords __attribute__((vector_size(kVectorBytes / 2)));
typedef uint16_t HalfWordsInMemory __attribute__((vector_size(kVectorBytes / 2), aligned(2), may_alias));
typedef uint32_t Words __attribute__((vector_size(kVectorBytes)));
MX_INLINE F32 load(const bfloat16_t* p) {
  const HalfWords h = *reinterpret_cast<const HalfWordsInMemory*>(p);
  return (F32)(__builtin_convertvector(h, Words) << 16);
}
// The bfloat16 is the upper half of the result.
MX_INLINE Words bfloat16_bits(F32 v) {
  const Words u = (Words)v;
  return (Words)(v != v) ? u | 0x400000u : u + 0x7fffu + ((u >> 16) & 1u);
}
MX_INLINE void store(bfloat16_t* p, F32 v) {
  *reinterpret_cast<HalfWordsInMemory*>(p) = __builtin_convertvector(bfloat16_bits(v) >> 16, HalfWords);
}

// The nearest half of each float, again as a float.
template <typename Half>
MX_INLINE F32 rounded(F32 v) {
  if constexpr (std::is_same_v<Half, bfloat16_t>) {
    return (F32)(bfloat16_bits(v) & 0xffff0000u);
  } else {
#if defined(__AVX512F__)
    return (F32)_mm512_cvtph_ps(_mm512_cvtps_ph((__m512)v, 8));
#elif defined(__F16C__)
    return (F32)_mm256_cvtph_ps(_mm256_cvtps_ph((__m256)v, 8));
#else
    return by_lane(v, [](float x) { return half_t::decode(half_t::encode(x)); });
#endif
  }
}

}  // namespace mxnet::MX_ISA
