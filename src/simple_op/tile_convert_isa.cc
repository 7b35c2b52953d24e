// SPDX-License-Identifier: Apache-2.0
// Conversions between storage types, rounding to halves.
#include <utility>

#include "backend/cpu/simd.h"
#include "simple_op/tile_fill.h"

namespace mxnet::MX_ISA {
namespace {

template <typename T>
inline constexpr bool kIsHalf = std::is_same_v<T, half_t> || std::is_same_v<T, bfloat16_t>;

template <typename From, typename To>
void convert_tile(void* out, const void* a, const void*, const void*, int64_t n, unsigned) {
  const From* x = static_cast<const From*>(a);
  To* o = static_cast<To*>(out);
  int64_t i = 0;
  if constexpr ((kIsHalf<From> && std::is_same_v<To, float>) || (std::is_same_v<From, float> && kIsHalf<To>)) {
    for (; i + kLanes<float> <= n; i += kLanes<float>) store(o + i, load(x + i));
  } else if constexpr (std::is_same_v<From, float> && std::is_same_v<To, int32_t>) {
    for (; i + kLanes<float> <= n; i += kLanes<float>) {
      const F32 v = load(x + i);
      if (any((Mask<F32>)~((v > -2147483648.0f) & (v < 2147483648.0f)))) break;
      store(o + i, __builtin_convertvector(v, I32));
    }
  }
  for (; i < n; ++i) o[i] = convert<To>(x[i]);
}

template <typename Half>
void round_tile(void* out, const void* a, const void*, const void*, int64_t n, unsigned) {
  const float* x = static_cast<const float*>(a);
  float* o = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) store(o + i, rounded<Half>(load(x + i)));
  for (; i < n; ++i) o[i] = static_cast<float>(Half(x[i]));
}

template <typename From, typename... To>
void fill_row(TileTable& table) {
  ((table.convert[storage_slot(dtype_of<From>())][storage_slot(dtype_of<To>())] = convert_tile<From, To>), ...);
}
template <typename... Ts>
void fill_all(TileTable& table) {
  (fill_row<Ts, Ts...>(table), ...);
}

}  // namespace

void fill_convert(TileTable& table) {
  fill_all<float, double, half_t, bfloat16_t, uint8_t, int8_t, int32_t, int64_t, bool>(table);
  table.round_half[0] = round_tile<half_t>;
  table.round_half[1] = round_tile<bfloat16_t>;
}

}  // namespace mxnet::MX_ISA
