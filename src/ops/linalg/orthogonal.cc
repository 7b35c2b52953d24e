// SPDX-License-Identifier: Apache-2.0
// Decompositions with an orthogonal factor: gelqf, syevd. Gradients: Seeger, Hetzel, Dai, Meissner and Lawrence,
// Auto-differentiating linear algebra, 2017.
#include <cmath>

#include "ops/linalg/factor.h"
#include "ops/linalg/matrices.h"

namespace mxnet::linalg {
namespace {

// ---- gelqf --------------------------------------------------------------------------------------------------------

void infer_gelqf(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  if (!known_matrices(c, 0)) return;
  const Shape& a = c.in[0].shape;
  const dim_t rows = a[a.rank() - 2], cols = a[a.rank() - 1];
  if (rows >= 0 && cols >= 0 && rows > cols) c.bad(str("A must not have more rows than columns, got shape ", a));
  c.merge_out(1, with_last(a, 2, {rows, rows}));
}

template <typename T>
void lq_one(const T* a, int64_t m, int64_t n, T* q, T* l) {
  const ScratchArray<T> work(m * n), tau(m), unused(q ? 0 : m * n);
  std::copy_n(a, m * n, work.data());
  factorizations<T>().lq(work, n, m, n, tau);
  if (l) {
    for (int64_t i = 0; i < m; ++i) {
      std::copy_n(work + i * n, i + 1, l + i * m);
      std::fill_n(l + i * m + i + 1, m - i - 1, T(0));
    }
  }
  if (q) factorizations<T>().form_q(work, n, tau, m, n, q, n);
}

Prepared prepare_gelqf(const PrepareArgs& args) {
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t m = a.rows, n = a.cols, work = 2 * m * m * n;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) {
            T* q = static_cast<T*>(c.out[0]);
            T* l = static_cast<T*>(c.out[1]);
            lq_one(static_cast<const T*>(c.in[0]) + i * m * n, m, n, q ? q + i * m * n : nullptr,
                   l ? l + i * m * m : nullptr);
          });
        },
        cost_of(a.count, work));
  });
}

// da = l^-T (dq + mirror(l' dl - dq q') q)
void gelqf_gradient(GradientBuilder& g) {
  const Value q = g.output(0), l = g.output(1);
  Value inner;
  if (g.has_head(1)) inner = product(g, l, triangle(g, g.head(1), true), true, false);
  if (g.has_head(0)) inner = sum_of(g, inner, product(g, g.head(0), q, false, true, -1));
  Value sum = product(g, mirrored(g, inner), q);
  if (g.has_head(0)) sum = sum_of(g, g.head(0), sum);
  g.give(0, solved(g, l, sum, false, true, true));
}

// ---- syevd --------------------------------------------------------------------------------------------------------

void infer_syevd(InferContext& c) {
  infer_square(c);
  if (!known_square(c, 0)) return;
  const Shape& a = c.in[0].shape;
  c.merge_out(1, with_last(a, 1, {}));
}

Prepared prepare_syevd(const PrepareArgs& args) {
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t n = a.rows, work = 4 * n * n * n + 100 * n;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) {
            const ScratchArray<T> vectors(c.out[0] ? 0 : n * n), values(c.out[1] ? 0 : n);
            T* u = c.out[0] ? static_cast<T*>(c.out[0]) + i * n * n : vectors.data();
            T* l = c.out[1] ? static_cast<T*>(c.out[1]) + i * n : values.data();
            std::copy_n(static_cast<const T*>(c.in[0]) + i * n * n, n * n, u);
            if (!symmetric_eigen(u, n, n, l)) {
              fail(ErrorKind::value, "no eigenvalues found for matrix ", i,
                   " of the batch A: it holds elements that are not finite");
            }
          });
        },
        cost_of(a.count, work));
  });
}

// a = u' diag(l) u: da = u' (diag(dl) + sym(du u' / gaps)) u
void syevd_gradient(GradientBuilder& g) {
  const Value u = g.output(0), l = g.output(1);
  Value inner;
  if (g.has_head(0)) {
    const Value turned = product(g, g.head(0), u, false, true);
    const Value divided = g.call("elemwise_mul", {turned, g.call("_linalg_inverse_gaps", {l}, ParamMap{})});
    inner = g.call("_linalg_symmetrize", {divided}, ParamMap{});
  }
  if (g.has_head(1)) inner = sum_of(g, inner, g.call("_linalg_makediag", {g.head(1)}, ParamMap{}));
  g.give(0, product(g, product(g, u, inner, true, false), u));
}

// e[i][j] = 1 / (l[i] - l[j]), the difference being kept away from zero; 0 on the diagonal.
void infer_gaps(InferContext& c) {
  const Shape& l = c.in[0].shape;
  if (!l.rank_known()) return;
  const dim_t n = l[l.rank() - 1];
  c.merge_out(0, with_last(l, 1, {n, n}));
}

Prepared prepare_gaps(const PrepareArgs& args) {
  const Matrices e = Matrices::of(args.out[0].shape);
  const int64_t n = e.rows;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          const T least = std::is_same_v<T, float> ? T(1e-30) : T(1e-100);
          each_matrix(e.count, n * n, [&](int64_t k) {
            const T* l = static_cast<const T*>(c.in[0]) + k * n;
            T* to = static_cast<T*>(c.out[0]) + k * n * n;
            for (int64_t i = 0; i < n; ++i) {
              for (int64_t j = 0; j < n; ++j) {
                const T gap = l[i] - l[j];
                to[i * n + j] = i == j ? T(0) : 1 / std::copysign(std::max(std::abs(gap), least), T(i > j ? 1 : -1));
              }
            }
          });
        },
        cost_of(e.count, n * n * 8));
  });
}

// de / dl[i] = -e^2 for row i, +e^2 for column i.
void gaps_gradient(GradientBuilder& g) {
  const Value e = g.output(0);
  const Value w = g.call("elemwise_mul", {g.head(0), g.call("square", {e})});
  g.give(0, "elemwise_sub",
         {g.call("sum", {w}, ParamMap{{"axis", int64_t{-2}}}), g.call("sum", {w}, ParamMap{{"axis", int64_t{-1}}})});
}

const RegisterOp gelqf{{.name = "_linalg_gelqf",
                        .doc = "LQ decompositions A = L Q: L is lower triangular, the rows of Q are orthonormal. "
                               "Elements on the diagonal of L may be negative.\n\nShapes: A (..., m, n) with m <= n; "
                               "outputs Q (..., m, n) and L (..., m, m). The gradient needs matrices of full rank.",
                        .aliases = {"linalg_gelqf"},
                        .inputs = {"A"},
                        .outputs = 2,
                        .infer = {infer_gelqf, infer_dtype},
                        .gradient = Gradient(gelqf_gradient).without_inputs(),
                        .kernels = {{"blocked", prepare_gelqf}},
                        .flags = {.precision = Precision::full}}};

const RegisterOp syevd{{.name = "_linalg_syevd",
                        .doc = "Eigenvectors and eigenvalues of symmetric matrices: A = U^T diag(L) U. Only the lower "
                               "triangle of A is read. Eigenvalues ascend; the rows of U are the eigenvectors, each "
                               "with its largest element positive.\n\nShapes: A (..., n, n); outputs U (..., n, n) and "
                               "L (..., n). The gradient with respect to U needs distinct eigenvalues.",
                        .aliases = {"linalg_syevd"},
                        .inputs = {"A"},
                        .outputs = 2,
                        .infer = {infer_syevd, infer_dtype},
                        .gradient = Gradient(syevd_gradient).without_inputs(),
                        .kernels = {{"ql", prepare_syevd}},
                        .flags = {.precision = Precision::full}}};

const RegisterOp inverse_gaps{{.name = "_linalg_inverse_gaps",
                               .doc = "Inverse differences of eigenvalues.",
                               .inputs = {"L"},
                               .infer = {infer_gaps, infer_dtype},
                               .gradient = Gradient(gaps_gradient).without_inputs(),
                               .kernels = {{"portable", prepare_gaps}},
                               .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::linalg
