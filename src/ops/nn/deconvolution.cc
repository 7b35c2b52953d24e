// SPDX-License-Identifier: Apache-2.0
// A deconvolution is the data pass of the convolution that leads from its output to its input.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"
#include "ops/nn/linear_gradient.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

struct DeconvolutionParams : ConvParamsBase {
  Shape adj, target_shape;

  DeconvolutionParams() {
    no_bias = true;
    workspace = 512;
  }

  static void declare(ParamSchemaOf<DeconvolutionParams>& s) {
    declare_conv_fields(s);
    s.field("adj", &DeconvolutionParams::adj, "Rows added at the far end of each output axis; below stride.");
    s.field("target_shape", &DeconvolutionParams::target_shape, "Spatial size of the output; replaces pad and adj.");
    s.validate([](const DeconvolutionParams& p) {
      for (const Shape* dims : {&p.adj, &p.target_shape}) {
        if (dims->rank() != 0 && dims->rank() != p.kernel.rank()) {
          fail(ErrorKind::value, dims == &p.adj ? "adj" : "target_shape", " must have as many entries as kernel ",
               p.kernel, ", got ", *dims);
        }
      }
      for (int i = 0; i < p.adj.rank(); ++i) {
        if (p.adj[i] < 0 || p.adj[i] >= p.at(p.stride, i, 1)) {
          fail(ErrorKind::value, "adj must be at least 0 and below stride, got ", p.adj);
        }
      }
    });
  }

  int64_t window(int axis) const { return at(dilate, axis, 1) * (kernel[axis] - 1) + 1; }
};

int num_inputs(const Params& p) { return p.as<DeconvolutionParams>().no_bias ? 2 : 3; }

// Padding and output size of one axis.
struct Extent {
  int64_t pad, out;
};

Extent extent_of(const DeconvolutionParams& p, int axis, int64_t in) {
  const int64_t whole = p.at(p.stride, axis, 1) * (in - 1) + p.window(axis);
  if (p.target_shape.rank() > 0 && p.target_shape[axis] > 0) {
    const int64_t cut = whole - p.target_shape[axis];
    return {(cut + 1) / 2, p.target_shape[axis]};
  }
  const int64_t pad = p.at(p.pad, axis, 0);
  return {pad, whole - 2 * pad + p.at(p.adj, axis, 0)};
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<DeconvolutionParams>();
  const int rank = p.kernel.rank();
  if (!p.no_bias) c.merge_in(2, {p.num_filter});
  Shape weight{-1, p.num_filter / p.num_group};
  for (dim_t d : p.kernel) weight.push_back(d);
  c.merge_in(1, weight);
  const Shape& data = c.in[0].shape;
  if (!check_data(c, data, p)) return;
  weight[0] = data[1];
  c.merge_in(1, weight);
  Shape out = Shape::of_rank(rank + 2);
  out[0] = data[0];
  out[1] = p.num_filter;
  for (int i = 0; i < rank; ++i) {
    if (data[i + 2] < 0) continue;
    const Extent e = extent_of(p, i, data[i + 2]);
    if (e.pad < 0) c.bad(str("target_shape ", p.target_shape, " is too large for data of shape ", data));
    if (e.out < 1 && data[i + 2] > 0) c.bad(str("pad ", p.pad, " leaves no output for data of shape ", data));
    out[i + 2] = std::max<int64_t>(e.out, 0);
  }
  c.merge_out(0, out);
  Shape known = data;
  known[0] = c.out[0].shape[0];
  c.merge_in(0, known);
}

// X is the deconvolution's output, Y its data.
ConvProblem problem_of(const DeconvolutionParams& p, const TensorSpec& data, const Shape& output) {
  ConvProblem q;
  q.dtype = data.dtype;
  set_window(q, p);
  q.batch = data.shape[0];
  q.in_channels = p.num_filter;
  q.out_channels = data.shape[1];
  copy_spatial(output, q.in);
  copy_spatial(data.shape, q.out);
  for (int i = 0; i < q.rank; ++i) {
    q.pad[static_cast<size_t>(kMaxSpatial - q.rank + i)] = extent_of(p, i, data.shape[i + 2]).pad;
  }
  return q;
}

void add_bias(void* to, const void* bias, const ConvProblem& q, Layout layout) {
  const bool last = layout == Layout::channels_last;
  const int64_t rows = last ? q.batch * q.in_size() : q.batch * q.in_channels;
  const int64_t width = last ? q.in_channels : q.in_size();
  dispatch_float(q.dtype, [&]<typename T>(TypeTag<T>) {
    const T* b = static_cast<const T*>(bias);
    cpu::parallel_for(rows, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        T* row = static_cast<T*>(to) + r * width;
        if (last) {
          for (int64_t i = 0; i < width; ++i) row[i] = static_cast<T>(compute_t<T>(row[i]) + compute_t<T>(b[i]));
        } else {
          const auto value = compute_t<T>(b[r % q.in_channels]);
          for (int64_t i = 0; i < width; ++i) row[i] = static_cast<T>(compute_t<T>(row[i]) + value);
        }
      }
    });
  });
}

class ForwardKernel final : public Kernel {
 public:
  explicit ForwardKernel(const PrepareArgs& a) {
    const auto& p = a.as<DeconvolutionParams>();
    problem_ = problem_of(p, a.in[0], a.out[0].shape);
    conv_ = prepare_conv(problem_, ConvPass::data, false, a.team);
    if (Pack pack = conv_->take_weight_pack(1); pack.kernel) packs.push_back(std::move(pack));
    bias_ = !p.no_bias;
    a.in_layout[0] = a.out[0].layout = conv_->layout;
    cost_ns = conv_->cost_ns;
    scratch = conv_->scratch_bytes;
    team_matters = conv_->team_matters;
  }
  void run(const KernelCall& c) const override {
    conv_->run(c.out[0], c.in[1], c.in[0], nullptr, c.scratch);
    if (bias_) add_bias(c.out[0], c.in[2], problem_, conv_->layout);
  }

 private:
  ConvProblem problem_;
  bool bias_;
  std::unique_ptr<ConvKernel> conv_;
};

// in: dy, data, w; out: d data, dw, db.
class BackwardKernel final : public Kernel {
 public:
  explicit BackwardKernel(const PrepareArgs& a) {
    const auto& p = a.as<DeconvolutionParams>();
    problem_ = problem_of(p, a.in[1], a.in[0].shape);
    bias_ = !p.no_bias;
    const auto wanted = [&](size_t i) { return i < a.req.size() && a.req[i] != Req::null; };
    cost_ns = 100;
    if (wanted(0)) data_ = account(prepare_conv(problem_, ConvPass::forward, false, a.team));
    if (wanted(1)) weights_ = account(prepare_conv(problem_, ConvPass::weights, false, a.team));
    layout_ = data_ ? data_->layout : weights_ ? weights_->layout : a.in[0].layout;
    if (data_ && weights_ && data_->layout != weights_->layout) {
      data_ = prepare_conv_portable(problem_, ConvPass::forward, false);
      weights_ = prepare_conv_portable(problem_, ConvPass::weights, false);
      layout_ = Layout::plain;
    }
    a.in_layout[0] = a.in_layout[1] = a.out[0].layout = layout_;
  }

  void run(const KernelCall& c) const override {
    if (data_) data_->run(c.in[0], c.in[2], c.out[0], nullptr, c.scratch);
    if (weights_) weights_->run(c.in[0], c.out[1], c.in[1], nullptr, c.scratch);
    if (!bias_ || !c.out[2]) return;
    const ConvProblem& q = problem_;
    const bool last = layout_ == Layout::channels_last;
    sum_to_channels(c.in[0], c.out[2], q.dtype, last ? q.batch * q.in_size() : q.batch, q.in_channels,
                    last ? 1 : q.in_size(), false);
  }

 private:
  std::unique_ptr<ConvKernel> account(std::unique_ptr<ConvKernel> kernel) {
    cost_ns += kernel->cost_ns;
    scratch = std::max(scratch, kernel->scratch_bytes);
    team_matters |= kernel->team_matters;
    return kernel;
  }

  ConvProblem problem_;
  bool bias_;
  Layout layout_;
  std::unique_ptr<ConvKernel> data_, weights_;
};

void infer_backward_shape(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
  const auto& p = c.as<DeconvolutionParams>();
  if (!p.no_bias) c.merge_out(2, {p.num_filter});
}

const RegisterOp deconvolution{{
    .name = "Deconvolution",
    .doc =
        "Transposed convolution: what the gradient of Convolution does to its output, plus a bias.\n\n"
        "Shapes: data (n, c, w), (n, c, h, w) or (n, c, d, h, w); weight (c, num_filter / num_group, kernel...); bias "
        "(num_filter,); output (n, num_filter, ...) with sizes stride (size - 1) + dilate (kernel - 1) + 1 - 2 pad + "
        "adj, "
        "or `target_shape`.",
    .params = schema_of<DeconvolutionParams>(),
    .inputs = Inputs({"data", "weight", "bias"}, num_inputs),
    .infer = {infer_shape, infer_conv_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_gradient<DeconvolutionParams>(g, "_backward_Deconvolution");
                }).without_outputs(),
    .kernels = {{"convolution",
                 [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new ForwardKernel(a)); }}},
    .flags = {.precision = Precision::low},
}};

const RegisterOp backward_deconvolution{{
    .name = "_backward_Deconvolution",
    .doc = "Gradients of Deconvolution with respect to data, weight and bias.",
    .params = schema_of<DeconvolutionParams>(),
    .inputs = {"dy", "data", "weight"},
    .outputs = Outputs(num_inputs),
    .infer = {infer_backward_shape, infer_conv_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_backward_gradient<DeconvolutionParams>(g, "Deconvolution", "_backward_Deconvolution");
                }).without_outputs(),
    .kernels = {{"convolution",
                 [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new BackwardKernel(a)); }}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
