// SPDX-License-Identifier: Apache-2.0
#include "autograd/history.h"

#include "autograd/node.h"

namespace mxnet::autograd {

Step step_of(const NDArray& array) {
  const TapeEntry* entry = active_entry(array);
  if (!entry || !entry->node) return {};
  const TapeNode& node = *entry->node;
  return {&node, node.op, node.params, node.custom, {node.inputs.data(), node.inputs.size()}, entry->index};
}

const void* variable_of(const NDArray& array) {
  const TapeEntry* entry = active_entry(array);
  return entry && !entry->node ? entry : nullptr;
}

}  // namespace mxnet::autograd
