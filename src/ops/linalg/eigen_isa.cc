// SPDX-License-Identifier: Apache-2.0
// Householder's tridiagonal form, then the QL algorithm with implicit shifts (Golub and Van Loan, chapter 8). The
// rotations of many QL steps are kept and then applied to some columns of the vectors at a time, which stay in a cache.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ops/linalg/blocks.h"
#include "ops/linalg/factor.h"
#include "ops/linalg/vector_ops.h"

namespace mxnet::MX_ISA {
namespace {

using linalg::ScratchArray;

template <typename T>
struct Tridiagonal {
  T* a;
  int64_t row, n;
  T* tau;     // of reflector k, whose vector v has one at k + 1; its tail is kept in row k of a, after the diagonal
  double* d;  // diagonal
  double* e;  // below it: e[k] between k and k + 1

  // One pass over the lower triangle of the rows after k: takes the last step's update and multiplies with the new
  // reflector's vector. x, w: that update, a -= x w' + w x' (x null: none). p += a v.
  void pass(int64_t k, const T* x, const T* w, const T* v, T* p) const {
    std::fill_n(p + k + 1, n - k - 1, T(0));
    for (int64_t i = k + 1; i < n; ++i) {
      T* r = a + i * row;
      if (x) {
        const T xi = x[i], wi = w[i];
#pragma GCC ivdep
        for (int64_t j = k + 1; j <= i; ++j) r[j] -= xi * w[j] + wi * x[j];
      }
      p[i] += dot(r + k + 1, v + k + 1, i - k);
      add_scaled(v[i], r + k + 1, p + k + 1, i - k - 1);
    }
  }

  void run() {
    const ScratchArray<T> memory(5 * n);
    T *v = memory, *p = v + n, *x = p + n, *w = x + n, *column = w + n;
    bool pending = false;
    for (int64_t k = 0; k + 1 < n; ++k) {
      // Column k with the last update.
      for (int64_t i = k; i < n; ++i) {
        column[i] = a[i * row + k];
        if (pending) column[i] -= x[i] * w[k] + w[i] * x[k];
      }
      d[k] = column[k];
      const int64_t length = n - k - 1;
      const T rest = length > 1 ? std::sqrt(dot(column + k + 2, column + k + 2, length - 1)) : T(0);
      T* kept = a + k * row;
      if (rest == 0) {
        tau[k] = 0;
        e[k] = column[k + 1];
        std::fill_n(kept + k + 1, length, T(0));
        std::fill_n(v + k + 1, length, T(0));
      } else {
        const T alpha = column[k + 1], beta = -std::copysign(std::hypot(alpha, rest), alpha);
        tau[k] = (beta - alpha) / beta;
        e[k] = beta;
        const T scale = 1 / (alpha - beta);
        v[k + 1] = 1;
        for (int64_t i = k + 2; i < n; ++i) v[i] = column[i] * scale;
        std::copy_n(v + k + 2, length - 1, kept + k + 2);
      }
      pass(k, pending ? x : nullptr, w, v, p);
      // w = tau (p - tau (p'v) / 2 v)
      const T half = tau[k] * dot(p + k + 1, v + k + 1, length) / 2;
      for (int64_t i = k + 1; i < n; ++i) {
        x[i] = v[i];
        w[i] = tau[k] * (p[i] - half * v[i]);
      }
      pending = true;
    }
    d[n - 1] = static_cast<double>(a[(n - 1) * row + n - 1]);
    if (pending) d[n - 1] -= static_cast<double>(2 * x[n - 1] * w[n - 1]);
    tau[n - 1] = 0;
  }
};

// Rotations of rows: those of one QL step turn rows i and i + 1, from i = last down to first.
template <typename T>
class Rotations {
 public:
  Rotations(T* vectors, int64_t row, int64_t n)
      : vectors_(vectors), row_(row), n_(n), most_(std::max<int64_t>(64, 24 * n)) {
    turns_.reserve(static_cast<size_t>(most_ + n));
  }

  void step(int64_t last) { steps_.push_back({last, static_cast<int64_t>(turns_.size())}); }
  void turn(double c, double s) { turns_.push_back({static_cast<T>(c), static_cast<T>(s)}); }
  void end_step() {
    if (static_cast<int64_t>(turns_.size()) >= most_) flush();
  }

  void flush() {
    const int64_t grain = static_cast<int64_t>(turns_.size()) * n_ > kTeamWork ? 4 : n_;
    cpu::parallel_for((n_ + kWidth - 1) / kWidth, grain,
                      [&](int64_t begin, int64_t end) {
                        for (int64_t b = begin; b < end; ++b) {
                          const int64_t at = b * kWidth, width = std::min(kWidth, n_ - at);
                          if (width == kWidth)
                            whole(vectors_ + at);
                          else
                            part(vectors_ + at, width);
                        }
                      },
                      true);
    turns_.clear();
    steps_.clear();
  }

 private:
  static constexpr int64_t kTeamWork = 1 << 20;
  static constexpr int kVectors = 2;
  static constexpr int64_t kL = kLanes<T>, kWidth = kVectors * kL;
  struct Step {
    int64_t last, begin;
  };
  struct Turn {
    T c, s;
  };

  int64_t end_of(size_t step) const {
    return step + 1 < steps_.size() ? steps_[step + 1].begin : static_cast<int64_t>(turns_.size());
  }

  // Two steps at a time where they turn the same rows, so that a row is read and written once for both.
  void whole(T* columns) const {
    for (size_t k = 0; k < steps_.size(); ++k) {
      const int64_t count = end_of(k) - steps_[k].begin;
      const bool pair =
          k + 1 < steps_.size() && steps_[k + 1].last == steps_[k].last && count > 1 &&
          (end_of(k + 1) - steps_[k + 1].begin == count || end_of(k + 1) - steps_[k + 1].begin == count - 1);
      if (pair)
        two(columns, steps_[k++]);
      else
        one(columns, steps_[k].last, steps_[k].begin, count);
    }
  }

  // Turns row i with the row above it, which is in registers and is complete then; keeps the turned row i.
  MX_INLINE static void rotate(const Turn& turn, const Vec<T>* row, Vec<T>* upper, Vec<T>* complete) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec<T> old = upper[v];
      complete[v] = turn.s * row[v] + turn.c * old;
      upper[v] = turn.c * row[v] - turn.s * old;
    }
  }
  MX_INLINE static void read(const T* from, Vec<T>* row) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) row[v] = load(from + v * kL);
  }
  MX_INLINE static void write(T* to, const Vec<T>* row) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) store(to + v * kL, row[v]);
  }

  void one(T* columns, int64_t last, int64_t begin, int64_t count) const {
    Vec<T> upper[kVectors], row[kVectors], complete[kVectors];
    T* at = columns + (last + 1) * row_;
    read(at, upper);
    for (int64_t t = begin; t < begin + count; ++t, at -= row_) {
      read(at - row_, row);
      rotate(turns_[t], row, upper, complete);
      write(at, complete);
    }
    write(at, upper);
  }

  // The second step is one row behind the first; it is as long, or one row shorter.
  void two(T* columns, const Step& step) const {
    const Step& next = *(&step + 1);
    const int64_t count = next.begin - step.begin;
    const Turn* first = turns_.data() + step.begin;
    const Turn* second = turns_.data() + next.begin;
    Vec<T> upper[kVectors], above[kVectors], row[kVectors], complete[kVectors];
    T* at = columns + (step.last + 1) * row_;  // the row that the second step completes next
    read(at, upper);
    read(at - row_, row);
    rotate(first[0], row, upper, above);
    T* from = at - 2 * row_;
    for (int64_t t = 1; t < count; ++t, at -= row_, from -= row_) {
      Vec<T> behind[kVectors];
      read(from, row);
      rotate(first[t], row, upper, behind);
      rotate(second[t - 1], behind, above, complete);
      write(at, complete);
    }
    if (end_of(static_cast<size_t>(&next - steps_.data())) - next.begin == count) {
      rotate(second[count - 1], upper, above, complete);
      write(at, complete);
      write(at - row_, above);
    } else {
      write(at, above);
      write(at - row_, upper);
    }
  }

  void part(T* columns, int64_t width) const {
    for (size_t k = 0; k < steps_.size(); ++k) {
      int64_t i = steps_[k].last;
      for (int64_t t = steps_[k].begin; t < end_of(k); ++t, --i) {
        T* upper = columns + (i + 1) * row_;
        T* lower = columns + i * row_;
        for (int64_t j = 0; j < width; ++j) {
          const T f = upper[j];
          upper[j] = turns_[t].s * lower[j] + turns_[t].c * f;
          lower[j] = turns_[t].c * lower[j] - turns_[t].s * f;
        }
      }
    }
  }

  T* vectors_;
  int64_t row_, n_, most_;
  std::vector<Step> steps_;
  std::vector<Turn> turns_;
};

// One QL step on the unreduced block [first, last] with Wilkinson's shift.
template <typename T>
void ql_step(double* d, double* e, int64_t first, int64_t last, Rotations<T>& rotations) {
  double g = (d[first + 1] - d[first]) / (2 * e[first]);
  double r = std::hypot(g, 1.0);
  g = d[last] - d[first] + e[first] / (g + std::copysign(r, g));
  double s = 1, c = 1, p = 0;
  rotations.step(last - 1);
  int64_t i = last - 1;
  for (; i >= first; --i) {
    const double f = s * e[i], b = c * e[i];
    r = std::sqrt(f * f + g * g);
    e[i + 1] = r;
    if (r == 0) {  // the block falls apart here
      d[i + 1] -= p;
      e[last] = 0;
      break;
    }
    s = f / r;
    c = g / r;
    g = d[i + 1] - p;
    r = (d[i] - g) * s + 2 * c * b;
    p = s * r;
    d[i + 1] = g + p;
    g = c * r - b;
    rotations.turn(c, s);
  }
  if (i < first) {
    d[first] -= p;
    e[first] = g;
    e[last] = 0;
  }
  rotations.end_step();
}

// d, e: the tridiagonal matrix, e with room for n. False where it does not converge.
template <typename T>
bool ql(double* d, double* e, int64_t n, Rotations<T>& rotations) {
  constexpr int kMostSteps = 60;  // for one eigenvalue; two are usual
  const double tiny = std::numeric_limits<T>::epsilon() / 2;
  e[n - 1] = 0;
  for (int64_t first = 0; first < n; ++first) {
    for (int steps = 0;; ++steps) {
      int64_t last = first;
      while (last + 1 < n && std::abs(e[last]) > tiny * (std::abs(d[last]) + std::abs(d[last + 1]))) ++last;
      if (last == first) break;
      if (steps == kMostSteps) return false;
      ql_step(d, e, first, last, rotations);
    }
  }
  rotations.flush();
  return true;
}

// An eigenvector is known up to its sign: the element of largest size is made positive.
template <typename T>
void fix_sign(T* x, int64_t n) {
  T most = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (std::abs(x[i]) > std::abs(most)) most = x[i];
  }
  if (most < 0) {
    for (int64_t i = 0; i < n; ++i) x[i] = -x[i];
  }
}

template <typename T>
bool symmetric_eigen(T* a, int64_t row, int64_t n, T* values) {
  if (n == 0) return true;
  const int64_t stride = n + 64 / static_cast<int64_t>(sizeof(T));
  const ScratchArray<T> tau(n), vectors(n * stride);
  const ScratchArray<double> d(n), e(n);
  const ScratchArray<T> work(n * stride);
  for (int64_t i = 0; i < n; ++i) std::copy_n(a + i * row, i + 1, work + i * stride);
  Tridiagonal<T>{work, stride, n, tau, d, e}.run();
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isfinite(d[i]) || (i + 1 < n && !std::isfinite(e[i]))) return false;
  }
  std::fill_n(vectors.data(), n * stride, T(0));
  vectors[0] = 1;
  if (n > 1) factorizations<T>().form_q(work + 1, stride, tau, n - 1, n - 1, vectors + stride + 1, stride);
  Rotations<T> rotations(vectors, stride, n);
  if (!ql(d.data(), e.data(), n, rotations)) return false;
  const ScratchArray<int64_t> order(n);
  std::iota(order.data(), order + n, int64_t{0});
  std::stable_sort(order.data(), order + n, [&](int64_t i, int64_t j) { return d[i] < d[j]; });
  for (int64_t i = 0; i < n; ++i) {
    values[i] = static_cast<T>(d[order[i]]);
    std::copy_n(vectors + order[i] * stride, n, a + i * row);
    fix_sign(a + i * row, n);
  }
  return true;
}

}  // namespace

const SymmetricEigen<float> symmetric_eigen_f32_table = {symmetric_eigen<float>};
const SymmetricEigen<double> symmetric_eigen_f64_table = {symmetric_eigen<double>};

}  // namespace mxnet::MX_ISA
