// SPDX-License-Identifier: Apache-2.0
// Sums over all axes but one: the gradient of a bias.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace mxnet::nn {

// to[c] (+)= sum over outer o and inner i of from[o][c][i].
void sum_to_channels(const void* from, void* to, DType dtype, int64_t outer, int64_t channels, int64_t inner, bool add);

}  // namespace mxnet::nn
