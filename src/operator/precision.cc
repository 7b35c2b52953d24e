// SPDX-License-Identifier: Apache-2.0
#include "operator/precision.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "backend/cpu/onednn.h"

namespace mxnet {
namespace {

std::atomic<const PrecisionPolicy*> active{nullptr};

// float64 and integers are the program's own choice.
bool takes_part(DType t) { return t == DType::f32 || is_half(t); }

DType widest_of(const OpDef& op, const Params& params, std::span<const DType> given) {
  DType widest = DType::unknown;
  for (size_t i = 0; i < given.size(); ++i) {
    const DType t = given[i];
    if (!is_float(t) || !op.may_cast(params, static_cast<int>(i))) continue;
    const bool mixed_halves = is_half(t) && is_half(widest) && t != widest;
    if (mixed_halves)
      widest = DType::f32;
    else if (widest == DType::unknown || size_of(t) > size_of(widest))
      widest = t;
  }
  return widest;
}

}  // namespace

Precision PrecisionPolicy::class_of(const OpDef& op, const Params& params) const {
  const auto [first, last] = conditions_.equal_range(&op);
  for (auto it = first; it != last; ++it) {
    const int field = op.params.find(it->second.name);
    const auto& values = it->second.values;
    const std::string text =
        field < 0 ? "" : param_text(op.params.fields()[static_cast<size_t>(field)].get(params.raw()));
    if (field >= 0 && std::find(values.begin(), values.end(), text) != values.end()) return Precision::full;
  }
  const auto known = classes_.find(&op);
  if (known != classes_.end()) return known->second;
  return op.full_precision && op.full_precision(params) ? Precision::full : op.flags.precision;
}

PrecisionPolicy PrecisionPolicy::with_low(DType low) const {
  PrecisionPolicy policy = *this;
  policy.low_ = low;
  policy.emulated_ = false;
  return policy;
}

PrecisionPolicy::Decision PrecisionPolicy::decide(const OpDef& op, const Params& params, std::span<const DType> given,
                                                  std::span<DType> wanted) const {
  std::copy(given.begin(), given.end(), wanted.begin());
  const Precision precision = class_of(op, params);
  if (precision == Precision::any) return {};
  // Beside float64 the low type would be a mix that no kernel takes.
  if (precision == Precision::low && std::find(given.begin(), given.end(), DType::f64) != given.end()) return {};
  DType target = precision == Precision::low && !emulated_ ? low_ : DType::f32;
  if (precision == Precision::widest) target = widest_of(op, params, given);
  Decision decision;
  for (size_t i = 0; i < given.size(); ++i) {
    if (!takes_part(given[i]) || !op.may_cast(params, static_cast<int>(i))) continue;
    if (precision == Precision::low && emulated_) decision.result = low_;
    if (given[i] == target) continue;
    wanted[i] = target;
    decision.casts = true;
  }
  return decision;
}

const PrecisionPolicy* active_precision() { return active.load(std::memory_order_acquire); }

void activate_precision(PrecisionPolicy policy) {
  // Calls on other threads may still read the one before.
  active.store(std::make_unique<PrecisionPolicy>(std::move(policy)).release(), std::memory_order_release);
}

void deactivate_precision() { active.store(nullptr, std::memory_order_release); }

bool has_arithmetic(DType dtype) { return onednn::computes(dtype); }

Ref<Params> cast_params(const OpDef& op, DType dtype) {
  return op.params.parse(op.name, {{"dtype", std::string(name_of(dtype))}});
}

}  // namespace mxnet
