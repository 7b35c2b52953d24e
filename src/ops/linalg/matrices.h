// SPDX-License-Identifier: Apache-2.0
// What the operators on batches of matrices share. A batch lies in all axes but the last two.
#pragma once

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/linalg/blocks.h"

namespace mxnet::linalg {

struct Matrices {
  int64_t count, rows, cols;

  static Matrices of(const Shape& s) { return {s.size(0, s.rank() - 2), s[s.rank() - 2], s[s.rank() - 1]}; }
  int64_t size() const { return rows * cols; }
};

// Refuses input i if its shape is known and has fewer than two axes.
inline bool known_matrices(InferContext& c, int i) {
  const Shape& s = c.in[i].shape;
  if (!s.rank_known()) return false;
  if (s.rank() < 2) c.bad(str(c.name_in(i), " must have at least 2 dimensions, got shape ", s));
  return true;
}

inline bool known_square(InferContext& c, int i) {
  if (!known_matrices(c, i)) return false;
  const Shape& s = c.in[i].shape;
  const dim_t rows = s[s.rank() - 2], cols = s[s.rank() - 1];
  if (rows >= 0 && cols >= 0 && rows != cols) {
    c.bad(str(c.name_in(i), " must hold square matrices in its last two axes, got shape ", s));
  }
  return true;
}

// A shape with other last axes.
inline Shape with_last(const Shape& s, int dropped, std::initializer_list<dim_t> last) {
  Shape out;
  out.resize(0, 0);
  for (int i = 0; i < s.rank() - dropped; ++i) out.push_back(s[i]);
  for (const dim_t d : last) out.push_back(d);
  return out;
}

// One number for each matrix: the leading axes, or (1,) without any.
inline Shape per_matrix(const Shape& s) { return s.rank() == 2 ? Shape{1} : with_last(s, 2, {}); }

// Square matrices in and out.
inline void infer_square(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  known_square(c, 0);
}

inline void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  const DType t = c.in[0].dtype;
  if (t != DType::unknown && t != DType::f32 && t != DType::f64) {
    c.bad(str(c.name_in(0), " must be of dtype float32 or float64, got ", name_of(t)));
  }
}

template <typename F>
decltype(auto) dispatch_matrix(DType t, F&& f) {
  if (t == DType::f64) return f(TypeTag<double>{});
  return f(TypeTag<float>{});
}

constexpr int64_t kHeavyMatrix = 1 << 20;  // multiplications: from here on one matrix keeps a thread busy for a while

// Calls f(i) for every matrix of a batch, over the team where there are enough; `work`: multiplications for one.
template <typename F>
void each_matrix(int64_t count, int64_t work, F&& f) {
  cpu::parallel_for(
      count, std::max<int64_t>(1, (1 << 16) / std::max<int64_t>(1, work)),
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) f(i);
      },
      work >= kHeavyMatrix);
}

inline int64_t cost_of(int64_t count, int64_t work) { return 200 + count * (100 + work / 8); }

// from (rows x cols) turned, to to (cols x rows); both dense.
template <typename T>
void turn(const T* from, int64_t rows, int64_t cols, T* to) {
  constexpr int64_t kTile = 8;
  for (int64_t i0 = 0; i0 < rows; i0 += kTile) {
    for (int64_t j0 = 0; j0 < cols; j0 += kTile) {
      for (int64_t i = i0; i < std::min(rows, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(cols, j0 + kTile); ++j) to[j * rows + i] = from[i * cols + j];
      }
    }
  }
}

// Copies the lower triangle to the upper one.
template <typename T>
void mirror_lower(T* a, int64_t n) {
  constexpr int64_t kTile = 16;
  for (int64_t i0 = 0; i0 < n; i0 += kTile) {
    for (int64_t j0 = 0; j0 <= i0; j0 += kTile) {
      for (int64_t i = i0; i < std::min(n, i0 + kTile); ++i) {
        for (int64_t j = j0; j < std::min(i, j0 + kTile); ++j) a[j * n + i] = a[i * n + j];
      }
    }
  }
}

// Shorthands of gradients.
inline Value product(GradientBuilder& g, const Value& a, const Value& b, bool transpose_a = false,
                     bool transpose_b = false, double alpha = 1) {
  return g.call("_linalg_gemm2", {a, b},
                ParamMap{{"transpose_a", transpose_a}, {"transpose_b", transpose_b}, {"alpha", alpha}});
}
inline Value sum_of(GradientBuilder& g, const Value& a, const Value& b) {
  if (a.is_null()) return b;
  return b.is_null() ? a : g.call("elemwise_add", {a, b});
}
// The lower (or upper) triangle, zeros elsewhere.
inline Value triangle(GradientBuilder& g, const Value& a, bool lower) {
  return g.call("_linalg_triangle", {a}, ParamMap{{"lower", lower}});
}
// The lower triangle, copied to the upper one as well.
inline Value mirrored(GradientBuilder& g, const Value& a) { return g.call("_linalg_mirror", {a}, ParamMap{}); }
// op(l)^-1 b, or b op(l)^-1 from the right.
inline Value solved(GradientBuilder& g, const Value& l, const Value& b, bool right, bool transpose, bool lower,
                    double alpha = 1) {
  return g.call("_linalg_trsm", {l, b},
                ParamMap{{"rightside", right}, {"transpose", transpose}, {"lower", lower}, {"alpha", alpha}});
}

}  // namespace mxnet::linalg
