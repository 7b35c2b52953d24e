// SPDX-License-Identifier: Apache-2.0
// The geometry of 3 x 3 convolutions in tiles of 4 x 4 outputs, on channels-last data. Internal to
// convolution_winograd*.
#pragma once

#include "ops/nn/convolution.h"
#include "ops/nn/convolution_winograd.h"

namespace mxnet::nn {

// Elements between what would lie a multiple of 4 KiB apart, and so meet in one set of the first cache.
inline constexpr int64_t kSetPadding = 16;

// dst = conv(src): of the forward and weights passes, or of the data pass with dy as src and the window turned round.
struct TiledConv {
  int64_t batch, channels, filters;
  int64_t in_rows, in_cols, out_rows, out_cols, pad_rows, pad_cols;

  static int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }
  int64_t tile_rows() const { return parts_of(out_rows, kWinogradOut); }
  int64_t tile_cols() const { return parts_of(out_cols, kWinogradOut); }
  int64_t tiles() const { return batch * tile_rows() * tile_cols(); }

  struct Tile {
    int64_t image, row, col;  // of its first output
  };
  Tile tile_at(int64_t index) const {
    const int64_t per_image = tile_rows() * tile_cols(), within = index % per_image;
    return {index / per_image, within / tile_cols() * kWinogradOut, within % tile_cols() * kWinogradOut};
  }

  // Where the 36 inputs of a tile lie; null where there are none.
  void find_inputs(const Tile& tile, const float* src, const float** pixels) const {
    for (int64_t y = tile.row - pad_rows; y < tile.row - pad_rows + kWinogradIn; ++y) {
      for (int64_t x = tile.col - pad_cols; x < tile.col - pad_cols + kWinogradIn; ++x) {
        const bool inside = y >= 0 && y < in_rows && x >= 0 && x < in_cols;
        *pixels++ = inside ? src + ((tile.image * in_rows + y) * in_cols + x) * channels : nullptr;
      }
    }
  }
  // The same for its 16 outputs.
  template <typename T>
  void find_outputs(const Tile& tile, T* dst, T** pixels) const {
    for (int64_t y = tile.row; y < tile.row + kWinogradOut; ++y) {
      for (int64_t x = tile.col; x < tile.col + kWinogradOut; ++x) {
        const bool inside = y < out_rows && x < out_cols;
        *pixels++ = inside ? dst + ((tile.image * out_rows + y) * out_cols + x) * filters : nullptr;
      }
    }
  }
};

TiledConv tiled(const ConvProblem& q, ConvPass pass);

std::unique_ptr<ConvKernel> make_winograd_weights(const ConvProblem& q, bool with_bias);

}  // namespace mxnet::nn
