// SPDX-License-Identifier: Apache-2.0
// The matrix products of recurrent layers.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "backend/cpu/gemm.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/panel_gemm.h"

namespace mxnet::nn {

// Halves to the float that they are computed in, and back.
void widen(DType dtype, const void* from, int64_t n, float* to);
void narrow(DType dtype, const float* from, int64_t n, void* to);

// A product over all time steps: c = op(a) op(b) (+ bias) (+ c) as cpu::GemmSpec says, where a and b may be halves and
// c and the bias are of the spec's dtype. Halves are multiplied as they are where the processor can.
class RnnProduct {
 public:
  RnnProduct() = default;
  RnnProduct(const cpu::GemmSpec& spec, DType operands, int team);

  explicit operator bool() const { return gemm_ || matmul_; }
  void run(const void* a, const void* b, const void* bias, void* c, void* scratch) const;

  size_t scratch_bytes = 0;
  int64_t cost_ns = 0;
  bool team_matters = false;

 private:
  void prepare_halves(int team);

  cpu::GemmSpec s_;
  DType operands_ = DType::f32;
  int team_ = 1;
  bool widens_ = false;
  std::unique_ptr<cpu::Gemm> gemm_;
  onednn::Primitive matmul_;
  size_t a_at_ = 0, b_at_ = 0, inner_at_ = 0;
};

// Products of the batch's rows with the same weight, once per time step: c (rows x blocks * n) = a (rows x k) * w,
// where w is stored (blocks * n) x k, or k x n for one block. The weight is packed if there are enough steps; then
// columns of c can be had a panel at a time, and the panels of all blocks (gates) that belong to the same units
// together.
template <typename T>
class StepProduct {
 public:
  struct Sizes {
    int64_t rows, n, k;
    int64_t blocks = 1;
    bool transposed = false;  // stored (blocks * n) x k
  };

  StepProduct() = default;
  StepProduct(const Sizes& sizes, int64_t steps, int team);

  bool packed() const { return !gemm_; }
  int64_t width() const { return panel_gemm<T>().width; }
  int64_t panels() const { return (s_.n + width() - 1) / width(); }  // of one block
  int64_t cost_ns(int64_t steps) const;
  bool team_matters() const { return gemm_ && gemm_->team_matters; }
  size_t scratch_bytes() const { return gemm_ ? gemm_->scratch_bytes : 0; }
  size_t packed_bytes() const {
    return packed() ? sizeof(T) * static_cast<size_t>(s_.blocks * panels() * s_.k * width()) : 0;
  }

  void pack(const T* w, T* to) const;
  // Columns [panel * width, ...) of every block of c, whose rows are dense.
  void panel(const T* a, const T* packed, int64_t panel, T* c) const;
  // All of c, where the weight is not packed.
  void all(const T* a, const T* w, T* c, void* scratch) const { gemm_->run(a, w, nullptr, c, scratch); }

 private:
  Sizes s_{};
  std::unique_ptr<cpu::Gemm> gemm_;
};

}  // namespace mxnet::nn
