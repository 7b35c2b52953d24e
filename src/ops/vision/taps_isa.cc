// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/taps.h"

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

using vision::Tap;

// Sums stay in registers for kBlock vectors of channels while all taps are added.
template <int kBlock, typename T>
MX_INLINE void gather_block(const T* map, int64_t step, const Tap<T>* taps, int64_t n, T scale, T* sum) {
  Vec<T> acc[kBlock] = {};
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) {
      const T* pixel = map + taps[i].at[k] * step;
      const Vec<T> weight = splat(taps[i].weight[k]);
      for (int v = 0; v < kBlock; ++v) acc[v] += weight * load(pixel + v * kLanes<T>);
    }
  }
  for (int v = 0; v < kBlock; ++v) store(sum + v * kLanes<T>, acc[v] * splat(scale));
}

template <typename T>
void gather(const T* map, int64_t step, const Tap<T>* taps, int64_t n, T scale, int64_t channels, T* sum) {
  constexpr int kBlock = 8;
  int64_t c = 0;
  for (; c + kBlock * kLanes<T> <= channels; c += kBlock * kLanes<T>)
    gather_block<kBlock>(map + c, step, taps, n, scale, sum + c);
  for (; c + kLanes<T> <= channels; c += kLanes<T>) gather_block<1>(map + c, step, taps, n, scale, sum + c);
  for (; c < channels; ++c) {
    T acc = 0;
    for (int64_t i = 0; i < n; ++i) {
      for (int k = 0; k < 4; ++k) acc += taps[i].weight[k] * map[taps[i].at[k] * step + c];
    }
    sum[c] = acc * scale;
  }
}

template <typename T>
void scatter(const T* value, const Tap<T>* taps, int64_t n, T scale, int64_t channels, T* map, int64_t step) {
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 4; ++k) {
      T* pixel = map + taps[i].at[k] * step;
      const T weight = taps[i].weight[k] * scale;
      if (weight == 0) continue;
      int64_t c = 0;
      for (; c + kLanes<T> <= channels; c += kLanes<T>)
        store(pixel + c, load(pixel + c) + splat(weight) * load(value + c));
      for (; c < channels; ++c) pixel[c] += weight * value[c];
    }
  }
}

template <typename T>
void dots(const T* map, int64_t step, const Tap<T>& tap, const T* head, int64_t channels, T* sums) {
  const T* pixel[4];
  for (int k = 0; k < 4; ++k) pixel[k] = map + tap.at[k] * step;
  Vec<T> acc[4] = {};
  int64_t c = 0;
  for (; c + kLanes<T> <= channels; c += kLanes<T>) {
    const Vec<T> h = load(head + c);
    for (int k = 0; k < 4; ++k) acc[k] += h * load(pixel[k] + c);
  }
  for (int k = 0; k < 4; ++k) {
    for (int lane = 0; lane < kLanes<T>; ++lane) sums[k] += acc[k][lane];
  }
  for (; c < channels; ++c) {
    for (int k = 0; k < 4; ++k) sums[k] += head[c] * pixel[k][c];
  }
}

}  // namespace

const vision::TapTable tap_table_table = {{gather<float>, dots<float>, scatter<float>},
                                          {gather<double>, dots<double>, scatter<double>}};

}  // namespace mxnet::MX_ISA
