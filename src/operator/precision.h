// SPDX-License-Identifier: Apache-2.0
// Mixed precision: which inputs an operator reads in another floating point type. The classes stand in the operators'
// records; a policy names the low type and may move single operators to another class.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "operator/op.h"

namespace mxnet {

class PrecisionPolicy {
 public:
  // Calls of `op` whose parameter `name` has one of these texts are Precision::full.
  struct Condition {
    std::string name;
    std::vector<std::string> values;
  };

  // `emulated`: no arithmetic in the low type on this processor. Operators of class low then compute in float32 and
  // only their results are rounded to the low type; graphs round only what leaves them.
  explicit PrecisionPolicy(DType low, bool emulated = false) : low_(low), emulated_(emulated) {}
  void set(const OpDef& op, Precision precision) { classes_[&op] = precision; }
  void add_condition(const OpDef& op, Condition condition) { conditions_.emplace(&op, std::move(condition)); }

  DType low() const { return low_; }
  bool emulated() const { return emulated_; }
  // The same choices with another low type, computed in that type.
  PrecisionPolicy with_low(DType low) const;
  Precision class_of(const OpDef& op, const Params& params) const;

  // The type that each input is read in, given the types as they are. Only float16, bfloat16 and float32 change;
  // written inputs never do.
  struct Decision {
    bool casts = false;             // some input is read in another type
    DType result = DType::unknown;  // floating point results are cast to it; unknown: they stay
  };
  Decision decide(const OpDef& op, const Params& params, std::span<const DType> given, std::span<DType> wanted) const;

 private:
  DType low_;
  bool emulated_;
  std::unordered_map<const OpDef*, Precision> classes_;
  std::unordered_multimap<const OpDef*, Condition> conditions_;
};

// The policy of this process: null until mixed precision is switched on. What was active stays valid for ever.
const PrecisionPolicy* active_precision();
void activate_precision(PrecisionPolicy policy);
void deactivate_precision();  // for tests

// Whether this processor multiplies matrices of that type.
bool has_arithmetic(DType dtype);

// Parameters of an operator that casts to `dtype`.
Ref<Params> cast_params(const OpDef& op, DType dtype);

}  // namespace mxnet
