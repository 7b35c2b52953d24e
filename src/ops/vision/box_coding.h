// SPDX-License-Identifier: Apache-2.0
// A box relative to an anchor: (dx / width, dy / height, log of the ratio of widths, of heights).
#pragma once

#include <algorithm>
#include <cmath>

namespace mxnet::vision {

template <typename T>
struct CenterBox {
  T x, y, w, h;
  static CenterBox of_corners(const T* p) {
    const T w = p[2] - p[0], h = p[3] - p[1];
    return {p[0] + w / 2, p[1] + h / 2, w, h};
  }
};

template <typename T>
void encode(const CenterBox<T>& box, const CenterBox<T>& anchor, T* code) {
  code[0] = (box.x - anchor.x) / anchor.w;
  code[1] = (box.y - anchor.y) / anchor.h;
  code[2] = std::log(box.w / anchor.w);
  code[3] = std::log(box.h / anchor.h);
}

// Corners of the box. The code is multiplied by `scale` first; logarithms above a positive `clip` are clipped.
template <typename T>
void decode(const T* code, const T* scale, T clip, const CenterBox<T>& anchor, T* corners) {
  const auto extent = [&](int k, T length) {
    const T log = code[k] * scale[k];
    return std::exp(clip > 0 ? std::min(log, clip) : log) * length / 2;
  };
  const T x = code[0] * scale[0] * anchor.w + anchor.x, y = code[1] * scale[1] * anchor.h + anchor.y;
  const T w = extent(2, anchor.w), h = extent(3, anchor.h);
  corners[0] = x - w;
  corners[1] = y - h;
  corners[2] = x + w;
  corners[3] = y + h;
}

}  // namespace mxnet::vision
