// SPDX-License-Identifier: Apache-2.0
// Mixed precision in graphs: where casts go, and which of them are not needed.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "operator/precision.h"
#include "symbol/infer.h"

namespace mxnet {

// Each input is cast where the policy asks for another type than it has; an entry is cast once per type. The types of
// all variables must be known; what follows is worked out on the way, because the graph without casts may not fit.
// Where the low type is emulated the graph stays float32, and its outputs get the types that they would have.
std::vector<Entry> place_casts(std::span<const Entry> heads, const std::unordered_map<const Node*, TensorSpec>& known,
                               const PrecisionPolicy& policy);

// The same without types, for symbols: `amp_cast` and `amp_multicast` decide when they run. Nodes of `excluded` names
// are left alone. The variables in `low_variables` that nobody reads as they are become variables of the low type.
struct SymbolicCasts {
  std::set<std::string> excluded, low_variables;
};
std::vector<Entry> place_symbolic_casts(std::span<const Entry> heads, const PrecisionPolicy& policy,
                                        const SymbolicCasts& how);

bool has_casts(std::span<const Entry> heads);

// Drops casts to the type that is there, makes one of two where the first only widened, and names the type of casts
// that take it from another array, which then need not be kept.
std::vector<Entry> simplify_casts(std::span<const Entry> heads, const GraphSpecs& specs);

// A graph without the casts that mixed precision placed.
std::vector<Entry> remove_amp_casts(std::span<const Entry> heads);

}  // namespace mxnet
