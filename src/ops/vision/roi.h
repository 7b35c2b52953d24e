// SPDX-License-Identifier: Apache-2.0
// What the operators on regions of interest share. A region is a row (image, coordinates...); a negative image makes
// a region of zeros.
#pragma once

#include "ops/vision/vision.h"

namespace mxnet::vision {

// Declares `pooled_size` and `spatial_scale`.
template <typename P>
void declare_pooled(ParamSchemaOf<P>& s) {
  s.template field<Shape>("pooled_size", &P::pooled_size, "Height and width of the output.").required();
  s.template field<float>("spatial_scale", &P::spatial_scale, "Factor from coordinates of regions to pixels of data.")
      .required()
      .range(0, 1);
  s.validate([](const P& p) {
    if (p.pooled_size.rank() != 2 || p.pooled_size[0] < 1 || p.pooled_size[1] < 1) {
      fail(ErrorKind::value, "pooled_size must be two positive numbers, got ", p.pooled_size);
    }
  });
}

// data (batch, channels, height, width) and rois (regions, row).
inline void check_regions(const InferContext& c, int64_t row) {
  check_rank(c, 0, 4, "(batch, channels, height, width)");
  const Shape& rois = c.in[1].shape;
  if (rois.rank_known() && (rois.rank() != 2 || (rois[1] >= 0 && rois[1] != row))) {
    c.bad(str("rois must have shape (regions, ", row, "), got ", rois));
  }
}

// The image of a region, or -1.
template <typename T>
int64_t image_of(const T* roi, int64_t batch, const char* op) {
  if (!(roi[0] >= 0)) return -1;
  if (roi[0] >= T(batch)) fail(ErrorKind::index, op, ": rois name image ", roi[0], " of a batch of ", batch);
  return static_cast<int64_t>(roi[0]);
}

// Pixels are addressed by 32 bits.
inline void check_pixels(const PrepareArgs& a, const Shape& data) {
  if (data[2] * data[3] > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 pixels in an image");
}

}  // namespace mxnet::vision
