// SPDX-License-Identifier: Apache-2.0
// The points of deformable windows as rows of a matrix, and the way back.
#pragma once

#include <cstdint>

namespace mxnet::vision {

struct DeformableShape {
  int64_t batch, channels, filters, groups, deformable_groups;
  int64_t in[2], out[2], kernel[2], stride[2], dilate[2], pad[2];
  bool modulated;  // pixels outside of the image count as 0 each; else a point outside of it as a whole

  int64_t points() const { return out[0] * out[1]; }
  int64_t taps() const { return kernel[0] * kernel[1]; }
  int64_t row() const { return taps() * channels; }  // elements of a point
  int64_t group_channels() const { return channels / groups; }
  int64_t group_filters() const { return filters / groups; }
};

// rows: (groups, points, taps, channels of a group). data is the whole batch with its channels last; offset and mask
// (null: 1) are plain and whole too.
template <typename T>
void deformable_rows(const DeformableShape& s, int64_t image, const T* data, const T* offset, const T* mask, T* rows);

// From the gradient of rows: adds to ddata, writes doffset and dmask of this image. Null: not asked for.
template <typename T>
void deformable_gradient(const DeformableShape& s, int64_t image, const T* drows, const T* data, const T* offset,
                         const T* mask, T* ddata, T* doffset, T* dmask);

}  // namespace mxnet::vision
