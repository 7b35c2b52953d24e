// SPDX-License-Identifier: Apache-2.0
// Convolution with what follows it: a sum, an activation. Graph passes put these in; nobody calls them by name.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"

namespace mxnet::nn {
namespace {

struct FusedConvolutionParams : ConvolutionParams {
  ConvActivation activation = ConvActivation::none;
  double alpha = 0, beta = 0;

  static void declare(ParamSchemaOf<FusedConvolutionParams>& s) {
    using P = FusedConvolutionParams;
    using enum ConvActivation;
    declare_conv_fields(s);
    s.choice("activation", &P::activation,
             {{"none", none},
              {"relu", relu},
              {"leaky", leaky},
              {"clip", clip},
              {"sigmoid", sigmoid},
              {"tanh", tanh},
              {"elu", elu},
              {"gelu", gelu},
              {"softrelu", softrelu},
              {"mish", mish},
              {"hard_sigmoid", hard_sigmoid},
              {"swish", swish}},
             "Function of the sum.");
    s.field("alpha", &P::alpha, "Slope, lower limit or factor of the function.");
    s.field("beta", &P::beta, "Upper limit or offset of the function.");
  }
};

template <typename T>
T activated(ConvActivation kind, T x, T alpha, T beta) {
  const auto sigmoid = [](T v) { return T(1) / (T(1) + std::exp(-v)); };
  const auto softrelu = [](T v) { return v > T(20) ? v : std::log1p(std::exp(v)); };
  switch (kind) {
    case ConvActivation::relu: return x < T(0) ? T(0) : x;
    case ConvActivation::leaky: return x > T(0) ? x : alpha * x;
    case ConvActivation::clip: return x < alpha ? alpha : x > beta ? beta : x;
    case ConvActivation::sigmoid: return sigmoid(x);
    case ConvActivation::tanh: return std::tanh(x);
    case ConvActivation::elu: return x > T(0) ? x : alpha * std::expm1(x);
    case ConvActivation::gelu: return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752)));
    case ConvActivation::softrelu: return softrelu(x);
    case ConvActivation::mish: return x * std::tanh(softrelu(x));
    case ConvActivation::hard_sigmoid: return std::min(T(1), std::max(T(0), alpha * x + beta));
    case ConvActivation::swish: return x * sigmoid(alpha * x);
    default: return x;
  }
}

// Inputs are (residual,) data, weight (, bias).
class FusedKernel : public Kernel {
 public:
  FusedKernel(const PrepareArgs& a, bool residual, std::unique_ptr<ConvKernel> conv) : conv_(std::move(conv)) {
    first_ = residual ? 1 : 0;
    bias_ = !a.as<FusedConvolutionParams>().no_bias;
    if (Pack pack = conv_->take_weight_pack(first_ + 1); pack.kernel) packs.push_back(std::move(pack));
    for (int i = 0; i <= first_; ++i) a.in_layout[static_cast<size_t>(i)] = conv_->layout;
    a.out[0].layout = conv_->layout;
    bytes_ = static_cast<size_t>(a.out[0].shape.size()) * size_of(a.out[0].dtype);
    cost_ns = conv_->cost_ns;
    scratch = conv_->scratch_bytes;
    team_matters = conv_->team_matters;
  }

 protected:
  void convolve(const KernelCall& c, void* to) const {
    conv_->run(c.in[first_], c.in[first_ + 1], to, bias_ ? c.in[first_ + 2] : nullptr, c.scratch);
  }

  std::unique_ptr<ConvKernel> conv_;
  int first_;
  bool bias_;
  size_t bytes_;
};

// The primitive adds to its output and applies the function before it stores.
class InPrimitive final : public FusedKernel {
 public:
  using FusedKernel::FusedKernel;
  void run(const KernelCall& c) const override {
    if (first_ && c.in[0] != c.out[0]) std::memcpy(c.out[0], c.in[0], bytes_);
    convolve(c, c.out[0]);
  }
};

// Any convolution, then a loop. The output may lie where the residual does, so the convolution writes elsewhere.
template <typename T>
class Afterwards final : public FusedKernel {
 public:
  Afterwards(const PrepareArgs& a, bool residual, std::unique_ptr<ConvKernel> conv)
      : FusedKernel(a, residual, std::move(conv)), params_(a.as<FusedConvolutionParams>()) {
    own_at_ = (scratch + 63) / 64 * 64;
    if (residual) scratch = own_at_ + bytes_;
    cost_ns += a.out[0].shape.size() / 4;
  }
  void run(const KernelCall& c) const override {
    T* y = static_cast<T*>(c.out[0]);
    const T* x = first_ ? static_cast<const T*>(onednn::at(c.scratch, own_at_)) : y;
    convolve(c, const_cast<T*>(x));
    const T* other = first_ ? static_cast<const T*>(c.in[0]) : nullptr;
    using A = compute_t<T>;
    const A alpha = static_cast<A>(params_.alpha), beta = static_cast<A>(params_.beta);
    cpu::parallel_for(static_cast<int64_t>(bytes_ / sizeof(T)), 8192, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const A sum = other ? static_cast<A>(T(static_cast<A>(x[i]) + static_cast<A>(other[i]))) : static_cast<A>(x[i]);
        y[i] = static_cast<T>(activated<A>(params_.activation, sum, alpha, beta));
      }
    });
  }

 private:
  FusedConvolutionParams params_;
  size_t own_at_;
};

Prepared prepare_fused(const PrepareArgs& a, bool residual) {
  const auto& p = a.as<FusedConvolutionParams>();
  const ConvProblem problem = convolution_problem(p, a.in[residual ? 1 : 0]);
  const ConvEpilogue epilogue{residual, p.activation, static_cast<float>(p.alpha), static_cast<float>(p.beta)};
  if (auto conv = prepare_conv_fused(problem, !p.no_bias, a.team, epilogue)) {
    return std::unique_ptr<Kernel>(new InPrimitive(a, residual, std::move(conv)));
  }
  return dispatch_float(problem.dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto conv = prepare_conv(problem, ConvPass::forward, !p.no_bias, a.team);
    return std::unique_ptr<Kernel>(new Afterwards<T>(a, residual, std::move(conv)));
  });
}

OpDef fused_op(const char* name, bool residual) {
  return {.name = name,
          .doc = residual ? "Convolution plus an array of its result's shape, then an activation."
                          : "Convolution, then an activation.",
          .params = schema_of<FusedConvolutionParams>(),
          .inputs = residual ? Inputs({"residual", "data", "weight", "bias"},
                                      [](const Params& p) { return p.as<FusedConvolutionParams>().no_bias ? 3 : 4; })
                             : Inputs({"data", "weight", "bias"},
                                      [](const Params& p) { return p.as<FusedConvolutionParams>().no_bias ? 2 : 3; }),
          .infer = {residual ? [](InferContext& c) {
                      infer_convolution(c, c.as<FusedConvolutionParams>(), 1);
                      c.merge_in(0, c.out[0].shape);
                    }
                             : [](InferContext& c) { infer_convolution(c, c.as<FusedConvolutionParams>(), 0); },
                    infer_conv_dtype},
          .gradient = Gradient::none(),
          .kernels = {{"convolution", residual ? [](const PrepareArgs& a) { return prepare_fused(a, true); }
                                               : [](const PrepareArgs& a) { return prepare_fused(a, false); }}},
          .flags = {.inplace = residual, .hidden = true}};
}

const RegisterOp fused_convolution(fused_op("_fused_convolution", false));
const RegisterOp fused_convolution_add(fused_op("_fused_convolution_add", true));

}  // namespace
}  // namespace mxnet::nn
