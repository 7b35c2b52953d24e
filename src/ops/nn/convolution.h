// SPDX-License-Identifier: Apache-2.0
// The convolution problem that Convolution and Deconvolution share. X (n, c, in...) is convolved with W (o, c / groups,
// kernel...) to Y (n, o, out...); a deconvolution is the pass from Y to X.
#pragma once

#include <array>
#include <memory>

#include "operator/op.h"

namespace mxnet::nn {

constexpr int kMaxSpatial = 3;
using SpatialDims = std::array<int64_t, kMaxSpatial>;

struct ConvProblem {
  DType dtype = DType::f32;
  int rank = 2;  // spatial axes; unused leading entries below are those of an axis of size 1
  int64_t batch = 0, in_channels = 0, out_channels = 0, groups = 1;
  SpatialDims in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, dilate{1, 1, 1}, pad{0, 0, 0};

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t multiplications() const { return batch * out_channels * out_size() * (in_channels / groups) * kernel_size(); }
  bool empty() const { return multiplications() == 0; }
  Shape x_shape() const { return spatial_shape(batch, in_channels, in); }
  Shape y_shape() const { return spatial_shape(batch, out_channels, out); }
  Shape w_shape() const { return spatial_shape(out_channels, in_channels / groups, kernel); }

 private:
  Shape spatial_shape(int64_t a, int64_t b, const SpatialDims& dims) const {
    Shape shape{a, b};
    for (int i = kMaxSpatial - rank; i < kMaxSpatial; ++i) shape.push_back(dims[i]);
    return shape;
  }
};

// forward: X, W (, bias) -> Y. data: Y, W -> X. weights: X, Y -> W (, bias gradient).
enum class ConvPass { forward, data, weights };

// One prepared pass. Unused pointers are null.
class ConvKernel {
 public:
  virtual ~ConvKernel() = default;
  virtual void run(void* x, void* w, void* y, void* bias, void* scratch) const = 0;
  // Leaves the packing of W to the caller: from now on `run` expects what the pack makes. No kernel if W is read as it
  // is.
  virtual Pack take_weight_pack(int input) { return {input, 0, nullptr}; }

  Layout layout = Layout::plain;  // of X and Y; W is always plain
  size_t scratch_bytes = 0;
  int64_t cost_ns = 0;
  bool team_matters = false;
};

// What a forward pass does to each element of Y before it is stored: Y = activation(what Y holds + convolution).
enum class ConvActivation { none, relu, leaky, clip, sigmoid, tanh, elu, gelu, softrelu, mish, hard_sigmoid, swish };
struct ConvEpilogue {
  bool accumulate = false;
  ConvActivation activation = ConvActivation::none;
  float alpha = 0, beta = 0;
};

// The fastest kernel for this problem. `with_bias`: forward adds it, weights computes its gradient, data ignores it.
std::unique_ptr<ConvKernel> prepare_conv(const ConvProblem& problem, ConvPass pass, bool with_bias, int team);

// Forward with an epilogue. Null where a kernel without one is the fastest, or none has it.
std::unique_ptr<ConvKernel> prepare_conv_fused(const ConvProblem& problem, bool with_bias, int team,
                                               const ConvEpilogue& epilogue);

// The members of the list behind prepare_conv; null where they refuse.
std::unique_ptr<ConvKernel> prepare_conv_half(const ConvProblem& problem, ConvPass pass, bool with_bias, int team);
std::unique_ptr<ConvKernel> prepare_conv_small(const ConvProblem& problem, ConvPass pass, bool with_bias);
std::unique_ptr<ConvKernel> prepare_conv_outer(const ConvProblem& problem, ConvPass pass, bool with_bias);
// Epilogues with the activations none, relu and clip.
std::unique_ptr<ConvKernel> prepare_conv_pointwise(const ConvProblem& problem, ConvPass pass, bool with_bias, int team,
                                                   const ConvEpilogue& epilogue = {});
std::unique_ptr<ConvKernel> prepare_conv_winograd(const ConvProblem& problem, ConvPass pass, bool with_bias,
                                                  const ConvEpilogue& epilogue = {});
std::unique_ptr<ConvKernel> prepare_conv_onednn(const ConvProblem& problem, ConvPass pass, bool with_bias, int team,
                                                const ConvEpilogue& epilogue = {});
std::unique_ptr<ConvKernel> prepare_conv_portable(const ConvProblem& problem, ConvPass pass, bool with_bias);

enum class ConvLayout { none, ncw, nchw, ncdhw, nhwc, ndhwc };
enum class CudnnTune { none, off, limited_workspace, fastest };

// Fields that both operators have; the derived struct declares its own beside them.
struct ConvParamsBase {
  Shape kernel, stride, dilate, pad;
  int64_t num_filter = 0;
  int64_t num_group = 1;
  int64_t workspace = 1024;
  bool no_bias = false;
  CudnnTune cudnn_tune = CudnnTune::none;
  bool cudnn_off = false;
  ConvLayout layout = ConvLayout::none;

  // Entry i of `dims` for spatial axis i, `fallback` where the parameter was left out.
  int64_t at(const Shape& dims, int i, int64_t fallback) const { return dims.rank() > 0 ? dims[i] : fallback; }
  // Throws Error(value) where fields contradict each other.
  void check() const;
};

// `P` derives from ConvParamsBase.
template <typename P>
void declare_conv_fields(ParamSchemaOf<P>& s) {
  s.template field<Shape>("kernel", &P::kernel, "Window: (w,), (h, w) or (d, h, w).").required();
  s.template field<Shape>("stride", &P::stride, "Step of the window per axis; 1 if empty.");
  s.template field<Shape>("dilate", &P::dilate, "Distance between the window's points per axis; 1 if empty.");
  s.template field<Shape>("pad", &P::pad, "Zeros added at both ends of each axis; 0 if empty.");
  s.template field<int64_t>("num_filter", &P::num_filter, "Number of output channels.").required().range(1, 1e15);
  s.template field<int64_t>("num_group", &P::num_group, "Number of groups that channels are cut in.").range(1, 1e15);
  s.template field<int64_t>("workspace", &P::workspace, "Has no effect; kept for old programs.").range(0, 1e15);
  s.template field<bool>("no_bias", &P::no_bias, "Whether there is no bias.");
  s.template choice<CudnnTune>("cudnn_tune", &P::cudnn_tune,
                               {{"None", CudnnTune::none},
                                {"fastest", CudnnTune::fastest},
                                {"limited_workspace", CudnnTune::limited_workspace},
                                {"off", CudnnTune::off}},
                               "Has no effect on a CPU.");
  s.template field<bool>("cudnn_off", &P::cudnn_off, "Has no effect on a CPU.");
  s.template choice<ConvLayout>("layout", &P::layout,
                                {{"None", ConvLayout::none},
                                 {"NCDHW", ConvLayout::ncdhw},
                                 {"NCHW", ConvLayout::nchw},
                                 {"NCW", ConvLayout::ncw},
                                 {"NDHWC", ConvLayout::ndhwc},
                                 {"NHWC", ConvLayout::nhwc}},
                                "Meaning of the data's axes; channels must come second.");
  s.validate([](const P& p) { p.check(); });
}

struct ConvolutionParams : ConvParamsBase {
  static void declare(ParamSchemaOf<ConvolutionParams>& s) { declare_conv_fields(s); }
};
ConvProblem convolution_problem(const ConvolutionParams& p, const TensorSpec& data);
// Shapes of a convolution whose data is input `first`, followed by weight and bias.
void infer_convolution(InferContext& c, const ConvolutionParams& p, int first);

// Copies kernel, stride, dilate and pad into the last `kernel.rank()` axes of `problem`.
void set_window(ConvProblem& problem, const ConvParamsBase& p);
void copy_spatial(const Shape& shape, SpatialDims& dims);

// Checks rank and channels of the data; false while they are not known.
bool check_data(InferContext& c, const Shape& data, const ConvParamsBase& p);
void infer_conv_dtype(InferContext& c);  // one floating point dtype

}  // namespace mxnet::nn
