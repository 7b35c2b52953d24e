// SPDX-License-Identifier: Apache-2.0
#include "executor/running_sums.h"

#include <algorithm>
#include <map>

#include "simple_op/elementwise.h"

namespace mxnet {

RunningSums::RunningSums(std::span<Node* const> order, const GraphSpecs& specs,
                         const std::function<bool(const Entry&)>& given, std::span<const Entry> leaving) {
  std::map<std::pair<const Node*, int>, int> readers;
  for (const Node* node : order) {
    for (const Entry& in : node->inputs) ++readers[{in.node.get(), in.index}];
  }
  for (const Entry& e : leaving) ++readers[{e.node.get(), e.index}];

  const std::unordered_set<const Node*> computed(order.begin(), order.end());
  const auto only_added = [&](const Entry& e, const Node& sum) {
    const TensorSpec& spec = specs.at(e);
    return computed.contains(e.node.get()) && !given(e) && readers.at({e.node.get(), e.index}) == 1 &&
           spec.shape == specs.of.at(&sum)[0].shape && spec.dtype == specs.of.at(&sum)[0].dtype;
  };
  std::unordered_set<const Node*> candidates;
  for (const Node* node : order) {
    if (node->op->name != "elemwise_add") continue;
    const Node& term = *node->inputs[1].node;
    if (term.is_variable() || elementwise_info(*term.op)) continue;
    if (only_added(node->inputs[0], *node) && only_added(node->inputs[1], *node)) candidates.insert(node);
  }
  // A single sum is better fused with what reads it.
  for (const Node* node : candidates) {
    const Node* before = node->inputs[0].node.get();
    if (candidates.contains(before)) sums_.insert({before, node});
  }
  for (const Node* node : sums_) {
    sums_of_[node->inputs[1].node.get()].push_back(node);
    for (const Entry& in : node->inputs) early_.insert(in.node.get());
  }
  early_.insert(sums_.begin(), sums_.end());
}

const Node* RunningSums::sum_of(const Node* producer, int index) const {
  const auto found = sums_of_.find(producer);
  if (found == sums_of_.end()) return nullptr;
  for (const Node* sum : found->second) {
    if (sum->inputs[1].index == index) return sum;
  }
  return nullptr;
}

// Whatever makes a term comes as early as it can, too: else the terms might come in another order than the sums.
std::vector<Node*> RunningSums::early(std::span<Node* const> order) const {
  if (sums_.empty()) return {order.begin(), order.end()};
  const std::unordered_set<const Node*> computed(order.begin(), order.end());
  std::unordered_map<const Node*, std::vector<Node*>> readers;  // those that come early, by what they read
  for (Node* node : order) {
    if (!early_.contains(node)) continue;
    for (const Entry& in : node->inputs) readers[in.node.get()].push_back(node);
  }
  std::vector<Node*> result, pending;
  std::unordered_set<const Node*> placed;
  const auto ready = [&](const Node* node) {
    return !placed.contains(node) && std::all_of(node->inputs.begin(), node->inputs.end(), [&](const Entry& in) {
      return placed.contains(in.node.get()) || !computed.contains(in.node.get());
    });
  };
  for (Node* node : order) {
    pending.push_back(node);
    while (!pending.empty()) {
      Node* next = pending.back();
      pending.pop_back();
      if (!placed.insert(next).second) continue;
      result.push_back(next);
      const auto found = readers.find(next);
      if (found == readers.end()) continue;
      std::copy_if(found->second.begin(), found->second.end(), std::back_inserter(pending), ready);
    }
  }
  return result;
}

}  // namespace mxnet
