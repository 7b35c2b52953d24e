// SPDX-License-Identifier: Apache-2.0
#include "executor/gradient_pass.h"

#include <unordered_map>
#include <unordered_set>

#include "autograd/composite.h"
#include "operator/gradient.h"

namespace mxnet {

namespace {

Value to_value(const Entry& e) {
  Value value;
  value.node = Ref<Attachment>(e.node.get());
  value.index = e.index;
  return value;
}
Entry to_entry(const Value& value) { return {Ref<Node>(static_cast<Node*>(value.node.get())), value.index}; }

class GradientPass {
 public:
  explicit GradientPass(const GradientRequest& request) : request_(request) {}

  std::vector<Entry> run() {
    const auto order = topological_order(request_.heads);
    mark_useful(order);
    for (size_t i = 0; i < request_.heads.size(); ++i) {
      const Entry& gradient = request_.head_gradients[i];
      if (gradient.node) add(request_.heads[i], gradient);
    }
    for (auto it = order.rbegin(); it != order.rend(); ++it) visit(**it);
    std::vector<Entry> gradients;
    for (Node* variable : request_.variables) gradients.push_back(sum({Ref<Node>(variable), 0}));
    return gradients;
  }

  const GradientRequest& request() const { return request_; }
  bool useful(const Node* node) const { return useful_.contains(node); }
  bool has(const Entry& e) const {
    const auto it = parts_.find(e.node.get());
    return it != parts_.end() && !it->second[static_cast<size_t>(e.index)].empty();
  }
  void add(const Entry& target, const Entry& part) {
    auto& parts = parts_[target.node.get()];
    parts.resize(static_cast<size_t>(target.node->num_all_outputs()));
    parts[static_cast<size_t>(target.index)].push_back(part);
  }

  // All contributions to `e`, or what they are spread from if there is one that was added as such.
  Entry unspread(const Entry& e) {
    const Entry all = sum(e);
    const auto it = spread_from_.find(all.node.get());
    return it == spread_from_.end() ? all : it->second;
  }
  void set_spread_from(const Node* spread, Entry small) { spread_from_[spread] = std::move(small); }

  // All contributions to `e` as one entry; null if there is none.
  Entry sum(const Entry& e) {
    if (!has(e)) return {};
    auto& parts = parts_.at(e.node.get())[static_cast<size_t>(e.index)];
    static const OpDef& add_op = get_op("elemwise_add");
    while (parts.size() > 1) {
      const std::string name = e.node->name + "_grad_sum";
      Entry both{make_node(add_op, {}, name, {parts[0], parts[1]}), 0};
      parts.erase(parts.begin());
      parts[0] = std::move(both);
    }
    return parts[0];
  }

 private:
  void mark_useful(const std::vector<Node*>& order) {
    useful_.insert(request_.variables.begin(), request_.variables.end());
    for (const Node* node : order) {
      if (node->is_variable() || node->op->gradient.is_zero) continue;
      for (size_t i = 0; i < node->inputs.size(); ++i) {
        if (!useful_.contains(node->inputs[i].node.get())) continue;
        if (!node->op->is_mutated(*node->params, static_cast<int>(i))) useful_.insert(node);
      }
    }
  }

  void visit(Node& node);

  const GradientRequest& request_;
  std::unordered_set<const Node*> useful_;
  std::unordered_map<const Node*, std::vector<std::vector<Entry>>> parts_;
  std::unordered_map<const Node*, Entry> spread_from_;
};

// One node's view for its operator's gradient function: values are entries, each call makes a node.
class GraphBuilder final : public GradientBuilder {
 public:
  GraphBuilder(GradientPass& pass, Node& node) : pass_(pass), node_(&node) {}

  const OpDef& op() const override { return *node_->op; }
  const Ref<Params>& params_ref() const override { return node_->params; }
  int num_inputs() const override { return static_cast<int>(node_->inputs.size()); }
  Value input(int i) override { return to_value(node_->inputs[static_cast<size_t>(i)]); }
  Value output(int i) override { return to_value({node_, i}); }
  bool has_head(int i) const override { return pass_.has({node_, i}); }
  Value head(int i) override {
    const Entry sum = pass_.sum({node_, i});
    if (sum.node) return to_value(sum);
    return call("zeros_like", {output(i)});
  }
  bool needs(int i) const override {
    return pass_.useful(node_->inputs[static_cast<size_t>(i)].node.get()) && !node_->op->is_mutated(*node_->params, i);
  }
  bool training() const override { return pass_.request().training; }

  std::vector<Value> apply(const OpDef& op, const Ref<Params>& params, std::span<const Value> in) override {
    const Ref<Node> made = make(op, params, in);
    std::vector<Value> values;
    for (int i = 0; i < made->num_outputs(); ++i) values.push_back(to_value({made, i}));
    return values;
  }
  void give(int i, Value gradient) override {
    if (!gradient.is_null() && needs(i)) pass_.add(node_->inputs[static_cast<size_t>(i)], to_entry(gradient));
  }
  void give_all(std::span<const int> targets, const OpDef& op, const Ref<Params>& params,
                std::span<const Value> in) override {
    Ref<Node> made;
    for (size_t k = 0; k < targets.size(); ++k) {
      if (targets[k] < 0 || !needs(targets[k])) continue;
      if (!made) made = make(op, params, in);
      pass_.add(node_->inputs[static_cast<size_t>(targets[k])], {made, static_cast<int>(k)});
    }
  }
  bool takes_spread(int i) const override {
    const Node& producer = *node_->inputs[static_cast<size_t>(i)].node;
    return producer.op && producer.op->gradient.takes_spread;
  }
  Value head_unspread(int i) override {
    const Entry small = pass_.unspread({node_, i});
    return small.node ? to_value(small) : head(i);
  }
  void give_spread(int i, const Value& small, const OpDef& op, const Ref<Params>& params,
                   std::span<const Value> in) override {
    if (!needs(i)) return;
    const Ref<Node> made = make(op, params, in);
    pass_.set_spread_from(made.get(), to_entry(small));
    pass_.add(node_->inputs[static_cast<size_t>(i)], {made, 0});
  }
  void give_reduced(int i, Value gradient) override {
    if (gradient.is_null() || !needs(i)) return;
    give(i, call("_reduce_like", {gradient, input(i)}));
  }

  using GradientBuilder::give;
  using GradientBuilder::give_all;

 private:
  Ref<Node> make(const OpDef& op, const Ref<Params>& params, std::span<const Value> in) {
    std::vector<Entry> inputs;
    for (const Value& value : in) {
      if (value.is_null()) fail(op.name, ": an input is missing in the gradient of ", node_->op->name);
      inputs.push_back(to_entry(value));
    }
    return make_node(op, params, node_->name + "_backward", std::move(inputs));
  }

  GradientPass& pass_;
  Ref<Node> node_;
};

void GradientPass::visit(Node& node) {
  if (node.is_variable() || !useful(&node)) return;
  bool any = false;
  for (int i = 0; i < node.num_outputs() && !any; ++i) any = has({Ref<Node>(&node), i});
  if (!any) return;
  if (!node.op->gradient.fn) {
    if (request_.lenient) return;
    fail(ErrorKind::not_supported, node.op->name, " (", node.name, ") has no gradient");
  }
  GraphBuilder builder(*this, node);
  node.op->gradient.fn(builder);
}

}  // namespace

std::vector<Entry> make_gradients(const GradientRequest& request) { return GradientPass(request).run(); }

bool is_loss_head(const Entry& head) {
  if (head.node->is_variable()) return false;
  if (autograd::is_composite(*head.node->op, *head.node->params)) {
    const auto is_loss = autograd::composite_of(*head.node->op).is_loss;
    return is_loss && is_loss(*head.node->params);
  }
  const Gradient& gradient = head.node->op->gradient;
  return gradient.is_zero || (gradient.fn && !gradient.reads_heads);
}

}  // namespace mxnet
