// SPDX-License-Identifier: Apache-2.0
// Boxes by their corners, and their overlap.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "operator/params.h"

namespace mxnet::vision {

enum class BoxFormat { corner, center };

inline std::vector<std::pair<std::string, BoxFormat>> box_formats() {
  return {{"center", BoxFormat::center}, {"corner", BoxFormat::corner}};
}

template <typename T>
struct Box {
  T x0, y0, x1, y1;

  // Four numbers in memory: corners, or center and extent.
  static Box read(const T* p, BoxFormat format) {
    if (format == BoxFormat::corner) return {p[0], p[1], p[2], p[3]};
    const T w = p[2] / 2, h = p[3] / 2;
    return {p[0] - w, p[1] - h, p[0] + w, p[1] + h};
  }
  void write(T* p, BoxFormat format) const {
    const bool corner = format == BoxFormat::corner;
    p[0] = corner ? x0 : (x0 + x1) / 2;
    p[1] = corner ? y0 : (y0 + y1) / 2;
    p[2] = corner ? x1 : x1 - x0;
    p[3] = corner ? y1 : y1 - y0;
  }
  // 0 where corners are in the wrong order.
  T area() const { return x1 < x0 || y1 < y0 ? T(0) : (x1 - x0) * (y1 - y0); }
};

// Intersection over union; 0 for boxes without area.
template <typename T>
T iou(const Box<T>& a, const Box<T>& b) {
  const T w = std::max(T(0), std::min(a.x1, b.x1) - std::max(a.x0, b.x0));
  const T h = std::max(T(0), std::min(a.y1, b.y1) - std::max(a.y0, b.y0));
  const T both = w * h, either = a.area() + b.area() - both;
  return either <= 0 ? T(0) : both / either;
}

}  // namespace mxnet::vision
