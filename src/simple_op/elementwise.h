// SPDX-License-Identifier: Apache-2.0
// Elementwise operators. A record gives a formula; inference, kernels, broadcasting, write/add/in-place, gradient,
// gradients of the gradient and fusion follow from it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "operator/op.h"
#include "simple_op/expr.h"
#include "simple_op/program.h"

namespace mxnet {

// What fusion needs to know of an elementwise operator.
struct ElementwiseInfo {
  // The formula for one variant (the parameters that change it) and number of inputs.
  std::function<Expr(int variant, int inputs)> formula;
  int (*variant)(const Params&) = nullptr;  // null: there is one
  int scalars = 0;                          // run-time scalars that the formula reads
  void (*read_scalars)(const Params&, Scalar* to) = nullptr;
  bool broadcasts = false;   // inputs broadcast to the output's shape; otherwise all have it
  bool first_order = false;  // a gradient helper: its own gradient is composed of operators
  // Brings inputs whose shapes follow another rule (rows of `where`, channels of PReLU) into a shape that broadcasts.
  void (*adjust)(const Params&, std::span<TensorSpec> in) = nullptr;

  // Calls that compute something else than the formula (random slopes): they are not fused.
  bool (*fusible)(const Params&) = nullptr;

  bool can_fuse(const Params& params) const { return !adjust && (!fusible || fusible(params)); }
  Expr expr(const Params& params, int inputs) const { return formula(variant ? variant(params) : 0, inputs); }
  // Appends the operator's instructions; its scalars become the builder's next `scalars` ones.
  Operand append(ProgramBuilder& builder, const Params& params, std::span<const Operand> in, DType out) const;
};

// Null where `op` is not elementwise.
const ElementwiseInfo* elementwise_info(const OpDef& op);

// A prepared kernel for a program whose scalars one operator reads; X may make others through ProgramKernel.
Prepared prepare_elementwise(const PrepareArgs& args);

struct ElementwiseOp {
  std::string name;
  std::string doc;
  std::vector<std::string> aliases = {};
  Inputs inputs;
  ElementwiseInfo info;
  const ParamSchema& params = schema_of<NoParams>();
  InferFn shape = nullptr;  // null: same_shape, or broadcast where inputs do
  InferFn dtype = infer::same_dtype;
  bool zero_gradient = false;
  std::optional<Gradient> gradient = {};  // instead of the one that the formula gives
  std::vector<KernelDef> kernels = {};    // before the program
  bool hidden = false;
  bool training_mode = false;
  int variants = 1;  // ElementwiseInfo::variant is below this
  Precision precision = Precision::any;
  bool (*full_precision)(const Params&) = nullptr;
};

// Registers the operator and the hidden operators of its gradient. Called by static initializers.
void register_elementwise(ElementwiseOp op);

// Parameters of operators with one scalar operand.
struct ScalarParams {
  Scalar scalar = 1.0;
  bool is_int = true;
  static void declare(ParamSchemaOf<ScalarParams>& s);
};

}  // namespace mxnet
