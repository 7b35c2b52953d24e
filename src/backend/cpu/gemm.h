// SPDX-License-Identifier: Apache-2.0
// Matrix products of row-major matrices, prepared once and run many times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cpu/gemm_tile.h"
#include "base/dtype.h"

namespace mxnet::cpu {

// c[i] = activation(alpha * op(a[i]) * op(b[i]) (+ bias) (+ c[i])) (+ residual[i]) for i < batch; op(a) is m x k, op(b)
// is k x n, all dense. A bias goes with alpha 1 only, activation and residual with f32.
struct GemmSpec {
  DType dtype = DType::f32;  // of all operands; half formats are multiplied in float
  int64_t m = 0, n = 0, k = 0;
  bool trans_a = false;  // a is stored k x m
  bool trans_b = false;  // b is stored n x k
  int64_t batch = 1;
  double alpha = 1;
  bool bias = false;        // a row of n values, added to every row of c
  bool accumulate = false;  // adds to what c holds
  Activation activation = Activation::none;
  float low = 0, high = 0;  // of Activation::clip
  bool residual = false;    // like c
  bool pack_b = false;      // `run` takes b as `pack` made it, if packed_b_bytes is not 0 then
};

class Gemm {
 public:
  // Always succeeds: a portable loop stands behind the fast ones.
  static std::unique_ptr<Gemm> prepare(const GemmSpec& spec, int team);

  virtual ~Gemm() = default;
  // `scratch`: `scratch_bytes`, 64-byte aligned. const and safe on several threads at once.
  virtual void run(const void* a, const void* b, const void* bias, void* c, void* scratch,
                   const void* residual = nullptr) const = 0;

  // b, as in GemmSpec, in a layout of the kernel's own.
  virtual void pack(const void* b, void* packed) const;

  size_t scratch_bytes = 0;
  size_t packed_b_bytes = 0;
  int64_t cost_ns = 0;  // one thread
  bool team_matters = false;
};

}  // namespace mxnet::cpu
