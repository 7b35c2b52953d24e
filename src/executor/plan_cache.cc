// SPDX-License-Identifier: Apache-2.0
#include "executor/plan_cache.h"

#include <algorithm>

#include "executor/passes.h"
#include "executor/precision_pass.h"
#include "executor/segments.h"

namespace mxnet {

namespace {

constexpr size_t kMaxPlans = 128;

bool matches(const PlanSignature& s, std::span<const NDArray* const> inputs, bool training, bool bound,
             std::span<const uint8_t> needs) {
  if (s.training != training || s.bound != bound ||
      !std::equal(s.needs.begin(), s.needs.end(), needs.begin(), needs.end())) {
    return false;
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const TensorSpec& spec = s.inputs[i];
    const NDArray& array = *inputs[i];
    if (spec.dtype != array.dtype() || spec.layout != array.layout() || !(spec.shape == array.shape())) return false;
  }
  return true;
}

}  // namespace

PlanCache::PlanCache(const Symbol& symbol)
    : symbol_(symbol), variables_(graph_inputs(symbol.entries()).all), precision_(active_precision()) {
  mutated_.assign(variables_.size(), false);
  for (const Node* node : topological_order(symbol_.entries())) {
    if (node->is_variable()) continue;
    plannable_ = plannable_ && can_plan(*node);
    for (size_t i = 0; i < node->inputs.size() && node->op->inputs.mutates_any(); ++i) {
      if (!node->op->is_mutated(*node->params, static_cast<int>(i))) continue;
      const auto at = std::find(variables_.begin(), variables_.end(), node->inputs[i].node.get());
      if (at != variables_.end()) mutated_[static_cast<size_t>(at - variables_.begin())] = true;
    }
  }
}

std::vector<Entry> PlanCache::heads_with_casts(const std::unordered_map<const Node*, TensorSpec>& known) const {
  return precision_ ? place_casts(heads(), known, *precision_) : heads();
}

const std::vector<Entry>& PlanCache::segments() {
  const std::lock_guard lock(mutex_);
  if (segments_.empty()) {
    std::vector<Node*> unchanging;
    for (size_t i = 0; i < unchanging_.size(); ++i) {
      if (unchanging_[i]) unchanging.push_back(variables_[i]);
    }
    segments_ = make_segments(heads(), unchanging);
  }
  return segments_;
}

Ref<Plan> PlanCache::find(std::span<const NDArray* const> inputs, bool training, bool bound,
                          std::span<const uint8_t> needs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (mutated_[i]) inputs[i]->make_plain(true);
  }
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < plans_.size(); ++i) {
    if (!matches(plans_[i]->signature(), inputs, training, bound, needs)) continue;
    if (i)
      std::rotate(plans_.begin(), plans_.begin() + static_cast<ptrdiff_t>(i),
                  plans_.begin() + static_cast<ptrdiff_t>(i) + 1);
    return plans_.front();
  }
  PlanSignature signature;
  for (const NDArray* a : inputs) signature.inputs.push_back({a->shape(), a->dtype(), a->layout()});
  signature.training = training;
  signature.bound = bound;
  signature.needs.assign(needs.begin(), needs.end());
  signature.precision = precision_;
  if (needs.empty()) signature.unchanging = unchanging_;
  Ref<Plan> plan = Plan::compile(heads(), variables_, std::move(signature));
  if (plans_.size() >= kMaxPlans) plans_.pop_back();
  plans_.insert(plans_.begin(), plan);
  return plan;
}

}  // namespace mxnet
