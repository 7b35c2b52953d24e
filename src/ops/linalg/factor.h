// SPDX-License-Identifier: Apache-2.0
// Textbook factorizations of one matrix (Golub and Van Loan, Matrix Computations). They divide the matrix until blocks
// are small, so that nearly all the work is products of blocks (ops/linalg/blocks.h), which take the team.
// Matrices are row-major; `row` is the step from one row to the next.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// A triangular matrix with any steps, also negative ones: transposed and upper ones are lower ones seen otherwise.
template <typename T>
struct LowerView {
  const T* at = nullptr;
  int64_t row = 0, col = 1;
};

template <typename T>
struct Factorizations {
  // x = l^-1 x; l is n x n, its diagonal taken as ones if `unit`; x is n x m.
  void (*solve_lower)(LowerView<T> l, bool unit, T* x, int64_t x_row, int64_t n, int64_t m);
  // Lower Cholesky factor in place of the lower triangle; the upper one is not touched. Returns 0, or the order of the
  // leading minor that is not positive.
  int64_t (*cholesky)(T* a, int64_t row, int64_t n);
  // Inverse of a lower triangle, in place.
  void (*invert_lower)(T* l, int64_t row, int64_t n);
  // P a = L U with partial pivoting, in place; row i was exchanged with row pivot[i] >= i, in rising order.
  void (*lu)(T* a, int64_t row, int64_t n, int64_t* pivot);
  // a (m x n, m <= n) = L Q: leaves L in the lower triangle of a, above it the reflectors, and their factors in tau.
  void (*lq)(T* a, int64_t row, int64_t m, int64_t n, T* tau);
  // The rows of Q (m x n) from reflectors: row i of v is zero before column i, has one there, and what `v` holds after.
  void (*form_q)(const T* v, int64_t v_row, const T* tau, int64_t m, int64_t n, T* q, int64_t q_row);
};
MX_ISA_TABLE(Factorizations<float>, factorizations_f32)
MX_ISA_TABLE(Factorizations<double>, factorizations_f64)

template <typename T>
const Factorizations<T>& factorizations();
template <>
inline const Factorizations<float>& factorizations<float>() {
  return factorizations_f32();
}
template <>
inline const Factorizations<double>& factorizations<double>() {
  return factorizations_f64();
}

// Eigenvalues (ascending, in `values`) and eigenvectors (the rows of `a`, in place) of the symmetric matrix whose lower
// triangle a holds. False: not found, the matrix is not finite.
template <typename T>
struct SymmetricEigen {
  bool (*run)(T* a, int64_t row, int64_t n, T* values);
};
MX_ISA_TABLE(SymmetricEigen<float>, symmetric_eigen_f32)
MX_ISA_TABLE(SymmetricEigen<double>, symmetric_eigen_f64)

template <typename T>
bool symmetric_eigen(T* a, int64_t row, int64_t n, T* values) {
  if constexpr (sizeof(T) == sizeof(float))
    return symmetric_eigen_f32().run(a, row, n, values);
  else
    return symmetric_eigen_f64().run(a, row, n, values);
}

}  // namespace mxnet
