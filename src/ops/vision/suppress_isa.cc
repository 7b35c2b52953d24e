// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/suppress.h"

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

template <typename T>
struct Query {
  Vec<T> x0, y0, x1, y1, area, extent, threshold;

  MX_INLINE Mask<Vec<T>> overlaps(Vec<T> bx0, Vec<T> by0, Vec<T> bx1, Vec<T> by1, Vec<T> barea) const {
    const Vec<T> zero{};
    const auto largest = [](Vec<T> a, Vec<T> b) MX_LAMBDA_INLINE { return a < b ? b : a; };
    const auto smallest = [](Vec<T> a, Vec<T> b) MX_LAMBDA_INLINE { return b < a ? b : a; };
    const Vec<T> w = largest(zero, smallest(x1, bx1) - largest(x0, bx0) + extent);
    const Vec<T> h = largest(zero, smallest(y1, by1) - largest(y0, by0) + extent);
    const Vec<T> both = w * h, either = area + barea - both;
    const Vec<T> iou = either <= zero ? zero : both / either;
    return iou > threshold;
  }
};

template <typename T>
bool overlaps_any(const vision::BoxColumns<T>& kept, int64_t n, const vision::BoxColumns<T>& boxes, int64_t at,
                  vision::Overlap o) {
  const Query<T> q{splat(boxes.x0[at]),
                   splat(boxes.y0[at]),
                   splat(boxes.x1[at]),
                   splat(boxes.y1[at]),
                   splat(boxes.area[at]),
                   splat(static_cast<T>(o.extent)),
                   splat(static_cast<T>(o.threshold))};
  constexpr int64_t kStep = kLanes<T>;
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) {
    if (any(q.overlaps(load(kept.x0 + i), load(kept.y0 + i), load(kept.x1 + i), load(kept.y1 + i),
                       load(kept.area + i))))
      return true;
  }
  if (i == n) return false;
  const int64_t rest = n - i;
  const auto mask = q.overlaps(load_part(kept.x0 + i, rest), load_part(kept.y0 + i, rest), load_part(kept.x1 + i, rest),
                               load_part(kept.y1 + i, rest), load_part(kept.area + i, rest));
  for (int64_t lane = 0; lane < rest; ++lane) {
    if (mask[static_cast<int>(lane)]) return true;
  }
  return false;
}

}  // namespace

const vision::SuppressKernels suppress_kernels_table = {overlaps_any<float>, overlaps_any<double>};

}  // namespace mxnet::MX_ISA
