// SPDX-License-Identifier: Apache-2.0
// Resampling of images (n, h, w, c) by separable filters, with the results of OpenCV.
#pragma once

#include <cstdint>
#include <memory>

#include "ops/image/image.h"

namespace mxnet::image {

// The numbers are OpenCV's.
enum class Filter : int { nearest = 0, linear = 1, cubic = 2, area = 3, lanczos = 4 };

// The filter of a number; raises for others.
Filter filter_of(int64_t number);
std::unique_ptr<Kernel> make_resize(const Images& from, int64_t height, int64_t width, DType dtype, Filter filter);

}  // namespace mxnet::image
