// SPDX-License-Identifier: Apache-2.0
#include "executor/dense_pass.h"

#include <algorithm>
#include <map>
#include <optional>

#include "executor/passes.h"
#include "executor/strided_view.h"
#include "ops/nn/dense_fused.h"

namespace mxnet {
namespace {

std::optional<Activation> activation_of(const Node& node) {
  const std::string& name = node.op->name;
  std::string kind = name;
  if (name == "Activation" || name == "LeakyReLU") {
    kind = std::get<std::string>(parameter(node, "act_type"));
    if (name == "LeakyReLU" && kind != "gelu") return {};
  }
  if (kind == "relu") return Activation::relu;
  if (kind == "gelu") return Activation::gelu;
  if (kind == "tanh") return Activation::tanh;
  if (kind == "sigmoid") return Activation::sigmoid;
  return {};
}

bool is_sum(const Node& node) { return node.op->name == "elemwise_add" || node.op->name == "broadcast_add"; }

class Finder {
 public:
  Finder(std::span<const Entry> heads, const GraphSpecs& specs) : specs_(specs), order_(topological_order(heads)) {
    for (Node* node : order_) {
      for (const Entry& in : node->inputs) readers_[in.node.get()].push_back(node);
    }
    for (const Entry& head : heads) readers_[head.node.get()].push_back(nullptr);
  }

  // The last node of each chain, and what stands for it.
  std::map<const Node*, Ref<Node>> run() {
    std::map<const Node*, Ref<Node>> found;
    for (Node* node : order_) {
      if (!node->is_variable() && node->op->name == "FullyConnected") match(*node, found);
    }
    return found;
  }

 private:
  // The one operator that reads the node's output; null if there is another or a head.
  Node* reader(const Node& node) const {
    const auto& all = readers_.at(&node);
    return all.size() == 1 ? all[0] : nullptr;
  }

  void match(Node& dense, std::map<const Node*, Ref<Node>>& found) const {
    const TensorSpec& out = specs_.of.at(&dense)[0];
    if (out.dtype != DType::f32 || out.shape.size() == 0) return;
    nn::DenseFusedParams p{.num_hidden = std::get<int64_t>(parameter(dense, "num_hidden")),
                           .no_bias = std::get<bool>(parameter(dense, "no_bias")),
                           .flatten = std::get<bool>(parameter(dense, "flatten"))};
    std::vector<Entry> inputs = dense.inputs;
    Node* last = &dense;
    if (Node* next = reader(*last); next && next->inputs.size() == 1) {
      if (const auto activation = activation_of(*next)) {
        p.activation = *activation;
        last = next;
      }
    }
    if (Node* next = reader(*last); next && is_sum(*next) && !found.contains(next)) {
      const Entry& other = next->inputs[next->inputs[0].node.get() == last ? 1 : 0];
      if (specs_.at(other) == out && other.node.get() != last) {
        p.residual = true;
        inputs.push_back(other);
        last = next;
      }
    }
    if (last == &dense) return;
    found[last] = make_node(get_op("_fused_FullyConnected"), make_params(p), last->name, std::move(inputs));
  }

  const GraphSpecs& specs_;
  std::vector<Node*> order_;
  std::map<const Node*, std::vector<Node*>> readers_;
};

}  // namespace

std::vector<Entry> fuse_dense(std::span<const Entry> heads, const GraphSpecs& specs) {
  const auto found = Finder(heads, specs).run();
  if (found.empty()) return {heads.begin(), heads.end()};
  return replace_nodes(heads, [&](const Node& node) {
    const auto it = found.find(&node);
    return it == found.end() ? Ref<Node>() : it->second;
  });
}

}  // namespace mxnet
