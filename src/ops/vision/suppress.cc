// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/suppress.h"

#include <algorithm>

#include "backend/cpu/parallel.h"

namespace mxnet::vision {
namespace {

// Boxes are compared with those that stay a block at a time: with the ones before the block on all threads, within the
// block one after the other. A box that goes stops at the first overlap, so the work is about (boxes that stay)^2 / 2.
constexpr int64_t kBlock = 512;

bool overlaps(const BoxColumns<float>& kept, int64_t n, const BoxColumns<float>& boxes, int64_t at, Overlap o) {
  return suppress_kernels().any_f32(kept, n, boxes, at, o);
}
bool overlaps(const BoxColumns<double>& kept, int64_t n, const BoxColumns<double>& boxes, int64_t at, Overlap o) {
  return suppress_kernels().any_f64(kept, n, boxes, at, o);
}

template <typename T>
BoxColumns<T> from(const BoxColumns<T>& c, int64_t first) {
  return {c.x0 + first, c.y0 + first, c.x1 + first, c.y1 + first, c.area + first};
}

}  // namespace

template <typename T>
int64_t suppress(const BoxColumns<T>& boxes, int64_t n, Overlap overlap, T* work, uint8_t* keep, int64_t most) {
  const BoxColumns<T> kept = BoxColumns<T>::in(work, n);
  int64_t count = 0;
  std::fill_n(keep, n, uint8_t{0});
  for (int64_t first = 0; first < n && count < most; first += kBlock) {
    const int64_t last = std::min(n, first + kBlock), before = count;
    cpu::parallel_for(last - first, std::max<int64_t>(16, 100'000 / (before + 1)), [&](int64_t begin, int64_t end) {
      for (int64_t i = first + begin; i < first + end; ++i) keep[i] = !overlaps(kept, before, boxes, i, overlap);
    });
    for (int64_t i = first; i < last; ++i) {
      if (!keep[i]) continue;
      keep[i] = count < most && !overlaps(from(kept, before), count - before, boxes, i, overlap);
      if (keep[i]) boxes.copy(i, kept, count++);
    }
  }
  return count;
}

template int64_t suppress(const BoxColumns<float>&, int64_t, Overlap, float*, uint8_t*, int64_t);
template int64_t suppress(const BoxColumns<double>&, int64_t, Overlap, double*, uint8_t*, int64_t);

}  // namespace mxnet::vision
