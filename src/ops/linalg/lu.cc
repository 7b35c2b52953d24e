// SPDX-License-Identifier: Apache-2.0
// Operators by LU decomposition: det, slogdet, inverse.
#include <cmath>
#include <limits>
#include <numeric>

#include "ops/linalg/factor.h"
#include "ops/linalg/matrices.h"

namespace mxnet::linalg {
namespace {

// P a = L U in scratch memory of the running thread.
template <typename T>
struct Decomposed {
  Decomposed(const T* a, int64_t n) : n(n), lu(n * n), pivot(n) {
    std::copy_n(a, n * n, lu.data());
    factorizations<T>().lu(lu, n, n, pivot);
  }
  bool singular() const {
    for (int64_t i = 0; i < n; ++i) {
      if (lu[i * n + i] == 0) return true;
    }
    return false;
  }
  // Of the determinant; 0 if singular.
  double sign() const {
    double sign = 1;
    for (int64_t i = 0; i < n; ++i) {
      const T d = lu[i * n + i];
      if (d == 0) return 0;
      if ((d < 0) != (pivot[i] != i)) sign = -sign;
    }
    return sign;
  }
  // a^-1, from the identity with its rows exchanged.
  void invert(T* x) const {
    const ScratchArray<int64_t> order(n);
    std::iota(order.data(), order + n, int64_t{0});
    for (int64_t i = 0; i < n; ++i) std::swap(order[i], order[pivot[i]]);
    std::fill_n(x, n * n, T(0));
    for (int64_t i = 0; i < n; ++i) x[i * n + order[i]] = 1;
    const auto& f = factorizations<T>();
    f.solve_lower({lu, n, 1}, true, x, n, n, n);
    f.solve_lower({lu + n * n - 1, -n, -1}, false, x + (n - 1) * n, -n, n, n);
  }

  int64_t n;
  ScratchArray<T> lu;
  ScratchArray<int64_t> pivot;
};

// Calls one(input matrix, index) for every matrix of the input.
template <typename One>
Prepared each_decomposed(const PrepareArgs& args, int64_t divisor, One one) {
  const Matrices a = Matrices::of(args.in[0].shape);
  const int64_t n = a.rows, work = n * n * n / divisor;
  return dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          each_matrix(a.count, work, [&](int64_t i) { one(static_cast<const T*>(c.in[0]) + i * n * n, n, i, c); });
        },
        cost_of(a.count, work));
  });
}

// ---- det, slogdet -------------------------------------------------------------------------------------------------

void infer_det(InferContext& c) {
  if (!known_square(c, 0)) return;
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), per_matrix(c.in[0].shape));
}

Prepared prepare_det(const PrepareArgs& args) {
  return each_decomposed(args, 3, []<typename T>(const T* a, int64_t n, int64_t i, const KernelCall& c) {
    const Decomposed<T> d(a, n);
    double product = d.sign();
    for (int64_t k = 0; k < n; ++k) product *= std::abs(static_cast<double>(d.lu[k * n + k]));
    static_cast<T*>(c.out[0])[i] = static_cast<T>(product);
  });
}

Prepared prepare_slogdet(const PrepareArgs& args) {
  return each_decomposed(args, 3, []<typename T>(const T* a, int64_t n, int64_t i, const KernelCall& c) {
    const Decomposed<T> d(a, n);
    const double sign = d.sign();
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) sum += std::log(std::abs(static_cast<double>(d.lu[k * n + k])));
    if (c.out[0]) static_cast<T*>(c.out[0])[i] = static_cast<T>(sign);
    if (c.out[1]) static_cast<T*>(c.out[1])[i] = static_cast<T>(sum);
  });
}

// The value of each matrix, times (a^-1)', which is zero where a is singular.
Value spread_on_cofactors(GradientBuilder& g, const Value& each) {
  const Value cofactors = g.call("_linalg_inverse_transposed", {g.input(0)}, ParamMap{});
  const ParamMap last_two{{"axis", ParamList{int64_t{-2}, int64_t{-1}}}};
  return g.call("elemwise_mul", {g.call("_backward_sum", {each, cofactors}, last_two), cofactors});
}

void det_gradient(GradientBuilder& g) {
  g.give(0, spread_on_cofactors(g, g.call("elemwise_mul", {g.head(0), g.output(0)})));
}

void slogdet_gradient(GradientBuilder& g) {
  if (g.has_head(1)) g.give(0, spread_on_cofactors(g, g.head(1)));
}

// ---- inverse ------------------------------------------------------------------------------------------------------

Prepared prepare_inverse(const PrepareArgs& args) {
  return each_decomposed(args, 1, []<typename T>(const T* a, int64_t n, int64_t i, const KernelCall& c) {
    const Decomposed<T> d(a, n);
    if (d.singular()) fail(ErrorKind::value, "matrix ", i, " of the batch A is singular");
    d.invert(static_cast<T*>(c.out[0]) + i * n * n);
  });
}

void inverse_gradient(GradientBuilder& g) {
  const Value y = g.output(0);
  g.give(0, product(g, product(g, y, g.head(0), true, false, -1), y, false, true));
}

Prepared prepare_inverse_transposed(const PrepareArgs& args) {
  return each_decomposed(args, 1, []<typename T>(const T* a, int64_t n, int64_t i, const KernelCall& c) {
    const Decomposed<T> d(a, n);
    T* out = static_cast<T*>(c.out[0]) + i * n * n;
    if (d.singular()) {
      std::fill_n(out, n * n, T(0));
      return;
    }
    const ScratchArray<T> inverse(n * n);
    d.invert(inverse);
    turn(inverse.data(), n, n, out);
  });
}

void inverse_transposed_gradient(GradientBuilder& g) {
  const Value y = g.output(0);
  g.give(0, product(g, product(g, y, g.head(0), false, true, -1), y));
}

const RegisterOp det{{.name = "_linalg_det",
                      .doc = "Determinants. The gradient of a singular matrix is zero.\n\nShapes: A (..., n, n), "
                             "output (...), or (1,) for one matrix.",
                      .aliases = {"linalg_det"},
                      .inputs = {"A"},
                      .infer = {infer_det, infer_dtype},
                      .gradient = Gradient(det_gradient),
                      .kernels = {{"blocked", prepare_det}},
                      .flags = {.precision = Precision::full}}};

const RegisterOp slogdet{{.name = "_linalg_slogdet",
                          .doc = "Sign of the determinant and logarithm of its size: 0 and -inf for a singular matrix, "
                                 "whose gradient is zero.\n\nShapes: A (..., n, n), outputs (...), or (1,) for one "
                                 "matrix.",
                          .aliases = {"linalg_slogdet"},
                          .inputs = {"A"},
                          .outputs = 2,
                          .infer = {infer_det, infer_dtype},
                          .gradient = Gradient(slogdet_gradient).without_outputs(),
                          .kernels = {{"blocked", prepare_slogdet}},
                          .flags = {.precision = Precision::full}}};

const RegisterOp inverse{{.name = "_linalg_inverse",
                          .doc = "Inverses. A singular matrix is an error when the result is waited for.\n\nShapes: A "
                                 "(..., n, n), output the same.",
                          .aliases = {"linalg_inverse"},
                          .inputs = {"A"},
                          .infer = {infer_square, infer_dtype},
                          .gradient = Gradient(inverse_gradient).without_inputs(),
                          .kernels = {{"blocked", prepare_inverse}},
                          .flags = {.precision = Precision::full}}};

const RegisterOp inverse_transposed{{.name = "_linalg_inverse_transposed",
                                     .doc = "Transposed inverses; zeros for singular matrices.",
                                     .inputs = {"A"},
                                     .infer = {infer_square, infer_dtype},
                                     .gradient = Gradient(inverse_transposed_gradient).without_inputs(),
                                     .kernels = {{"blocked", prepare_inverse_transposed}},
                                     .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::linalg
