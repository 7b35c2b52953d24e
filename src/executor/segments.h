// SPDX-License-Identifier: Apache-2.0
// What a plan cannot hold cuts a graph: loops, branches, code of the program, extents that only data tells. What lies
// between is compiled all the same.
#pragma once

#include <span>
#include <vector>

#include "symbol/node.h"

namespace mxnet {

// The graph with connected work between such nodes put into nodes of their own, each of which runs as a plan. Variables
// stay the same nodes. `unchanging` are parameters, which few calls find changed.
std::vector<Entry> make_segments(std::span<const Entry> heads, std::span<Node* const> unchanging);

}  // namespace mxnet
