// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/row_sum.h"

#include <algorithm>

#include "backend/cpu/parallel.h"

namespace mxnet::nn {

// Columns (or channels) in parallel, each summed in order: the result does not depend on the team.
void sum_to_channels(const void* from, void* to, DType dtype, int64_t outer, int64_t channels, int64_t inner,
                     bool add) {
  dispatch_float(dtype, [&]<typename T>(TypeTag<T>) {
    const auto* source = static_cast<const T*>(from);
    auto* target = static_cast<T*>(to);
    const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, outer * inner));
    if (inner == 1) {
      constexpr int64_t kBlock = 64;
      cpu::parallel_for(
          (channels + kBlock - 1) / kBlock, (grain + kBlock - 1) / kBlock, [&](int64_t begin, int64_t end) {
            const int64_t first = begin * kBlock, width = std::min(channels, end * kBlock) - first;
            row_sum_kernels().rows(dtype, source + first, nullptr, outer, channels, width, target + first, add);
          });
      return;
    }
    cpu::parallel_for(channels, grain, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) {
        double sum = row_sum_kernels().planes(dtype, source + c * inner, outer, channels * inner, inner);
        if (add) sum += static_cast<double>(target[c]);
        target[c] = static_cast<T>(static_cast<compute_t<T>>(sum));
      }
    });
  });
}

}  // namespace mxnet::nn
