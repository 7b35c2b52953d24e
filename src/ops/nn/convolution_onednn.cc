// SPDX-License-Identifier: Apache-2.0
// Convolution passes as oneDNN primitives on channels-last activations. Weights are turned into the primitive's own
// layout inside each run.
#include <algorithm>
#include <utility>

#include "backend/cpu/onednn.h"
#include "ops/nn/convolution.h"
#include "ops/nn/onednn_pack.h"

namespace mxnet::nn {
namespace {

using onednn::Desc;
using onednn::Primitive;

dnnl::memory::dims spatial(const ConvProblem& q, const SpatialDims& dims, int64_t offset = 0) {
  dnnl::memory::dims result;
  for (int i = kMaxSpatial - q.rank; i < kMaxSpatial; ++i) result.push_back(dims[static_cast<size_t>(i)] + offset);
  return result;
}

// Padding at the far end: whatever makes the last window fit (negative where the data is not used up).
dnnl::memory::dims far_padding(const ConvProblem& q) {
  dnnl::memory::dims result;
  for (size_t i = static_cast<size_t>(kMaxSpatial - q.rank); i < kMaxSpatial; ++i) {
    result.push_back((q.out[i] - 1) * q.stride[i] + q.dilate[i] * (q.kernel[i] - 1) + 1 - q.in[i] - q.pad[i]);
  }
  return result;
}

Shape grouped_weights(const ConvProblem& q) {
  Shape shape = q.w_shape();
  if (q.groups == 1) return shape;
  shape[0] = q.out_channels / q.groups;
  shape.insert(0, q.groups);
  return shape;
}

dnnl::primitive_attr attributes_of(const ConvEpilogue& e) {
  using A = dnnl::algorithm;
  dnnl::post_ops post;
  if (e.accumulate) post.append_sum();
  const auto apply = [&](A algorithm, float alpha = 0, float beta = 0) { post.append_eltwise(algorithm, alpha, beta); };
  switch (e.activation) {
    case ConvActivation::none: break;
    case ConvActivation::relu: apply(A::eltwise_relu); break;
    case ConvActivation::leaky: apply(A::eltwise_relu, e.alpha); break;
    case ConvActivation::clip: apply(A::eltwise_clip, e.alpha, e.beta); break;
    case ConvActivation::sigmoid: apply(A::eltwise_logistic); break;
    case ConvActivation::tanh: apply(A::eltwise_tanh); break;
    case ConvActivation::elu: apply(A::eltwise_elu, e.alpha); break;
    case ConvActivation::gelu: apply(A::eltwise_gelu_erf); break;
    case ConvActivation::softrelu: apply(A::eltwise_soft_relu, 1.0f); break;
    case ConvActivation::mish: apply(A::eltwise_mish); break;
    case ConvActivation::hard_sigmoid: apply(A::eltwise_hardsigmoid, e.alpha, e.beta); break;
    case ConvActivation::swish: apply(A::eltwise_swish, e.alpha); break;
  }
  dnnl::primitive_attr attr = onednn::user_scratch();
  attr.set_post_ops(post);
  return attr;
}

class OneDnnConv final : public ConvKernel {
 public:
  OneDnnConv(const ConvProblem& q, ConvPass pass, bool with_bias, int team, const ConvEpilogue& epilogue)
      : pass_(pass), bias_(with_bias), team_(team) {
    const onednn::ThreadScope scope(team);
    layout = Layout::channels_last;
    x_ = onednn::describe(q.x_shape(), q.dtype, layout);
    y_ = onednn::describe(q.y_shape(), q.dtype, layout);
    b_ = onednn::describe({q.out_channels}, q.dtype);
    const Desc any = onednn::any_layout(grouped_weights(q), q.dtype);
    const auto stride = spatial(q, q.stride), dilate = spatial(q, q.dilate, -1), pad = spatial(q, q.pad);
    const auto far = far_padding(q);
    const auto attr = attributes_of(epilogue);
    constexpr auto direct = dnnl::algorithm::convolution_direct;
    using Forward = dnnl::convolution_forward::primitive_desc;
    const auto kind =
        pass == ConvPass::forward ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training;
    const bool forward_bias = with_bias && pass != ConvPass::data;
    const Forward forward =
        forward_bias ? Forward(onednn::engine(), kind, direct, x_, any, b_, y_, stride, dilate, pad, far, attr)
                     : Forward(onednn::engine(), kind, direct, x_, any, y_, stride, dilate, pad, far, attr);
    switch (pass) {
      case ConvPass::forward:
        finish(forward, dnnl::convolution_forward(forward), forward.weights_desc(), DNNL_ARG_SRC, DNNL_ARG_WEIGHTS,
               DNNL_ARG_DST, DNNL_ARG_BIAS);
        break;
      case ConvPass::data: {
        const dnnl::convolution_backward_data::primitive_desc pd(onednn::engine(), direct, x_, any, y_, stride, dilate,
                                                                 pad, far, forward, attr);
        bias_ = false;
        finish(pd, dnnl::convolution_backward_data(pd), pd.weights_desc(), DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS,
               DNNL_ARG_DIFF_DST, 0);
        break;
      }
      case ConvPass::weights: {
        using Weights = dnnl::convolution_backward_weights::primitive_desc;
        const Weights pd =
            with_bias ? Weights(onednn::engine(), direct, x_, any, b_, y_, stride, dilate, pad, far, forward, attr)
                      : Weights(onednn::engine(), direct, x_, any, y_, stride, dilate, pad, far, forward, attr);
        finish(pd, dnnl::convolution_backward_weights(pd), pd.diff_weights_desc(), DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS,
               DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_BIAS);
        break;
      }
    }
    make_reorder(onednn::describe(grouped_weights(q), q.dtype));
    const double rate = q.in_channels / q.groups >= 8 ? 150 : 50;  // multiplications and additions per ns on one core
    cost_ns = 2000 + static_cast<int64_t>(2.0 * static_cast<double>(q.multiplications()) / rate);
    team_matters = true;
  }

  Pack take_weight_pack(int input) override {
    if (!reorder_ || pass_ == ConvPass::weights) return {input, 0, nullptr};
    scratch_bytes = packed_at_;
    return {input, packed_.get_size(), reorder_kernel(std::exchange(reorder_, Primitive()), packed_.get_size(), team_)};
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    const onednn::ThreadScope scope(team_);
    void* inner = onednn::at(scratch, inner_at_);
    void* packed = reorder_ ? onednn::at(scratch, packed_at_) : w;
    if (reorder_ && pass_ != ConvPass::weights) reorder_.run({w, packed});
    if (bias_)
      conv_.run({x, packed, y, inner, bias});
    else
      conv_.run({x, packed, y, inner});
    if (reorder_ && pass_ == ConvPass::weights) reorder_.run({packed, w});
  }

 private:
  template <typename PD>
  void finish(const PD& pd, dnnl::primitive primitive, const Desc& packed, int x_arg, int w_arg, int y_arg, int b_arg) {
    std::vector<Primitive::Slot> slots{
        {x_arg, x_}, {w_arg, packed}, {y_arg, y_}, {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
    if (bias_) slots.push_back({b_arg, b_});
    conv_ = Primitive(std::move(primitive), std::move(slots));
    packed_ = packed;
    inner_at_ = plan_.add(pd.scratchpad_desc());
  }

  void make_reorder(const Desc& plain) {
    if (packed_ != plain) {
      reorder_ = pass_ == ConvPass::weights ? onednn::reorder(packed_, plain) : onednn::reorder(plain, packed_);
      packed_at_ = plan_.add(packed_);
    }
    scratch_bytes = plan_.size();
  }

  ConvPass pass_;
  bool bias_;
  int team_;
  Desc x_, y_, b_, packed_;
  Primitive conv_, reorder_;
  onednn::ScratchPlan plan_;
  size_t inner_at_ = 0, packed_at_ = 0;
};

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_onednn(const ConvProblem& q, ConvPass pass, bool with_bias, int team,
                                                const ConvEpilogue& epilogue) {
  if (q.empty() || !onednn::computes(q.dtype)) return nullptr;
  try {
    return std::make_unique<OneDnnConv>(q, pass, with_bias, team, epilogue);
  } catch (const dnnl::error&) {
    return nullptr;
  }
}

}  // namespace mxnet::nn
