// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/column_sum.h"

#include <algorithm>

#include "backend/cpu/parallel.h"

namespace mxnet::nn {
namespace {

template <typename T>
void put(T& to, accumulate_t<T> sum, bool add) {
  to = static_cast<T>(add ? static_cast<accumulate_t<T>>(to) + sum : sum);
}

// Blocks of columns, each summed over the rows in order: the result does not depend on the team.
template <typename T>
void sum_rows(const T* from, T* to, int64_t rows, int64_t cols, bool add) {
  using Acc = accumulate_t<T>;
  constexpr int64_t kBlock = 64, kRun = 8;
  cpu::parallel_for((cols + kBlock - 1) / kBlock, std::max<int64_t>(1, 16384 / (rows * kBlock + 1)),
                    [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t first = b * kBlock, width = std::min(kBlock, cols - first);
      Acc sum[kBlock] = {};
      const T* p = from + first;
      for (int64_t r = 0; r < rows; ++r, p += cols) {
        int64_t j = 0;
        for (; j + kRun <= width; j += kRun) {
          for (int64_t q = 0; q < kRun; ++q) sum[j + q] += static_cast<Acc>(p[j + q]);
        }
        for (; j < width; ++j) sum[j] += static_cast<Acc>(p[j]);
      }
      for (int64_t j = 0; j < width; ++j) put<T>(to[first + j], sum[j], add);
    }
  });
}

template <typename T>
void sum_planes(const T* from, T* to, int64_t outer, int64_t channels, int64_t inner, bool add) {
  using Acc = accumulate_t<T>;
  constexpr int64_t kLanes = 16;
  cpu::parallel_for(channels, std::max<int64_t>(1, 16384 / (outer * inner + 1)), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      Acc lanes[kLanes] = {};
      for (int64_t o = 0; o < outer; ++o) {
        const T* p = from + (o * channels + c) * inner;
        int64_t i = 0;
        for (; i + kLanes <= inner; i += kLanes) {
          for (int64_t q = 0; q < kLanes; ++q) lanes[q] += static_cast<Acc>(p[i + q]);
        }
        for (; i < inner; ++i) lanes[i % kLanes] += static_cast<Acc>(p[i]);
      }
      Acc sum = 0;
      for (Acc lane : lanes) sum += lane;
      put<T>(to[c], sum, add);
    }
  });
}

}  // namespace

void sum_to_channels(const void* from, void* to, DType dtype, int64_t outer, int64_t channels, int64_t inner,
                     bool add) {
  dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    if constexpr (!std::is_same_v<T, bool>) {
      const auto* source = static_cast<const T*>(from);
      auto* target = static_cast<T*>(to);
      if (inner == 1) sum_rows(source, target, outer, channels, add);
      else sum_planes(source, target, outer, channels, inner, add);
    }
  });
}

}  // namespace mxnet::nn
