// SPDX-License-Identifier: Apache-2.0
// Half formats that no kernel computes in: through float copies.
#include "backend/cpu/halves.h"
#include "backend/cpu/onednn.h"
#include "ops/nn/convolution.h"

namespace mxnet::nn {
namespace {

class HalfConv final : public ConvKernel {
 public:
  HalfConv(const ConvProblem& q, ConvPass pass, bool with_bias, std::unique_ptr<ConvKernel> inner)
      : dtype_(q.dtype), pass_(pass), bias_(with_bias && pass != ConvPass::data), inner_(std::move(inner)) {
    x_.count = q.x_shape().size();
    w_.count = q.w_shape().size();
    y_.count = q.y_shape().size();
    b_.count = q.out_channels;
    onednn::ScratchPlan plan;
    for (Part* part : {&x_, &w_, &y_, &b_}) part->at = plan.add(sizeof(float) * static_cast<size_t>(part->count));
    inner_at_ = plan.add(inner_->scratch_bytes);
    layout = inner_->layout;
    scratch_bytes = plan.size();
    cost_ns = inner_->cost_ns + cpu::convert_cost(x_.count + w_.count + y_.count);
    team_matters = inner_->team_matters;
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    if (pass_ != ConvPass::data) widen(x, x_, scratch);
    if (pass_ != ConvPass::weights) widen(w, w_, scratch);
    if (pass_ != ConvPass::forward) widen(y, y_, scratch);
    if (bias_ && pass_ == ConvPass::forward) widen(bias, b_, scratch);
    const auto at = [&](const Part& part) { return onednn::at(scratch, part.at); };
    inner_->run(at(x_), at(w_), at(y_), bias_ ? at(b_) : nullptr, onednn::at(scratch, inner_at_));
    if (pass_ == ConvPass::data) narrow(x_, scratch, x);
    if (pass_ == ConvPass::forward) narrow(y_, scratch, y);
    if (pass_ != ConvPass::weights) return;
    narrow(w_, scratch, w);
    if (bias_) narrow(b_, scratch, bias);
  }

 private:
  struct Part {
    int64_t count = 0;
    size_t at = 0;
  };

  void widen(const void* from, const Part& part, void* scratch) const {
    cpu::widen(dtype_, from, static_cast<float*>(onednn::at(scratch, part.at)), part.count);
  }
  void narrow(const Part& part, void* scratch, void* to) const {
    cpu::narrow(dtype_, static_cast<const float*>(onednn::at(scratch, part.at)), to, part.count);
  }

  DType dtype_;
  ConvPass pass_;
  bool bias_;
  std::unique_ptr<ConvKernel> inner_;
  Part x_, w_, y_, b_;
  size_t inner_at_;
};

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_half(const ConvProblem& q, ConvPass pass, bool with_bias, int team) {
  if (!is_half(q.dtype) || q.empty()) return nullptr;
  ConvProblem wide = q;
  wide.dtype = DType::f32;
  auto inner = prepare_conv(wide, pass, with_bias, team);
  return std::make_unique<HalfConv>(q, pass, with_bias, std::move(inner));
}

}  // namespace mxnet::nn
