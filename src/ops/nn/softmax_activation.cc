// SPDX-License-Identifier: Apache-2.0
#include "operator/op.h"
#include "ops/nn/softmax.h"

namespace mxnet::nn {
namespace {

enum class Mode { instance, channel };

struct SoftmaxActivationParams {
  Mode mode = Mode::instance;
  static void declare(ParamSchemaOf<SoftmaxActivationParams>& s) {
    s.choice("mode", &SoftmaxActivationParams::mode, {{"channel", Mode::channel}, {"instance", Mode::instance}},
             "Over the last axis, or over axis 1 at each position.");
  }
};

void infer_shape(InferContext& c) {
  infer::same_shape(c);
  if (c.in[0].shape.rank_known() && c.in[0].shape.rank() < 2) {
    c.bad(str("data must have at least 2 dimensions, got shape ", c.in[0].shape));
  }
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

SoftmaxView view_of(const PrepareArgs& a) {
  const Shape& shape = a.in[0].shape;
  if (a.as<SoftmaxActivationParams>().mode == Mode::channel) return SoftmaxView::along(shape, 1);
  return SoftmaxView::along(shape, shape.rank() - 1);
}

Prepared prepare_forward(const PrepareArgs& a) {
  const SoftmaxView v = view_of(a);
  return make_kernel([v, dtype = a.in[0].dtype](const KernelCall& c) { softmax_forward(v, dtype, c.in[0], c.out[0]); },
                     softmax_cost(v, a.in[0].dtype));
}

// in: dy, y.
// The gradient is that of softmax.
void gradient(GradientBuilder& g) {
  const int64_t axis = g.params<SoftmaxActivationParams>().mode == Mode::channel ? 1 : -1;
  const OpDef& backward = get_op("_backward_softmax");
  g.give(0, backward.name, {g.head(0), g.output(0)}, backward.params.parse(backward.name, {{"axis", axis}}));
}

const RegisterOp softmax_activation{{
    .name = "SoftmaxActivation",
    .doc = "Softmax along the last axis ('instance') or along axis 1 ('channel').\n\n"
           "Shapes: data (n, c, ...), output the same.",
    .params = schema_of<SoftmaxActivationParams>(),
    .inputs = {"data"},
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_inputs(),
    .kernels = {{"simd", prepare_forward}},
    .flags = {.inplace = true},
}};

}  // namespace
}  // namespace mxnet::nn
