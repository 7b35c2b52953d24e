// SPDX-License-Identifier: Apache-2.0
// Loops of reductions. The order of combination depends on the length alone.
#include "backend/cpu/simd.h"
#include "simple_op/tile_fill.h"
#include "simple_op/tile_formulas.h"

namespace mxnet::MX_ISA {
namespace {

template <Combine c, typename V>
MX_INLINE V combine(V a, V b) {
  if constexpr (c == Combine::add)
    return a + b;
  else if constexpr (c == Combine::mul)
    return a * b;
  else if constexpr (c == Combine::max)
    return maximum(a, b);
  else
    return minimum(a, b);
}
template <Combine c, typename T>
MX_INLINE T combine_one(T a, T b) {
  if constexpr (c == Combine::add)
    return static_cast<T>(a + b);
  else if constexpr (c == Combine::mul)
    return static_cast<T>(a * b);
  else if constexpr (c == Combine::max)
    return a >= b || a != a ? a : b;
  else
    return a <= b || a != a ? a : b;
}

template <Combine c, typename T>
inline constexpr bool kWide = std::is_same_v<T, float> && (c == Combine::add || c == Combine::mul);
template <Combine c, typename T>
using Accumulator = std::conditional_t<kWide<c, T>, double, T>;
// Signed integers wrap: they are combined as unsigned.
template <typename T>
struct WrappingOf {
  using type = std::make_unsigned_t<T>;
};
template <>
struct WrappingOf<float> {
  using type = float;
};
template <>
struct WrappingOf<double> {
  using type = double;
};
template <Combine c, typename T>
using Wrapping = std::conditional_t<c == Combine::add || c == Combine::mul, typename WrappingOf<T>::type, T>;

// Long runs are folded block by block; blocks meet in the accumulator type.
inline constexpr int64_t kBlock = 2048;

template <Combine c, typename T>
MX_INLINE T fold_block(const T* x, int64_t n) {
  constexpr int64_t L = kLanes<T>;
  int64_t i = 0;
  T r;
  if (n >= 4 * L) {
    Vec<T> a0 = load(x), a1 = load(x + L), a2 = load(x + 2 * L), a3 = load(x + 3 * L);
    for (i = 4 * L; i + 4 * L <= n; i += 4 * L) {
      a0 = combine<c>(a0, load(x + i));
      a1 = combine<c>(a1, load(x + i + L));
      a2 = combine<c>(a2, load(x + i + 2 * L));
      a3 = combine<c>(a3, load(x + i + 3 * L));
    }
    for (; i + L <= n; i += L) a0 = combine<c>(a0, load(x + i));
    r = fold(combine<c>(combine<c>(a0, a1), combine<c>(a2, a3)),
             [](Vec<T> p, Vec<T> q) MX_LAMBDA_INLINE { return combine<c>(p, q); });
  } else if (n >= L) {
    Vec<T> a = load(x);
    for (i = L; i + L <= n; i += L) a = combine<c>(a, load(x + i));
    r = fold(a, [](Vec<T> p, Vec<T> q) MX_LAMBDA_INLINE { return combine<c>(p, q); });
  } else {
    r = x[0];
    i = 1;
  }
  for (; i < n; ++i) r = combine_one<c>(r, x[i]);
  return r;
}

template <Combine c, typename Given>
void fold_run(void* out, const void* data, int64_t n) {
  using T = Wrapping<c, Given>;
  using A = Accumulator<c, T>;
  const T* x = static_cast<const T*>(data);
  A r = fold_block<c>(x, n < kBlock ? n : kBlock);
  for (int64_t i = kBlock; i < n; i += kBlock) {
    r = combine_one<c>(r, static_cast<A>(fold_block<c>(x + i, n - i < kBlock ? n - i : kBlock)));
  }
  *static_cast<A*>(out) = r;
}

template <Combine c, typename Given>
void fold_rows(void* out, const void* data, int64_t rows, int64_t n) {
  using T = Wrapping<c, Given>;
  using A = Accumulator<c, T>;
  const T* x = static_cast<const T*>(data);
  A* o = static_cast<A*>(out);
  for (int64_t r = 0; r < rows; ++r, x += n) {
    A sum = static_cast<A>(x[0]);
    for (int64_t i = 1; i < n; ++i) sum = combine_one<c>(sum, static_cast<A>(x[i]));
    o[r] = sum;
  }
}

template <Combine c, typename Given>
void accumulate(void* acc, const void* data, int64_t n) {
  using T = Wrapping<c, Given>;
  using A = Accumulator<c, T>;
  const T* x = static_cast<const T*>(data);
  A* a = static_cast<A*>(acc);
  int64_t i = 0;
  if constexpr (kWide<c, T>) {
    for (; i + kLanes<float> <= n; i += kLanes<float>) {
      const Wide w = widen(load(x + i));
      store(a + i, combine<c>(load(a + i), w.lo));
      store(a + i + kLanes<double>, combine<c>(load(a + i + kLanes<double>), w.hi));
    }
  } else {
    for (; i + kLanes<T> <= n; i += kLanes<T>) store(a + i, combine<c>(load(a + i), load(x + i)));
  }
  for (; i < n; ++i) a[i] = combine_one<c>(a[i], static_cast<A>(x[i]));
}

template <Combine c, typename T>
int64_t arg_fold(const void* data, int64_t n) {
  const T* x = static_cast<const T*>(data);
  constexpr int64_t L = kLanes<T>;
  if (n < 2 * L) {
    int64_t best = 0;
    for (int64_t i = 1; i < n && x[best] == x[best]; ++i) {
      if (x[i] != x[i] || (c == Combine::max ? x[i] > x[best] : x[i] < x[best])) best = i;
    }
    return best;
  }
  const T extreme = fold_block<c>(x, n);
  const Vec<T> wanted = splat(extreme);
  int64_t i = 0;
  if (extreme == extreme) {
    while (i + L <= n && !any((Mask<Vec<T>>)(load(x + i) == wanted))) i += L;
    while (i < n && x[i] != extreme) ++i;
  } else {
    while (i < n && x[i] == x[i]) ++i;
  }
  return i;
}

template <typename T, Combine... c>
void fill_type(TileTable& table, std::integer_sequence<Combine, c...>) {
  const int type = static_cast<int>(native_of(dtype_of<T>()));
  ((table.fold[static_cast<int>(c)][type] = {fold_run<c, T>, fold_rows<c, T>, accumulate<c, T>}), ...);
  table.arg_fold[0][type] = arg_fold<Combine::max, T>;
  table.arg_fold[1][type] = arg_fold<Combine::min, T>;
}
template <typename... T>
void fill_types(TileTable& table) {
  (fill_type<T>(table, std::integer_sequence<Combine, Combine::add, Combine::mul, Combine::max, Combine::min>{}), ...);
}

}  // namespace

void fill_fold(TileTable& table) { fill_types<float, double, int32_t, int64_t, int8_t, uint8_t>(table); }

}  // namespace mxnet::MX_ISA
