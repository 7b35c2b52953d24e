// SPDX-License-Identifier: Apache-2.0
#include "executor/attention_pass.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <unordered_map>

#include "executor/passes.h"
#include "executor/strided_view.h"
#include "ops/nn/attention.h"

namespace mxnet {
namespace {

// An operand and the array that its elements lie in.
struct Source {
  Entry array;
  StridedView view;
};

class Finder {
 public:
  Finder(std::span<const Entry> heads, const GraphSpecs& specs, bool training)
      : specs_(specs), training_(training), order_(topological_order(heads)) {
    for (Node* node : order_) {
      for (const Entry& in : node->inputs) readers_[key(in)].push_back(node);
    }
    for (const Entry& head : heads) readers_[key(head)].push_back(nullptr);
  }

  // The node whose output the new one computes, and the new one (over the old graph's entries).
  std::map<const Node*, Ref<Node>> run() {
    std::map<const Node*, Ref<Node>> found;
    for (Node* node : order_) {
      if (!node->is_variable() && node->op->name == "batch_dot") match(*node, found);
    }
    return found;
  }

 private:
  using Key = std::pair<const Node*, int>;
  static Key key(const Entry& e) { return {e.node.get(), e.index}; }
  bool read_once(const Entry& e) const { return readers_.at(key(e)).size() == 1; }
  const Shape& shape(const Entry& e) const { return specs_.at(e).shape; }

  static bool flag(const Node& node, const char* name) { return std::get<bool>(parameter(node, name)); }
  static double number(const ParamValue& value) {
    if (const auto* whole = std::get_if<int64_t>(&value)) return static_cast<double>(*whole);
    if (const auto* real = std::get_if<double>(&value)) return *real;
    return value.is_none() ? 1 : 0;
  }

  // Factors and identities between `e` and what it is made of: multiplies `scale` and returns the latter.
  Entry strip(Entry e, double& scale) const {
    while (!e.node->is_variable() && read_once(e)) {
      const Node& node = *e.node;
      const std::string& name = node.op->name;
      if (name == "_mul_scalar") {
        scale *= number(parameter(node, "scalar"));
      } else if (name == "_div_scalar") {
        scale /= number(parameter(node, "scalar"));
      } else if (name == "_contrib_div_sqrt_dim") {
        scale /= std::sqrt(static_cast<double>(shape(e).back()));
      } else if (!is_identity(node, training_)) {
        break;
      }
      e = node.inputs[0];
    }
    return e;
  }

  // The softmax over the last axis that `e` is; null if it is something else.
  const Node* softmax(Entry e) const {
    if (!read_once(e)) return nullptr;
    double none = 1;
    if (!e.node->is_variable() && is_identity(*e.node, training_)) e = strip(e, none);
    if (e.node->is_variable() || none != 1 || !read_once(e)) return nullptr;
    const Node& node = *e.node;
    if (node.op->name != "softmax" || node.inputs.size() != 1 || !parameter(node, "dtype").is_none()) return nullptr;
    const int64_t axis = std::get<int64_t>(parameter(node, "axis"));
    return axis == -1 || axis == shape(e).rank() - 1 ? &node : nullptr;
  }

  Source trace(const Entry& e, bool through_parts) const {
    std::vector<Entry> path;
    Entry at = e;
    while (!at.node->is_variable() &&
           (only_moves(*at.node) || (through_parts && at.node->op->name == "SliceChannel"))) {
      path.push_back(at);
      at = at.node->inputs[0];
    }
    Source source{at, StridedView::of(shape(at))};
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
      auto view = moved(source.view, *step->node, step->index, specs_);
      source = view ? Source{source.array, *std::move(view)} : Source{*step, StridedView::of(shape(*step))};
    }
    return source;
  }

  // The place of matrices in the words of AttentionParams; none if their columns do not lie next to each other.
  static std::optional<Shape> place(const StridedView& view, int64_t columns) {
    const int r = view.rank();
    const auto row = view.factors(r - 2, r - 1), column = view.factors(r - 1, r);
    if (row.size() > 1 || column.size() > 1 || (column.size() == 1 && column[0].second != 1)) return {};
    Shape words{view.offset(), row.empty() ? columns : row[0].second};
    for (const auto& [count, step] : view.factors(0, r - 2)) {
      words.push_back(count);
      words.push_back(step);
    }
    if (words.rank() > Shape::kMaxRank) return {};
    return words;
  }

  // Three views of one array that hold each of its elements once.
  static bool tile_the_array(const Source (&sources)[3], int64_t size) {
    std::vector<StridedView::Factor> factors;
    for (const Source& s : sources) {
      if (!(s.array == sources[0].array)) return false;
      auto own = s.view.factors(0, s.view.rank());
      std::sort(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
      if (&s == &sources[0]) factors = own;
      if (own != factors) return false;
    }
    int64_t offsets[] = {sources[0].view.offset(), sources[1].view.offset(), sources[2].view.offset()};
    std::sort(std::begin(offsets), std::end(offsets));
    const int64_t apart = offsets[1];
    if (offsets[0] != 0 || offsets[2] != 2 * apart) return false;
    factors.emplace_back(3, apart);
    std::sort(factors.begin(), factors.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    int64_t step = 1;
    for (const auto& f : factors) {
      if (f.second != step) return false;
      step *= f.first;
    }
    return step == size;
  }

  // Follows the result to the last transposition that is its only reader.
  std::pair<Node*, StridedView> end_of(Node& product) const {
    const Entry result{Ref<Node>(&product), 0};
    std::pair<Node*, StridedView> best{&product, StridedView::of(shape(result))};
    Entry at = result;
    StridedView view = best.second;
    while (read_once(at)) {
      Node* reader = readers_.at(key(at))[0];
      if (!reader || !only_moves(*reader) || !(reader->inputs[0] == at)) break;
      auto next = moved(view, *reader, 0, specs_);
      if (!next) break;
      view = *std::move(next);
      at = {Ref<Node>(reader), 0};
      if (!reader->op->flags.view_like) best = {reader, view};
    }
    if (best.first != &product) best.second = best.second.inverse(shape(result));
    return best;
  }

  void match(Node& product, std::map<const Node*, Ref<Node>>& found) const {
    const Entry result{Ref<Node>(&product), 0};
    if (specs_.at(result).dtype != DType::f32 || shape(result).size() == 0) return;
    if (flag(product, "transpose_a") || flag(product, "transpose_b")) return;
    const Node* weights = softmax(product.inputs[0]);
    if (!weights) return;
    double scale = 1 / number(parameter(*weights, "temperature"));
    const Entry scores = strip(weights->inputs[0], scale);
    if (scores.node->is_variable() || !read_once(scores)) return;
    const Node& first = *scores.node;
    if (first.op->name != "batch_dot" || flag(first, "transpose_a")) return;
    const Entry q = strip(first.inputs[0], scale), k = strip(first.inputs[1], scale);
    build(product, first, q, k, scale, found);
  }

  void build(Node& product, const Node& first, const Entry& q, const Entry& k, double scale,
             std::map<const Node*, Ref<Node>>& found) const {
    const Entry operands[3] = {q, k, product.inputs[1]};
    const bool transposed = flag(first, "transpose_b");
    const auto sources_of = [&](bool through_parts) {
      const auto operand = [&](int i) {
        Source s = trace(operands[i], through_parts);
        if (i == 1 && !transposed) s.view = swap_last(s.view);
        return s;
      };
      return std::array{operand(0), operand(1), operand(2)};
    };
    auto together = sources_of(true);
    const Source joined[3] = {together[0], together[1], together[2]};
    const bool packed = tile_the_array(joined, shape(joined[0].array).size());
    const auto sources = packed ? together : sources_of(false);

    const Shape &of_q = shape(q), &of_v = shape(product.inputs[1]);
    const int r = of_q.rank();
    auto [last, out_view] = end_of(product);
    nn::AttentionParams p;
    p.sizes = {of_q.size(0, r - 2), of_q[r - 2], of_v[r - 2], of_q[r - 1], of_v[r - 1]};
    if (p.sizes.size() == 0) return;
    const auto at_q = place(sources[0].view, p.sizes[3]), at_k = place(sources[1].view, p.sizes[3]),
               at_v = place(sources[2].view, p.sizes[4]), at_out = place(out_view, p.sizes[4]);
    if (!at_q || !at_k || !at_v || !at_out) return;
    p.q = *at_q, p.k = *at_k, p.v = *at_v, p.out = *at_out;
    p.out_shape = specs_.of.at(last)[0].shape;
    p.scale = scale;
    p.packed = packed;
    std::vector<Entry> inputs{sources[0].array};
    if (!packed) inputs.insert(inputs.end(), {sources[1].array, sources[2].array});
    found[last] = make_node(get_op("_attention"), make_params(std::move(p)), product.name, std::move(inputs));
  }

  static StridedView swap_last(const StridedView& view) {
    std::vector<int> axes(static_cast<size_t>(view.rank()));
    for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int>(i);
    std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return view.permute(axes);
  }

  const GraphSpecs& specs_;
  bool training_;
  std::vector<Node*> order_;
  std::map<Key, std::vector<Node*>> readers_;  // null: a head
};

}  // namespace

std::vector<Entry> fuse_attention(std::span<const Entry> heads, const GraphSpecs& specs, bool training) {
  const auto found = Finder(heads, specs, training).run();
  if (found.empty()) return {heads.begin(), heads.end()};
  return replace_nodes(heads, [&](const Node& node) {
    const auto it = found.find(&node);
    return it == found.end() ? Ref<Node>() : it->second;
  });
}

}  // namespace mxnet
