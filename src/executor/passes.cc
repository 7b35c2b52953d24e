// SPDX-License-Identifier: Apache-2.0
#include "executor/passes.h"

#include <algorithm>
#include <array>
#include <string>

#include "autograd/composite.h"
#include "executor/rebuild.h"
#include "ops/nn/rnn.h"

namespace mxnet {

namespace {

bool has_effects(const Node& node) { return node.op->flags.random || node.op->inputs.mutates_any(); }

std::string expression_key(const Node& node) {
  std::string key = str(node.op->id, "|", node.op->name);
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) key += "|" + name + "=" + text;
  for (const Entry& in : node.inputs) key += str("|", static_cast<const void*>(in.node.get()), ".", in.index);
  return key;
}

std::string parameter(const Node& node, std::string_view field) {
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) {
    if (name == field) return text;
  }
  return {};
}

// How many inputs of nodes, and heads, read each node.
std::unordered_map<const Node*, int> count_readers(std::span<const Entry> heads) {
  std::unordered_map<const Node*, int> readers;
  for (const Node* node : topological_order(heads)) {
    for (const Entry& in : node->inputs) ++readers[in.node.get()];
  }
  for (const Entry& head : heads) ++readers[head.node.get()];
  return readers;
}

// Finds what fuse_norm_relu joins, in the graph as it was given.
class NormReluFinder {
 public:
  NormReluFinder(std::span<const Entry> heads, const GraphSpecs& specs) : specs_(specs) {
    for (const Node* node : topological_order(heads)) {
      for (const Entry& in : node->inputs) ++readers_[in.node.get()];
    }
    for (const Entry& head : heads) readers_[head.node.get()] += 2;
  }

  // Behind a relu: input of the sum that is the norm, or 0 where the relu reads the norm itself; -1 if neither is so.
  struct Found {
    const Node* norm = nullptr;
    int sum_input = -1;
  };
  Found behind(const Node& relu) const {
    if (!is_relu(relu)) return {};
    const Node* below = relu.inputs[0].node.get();
    if (is_norm(relu.inputs[0])) return {below, -1};
    if (below->is_variable() || readers_.at(below) != 1 || !is_sum(*below)) return {};
    for (int i = 0; i < 2; ++i) {
      if (is_norm(below->inputs[static_cast<size_t>(i)])) return {below->inputs[static_cast<size_t>(i)].node.get(), i};
    }
    return {};
  }

 private:
  static bool is_relu(const Node& node) {
    return node.op->name == "relu" || (node.op->name == "Activation" && parameter(node, "act_type") == "relu");
  }
  bool is_sum(const Node& node) const {
    if (node.op->name != "elemwise_add" && node.op->name != "broadcast_add") return false;
    const Shape& shape = specs_.of.at(&node)[0].shape;
    return specs_.at(node.inputs[0]).shape == shape && specs_.at(node.inputs[1]).shape == shape;
  }
  // A norm that nothing else reads, over channels that vectors can take.
  bool is_norm(const Entry& e) const {
    constexpr int64_t kLeastChannels = 8;
    if (e.node->is_variable() || e.node->op->name != "BatchNorm" || e.index != 0) return false;
    if (readers_.at(e.node.get()) != 1 || parameter(*e.node, "output_mean_var") != "False") return false;
    const TensorSpec& out = specs_.at(e);
    const int rank = out.shape.rank(), axis = normalize_axis(std::stoi(parameter(*e.node, "axis")), rank, "BatchNorm");
    return (out.dtype == DType::f32 || is_half(out.dtype)) && out.shape.size() > 0 &&
           out.shape[axis] >= kLeastChannels && (axis == 1 || axis == rank - 1);
  }

  const GraphSpecs& specs_;
  std::unordered_map<const Node*, int> readers_;
};

}  // namespace

std::vector<Entry> fuse_pick_log_softmax(std::span<const Entry> heads, const GraphSpecs& specs) {
  static const OpDef& fused = get_op("_pick_log_softmax");
  const auto readers = count_readers(heads);
  const auto along_last = [](const Node& node, int rank) {
    return normalize_axis(std::stoi(parameter(node, "axis")), rank, "axis") == rank - 1;
  };
  const auto matches = [&](const Node& pick) {
    if (pick.op->name != "pick" || parameter(pick, "mode") != "clip") return false;
    const Node& below = *pick.inputs[0].node;
    if (below.is_variable() || below.op->name != "log_softmax" || readers.at(&below) != 1) return false;
    const TensorSpec& data = specs.at(below.inputs[0]);
    const int rank = data.shape.rank();
    return below.inputs.size() == 1 && parameter(below, "temperature") == "None" &&
           parameter(below, "dtype") == "None" && rank >= 2 && is_float(data.dtype) && data.shape.back() > 0 &&
           along_last(below, rank) && along_last(pick, rank);
  };
  return rebuild(heads, [&](const Ref<Node>& pick, const Node& original) -> Ref<Node> {
    if (!matches(original)) return pick;
    const Entry data = pick->inputs[0].node->inputs[0];
    const ParamMap params{{"keepdims", parameter(original, "keepdims")}};
    return make_node(fused, fused.params.parse(pick->name, params), pick->name, {data, pick->inputs[1]});
  });
}

std::vector<Entry> split_rnn_parameters(std::span<const Entry> heads, const GraphSpecs& specs) {
  static const OpDef& split = get_op("_rnn_parts");
  // How many reshapes lie between input `i` of the concatenation and an array of this shape; -1: there is none.
  const auto reshapes_behind = [&](const Node& concat, int64_t i, const Shape& shape) {
    const Entry* e = &concat.inputs[static_cast<size_t>(i)];
    int count = 0;
    for (; !e->node->is_variable() && e->node->op->name == "Reshape" && specs.at(*e).shape != shape; ++count) {
      e = &e->node->inputs[0];
    }
    return specs.at(*e).shape == shape ? count : -1;
  };
  const auto reshapes_of = [&](const Node& rnn) -> std::vector<int> {
    const Node& concat = *rnn.inputs[1].node;
    if (concat.is_variable() || concat.op->name != "_rnn_param_concat") return {};
    const nn::RnnShape sizes(specs.at(rnn.inputs[0]).shape, rnn.params->as<nn::RnnParams>());
    if (sizes.parts() != static_cast<int64_t>(concat.inputs.size())) return {};
    std::vector<int> counts;
    sizes.for_each_part([&](int64_t i, int64_t layer, int64_t, nn::RnnPart part) {
      counts.push_back(reshapes_behind(concat, i, sizes.part_shape(layer, part)));
    });
    return std::find(counts.begin(), counts.end(), -1) == counts.end() ? counts : std::vector<int>();
  };
  return rebuild(heads, [&](const Ref<Node>& rnn, const Node& original) -> Ref<Node> {
    if (original.op->name != "RNN") return rnn;
    const std::vector<int> reshapes = reshapes_of(original);
    if (reshapes.empty()) return rnn;
    std::vector<Entry> inputs{rnn->inputs[0]};
    inputs.insert(inputs.end(), rnn->inputs.begin() + 2, rnn->inputs.end());
    for (size_t i = 0; i < reshapes.size(); ++i) {
      Entry e = rnn->inputs[1].node->inputs[i];
      for (int k = 0; k < reshapes[i]; ++k) e = Entry(e.node->inputs[0]);
      inputs.push_back(e);
    }
    return make_node(split, rnn->params, rnn->name, std::move(inputs));
  });
}

bool can_plan(const Node& node) { return !node.op->data_shape && !autograd::is_composite(*node.op, *node.params); }

bool reads_only_shape(const Node& node) {
  return node.op && (node.op->name == "zeros_like" || node.op->name == "ones_like");
}

bool is_identity(const Node& node, bool training) {
  static constexpr std::array names = {"BlockGrad", "_copy", "identity", "make_loss", "_identity_with_attr_like_rhs"};
  const std::string& name = node.op->name;
  for (const char* identity : names) {
    if (name == identity) return true;
  }
  if (name != "Dropout" || training) return false;
  for (const auto& [field, text] : node.op->params.to_text(*node.params)) {
    if (field == "mode") return text != "always";
  }
  return false;
}

std::vector<Entry> merge_common_subexpressions(std::span<const Entry> heads) {
  std::unordered_map<std::string, Ref<Node>> known;
  return rebuild(heads, [&](const Ref<Node>& node, const Node&) {
    return has_effects(*node) ? node : known.try_emplace(expression_key(*node), node).first->second;
  });
}

std::vector<Entry> replace_nodes(std::span<const Entry> heads, const std::function<Ref<Node>(const Node&)>& replace) {
  std::unordered_map<const Node*, Ref<Node>> done;
  const auto moved = [&](const Node& node) {
    std::vector<Entry> inputs;
    for (const Entry& in : node.inputs) inputs.push_back({done.at(in.node.get()), in.index});
    return inputs;
  };
  for (Node* node : topological_order(heads)) {
    Ref<Node> now(node);
    if (!node->is_variable()) {
      if (Ref<Node> other = replace(*node)) now = std::move(other);
      std::vector<Entry> inputs = moved(*now);
      if (inputs != now->inputs) {
        const AttrMap attrs = now->attrs;
        now = make_node(*now->op, now->params, now->name, std::move(inputs));
        now->attrs = attrs;
      }
    }
    done[node] = std::move(now);
  }
  std::vector<Entry> out;
  for (const Entry& head : heads) out.push_back({done.at(head.node.get()), head.index});
  return out;
}

std::vector<Entry> settle_shapes(std::span<const Entry> heads, const GraphSpecs& specs) {
  return rebuild(heads, [&](const Ref<Node>& node, const Node& original) {
    const OpDef& op = *original.op;
    if (!original.inputs.empty() || op.params.find("shape") < 0) return node;
    const Shape& found = specs.of.at(&original)[0].shape;
    const std::string text = str(found);
    if (!found.known() || parameter(original, "shape") == text) return node;
    ParamMap params;
    for (const auto& [name, value] : op.params.to_text(*original.params)) {
      params.emplace_back(name, name == "shape" ? text : value);
    }
    Ref<Node> settled = make_node(op, op.params.parse(original.name, params), original.name, {});
    settled->attrs = original.attrs;
    return settled;
  });
}

std::vector<Entry> resolve_broadcasts(std::span<const Entry> heads, const GraphSpecs& specs) {
  return rebuild(heads, [&](const Ref<Node>& node, const Node& original) {
    std::vector<TensorSpec> in;
    for (const Entry& e : original.inputs) in.push_back(specs.at(e));
    const OpDef& op = broadcasting_operator(original, in);
    if (&op == original.op) return node;
    Ref<Node> changed = make_node(op, {}, node->name, node->inputs);
    changed->attrs = node->attrs;
    return changed;
  });
}

std::vector<Entry> fuse_norm_relu(std::span<const Entry> heads, const GraphSpecs& specs) {
  static const OpDef& fused = get_op("_batch_norm_relu");
  const NormReluFinder finder(heads, specs);
  return rebuild(heads, [&](const Ref<Node>& relu, const Node& original) -> Ref<Node> {
    const auto [norm, sum_input] = finder.behind(original);
    if (!norm) return relu;
    const Node& below = *relu->inputs[0].node;
    const Node& moved = sum_input < 0 ? below : *below.inputs[static_cast<size_t>(sum_input)].node;
    std::vector<Entry> inputs = moved.inputs;
    if (sum_input >= 0) inputs.push_back(below.inputs[static_cast<size_t>(1 - sum_input)]);
    ParamMap params;
    for (const auto& [name, text] : norm->op->params.to_text(*norm->params)) params.emplace_back(name, text);
    params.emplace_back("sum", ParamValue{sum_input >= 0});
    return make_node(fused, fused.params.parse(norm->name, params), norm->name, std::move(inputs));
  });
}

}  // namespace mxnet
