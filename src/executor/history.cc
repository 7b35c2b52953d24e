// SPDX-License-Identifier: Apache-2.0
#include "executor/history.h"

#include <unordered_map>

#include "autograd/history.h"

namespace mxnet {

namespace {

class Recorder {
 public:
  // Iterative: tapes may be 100,000 steps long.
  Entry entry(const NDArray& array) {
    std::vector<std::pair<autograd::Step, size_t>> stack;
    const auto open = [&](const NDArray& a) {
      autograd::Step step = autograd::step_of(a);
      if (step.id && !done_.contains(step.id)) stack.emplace_back(std::move(step), 0);
    };
    open(array);
    while (!stack.empty()) {
      auto& [step, next] = stack.back();
      if (next < step.inputs.size()) {
        open(step.inputs[next++]);
        continue;
      }
      if (!done_.contains(step.id)) close(step);
      stack.pop_back();
    }
    return find(array);
  }

 private:
  void close(const autograd::Step& step) {
    std::vector<Entry> inputs, outputs;
    for (const NDArray& a : step.inputs) inputs.push_back(find(a));
    if (step.op) {
      const Ref<Node> node = make_node(*step.op, step.params, str("node_", nodes_++), std::move(inputs));
      node->attrs = attrs_of(*step.op, *step.params);
      for (int i = 0; i < node->num_outputs(); ++i) outputs.push_back({node, i});
    } else {
      const auto* graph = dynamic_cast<const GraphStep*>(step.custom.get());
      if (!graph) fail(ErrorKind::not_supported, "get_symbol: ", step.custom->name(), " is no operator of a symbol");
      std::unordered_map<const Node*, Entry> replace;
      for (size_t i = 0; i < inputs.size(); ++i) replace[graph->variables()[i].get()] = inputs[i];
      outputs = copy_graph(graph->heads(), replace);
    }
    done_[step.id] = std::move(outputs);
  }

  Entry find(const NDArray& array) {
    const autograd::Step step = autograd::step_of(array);
    if (step.id) return done_.at(step.id)[static_cast<size_t>(step.output)];
    if (const void* variable = autograd::variable_of(array)) {
      Ref<Node>& node = variables_[variable];
      if (!node) node = make_variable(str("var", variables_.size() - 1));
      return {node, 0};
    }
    for (const auto& [known, node] : others_) {
      if (!array.is_none() && known.same_window(array)) return {node, 0};
    }
    others_.emplace_back(array, make_variable(str("null", others_.size())));
    return {others_.back().second, 0};
  }

  std::unordered_map<const void*, std::vector<Entry>> done_;
  std::unordered_map<const void*, Ref<Node>> variables_;
  std::vector<std::pair<NDArray, Ref<Node>>> others_;
  int nodes_ = 0;
};

}  // namespace

Symbol recorded_symbol(const NDArray& array) { return Symbol({Recorder().entry(array)}); }

}  // namespace mxnet
