// SPDX-License-Identifier: Apache-2.0
// Runs a graph operator by operator on arrays: what plans cannot hold (extents known only from data), monitors, and
// gradients of gradients.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "ndarray/ndarray.h"
#include "symbol/node.h"

namespace mxnet {

// Called for every visible output, and with `inputs` for every input of every operator.
struct Watch {
  std::function<void(const std::string& name, const std::string& op, const NDArray& array)> see;
  bool inputs = false;
  bool variables = true;  // with `inputs`: also each variable under its own name
};

// Calls go through the tape: they are recorded if the calling thread records. `feed` holds the variables' arrays.
std::vector<NDArray> interpret(std::span<const Entry> heads, const std::unordered_map<const Node*, NDArray>& feed,
                               Device device, const Watch* watch = nullptr);

}  // namespace mxnet
