// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/sample_composition.h"

namespace mxnet::vision {
namespace {

// 1 where 0 <= v < n.
Term inside(const Term& v, int64_t n) {
  return v.then("_greater_equal_scalar", 0.0) * v.then("_lesser_scalar", static_cast<double>(n));
}

// Whole numbers in float64, so that indices of large images stay exact.
Term clipped(const Term& v, int64_t n) {
  return v.cast(DType::f64).then("clip", {{"a_min", 0.0}, {"a_max", static_cast<double>(n - 1)}});
}

}  // namespace

Term sample_composed(const Term& images, const Term& y, const Term& x) {
  const Shape& s = images.shape();
  const int64_t batch = s[0], channels = s[1], height = s[2], width = s[3], points = y.shape()[1];
  const Term rows =
      images.then("transpose", {{"axes", tuple_of({0, 2, 3, 1})}}).reshaped({batch * height * width, channels});
  std::vector<double> starts;
  for (int64_t n = 0; n < batch; ++n) starts.push_back(static_cast<double>(n * height * width));
  const Term first = constant(images, {batch, 1}, starts, DType::f64);
  const Term y0 = y.then("floor"), x0 = x.then("floor"), fy = y - y0, fx = x - x0;
  Term sum;
  for (int k = 0; k < 4; ++k) {
    const Term yk = y0 + k / 2, xk = x0 + k % 2;
    const Term weight = (k / 2 ? fy : 1 - fy) * (k % 2 ? fx : 1 - fx) * inside(yk, height) * inside(xk, width);
    const Term index = clipped(yk, height) * static_cast<double>(width) + clipped(xk, width) + first;
    const Term part = apply("take", {rows, index}) * weight.reshaped({batch, points, 1});
    sum = sum.is_none() ? part : sum + part;
  }
  return sum;
}

}  // namespace mxnet::vision
