// SPDX-License-Identifier: Apache-2.0
// Symbols as JSON: writes the form of MXNet 1.9, reads every form since 0.8. Older files keep parameters in "param" (or
// "attr", together with the user's attributes), have no nodes for auxiliary states, and attach multipliers for an
// operator's parameters to the operator.
#include <algorithm>
#include <array>

#include "symbol/control_flow.h"
#include "symbol/json.h"
#include "symbol/symbol.h"

namespace mxnet {

namespace {

constexpr int kVersion = 10901;
constexpr int kVersionWithoutOne = 800;  // files before 0.9 do not say

// ---- writing --------------------------------------------------------------------------------------------------------

template <typename T>
std::string list_text(const std::vector<T>& items, const char* indent, auto&& print) {
  const bool broken = items.size() > 10;
  std::string text = "[";
  for (size_t i = 0; i < items.size(); ++i) {
    if (i) text += ",";
    if (broken)
      text += std::string(i ? " " : "") + "\n" + indent + "  ";
    else if (i)
      text += " ";
    text += print(items[i]);
  }
  if (broken) text += std::string("\n") + indent;
  return text + "]";
}

std::string attrs_text(const AttrMap& attrs) {
  std::string text = "{";
  bool first = true;
  for (const auto& [key, value] : attrs) {
    if (!first) text += ", ";
    if (attrs.size() > 1) text += "\n        ";
    text += json::quoted(key) + ": " + json::quoted(value);
    first = false;
  }
  return text + (attrs.size() > 1 ? "\n      }" : "}");
}

using Numbered = std::unordered_map<const Node*, int>;

struct EntryText {
  int node, index, version;
};
std::string print_entry(const EntryText& e) { return str("[", e.node, ", ", e.index, ", ", e.version, "]"); }

std::string graph_text(std::span<const Entry> heads);

std::string subgraphs_text(const std::vector<Symbol>& graphs) {
  const std::string indent(8, ' ');
  std::string text = ", \n      \"subgraphs\": [";
  for (const Symbol& graph : graphs) {
    text += (&graph == graphs.data() ? "\n" : ", \n") + indent;
    for (const char c : graph_text(graph.entries()) + "\n}") text += c == '\n' ? c + indent : std::string(1, c);
  }
  return text + "\n      ]";
}

std::string node_text(const Node& node, const Numbered& id) {
  std::string text = "    {\n      \"op\": " + json::quoted(node.op ? node.op->name : "null") +
                     ", \n      \"name\": " + json::quoted(node.name) + ", \n";
  if (!node.attrs.empty()) text += "      \"attrs\": " + attrs_text(node.attrs) + ", \n";
  std::vector<EntryText> inputs;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Entry& in = node.inputs[i];
    const bool writes = node.op->is_mutated(*node.params, static_cast<int>(i)) && in.node->is_variable();
    inputs.push_back({id.at(in.node.get()), in.index, writes ? 1 : 0});
  }
  text += "      \"inputs\": " + list_text(inputs, "      ", print_entry);
  const Subgraphs* own = node.op ? subgraphs_of(*node.op, *node.params) : nullptr;
  if (own && !own->graphs.empty()) text += subgraphs_text(own->graphs);
  return text + "\n    }";
}

// Without what follows the heads.
std::string graph_text(std::span<const Entry> heads) {
  const auto order = topological_order(heads);
  Numbered id;
  std::vector<int> arguments, row_ptr{0};
  std::string nodes;
  for (Node* node : order) {
    const int number = static_cast<int>(id.size());
    id[node] = number;
    if (node->is_variable()) arguments.push_back(number);
    row_ptr.push_back(row_ptr.back() + node->num_all_outputs());
    nodes += (number ? ", \n" : "") + node_text(*node, id);
  }
  std::vector<EntryText> entries;
  for (const Entry& e : heads) entries.push_back({id.at(e.node.get()), e.index, 0});
  const auto print_int = [](int i) { return std::to_string(i); };
  return "{\n  \"nodes\": [\n" + nodes + "\n  ], \n  \"arg_nodes\": " + list_text(arguments, "  ", print_int) +
         ", \n  \"node_row_ptr\": " + list_text(row_ptr, "  ", print_int) +
         ", \n  \"heads\": " + list_text(entries, "  ", print_entry);
}

// ---- reading --------------------------------------------------------------------------------------------------------

class Reader {
 public:
  explicit Reader(std::string_view text) : root_(parse(text)) {
    if (const json::Value* attrs = root_.find("attrs")) {
      if (const json::Value* version = attrs->find("mxnet_version")) {
        const json::Array* pair = version->array();
        if (pair && pair->size() == 2 && (*pair)[1].integer()) version_ = *(*pair)[1].integer();
      }
    }
  }

  // A graph inside a file of this version.
  Reader(json::Value root, int64_t version) : root_(std::move(root)), version_(version) {}

  Symbol symbol() {
    const json::Array& nodes = member_array(root_, "nodes", "the file");
    nodes_.reserve(nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) {
      where_ = str("node ", i);
      read_node(nodes[i]);
    }
    where_ = "heads";
    std::vector<Entry> heads;
    for (const json::Value& head : member_array(root_, "heads", "the file")) heads.push_back(read_entry(head));
    if (heads.empty()) fail_here("a symbol has at least one output");
    return Symbol(std::move(heads));
  }

 private:
  static json::Value parse(std::string_view text) {
    try {
      return json::parse(text);
    } catch (const Error& e) {
      fail(ErrorKind::value, "symbol file is not valid JSON: ", e.what());
    }
  }

  template <typename... Args>
  [[noreturn]] void fail_here(const Args&... what) const {
    fail(ErrorKind::value, "symbol file, ", where_, ": ", what...);
  }

  const json::Array& member_array(const json::Value& object, const char* key, const char* of) const {
    const json::Value* value = object.find(key);
    if (!value || !value->array()) fail(ErrorKind::value, "symbol file: ", of, " has no list \"", key, "\"");
    return *value->array();
  }

  const std::string& text_member(const json::Value& object, const char* key) const {
    const json::Value* value = object.find(key);
    if (!value || !value->string()) fail_here("has no text member \"", key, "\"");
    return *value->string();
  }

  Entry read_entry(const json::Value& value) const {
    const json::Array* items = value.array();
    if (!items || items->size() < 2 || items->size() > 3 || !(*items)[0].integer() || !(*items)[1].integer()) {
      fail_here("expected [node, output] or [node, output, version]");
    }
    const int64_t node = *(*items)[0].integer(), index = *(*items)[1].integer();
    if (node < 0 || node >= static_cast<int64_t>(nodes_.size())) {
      fail_here("refers to node ", node, ", which does not come before it");
    }
    const Ref<Node>& source = nodes_[static_cast<size_t>(node)];
    const int outputs = source->num_outputs();
    if (index < 0 || index >= outputs) {
      fail_here("refers to output ", index, " of ", source->name, ", which has ", outputs);
    }
    return {source, static_cast<int>(index)};
  }

  // All of "attrs", "attr" and "param", later ones last.
  AttrMap read_attrs(const json::Value& node) const {
    AttrMap attrs;
    for (const char* key : {"param", "attr", "attrs"}) {
      const json::Value* group = node.find(key);
      if (!group) continue;
      if (!group->object()) fail_here("\"", key, "\" must be an object");
      for (const auto& [name, value] : *group->object()) {
        if (!value.string()) fail_here("attribute ", name, " must be text");
        attrs[canonical_attr_key(name)] = *value.string();
      }
    }
    return attrs;
  }

  void read_node(const json::Value& value) {
    if (!value.object()) fail_here("must be an object");
    const std::string& op_name = text_member(value, "op");
    const std::string& name = text_member(value, "name");
    where_ += " (" + name + ")";
    AttrMap attrs = read_attrs(value);
    std::vector<Entry> inputs;
    if (const json::Value* list = value.find("inputs")) {
      if (!list->array()) fail_here("\"inputs\" must be a list");
      for (const json::Value& in : *list->array()) inputs.push_back(read_entry(in));
    }
    if (op_name == "null") {
      if (!inputs.empty()) fail_here("a variable has no inputs");
      nodes_.push_back(make_variable(name, std::move(attrs)));
      return;
    }
    Ref<Node> node = read_operator(op_name, name, std::move(attrs), std::move(inputs));
    if (const json::Value* list = value.find("subgraphs")) read_subgraphs(*list, *node);
    nodes_.push_back(std::move(node));
  }

  void read_subgraphs(const json::Value& list, Node& node) const {
    if (!list.array()) fail_here("\"subgraphs\" must be a list");
    std::vector<Symbol> graphs;
    for (const json::Value& graph : *list.array()) graphs.push_back(Reader(graph, version_).symbol());
    try {
      set_subgraphs(*node.op, *node.params, std::move(graphs));
    } catch (const Error& e) {
      fail_here(e.what());
    }
  }

  Ref<Node> read_operator(const std::string& op_name, const std::string& name, AttrMap attrs,
                          std::vector<Entry> inputs) const {
    const OpDef* op = find_op(op_name);
    if (!op) fail_here("there is no operator named ", op_name);
    move_multipliers(*op, attrs, inputs);
    upgrade(*op, attrs, inputs.size());
    auto node = make_ref<Node>();
    node->op = op;
    node->name = name;
    node->params = parse_params(*op, attrs);
    node->attrs = std::move(attrs);
    node->inputs = std::move(inputs);
    complete_inputs(*node);
    return node;
  }

  Ref<Params> parse_params(const OpDef& op, AttrMap& attrs) const {
    ParamMap map;
    for (auto it = attrs.begin(); it != attrs.end();) {
      const std::string& key = it->first;
      const bool unknown = op.params.find(key) < 0 && op.params.find("*") < 0 && !op.params.ignores(key);
      if (!is_hidden_key(key) && unknown && version_ < 1000) {
        // Files of those days mix the user's attributes with parameters; keep them where they do no harm.
        attrs["__" + key + "__"] = it->second;
        it = attrs.erase(it);
        continue;
      }
      if (!is_hidden_key(key)) map.emplace_back(key, it->second);
      ++it;
    }
    try {
      return op.params.parse(op.name, map);
    } catch (const Error& e) {
      fail_here(e.what());
    }
  }

  // "weight_lr_mult" on an operator belongs to its variable "weight".
  static void move_multipliers(const OpDef& op, AttrMap& attrs, const std::vector<Entry>& inputs) {
    for (const char* suffix : {"lr_mult", "wd_mult"}) {
      for (size_t i = 0; i < inputs.size() && i < op.inputs.names.size(); ++i) {
        const auto it = attrs.find(op.inputs.names[i] + "_" + suffix);
        if (it == attrs.end() || op.params.find(it->first) >= 0) continue;
        if (inputs[i].node->is_variable()) inputs[i].node->attrs["__" + std::string(suffix) + "__"] = it->second;
        attrs.erase(it);
      }
    }
  }

  void upgrade(const OpDef& op, AttrMap& attrs, size_t given) const {
    if (op.inputs.is_variadic() && !attrs.contains(op.inputs.variadic_param) &&
        op.params.find(op.inputs.variadic_param) >= 0) {
      attrs[op.inputs.variadic_param] = std::to_string(given);
    }
    // Before 0.9.5 an axis of -1 meant the flattened array.
    if (version_ < 905 && (op.name == "argmax" || op.name == "argmin")) {
      if (const auto axis = attrs.find("axis"); axis != attrs.end() && axis->second == "-1") attrs.erase(axis);
    }
  }

  // Adds auxiliary states (files before 0.9 have none) and refuses a wrong number of inputs.
  void complete_inputs(Node& node) const {
    const int given = static_cast<int>(node.inputs.size());
    const int count = node.op->num_inputs(*node.params, node.op->inputs.is_variadic() ? given : -1);
    for (int i = given; i < count && node.op->is_auxiliary(*node.params, i); ++i) {
      node.inputs.push_back({make_variable(node.name + "_" + node.op->input_name(*node.params, i)), 0});
    }
    if (static_cast<int>(node.inputs.size()) != count) {
      fail_here(node.op->name, " takes ", count, " inputs, the file has ", given);
    }
  }

  json::Value root_;
  int64_t version_ = kVersionWithoutOne;
  std::vector<Ref<Node>> nodes_;
  std::string where_;
};

}  // namespace

std::string Symbol::to_json() const {
  return graph_text(entries_) + ", \n  \"attrs\": {\"mxnet_version\": [\"int\", " + std::to_string(kVersion) + "]}\n}";
}

Symbol Symbol::from_json(std::string_view text) { return Reader(text).symbol(); }

}  // namespace mxnet
