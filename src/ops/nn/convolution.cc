// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution.h"

#include <algorithm>

#include "ops/nn/linear_gradient.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

int num_inputs(const Params& p) { return p.as<ConvolutionParams>().no_bias ? 2 : 3; }

int64_t output_size(const ConvolutionParams& p, int axis, int64_t in) {
  const int64_t window = p.at(p.dilate, axis, 1) * (p.kernel[axis] - 1) + 1;
  return (in + 2 * p.at(p.pad, axis, 0) - window) / p.at(p.stride, axis, 1) + 1;
}

}  // namespace

void infer_convolution(InferContext& c, const ConvolutionParams& p, int first) {
  const int rank = p.kernel.rank();
  const int weights = first + 1;
  if (!p.no_bias) c.merge_in(first + 2, {p.num_filter});
  Shape weight{p.num_filter, -1};
  for (dim_t d : p.kernel) weight.push_back(d);
  c.merge_in(weights, weight);
  const Shape& data = c.in[static_cast<size_t>(first)].shape;
  if (!check_data(c, data, p)) return;
  if (data[1] >= 0) weight[1] = data[1] / p.num_group;
  c.merge_in(weights, weight);
  Shape out = Shape::of_rank(rank + 2);
  out[0] = data[0];
  out[1] = p.num_filter;
  for (int i = 0; i < rank; ++i) {
    if (data[i + 2] < 0) continue;
    const int64_t padded = data[i + 2] + 2 * p.at(p.pad, i, 0);
    if (p.at(p.dilate, i, 1) * (p.kernel[i] - 1) + 1 > padded) {
      c.bad(str("kernel ", p.kernel, " exceeds the padded data of shape ", data, " along axis ", i + 2));
    }
    out[i + 2] = output_size(p, i, data[i + 2]);
  }
  c.merge_out(0, out);
  Shape known = data;
  known[0] = c.out[0].shape[0];
  c.merge_in(first, known);
}

ConvProblem convolution_problem(const ConvolutionParams& p, const TensorSpec& x) {
  ConvProblem problem;
  problem.dtype = x.dtype;
  set_window(problem, p);
  problem.batch = x.shape[0];
  problem.in_channels = x.shape[1];
  problem.out_channels = p.num_filter;
  copy_spatial(x.shape, problem.in);
  Shape y = x.shape;
  y[1] = p.num_filter;
  for (int i = 0; i < p.kernel.rank(); ++i) y[i + 2] = output_size(p, i, x.shape[i + 2]);
  copy_spatial(y, problem.out);
  return problem;
}

namespace {

void infer_shape(InferContext& c) { infer_convolution(c, c.as<ConvolutionParams>(), 0); }

class ForwardKernel final : public Kernel {
 public:
  explicit ForwardKernel(const PrepareArgs& a) {
    const auto& p = a.as<ConvolutionParams>();
    bias_ = !p.no_bias;
    conv_ = prepare_conv(convolution_problem(p, a.in[0]), ConvPass::forward, bias_, a.team);
    if (Pack pack = conv_->take_weight_pack(1); pack.kernel) packs.push_back(std::move(pack));
    a.in_layout[0] = a.out[0].layout = conv_->layout;
    cost_ns = conv_->cost_ns;
    scratch = conv_->scratch_bytes;
    team_matters = conv_->team_matters;
  }
  void run(const KernelCall& call) const override {
    conv_->run(call.in[0], call.in[1], call.out[0], bias_ ? call.in[2] : nullptr, call.scratch);
  }

 private:
  bool bias_;
  std::unique_ptr<ConvKernel> conv_;
};

// in: dy, x, w; out: dx, dw, db.
class BackwardKernel final : public Kernel {
 public:
  explicit BackwardKernel(const PrepareArgs& a) {
    const auto& p = a.as<ConvolutionParams>();
    problem_ = convolution_problem(p, a.in[1]);
    const auto wanted = [&](size_t i) { return i < a.req.size() && a.req[i] != Req::null; };
    cost_ns = 100;
    if (wanted(0)) data_ = account(prepare_conv(problem_, ConvPass::data, false, a.team));
    if (wanted(1)) weights_ = account(prepare_conv(problem_, ConvPass::weights, wanted(2), a.team));
    layout_ = data_ ? data_->layout : weights_ ? weights_->layout : a.in[0].layout;
    // Both passes must agree on the layout of dy: the portable one reads plain only.
    if (data_ && weights_ && data_->layout != weights_->layout) {
      data_ = prepare_conv_portable(problem_, ConvPass::data, false);
      weights_ = prepare_conv_portable(problem_, ConvPass::weights, wanted(2));
      layout_ = Layout::plain;
    }
    a.in_layout[0] = a.in_layout[1] = a.out[0].layout = layout_;
  }

  void run(const KernelCall& call) const override {
    if (data_) data_->run(call.out[0], call.in[2], call.in[0], nullptr, call.scratch);
    void* bias = call.params->as<ConvolutionParams>().no_bias ? nullptr : call.out[2];
    if (weights_) {
      weights_->run(call.in[1], call.out[1], call.in[0], bias, call.scratch);
    } else if (bias) {
      const bool last = layout_ == Layout::channels_last;
      const ConvProblem& q = problem_;
      sum_to_channels(call.in[0], bias, q.dtype, last ? q.batch * q.out_size() : q.batch, q.out_channels,
                      last ? 1 : q.out_size(), false);
    }
  }

 private:
  std::unique_ptr<ConvKernel> account(std::unique_ptr<ConvKernel> kernel) {
    cost_ns += kernel->cost_ns;
    scratch = std::max(scratch, kernel->scratch_bytes);
    team_matters |= kernel->team_matters;
    return kernel;
  }

  ConvProblem problem_;
  Layout layout_;
  std::unique_ptr<ConvKernel> data_, weights_;
};

void infer_backward_shape(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
  const auto& p = c.as<ConvolutionParams>();
  if (!p.no_bias) c.merge_out(2, {p.num_filter});
}

const RegisterOp convolution{{
    .name = "Convolution",
    .doc =
        "Convolves data with a bank of filters (cross-correlation) and adds a bias.\n\n"
        "Shapes: data (n, c, w), (n, c, h, w) or (n, c, d, h, w); weight (num_filter, c / num_group, kernel...); bias "
        "(num_filter,); output (n, num_filter, ...) with sizes floor((size + 2 pad - dilate (kernel - 1) - 1) / "
        "stride) "
        "+ 1.\nRaises if the window exceeds the padded data or channels are no multiple of num_group.",
    .aliases = {"Convolution_v1"},
    .params = schema_of<ConvolutionParams>(),
    .inputs = Inputs({"data", "weight", "bias"}, num_inputs),
    .infer = {infer_shape, infer_conv_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_gradient<ConvolutionParams>(g, "_backward_Convolution");
                }).without_outputs(),
    .kernels = {{"convolution",
                 [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new ForwardKernel(a)); }}},
    .flags = {.precision = Precision::low},
}};

const RegisterOp backward_convolution{{
    .name = "_backward_Convolution",
    .doc = "Gradients of Convolution with respect to data, weight and bias.",
    .params = schema_of<ConvolutionParams>(),
    .inputs = {"dy", "data", "weight"},
    .outputs = Outputs(num_inputs),
    .infer = {infer_backward_shape, infer_conv_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_backward_gradient<ConvolutionParams>(g, "Convolution", "_backward_Convolution");
                }).without_outputs(),
    .kernels = {{"convolution",
                 [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new BackwardKernel(a)); }}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
