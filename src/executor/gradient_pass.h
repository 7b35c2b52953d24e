// SPDX-License-Identifier: Apache-2.0
// The gradient pass: builds the graph of gradients from the operators' own gradient functions.
#pragma once

#include <span>
#include <vector>

#include "symbol/node.h"

namespace mxnet {

struct GradientRequest {
  std::span<const Entry> heads;
  std::span<const Entry> head_gradients;  // one per head; a null node: nothing flows in from there
  std::span<Node* const> variables;       // differentiate with respect to these
  bool training = true;                   // the mode that the forward runs in
  bool lenient = false;                   // operators without a gradient pass nothing on instead of raising
};

// One entry per variable, built on the forward's own nodes; a null node where the gradient is zero everywhere. Several
// contributions are summed. Raises for an operator on the way that has no gradient.
std::vector<Entry> make_gradients(const GradientRequest& request);

// True if the gradient of this head is made by the operator itself (SoftmaxOutput), or is zero: no head gradient is
// asked.
bool is_loss_head(const Entry& head);

}  // namespace mxnet
