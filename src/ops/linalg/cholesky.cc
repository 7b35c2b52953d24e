// SPDX-License-Identifier: Apache-2.0
// potrf, potri.
#include "ops/linalg/factor.h"
#include "ops/linalg/matrices.h"

namespace mxnet::linalg {
namespace {

struct CholeskyParams {
  bool lower = true;
  static void declare(ParamSchemaOf<CholeskyParams>& s) {
    s.field("lower", &CholeskyParams::lower, "Whether the factor is lower triangular.");
  }
};

template <typename T>
void factor_one(const T* a, bool lower, int64_t n, T* out, int64_t index) {
  const ScratchArray<T> turned(lower ? 0 : n * n);
  T* l = lower ? out : turned.data();
  if (lower)
    std::copy_n(a, n * n, l);
  else
    turn(a, n, n, l);
  if (const int64_t bad = factorizations<T>().cholesky(l, n, n)) {
    fail(ErrorKind::value, "A is not positive definite: matrix ", index, " of the batch has a leading minor of order ",
         bad, " that is not positive");
  }
  for (int64_t i = 0; i < n; ++i) std::fill_n(l + i * n + i + 1, n - i - 1, T(0));
  if (!lower) turn(l, n, n, out);
}

Prepared prepare_potrf(const PrepareArgs& args) {
  const bool lower = args.as<CholeskyParams>().lower;
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t n = a.rows, work = n * n * n / 6;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) {
            factor_one(static_cast<const T*>(c.in[0]) + i * n * n, lower, n, static_cast<T*>(c.out[0]) + i * n * n, i);
          });
        },
        cost_of(a.count, work));
  });
}

// (Murray, 2016.) a = l l': da = l^-T mirror(l' dl) l^-1 / 2; a = u' u is the same with l = u' and dl = du'.
void potrf_gradient(GradientBuilder& g) {
  const bool lower = g.params<CholeskyParams>().lower;
  const Value l = g.output(0), dl = triangle(g, g.head(0), lower);
  const Value inner = mirrored(g, lower ? product(g, l, dl, true, false) : product(g, l, dl, false, true));
  const Value left = solved(g, l, inner, false, lower, lower, 0.5);
  g.give(0, solved(g, l, left, true, !lower, lower));
}

// The inverse of l l' is x' x with x = l^-1: blocks of rows of its lower triangle, then the upper one.
template <typename T>
void inverse_one(const T* a, bool lower, int64_t n, T* out, int64_t index) {
  constexpr int64_t kRows = 64;
  const ScratchArray<T> x(n * n);
  if (lower)
    std::copy_n(a, n * n, x.data());
  else
    turn(a, n, n, x.data());
  for (int64_t i = 0; i < n; ++i) {
    if (x[i * n + i] == 0) {
      fail(ErrorKind::value, "A is not a Cholesky factor: element ", i, " of the diagonal of matrix ", index,
           " of the batch is zero");
    }
    std::fill_n(x + i * n + i + 1, n - i - 1, T(0));
  }
  factorizations<T>().invert_lower(x, n, n);
  for (int64_t i = 0; i < n; i += kRows) {
    const int64_t rows = std::min(kRows, n - i);
    multiply(BlockProduct<T>{.m = rows,
                             .n = i + rows,
                             .k = n - i,
                             .a = x + i * (n + 1),
                             .a_row = 1,
                             .a_col = n,
                             .b = x + i * n,
                             .b_row = n,
                             .c = out + i * n,
                             .c_row = n,
                             .add = false});
  }
  mirror_lower(out, n);
}

Prepared prepare_potri(const PrepareArgs& args) {
  const bool lower = args.as<CholeskyParams>().lower;
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t n = a.rows, work = n * n * n / 2;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) {
            inverse_one(static_cast<const T*>(c.in[0]) + i * n * n, lower, n, static_cast<T*>(c.out[0]) + i * n * n, i);
          });
        },
        cost_of(a.count, work));
  });
}

// y = (l l')^-1: dl = -y (dy + dy') l^-T, as y l = l^-T; y = (u' u)^-1: du = -u^-T (dy + dy') y.
void potri_gradient(GradientBuilder& g) {
  const bool lower = g.params<CholeskyParams>().lower;
  const Value l = g.input(0), y = g.output(0), dy = g.head(0);
  const Value inner = lower ? sum_of(g, product(g, y, dy), product(g, y, dy, false, true))
                            : sum_of(g, product(g, dy, y), product(g, dy, y, true, false));
  g.give(0, triangle(g, solved(g, l, inner, lower, true, lower, -1), lower));
}

const RegisterOp potrf{{.name = "_linalg_potrf",
                        .doc = "Cholesky factors: A = L L^T with L lower triangular, or A = U^T U with U upper "
                               "triangular if lower is false. Only that triangle of A is read. A matrix that is not "
                               "positive definite is an error when the result is waited for.\n\nThe gradient is that "
                               "of symmetric matrices: half of an off-diagonal element's goes to its mirror image.\n\n"
                               "Shapes: A (..., n, n), output the same. The gradient: Murray, Differentiation of the "
                               "Cholesky decomposition, 2016.",
                        .aliases = {"linalg_potrf"},
                        .params = schema_of<CholeskyParams>(),
                        .inputs = {"A"},
                        .infer = {infer_square, infer_dtype},
                        .gradient = Gradient(potrf_gradient).without_inputs(),
                        .kernels = {{"blocked", prepare_potrf}},
                        .flags = {.precision = Precision::full}}};

const RegisterOp potri{{.name = "_linalg_potri",
                        .doc = "Inverses of the matrices whose Cholesky factors are given: (A A^T)^-1, or (A^T A)^-1 "
                               "if lower is false.\n\nShapes: A (..., n, n), triangular; output the same.",
                        .aliases = {"linalg_potri"},
                        .params = schema_of<CholeskyParams>(),
                        .inputs = {"A"},
                        .infer = {infer_square, infer_dtype},
                        .gradient = Gradient(potri_gradient),
                        .kernels = {{"blocked", prepare_potri}},
                        .flags = {.precision = Precision::full}}};

}  // namespace
}  // namespace mxnet::linalg
