// SPDX-License-Identifier: Apache-2.0
// What the tape holds, as a symbol.
#pragma once

#include "autograd/tape.h"
#include "symbol/symbol.h"

namespace mxnet {

// A recorded step that is a graph.
struct GraphStep : autograd::CustomStep {
  virtual const std::vector<Entry>& heads() const = 0;
  virtual const std::vector<Ref<Node>>& variables() const = 0;  // in the order of the step's inputs
};

// The recorded computation of an array. Marked variables are var0, var1, ..., other arrays null0, null1, ..., operators
// node_0, node_1, ...; what was called as a graph appears as its operators. Raises for functions of the program.
Symbol recorded_symbol(const NDArray& array);

}  // namespace mxnet
