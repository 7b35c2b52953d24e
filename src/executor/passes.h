// SPDX-License-Identifier: Apache-2.0
// Graph -> graph passes. Each returns new heads; nodes of the given graph are not changed.
#pragma once

#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

// Nodes that compute the same from the same inputs become one. Random and mutating operators are left alone.
std::vector<Entry> merge_common_subexpressions(std::span<const Entry> heads);

// Gives operators without inputs (a state that begins with zeros) the shape that inference found for them, so that the
// shapes of what later passes put in the place of their readers need not flow backwards.
std::vector<Entry> settle_shapes(std::span<const Entry> heads, const GraphSpecs& specs);

// Replaces elementwise arithmetic whose operands have different shapes by its broadcasting form.
std::vector<Entry> resolve_broadcasts(std::span<const Entry> heads, const GraphSpecs& specs);

// BatchNorm whose only reader is a relu, or a sum that only a relu reads, becomes one node with it. For training: its
// gradient reads less memory than theirs.
std::vector<Entry> fuse_norm_relu(std::span<const Entry> heads, const GraphSpecs& specs);

// pick of the last dimension of a log_softmax that nothing else reads becomes one node: a loss that never writes its
// log-probabilities.
std::vector<Entry> fuse_pick_log_softmax(std::span<const Entry> heads, const GraphSpecs& specs);

// RNN whose parameters are joined from arrays reads those arrays: neither they nor their gradients are copied.
std::vector<Entry> split_rnn_parameters(std::span<const Entry> heads, const GraphSpecs& specs);

// Puts other nodes in place of those for which `replace` returns one; it has the same outputs and reads entries of the
// given graph that come before the node that it stands for.
std::vector<Entry> replace_nodes(std::span<const Entry> heads, const std::function<Ref<Node>(const Node&)>& replace);

// False for operators that no plan can hold: extents that only data tells, composites.
bool can_plan(const Node& node);

// True for zeros_like and ones_like: of their input only the shape matters.
bool reads_only_shape(const Node& node);

// True for operators that pass input 0 on unchanged: BlockGrad, _copy, Dropout outside training.
bool is_identity(const Node& node, bool training);

}  // namespace mxnet
