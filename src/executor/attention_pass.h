// SPDX-License-Identifier: Apache-2.0
// softmax(scale * batch_dot(q, k')) times v becomes one operator, which reads q, k and v out of the array that they
// were cut from and writes the result in the order that follows it.
#pragma once

#include <span>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

// Where the pattern is float32 and nothing else reads its inner values.
std::vector<Entry> fuse_attention(std::span<const Entry> heads, const GraphSpecs& specs, bool training);

}  // namespace mxnet
