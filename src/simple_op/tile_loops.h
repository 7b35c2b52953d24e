// SPDX-License-Identifier: Apache-2.0
// The loop around a formula. Only for *_isa.cc.
#pragma once

#include <utility>

#include "simple_op/tile_formulas.h"
#include "simple_op/tile_table.h"

namespace mxnet::MX_ISA {

// An operand: a run of elements, or one element for all, of which `copies` is a vector that is never stepped over.
template <typename T>
struct Operand {
  MX_INLINE Operand(const void* address, bool scalar, Vec<T>& copies)
      : p(static_cast<const T*>(address)), step(scalar ? 0 : 1) {
    if (!scalar) return;
    copies = splat(*p);
    p = reinterpret_cast<const T*>(&copies);
  }
  MX_INLINE Vec<T> at(int64_t i) const { return load(p + i * step); }
  MX_INLINE Vec<T> first(int64_t n) const { return step ? load_part(p, n) : load(p); }

  const T* p;
  int64_t step;
};

// The last, overlapping vector is read before the loop writes: so `out` may be an operand.
template <typename F, typename T>
void tile_unary(void* out, const void* a, const void*, const void*, int64_t n, unsigned scalars) {
  constexpr int64_t L = kLanes<T>;
  T* o = static_cast<T*>(out);
  Vec<T> copies;
  const Operand<T> x(a, scalars & 1, copies);
  const auto of = [](Vec<T> v) MX_LAMBDA_INLINE { return F::of(v, v, v); };
  if (n < L) return n > 0 ? store_part(o, of(x.first(n)), n) : void();
  const int64_t last = n - L;
  const Vec<T> tail = x.at(last);
  for (int64_t i = 0; i < last; i += L) store(o + i, of(x.at(i)));
  store(o + last, of(tail));
}

template <Fn f, typename T>
void tile_binary(void* out, const void* a, const void* b, const void*, int64_t n, unsigned scalars) {
  constexpr int64_t L = kLanes<T>;
  T* o = static_cast<T*>(out);
  Vec<T> copies_x, copies_y;
  const Operand<T> x(a, scalars & 1, copies_x), y(b, scalars & 2, copies_y);
  const auto of = [](Vec<T> v, Vec<T> w) MX_LAMBDA_INLINE { return Formula<f>::of(v, w, w); };
  if (n < L) return n > 0 ? store_part(o, of(x.first(n), y.first(n)), n) : void();
  const int64_t last = n - L;
  const Vec<T> tail_x = x.at(last), tail_y = y.at(last);
  for (int64_t i = 0; i < last; i += L) store(o + i, of(x.at(i), y.at(i)));
  store(o + last, of(tail_x, tail_y));
}

template <Fn f, typename T>
void tile_ternary(void* out, const void* a, const void* b, const void* c, int64_t n, unsigned scalars) {
  constexpr int64_t L = kLanes<T>;
  T* o = static_cast<T*>(out);
  Vec<T> copies_x, copies_y, copies_z;
  const Operand<T> x(a, scalars & 1, copies_x), y(b, scalars & 2, copies_y), z(c, scalars & 4, copies_z);
  if (n < L) return n > 0 ? store_part(o, Formula<f>::of(x.first(n), y.first(n), z.first(n)), n) : void();
  const int64_t last = n - L;
  const Vec<T> tail_x = x.at(last), tail_y = y.at(last), tail_z = z.at(last);
  for (int64_t i = 0; i < last; i += L) store(o + i, Formula<f>::of(x.at(i), y.at(i), z.at(i)));
  store(o + last, Formula<f>::of(tail_x, tail_y, tail_z));
}

struct Cube {
  template <typename V>
  MX_INLINE static V of(V a, V, V) {
    return a * a * a;
  }
};

// Powers to the exponents that programs use most need no logarithm.
template <typename T>
void tile_power(void* out, const void* a, const void* b, const void* c, int64_t n, unsigned scalars) {
  const T exponent = scalars & 2 ? *static_cast<const T*>(b) : T(0);
  TileFn tile = tile_binary<Fn::power, T>;
  if (exponent == T(1))
    tile = tile_unary<Formula<Fn::copy>, T>;
  else if (exponent == T(2))
    tile = tile_unary<Formula<Fn::square>, T>;
  else if (exponent == T(3))
    tile = tile_unary<Cube, T>;
  else if (exponent == T(0.5))
    tile = tile_unary<Formula<Fn::sqrt>, T>;
  else if (exponent == T(-1))
    tile = tile_unary<Formula<Fn::reciprocal>, T>;
  tile(out, a, b, c, n, scalars);
}

template <typename T, int f>
constexpr TileFn tile_of() {
  if constexpr (!std::is_floating_point_v<T> && !on_integers(Fn(f)))
    return nullptr;
  else if constexpr (Fn(f) == Fn::power)
    return tile_power<T>;
  else if constexpr (arity_of(Fn(f)) == 1)
    return tile_unary<Formula<Fn(f)>, T>;
  else if constexpr (arity_of(Fn(f)) == 2)
    return tile_binary<Fn(f), T>;
  else
    return tile_ternary<Fn(f), T>;
}

template <typename T, int... f>
void fill_column(TileTable& table, Native type, std::integer_sequence<int, f...>) {
  ((table.fn[f][static_cast<int>(type)] = tile_of<T, f>()), ...);
}
template <typename T>
void fill_column(TileTable& table, Native type) {
  fill_column<T>(table, type, std::make_integer_sequence<int, kFnCount>{});
}

}  // namespace mxnet::MX_ISA
