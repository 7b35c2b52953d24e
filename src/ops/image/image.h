// SPDX-License-Identifier: Apache-2.0
// What operators on images share: (height, width, channels), or a batch (n, height, width, channels).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "operator/op.h"

namespace mxnet::image {

struct Images {
  int64_t n = 1, height = 0, width = 0, channels = 0;
  explicit Images(const Shape& shape) {
    const int first = shape.rank() - 3;
    if (first == 1) n = shape[0];
    height = shape[first];
    width = shape[first + 1];
    channels = shape[first + 2];
  }
  int64_t row() const { return width * channels; }
  int64_t pixels() const { return height * width; }
  int64_t image() const { return height * row(); }
  int64_t size() const { return n * image(); }
};

// The most rows or columns that an operator makes, as in OpenCV: tables per row and column are kept.
inline constexpr int64_t kMaxSide = int64_t{1} << 20;

// Refuses what is no image; false if the shape is not known yet.
inline bool check_images(const InferContext& c) {
  const Shape& shape = c.in[0].shape;
  if (!shape.rank_known()) return false;
  if (shape.rank() != 3 && shape.rank() != 4) {
    c.bad(str("data must have shape (height, width, channels) or (n, height, width, channels), got ", shape));
  }
  return shape.known();
}

// For operators whose output is like the input.
inline void infer_same(InferContext& c) {
  if (c.in[0].shape.rank_known()) check_images(c);
  c.merge_in(0, c.out[0].shape);
  c.merge_out(0, c.in[0].shape);
}
inline void infer_same_dtype(InferContext& c) {
  if (c.in[0].dtype == DType::boolean) c.bad("data must be of numbers, got bool");
  c.merge_in_dtype(0, c.out[0].dtype);
  c.merge_out_dtype(0, c.in[0].dtype);
}

// A computed value as an element: integers drop the fraction and stop at their ends.
template <typename T, typename V>
T to_pixel(V value) {
  if constexpr (std::is_integral_v<T>) {
    using Wide = std::conditional_t<sizeof(T) == 1, V, double>;
    constexpr Wide low = static_cast<Wide>(std::numeric_limits<T>::min());
    constexpr Wide high = static_cast<Wide>(std::numeric_limits<T>::max());
    const Wide v = static_cast<Wide>(value);
    return v >= high ? std::numeric_limits<T>::max() : v > low ? static_cast<T>(v) : std::numeric_limits<T>::min();
  } else {
    return static_cast<T>(value);
  }
}

// The same, to the nearest integer.
template <typename T, typename V>
T to_nearest_pixel(V value) {
  if constexpr (std::is_integral_v<T>)
    return to_pixel<T>(std::nearbyint(value));
  else
    return static_cast<T>(value);
}

// Calls f(TypeTag<T>{}) for the types of images.
template <typename F>
void dispatch_numbers(DType t, F&& f) {
  dispatch(t, [&](auto tag) {
    if constexpr (!std::is_same_v<typename decltype(tag)::type, bool>) f(tag);
  });
}

}  // namespace mxnet::image
