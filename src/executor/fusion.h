// SPDX-License-Identifier: Apache-2.0
// Elementwise fusion: neighbouring elementwise operators over one shape run as one program, so that what passes between
// them stays in registers and first-level cache.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "operator/kernel.h"
#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

// What runs together, in order. Most units hold one node.
using Unit = std::vector<Node*>;

// Groups the nodes, which are in topological order, and orders the groups so that each comes after what it reads.
// `given` tells which entries are not computed by these nodes, `alone` which nodes stay in a unit of their own.
std::vector<Unit> fuse_elementwise(std::span<Node* const> order, const GraphSpecs& specs,
                                   const std::function<bool(const Entry&)>& given,
                                   const std::function<bool(const Node*)>& alone);

// One kernel for a unit of several nodes. `in` are the entries it reads from outside, with layouts; all of the shape of
// the outputs must have one layout. `outputs` are those of its entries that are stored.
struct FusedKernelArgs {
  const Unit& unit;
  std::span<const Entry> inputs;
  std::span<const TensorSpec> in;
  std::span<const Entry> outputs;
  std::span<const TensorSpec> out;
  std::span<const Req> req;
  const GraphSpecs& specs;
};
std::unique_ptr<Kernel> make_fused_kernel(const FusedKernelArgs& args);

}  // namespace mxnet
