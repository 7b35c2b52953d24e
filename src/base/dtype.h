// SPDX-License-Identifier: Apache-2.0
// Element types, their numbers in files, and the two half formats.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace mxnet {

// The numbers are MXNet's own: they are written into array files and symbol attributes.
enum class DType : int8_t {
  unknown = -1,
  f32 = 0,
  f64 = 1,
  f16 = 2,
  u8 = 3,
  i32 = 4,
  i8 = 5,
  i64 = 6,
  boolean = 7,
  bf16 = 12,
};

// IEEE binary16 and bfloat16 as storage formats; arithmetic happens in float.
struct half_t {
  uint16_t bits = 0;
  half_t() = default;
  half_t(float value) : bits(encode(value)) {}
  operator float() const { return decode(bits); }

  static uint16_t encode(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000u);
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00u;
    if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520 and above round to infinity
    if (magnitude < 0x38800000u) {                        // subnormal: let float addition do the rounding
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000u);
    }
    const uint32_t rounded = magnitude + 0xc8000fffu + ((magnitude >> 13) & 1u);
    return sign | static_cast<uint16_t>(rounded >> 13);
  }
  static float decode(uint16_t h) {
    const uint32_t sign = (h & 0x8000u) << 16;
    const uint32_t exponent = h & 0x7c00u;
    const uint32_t rest = h & 0x7fffu;
    if (exponent == 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | (h & 0x3ffu) << 13);
    if (exponent == 0) {
      const float magnitude = std::bit_cast<float>(rest + 0x3f000000u) - 0.5f;
      return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
    }
    return std::bit_cast<float>(sign | ((rest << 13) + 0x38000000u));
  }
};

struct bfloat16_t {
  uint16_t bits = 0;
  bfloat16_t() = default;
  bfloat16_t(float value) : bits(encode(value)) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

  static uint16_t encode(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    if ((u & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(u >> 16) | 0x40u;
    return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
};

template <typename T>
struct TypeTag {
  using type = T;
};

constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16; }
constexpr bool is_integer(DType t) { return t == DType::u8 || t == DType::i8 || t == DType::i32 || t == DType::i64; }
constexpr bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }

constexpr int size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::f16:
    case DType::bf16: return 2;
    case DType::u8:
    case DType::i8:
    case DType::boolean: return 1;
    case DType::unknown: return 0;
  }
  return 0;
}

const char* name_of(DType t);               // "float32"
DType dtype_from_name(std::string_view s);  // DType::unknown if there is none of that name

// Calls f(TypeTag<T>{}) with the C++ type of `t`.
template <typename F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(TypeTag<float>{});
    case DType::f64: return f(TypeTag<double>{});
    case DType::f16: return f(TypeTag<half_t>{});
    case DType::bf16: return f(TypeTag<bfloat16_t>{});
    case DType::u8: return f(TypeTag<uint8_t>{});
    case DType::i8: return f(TypeTag<int8_t>{});
    case DType::i32: return f(TypeTag<int32_t>{});
    case DType::i64: return f(TypeTag<int64_t>{});
    case DType::boolean: return f(TypeTag<bool>{});
    case DType::unknown: break;
  }
  fail(ErrorKind::type, "no C++ type for dtype ", static_cast<int>(t));
}

template <typename F>
decltype(auto) dispatch_float(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(TypeTag<float>{});
    case DType::f64: return f(TypeTag<double>{});
    case DType::f16: return f(TypeTag<half_t>{});
    case DType::bf16: return f(TypeTag<bfloat16_t>{});
    default: fail(ErrorKind::type, "expected a floating point dtype, got ", name_of(t));
  }
}

// Dispatch on size alone, for kernels that only move bits.
template <typename F>
decltype(auto) dispatch_bits(DType t, F&& f) {
  switch (size_of(t)) {
    case 1: return f(TypeTag<uint8_t>{});
    case 2: return f(TypeTag<uint16_t>{});
    case 4: return f(TypeTag<uint32_t>{});
    case 8: return f(TypeTag<uint64_t>{});
    default: fail(ErrorKind::type, "no element size for dtype ", static_cast<int>(t));
  }
}

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>)
    return DType::f32;
  else if constexpr (std::is_same_v<T, double>)
    return DType::f64;
  else if constexpr (std::is_same_v<T, half_t>)
    return DType::f16;
  else if constexpr (std::is_same_v<T, bfloat16_t>)
    return DType::bf16;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return DType::u8;
  else if constexpr (std::is_same_v<T, int8_t>)
    return DType::i8;
  else if constexpr (std::is_same_v<T, int32_t>)
    return DType::i32;
  else if constexpr (std::is_same_v<T, int64_t>)
    return DType::i64;
  else if constexpr (std::is_same_v<T, bool>)
    return DType::boolean;
  else
    return DType::unknown;
}

// The type that arithmetic on T happens in.
template <typename T>
using compute_t = std::conditional_t<std::is_same_v<T, half_t> || std::is_same_v<T, bfloat16_t>, float, T>;
// The type that sums of T are kept in.
template <typename T>
using accumulate_t =
    std::conditional_t<std::is_integral_v<T>, int64_t, std::conditional_t<std::is_same_v<T, double>, double, float>>;

// Conversion as MXNet does it: a float becomes an integer through int64 and wraps (300.7 -> uint8 44); defined for all
// inputs (NaN and values past int64 give the smallest int64 first).
template <typename To, typename From>
inline To convert(From value) {
  if constexpr (std::is_same_v<To, bool>) {
    return static_cast<compute_t<From>>(value) != compute_t<From>(0);
  } else if constexpr (std::is_integral_v<To> && !std::is_integral_v<From>) {
    const double d = static_cast<double>(static_cast<compute_t<From>>(value));
    if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0)) return static_cast<To>(INT64_MIN);
    return static_cast<To>(static_cast<int64_t>(d));
  } else {
    return static_cast<To>(static_cast<compute_t<From>>(value));
  }
}

}  // namespace mxnet
