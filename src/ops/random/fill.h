// SPDX-License-Identifier: Apache-2.0
// Long runs of uniform and normal floats: one table per instruction set, of the same numbers.
#pragma once

#include <cstdint>

#include "resource/random.h"

namespace mxnet::ops::random_fill {

// A block is 16 positions of the stream and 64 numbers: number 16 w + p comes from word w of position p.
inline constexpr int64_t kPositions = 16;
inline constexpr int64_t kBlock = 64;

struct Table {
  // Numbers of the blocks [first, first + blocks): low + span * [0, 1), and loc + scale * a standard normal.
  void (*uniform)(const random::Stream& s, int64_t first, int64_t blocks, float low, float span, float* out);
  void (*normal)(const random::Stream& s, int64_t first, int64_t blocks, float loc, float scale, float* out);
};

const Table& table();

}  // namespace mxnet::ops::random_fill
