// SPDX-License-Identifier: Apache-2.0
// Loops that the compiler turns into vectors: plain arithmetic, no calls, reductions marked.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "ops/nn/softmax.h"

namespace mxnet::MX_ISA {
namespace {

// exp for arguments up to 0 (after the maximum was taken off): relative error below 2e-7, 0 below -87.3, NaN stays.
inline float exp_negative(float x) {
  const float clamped = x < -88.0f ? -88.0f : x;
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;  // rounds to an integer in the low bits
  const float whole = shifted - 12582912.0f;
  const float r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - 0x4B400000 + 127) << 23;
  const float value = p * std::bit_cast<float>(exponent);
  return x < -87.33f ? 0.0f : value;
}
inline double exp_negative(double x) { return std::exp(x); }

template <typename T>
struct Loops {
  using C = compute_t<T>;
  static constexpr C kLowest = -std::numeric_limits<C>::infinity();
  static constexpr int64_t kLanes = 128;  // columns that are worked on together where inner > 1

  static void forward_row(const T* x, T* y, int64_t n, C scale, bool log) {
    C top = kLowest;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; ++i) {
      const C v = scale * C(x[i]);
      top = v > top ? v : top;
    }
    C sum = 0;
    if (log) {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) sum += exp_negative(scale * C(x[i]) - top);
      const C base = top + std::log(sum);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(scale * C(x[i]) - base);
      return;
    }
    if constexpr (std::is_same_v<T, C>) {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) {
        const C e = exp_negative(scale * C(x[i]) - top);
        y[i] = e;
        sum += e;
      }
      const C factor = C(1) / sum;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = y[i] * factor;
    } else {  // a half would round twice
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) sum += exp_negative(scale * C(x[i]) - top);
      const C factor = C(1) / sum;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(exp_negative(scale * C(x[i]) - top) * factor);
    }
  }

  static void forward_columns(const T* x, T* y, int64_t n, int64_t stride, int64_t width, C scale, bool log) {
    C top[kLanes], sum[kLanes];
    for (int64_t j = 0; j < width; ++j) top[j] = kLowest, sum[j] = 0;
    for (int64_t i = 0; i < n; ++i) {
      const T* row = x + i * stride;
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) {
        const C v = scale * C(row[j]);
        top[j] = v > top[j] ? v : top[j];
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const T* row = x + i * stride;
#pragma omp simd
      for (int64_t j = 0; j < width; ++j) sum[j] += exp_negative(scale * C(row[j]) - top[j]);
    }
    for (int64_t j = 0; j < width; ++j) sum[j] = log ? top[j] + std::log(sum[j]) : C(1) / sum[j];
    for (int64_t i = 0; i < n; ++i) {
      const T* row = x + i * stride;
      T* to = y + i * stride;
      if (log) {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(scale * C(row[j]) - sum[j]);
      } else {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(exp_negative(scale * C(row[j]) - top[j]) * sum[j]);
      }
    }
  }

  static void forward(const SoftmaxView& v, const void* in, void* out, int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const T* x = static_cast<const T*>(in) + o * v.n * v.inner;
      T* y = static_cast<T*>(out) + o * v.n * v.inner;
      if (v.inner == 1) {
        forward_row(x, y, v.n, C(v.scale), v.log);
        continue;
      }
      for (int64_t j = 0; j < v.inner; j += kLanes) {
        forward_columns(x + j, y + j, v.n, v.inner, std::min(kLanes, v.inner - j), C(v.scale), v.log);
      }
    }
  }

  // The logarithm's exp takes arguments up to 0 as well.
  static void backward_row(const T* dy, const T* y, T* dx, int64_t n, C scale, bool log) {
    C sum = 0;
    if (log) {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) sum += C(dy[i]);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>((C(dy[i]) - exp_negative(C(y[i])) * sum) * scale);
    } else {
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) sum += C(dy[i]) * C(y[i]);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>((C(dy[i]) - sum) * C(y[i]) * scale);
    }
  }

  static void backward_columns(const T* dy, const T* y, T* dx, int64_t n, int64_t stride, int64_t width, C scale,
                               bool log) {
    C sum[kLanes];
    for (int64_t j = 0; j < width; ++j) sum[j] = 0;
    for (int64_t i = 0; i < n; ++i) {
      const T* a = dy + i * stride;
      const T* b = y + i * stride;
      if (log) {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) sum[j] += C(a[j]);
      } else {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) sum[j] += C(a[j]) * C(b[j]);
      }
    }
    for (int64_t i = 0; i < n; ++i) {
      const T* a = dy + i * stride;
      const T* b = y + i * stride;
      T* to = dx + i * stride;
      if (log) {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>((C(a[j]) - exp_negative(C(b[j])) * sum[j]) * scale);
      } else {
#pragma omp simd
        for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>((C(a[j]) - sum[j]) * C(b[j]) * scale);
      }
    }
  }

  static void backward(const SoftmaxView& v, const void* head, const void* result, void* out, int64_t begin,
                       int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const int64_t at = o * v.n * v.inner;
      const T* dy = static_cast<const T*>(head) + at;
      const T* y = static_cast<const T*>(result) + at;
      T* dx = static_cast<T*>(out) + at;
      if (v.inner == 1) {
        backward_row(dy, y, dx, v.n, C(v.scale), v.log);
        continue;
      }
      for (int64_t j = 0; j < v.inner; j += kLanes) {
        backward_columns(dy + j, y + j, dx + j, v.n, v.inner, std::min(kLanes, v.inner - j), C(v.scale), v.log);
      }
    }
  }
};

void forward(const SoftmaxView& v, DType dtype, const void* x, void* y, int64_t begin, int64_t end) {
  switch (dtype) {
    case DType::f32: return Loops<float>::forward(v, x, y, begin, end);
    case DType::f64: return Loops<double>::forward(v, x, y, begin, end);
    case DType::f16: return Loops<half_t>::forward(v, x, y, begin, end);
    case DType::bf16: return Loops<bfloat16_t>::forward(v, x, y, begin, end);
    default: return;
  }
}

void backward(const SoftmaxView& v, DType dtype, const void* dy, const void* y, void* dx, int64_t begin, int64_t end) {
  switch (dtype) {
    case DType::f32: return Loops<float>::backward(v, dy, y, dx, begin, end);
    case DType::f64: return Loops<double>::backward(v, dy, y, dx, begin, end);
    case DType::f16: return Loops<half_t>::backward(v, dy, y, dx, begin, end);
    case DType::bf16: return Loops<bfloat16_t>::backward(v, dy, y, dx, begin, end);
    default: return;
  }
}

}  // namespace

const SoftmaxKernels softmax_kernels_table = {forward, backward};

}  // namespace mxnet::MX_ISA
