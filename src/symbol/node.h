// SPDX-License-Identifier: Apache-2.0
// The graph: one node type for symbols, traces and what the passes build. A node is a variable or one call of an
// operator; an entry is one output of a node.
#pragma once

#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet {

struct Node;

struct Entry {
  Ref<Node> node;
  int index = 0;
  bool operator==(const Entry&) const = default;
};

using AttrMap = std::map<std::string, std::string>;

struct Node : Attachment {
  Node() : Attachment(Kind::graph) {}
  ~Node() override;  // iterative: a chain may be as long as memory allows

  bool is_variable() const { return op == nullptr; }
  const Params& parameters() const { return *params; }
  int num_outputs() const { return op ? op->num_outputs(*params) : 1; }
  int num_all_outputs() const { return op ? op->num_all_outputs(*params) : 1; }
  // "data" for a variable, "fc_output" or "split0_output1" for an operator's output; residuals are "bn_hidden2".
  std::string output_name(int i) const;
  // The text under `key`, with or without the underscores of well-known keys; null if there is none.
  const std::string* attr(const std::string& key) const;

  const OpDef* op = nullptr;  // null: a variable
  std::string name;
  Ref<Params> params;  // null for a variable
  AttrMap attrs;       // parameters as they were written, and the user's own (`__lr_mult__`)
  std::vector<Entry> inputs;
};

// All nodes that `heads` depend on; inputs before users, left to right: MXNet's order of arguments.
std::vector<Node*> topological_order(std::span<const Entry> heads);

// A variable or an operator's node; `params` is never null for an operator.
Ref<Node> make_variable(std::string name, AttrMap attrs = {});
Ref<Node> make_node(const OpDef& op, Ref<Params> params, std::string name, std::vector<Entry> inputs);

// Copies the part of the graph that `heads` depend on. `replace` maps old nodes to entries that stand for their
// output 0 (variables that are given a value); everything else is copied as it is.
std::vector<Entry> copy_graph(std::span<const Entry> heads, const std::unordered_map<const Node*, Entry>& replace = {});

// "lr_mult" -> "__lr_mult__" for the keys that MXNet keeps so; others as they are.
std::string canonical_attr_key(const std::string& key);
bool is_hidden_key(const std::string& key);  // "__x__"

// The text of every parameter that differs from its default.
AttrMap attrs_of(const OpDef& op, const Params& params);

}  // namespace mxnet
