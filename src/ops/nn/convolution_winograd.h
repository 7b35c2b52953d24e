// SPDX-License-Identifier: Apache-2.0
// 3 x 3 convolutions by Winograd's minimal filtering F(4 x 4, 3 x 3): 36 small matrix products instead of nine
// multiplications per output. Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// Tiles have 4 x 4 outputs and 6 x 6 inputs, kPoints in the transformed domain.
inline constexpr int kWinogradOut = 4, kWinogradIn = 6, kWinogradPoints = 36;

struct WinogradKernels {
  int64_t lanes;  // filters side by side in a panel; channels and filters must be multiples of it
  int64_t rows;   // tiles that are multiplied together
  // One panel of filters. Element (filter, channel, i of 9) is w[filter * filter_step + channel * channel_step + i],
  // taken from its end where `flip`. To (kPoints, channels, lanes), points `point_step` apart.
  void (*weights)(const float* w, int64_t filter_step, int64_t channel_step, bool flip, int64_t channels, float* to,
                  int64_t point_step);
  // One tile from its 36 pixels of `channels` elements, null ones being zero; points are `point_step` apart, panels of
  // lanes `panel_step`.
  void (*input)(const float* const* pixels, int64_t channels, float* to, int64_t point_step, int64_t panel_step);
  // One point: to[tile][lane] = sum over channels of tiles[tile][channel] * panel[channel][lane].
  void (*multiply)(const float* tiles, int64_t count, int64_t channels, const float* panel, float* to);
  // One tile's panel of filters to its 16 pixels, of which null ones are left out. `bias`: null or one number per lane.
  void (*output)(const float* from, int64_t point_step, const float* bias, float* const* pixels);
  // For weight gradients: one tile from its 16 pixels of output gradients, null ones being zero, and the sums of one
  // filter and a panel of channels to (lanes, 9).
  void (*gradient)(const float* const* pixels, int64_t filters, float* to, int64_t point_step);
  void (*window)(const float* from, int64_t point_step, float* to);
};
MX_ISA_TABLE(WinogradKernels, winograd_kernels)

}  // namespace mxnet
