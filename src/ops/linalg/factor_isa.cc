// SPDX-License-Identifier: Apache-2.0
#include "ops/linalg/factor.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "ops/linalg/blocks.h"
#include "ops/linalg/vector_ops.h"

namespace mxnet::MX_ISA {
namespace {

using linalg::ScratchArray;

constexpr int64_t kTeamWork = 1 << 21;  // multiplications below which a loop is not shared among threads

// The first of two halves, a multiple of a block.
int64_t half_of(int64_t n, int64_t block) { return (n / 2 + block - 1) / block * block; }

template <typename T>
void transpose(const T* from, int64_t from_row, int64_t rows, int64_t cols, T* to, int64_t to_row) {
  constexpr int64_t kTile = 8;
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
      for (int64_t i = i0; i < std::min(rows, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(cols, j0 + kTile); ++j) to[j * to_row + i] = from[i * from_row + j];
      }
    }
  }
}

// ---- triangular systems -------------------------------------------------------------------------------------------
template <typename T>
struct Solve {
  static constexpr int64_t kBase = 16;

  // Columns [0, Vectors * lanes) of x.
  template <int Vectors>
  static void columns(const T* l, const T* inverse, T* x, int64_t x_row, int64_t n) {
    constexpr int64_t kL = kLanes<T>;
    for (int64_t i = 0; i < n; ++i) {
      Vec<T> sum[Vectors];
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sum[v] = load(x + i * x_row + v * kL);
      for (int64_t t = 0; t < i; ++t) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sum[v] -= l[i * kBase + t] * load(x + t * x_row + v * kL);
      }
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) store(x + i * x_row + v * kL, sum[v] * inverse[i]);
    }
  }

  static void base(LowerView<T> l, bool unit, T* x, int64_t x_row, int64_t n, int64_t m) {
    T own[kBase * kBase], inverse[kBase];
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t t = 0; t < i; ++t) own[i * kBase + t] = l.at[i * l.row + t * l.col];
      inverse[i] = unit ? T(1) : T(1) / l.at[i * (l.row + l.col)];
    }
    constexpr int64_t kL = kLanes<T>;
    int64_t j = 0;
    for (; j + 4 * kL <= m; j += 4 * kL) columns<4>(own, inverse, x + j, x_row, n);
    for (; j + kL <= m; j += kL) columns<1>(own, inverse, x + j, x_row, n);
    for (; j < m; ++j) {
      for (int64_t i = 0; i < n; ++i) {
        T sum = x[i * x_row + j];
        for (int64_t t = 0; t < i; ++t) sum -= own[i * kBase + t] * x[t * x_row + j];
        x[i * x_row + j] = sum * inverse[i];
      }
    }
  }

  static void recurse(LowerView<T> l, bool unit, T* x, int64_t x_row, int64_t n, int64_t m) {
    if (n <= kBase) return base(l, unit, x, x_row, n, m);
    const int64_t h = half_of(n, kBase);
    recurse(l, unit, x, x_row, h, m);
    T* below = x + h * x_row;
    linalg::multiply(BlockProduct<T>{.m = n - h,
                                     .n = m,
                                     .k = h,
                                     .a = l.at + h * l.row,
                                     .a_row = l.row,
                                     .a_col = l.col,
                                     .b = x,
                                     .b_row = x_row,
                                     .c = below,
                                     .c_row = x_row,
                                     .alpha = -1});
    recurse({l.at + h * (l.row + l.col), l.row, l.col}, unit, below, x_row, n - h, m);
  }

  // The columns of x do not know each other.
  static void run(LowerView<T> l, bool unit, T* x, int64_t x_row, int64_t n, int64_t m) {
    if (n * n / 2 * m < kTeamWork) return recurse(l, unit, x, x_row, n, m);
    constexpr int64_t kSlab = 64;
    cpu::parallel_for((m + kSlab - 1) / kSlab, 1,
                      [&](int64_t begin, int64_t end) {
                        recurse(l, unit, x + begin * kSlab, x_row, n, std::min(end * kSlab, m) - begin * kSlab);
                      },
                      true);
  }
};

// ---- Cholesky -----------------------------------------------------------------------------------------------------
template <typename T>
struct Cholesky {
  static constexpr int64_t kBase = 32, kRowsAtOnce = 128;

  static int64_t base(T* a, int64_t row, int64_t n) {
    T column[kBase];
    for (int64_t j = 0; j < n; ++j) {
      const T pivot = a[j * row + j];
      if (!(pivot > 0)) return j + 1;
      const T root = std::sqrt(pivot), inverse = 1 / root;
      a[j * row + j] = root;
      for (int64_t i = j + 1; i < n; ++i) {
        const T factor = column[i] = a[i * row + j] *= inverse;
        add_scaled(-factor, column + j + 1, a + i * row + j + 1, i - j);
      }
    }
    return 0;
  }

  static int64_t run(T* a, int64_t row, int64_t n) {
    if (n <= kBase) return base(a, row, n);
    const int64_t h = half_of(n, kBase), rest = n - h;
    if (const int64_t bad = run(a, row, h)) return bad;
    T* below = a + h * row;
    T* corner = below + h;
    const ScratchArray<T> turned(h * rest);
    transpose(below, row, rest, h, turned.data(), rest);
    Solve<T>::run({a, row, 1}, false, turned, rest, h, rest);
    transpose(turned.data(), rest, h, rest, below, row);
    for (int64_t i = 0; i < rest; i += kRowsAtOnce) {
      const int64_t rows = std::min(kRowsAtOnce, rest - i);
      linalg::multiply(BlockProduct<T>{.m = rows,
                                       .n = i + rows,
                                       .k = h,
                                       .a = below + i * row,
                                       .a_row = row,
                                       .b = turned,
                                       .b_row = rest,
                                       .c = corner + i * row,
                                       .c_row = row,
                                       .alpha = -1});
    }
    const int64_t bad = run(corner, row, rest);
    return bad ? h + bad : 0;
  }
};

template <typename T>
void invert_lower(T* l, int64_t row, int64_t n) {
  constexpr int64_t kBase = 32;
  if (n <= kBase) {
    T old[kBase];
    for (int64_t i = 0; i < n; ++i) {
      T* x = l + i * row;
      const T inverse = 1 / x[i];
      std::copy_n(x, i, old);
      std::fill_n(x, i, T(0));
      for (int64_t t = 0; t < i; ++t) add_scaled(-inverse * old[t], l + t * row, x, t + 1);
      x[i] = inverse;
    }
    return;
  }
  const int64_t h = half_of(n, kBase), rest = n - h;
  T* below = l + h * row;
  T* corner = below + h;
  invert_lower(l, row, h);
  invert_lower(corner, row, rest);
  // Only the lower triangles of both inverses are theirs: copies have zeros above.
  const ScratchArray<T> first(h * h), second(rest * rest), between(rest * h);
  const auto copy = [row](const T* from, int64_t size, T* to) {
    for (int64_t i = 0; i < size; ++i) {
      std::copy_n(from + i * row, i + 1, to + i * size);
      std::fill_n(to + i * size + i + 1, size - i - 1, T(0));
    }
  };
  copy(l, h, first);
  copy(corner, rest, second);
  linalg::multiply(BlockProduct<T>{.m = rest,
                                   .n = h,
                                   .k = h,
                                   .a = below,
                                   .a_row = row,
                                   .b = first,
                                   .b_row = h,
                                   .c = between,
                                   .c_row = h,
                                   .add = false});
  linalg::multiply(BlockProduct<T>{.m = rest,
                                   .n = h,
                                   .k = rest,
                                   .a = second,
                                   .a_row = rest,
                                   .b = between,
                                   .b_row = h,
                                   .c = below,
                                   .c_row = row,
                                   .alpha = -1,
                                   .add = false});
}

// ---- LU -----------------------------------------------------------------------------------------------------------
template <typename T>
struct Lu {
  static constexpr int64_t kBase = 16;

  // Rows of columns [from, to) as the pivots say.
  static void exchange(T* a, int64_t row, int64_t cols, const int64_t* pivot, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      if (pivot[i] != i) std::swap_ranges(a + i * row, a + i * row + cols, a + pivot[i] * row);
    }
  }

  static int64_t largest(const T* x, int64_t from, int64_t to) {
    int64_t best = from;
    T most = std::abs(x[from]);
    for (int64_t i = from + 1; i < to; ++i) {
      const T size = std::abs(x[i]);
      if (size > most) most = size, best = i;
    }
    return best;
  }

  // A narrow panel of m rows, through a copy whose columns lie together.
  static void panel(T* a, int64_t row, int64_t m, int64_t n, int64_t* pivot) {
    const ScratchArray<T> turned(m * n);
    transpose(a, row, m, n, turned.data(), m);
    for (int64_t j = 0; j < n; ++j) {
      T* column = turned + j * m;
      const int64_t p = pivot[j] = largest(column, j, m);
      if (p != j) {
        for (int64_t t = 0; t < n; ++t) std::swap(turned[t * m + j], turned[t * m + p]);
      }
      if (column[j] == 0) continue;
      const T inverse = 1 / column[j];
      for (int64_t i = j + 1; i < m; ++i) column[i] *= inverse;
      for (int64_t t = j + 1; t < n; ++t) {
        T* other = turned + t * m;
        add_scaled(-other[j], column + j + 1, other + j + 1, m - j - 1);
      }
    }
    transpose(turned.data(), m, n, m, a, row);
  }

  static void recurse(T* a, int64_t row, int64_t m, int64_t n, int64_t* pivot) {
    if (n <= kBase) return panel(a, row, m, n, pivot);
    const int64_t h = half_of(n, kBase), rest = n - h;
    recurse(a, row, m, h, pivot);
    T* right = a + h;
    T* below = a + h * row;
    exchange(right, row, rest, pivot, h);
    Solve<T>::run({a, row, 1}, true, right, row, h, rest);
    linalg::multiply(BlockProduct<T>{.m = m - h,
                                     .n = rest,
                                     .k = h,
                                     .a = below,
                                     .a_row = row,
                                     .b = right,
                                     .b_row = row,
                                     .c = below + h,
                                     .c_row = row,
                                     .alpha = -1});
    recurse(below + h, row, m - h, rest, pivot + h);
    exchange(below, row, h, pivot + h, rest);
    for (int64_t i = h; i < n; ++i) pivot[i] += h;
  }

  static void run(T* a, int64_t row, int64_t n, int64_t* pivot) { recurse(a, row, n, n, pivot); }
};

// ---- LQ -----------------------------------------------------------------------------------------------------------
template <typename T>
struct Lq {
  static constexpr int64_t kBlock = 32;

  // The reflector that leaves only the first element of x (n elements); x becomes beta and the reflector's tail.
  static T reflect(T* x, int64_t n) {
    const T rest = std::sqrt(dot(x + 1, x + 1, n - 1));
    if (rest == 0) return 0;
    const T alpha = x[0], beta = -std::copysign(std::hypot(alpha, rest), alpha);
    const T scale = 1 / (alpha - beta);
    for (int64_t i = 1; i < n; ++i) x[i] *= scale;
    x[0] = beta;
    return (beta - alpha) / beta;
  }

  // Rows of a panel; its first row begins at its diagonal element.
  static void panel(T* a, int64_t row, int64_t m, int64_t n, T* tau) {
    for (int64_t r = 0; r < m; ++r) {
      T* v = a + r * row + r;
      const int64_t length = n - r;
      tau[r] = reflect(v, length);
      for (int64_t q = r + 1; q < m; ++q) {
        T* x = a + q * row + r;
        const T w = -tau[r] * (x[0] + dot(x + 1, v + 1, length - 1));
        x[0] += w;
        add_scaled(w, v + 1, x + 1, length - 1);
      }
    }
  }

  // Reflectors H1 ... Hk as I - V' F V (Schreiber and Van Loan, 1989); v is made k x n with its ones and zeros.
  static void gather(const T* from, int64_t from_row, const T* tau, int64_t k, int64_t n, T* v, T* factor) {
    for (int64_t i = 0; i < k; ++i) {
      std::fill_n(v + i * n, i, T(0));
      v[i * n + i] = 1;
      std::copy_n(from + i * from_row + i + 1, n - i - 1, v + i * n + i + 1);
    }
    T inner[kBlock];
    for (int64_t j = 0; j < k; ++j) {
      for (int64_t i = 0; i < j; ++i) inner[i] = dot(v + i * n + j, v + j * n + j, n - j);
      for (int64_t i = 0; i < k; ++i) factor[i * k + j] = 0;
      for (int64_t i = 0; i < j; ++i) {
        T sum = 0;
        for (int64_t t = i; t < j; ++t) sum += factor[i * k + t] * inner[t];
        factor[i * k + j] = -tau[j] * sum;
      }
      factor[j * k + j] = tau[j];
    }
  }

  // x (m x n) = x (I - V' F V), or with F' in the place of F.
  static void apply(const T* v, const T* factor, bool transposed, int64_t k, int64_t m, int64_t n, T* x, int64_t row) {
    if (m == 0) return;
    const ScratchArray<T> w(m * k), scaled(m * k);
    linalg::multiply(BlockProduct<T>{.m = m,
                                     .n = k,
                                     .k = n,
                                     .a = x,
                                     .a_row = row,
                                     .b = v,
                                     .b_row = 1,
                                     .b_col = n,
                                     .c = w,
                                     .c_row = k,
                                     .add = false});
    linalg::multiply(BlockProduct<T>{.m = m,
                                     .n = k,
                                     .k = k,
                                     .a = w,
                                     .a_row = k,
                                     .b = factor,
                                     .b_row = transposed ? 1 : k,
                                     .b_col = transposed ? k : 1,
                                     .c = scaled,
                                     .c_row = k,
                                     .add = false});
    linalg::multiply(BlockProduct<T>{
        .m = m, .n = n, .k = k, .a = scaled, .a_row = k, .b = v, .b_row = n, .c = x, .c_row = row, .alpha = -1});
  }

  static void run(T* a, int64_t row, int64_t m, int64_t n, T* tau) {
    for (int64_t i = 0; i < m; i += kBlock) {
      const int64_t k = std::min(kBlock, m - i), width = n - i, after = m - i - k;
      T* corner = a + i * row + i;
      panel(corner, row, k, width, tau + i);
      if (after == 0) continue;
      const ScratchArray<T> v(k * width), factor(k * k);
      gather(corner, row, tau + i, k, width, v, factor);
      apply(v, factor, false, k, after, width, corner + k * row, row);
    }
  }

  static void form_q(const T* reflectors, int64_t v_row, const T* tau, int64_t m, int64_t n, T* q, int64_t q_row) {
    for (int64_t i = 0; i < m; ++i) {
      std::fill_n(q + i * q_row, n, T(0));
      q[i * q_row + i] = 1;
    }
    for (int64_t i = (m - 1) / kBlock * kBlock; i >= 0 && m > 0; i -= kBlock) {
      const int64_t k = std::min(kBlock, m - i), width = n - i;
      const ScratchArray<T> v(k * width), factor(k * k);
      gather(reflectors + i * v_row + i, v_row, tau + i, k, width, v, factor);
      apply(v, factor, true, k, m - i, width, q + i * q_row + i, q_row);
    }
  }
};

template <typename T>
constexpr Factorizations<T> table() {
  return {Solve<T>::run, Cholesky<T>::run, invert_lower<T>, Lu<T>::run, Lq<T>::run, Lq<T>::form_q};
}

}  // namespace

const Factorizations<float> factorizations_f32_table = table<float>();
const Factorizations<double> factorizations_f64_table = table<double>();

}  // namespace mxnet::MX_ISA
