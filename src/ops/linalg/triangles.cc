// SPDX-License-Identifier: Apache-2.0
// Diagonals and triangles taken from matrices, and matrices made of them.
#include <cmath>

#include "ops/linalg/matrices.h"

namespace mxnet::linalg {
namespace {

struct DiagonalParams {
  int offset = 0;
  static void declare(ParamSchemaOf<DiagonalParams>& s) {
    s.field("offset", &DiagonalParams::offset, "Which diagonal: 0 the main one, above it positive, below it negative.");
  }
};

struct TriangleParams {
  int offset = 0;
  bool lower = true;
  static void declare(ParamSchemaOf<TriangleParams>& s) {
    s.field("offset", &TriangleParams::offset,
            "The diagonal that bounds the triangle. One above the main diagonal bounds an upper triangle, one below it "
            "a lower one, whatever `lower` says.");
    s.field("lower", &TriangleParams::lower, "For offset 0: whether the triangle is the lower one.");
  }
};

// An entry (row, col) of a matrix for each position of a vector.
struct Line {
  int64_t first_row, first_col, length;

  static Line diagonal(int64_t n, int64_t offset) {
    return {std::max<int64_t>(0, -offset), std::max<int64_t>(0, offset), n - std::abs(offset)};
  }
};

// Rows of a triangle: a lower one from column 0 up to a diagonal below (or on) the main one, an upper one likewise.
struct Triangle {
  int64_t n, size;  // of the matrix; of the triangle, which is that of a matrix of this size
  bool lower;
  int64_t offset;

  static Triangle of(int64_t n, const TriangleParams& p) {
    return {n, n - std::abs(p.offset), p.offset < 0 || (p.offset == 0 && p.lower), p.offset};
  }
  int64_t count() const { return size * (size + 1) / 2; }
  // Calls f(position in the vector, position in the matrix), in order of the vector.
  template <typename F>
  void each(F&& f) const {
    int64_t at = 0;
    for (int64_t i = 0; i < size; ++i) {
      // Lower triangles are listed by rows, upper ones by rows as well but packed as the columns of a lower one.
      if (lower) {
        const int64_t row = i + (n - size);
        for (int64_t j = 0; j <= i; ++j) f(at++, row * n + j);
      } else {
        for (int64_t j = i; j < size; ++j) f(j * (j + 1) / 2 + i, i * n + j + (n - size));
      }
    }
  }
};

int64_t known_offset(InferContext& c, const Shape& a, int64_t offset) {
  const dim_t n = a[a.rank() - 1];
  if (n >= 0 && std::abs(offset) >= std::max<int64_t>(1, n)) {
    c.bad(str("offset ", offset, " is outside of matrices of shape ", a));
  }
  return n < 0 ? -1 : n - std::abs(offset);
}

void infer_extractdiag(InferContext& c) {
  if (!known_square(c, 0)) return;
  const Shape& a = c.in[0].shape;
  c.merge_out(0, with_last(a, 2, {known_offset(c, a, c.as<DiagonalParams>().offset)}));
}

void infer_makediag(InferContext& c) {
  const Shape& a = c.in[0].shape;
  if (!a.rank_known()) return;
  if (a.rank() < 1) c.bad(str("A must have at least 1 dimension, got shape ", a));
  const dim_t k = a[a.rank() - 1];
  const dim_t n = k < 0 ? -1 : k + std::abs(int64_t{c.as<DiagonalParams>().offset});
  c.merge_out(0, with_last(a, 1, {n, n}));
}

void infer_extracttrian(InferContext& c) {
  if (!known_square(c, 0)) return;
  const Shape& a = c.in[0].shape;
  const int64_t k = known_offset(c, a, c.as<TriangleParams>().offset);
  c.merge_out(0, with_last(a, 2, {k < 0 ? -1 : k * (k + 1) / 2}));
}

void infer_maketrian(InferContext& c) {
  const Shape& a = c.in[0].shape;
  if (!a.rank_known()) return;
  if (a.rank() < 1) c.bad(str("A must have at least 1 dimension, got shape ", a));
  const dim_t count = a[a.rank() - 1];
  if (count < 0) return;
  auto k = static_cast<int64_t>((std::sqrt(8.0 * static_cast<double>(count) + 1) - 1) / 2);
  while (k * (k + 1) / 2 < count) ++k;
  if (k * (k + 1) / 2 != count) {
    c.bad(str("the last axis of A must hold 1, 3, 6, 10, ... elements, those of a triangle; got shape ", a));
  }
  const dim_t n = k + std::abs(int64_t{c.as<TriangleParams>().offset});
  c.merge_out(0, with_last(a, 1, {n, n}));
}

// Moves the elements that `each(f)` lists between vectors and matrices.
template <bool FromMatrix, typename Each>
Prepared move_kernel(const PrepareArgs& args, int64_t batch, int64_t matrix, int64_t vector, Each each) {
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(batch, matrix, [&](int64_t b) {
            const T* from = static_cast<const T*>(c.in[0]) + b * (FromMatrix ? matrix : vector);
            T* to = static_cast<T*>(c.out[0]) + b * (FromMatrix ? vector : matrix);
            if (!FromMatrix) std::fill_n(to, matrix, T(0));
            each([&](int64_t v, int64_t m) {
              if (FromMatrix)
                to[v] = from[m];
              else
                to[m] = from[v];
            });
          });
        },
        cost_of(batch, matrix * 4));
  });
}

template <bool FromMatrix>
Prepared prepare_diagonal(const PrepareArgs& args) {
  const Matrices m = Matrices::of(args.in.size() && FromMatrix ? args.in[0].shape : args.out[0].shape);
  const Line line = Line::diagonal(m.rows, args.as<DiagonalParams>().offset);
  return move_kernel<FromMatrix>(args, m.count, m.size(), line.length, [line, n = m.rows](auto&& f) {
    for (int64_t i = 0; i < line.length; ++i) f(i, (line.first_row + i) * n + line.first_col + i);
  });
}

template <bool FromMatrix>
Prepared prepare_triangle(const PrepareArgs& args) {
  const Matrices m = Matrices::of(FromMatrix ? args.in[0].shape : args.out[0].shape);
  const Triangle t = Triangle::of(m.rows, args.as<TriangleParams>());
  return move_kernel<FromMatrix>(args, m.count, m.size(), t.count(), [t](auto&& f) { t.each(f); });
}

template <int Op>
void moved_gradient(GradientBuilder& g) {
  constexpr const char* kInverse[] = {"_linalg_makediag", "_linalg_extractdiag", "_linalg_maketrian",
                                      "_linalg_extracttrian"};
  g.give(0, kInverse[Op], {g.head(0)}, g.params_ref());
}

// ---- sumlogdiag ---------------------------------------------------------------------------------------------------

void infer_sumlogdiag(InferContext& c) {
  if (known_square(c, 0)) c.merge_out(0, per_matrix(c.in[0].shape));
}

Prepared prepare_sumlogdiag(const PrepareArgs& args) {
  const Matrices a = Matrices::of(args.in[0].shape);
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [a](const KernelCall& c) {
          each_matrix(a.count, a.rows * 16, [&](int64_t b) {
            const T* from = static_cast<const T*>(c.in[0]) + b * a.size();
            double sum = 0;
            for (int64_t i = 0; i < a.rows; ++i) sum += std::log(static_cast<double>(from[i * (a.rows + 1)]));
            static_cast<T*>(c.out[0])[b] = static_cast<T>(sum);
          });
        },
        cost_of(a.count, a.rows * 80));
  });
}

void sumlogdiag_gradient(GradientBuilder& g) {
  const Value d = g.call("_linalg_extractdiag", {g.input(0)}, ParamMap{});
  const Value spread = g.call("_backward_sum", {g.head(0), d}, ParamMap{{"axis", int64_t{-1}}});
  g.give(0, "_linalg_makediag", {g.call("elemwise_div", {spread, d})});
}

// ---- parts of gradients -------------------------------------------------------------------------------------------

struct SideParams {
  bool lower = true;
  static void declare(ParamSchemaOf<SideParams>& s) { s.field("lower", &SideParams::lower, "Which triangle."); }
};

// out = f(matrix, row, column), elementwise over square matrices.
template <typename F>
Prepared square_kernel(const PrepareArgs& args, F f) {
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t n = a.rows;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          cpu::parallel_for(a.count * n, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)),
                            [&](int64_t begin, int64_t end) {
                              for (int64_t r = begin; r < end; ++r) {
                                const T* from = static_cast<const T*>(c.in[0]) + r / n * n * n;
                                T* to = static_cast<T*>(c.out[0]) + r * n;
                                for (int64_t j = 0; j < n; ++j) to[j] = f(from, n, r % n, j);
                              }
                            });
        },
        cost_of(a.count, n * n * 4));
  });
}

Prepared prepare_side(const PrepareArgs& args) {
  const bool lower = args.as<SideParams>().lower;
  return square_kernel(args, [lower]<typename T>(const T* a, int64_t n, int64_t i, int64_t j) {
    return (lower ? j <= i : j >= i) ? a[i * n + j] : T(0);
  });
}
Prepared prepare_mirror(const PrepareArgs& args) {
  return square_kernel(args, []<typename T>(const T* a, int64_t n, int64_t i, int64_t j) {
    return a[std::max(i, j) * n + std::min(i, j)];
  });
}
Prepared prepare_fold(const PrepareArgs& args) {
  return square_kernel(args, []<typename T>(const T* a, int64_t n, int64_t i, int64_t j) {
    return j > i ? T(0) : j == i ? a[i * n + i] : a[i * n + j] + a[j * n + i];
  });
}
Prepared prepare_symmetrize(const PrepareArgs& args) {
  return square_kernel(
      args, []<typename T>(const T* a, int64_t n, int64_t i, int64_t j) { return (a[i * n + j] + a[j * n + i]) / 2; });
}

void same_gradient(GradientBuilder& g) { g.give(0, g.op().name, {g.head(0)}, g.params_ref()); }

OpDef moving(const char* name, const char* alias, const char* doc, const ParamSchema& params, InferFn shape,
             Gradient::Fn gradient, PrepareFn prepare) {
  return {.name = name,
          .doc = doc,
          .aliases = {alias},
          .params = params,
          .inputs = {"A"},
          .infer = {shape, infer_dtype},
          .gradient = Gradient(gradient).only_heads(),
          .kernels = {{"portable", prepare}},
          .flags = {.precision = Precision::full}};
}

OpDef part(const char* name, const char* doc, const ParamSchema& params, Gradient::Fn gradient, PrepareFn prepare) {
  return {.name = name,
          .doc = doc,
          .params = params,
          .inputs = {"A"},
          .infer = {infer_square, infer_dtype},
          .gradient = Gradient(gradient).only_heads(),
          .kernels = {{"portable", prepare}},
          .flags = {.hidden = true}};
}

const RegisterOp extractdiag{moving("_linalg_extractdiag", "linalg_extractdiag",
                                    "A diagonal of each matrix.\n\nShapes: A (..., n, n), output (..., n - |offset|).",
                                    schema_of<DiagonalParams>(), infer_extractdiag, moved_gradient<0>,
                                    prepare_diagonal<true>)};
const RegisterOp makediag{moving("_linalg_makediag", "linalg_makediag",
                                 "Matrices that are zero but for one diagonal.\n\nShapes: A (..., k), output (..., n, "
                                 "n) with n = k + |offset|.",
                                 schema_of<DiagonalParams>(), infer_makediag, moved_gradient<1>,
                                 prepare_diagonal<false>)};
const RegisterOp extracttrian{
    moving("_linalg_extracttrian", "linalg_extracttrian",
           "A triangle of each matrix as a vector: a lower one row by row, an upper one column by column.\n\nShapes: A "
           "(..., n, n), output (..., k (k + 1) / 2) with k = n - |offset|.",
           schema_of<TriangleParams>(), infer_extracttrian, moved_gradient<2>, prepare_triangle<true>)};
const RegisterOp maketrian{moving("_linalg_maketrian", "linalg_maketrian",
                                  "Triangular matrices of vectors, as extracttrian gives them.\n\nShapes: A (..., k (k "
                                  "+ 1) / 2), output (..., n, n) with n = k + |offset|.",
                                  schema_of<TriangleParams>(), infer_maketrian, moved_gradient<3>,
                                  prepare_triangle<false>)};

const RegisterOp sumlogdiag{{.name = "_linalg_sumlogdiag",
                             .doc = "Sum of the logarithms of the diagonal elements.\n\nShapes: A (..., n, n), output "
                                    "(...), or (1,) for one matrix.",
                             .aliases = {"linalg_sumlogdiag"},
                             .inputs = {"A"},
                             .infer = {infer_sumlogdiag, infer_dtype},
                             .gradient = Gradient(sumlogdiag_gradient).without_outputs(),
                             .kernels = {{"portable", prepare_sumlogdiag}},
                             .flags = {.precision = Precision::full}}};

const RegisterOp side{
    part("_linalg_triangle", "One triangle, zeros elsewhere.", schema_of<SideParams>(), same_gradient, prepare_side)};
const RegisterOp mirror{part(
    "_linalg_mirror", "The lower triangle, copied to the upper one.", schema_of<NoParams>(),
    [](GradientBuilder& g) { g.give(0, "_linalg_fold", {g.head(0)}); }, prepare_mirror)};
const RegisterOp fold{part(
    "_linalg_fold", "The lower triangle, with the upper one added to it.", schema_of<NoParams>(),
    [](GradientBuilder& g) { g.give(0, "_linalg_mirror", {g.head(0)}); }, prepare_fold)};
const RegisterOp symmetrize{part("_linalg_symmetrize", "The mean of a matrix and its transpose.", schema_of<NoParams>(),
                                 same_gradient, prepare_symmetrize)};

}  // namespace
}  // namespace mxnet::linalg
