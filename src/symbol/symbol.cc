// SPDX-License-Identifier: Apache-2.0
#include "symbol/symbol.h"

#include <algorithm>
#include <unordered_set>

#include "symbol/control_flow.h"

namespace mxnet {

namespace {

std::vector<std::string> names_of(const std::vector<Node*>& nodes) {
  std::vector<std::string> names;
  for (const Node* node : nodes) names.push_back(node->name);
  return names;
}

// Attributes that the core gives to variables which an operator makes for itself.
void add_initializer(const OpDef& op, const std::string& input, AttrMap& attrs) {
  if (input == "moving_mean") attrs["__init__"] = "[\"zero\", {}]";
  if (input == "moving_var") attrs["__init__"] = "[\"one\", {}]";
  if (op.name == "LeakyReLU" && input == "gamma") attrs["__init__"] = "[\"Constant\", {\"value\": 0.25}]";
}

Entry single_entry(const Symbol& symbol, const OpDef& op, const std::string& input) {
  if (symbol.num_outputs() == 1) return symbol.entries()[0];
  fail(ErrorKind::value, op.name, ": input ", input, " must be a symbol with one output, got one with ",
       symbol.num_outputs(), "; choose one by index");
}

Ref<Params> parse_params(const OpDef& op, const AttrMap& attrs) {
  ParamMap map;
  for (const auto& [key, value] : attrs) {
    if (!is_hidden_key(key)) map.emplace_back(key, value);
  }
  return op.params.parse(op.name, map);
}

}  // namespace

GraphInputs graph_inputs(std::span<const Entry> heads) {
  GraphInputs found;
  std::unordered_set<const Node*> auxiliary;
  const auto order = topological_order(heads);
  for (const Node* node : order) {
    if (node->is_variable() || node->op->inputs.auxiliary.empty()) continue;
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      const Node* input = node->inputs[i].node.get();
      if (input->is_variable() && node->op->is_auxiliary(*node->params, static_cast<int>(i))) auxiliary.insert(input);
    }
  }
  for (Node* node : order) {
    if (!node->is_variable()) continue;
    found.all.push_back(node);
    (auxiliary.contains(node) ? found.auxiliary : found.arguments).push_back(node);
  }
  return found;
}

// ---- construction ---------------------------------------------------------------------------------------------------

Symbol Symbol::variable(const std::string& name, const AttrMap& attrs) {
  AttrMap canonical;
  for (const auto& [key, value] : attrs) canonical[canonical_attr_key(key)] = value;
  return Symbol({{make_variable(name, std::move(canonical)), 0}});
}

Symbol Symbol::group(std::span<const Symbol> symbols) {
  std::vector<Entry> all;
  for (const Symbol& symbol : symbols) all.insert(all.end(), symbol.entries_.begin(), symbol.entries_.end());
  return Symbol(std::move(all));
}

Symbol Symbol::create(const OpDef& op, const AttrMap& attrs, const std::string& name, std::span<const Symbol> inputs,
                      const Named& named_inputs) {
  auto node = make_ref<Node>();
  node->op = &op;
  node->name = name;
  for (const auto& [key, value] : attrs) node->attrs[canonical_attr_key(key)] = value;
  const int given = static_cast<int>(inputs.size() + named_inputs.size());
  if (op.inputs.is_variadic() && !node->attrs.contains(op.inputs.variadic_param) &&
      op.params.find(op.inputs.variadic_param) >= 0) {
    node->attrs[op.inputs.variadic_param] = std::to_string(given);
  }
  node->params = parse_params(op, node->attrs);

  const int count = op.num_inputs(*node->params, op.inputs.is_variadic() ? given : -1);
  if (static_cast<int>(inputs.size()) > count) {
    fail(ErrorKind::type, op.name, ": takes ", count, " inputs, got ", inputs.size());
  }
  std::vector<bool> used(named_inputs.size());
  for (int i = 0; i < count; ++i) {
    const std::string input = op.input_name(*node->params, i);
    const auto named =
        std::find_if(named_inputs.begin(), named_inputs.end(), [&](auto& n) { return n.first == input; });
    const bool by_position = i < static_cast<int>(inputs.size());
    if (named != named_inputs.end()) {
      if (by_position) fail(ErrorKind::type, op.name, ": input ", input, " was given by position and by name");
      used[static_cast<size_t>(named - named_inputs.begin())] = true;
      node->inputs.push_back(single_entry(named->second, op, input));
    } else if (by_position) {
      node->inputs.push_back(single_entry(inputs[static_cast<size_t>(i)], op, input));
    } else {
      AttrMap inherited = node->attrs;
      add_initializer(op, input, inherited);
      node->inputs.push_back({make_variable(name + "_" + input, std::move(inherited)), 0});
    }
  }
  const auto unused = std::find(used.begin(), used.end(), false);
  if (unused != used.end()) {
    fail(ErrorKind::type, op.name, ": has no input named ",
         named_inputs[static_cast<size_t>(unused - used.begin())].first, " here");
  }
  std::vector<Entry> outputs;
  for (int i = 0; i < node->num_outputs(); ++i) outputs.push_back({node, i});
  return Symbol(std::move(outputs));
}

Symbol Symbol::compose(const std::string& name, const Named& arguments) const {
  const auto variables = graph_inputs(entries_).all;
  std::unordered_map<const Node*, Entry> replace;
  for (const auto& [key, value] : arguments) {
    bool found = false;
    for (const Node* variable : variables) {
      if (variable->name != key) continue;
      if (value.num_outputs() != 1) {
        fail(ErrorKind::value, "composition: argument ", key, " must be a symbol with one output, got ",
             value.num_outputs());
      }
      replace[variable] = value.entries_[0];
      found = true;
    }
    if (!found) {
      std::string names;
      for (const Node* variable : variables) names += (names.empty() ? "" : ", ") + variable->name;
      fail(ErrorKind::value, "composition: there is no argument named ", key, "; the arguments are ", names);
    }
  }
  Symbol result(copy_graph(entries_, replace));
  if (!name.empty() && result.name()) result.entries_[0].node->name = name;
  return result;
}

// ---- what it is made of ---------------------------------------------------------------------------------------------

std::vector<std::string> Symbol::list_arguments() const { return names_of(graph_inputs(entries_).arguments); }
std::vector<std::string> Symbol::list_auxiliary_states() const { return names_of(graph_inputs(entries_).auxiliary); }
std::vector<std::string> Symbol::list_inputs() const { return names_of(graph_inputs(entries_).all); }

std::vector<std::string> Symbol::list_outputs() const {
  std::vector<std::string> names;
  for (const Entry& e : entries_) names.push_back(e.node->output_name(e.index));
  return names;
}

std::optional<std::string> Symbol::name() const {
  if (entries_.empty()) return {};
  for (const Entry& e : entries_) {
    if (!(e.node == entries_[0].node)) return {};
  }
  return entries_[0].node->name;
}

Symbol Symbol::output(int i) const {
  if (i < 0 || i >= num_outputs()) {
    fail(ErrorKind::index, "output index ", i, " is out of range for a symbol with ", num_outputs(), " outputs");
  }
  return Symbol({entries_[static_cast<size_t>(i)]});
}

Symbol Symbol::output(std::string_view name) const {
  const Entry* found = nullptr;
  for (const Entry& e : entries_) {
    if (e.node->output_name(e.index) != name) continue;
    if (found) fail(ErrorKind::value, "There are multiple outputs with name \"", name, "\"");
    found = &e;
  }
  if (!found) fail(ErrorKind::value, "Cannot find output that matches name \"", name, "\"");
  return Symbol({*found});
}

Symbol Symbol::internals() const {
  std::vector<Entry> all;
  for (Node* node : topological_order(entries_)) {
    for (int i = 0; i < node->num_outputs(); ++i) all.push_back({Ref<Node>(node), i});
  }
  return Symbol(std::move(all));
}

std::optional<Symbol> Symbol::children() const {
  std::vector<Entry> all;
  std::unordered_set<const Node*> seen;
  for (const Entry& e : entries_) {
    if (seen.insert(e.node.get()).second) all.insert(all.end(), e.node->inputs.begin(), e.node->inputs.end());
  }
  if (all.empty()) return {};
  return Symbol(std::move(all));
}

std::string Symbol::debug_text() const {
  std::string text = "Symbol Outputs:\n";
  const auto entry_text = [](const Entry& e) { return e.node->name + "(" + std::to_string(e.index) + ")"; };
  for (size_t i = 0; i < entries_.size(); ++i) {
    text += "\toutput[" + std::to_string(i) + "]=" + entry_text(entries_[i]) + "\n";
  }
  for (const Node* node : topological_order(entries_)) {
    if (node->is_variable()) {
      text += "Variable:" + node->name + "\n";
      continue;
    }
    text += "--------------------\nOp:" + node->op->name + ", Name=" + node->name + "\nInputs:\n";
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      const bool writes = node->op->is_mutated(*node->params, static_cast<int>(i));
      text += "\targ[" + std::to_string(i) + "]=" + entry_text(node->inputs[i]);
      if (node->inputs[i].node->is_variable()) text += std::string(" version=") + (writes ? "1" : "0");
      text += "\n";
    }
    if (!node->attrs.empty()) text += "Attrs:\n";
    for (const auto& [key, value] : node->attrs) text += "\t" + key + "=" + value + "\n";
  }
  return text;
}

// ---- attributes -----------------------------------------------------------------------------------------------------

namespace {

AttrMap user_view(const Node& node) {
  AttrMap shown = node.attrs;
  for (const auto& [key, value] : node.attrs) {
    if (!is_hidden_key(key)) continue;
    const std::string bare = key.substr(2, key.size() - 4);
    if (canonical_attr_key(bare) == key) shown[bare] = value;
  }
  return shown;
}

}  // namespace

std::optional<std::string> Symbol::attr(const std::string& key) const {
  if (!name()) return {};
  const std::string* value = entries_[0].node->attr(key);
  return value ? std::optional(*value) : std::nullopt;
}

AttrMap Symbol::list_attr() const {
  if (!name()) return {};
  return user_view(*entries_[0].node);
}

std::vector<std::pair<std::string, AttrMap>> Symbol::attr_dict() const {
  std::vector<std::pair<std::string, AttrMap>> all;
  for (const Node* node : topological_order(entries_)) {
    if (AttrMap shown = user_view(*node); !shown.empty()) all.emplace_back(node->name, std::move(shown));
  }
  return all;
}

void Symbol::set_attr(const std::string& key, const std::string& value) {
  if (!name()) fail(ErrorKind::value, "attributes can be set on a symbol of one node only, this is a group");
  Node& node = *entries_[0].node;
  AttrMap changed = node.attrs;
  changed[canonical_attr_key(key)] = value;
  if (node.op) {
    const Ref<Params> before = std::exchange(node.params, parse_params(*node.op, changed));
    const Subgraphs* own = subgraphs_of(*node.op, *before);
    if (own && !own->graphs.empty()) set_subgraphs(*node.op, *node.params, own->graphs);
  }
  node.attrs = std::move(changed);
}

}  // namespace mxnet
