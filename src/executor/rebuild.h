// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "symbol/node.h"

namespace mxnet {

// Rebuilds the graph node by node. `visit` gets each operator node with its inputs already replaced and returns the
// node that stands for it, with the same outputs; the second argument is the original.
template <typename Visit>
std::vector<Entry> rebuild(std::span<const Entry> heads, Visit&& visit) {
  std::unordered_map<const Node*, Ref<Node>> done;
  const auto moved = [&](const Entry& e) { return Entry{done.at(e.node.get()), e.index}; };
  for (Node* node : topological_order(heads)) {
    Ref<Node> same(node);
    if (!node->is_variable()) {
      std::vector<Entry> inputs;
      for (const Entry& in : node->inputs) inputs.push_back(moved(in));
      if (inputs != node->inputs) {
        same = make_node(*node->op, node->params, node->name, std::move(inputs));
        same->attrs = node->attrs;
      }
      same = visit(same, *node);
    }
    done[node] = std::move(same);
  }
  std::vector<Entry> out;
  for (const Entry& head : heads) out.push_back(moved(head));
  return out;
}

}  // namespace mxnet
