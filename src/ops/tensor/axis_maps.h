// SPDX-License-Identifier: Apache-2.0
// Operators in which output index o[d] along each dimension d depends on one input index only (tile, repeat, pad). The
// forward gathers, the gradient sums for every input element the heads that read it: no atomics, a fixed order.
#pragma once

#include <vector>

#include "operator/kernel.h"

namespace mxnet::ops {

// maps[d][o]: the input index that output index o reads in dimension d.
using AxisMaps = std::vector<std::vector<int64_t>>;

std::unique_ptr<Kernel> gather_maps(const Shape& in, const Shape& out, DType dtype, const AxisMaps& maps);
// Input `head_input` is the head; output 0 has the forward input's shape.
std::unique_ptr<Kernel> sum_maps(const Shape& in, const Shape& out, DType dtype, const AxisMaps& maps, int head_input);

}  // namespace mxnet::ops
