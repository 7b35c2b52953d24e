// SPDX-License-Identifier: Apache-2.0
// FullyConnected, an activation and a sum that follow each other become one operator, for plans without gradients.
#pragma once

#include <span>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

std::vector<Entry> fuse_dense(std::span<const Entry> heads, const GraphSpecs& specs);

}  // namespace mxnet
