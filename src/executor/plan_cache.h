// SPDX-License-Identifier: Apache-2.0
// The plans of one graph, found by the signature of a call. Bounded; safe from several threads.
#pragma once

#include <mutex>
#include <span>
#include <vector>

#include "executor/plan.h"
#include "symbol/symbol.h"

namespace mxnet {

class PlanCache {
 public:
  explicit PlanCache(const Symbol& symbol);
  // Inputs that few calls find changed: what depends on them alone is computed once where no gradient is wanted.
  void set_unchanging(std::vector<uint8_t> inputs) { unchanging_ = std::move(inputs); }

  const std::vector<Entry>& heads() const { return symbol_.entries(); }
  // With the casts of mixed precision, for inference; `known` gives the types of all variables.
  std::vector<Entry> heads_with_casts(const std::unordered_map<const Node*, TensorSpec>& known) const;
  const std::vector<Node*>& variables() const { return variables_; }  // slot order: Symbol::list_inputs
  size_t num_inputs() const { return variables_.size(); }
  bool is_mutated(size_t input) const { return mutated_[input]; }
  // False if there are operators that no plan can hold (executor/passes.h).
  bool plannable() const { return plannable_; }

  // For graphs that are not plannable: what is run operator by operator, with the parts between cuts as plans.
  const std::vector<Entry>& segments();

  // `needs` is empty when nothing is recorded. Mutated inputs become plain for life.
  Ref<Plan> find(std::span<const NDArray* const> inputs, bool training, bool bound, std::span<const uint8_t> needs);

 private:
  Symbol symbol_;
  std::vector<Node*> variables_;
  const PrecisionPolicy* precision_;  // as it was when the graph was made
  std::vector<bool> mutated_;
  std::vector<uint8_t> unchanging_;
  bool plannable_ = true;
  std::mutex mutex_;
  std::vector<Ref<Plan>> plans_;  // most recently used first
  std::vector<Entry> segments_;   // made when first asked for
};

}  // namespace mxnet
