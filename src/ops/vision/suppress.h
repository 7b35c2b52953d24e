// SPDX-License-Identifier: Apache-2.0
// Greedy non-maximum suppression: a box stays unless it overlaps one that stays and comes before it.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet::vision {

// n boxes, each coordinate in an array of its own.
template <typename T>
struct BoxColumns {
  T *x0, *y0, *x1, *y1, *area;

  static constexpr int kColumns = 5;
  static BoxColumns in(T* memory, int64_t n) {
    return {memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n};
  }
  void copy(int64_t from, const BoxColumns& other, int64_t to) const {
    other.x0[to] = x0[from];
    other.y0[to] = y0[from];
    other.x1[to] = x1[from];
    other.y1[to] = y1[from];
    other.area[to] = area[from];
  }
};

// Two boxes overlap too much if intersection / union > threshold; a box without area overlaps with 0.
struct Overlap {
  double threshold;
  double extent = 0;  // added to the sides of intersections: 1 for boxes of whole pixels, ends included
};

struct SuppressKernels {
  // Whether box `at` of `boxes` overlaps one of the first n boxes of `kept` too much.
  bool (*any_f32)(const BoxColumns<float>& kept, int64_t n, const BoxColumns<float>& boxes, int64_t at, Overlap);
  bool (*any_f64)(const BoxColumns<double>& kept, int64_t n, const BoxColumns<double>& boxes, int64_t at, Overlap);
};
}  // namespace mxnet::vision

namespace mxnet {
MX_ISA_TABLE(vision::SuppressKernels, suppress_kernels)
}  // namespace mxnet

namespace mxnet::vision {

// keep[i] = 1 for the boxes that stay, else 0. Boxes come in order of falling score; stops after `most` that stay (the
// others get 0). Returns how many stay. `work`: room for the columns of n boxes.
template <typename T>
int64_t suppress(const BoxColumns<T>& boxes, int64_t n, Overlap overlap, T* work, uint8_t* keep,
                 int64_t most = INT64_MAX);

extern template int64_t suppress(const BoxColumns<float>&, int64_t, Overlap, float*, uint8_t*, int64_t);
extern template int64_t suppress(const BoxColumns<double>&, int64_t, Overlap, double*, uint8_t*, int64_t);

}  // namespace mxnet::vision
