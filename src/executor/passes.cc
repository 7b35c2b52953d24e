// SPDX-License-Identifier: Apache-2.0
#include "executor/passes.h"

#include <array>
#include <string>

namespace mxnet {

namespace {

bool has_effects(const Node& node) { return node.op->flags.random || !node.op->inputs.mutated.empty(); }

// Rebuilds the graph node by node. `visit` gets a copy of each operator node whose inputs are already replaced, and
// returns the node whose outputs stand for its outputs, or an entry that stands for its only output.
template <typename Visit>
std::vector<Entry> rebuild(std::span<const Entry> heads, Visit&& visit) {
  struct Replacement {
    Ref<Node> node;  // same output numbers
    Entry entry;     // for output 0, when node is null
  };
  std::unordered_map<const Node*, Replacement> done;
  const auto moved = [&](const Entry& e) {
    const Replacement& to = done.at(e.node.get());
    return to.node ? Entry{to.node, e.index} : to.entry;
  };
  for (Node* node : topological_order(heads)) {
    if (node->is_variable()) {
      done[node] = {Ref<Node>(node), {}};
      continue;
    }
    std::vector<Entry> inputs;
    for (const Entry& in : node->inputs) inputs.push_back(moved(in));
    Ref<Node> same(node);
    if (inputs != node->inputs) {
      same = make_node(*node->op, node->params, node->name, std::move(inputs));
      same->attrs = node->attrs;
    }
    const Entry instead = visit(same);
    if (instead.index < 0) done[node] = {instead.node, {}};
    else done[node] = {{}, instead};
  }
  std::vector<Entry> out;
  for (const Entry& head : heads) out.push_back(moved(head));
  return out;
}

Entry whole(const Ref<Node>& node) { return {node, -1}; }

std::string expression_key(const Node& node) {
  std::string key = str(node.op->id, "|", node.op->name);
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) key += "|" + name + "=" + text;
  for (const Entry& in : node.inputs) key += str("|", static_cast<const void*>(in.node.get()), ".", in.index);
  return key;
}

bool is_identity(const Node& node, bool training) {
  static constexpr std::array names = {"BlockGrad", "_copy", "identity", "make_loss", "_identity_with_attr_like_rhs"};
  const std::string& name = node.op->name;
  for (const char* identity : names) {
    if (name == identity) return true;
  }
  if (name != "Dropout" || training) return false;
  for (const auto& [field, text] : node.op->params.to_text(*node.params)) {
    if (field == "mode") return text != "always";
  }
  return false;
}

}  // namespace

std::vector<Entry> merge_common_subexpressions(std::span<const Entry> heads) {
  std::unordered_map<std::string, Ref<Node>> known;
  return rebuild(heads, [&](const Ref<Node>& node) {
    if (has_effects(*node)) return whole(node);
    return whole(known.try_emplace(expression_key(*node), node).first->second);
  });
}

std::vector<Entry> remove_identities(std::span<const Entry> heads, bool training) {
  return rebuild(heads, [&](const Ref<Node>& node) {
    return is_identity(*node, training) ? node->inputs[0] : whole(node);
  });
}

}  // namespace mxnet
