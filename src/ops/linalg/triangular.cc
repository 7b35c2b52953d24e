// SPDX-License-Identifier: Apache-2.0
// Products and systems with triangular matrices, and with their own transpose: trmm, trsm, syrk.
#include "ops/linalg/factor.h"
#include "ops/linalg/matrices.h"

namespace mxnet::linalg {
namespace {

struct TriangularParams {
  bool transpose = false, rightside = false, lower = true;
  double alpha = 1;
  static void declare(ParamSchemaOf<TriangularParams>& s) {
    using P = TriangularParams;
    s.field("transpose", &P::transpose, "Whether the triangular matrices are transposed.");
    s.field("rightside", &P::rightside, "Whether they stand on the right of the others.");
    s.field("lower", &P::lower, "Whether they are lower triangular; the other triangle is not read.");
    s.field("alpha", &P::alpha, "Multiplies B.");
  }
};

void infer_triangular(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_in(1, c.out[0].shape);
  if (!known_square(c, 0) || !known_matrices(c, 1)) return;
  const bool right = c.as<TriangularParams>().rightside;
  const Shape &a = c.in[0].shape, &b = c.in[1].shape;
  const int r = a.rank();
  bool fits = b.rank() == r;
  const auto agree = [](dim_t x, dim_t y) { return x < 0 || y < 0 || x == y; };
  for (int i = 0; fits && i < r - 2; ++i) fits = agree(a[i], b[i]);
  if (!fits) c.bad(str("A and B must have the same leading axes; got shapes ", a, " and ", b));
  if (!agree(a[r - 1], b[right ? r - 1 : r - 2])) {
    c.bad(str("matrices of shape ", a, " do not fit ", right ? "the columns" : "the rows", " of B, of shape ", b));
  }
}

// ---- trmm ---------------------------------------------------------------------------------------------------------

// out = alpha op(a) b or alpha b op(a), by blocks of the triangle; those on its diagonal are copied with zeros.
template <typename T>
struct TriangularProduct {
  TriangularParams p;
  int64_t n, rows, cols;  // of the triangle; of b

  void run(const T* a, const T* b, T* out) const {
    const int64_t row = p.transpose ? 1 : n, col = p.transpose ? n : 1;
    const bool lower = p.lower != p.transpose;
    // Each block packs the other operand anew, and wastes half of its own square.
    const int64_t size = n >= 256 ? 128 : 64;
    const ScratchArray<T> diagonal(std::min(n, size) * std::min(n, size));
    for (int64_t i = 0; i < n; i += size) {
      const int64_t k = std::min(size, n - i);
      copy_diagonal(a + i * (row + col), row, col, lower, k, diagonal);
      // The rest of these rows (left) or columns (right) of op(a): [from, to).
      const bool before = lower != p.rightside;
      const int64_t from = before ? 0 : i + k, rest = before ? i : n - i - k;
      BlockProduct<T> block{.c_row = cols, .alpha = static_cast<T>(p.alpha)};
      if (p.rightside) {
        block.m = rows, block.n = k, block.a_row = block.b_row = cols;
        block.c = out + i;
      } else {
        block.m = k, block.n = cols, block.b_row = cols;
        block.c = out + i * cols;
      }
      BlockProduct<T> first = block;
      first.k = k;
      first.add = false;
      if (p.rightside) {
        first.a = b + i, first.b = diagonal, first.b_row = k;
        block.a = b + from, block.b = a + from * row + i * col, block.b_row = row, block.b_col = col;
      } else {
        first.a = diagonal, first.a_row = k, first.b = b + i * cols;
        block.a = a + i * row + from * col, block.a_row = row, block.a_col = col, block.b = b + from * cols;
      }
      multiply(first);
      block.k = rest;
      if (rest > 0) multiply(block);
    }
  }

  static void copy_diagonal(const T* a, int64_t row, int64_t col, bool lower, int64_t k, T* to) {
    for (int64_t i = 0; i < k; ++i, to += k) {
      const int64_t from = lower ? 0 : i, end = lower ? i + 1 : k;
      std::fill_n(to, from, T(0));
      for (int64_t j = from; j < end; ++j) to[j] = a[i * row + j * col];
      std::fill_n(to + end, k - end, T(0));
    }
  }
};

Prepared prepare_trmm(const PrepareArgs& args) {
  const auto& p = args.as<TriangularParams>();
  const Matrices a = Matrices::of(args.in[0].shape), b = Matrices::of(args.in[1].shape);
  const int64_t work = a.rows * b.size() / 2;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const TriangularProduct<T> product{p, a.rows, b.rows, b.cols};
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(b.count, work, [&](int64_t i) {
            product.run(static_cast<const T*>(c.in[0]) + i * a.size(), static_cast<const T*>(c.in[1]) + i * b.size(),
                        static_cast<T*>(c.out[0]) + i * b.size());
          });
        },
        cost_of(b.count, work));
  });
}

void trmm_gradient(GradientBuilder& g) {
  const auto& p = g.params<TriangularParams>();
  const Value dy = g.head(0), a = g.input(0), b = g.input(1);
  if (g.needs(0)) {
    // y = alpha op(a) b: d op(a) = alpha dy b'; y = alpha b op(a): d op(a) = alpha b' dy. Turned where op turns.
    const Value& first = p.rightside ? b : dy;
    const Value& second = p.rightside ? dy : b;
    const Value da = p.transpose ? product(g, second, first, p.rightside, !p.rightside, p.alpha)
                                 : product(g, first, second, p.rightside, !p.rightside, p.alpha);
    g.give(0, triangle(g, da, p.lower));
  }
  if (g.needs(1)) {
    TriangularParams back = p;
    back.transpose = !p.transpose;
    g.give(1, "_linalg_trmm", {a, dy}, make_params(back));
  }
}

// ---- trsm ---------------------------------------------------------------------------------------------------------

// x = op(a)^-1 x: an upper triangle is a lower one whose rows and columns are counted from the end.
template <typename T>
void solve_left(const T* a, const TriangularParams& p, bool transpose, T* x, int64_t n, int64_t m) {
  LowerView<T> view{a, transpose ? 1 : n, transpose ? n : 1};
  int64_t x_row = m;
  if (p.lower == transpose) {
    view = {a + n * n - 1, -view.row, -view.col};
    x += (n - 1) * m;
    x_row = -m;
  }
  factorizations<T>().solve_lower(view, false, x, x_row, n, m);
}

template <typename T>
void solve_one(const TriangularParams& p, const T* a, const T* b, T* out, int64_t rows, int64_t cols) {
  const T alpha = static_cast<T>(p.alpha);
  if (rows * cols == 0) return;
  if (!p.rightside) {
    for (int64_t i = 0; i < rows * cols; ++i) out[i] = alpha * b[i];
    return solve_left(a, p, p.transpose, out, rows, cols);
  }
  // x op(a) = b as op(a)' x' = b'.
  const ScratchArray<T> turned(rows * cols);
  turn(b, rows, cols, turned.data());
  for (int64_t i = 0; i < rows * cols; ++i) turned[i] *= alpha;
  solve_left(a, p, !p.transpose, turned.data(), cols, rows);
  turn(turned.data(), cols, rows, out);
}

Prepared prepare_trsm(const PrepareArgs& args) {
  const auto& p = args.as<TriangularParams>();
  const Matrices a = Matrices::of(args.in[0].shape), b = Matrices::of(args.in[1].shape);
  const int64_t work = a.rows * b.size() / 2;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(b.count, work, [&](int64_t i) {
            solve_one(p, static_cast<const T*>(c.in[0]) + i * a.size(), static_cast<const T*>(c.in[1]) + i * b.size(),
                      static_cast<T*>(c.out[0]) + i * b.size(), b.rows, b.cols);
          });
        },
        cost_of(b.count, work));
  });
}

void trsm_gradient(GradientBuilder& g) {
  const auto& p = g.params<TriangularParams>();
  const Value dy = g.head(0), a = g.input(0), y = g.output(0);
  // z: the gradient of alpha b. d op(a) = -z y' (left), -y' z (right).
  const Value z = solved(g, a, dy, p.rightside, !p.transpose, p.lower);
  if (g.needs(0)) {
    const Value& first = p.rightside ? y : z;
    const Value& second = p.rightside ? z : y;
    const Value da = p.transpose ? product(g, second, first, p.rightside, !p.rightside, -1)
                                 : product(g, first, second, p.rightside, !p.rightside, -1);
    g.give(0, triangle(g, da, p.lower));
  }
  if (g.needs(1)) g.give(1, g.call("_mul_scalar", {z}, ParamMap{{"scalar", p.alpha}}));
}

// ---- syrk ---------------------------------------------------------------------------------------------------------

struct SyrkParams {
  bool transpose = false;
  double alpha = 1;
  static void declare(ParamSchemaOf<SyrkParams>& s) {
    s.field("transpose", &SyrkParams::transpose, "Whether the product is A^T A rather than A A^T.");
    s.field("alpha", &SyrkParams::alpha, "Multiplies the product.");
  }
};

void infer_syrk(InferContext& c) {
  if (!known_matrices(c, 0)) return;
  const Shape& a = c.in[0].shape;
  const dim_t n = a[a.rank() - (c.as<SyrkParams>().transpose ? 1 : 2)];
  c.merge_out(0, with_last(a, 2, {n, n}));
}

template <typename T>
void syrk_one(const SyrkParams& p, const T* a, const Matrices& shape, T* out) {
  constexpr int64_t kRows = 128;
  const int64_t n = p.transpose ? shape.cols : shape.rows, k = p.transpose ? shape.rows : shape.cols;
  const int64_t row = p.transpose ? 1 : shape.cols, col = p.transpose ? shape.cols : 1;
  for (int64_t i = 0; i < n; i += kRows) {
    const int64_t rows = std::min(kRows, n - i);
    multiply(BlockProduct<T>{.m = rows,
                             .n = i + rows,
                             .k = k,
                             .a = a + i * row,
                             .a_row = row,
                             .a_col = col,
                             .b = a,
                             .b_row = col,
                             .b_col = row,
                             .c = out + i * n,
                             .c_row = n,
                             .alpha = static_cast<T>(p.alpha),
                             .add = false});
  }
  mirror_lower(out, n);
}

Prepared prepare_syrk(const PrepareArgs& args) {
  const auto& p = args.as<SyrkParams>();
  const Matrices a = Matrices::of(args.in[0].shape), y = Matrices::of(args.out[0].shape);
  const int64_t work = a.size() * y.rows / 2;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) {
            syrk_one(p, static_cast<const T*>(c.in[0]) + i * a.size(), a, static_cast<T*>(c.out[0]) + i * y.size());
          });
        },
        cost_of(a.count, work));
  });
}

void syrk_gradient(GradientBuilder& g) {
  const auto& p = g.params<SyrkParams>();
  const Value dy = g.head(0), a = g.input(0);
  if (p.transpose)
    g.give(0, sum_of(g, product(g, a, dy, false, false, p.alpha), product(g, a, dy, false, true, p.alpha)));
  else
    g.give(0, sum_of(g, product(g, dy, a, false, false, p.alpha), product(g, dy, a, true, false, p.alpha)));
}

const RegisterOp trmm{{.name = "_linalg_trmm",
                       .doc = "alpha op(A) B, or alpha B op(A) with rightside: the product with triangular matrices, "
                              "of which the other triangle is not read.\n\nShapes: A (..., n, n), B and output (..., "
                              "n, m), or (..., m, n) with rightside.",
                       .aliases = {"linalg_trmm"},
                       .params = schema_of<TriangularParams>(),
                       .inputs = {"A", "B"},
                       .infer = {infer_triangular, infer_dtype},
                       .gradient = Gradient(trmm_gradient).without_outputs(),
                       .kernels = {{"blocked", prepare_trmm}},
                       .flags = {.precision = Precision::full}}};

const RegisterOp trsm{{.name = "_linalg_trsm",
                       .doc = "The solution X of op(A) X = alpha B, or of X op(A) = alpha B with rightside; A is "
                              "triangular, and its other triangle is not read. A zero on the diagonal gives inf and "
                              "nan.\n\nShapes: A (..., n, n), B and output (..., n, m), or (..., m, n) with rightside.",
                       .aliases = {"linalg_trsm"},
                       .params = schema_of<TriangularParams>(),
                       .inputs = {"A", "B"},
                       .infer = {infer_triangular, infer_dtype},
                       .gradient = Gradient(trsm_gradient),
                       .kernels = {{"blocked", prepare_trsm}},
                       .flags = {.precision = Precision::full}}};

const RegisterOp syrk{{.name = "_linalg_syrk",
                       .doc = "alpha A A^T, or alpha A^T A with transpose.\n\nShapes: A (..., m, n), output (..., m, "
                              "m), or (..., n, n) with transpose.",
                       .aliases = {"linalg_syrk"},
                       .params = schema_of<SyrkParams>(),
                       .inputs = {"A"},
                       .infer = {infer_syrk, infer_dtype},
                       .gradient = Gradient(syrk_gradient).without_outputs(),
                       .kernels = {{"blocked", prepare_syrk}},
                       .flags = {.precision = Precision::full}}};

}  // namespace
}  // namespace mxnet::linalg
