// SPDX-License-Identifier: Apache-2.0
// Sums of many gradients (a weight that each step of an unrolled network reads): every term is added to what there is
// as soon as it is computed, by its own kernel where that can, in place of keeping all terms until the last is there.
#pragma once

#include <functional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

class RunningSums {
 public:
  RunningSums() = default;
  // `order`: what is computed, in topological order. `leaving`: entries that are kept or leave the schedule.
  RunningSums(std::span<Node* const> order, const GraphSpecs& specs, const std::function<bool(const Entry&)>& given,
              std::span<const Entry> leaving);

  bool contains(const Node* node) const { return sums_.contains(node); }
  // The sum whose second input the entry is; null if there is none.
  const Node* sum_of(const Node* producer, int index) const;
  // The same nodes, sums and what makes their terms as early as can be.
  std::vector<Node*> early(std::span<Node* const> order) const;

 private:
  std::unordered_set<const Node*> sums_;
  std::unordered_set<const Node*> early_;                              // the sums and what makes their terms
  std::unordered_map<const Node*, std::vector<const Node*>> sums_of_;  // by what computes the term
};

}  // namespace mxnet
