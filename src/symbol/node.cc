// SPDX-License-Identifier: Apache-2.0
#include "symbol/node.h"

#include <array>
#include <unordered_set>

#include "autograd/composite.h"

namespace mxnet {

Node::~Node() {
  // The outermost destructor of this thread takes the inputs of all others in turn, so depth stays constant.
  static thread_local std::vector<Entry>* pending = nullptr;
  if (pending) {
    std::move(inputs.begin(), inputs.end(), std::back_inserter(*pending));
    return;
  }
  std::vector<Entry> mine = std::move(inputs);
  pending = &mine;
  while (!mine.empty()) {
    const Entry last = std::move(mine.back());
    mine.pop_back();
  }
  pending = nullptr;
}

std::string Node::output_name(int i) const {
  if (!op) return name;
  const int visible = num_outputs();
  if (i >= visible) return name + "_hidden" + std::to_string(i);
  if (autograd::is_composite(*op, *params)) {
    if (const auto names = autograd::composite_of(*op).output_names) {
      return name + "_" + names(*params)[static_cast<size_t>(i)];
    }
  }
  const auto& names = op->outputs.names;
  if (i < static_cast<int>(names.size())) return name + "_" + names[static_cast<size_t>(i)];
  return visible == 1 ? name + "_output" : name + "_output" + std::to_string(i);
}

const std::string* Node::attr(const std::string& key) const {
  if (const auto it = attrs.find(key); it != attrs.end()) return &it->second;
  if (const auto it = attrs.find(canonical_attr_key(key)); it != attrs.end()) return &it->second;
  return nullptr;
}

std::vector<Node*> topological_order(std::span<const Entry> heads) {
  std::vector<Node*> order;
  std::unordered_set<const Node*> seen;
  std::vector<std::pair<Node*, size_t>> stack;  // node, next input to visit
  for (const Entry& head : heads) {
    if (!seen.insert(head.node.get()).second) continue;
    stack.emplace_back(head.node.get(), 0);
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs.size()) {
        order.push_back(node);
        stack.pop_back();
        continue;
      }
      Node* input = node->inputs[next++].node.get();
      if (seen.insert(input).second) stack.emplace_back(input, 0);
    }
  }
  return order;
}

Ref<Node> make_variable(std::string name, AttrMap attrs) {
  auto node = make_ref<Node>();
  node->name = std::move(name);
  node->attrs = std::move(attrs);
  return node;
}

Ref<Node> make_node(const OpDef& op, Ref<Params> params, std::string name, std::vector<Entry> inputs) {
  auto node = make_ref<Node>();
  node->op = &op;
  node->params = params ? std::move(params) : op.params.defaults();
  if (!node->params) fail(ErrorKind::value, op.name, ": has required parameters and none were given");
  node->name = std::move(name);
  node->inputs = std::move(inputs);
  return node;
}

std::vector<Entry> copy_graph(std::span<const Entry> heads, const std::unordered_map<const Node*, Entry>& replace) {
  std::unordered_map<const Node*, Entry> copies = replace;
  const auto moved = [&](const Entry& e) {
    const Entry& to = copies.at(e.node.get());
    return to.node->is_variable() || replace.contains(e.node.get()) ? to : Entry{to.node, e.index};
  };
  for (Node* node : topological_order(heads)) {
    if (copies.contains(node)) continue;
    auto copy = make_ref<Node>();
    copy->op = node->op;
    copy->name = node->name;
    copy->params = node->params;
    copy->attrs = node->attrs;
    for (const Entry& in : node->inputs) copy->inputs.push_back(moved(in));
    copies.emplace(node, Entry{std::move(copy), 0});
  }
  std::vector<Entry> out;
  for (const Entry& head : heads) out.push_back(moved(head));
  return out;
}

std::string canonical_attr_key(const std::string& key) {
  static constexpr std::array known = {"ctx_group", "lr_mult", "wd_mult", "force_mirroring", "mirror_stage"};
  for (const char* name : known) {
    if (key == name) return "__" + key + "__";
  }
  return key;
}

bool is_hidden_key(const std::string& key) { return key.size() > 4 && key.starts_with("__") && key.ends_with("__"); }

AttrMap attrs_of(const OpDef& op, const Params& params) {
  AttrMap attrs;
  const auto& fields = op.params.fields();
  const auto text = op.params.to_text(params);
  const auto& defaults = op.params.defaults();
  const auto standard = defaults ? op.params.to_text(*defaults) : decltype(text){};
  for (size_t i = 0; i < text.size(); ++i) {
    const bool is_default = i < standard.size() && standard[i] == text[i];
    const bool required = i < fields.size() && fields[i].is_required;
    if (!is_default || required) attrs.insert(text[i]);
  }
  return attrs;
}

}  // namespace mxnet
