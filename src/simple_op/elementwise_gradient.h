// SPDX-License-Identifier: Apache-2.0
// Gradients of elementwise operators, from their formulas. Internal to simple_op.
#pragma once

#include <vector>

#include "simple_op/elementwise.h"

namespace mxnet {

// The gradient of one input as a formula over (head, sources...).
struct BackwardFormula {
  Expr expr;                 // null: zero
  std::vector<int> sources;  // an input, or the number of inputs for the output
};
BackwardFormula backward_formula(const Expr& formula, int inputs, int input);

struct GradientReads {
  bool inputs, outputs;
};
GradientReads gradient_reads(const ElementwiseOp& op);

// The hidden operators _backward_<name> that compute the gradient of each input in one pass.
std::vector<ElementwiseOp> gradient_operators(const ElementwiseOp& op);

// Calls these hidden operators, or a public one where it does the same.
void elementwise_gradient(GradientBuilder& g);
// The same for an operator that computes what `op` does, from the same inputs and parameters.
void elementwise_gradient_of(GradientBuilder& g, const OpDef& op);
// Builds the gradient of the operator's formula out of public operators.
void composed_gradient(GradientBuilder& g);

// A formula as calls of public operators. `broadcasts`: by the operators that broadcast.
Value compose(GradientBuilder& g, const Expr& formula, std::vector<Value> inputs, std::vector<Scalar> scalars,
              bool broadcasts);

}  // namespace mxnet
