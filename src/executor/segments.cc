// SPDX-License-Identifier: Apache-2.0
#include "executor/segments.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "autograd/composite.h"
#include "executor/cached_op.h"
#include "executor/passes.h"

namespace mxnet {

namespace {

struct SegmentParams {
  Ref<CachedOp> graph;
  int num_inputs = 0;
  static void declare(ParamSchemaOf<SegmentParams>&) {}
};

void nothing(InferContext&) {}

void run_segment(const OpDef&, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
                 Device) {
  params->as<SegmentParams>().graph->call(in, out);
}

const RegisterOp segment{{
    .name = "_segment",
    .doc = "A part of a graph that runs as a plan.",
    .params = schema_of<SegmentParams>(),
    .inputs = Inputs({}, [](const Params& p) { return p.as<SegmentParams>().num_inputs; }),
    .outputs = Outputs([](const Params& p) {
      const auto& graph = p.as<SegmentParams>().graph;
      return graph ? static_cast<int>(graph->num_outputs()) : 1;
    }),
    .infer = {nothing, nothing},
    .gradient = Gradient::none(),
    .kernels = {},
    .flags = {.hidden = true},
}};
const autograd::RegisterComposite segment_runs{"_segment", {run_segment}};

struct EntryHash {
  size_t operator()(const Entry& e) const {
    return std::hash<const void*>()(e.node.get()) * 31 + static_cast<size_t>(e.index);
  }
};

// Nodes that plans can hold are grouped by how many cuts lie before them: a group reads earlier groups and cuts only.
class Cutter {
 public:
  Cutter(std::span<const Entry> heads, std::span<Node* const> unchanging)
      : heads_(heads.begin(), heads.end()), unchanging_(unchanging.begin(), unchanging.end()) {
    for (Node* node : topological_order(heads)) {
      if (node->is_variable()) continue;
      const bool cut = !can_plan(*node);
      int level = 0;
      for (const Entry& in : node->inputs) {
        if (!in.node->is_variable()) level = std::max(level, level_.at(in.node.get()));
      }
      level_[node] = level + cut;
      auto& list = cut ? cuts_ : groups_;
      if (static_cast<int>(list.size()) <= level + cut) list.resize(static_cast<size_t>(level + cut) + 1);
      list[static_cast<size_t>(level + cut)].push_back(node);
    }
  }

  std::vector<Entry> run() {
    const size_t levels = std::max(cuts_.size(), groups_.size());
    for (size_t level = 0; level < levels; ++level) {
      if (level < cuts_.size()) {
        for (Node* node : cuts_[level]) move_alone(*node);
      }
      if (level >= groups_.size()) continue;
      if (groups_[level].size() < 2) {
        for (Node* node : groups_[level]) move_alone(*node);
      } else {
        make_group(groups_[level]);
      }
    }
    std::vector<Entry> out;
    for (const Entry& head : heads_) out.push_back(moved(head));
    return out;
  }

 private:
  Entry moved(const Entry& e) const { return e.node->is_variable() ? e : moved_.at(e); }

  void move_alone(const Node& node) {
    std::vector<Entry> inputs;
    for (const Entry& in : node.inputs) inputs.push_back(moved(in));
    const Ref<Node> made = make_node(*node.op, node.params, node.name, std::move(inputs));
    made->attrs = node.attrs;
    for (int i = 0; i < node.num_outputs(); ++i) moved_[{Ref<Node>(const_cast<Node*>(&node)), i}] = {made, i};
  }

  // What others read of these nodes.
  std::vector<Entry> read_outside(const std::vector<Node*>& group) const {
    const std::unordered_set<const Node*> inside(group.begin(), group.end());
    std::unordered_set<Entry, EntryHash> wanted;
    const auto want = [&](const Entry& e) {
      if (inside.contains(e.node.get())) wanted.insert(e);
    };
    for (const Node* node : topological_order(heads_)) {
      if (inside.contains(node)) continue;
      for (const Entry& in : node->inputs) want(in);
    }
    for (const Entry& head : heads_) want(head);
    std::vector<Entry> list;
    for (Node* node : group) {
      for (int i = 0; i < node->num_outputs(); ++i) {
        if (wanted.contains({Ref<Node>(node), i})) list.push_back({Ref<Node>(node), i});
      }
    }
    return list;
  }

  void make_group(const std::vector<Node*>& group) {
    const std::unordered_set<const Node*> inside(group.begin(), group.end());
    std::unordered_map<Entry, Ref<Node>, EntryHash> variables;  // what comes from outside
    std::unordered_map<const Node*, Entry> origin;
    std::unordered_map<const Node*, Ref<Node>> copies;
    const auto inner = [&](const Entry& e) -> Entry {
      if (inside.contains(e.node.get())) return {copies.at(e.node.get()), e.index};
      Ref<Node>& variable = variables[e];
      if (!variable) {
        variable = make_variable(e.node->is_variable() ? e.node->name : e.node->output_name(e.index));
        origin[variable.get()] = e;
      }
      return {variable, 0};
    };
    for (Node* node : group) {
      std::vector<Entry> inputs;
      for (const Entry& in : node->inputs) inputs.push_back(inner(in));
      Ref<Node> copy = make_node(*node->op, node->params, node->name, std::move(inputs));
      copy->attrs = node->attrs;
      copies[node] = std::move(copy);
    }
    const std::vector<Entry> outputs = read_outside(group);
    std::vector<Entry> graph_heads, inputs;
    for (const Entry& e : outputs) graph_heads.push_back(inner(e));
    const Symbol graph(std::move(graph_heads));
    std::string parameters;
    for (const Node* variable : graph_inputs(graph.entries()).all) {
      const Entry& outer = origin.at(variable);
      if (unchanging_.contains(outer.node.get())) parameters += (parameters.empty() ? "" : ", ") + str(inputs.size());
      inputs.push_back(moved(outer));
    }
    SegmentParams params;
    params.graph = make_ref<CachedOp>(graph, CachedOp::Flags{{"param_indices", "[" + parameters + "]"}});
    params.num_inputs = static_cast<int>(inputs.size());
    const Ref<Node> made =
        make_node(segment_op(), make_params<SegmentParams>(std::move(params)), group.back()->name, std::move(inputs));
    for (size_t i = 0; i < outputs.size(); ++i) moved_[outputs[i]] = {made, static_cast<int>(i)};
  }

  static const OpDef& segment_op() {
    static const OpDef& op = get_op("_segment");
    return op;
  }

  std::vector<Entry> heads_;
  std::unordered_set<const Node*> unchanging_;
  std::unordered_map<const Node*, int> level_;
  std::vector<std::vector<Node*>> cuts_, groups_;  // by level
  std::unordered_map<Entry, Entry, EntryHash> moved_;
};

}  // namespace

std::vector<Entry> make_segments(std::span<const Entry> heads, std::span<Node* const> unchanging) {
  return Cutter(heads, unchanging).run();
}

}  // namespace mxnet
