// SPDX-License-Identifier: Apache-2.0
// Bilinear sampling of images at the points of a grid: what BilinearSampler and SpatialTransformer share.
#pragma once

#include "ops/vision/vision.h"

namespace mxnet::vision {

// data (batch, channels, height, width), grid (batch, 2, rows, columns) of x and y from -1 to 1, output (batch,
// channels, rows, columns). Pixels outside of the image count as 0.
struct Sampling {
  int64_t batch, channels, height, width, points;

  Sampling(const PrepareArgs& a, const Shape& data, const Shape& out);
  int64_t pixels() const { return height * width; }
  int64_t cost() const { return batch * points * (20 + 4 * channels); }
};

template <typename T>
void sample(const Sampling& s, const T* data, const T* grid, T* out);

// Null results are not computed. `ddata` is written, `dgrid` as well.
template <typename T>
void sample_gradient(const Sampling& s, const T* dy, const T* data, const T* grid, T* ddata, T* dgrid);

// Points of a (rows, columns) grid that the affine map theta (batch, 6) moves: (batch, 2, rows, columns).
template <typename T>
void affine_grid(const T* theta, int64_t batch, int64_t rows, int64_t columns, T* grid);
template <typename T>
void affine_grid_gradient(const T* dgrid, int64_t batch, int64_t rows, int64_t columns, T* dtheta);

}  // namespace mxnet::vision
