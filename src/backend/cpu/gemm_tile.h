// SPDX-License-Identifier: Apache-2.0
// Products of float matrices whose right side is packed: the inner part of kernels that work on tiles. One table per
// instruction set.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// c = alpha * a * b (+ c)
struct TileProduct {
  int64_t rows = 0, cols = 0, depth = 0;
  const float* a = nullptr;  // row r, depth d: a[r * a_row + d * a_depth]; one of the two steps is 1
  int64_t a_row = 0, a_depth = 1;
  const float* b = nullptr;  // as `pack` leaves it
  float* c = nullptr;
  int64_t c_row = 0;
  float alpha = 1;
  bool add = false;
};

struct TileKernels {
  int rows, cols;  // of the tile that registers hold; multiples of these waste nothing
  // b: panels of `cols` columns, each with its depths one after the other: column j of depth d at
  // [(j / cols * depth + d) * cols + j % cols]. Columns past the end are zero. Both steps are in elements.
  void (*pack)(const float* from, int64_t column_step, int64_t depth_step, int64_t columns, int64_t depth, float* to);
  void (*multiply)(const TileProduct& product);
};
MX_ISA_TABLE(TileKernels, tile_kernels)

// Floats that `pack` writes.
inline int64_t packed_size(const TileKernels& k, int64_t columns, int64_t depth) {
  return (columns + k.cols - 1) / k.cols * k.cols * depth;
}

}  // namespace mxnet
