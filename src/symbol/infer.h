// SPDX-License-Identifier: Apache-2.0
// Shapes and dtypes of a whole graph: every operator's inference, forwards and backwards, until nothing new is learned.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "symbol/symbol.h"

namespace mxnet {

struct GraphSpecs {
  std::vector<Node*> order;                                     // topological
  std::unordered_map<const Node*, std::vector<TensorSpec>> of;  // per node, residual outputs too
  const TensorSpec& at(const Entry& e) const { return of.at(e.node.get())[static_cast<size_t>(e.index)]; }
};

// `known` gives what is known of variables; unknown rank, dimensions (-1) and DType::unknown are filled in where they
// follow. Variables also start from their `__shape__` and `__dtype__` attributes, in which 0 means unknown unless
// `np_shape`. A conflict raises and names the node.
GraphSpecs infer_graph(std::span<const Entry> heads, const std::unordered_map<const Node*, TensorSpec>& known,
                       bool np_shape = false);

bool is_known(const TensorSpec& spec);

// Arithmetic written with Python operators is elementwise in a graph, because that lets shapes flow both ways. Where
// both shapes are known and differ, it broadcasts, as it does for arrays: the operator that then stands for `node`'s.
const OpDef& broadcasting_operator(const Node& node, std::span<const TensorSpec> in);

}  // namespace mxnet
