// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: a number is a function of a key and a position, so results depend neither on threads
// nor on how the work is cut. The first half compiles for any device; no state inside.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/device.h"

#if defined(__CUDACC__)
#define MXNET_DEVICE_FN __host__ __device__ inline
#else
#define MXNET_DEVICE_FN inline
#endif

namespace mxnet::random {

struct Key {
  uint32_t lo = 0, hi = 0;
};
struct Words {
  uint32_t v[4];
};

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", 2011).
MXNET_DEVICE_FN Words philox(Words counter, Key key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter.v[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter.v[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.v[1] ^ key.lo, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.v[3] ^ key.hi, static_cast<uint32_t>(a)}};
    key.lo += 0x9E3779B9u;
    key.hi += 0xBB67AE85u;
  }
  return counter;
}

// A reserved part of a stream. `at(i)` gives four words; positions i in [0, n) of a reservation of n never repeat
// those of another reservation of the same stream.
struct Stream {
  Key key;
  uint64_t base = 0;

  MXNET_DEVICE_FN Words at(uint64_t i) const {
    const uint64_t position = base + i;
    return philox({{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), 0, 0}}, key);
  }
  // For samplers that reject: try number `attempt` at position i.
  MXNET_DEVICE_FN Words at(uint64_t i, uint32_t attempt) const {
    const uint64_t position = base + i;
    return philox({{static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), attempt, 0}}, key);
  }
};

// [0, 1): every value is a multiple of 2^-24, of 2^-53.
MXNET_DEVICE_FN float uniform_float(uint32_t w) { return static_cast<float>(w >> 8) * 0x1p-24f; }
MXNET_DEVICE_FN double uniform_double(uint32_t lo, uint32_t hi) {
  return static_cast<double>(((uint64_t{hi} << 32) | lo) >> 11) * 0x1p-53;
}

// Two independent standard normals from two words (Box and Muller); in double from four.
template <typename T>
struct Pair {
  T first, second;
};
MXNET_DEVICE_FN Pair<float> normal_float(uint32_t a, uint32_t b) {
  const float u = 1.0f - uniform_float(a);  // (0, 1]: the logarithm is finite
  const float radius = std::sqrt(-2.0f * std::log(u));
  const float angle = 6.283185307179586f * uniform_float(b);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}
MXNET_DEVICE_FN Pair<double> normal_double(const Words& w) {
  const double u = 1.0 - uniform_double(w.v[0], w.v[1]);
  const double radius = std::sqrt(-2.0 * std::log(u));
  const double angle = 6.283185307179586476925 * uniform_double(w.v[2], w.v[3]);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

// An integer in [0, n), n > 0, by multiplication; the bias is below n / 2^64.
MXNET_DEVICE_FN uint64_t below(uint64_t n, uint32_t lo, uint32_t hi) {
  const uint64_t x = (uint64_t{hi} << 32) | lo;
#if defined(__CUDA_ARCH__)
  return __umul64hi(x, n);
#else
  return static_cast<uint64_t>((static_cast<unsigned __int128>(x) * n) >> 64);
#endif
}

// ---- the generators of the process (host only) ------------------------------------------------------------------

// Restarts every device's stream. The same seed gives other numbers on another device.
void seed(uint64_t seed);
void seed(uint64_t seed, Device device);

// Takes n positions (of four words each) of the device's stream. Called when an operation is pushed, so that program
// order decides which numbers it gets.
Stream reserve(Device device, uint64_t n);

}  // namespace mxnet::random
