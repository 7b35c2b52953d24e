// SPDX-License-Identifier: Apache-2.0
// Convolutions whose window is one point, and their gradients: matrix products on channels-last activations, where one
// row is one place. With a stride, the places that the window meets are brought together in a matrix of their own.
#include <algorithm>
#include <cstring>

#include "backend/cpu/gemm_tiled.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"
#include "ops/nn/matrix_product.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

constexpr int64_t kFewPlaces = 1024;  // up to here weights' gradients are faster as products than as sums of panels

Activation activation_of(ConvActivation a) {
  return a == ConvActivation::relu ? Activation::relu : a == ConvActivation::clip ? Activation::clip : Activation::none;
}

bool is_pointwise(const ConvProblem& q) {
  const auto all = [](const SpatialDims& dims, int64_t value) {
    return std::all_of(dims.begin(), dims.end(), [=](int64_t d) { return d == value; });
  };
  return q.groups == 1 && all(q.kernel, 1) && all(q.pad, 0);
}

class Pointwise final : public ConvKernel {
 public:
  Pointwise(const ConvProblem& q, ConvPass pass, bool with_bias, std::unique_ptr<cpu::Gemm> gemm)
      : q_(q), pass_(pass), bias_(with_bias && pass == ConvPass::weights), gemm_(std::move(gemm)) {
    layout = Layout::channels_last;
    strided_ = q.in != q.out;
    onednn::ScratchPlan plan;
    inner_at_ = plan.add(gemm_->scratch_bytes);
    if (strided_) met_at_ = plan.add(static_cast<size_t>(q.batch * q.out_size() * q.in_channels) * sizeof(float));
    packs_ = gemm_->packed_b_bytes > 0;
    packed_at_ = plan.size();
    scratch_bytes = plan.size() + gemm_->packed_b_bytes;
    cost_ns = gemm_->cost_ns + (strided_ ? q.batch * q.in_size() * q.in_channels / 2 : 0);
    team_matters = gemm_->team_matters;
  }

  Pack take_weight_pack(int input) override {
    if (!packs_) return {input, 0, nullptr};
    packs_ = false;
    scratch_bytes = packed_at_;
    return {input, gemm_->packed_b_bytes, pack_kernel(gemm_)};
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    void* inner = onednn::at(scratch, inner_at_);
    void* met = strided_ ? onednn::at(scratch, met_at_) : x;
    if (pass_ == ConvPass::data) {
      gemm_->run(y, w, nullptr, met, inner);
      if (strided_) spread(static_cast<const float*>(met), static_cast<float*>(x));
      return;
    }
    if (strided_) bring_together(static_cast<const float*>(x), static_cast<float*>(met));
    if (pass_ == ConvPass::forward) {
      if (packs_) gemm_->pack(w, onednn::at(scratch, packed_at_));
      gemm_->run(met, packs_ ? onednn::at(scratch, packed_at_) : w, bias, y, inner);
      return;
    }
    gemm_->run(y, met, nullptr, w, inner);
    if (bias_) sum_to_channels(y, bias, DType::f32, q_.batch * q_.out_size(), q_.out_channels, 1, false);
  }

 private:
  // Calls f(line, met, first) for each line along the last axis of X: `met` is the same line of the places that windows
  // meet, -1 if they pass it by.
  template <typename F>
  void for_lines(F&& f) const {
    const int64_t lines = q_.batch * q_.in[0] * q_.in[1];
    const int64_t line_cost = q_.in[2] * q_.in_channels;
    cpu::parallel_for(
        lines, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, line_cost)), [&](int64_t begin, int64_t end) {
          for (int64_t line = begin; line < end; ++line) {
            const int64_t row = line % q_.in[1], plane = line / q_.in[1] % q_.in[0];
            const bool is_met = row % q_.stride[1] == 0 && row / q_.stride[1] < q_.out[1] &&
                                plane % q_.stride[0] == 0 && plane / q_.stride[0] < q_.out[0];
            const int64_t image = line / (q_.in[0] * q_.in[1]);
            f(line, is_met ? (image * q_.out[0] + plane / q_.stride[0]) * q_.out[1] + row / q_.stride[1] : -1);
          }
        });
  }

  void bring_together(const float* x, float* met) const {
    const int64_t c = q_.in_channels;
    for_lines([&](int64_t line, int64_t to) {
      if (to < 0) return;
      for (int64_t i = 0; i < q_.out[2]; ++i) {
        std::copy_n(x + (line * q_.in[2] + i * q_.stride[2]) * c, c, met + (to * q_.out[2] + i) * c);
      }
    });
  }

  void spread(const float* met, float* x) const {
    const int64_t c = q_.in_channels;
    for_lines([&](int64_t line, int64_t from) {
      float* to = x + line * q_.in[2] * c;
      if (from < 0) {
        std::fill_n(to, q_.in[2] * c, 0.0f);
        return;
      }
      for (int64_t i = 0; i < q_.in[2]; ++i, to += c) {
        if (i % q_.stride[2] == 0 && i / q_.stride[2] < q_.out[2])
          std::copy_n(met + (from * q_.out[2] + i / q_.stride[2]) * c, c, to);
        else
          std::fill_n(to, c, 0.0f);
      }
    });
  }

  ConvProblem q_;
  ConvPass pass_;
  bool bias_, strided_, packs_ = false;
  std::shared_ptr<const cpu::Gemm> gemm_;
  size_t inner_at_ = 0, met_at_ = 0, packed_at_ = 0;
};

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_pointwise(const ConvProblem& q, ConvPass pass, bool with_bias, int team,
                                                   const ConvEpilogue& epilogue) {
  const int64_t places = q.batch * q.out_size();
  if (!is_pointwise(q) || (pass == ConvPass::weights && places > kFewPlaces)) return nullptr;
  cpu::GemmSpec spec{.dtype = q.dtype};
  switch (pass) {
    case ConvPass::forward:
      spec.m = places, spec.n = q.out_channels, spec.k = q.in_channels;
      spec.trans_b = spec.pack_b = true;
      spec.bias = with_bias;
      spec.accumulate = epilogue.accumulate;
      spec.activation = activation_of(epilogue.activation);
      spec.low = epilogue.alpha, spec.high = epilogue.beta;
      break;
    case ConvPass::data: spec.m = places, spec.n = q.in_channels, spec.k = q.out_channels; break;
    case ConvPass::weights:
      spec.m = q.out_channels, spec.n = q.in_channels, spec.k = places;
      spec.trans_a = true;
      break;
  }
  auto gemm = cpu::tiled_gemm(spec, team);
  if (!gemm) return nullptr;
  return std::make_unique<Pointwise>(q, pass, with_bias, std::move(gemm));
}

}  // namespace mxnet::nn
