// SPDX-License-Identifier: Apache-2.0
// The inner loops of programs: one function per elementwise function and native type, compiled for each instruction set
// and gathered in one table that is chosen when the library loads.
#pragma once

#include <cstdint>

#include "simple_op/fn.h"

namespace mxnet {

// The types that registers have. Halves are computed as float, bool as uint8.
enum class Native : uint8_t { f32, f64, i32, i64, i8, u8 };
inline constexpr int kNatives = 6;
inline constexpr int kStorages = 9;

constexpr Native native_of(DType t) {
  switch (t) {
    case DType::f64: return Native::f64;
    case DType::i32: return Native::i32;
    case DType::i64: return Native::i64;
    case DType::i8: return Native::i8;
    case DType::u8:
    case DType::boolean: return Native::u8;
    default: return Native::f32;
  }
}
constexpr DType storage_of(Native t) {
  constexpr DType types[] = {DType::f32, DType::f64, DType::i32, DType::i64, DType::i8, DType::u8};
  return types[static_cast<int>(t)];
}
constexpr int size_of(Native t) { return size_of(storage_of(t)); }
// Arrays of `t` hold exactly what a register holds.
constexpr bool is_native(DType t) { return !is_half(t) && t != DType::boolean; }

// Position of a storage type in the conversion table.
constexpr int storage_slot(DType t) { return t == DType::bf16 ? 8 : static_cast<int>(t); }

// out[i] = f(a[i], b[i], c[i]) for i < n. Bit k of `scalars`: operand k is one element for all i. `out` may be exactly
// an operand. Operands that the function does not have are ignored.
using TileFn = void (*)(void* out, const void* a, const void* b, const void* c, int64_t n, unsigned scalars);

// Cheap functions of floats in a row, each of the one before: the value stays in registers.
enum class ChainOp : uint8_t {
  add,
  sub,
  rsub,
  mul,
  div,
  rdiv,
  maximum,
  minimum,
  relu,
  negative,
  square,
  abs,
  round_f16,
  round_bf16
};
struct ChainLink {
  ChainOp op;
  bool scalar;          // the other operand is one element
  const void* operand;  // null for a function of one argument
};
inline constexpr int kMaxLinks = 32;
// out[i] = the links applied in order to a[i]. `out` may be exactly `a` or an operand.
using ChainFn = void (*)(void* out, const void* a, bool a_scalar, const ChainLink* links, int count, int64_t n);

enum class Combine : uint8_t { add, mul, max, min };
inline constexpr int kCombines = 4;

// Loops of a reduction over one native type. Sums and products of float are carried in double from tile to tile.
struct FoldFns {
  // *out = combination of x[0, n), n > 0, in the accumulator type.
  void (*fold)(void* out, const void* x, int64_t n);
  // out[r] = combination of x[r * n + 0 .. n) for all r < rows: rows of a few elements. In the accumulator type.
  void (*fold_rows)(void* out, const void* x, int64_t rows, int64_t n);
  // acc[i] = acc[i] combined with x[i]; acc in the accumulator type, x in the native one.
  void (*accumulate)(void* acc, const void* x, int64_t n);
};
constexpr Native accumulator_of(Native t, Combine c) {
  return t == Native::f32 && (c == Combine::add || c == Combine::mul) ? Native::f64 : t;
}

struct TileTable {
  TileFn fn[kFnCount][kNatives] = {};  // null where the function has no formula in the type
  TileFn convert[kStorages][kStorages] = {};
  TileFn round_half[2] = {};  // floats to the nearest float16, bfloat16
  ChainFn chain = nullptr;
  FoldFns fold[kCombines][kNatives] = {};
  // First i < n where x[i] is the largest (Combine::max) or smallest; NaN is both.
  int64_t (*arg_fold[2][kNatives])(const void* x, int64_t n) = {};
};

const TileTable& tile_table();

}  // namespace mxnet
