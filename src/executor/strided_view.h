// SPDX-License-Identifier: Apache-2.0
// What operators that only move elements do to positions: where each element of their output lies in their input.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

// A dimension is a product of counts with a step each, the slowest first.
class StridedView {
 public:
  using Factor = std::pair<int64_t, int64_t>;  // count, step
  using Dimension = std::vector<Factor>;

  // All of an array of this shape, in plain order.
  static StridedView of(const Shape& shape);

  // The same elements in another shape; none if a step would have to vary within a factor.
  std::optional<StridedView> reshape(const Shape& shape) const;
  StridedView permute(const std::vector<int>& axes) const;
  // Part `index` of `parts` along an axis.
  std::optional<StridedView> part(int axis, int64_t parts, int64_t index) const;
  // Of a view of all elements of an array: where the array's elements lie in the view's plain order.
  StridedView inverse(const Shape& array) const;

  int rank() const { return static_cast<int>(dimensions_.size()); }
  // Dimensions [first, last) as factors, joined where steps follow each other.
  Dimension factors(int first, int last) const;
  int64_t offset() const { return offset_; }

 private:
  std::vector<Dimension> dimensions_;
  int64_t offset_ = 0;
};

// A field of a node's parameters.
ParamValue parameter(const Node& node, const char* name);

// Its output holds all elements of its input 0, perhaps in another order.
bool only_moves(const Node& node);

// What output `index` of a node is of its input 0. None: it is no such view.
std::optional<StridedView> moved(const StridedView& input, const Node& node, int index, const GraphSpecs& specs);

}  // namespace mxnet
