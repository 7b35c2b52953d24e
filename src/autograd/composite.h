// SPDX-License-Identifier: Apache-2.0
// Composites: operators without kernels, and calls that an operator's `composed` picks. A call of one runs other
// operators on arrays (loops, branches) or code of the program (Custom). What it runs is recorded as it goes; a plan
// never contains one.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet::autograd {

struct Composite {
  // `out` holds one none handle per visible output, all of which it sets. Runs on the calling thread with its flags,
  // and may wait.
  using Run = void (*)(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                       std::span<NDArray> out, Device device);
  Run run;
  // Whether its outputs need no head gradients (losses). Null: they do.
  bool (*is_loss)(const Params& params) = nullptr;
  // Null: as for other operators.
  std::vector<std::string> (*output_names)(const Params& params) = nullptr;
};

// Beside the operator's own registration, which has no kernels or says which calls are composed.
class RegisterComposite {
 public:
  RegisterComposite(const char* op, Composite composite);
};

inline bool is_composite(const OpDef& op, const Params& params) {
  return op.kernels.empty() || (op.composed && op.composed(params));
}
const Composite& composite_of(const OpDef& op);

// Checks the inputs, runs, and writes to the arrays that the caller brought.
void run_composite(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                   std::span<NDArray> out, Device device);

// For steps: hands a gradient over, as a new array or written or added to the one that was given.
void deliver(NDArray& target, const NDArray& value, Req req);

}  // namespace mxnet::autograd
