// SPDX-License-Identifier: Apache-2.0
// Symbol: a list of graph entries and what can be asked of them. Copying a Symbol shares the graph; only `compose` and
// `set_attr` change nodes, and `deep_copy` makes a graph of its own.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "symbol/node.h"

namespace mxnet {

class Symbol {
 public:
  using Named = std::vector<std::pair<std::string, Symbol>>;

  Symbol() = default;
  explicit Symbol(std::vector<Entry> entries) : entries_(std::move(entries)) {}

  // ---- construction ----
  static Symbol variable(const std::string& name, const AttrMap& attrs = {});
  static Symbol group(std::span<const Symbol> symbols);
  // One call of an operator. `attrs` holds parameters as text, and the user's own attributes; inputs by position or by
  // name. Inputs that are not given become variables `<name>_<input>`.
  static Symbol create(const OpDef& op, const AttrMap& attrs, const std::string& name, std::span<const Symbol> inputs,
                       const Named& named_inputs = {});
  // Puts the given symbols in the place of this symbol's variables of these names.
  Symbol compose(const std::string& name, const Named& arguments) const;
  Symbol deep_copy() const { return Symbol(copy_graph(entries_)); }

  // ---- what it is made of ----
  const std::vector<Entry>& entries() const { return entries_; }
  int num_outputs() const { return static_cast<int>(entries_.size()); }
  std::vector<std::string> list_arguments() const;
  std::vector<std::string> list_auxiliary_states() const;
  std::vector<std::string> list_inputs() const;
  std::vector<std::string> list_outputs() const;
  std::optional<std::string> name() const;  // none for a group of several nodes
  Symbol output(int i) const;
  Symbol output(std::string_view name) const;  // raises when there is none of that name
  Symbol internals() const;                    // every visible output of every node
  std::optional<Symbol> children() const;      // the inputs of the head nodes; none for variables
  std::string debug_text() const;

  // ---- attributes ----
  std::optional<std::string> attr(const std::string& key) const;
  // Of the head node, as users see them: `__lr_mult__` also as `lr_mult`.
  AttrMap list_attr() const;
  std::vector<std::pair<std::string, AttrMap>> attr_dict() const;
  void set_attr(const std::string& key, const std::string& value);

  // ---- files ----
  std::string to_json() const;
  static Symbol from_json(std::string_view text);

 private:
  std::vector<Entry> entries_;
};

// The variables of a graph in order, and which of them are auxiliary states.
struct GraphInputs {
  std::vector<Node*> all, arguments, auxiliary;
};
GraphInputs graph_inputs(std::span<const Entry> heads);

}  // namespace mxnet
