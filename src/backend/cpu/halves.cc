// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/halves.h"

#include "backend/cpu/parallel.h"

namespace mxnet::cpu {
namespace {

constexpr int64_t kGrain = 1 << 16;

}  // namespace

void widen(DType half, const void* from, float* to, int64_t n) {
  const auto* bits = static_cast<const uint16_t*>(from);
  parallel_for(n, kGrain,
               [&](int64_t begin, int64_t end) { half_kernels().widen(half, bits + begin, to + begin, end - begin); });
}

void narrow(DType half, const float* from, void* to, int64_t n) {
  auto* bits = static_cast<uint16_t*>(to);
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    half_kernels().narrow(half, from + begin, bits + begin, end - begin);
  });
}

}  // namespace mxnet::cpu
