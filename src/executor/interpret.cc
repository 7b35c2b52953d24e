// SPDX-License-Identifier: Apache-2.0
#include "executor/interpret.h"

#include "autograd/tape.h"
#include "symbol/infer.h"

namespace mxnet {

namespace {

void watch_inputs(const Node& node, std::span<const NDArray* const> in, const Watch& watch) {
  for (size_t i = 0; i < in.size(); ++i) {
    const Entry& e = node.inputs[i];
    if (watch.variables && e.node->is_variable()) watch.see(e.node->name, "null", *in[i]);
    watch.see(node.name + "_" + node.op->input_name(*node.params, static_cast<int>(i)), node.op->name, *in[i]);
  }
}

}  // namespace

std::vector<NDArray> interpret(std::span<const Entry> heads, const std::unordered_map<const Node*, NDArray>& feed,
                               Device device, const Watch* watch) {
  const auto order = topological_order(heads);
  std::unordered_map<const Node*, int> uses;  // arrays are dropped after their last reader
  for (const Node* node : order) {
    for (const Entry& in : node->inputs) ++uses[in.node.get()];
  }
  for (const Entry& head : heads) ++uses[head.node.get()];

  std::unordered_map<const Node*, std::vector<NDArray>> values;
  for (const Node* node : order) {
    if (node->is_variable()) {
      const auto it = feed.find(node);
      if (it == feed.end()) fail(ErrorKind::value, "no array was given for variable ", node->name);
      values[node] = {it->second};
      continue;
    }
    std::vector<const NDArray*> in;
    for (const Entry& e : node->inputs) in.push_back(&values.at(e.node.get())[static_cast<size_t>(e.index)]);
    if (watch && watch->inputs) watch_inputs(*node, in, *watch);
    std::vector<NDArray> out(static_cast<size_t>(node->num_outputs()));
    try {
      std::vector<TensorSpec> specs;
      for (const NDArray* a : in) specs.push_back({a->shape(), a->dtype(), Layout::plain});
      autograd::call(broadcasting_operator(*node, specs), node->params, in, out, device);
    } catch (const Error& e) {
      throw Error(e.kind(), "node " + node->name + ": " + e.what());
    }
    for (size_t i = 0; watch && i < out.size(); ++i)
      watch->see(node->output_name(static_cast<int>(i)), node->op->name, out[i]);
    values[node] = std::move(out);
    for (const Entry& e : node->inputs) {
      if (--uses[e.node.get()] == 0) values.erase(e.node.get());
    }
  }
  std::vector<NDArray> out;
  for (const Entry& head : heads) out.push_back(values.at(head.node.get())[static_cast<size_t>(head.index)]);
  return out;
}

}  // namespace mxnet
