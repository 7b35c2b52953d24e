// SPDX-License-Identifier: Apache-2.0
#include "executor/inference_pass.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "executor/rebuild.h"
#include "operator/op.h"

namespace mxnet {

namespace {

// ---- nodes
// ------------------------------------------------------------------------------------------------------------

std::string text_of(const Node& node, std::string_view field) {
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) {
    if (name == field) return text;
  }
  return {};
}

double number_of(const Node& node, std::string_view field) {
  const std::string text = text_of(node, field);
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool is_set(const Node& node, std::string_view field) { return text_of(node, field) == "True"; }

// The node's parameters with some of them replaced, for `op`, which has all of its fields.
Ref<Params> changed_params(const Node& node, const OpDef& op, const ParamMap& changes) {
  ParamMap all;
  for (const auto& [name, text] : node.op->params.to_text(*node.params)) {
    const auto same = [&](const auto& change) { return change.first == name; };
    if (std::none_of(changes.begin(), changes.end(), same)) all.emplace_back(name, ParamValue{text});
  }
  all.insert(all.end(), changes.begin(), changes.end());
  return op.params.parse(op.name, all);
}

Entry call(const char* name, std::vector<Entry> inputs, const ParamMap& params = {}) {
  const OpDef& op = get_op(name);
  return {make_node(op, op.params.parse(name, params), name, std::move(inputs)), 0};
}

Entry converted(const Entry& e, DType from, DType to) {
  return from == to ? e : call("Cast", {e}, {{"dtype", ParamValue{std::string(name_of(to))}}});
}

Entry reshaped(const Entry& e, int rank, int axis) {
  ParamList dims(static_cast<size_t>(rank), ParamValue{int64_t{1}});
  dims[static_cast<size_t>(axis)] = ParamValue{int64_t{-1}};
  return call("Reshape", {e}, {{"shape", ParamValue{dims}}});
}

// ---- what the passes ask of the graph
// -----------------------------------------------------------------------------------

class Reader {
 public:
  explicit Reader(const InferenceGraph& graph) : specs_(graph.specs) {
    for (const Node* node : topological_order(graph.heads)) {
      for (const Entry& in : node->inputs) ++readers_[in.node.get()];
      if (node->is_variable() ? graph.unchanging.contains(node) : is_pure(*node) && all_unchanging(node->inputs)) {
        unchanging_.insert(node);
      }
    }
    for (const Entry& head : graph.heads) readers_[head.node.get()] += kLeaves;
  }

  const TensorSpec& spec(const Entry& e) const { return specs_.at(e); }
  // How many inputs read any output of it.
  int readers(const Entry& e) const { return readers_.at(e.node.get()); }
  bool unchanging(const Entry& e) const { return unchanging_.contains(e.node.get()); }

 private:
  static constexpr int kLeaves = 1000;  // outputs of the graph are read by whoever gets them

  static bool is_pure(const Node& node) { return !node.op->flags.random && !node.op->inputs.mutates_any(); }
  bool all_unchanging(const std::vector<Entry>& inputs) const {
    return !inputs.empty() && std::all_of(inputs.begin(), inputs.end(), [&](const Entry& e) { return unchanging(e); });
  }

  const GraphSpecs& specs_;
  std::unordered_map<const Node*, int> readers_;
  std::unordered_set<const Node*> unchanging_;
};

bool is_op(const Node& node, std::string_view name) { return node.op && node.op->name == name; }

// ---- BatchNorm
// ----------------------------------------------------------------------------------------------------------

enum BatchNormInput { kData, kGamma, kBeta, kMean, kVar };

bool is_batch_norm(const Node& node) { return is_op(node, "BatchNorm") || is_op(node, "_contrib_SyncBatchNorm"); }

// Its data alone is new at each run, and nobody reads its other outputs.
bool is_affine(const Node& node, const Reader& reader) {
  if (!is_batch_norm(node) || is_set(node, "output_mean_var")) return false;
  for (size_t i = kGamma; i <= kVar; ++i) {
    if (!reader.unchanging(node.inputs[i])) return false;
  }
  return true;
}

int channel_axis(const Node& norm, int rank) {
  const auto axis = is_op(norm, "BatchNorm") ? static_cast<int>(number_of(norm, "axis")) : 1;
  return axis < 0 ? axis + rank : axis;
}

// y = factor * x + shift, per channel, in the dtype of the statistics.
struct Affine {
  Entry factor, shift;
};
Affine affine_of(const Node& norm, const Entry* bias) {
  Entry factor =
      call("rsqrt", {call("_plus_scalar", {norm.inputs[kVar]}, {{"scalar", ParamValue{number_of(norm, "eps")}}})});
  if (!is_set(norm, "fix_gamma")) factor = call("elemwise_mul", {norm.inputs[kGamma], factor});
  Entry shift = call("elemwise_mul", {norm.inputs[kMean], factor});
  if (bias) {
    shift = call("elemwise_sub", {call("elemwise_mul", {*bias, factor}), shift});
    shift = call("elemwise_add", {norm.inputs[kBeta], shift});
  } else {
    shift = call("elemwise_sub", {norm.inputs[kBeta], shift});
  }
  return {std::move(factor), std::move(shift)};
}

// The axis of the weights along which output channels lie; none if `node` is nothing that a BatchNorm can go into.
std::optional<int> output_axis(const Node& node) {
  if (is_op(node, "Convolution") || is_op(node, "FullyConnected")) return 0;
  if (is_op(node, "Deconvolution") && number_of(node, "num_group") == 1) return 1;
  return {};
}

bool can_fold(const Node& norm, const Reader& reader) {
  if (!is_affine(norm, reader)) return false;
  const Entry& data = norm.inputs[kData];
  if (data.node->is_variable() || !output_axis(*data.node) || reader.readers(data) != 1) return false;
  const int rank = reader.spec(data).shape.rank();
  const int expected = is_op(*data.node, "FullyConnected") ? rank - 1 : 1;
  const std::vector<Entry>& inputs = data.node->inputs;
  return channel_axis(norm, rank) == expected && reader.spec(data).shape.size() > 0 &&
         std::all_of(inputs.begin() + 1, inputs.end(), [&](const Entry& e) { return reader.unchanging(e); });
}

Ref<Node> folded(const Node& norm, DType dtype, DType statistics, int weight_rank) {
  const Node& layer = *norm.inputs[kData].node;
  const bool has_bias = !is_set(layer, "no_bias");
  Entry bias;
  if (has_bias) bias = converted(layer.inputs[2], dtype, statistics);
  const Affine affine = affine_of(norm, has_bias ? &bias : nullptr);
  const Entry weight = converted(layer.inputs[1], dtype, statistics);
  const Entry scaled = call("broadcast_mul", {weight, reshaped(affine.factor, weight_rank, *output_axis(layer))});
  const Ref<Params> params = changed_params(layer, *layer.op, {{"no_bias", ParamValue{false}}});
  auto result =
      make_node(*layer.op, params, layer.name,
                {layer.inputs[0], converted(scaled, statistics, dtype), converted(affine.shift, statistics, dtype)});
  result->attrs = layer.attrs;
  return result;
}

}  // namespace

std::vector<Entry> fold_batch_norms(const InferenceGraph& graph) {
  const Reader reader(graph);
  return rebuild(graph.heads, [&](const Ref<Node>& node, const Node& original) {
    if (!can_fold(original, reader)) return node;
    const Entry& weight = original.inputs[kData].node->inputs[1];
    return folded(*node, reader.spec(weight).dtype, reader.spec(original.inputs[kMean]).dtype,
                  reader.spec(weight).shape.rank());
  });
}

std::vector<Entry> expand_batch_norms(const InferenceGraph& graph) {
  const Reader reader(graph);
  return rebuild(graph.heads, [&](const Ref<Node>& node, const Node& original) {
    if (!is_affine(original, reader)) return node;
    const TensorSpec& data = reader.spec(original.inputs[kData]);
    // Half precision would be rounded after the product, and is not there.
    if (data.dtype != reader.spec(original.inputs[kMean]).dtype || data.shape.size() == 0) return node;
    const int rank = data.shape.rank(), axis = channel_axis(original, rank);
    const Affine affine = affine_of(*node, nullptr);
    const Entry product = call("broadcast_mul", {node->inputs[kData], reshaped(affine.factor, rank, axis)});
    const Ref<Node> sum = call("broadcast_add", {product, reshaped(affine.shift, rank, axis)}).node;
    sum->name = node->name;
    return sum;
  });
}

// ---- convolutions
// -------------------------------------------------------------------------------------------------------

namespace {

struct Activation {
  std::string name;  // as the parameter `activation` of _fused_convolution
  double alpha = 0, beta = 0;
};

std::optional<Activation> plain_activation(const Node& node) {
  const std::string type = text_of(node, "act_type");
  for (const char* known : {"relu", "sigmoid", "tanh", "softrelu", "mish"}) {
    if (type == known) return Activation{known};
  }
  return {};
}

std::optional<Activation> leaky_activation(const Node& node) {
  const std::string type = text_of(node, "act_type");
  if (type == "leaky" || type == "elu") return Activation{type, number_of(node, "slope")};
  if (type == "gelu") return Activation{type};
  return {};
}

// The function of one input that the node is, if the convolution knows it.
std::optional<Activation> activation_of(const Node& node) {
  if (is_op(node, "relu") || is_op(node, "sigmoid") || is_op(node, "tanh")) return Activation{node.op->name};
  if (is_op(node, "Activation")) return plain_activation(node);
  if (is_op(node, "LeakyReLU")) return leaky_activation(node);
  if (is_op(node, "hard_sigmoid")) {
    return Activation{"hard_sigmoid", number_of(node, "alpha"), number_of(node, "beta")};
  }
  if (is_op(node, "clip")) {
    const Activation clip{"clip", number_of(node, "a_min"), number_of(node, "a_max")};
    if (clip.alpha <= clip.beta) return clip;
  }
  return {};
}

bool is_sum(const Node& node) { return is_op(node, "elemwise_add") || is_op(node, "broadcast_add"); }
bool is_product(const Node& node) { return is_op(node, "elemwise_mul") || is_op(node, "broadcast_mul"); }

class ConvolutionFuser {
 public:
  explicit ConvolutionFuser(const InferenceGraph& graph) : reader_(graph) {
    for (const Node* node : topological_order(graph.heads)) position_[node] = position_.size();
  }

  Ref<Node> operator()(const Ref<Node>& node, const Node& original) const {
    if (node->inputs.empty() || original.num_all_outputs() != 1) return node;
    if (is_sum(original)) return with_residual(node, original);
    if (is_product(original)) return with_swish(node, original);
    const std::optional<Activation> activation = activation_of(original);
    if (!activation || node->inputs.size() != 1 || !computes(original.inputs[0])) return node;
    if (!takes_activation(*node->inputs[0].node) || reader_.readers(original.inputs[0]) != 1) return node;
    return activated(*node->inputs[0].node, *activation);
  }

 private:
  static bool takes_activation(const Node& node) {
    return is_op(node, "Convolution") ||
           (is_op(node, "_fused_convolution_add") && text_of(node, "activation") == "none");
  }

  bool computes(const Entry& e) const {
    const TensorSpec& spec = reader_.spec(e);
    return (spec.dtype == DType::f32 || is_half(spec.dtype)) && spec.shape.size() > 0;
  }

  Ref<Node> activated(const Node& layer, const Activation& a) const {
    const OpDef& op = get_op(is_op(layer, "Convolution") ? "_fused_convolution" : layer.op->name);
    const ParamMap changes{
        {"activation", ParamValue{a.name}}, {"alpha", ParamValue{a.alpha}}, {"beta", ParamValue{a.beta}}};
    return replaced(layer, op, changes, layer.inputs);
  }

  static Ref<Node> replaced(const Node& layer, const OpDef& op, const ParamMap& changes, std::vector<Entry> inputs) {
    auto node = make_node(op, changed_params(layer, op, changes), layer.name, std::move(inputs));
    node->attrs = layer.attrs;
    return node;
  }

  // The later of two convolutions takes the sum in: the other result is then there, and may be overwritten.
  Ref<Node> with_residual(const Ref<Node>& node, const Node& original) const {
    int best = -1;
    for (int i = 0; i < 2; ++i) {
      const Entry& in = original.inputs[static_cast<size_t>(i)];
      const Entry& other = original.inputs[static_cast<size_t>(1 - i)];
      if (!is_op(*node->inputs[static_cast<size_t>(i)].node, "Convolution") || reader_.readers(in) != 1) continue;
      if (!(reader_.spec(in).shape == reader_.spec(other).shape) || !computes(in)) continue;
      if (best < 0 ||
          position_.at(in.node.get()) > position_.at(original.inputs[static_cast<size_t>(best)].node.get())) {
        best = i;
      }
    }
    if (best < 0) return node;
    const Node& layer = *node->inputs[static_cast<size_t>(best)].node;
    std::vector<Entry> inputs{node->inputs[static_cast<size_t>(1 - best)]};
    inputs.insert(inputs.end(), layer.inputs.begin(), layer.inputs.end());
    return replaced(layer, get_op("_fused_convolution_add"), {}, std::move(inputs));
  }

  // x * sigmoid(x)
  Ref<Node> with_swish(const Ref<Node>& node, const Node& original) const {
    for (size_t i = 0; i < 2; ++i) {
      const Entry& x = original.inputs[i];
      const Entry& gate = original.inputs[1 - i];
      if (gate.node->is_variable() || gate.node->inputs.size() != 1 || !(gate.node->inputs[0] == x)) continue;
      const std::optional<Activation> activation = activation_of(*gate.node);
      if (!activation || activation->name != "sigmoid" || reader_.readers(x) != 2 || reader_.readers(gate) != 1)
        continue;
      if (!takes_activation(*node->inputs[i].node) || !computes(x)) continue;
      return activated(*node->inputs[i].node, {"swish", 1.0});
    }
    return node;
  }

  Reader reader_;
  std::unordered_map<const Node*, size_t> position_;
};

}  // namespace

std::vector<Entry> fuse_convolutions(const InferenceGraph& graph) {
  return rebuild(graph.heads, ConvolutionFuser(graph));
}

}  // namespace mxnet
