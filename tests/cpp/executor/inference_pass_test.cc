// SPDX-License-Identifier: Apache-2.0
// Each pass alone: which nodes are left.
#include "executor/inference_pass.h"

#include <doctest.h>

#include <algorithm>
#include <functional>
#include <string>

#include "symbol/symbol.h"

using namespace mxnet;

namespace {

Symbol call(const char* op, const AttrMap& attrs, const std::vector<Symbol>& in) {
  static int counter = 0;
  return Symbol::create(get_op(op), attrs, std::string(op) + std::to_string(counter++), in);
}

Symbol var(const char* name) { return Symbol::variable(name); }

Symbol group(const Symbol& a, const Symbol& b) { return Symbol::group(std::vector<Symbol>{a, b}); }

Symbol convolution(const Symbol& x, const char* weight) {
  return call("Convolution", {{"kernel", "(3, 3)"}, {"pad", "(1, 1)"}, {"num_filter", "8"}, {"no_bias", "True"}},
              {x, var(weight)});
}

Symbol batch_norm(const Symbol& x) {
  return call("BatchNorm", {{"fix_gamma", "False"}}, {x, var("gamma"), var("beta"), var("mean"), var("var")});
}

using Pass = std::function<std::vector<Entry>(const InferenceGraph&)>;

// The graph after a pass; all variables but `x` are unchanging, apart from `changing`.
struct After {
  After(const Symbol& symbol, const Pass& pass, const std::string& changing = "") {
    const auto heads = symbol.entries();
    std::unordered_map<const Node*, TensorSpec> known;
    std::unordered_set<const Node*> unchanging;
    for (const Node* node : topological_order(heads)) {
      if (!node->is_variable()) continue;
      if (node->name == "x") known[node] = {{2, 8, 6, 6}, DType::f32, Layout::plain};
      if (node->name != "x" && node->name != changing) unchanging.insert(node);
    }
    const GraphSpecs specs = infer_graph(heads, known);
    // A plan knows the shapes of all variables; what a pass leaves may not tell them.
    for (const Node* node : topological_order(heads)) {
      if (node->is_variable()) known[node] = specs.of.at(node)[0];
    }
    result = pass({heads, specs, unchanging});
    const GraphSpecs now = infer_graph(result, known);
    for (size_t i = 0; i < result.size(); ++i) CHECK(now.at(result[i]).shape == specs.at(heads[i]).shape);
  }
  int count(const std::string& op) const {
    const auto order = topological_order(result);
    return static_cast<int>(
        std::count_if(order.begin(), order.end(), [&](const Node* n) { return n->op && n->op->name == op; }));
  }
  std::vector<Entry> result;
};

}  // namespace

TEST_CASE("fold_batch_norms: into the convolution that it alone reads") {
  const Symbol norm = batch_norm(convolution(var("x"), "w"));
  CHECK(After(norm, fold_batch_norms).count("BatchNorm") == 0);
  CHECK(After(norm, fold_batch_norms).count("Convolution") == 1);
  for (const char* changing : {"w", "gamma", "mean"})
    CHECK(After(norm, fold_batch_norms, changing).count("BatchNorm") == 1);
  const Symbol layer = convolution(var("x"), "w");
  CHECK(After(call("elemwise_add", {}, {batch_norm(layer), layer}), fold_batch_norms).count("BatchNorm") == 1);
  CHECK(After(group(batch_norm(layer), layer), fold_batch_norms).count("BatchNorm") == 1);
}

TEST_CASE("expand_batch_norms: a product and a sum") {
  const After after(batch_norm(var("x")), expand_batch_norms);
  CHECK(after.count("BatchNorm") == 0);
  CHECK(after.count("broadcast_mul") == 1);
  CHECK(after.count("broadcast_add") == 1);
  CHECK(After(batch_norm(var("x")), expand_batch_norms, "var").count("BatchNorm") == 1);
}

TEST_CASE("fuse_convolutions: sum and activation") {
  const auto relu = [](const Symbol& s) { return call("relu", {}, {s}); };
  const Symbol layer = convolution(var("x"), "w");
  CHECK(After(relu(layer), fuse_convolutions).count("_fused_convolution") == 1);
  CHECK(After(relu(layer), fuse_convolutions).count("relu") == 0);
  const After sum(relu(call("elemwise_add", {}, {var("x"), layer})), fuse_convolutions);
  CHECK(sum.count("_fused_convolution_add") == 1);
  CHECK(sum.count("elemwise_add") + sum.count("relu") + sum.count("Convolution") == 0);
  const After two(call("elemwise_add", {}, {layer, convolution(var("x"), "v")}), fuse_convolutions);
  CHECK(two.count("_fused_convolution_add") == 1);
  CHECK(two.count("Convolution") == 1);
  CHECK(After(call("elemwise_add", {}, {layer, layer}), fuse_convolutions).count("_fused_convolution_add") == 0);
  CHECK(After(group(relu(layer), layer), fuse_convolutions).count("relu") == 1);
  CHECK(After(call("elemwise_mul", {}, {layer, call("sigmoid", {}, {layer})}), fuse_convolutions)
            .count("_fused_convolution") == 1);
}
