// SPDX-License-Identifier: Apache-2.0
#include "simple_op/elementwise.h"

#include <unordered_map>

#include "simple_op/elementwise_gradient.h"

namespace mxnet {
namespace {

// Filled before main; read-only afterwards.
std::unordered_map<std::string, ElementwiseInfo>& infos() {
  static std::unordered_map<std::string, ElementwiseInfo> table;
  return table;
}

OpDef make_def(const ElementwiseOp& op, Gradient gradient) {
  OpFlags flags;
  flags.elementwise = true;
  flags.hidden = op.hidden;
  flags.training_mode = op.training_mode;
  flags.precision = op.precision;
  std::vector<KernelDef> kernels = op.kernels;
  kernels.push_back({"program", prepare_elementwise});
  const InferFn shape = op.shape ? op.shape : op.info.broadcasts ? infer::broadcast : infer::same_shape;
  return {.name = op.name,
          .doc = op.doc,
          .aliases = op.aliases,
          .params = op.params,
          .inputs = op.inputs,
          .infer = {shape, op.dtype},
          .gradient = std::move(gradient),
          .kernels = std::move(kernels),
          .flags = flags,
          .full_precision = op.full_precision};
}

Gradient gradient_of(const ElementwiseOp& op) {
  if (op.gradient) return *op.gradient;
  if (op.zero_gradient) return Gradient::zero();
  if (op.info.first_order) return {composed_gradient};
  Gradient gradient(elementwise_gradient);
  const GradientReads reads = gradient_reads(op);
  gradient.reads_inputs = reads.inputs;
  gradient.reads_outputs = reads.outputs;
  return gradient;
}

}  // namespace

Operand ElementwiseInfo::append(ProgramBuilder& builder, const Params& params, std::span<const Operand> in,
                                DType out) const {
  std::vector<Operand> scalar_operands;
  for (int i = 0; i < scalars; ++i) scalar_operands.push_back(builder.scalar(out));
  return builder.formula(expr(params, static_cast<int>(in.size())), out, in, scalar_operands);
}

const ElementwiseInfo* elementwise_info(const OpDef& op) {
  if (!op.flags.elementwise) return nullptr;
  const auto it = infos().find(op.name);
  return it == infos().end() ? nullptr : &it->second;
}

void register_elementwise(ElementwiseOp op) {
  infos()[op.name] = op.info;
  RegisterOp(make_def(op, gradient_of(op)));
  if (op.gradient || op.zero_gradient || op.info.first_order) return;
  for (ElementwiseOp& helper : gradient_operators(op)) register_elementwise(std::move(helper));
}

void ScalarParams::declare(ParamSchemaOf<ScalarParams>& s) {
  s.field("scalar", &ScalarParams::scalar, "The scalar operand; converted to the array's dtype first.")
      .runtime()
      .type("double");
  s.field("is_int", &ScalarParams::is_int, "Whether the scalar is a whole number.");
}

}  // namespace mxnet
