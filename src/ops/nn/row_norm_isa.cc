// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/row_norm.h"

#include <cmath>

namespace mxnet::MX_ISA {
namespace {

template <typename T>
struct Rows {
  using A = accumulate_t<T>;

  static void forward(const RowNormView& v, const void* in, const void* scale, const void* shift, void* out,
                      void* means, void* rstds, int64_t begin, int64_t end) {
    const T* gamma = static_cast<const T*>(scale);
    const T* beta = static_cast<const T*>(shift);
    const int64_t n = v.n;
    const A inverse = n > 0 ? A(1) / static_cast<A>(n) : A(0);
    for (int64_t r = begin; r < end; ++r) {
      const T* x = static_cast<const T*>(in) + r * n;
      T* y = static_cast<T*>(out) + r * n;
      A sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < n; ++i) sum += A(x[i]);
      const A mean = sum * inverse;
#pragma omp simd reduction(+ : squares)
      for (int64_t i = 0; i < n; ++i) squares += (A(x[i]) - mean) * (A(x[i]) - mean);
      const A rstd = A(1) / std::sqrt(squares * inverse + static_cast<A>(v.eps));
      static_cast<A*>(means)[r] = mean;
      static_cast<A*>(rstds)[r] = rstd;
      if (v.row_groups) {
        const A factor = rstd * A(gamma[r % v.row_groups]);
        const A offset = A(beta[r % v.row_groups]);
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>((A(x[i]) - mean) * factor + offset);
      } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>((A(x[i]) - mean) * rstd * A(gamma[i]) + A(beta[i]));
      }
    }
  }

  static void backward(const RowNormView& v, const void* head, const void* in, const void* scale, const void* means,
                       const void* rstds, void* out, void* dscale, void* dshift, int64_t begin, int64_t end) {
    const T* gamma = static_cast<const T*>(scale);
    A* dgamma = static_cast<A*>(dscale);
    A* dbeta = static_cast<A*>(dshift);
    const int64_t n = v.n;
    const A inverse = n > 0 ? A(1) / static_cast<A>(n) : A(0);
    for (int64_t r = begin; r < end; ++r) {
      const T* dy = static_cast<const T*>(head) + r * n;
      const T* x = static_cast<const T*>(in) + r * n;
      const A mean = static_cast<const A*>(means)[r], rstd = static_cast<const A*>(rstds)[r];
      A sum = 0, dot = 0;
      if (v.row_groups) {
#pragma omp simd reduction(+ : sum, dot)
        for (int64_t i = 0; i < n; ++i) {
          sum += A(dy[i]);
          dot += A(dy[i]) * ((A(x[i]) - mean) * rstd);
        }
        if (dgamma) dgamma[r] = dot, dbeta[r] = sum;
        if (!out) continue;
        const A g = A(gamma[r % v.row_groups]) * rstd;
        const A a = sum * inverse, b = dot * inverse;
        T* dx = static_cast<T*>(out) + r * n;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) dx[i] = static_cast<T>(g * (A(dy[i]) - a - (A(x[i]) - mean) * rstd * b));
        continue;
      }
      if (dgamma) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
          dgamma[i] += A(dy[i]) * ((A(x[i]) - mean) * rstd);
          dbeta[i] += A(dy[i]);
        }
      }
      if (!out) continue;
#pragma omp simd reduction(+ : sum, dot)
      for (int64_t i = 0; i < n; ++i) {
        const A g = A(dy[i]) * A(gamma[i]);
        sum += g;
        dot += g * ((A(x[i]) - mean) * rstd);
      }
      const A a = sum * inverse, b = dot * inverse;
      T* dx = static_cast<T*>(out) + r * n;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) {
        dx[i] = static_cast<T>(rstd * (A(dy[i]) * A(gamma[i]) - a - (A(x[i]) - mean) * rstd * b));
      }
    }
  }
};

void forward(const RowNormView& v, const void* x, const void* gamma, const void* beta, void* y, void* mean, void* rstd,
             int64_t begin, int64_t end) {
  switch (v.dtype) {
    case DType::f32: return Rows<float>::forward(v, x, gamma, beta, y, mean, rstd, begin, end);
    case DType::f64: return Rows<double>::forward(v, x, gamma, beta, y, mean, rstd, begin, end);
    case DType::f16: return Rows<half_t>::forward(v, x, gamma, beta, y, mean, rstd, begin, end);
    case DType::bf16: return Rows<bfloat16_t>::forward(v, x, gamma, beta, y, mean, rstd, begin, end);
    default: return;
  }
}

void backward(const RowNormView& v, const void* dy, const void* x, const void* gamma, const void* mean,
              const void* rstd, void* dx, void* dgamma, void* dbeta, int64_t begin, int64_t end) {
  switch (v.dtype) {
    case DType::f32: return Rows<float>::backward(v, dy, x, gamma, mean, rstd, dx, dgamma, dbeta, begin, end);
    case DType::f64: return Rows<double>::backward(v, dy, x, gamma, mean, rstd, dx, dgamma, dbeta, begin, end);
    case DType::f16: return Rows<half_t>::backward(v, dy, x, gamma, mean, rstd, dx, dgamma, dbeta, begin, end);
    case DType::bf16: return Rows<bfloat16_t>::backward(v, dy, x, gamma, mean, rstd, dx, dgamma, dbeta, begin, end);
    default: return;
  }
}

}  // namespace

const RowNormKernels row_norm_kernels_table = {forward, backward};

}  // namespace mxnet::MX_ISA
