// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/row_norm.h"

#include <algorithm>

#include "backend/cpu/parallel.h"

namespace mxnet::nn {
namespace {

int64_t forward_grain(const RowNormView& v) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, v.n)); }

// Few pieces, because each has sums of its own where gamma has one entry per column.
int64_t backward_grain(const RowNormView& v) {
  return v.row_groups ? forward_grain(v) : std::max(forward_grain(v), (v.rows + 15) / 16);
}

template <typename T>
void fold_pieces(const RowNormView& v, int64_t pieces, const accumulate_t<T>* sums, T* dgamma, T* dbeta) {
  using A = accumulate_t<T>;
  for (int64_t i = 0; i < v.n; ++i) {
    A a = 0, b = 0;
    for (int64_t p = 0; p < pieces; ++p) {
      a += sums[2 * p * v.n + i];
      b += sums[(2 * p + 1) * v.n + i];
    }
    if (dgamma) dgamma[i] = static_cast<T>(a);
    if (dbeta) dbeta[i] = static_cast<T>(b);
  }
}

template <typename T>
void fold_rows(const RowNormView& v, const accumulate_t<T>* dots, const accumulate_t<T>* sums, T* dgamma, T* dbeta) {
  using A = accumulate_t<T>;
  for (int64_t g = 0; g < v.row_groups; ++g) {
    A a = 0, b = 0;
    for (int64_t r = g; r < v.rows; r += v.row_groups) {
      a += dots[r];
      b += sums[r];
    }
    if (dgamma) dgamma[g] = static_cast<T>(a);
    if (dbeta) dbeta[g] = static_cast<T>(b);
  }
}

}  // namespace

void row_norm_forward(const RowNormView& v, const void* x, const void* gamma, const void* beta, void* y, void* mean,
                      void* rstd) {
  cpu::parallel_for(v.rows, forward_grain(v), [&](int64_t begin, int64_t end) {
    row_norm_kernels().forward(v, x, gamma, beta, y, mean, rstd, begin, end);
  });
}

size_t row_norm_backward_scratch(const RowNormView& v) {
  const int64_t entries = v.row_groups ? 2 * v.rows : 2 * v.n * cpu::chunk_count(v.rows, backward_grain(v));
  return static_cast<size_t>(entries) * static_cast<size_t>(size_of(statistics_type(v.dtype)));
}

void row_norm_backward(const RowNormView& v, const void* dy, const void* x, const void* gamma, const void* mean,
                       const void* rstd, void* dx, void* dgamma, void* dbeta, void* scratch) {
  const int64_t grain = backward_grain(v), piece = cpu::chunk_size(v.rows, grain);
  dispatch_float(v.dtype, [&]<typename T>(TypeTag<T>) {
    using A = accumulate_t<T>;
    auto* sums = static_cast<A*>(scratch);
    const bool affine = dgamma || dbeta;
    cpu::parallel_for(v.rows, grain, [&](int64_t begin, int64_t end) {
      A *dots = nullptr, *own = nullptr;
      if (affine && v.row_groups) {
        dots = sums;
        own = sums + v.rows;
      } else if (affine) {
        dots = sums + 2 * (begin / piece) * v.n;
        own = dots + v.n;
        std::fill_n(dots, 2 * v.n, A(0));
      }
      row_norm_kernels().backward(v, dy, x, gamma, mean, rstd, dx, dots, own, begin, end);
    });
    if (!affine) return;
    auto* to_gamma = static_cast<T*>(dgamma);
    auto* to_beta = static_cast<T*>(dbeta);
    if (v.row_groups)
      fold_rows<T>(v, sums, sums + v.rows, to_gamma, to_beta);
    else
      fold_pieces<T>(v, cpu::chunk_count(v.rows, grain), sums, to_gamma, to_beta);
  });
}

int64_t row_norm_cost(const RowNormView& v) { return 100 + 10 * v.rows + v.rows * v.n; }

}  // namespace mxnet::nn
