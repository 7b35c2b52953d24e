// SPDX-License-Identifier: Apache-2.0
// Products of float matrices whose right side is packed: the inner part of kernels that work on tiles. One table per
// instruction set.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// What becomes of the elements of c when their sums are complete, in this order.
enum class Activation : uint8_t { none, relu, gelu, tanh, sigmoid, clip };
struct TileFinish {
  const float* bias = nullptr;  // one value per column; null: none
  Activation activation = Activation::none;
  float low = 0, high = 0;          // of clip
  const float* residual = nullptr;  // a matrix that is added; null: none
  int64_t residual_row = 0;
  bool any() const { return bias || residual || activation != Activation::none; }
};

// c = alpha * a * b (+ c), then `finish`
struct TileProduct {
  int64_t rows = 0, cols = 0, depth = 0;
  const float* a = nullptr;  // row r, depth d: a[r * a_row + d * a_depth]; one of the two steps is 1
  int64_t a_row = 0, a_depth = 1;
  int64_t a_tile = 0;        // from the rows of one tile to those of the next; 0: as far as a_row says
  const float* b = nullptr;  // as `pack` leaves it
  float* c = nullptr;
  int64_t c_row = 0;
  float alpha = 1;
  bool add = false;
  TileFinish finish;
};

struct TileKernels {
  int rows, cols;  // of the tile that registers hold; multiples of these waste nothing
  // b: panels of `cols` columns, each with its depths one after the other: column j of depth d at
  // [(j / cols * depth + d) * cols + j % cols]. Columns past the end are zero. Both steps are in elements.
  void (*pack)(const float* from, int64_t column_step, int64_t depth_step, int64_t columns, int64_t depth, float* to);
  // The left side for a_row 1, a_depth `rows` and a_tile `rows` * depth, from rows that lie next to each other.
  void (*pack_left)(const float* from, int64_t depth_step, int64_t rows, int64_t depth, float* to);
  void (*multiply)(const TileProduct& product);
  void (*finish)(const TileFinish& finish, float* c, int64_t c_row, int64_t rows, int64_t cols);
};
MX_ISA_TABLE(TileKernels, tile_kernels)

// Floats that `pack` writes.
inline int64_t packed_size(const TileKernels& k, int64_t columns, int64_t depth) {
  return (columns + k.cols - 1) / k.cols * k.cols * depth;
}

}  // namespace mxnet
