// SPDX-License-Identifier: Apache-2.0
#include "executor/passes.h"

#include <array>
#include <string>

namespace mxnet {

namespace {

bool has_effects(const Node& node) { return node.op->flags.random || node.op->inputs.mutates_any(); }

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

std::string expression_key(const Node& node) {
  std::string key = str(node.op->id, "|", node.op->name);
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) key += "|" + name + "=" + text;
  for (const Entry& in : node.inputs) key += str("|", static_cast<const void*>(in.node.get()), ".", in.index);
  return key;
}

}  // namespace

bool reads_only_shape(const Node& node) {
  return node.op && (node.op->name == "zeros_like" || node.op->name == "ones_like");
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

std::vector<Entry> merge_common_subexpressions(std::span<const Entry> heads) {
  std::unordered_map<std::string, Ref<Node>> known;
  return rebuild(heads, [&](const Ref<Node>& node, const Node&) {
    return has_effects(*node) ? node : known.try_emplace(expression_key(*node), node).first->second;
  });
}

std::vector<Entry> resolve_broadcasts(std::span<const Entry> heads, const GraphSpecs& specs) {
  return rebuild(heads, [&](const Ref<Node>& node, const Node& original) {
    std::vector<TensorSpec> in;
    for (const Entry& e : original.inputs) in.push_back(specs.at(e));
    const OpDef& op = broadcasting_operator(original, in);
    if (&op == original.op) return node;
    Ref<Node> changed = make_node(op, {}, node->name, node->inputs);
    changed->attrs = node->attrs;
    return changed;
  });
}

}  // namespace mxnet
