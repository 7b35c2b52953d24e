// SPDX-License-Identifier: Apache-2.0
// A batch of images as (outer, height, width, inner), whatever its layout: plain images have inner 1, images with their
// channels last have inner channels.
#pragma once

#include "ops/vision/vision.h"

namespace mxnet::vision {

struct PlaneView {
  int64_t outer, inner;
  static PlaneView of(const Shape& s, Layout layout) {
    return layout == Layout::channels_last ? PlaneView{s[0], s[1]} : PlaneView{s[0] * s[1], 1};
  }
};

// The kernel stays in the layout in which the first input lies.
inline PlaneView keep_layout_of_first(const PrepareArgs& a) {
  a.in_layout[0] = a.out[0].layout = a.in[0].layout;
  return PlaneView::of(a.in[0].shape, a.in[0].layout);
}

}  // namespace mxnet::vision
