// SPDX-License-Identifier: Apache-2.0
// Steps of a schedule that no node stands for: copies, reorders, sums into an array, fills.
#pragma once

#include <string>

#include "executor/schedule.h"

namespace mxnet {

// From one value to another of the same shape: a copy, a change of layout, or with `add` a sum.
PlanStep make_copy_step(const std::string& name, const TensorSpec& spec, Layout target, Req req);
// To or from a sparse array.
PlanStep make_sparse_step(const std::string& name, const TensorSpec& spec, StorageType target, Req req, bool training,
                          int team);
// What an operator that reads no more than a shape gives: ones or zeros.
PlanStep make_fill_step(const Node& node, const TensorSpec& spec);

}  // namespace mxnet
