// SPDX-License-Identifier: Apache-2.0
// Sums over arrays whose order does not depend on the team.
#pragma once

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <vector>

#include "backend/cpu/parallel.h"
#include "base/dtype.h"

namespace mxnet::ops {

// Calls f(array, begin, end) -> value over fixed pieces and adds the values of each array in order.
template <typename F>
double sum_pieces(int64_t n, F&& f) {
  constexpr int64_t kPiece = 8192;
  const int64_t pieces = (n + kPiece - 1) / kPiece;
  std::vector<double> parts(static_cast<size_t>(pieces));
  cpu::parallel_for(pieces, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) parts[i] = f(i * kPiece, std::min(n, (i + 1) * kPiece));
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

template <typename T>
double squares(const T* x, int64_t begin, int64_t end) {
  constexpr int kLanes = 16;
  std::conditional_t<std::is_same_v<T, double>, double, float> sums[kLanes] = {};
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    for (int k = 0; k < kLanes; ++k)
      sums[k] += static_cast<compute_t<T>>(x[i + k]) * static_cast<compute_t<T>>(x[i + k]);
  }
  double total = std::accumulate(sums, sums + kLanes, 0.0);
  for (; i < end; ++i) total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return total;
}

template <typename T>
double sum_of_squares(const T* x, int64_t n) {
  return sum_pieces(n, [x](int64_t begin, int64_t end) { return squares(x, begin, end); });
}

}  // namespace mxnet::ops
