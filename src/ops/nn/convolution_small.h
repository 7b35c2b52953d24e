// SPDX-License-Identifier: Apache-2.0
// Gradients of convolutions with few input channels, where a vector of channels would be mostly empty. On channels-last
// data the elements under one row of the window, (kernel width x channels), are neighbours in memory: such a run is the
// vector dimension instead.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// A two-dimensional problem on float32. Images are padded copies: `width` columns of `channels` elements, and a tail of
// kVector elements that may be read or added to.
struct SmallConv {
  int64_t channels, filters;
  int64_t in_rows, in_cols;  // without padding
  int64_t out_rows, out_cols;
  int64_t kernel_rows, kernel_cols;
  int64_t stride_rows, stride_cols;
  int64_t pad_rows, pad_cols;

  static constexpr int64_t kVector = 16;
  static int64_t up(int64_t n) { return (n + kVector - 1) / kVector * kVector; }
  int64_t run() const { return kernel_cols * channels; }
  int64_t padded_rows() const { return (out_rows - 1) * stride_rows + kernel_rows; }
  int64_t padded_cols() const { return (out_cols - 1) * stride_cols + kernel_cols; }
  int64_t row_size() const { return padded_cols() * channels; }
  int64_t image_size() const { return up(padded_rows() * row_size() + up(run())); }
  // Weight gradients are collected as [kernel row][run][filters] or as [kernel row][filters][run], whichever wastes
  // fewer lanes.
  bool lanes_are_filters() const { return up(filters) * run() <= up(run()) * filters; }
  int64_t gradient_size() const {
    return kernel_rows * (lanes_are_filters() ? run() * up(filters) : filters * up(run()));
  }
  int64_t packed_size() const { return kernel_rows * filters * up(run()); }
};

struct SmallConvKernels {
  bool available;  // false: this instruction set has too few registers
  // One image: adds what the output gradients `dy` (rows x cols x filters) give to `image`. `packed`: weights as
  // [kernel row][filters][run].
  void (*data)(const SmallConv& conv, const float* dy, const float* packed, float* image);
  // One image: adds to `gradient`. `dy` has up(filters) elements per place where lanes_are_filters(), else filters.
  void (*weights)(const SmallConv& conv, const float* image, const float* dy, float* gradient);
  // Adds the sum over `rows` rows of `cols` elements, `step` apart, to `sums`.
  void (*add_rows)(const float* from, int64_t rows, int64_t cols, int64_t step, float* sums);
};
MX_ISA_TABLE(SmallConvKernels, small_conv_kernels)

}  // namespace mxnet
