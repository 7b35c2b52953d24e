// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/row_sum.h"

#include <algorithm>

namespace mxnet::MX_ISA {
namespace {

template <typename T>
struct Sums {
  using A = accumulate_t<T>;
  static constexpr int64_t kBlock = 64;

  static const T* row(const T* from, const int64_t* order, int64_t r, int64_t step) {
    return from + (order ? order[r] : r) * step;
  }

  static void full_block(const T* from, const int64_t* order, int64_t count, int64_t step, T* to, bool add) {
    A sum[kBlock];
    for (int64_t j = 0; j < kBlock; ++j) sum[j] = add ? static_cast<A>(to[j]) : A(0);
    for (int64_t r = 0; r < count; ++r) {
      const T* p = row(from, order, r, step);
#pragma omp simd
      for (int64_t j = 0; j < kBlock; ++j) sum[j] += static_cast<A>(p[j]);
    }
    for (int64_t j = 0; j < kBlock; ++j) to[j] = static_cast<T>(sum[j]);
  }

  static void part_block(const T* from, const int64_t* order, int64_t count, int64_t step, int64_t width, T* to,
                         bool add) {
    A sum[kBlock];
    for (int64_t j = 0; j < width; ++j) sum[j] = add ? static_cast<A>(to[j]) : A(0);
    for (int64_t r = 0; r < count; ++r) {
      const T* p = row(from, order, r, step);
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) sum[j] += static_cast<A>(p[j]);
    }
    for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(sum[j]);
  }

  static void rows(const void* from, const int64_t* order, int64_t count, int64_t step, int64_t width, void* to,
                   bool add) {
    for (int64_t j = 0; j < width; j += kBlock) {
      const T* p = static_cast<const T*>(from) + j;
      T* q = static_cast<T*>(to) + j;
      if (width - j >= kBlock)
        full_block(p, order, count, step, q, add);
      else
        part_block(p, order, count, step, width - j, q, add);
    }
  }

  static double planes(const void* from, int64_t outer, int64_t step, int64_t inner) {
    A sum = 0;
    for (int64_t o = 0; o < outer; ++o) {
      const T* p = static_cast<const T*>(from) + o * step;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < inner; ++i) sum += static_cast<A>(p[i]);
    }
    return static_cast<double>(sum);
  }
};

template <typename F>
auto pick(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f64: return f(Sums<double>{});
    case DType::f16: return f(Sums<half_t>{});
    case DType::bf16: return f(Sums<bfloat16_t>{});
    default: return f(Sums<float>{});
  }
}

void rows(DType dtype, const void* from, const int64_t* order, int64_t count, int64_t step, int64_t width, void* to,
          bool add) {
  pick(dtype, [&](auto sums) { sums.rows(from, order, count, step, width, to, add); });
}

double planes(DType dtype, const void* from, int64_t outer, int64_t step, int64_t inner) {
  return pick(dtype, [&](auto sums) { return sums.planes(from, outer, step, inner); });
}

}  // namespace

const RowSumKernels row_sum_kernels_table = {rows, planes};

}  // namespace mxnet::MX_ISA
