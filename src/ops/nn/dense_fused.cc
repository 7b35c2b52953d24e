// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/dense_fused.h"

#include "ops/nn/matrix_product.h"

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

Prepared prepare(const PrepareArgs& a) {
  const auto& p = a.as<DenseFusedParams>();
  const cpu::GemmSpec spec{.dtype = a.in[0].dtype,
                           .m = a.out[0].shape.size() / p.num_hidden,
                           .n = p.num_hidden,
                           .k = a.in[1].shape[1],
                           .trans_b = true,
                           .bias = !p.no_bias,
                           .activation = p.activation,
                           .residual = p.residual,
                           .pack_b = a.is_unchanging(1)};
  return dense_kernel(spec, a.team, 2, num_inputs(a.params) - 1);
}

const RegisterOp dense_fused{{
    .name = "_fused_FullyConnected",
    .doc = "FullyConnected, then an activation, then the sum with a last input. Plans for inference use it in place of "
           "these operators.",
    .params = schema_of<DenseFusedParams>(),
    .inputs = Inputs({"data", "weight", "bias", "residual"}, num_inputs),
    .infer = {infer_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"gemm", prepare}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
