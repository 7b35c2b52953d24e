// SPDX-License-Identifier: Apache-2.0
// Positions of an image are the lanes: sums over channels are sums of rows of positions.
#include "ops/nn/lrn.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/simd_math.h"
#include "resource/scratch.h"

namespace mxnet::MX_ISA {
namespace {

template <typename T>
struct Lrn {
  using A = accumulate_t<T>;
  static constexpr int64_t kPositions = LrnView::kPositions;

  // to = base^-beta
  static void power(const A* base, float beta, A* to) {
    if constexpr (std::is_same_v<A, float>) {
      for (int64_t i = 0; i < kPositions; i += kLanes<float>) {
        const F32 b = load(base + i);
        store(to + i, beta == 0.75f ? 1.0f / (vsqrt(b) * vsqrt(vsqrt(b))) : vpow(b, splat(-beta)));
      }
    } else {
      for (int64_t i = 0; i < kPositions; ++i) to[i] = std::pow(base[i], -A(beta));
    }
  }

  // sum = the rows of the channels around c
  static void around(const LrnView& v, const A* rows, int64_t c, A* sum) {
    std::fill_n(sum, kPositions, A(0));
    const int64_t first = std::max<int64_t>(0, c - v.half), last = std::min(v.channels - 1, c + v.half);
    for (int64_t j = first; j <= last; ++j) {
      for (int64_t i = 0; i < kPositions; ++i) sum[i] += rows[j * kPositions + i];
    }
  }

  // f(first element, positions) of each unit; `rows`: as many rows of kPositions as there are channels, zero at first.
  template <typename F>
  static void each_unit(const LrnView& v, int64_t begin, int64_t end, int64_t arrays, F&& f) {
    Scratch scratch;
    const int64_t size = arrays * v.channels * kPositions;
    A* rows = scratch.get<A>(static_cast<size_t>(size));
    std::fill_n(rows, size, A(0));
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t position = unit % v.blocks() * kPositions;
      f(unit / v.blocks() * v.channels * v.inner + position, std::min(kPositions, v.inner - position), rows);
    }
  }

  static void forward(const LrnView& v, const T* x, T* y, T* base, int64_t begin, int64_t end) {
    each_unit(v, begin, end, 1, [&](int64_t at, int64_t width, A* squares) {
      for (int64_t c = 0; c < v.channels; ++c) {
        for (int64_t i = 0; i < width; ++i) {
          const A value = A(x[at + c * v.inner + i]);
          squares[c * kPositions + i] = value * value;
        }
      }
      for (int64_t c = 0; c < v.channels; ++c) {
        alignas(64) A divisor[kPositions], scale[kPositions];
        around(v, squares, c, divisor);
        for (int64_t i = 0; i < kPositions; ++i) divisor[i] = A(v.knorm) + A(v.factor) * divisor[i];
        power(divisor, v.beta, scale);
        const int64_t row = at + c * v.inner;
        for (int64_t i = 0; i < width; ++i) y[row + i] = static_cast<T>(A(x[row + i]) * scale[i]);
        for (int64_t i = 0; base && i < width; ++i) base[row + i] = static_cast<T>(divisor[i]);
      }
    });
  }

  // dx = dy * base^-beta - 2 beta factor x * (sum of dy x base^(-beta - 1) over the channels around)
  static void backward(const LrnView& v, const T* dy, const T* x, const T* base, T* dx, int64_t begin, int64_t end) {
    const A factor = A(2) * A(v.beta) * A(v.factor);
    each_unit(v, begin, end, 2, [&](int64_t at, int64_t width, A* products) {
      A* scales = products + v.channels * kPositions;
      for (int64_t c = 0; c < v.channels; ++c) {
        alignas(64) A divisor[kPositions];
        const int64_t row = at + c * v.inner;
        for (int64_t i = 0; i < kPositions; ++i) divisor[i] = i < width ? A(base[row + i]) : A(1);
        A* scale = scales + c * kPositions;
        power(divisor, v.beta, scale);
        for (int64_t i = 0; i < width; ++i) {
          products[c * kPositions + i] = A(dy[row + i]) * A(x[row + i]) * scale[i] / divisor[i];
        }
      }
      for (int64_t c = 0; c < v.channels; ++c) {
        alignas(64) A sum[kPositions];
        around(v, products, c, sum);
        const int64_t row = at + c * v.inner;
        const A* scale = scales + c * kPositions;
        for (int64_t i = 0; i < width; ++i) {
          dx[row + i] = static_cast<T>(A(dy[row + i]) * scale[i] - factor * A(x[row + i]) * sum[i]);
        }
      }
    });
  }
};

void forward(const LrnView& v, DType dtype, const void* x, void* y, void* base, int64_t begin, int64_t end) {
  dispatch_float(dtype, [&]<typename T>(TypeTag<T>) {
    Lrn<T>::forward(v, static_cast<const T*>(x), static_cast<T*>(y), static_cast<T*>(base), begin, end);
  });
}
void backward(const LrnView& v, DType dtype, const void* dy, const void* x, const void* base, void* dx, int64_t begin,
              int64_t end) {
  dispatch_float(dtype, [&]<typename T>(TypeTag<T>) {
    Lrn<T>::backward(v, static_cast<const T*>(dy), static_cast<const T*>(x), static_cast<const T*>(base),
                     static_cast<T*>(dx), begin, end);
  });
}

}  // namespace

const LrnKernels lrn_kernels_table = {forward, backward};

}  // namespace mxnet::MX_ISA
