// SPDX-License-Identifier: Apache-2.0
// Looks at the tape: what computed an array.
#pragma once

#include <span>

#include "autograd/tape.h"

namespace mxnet::autograd {

struct Step {
  const void* id = nullptr;  // null: nothing recorded computed the array
  const OpDef* op = nullptr;
  Ref<Params> params;
  Ref<CustomStep> custom;           // set where `op` is not
  std::span<const NDArray> inputs;  // valid while the array lives and its graph was not walked by a backward
  int output = 0;                   // the array is this output
};

Step step_of(const NDArray& array);
// What all handles of a marked variable share; null for other arrays.
const void* variable_of(const NDArray& array);

}  // namespace mxnet::autograd
