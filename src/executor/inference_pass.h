// SPDX-License-Identifier: Apache-2.0
// Graph -> graph passes for plans that run outside training and record nothing. Each returns new heads; nodes of the
// given graph are not changed. The results differ from those of the graph as given by rounding only.
#pragma once

#include <span>
#include <unordered_set>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

struct InferenceGraph {
  std::span<const Entry> heads;
  const GraphSpecs& specs;
  const std::unordered_set<const Node*>& unchanging;  // variables that few calls find changed
};

// A BatchNorm that alone reads a convolution, a deconvolution or a fully connected layer goes into its weights and
// bias, if all of them are unchanging.
std::vector<Entry> fold_batch_norms(const InferenceGraph& graph);

// Other BatchNorms of unchanging statistics become a product and a sum, which fuse with what is elementwise beside
// them.
std::vector<Entry> expand_batch_norms(const InferenceGraph& graph);

// A convolution takes in the sum and the activation that alone read it.
std::vector<Entry> fuse_convolutions(const InferenceGraph& graph);

}  // namespace mxnet
