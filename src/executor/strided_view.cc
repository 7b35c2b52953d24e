// SPDX-License-Identifier: Apache-2.0
#include "executor/strided_view.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace mxnet {

StridedView StridedView::of(const Shape& shape) {
  StridedView view;
  for (int i = 0; i < shape.rank(); ++i) view.dimensions_.push_back({{shape[i], shape.size(i + 1, shape.rank())}});
  return view;
}

StridedView::Dimension StridedView::factors(int first, int last) const {
  Dimension all;
  for (int i = first; i < last; ++i) {
    for (const Factor& f : dimensions_[static_cast<size_t>(i)]) {
      if (f.first == 1) continue;
      if (!all.empty() && all.back().second == f.first * f.second)
        all.back() = {all.back().first * f.first, f.second};
      else
        all.push_back(f);
    }
  }
  return all;
}

std::optional<StridedView> StridedView::reshape(const Shape& shape) const {
  Dimension left = factors(0, rank());
  std::reverse(left.begin(), left.end());
  StridedView view;
  view.offset_ = offset_;
  for (int i = 0; i < shape.rank(); ++i) {
    Dimension dimension;
    for (int64_t rest = shape[i]; rest > 1;) {
      if (left.empty()) return {};
      const auto [count, step] = left.back();
      left.pop_back();
      const int64_t taken = std::gcd(rest, count);
      if (taken != rest && taken != count) return {};
      const int64_t inner = count / taken;
      dimension.emplace_back(taken, step * inner);
      if (inner > 1) left.emplace_back(inner, step);
      rest /= taken;
    }
    view.dimensions_.push_back(std::move(dimension));
  }
  if (!left.empty()) return {};
  return view;
}

StridedView StridedView::permute(const std::vector<int>& axes) const {
  StridedView view;
  view.offset_ = offset_;
  for (const int axis : axes) view.dimensions_.push_back(dimensions_[static_cast<size_t>(axis)]);
  return view;
}

std::optional<StridedView> StridedView::part(int axis, int64_t parts, int64_t index) const {
  StridedView view = *this;
  Dimension& dimension = view.dimensions_[static_cast<size_t>(axis)];
  dimension = factors(axis, axis + 1);
  if (parts == 1) return view;
  if (dimension.empty() || dimension[0].first % parts != 0) return {};
  auto& [count, step] = dimension[0];
  count /= parts;
  view.offset_ += index * count * step;
  return view;
}

StridedView StridedView::inverse(const Shape& array) const {
  // Pairs of (step in the array, count, step in the view), the slowest of the array first.
  struct Both {
    int64_t array_step, count, view_step;
  };
  std::vector<Both> all;
  int64_t step = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    const Dimension& dimension = dimensions_[static_cast<size_t>(i)];
    for (auto f = dimension.rbegin(); f != dimension.rend(); ++f) {
      all.push_back({f->second, f->first, step});
      step *= f->first;
    }
  }
  std::sort(all.begin(), all.end(), [](const Both& a, const Both& b) {
    return a.array_step != b.array_step ? a.array_step > b.array_step : a.count > b.count;
  });
  StridedView flat;
  for (const Both& b : all) flat.dimensions_.push_back({{b.count, b.view_step}});
  std::optional<StridedView> result = flat.reshape(array);
  if (!result) fail("a permutation of an array does not fit its shape");
  return *std::move(result);
}

ParamValue parameter(const Node& node, const char* name) {
  const ParamSchema& schema = node.params->schema();
  return schema.fields()[static_cast<size_t>(schema.find(name))].get(node.params->raw());
}

bool only_moves(const Node& node) {
  return node.op->flags.view_like || node.op->name == "transpose" || node.op->name == "SwapAxis";
}

namespace {

int axis_of(const Node& node, const char* name, int rank) {
  return normalize_axis(std::get<int64_t>(parameter(node, name)), rank, node.op->name.c_str());
}

std::vector<int> order_of(const Node& node, int rank) {
  std::vector<int> axes(static_cast<size_t>(rank));
  std::iota(axes.begin(), axes.end(), 0);
  if (node.op->name == "SwapAxis") {
    std::swap(axes[static_cast<size_t>(axis_of(node, "dim1", rank))],
              axes[static_cast<size_t>(axis_of(node, "dim2", rank))]);
    return axes;
  }
  const ParamValue given = parameter(node, "axes");
  const auto* list = std::get_if<ParamList>(&given);
  if (!list || list->empty()) return {axes.rbegin(), axes.rend()};
  for (size_t i = 0; i < axes.size(); ++i) {
    axes[i] = normalize_axis(std::get<int64_t>((*list)[i]), rank, node.op->name.c_str());
  }
  return axes;
}

}  // namespace

std::optional<StridedView> moved(const StridedView& input, const Node& node, int index, const GraphSpecs& specs) {
  const std::string& name = node.op->name;
  const Shape& out = specs.of.at(&node)[static_cast<size_t>(index)].shape;
  if (node.op->flags.view_like && index == 0) return input.reshape(out);
  if (name == "transpose" || name == "SwapAxis") return input.permute(order_of(node, input.rank()));
  if (name != "SliceChannel") return {};
  const int64_t parts = std::get<int64_t>(parameter(node, "num_outputs"));
  const auto cut = input.part(axis_of(node, "axis", input.rank()), parts, index);
  return cut ? cut->reshape(out) : std::nullopt;
}

}  // namespace mxnet
