// SPDX-License-Identifier: Apache-2.0
// BatchNorm and the relu that follows, perhaps with an array added between them. Plans make it in training (see
// executor/norm_fusion.h); its own gradient computes what the relu let pass instead of reading it.
#include "ops/nn/batch_norm.h"

namespace mxnet::nn {
namespace {

struct BatchNormReluParams : BatchNormParams {
  bool sum = false;

  static void declare(ParamSchemaOf<BatchNormReluParams>& s) {
    declare_fields(s);
    s.field("sum", &BatchNormReluParams::sum, "Whether input `other` is added before the relu.");
  }
};

void infer_shape(InferContext& c) {
  infer_batch_norm_shape(c);
  if (c.as<BatchNormReluParams>().sum) c.merge_in(5, c.out[0].shape);
}

void infer_dtype(InferContext& c) {
  infer_batch_norm_dtype(c);
  if (c.as<BatchNormReluParams>().sum) c.merge_in_dtype(5, c.out[0].dtype);
}

void gradient(GradientBuilder& g) {
  const auto& p = g.params<BatchNormReluParams>();
  BatchNormBackwardParams params{
      .eps = p.eps, .fix_gamma = p.fix_gamma, .constant = p.use_global_stats || !g.training(), .axis = p.axis};
  if (p.sum) {
    const Value masked = g.call("_backward_relu", {g.head(0), g.output(0)});
    g.give(5, masked);
    return g.give_all({0, 1, 2}, "_backward_BatchNorm", {masked, g.input(0), g.input(1), g.output(1), g.output(2)},
                      make_params<BatchNormBackwardParams>(std::move(params)));
  }
  params.relu = true;
  g.give_all({0, 1, 2}, "_backward_BatchNorm",
             {g.head(0), g.input(0), g.input(1), g.output(1), g.output(2), g.output(3), g.output(4)},
             make_params<BatchNormBackwardParams>(std::move(params)));
}

const RegisterOp batch_norm_relu{{
    .name = "_batch_norm_relu",
    .doc = "relu(BatchNorm(data) + other): a step of plans, for channels that are last in memory.",
    .params = schema_of<BatchNormReluParams>(),
    .inputs = Inputs({"data", "gamma", "beta", "moving_mean", "moving_var", "other"},
                     [](const Params& p) { return p.as<BatchNormReluParams>().sum ? 6 : 5; })
                  .with_auxiliary({"moving_mean", "moving_var"}),
    .outputs = Outputs(1).with_residuals(4),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient),
    .kernels = {{"rows",
                 [](const PrepareArgs& a) {
                   return prepare_batch_norm_rows(a, {.relu = true, .sum = a.as<BatchNormReluParams>().sum});
                 }}},
    .flags = {.training_mode = true, .hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
