// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/dense_fused.h"

#include "backend/cpu/gemm.h"

namespace mxnet::nn {

void DenseFusedParams::declare(ParamSchemaOf<DenseFusedParams>& s) {
  s.field("num_hidden", &DenseFusedParams::num_hidden, "Number of output features.").required();
  s.field("no_bias", &DenseFusedParams::no_bias, "Whether there is no bias.");
  s.field("flatten", &DenseFusedParams::flatten, "Whether all axes after the first are features.");
  s.choice("activation", &DenseFusedParams::activation,
           {{"none", Activation::none},
            {"relu", Activation::relu},
            {"gelu", Activation::gelu},
            {"tanh", Activation::tanh},
            {"sigmoid", Activation::sigmoid}},
           "Applied to the product and bias.");
  s.field("residual", &DenseFusedParams::residual, "Whether the last input is added to the result.");
}

namespace {

int num_inputs(const Params& params) {
  const auto& p = params.as<DenseFusedParams>();
  return 2 + !p.no_bias + p.residual;
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<DenseFusedParams>();
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  Shape out = data;
  if (p.flatten) out = {data[0], p.num_hidden};
  out[out.rank() - 1] = p.num_hidden;
  c.merge_out(0, out);
}

class DenseKernel final : public Kernel {
 public:
  explicit DenseKernel(const PrepareArgs& a) {
    const auto& p = a.as<DenseFusedParams>();
    const Shape& weight = a.in[1].shape;
    bias_ = p.no_bias ? 0 : 2;
    residual_ = p.residual ? num_inputs(a.params) - 1 : 0;
    gemm_ = cpu::Gemm::prepare({.dtype = a.in[0].dtype,
                                .m = a.out[0].shape.size() / p.num_hidden,
                                .n = p.num_hidden,
                                .k = weight[1],
                                .trans_b = true,
                                .bias = !p.no_bias,
                                .activation = p.activation,
                                .residual = p.residual},
                               a.team);
    cost_ns = gemm_->cost_ns;
    scratch = gemm_->scratch_bytes;
    team_matters = gemm_->team_matters;
  }

  void run(const KernelCall& c) const override {
    const auto optional = [&](int i) -> const void* { return i ? c.in[i] : nullptr; };
    gemm_->run(c.in[0], c.in[1], optional(bias_), c.out[0], c.scratch, optional(residual_));
  }

 private:
  std::unique_ptr<cpu::Gemm> gemm_;
  int bias_, residual_;  // inputs; 0: none
};

const RegisterOp dense_fused{{
    .name = "_fused_FullyConnected",
    .doc = "FullyConnected, then an activation, then the sum with a last input. Plans for inference use it in place of "
           "these operators.",
    .params = schema_of<DenseFusedParams>(),
    .inputs = Inputs({"data", "weight", "bias", "residual"}, num_inputs),
    .infer = {infer_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"gemm", [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new DenseKernel(a)); }}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
