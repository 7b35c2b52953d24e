// SPDX-License-Identifier: Apache-2.0
#include "symbol/control_flow.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace mxnet {

namespace {

constexpr double kMaxNodes = 1 << 16;  // inputs or outputs of one node
constexpr const char* kScope = "__subgraph_name__";

struct Expected {
  int64_t inputs;                               // of the node
  std::vector<std::vector<int64_t>> inputs_of;  // per graph: for each of its inputs that of the node, -1 for none
  std::vector<int64_t> outputs_of;
};

// Raises unless `list` holds positions below `count`.
void check_positions(const char* name, const Shape& list, int64_t count) {
  for (const int64_t at : list) {
    if (at < 0 || at >= count) fail(ErrorKind::value, name, " names ", at, ", there are ", count);
  }
}

std::vector<int64_t> to_list(const Shape& shape) { return {shape.begin(), shape.end()}; }

Expected expected(const ForeachParams& p) {
  std::vector<int64_t> positions;
  for (const Shape* list : {&p.in_data_locs, &p.in_state_locs, &p.remain_locs}) {
    positions.insert(positions.end(), list->begin(), list->end());
  }
  const auto n = static_cast<int64_t>(positions.size());
  std::vector<int64_t> node_input(positions.size(), -1);
  for (size_t i = 0; i < positions.size(); ++i) {
    check_positions("in_data_locs, in_state_locs or remain_locs", {positions[i]}, n);
    node_input[static_cast<size_t>(positions[i])] = static_cast<int64_t>(i);
  }
  return {n, {node_input}, {p.num_outputs}};
}
Expected expected(const WhileParams& p) {
  const int64_t n = p.num_args - 2;
  check_positions("cond_input_locs", p.cond_input_locs, n);
  check_positions("func_input_locs", p.func_input_locs, n);
  check_positions("func_var_locs", p.func_var_locs, p.func_input_locs.rank());
  return {n, {to_list(p.cond_input_locs), to_list(p.func_input_locs)}, {1, p.num_outputs}};
}
Expected expected(const CondParams& p) {
  const int64_t n = p.num_args - 3;
  check_positions("cond_input_locs", p.cond_input_locs, n);
  check_positions("then_input_locs", p.then_input_locs, n);
  check_positions("else_input_locs", p.else_input_locs, n);
  return {n,
          {to_list(p.cond_input_locs), to_list(p.then_input_locs), to_list(p.else_input_locs)},
          {1, p.num_outputs, p.num_outputs}};
}

// Calls f with the typed parameters; false if the operator has no subgraphs.
template <typename F>
bool visit(const OpDef& op, const Params& params, F&& f) {
  if (&op.params == &schema_of<ForeachParams>())
    f(params.as<ForeachParams>());
  else if (&op.params == &schema_of<WhileParams>())
    f(params.as<WhileParams>());
  else if (&op.params == &schema_of<CondParams>())
    f(params.as<CondParams>());
  else
    return false;
  return true;
}

bool is_inside(const Node& node, const std::string& scope) {
  const auto it = node.attrs.find(kScope);
  return !node.is_variable() && it != node.attrs.end() && it->second == scope;
}

struct EntryHash {
  size_t operator()(const Entry& e) const {
    return std::hash<const void*>()(e.node.get()) * 31 + static_cast<size_t>(e.index);
  }
};

}  // namespace

const Subgraphs* subgraphs_of(const OpDef& op, const Params& params) {
  const Subgraphs* found = nullptr;
  visit(op, params, [&](const Subgraphs& typed) { found = &typed; });
  return found;
}

void set_subgraphs(const OpDef& op, Params& params, std::vector<Symbol> graphs) {
  Expected wanted;
  Subgraphs* own = nullptr;
  const bool has_graphs = visit(op, params, [&](const auto& typed) {
    wanted = expected(typed);
    own = &const_cast<std::remove_cvref_t<decltype(typed)>&>(typed);
  });
  if (!has_graphs) fail(ErrorKind::value, op.name, " has no subgraphs, got ", graphs.size());
  if (graphs.size() != wanted.inputs_of.size()) {
    fail(ErrorKind::value, op.name, ": expected ", wanted.inputs_of.size(), " subgraphs, got ", graphs.size());
  }
  own->mutated.assign(static_cast<size_t>(std::max<int64_t>(wanted.inputs, 0)), 0);
  for (size_t g = 0; g < graphs.size(); ++g) {
    const GraphInputs inputs = graph_inputs(graphs[g].entries());
    const std::vector<int64_t>& from = wanted.inputs_of[g];
    const bool all = std::all_of(from.begin(), from.end(), [](int64_t i) { return i >= 0; });
    if (inputs.all.size() != from.size() || !all) {
      fail(ErrorKind::value, op.name, ": subgraph ", g, " has ", inputs.all.size(), " inputs, the parameters place ",
           from.size());
    }
    if (graphs[g].num_outputs() != wanted.outputs_of[g]) {
      fail(ErrorKind::value, op.name, ": subgraph ", g, " has ", graphs[g].num_outputs(), " outputs, expected ",
           wanted.outputs_of[g]);
    }
    for (size_t k = 0; k < from.size(); ++k) {
      const bool writes =
          std::find(inputs.auxiliary.begin(), inputs.auxiliary.end(), inputs.all[k]) != inputs.auxiliary.end();
      own->mutated[static_cast<size_t>(from[k])] |= static_cast<uint8_t>(writes);
    }
  }
  own->graphs = std::move(graphs);
}

SubgraphCut cut_subgraph(const Symbol& outputs, const std::string& scope, std::span<const Symbol> own) {
  std::unordered_map<const Node*, Ref<Node>> inside;
  std::unordered_map<Entry, Ref<Node>, EntryHash> replaced;  // outer entry -> variable
  std::unordered_map<const Node*, SubgraphCut::Input> origin;
  for (size_t i = 0; i < own.size(); ++i) origin[own[i].entries()[0].node.get()].own = static_cast<int>(i);
  const auto moved = [&](const Entry& e) -> Entry {
    if (const auto it = inside.find(e.node.get()); it != inside.end()) return {it->second, e.index};
    if (origin.contains(e.node.get())) return e;
    Ref<Node>& variable = replaced[e];
    if (!variable) {
      variable = e.node->is_variable() ? make_variable(e.node->name, e.node->attrs)
                                       : make_variable(e.node->output_name(e.index));
      origin[variable.get()].outer = e;
    }
    return {variable, 0};
  };
  for (Node* node : topological_order(outputs.entries())) {
    if (!is_inside(*node, scope)) continue;
    auto copy = make_ref<Node>();
    copy->op = node->op;
    copy->name = node->name;
    copy->params = node->params;
    copy->attrs = node->attrs;
    for (const Entry& in : node->inputs) copy->inputs.push_back(moved(in));
    inside[node] = std::move(copy);
  }
  std::vector<Entry> heads;
  for (const Entry& head : outputs.entries()) heads.push_back(moved(head));
  SubgraphCut cut{Symbol(std::move(heads)), {}};
  for (const Node* variable : graph_inputs(cut.graph.entries()).all) cut.inputs.push_back(origin.at(variable));
  return cut;
}

void ForeachParams::declare(ParamSchemaOf<ForeachParams>& s) {
  s.field("num_args", &ForeachParams::num_args, "Number of inputs, and one for the body.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("num_outputs", &ForeachParams::num_outputs, "Number of outputs, states included.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("num_out_data", &ForeachParams::num_out_data, "Number of outputs that are no states.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  constexpr const char* kLocs = "Where the body has these inputs among its own.";
  s.field("in_state_locs", &ForeachParams::in_state_locs, kLocs).type("tuple of <long>").required();
  s.field("in_data_locs", &ForeachParams::in_data_locs, kLocs).type("tuple of <long>").required();
  s.field("remain_locs", &ForeachParams::remain_locs, kLocs).type("tuple of <long>").required();
  s.validate([](const ForeachParams& p) {
    const int64_t inputs = int64_t{p.in_data_locs.rank()} + p.in_state_locs.rank() + p.remain_locs.rank();
    if (p.num_args - 1 != inputs) {
      fail(ErrorKind::value, "num_args is ", p.num_args, ", the positions name ", inputs, " inputs");
    }
    if (p.in_data_locs.rank() < 1) fail(ErrorKind::value, "at least one input must be walked along");
    if (p.num_out_data < 0 || p.num_outputs != p.num_out_data + p.in_state_locs.rank()) {
      fail(ErrorKind::value, "num_outputs must be num_out_data and the number of states, got ", p.num_outputs);
    }
  });
}

void WhileParams::declare(ParamSchemaOf<WhileParams>& s) {
  s.field("num_args", &WhileParams::num_args, "Number of inputs, and two for the graphs.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("num_outputs", &WhileParams::num_outputs, "Number of outputs, variables included.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("num_out_data", &WhileParams::num_out_data, "Number of outputs that are no variables.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("max_iterations", &WhileParams::max_iterations, "The most steps that are run.")
      .type("int")
      .range(0, 2147483647)
      .required();
  constexpr const char* kLocs = "The inputs that the graph reads, in its order.";
  s.field("cond_input_locs", &WhileParams::cond_input_locs, kLocs).type("tuple of <long>").required();
  s.field("func_input_locs", &WhileParams::func_input_locs, kLocs).type("tuple of <long>").required();
  s.field("func_var_locs", &WhileParams::func_var_locs, "Where the step has the loop variables among its inputs.")
      .type("tuple of <long>")
      .required();
  s.validate([](const WhileParams& p) {
    if (p.num_out_data < 0 || p.num_outputs != p.num_out_data + p.func_var_locs.rank() || p.func_var_locs.rank() < 1) {
      fail(ErrorKind::value, "num_outputs must be num_out_data and the number of loop variables, got ", p.num_outputs);
    }
    expected(p);
  });
}

void CondParams::declare(ParamSchemaOf<CondParams>& s) {
  s.field("num_args", &CondParams::num_args, "Number of inputs, and three for the graphs.")
      .type("int")
      .range(0, kMaxNodes)
      .required();
  s.field("num_outputs", &CondParams::num_outputs, "Number of outputs.").type("int").range(1, kMaxNodes).required();
  constexpr const char* kLocs = "The inputs that the graph reads, in its order.";
  s.field("cond_input_locs", &CondParams::cond_input_locs, kLocs).type("tuple of <long>").required();
  s.field("then_input_locs", &CondParams::then_input_locs, kLocs).type("tuple of <long>").required();
  s.field("else_input_locs", &CondParams::else_input_locs, kLocs).type("tuple of <long>").required();
  s.validate([](const CondParams& p) { expected(p); });
}

}  // namespace mxnet
