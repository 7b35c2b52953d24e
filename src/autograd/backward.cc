// SPDX-License-Identifier: Apache-2.0
// The walk backwards: nodes in reverse topological order, each asked through its operator's gradient function, results
// written straight into gradient buffers where possible. Iterative: tapes may be 100,000 nodes long.
#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "autograd/node.h"
#include "autograd/tape.h"
#include "base/error.h"
#include "base/observe.h"
#include "operator/composition.h"
#include "operator/gradient.h"
#include "operator/invoke.h"

namespace mxnet::autograd {
namespace {

// The gradient collected for one array so far.
struct Slot {
  NDArray value;        // none: nothing came yet
  bool owned = false;   // nobody else sees `value`: later contributions may be added in place
  bool spread = false;  // `value` has axes of size one along which it is to be spread
};

// Where the gradient of a marked variable goes.
struct Leaf {
  NDArray buffer;  // none: keep what arrives (autograd.grad)
  GradReq req = GradReq::write;
  Slot slot;
  bool started = false;
};

struct NodeState {
  SmallArray<Slot, 2> heads;
  bool useful = false;  // a wanted variable lies behind it
  explicit NodeState(size_t visible) : heads(visible) {}
};

NDArray ones_like(const NDArray& head) {
  NDArray ones = NDArray::empty(head.shape(), head.dtype(), head.device());
  ones.fill(1.0);
  return ones;
}

const OpDef& add_op() {
  static const OpDef& op = get_op("elemwise_add");
  return op;
}
const OpDef& copy_op() {
  static const OpDef& op = get_op("_copy");
  return op;
}
const OpDef& spread_op() {
  static const OpDef& op = get_op("_spread_like");
  return op;
}
const OpDef& reduce_op() {
  static const OpDef& op = get_op("_reduce_like");
  return op;
}

class Backward {
 public:
  Backward(const BackwardOptions& options, std::span<const NDArray> variables) : options_(options) {
    for (const NDArray& v : variables) {
      const TapeEntry* entry = active_entry(v);
      if (!entry)
        fail(ErrorKind::value, "grad: a variable is not part of the graph; attach_grad() it before recording");
      wanted_.push_back(entry);
      if (entry->node)
        wanted_outputs_[{entry->node.get(), entry->index}];
      else
        leaves_[entry].req = GradReq::write;
    }
    only_wanted_ = !variables.empty();
  }

  void run(std::span<const NDArray> heads, std::span<const NDArray> head_gradients) {
    seed(heads, head_gradients);
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) visit(*it);
    finish();
  }

  std::vector<NDArray> results(std::span<const NDArray> variables) {
    std::vector<NDArray> out;
    for (size_t i = 0; i < wanted_.size(); ++i) {
      const TapeEntry* entry = wanted_[i];
      const Slot slot = entry->node ? wanted_outputs_[{entry->node.get(), entry->index}] : leaves_[entry].slot;
      const NDArray& like = variables[i];
      if (slot.value.is_none())
        out.push_back(NDArray::zeros(like.shape(), like.dtype(), like.device()));
      else if (slot.owned || options_.create_graph)
        out.push_back(slot.value);
      else
        out.push_back(slot.value.copy(like.device()));  // somebody else sees it: a head gradient, a sum's share
    }
    return out;
  }

  const BackwardOptions& options() const { return options_; }
  bool wants(const NDArray& input) {
    const TapeEntry* entry = active_entry(input);
    if (!entry) return false;
    if (entry->node) return states_.at(entry->node.get()).useful || is_wanted_output(*entry);
    return leaf_of(entry) != nullptr;
  }

  // ---- contributions ----------------------------------------------------------------------------------------------
  void give(const NDArray& input, NDArray value, bool owned) {
    if (value.is_none() || !wants(input)) return;
    if (value.shape() != input.shape()) {
      fail("a gradient of shape ", value.shape(), " was made for an input of shape ", input.shape());
    }
    const TapeEntry* entry = active_entry(input);
    Leaf* leaf = entry->node ? nullptr : leaf_of(entry);
    if (leaf && !leaf->buffer.is_none()) {
      const NDArray* in[] = {&value};
      into_buffer(*leaf, copy_op(), copy_op().params.defaults(), in);
      return;
    }
    Slot& slot = leaf ? leaf->slot : states_.at(entry->node.get()).heads[static_cast<size_t>(entry->index)];
    spread(slot, input);
    if (slot.value.is_none())
      slot = {std::move(value), owned};
    else
      add_to(slot, value);
  }

  // True if the gradient of `input` may wait in its slot until the producer asks for it.
  bool takes_spread(const NDArray& input) {
    const TapeEntry* entry = active_entry(input);
    if (options_.create_graph || !entry || !entry->node || !entry->node->op) return false;
    if (!entry->node->op->gradient.takes_spread || !wants(input) || is_wanted_output(*entry)) return false;
    return slot_of(*entry).value.is_none();
  }
  void give_spread(const NDArray& input, NDArray small) {
    slot_of(*active_entry(input)) = {std::move(small), false, true};
  }
  // Spreads what waits in a slot over the shape of `like`, of which only that is read.
  void spread(Slot& slot, const NDArray& like) {
    if (!slot.spread) return;
    NDArray shape_of = like, out;
    if (like.is_none()) shape_of = NDArray::empty(like.shape(), like.dtype(), slot.value.device());
    const NDArray* in[] = {&slot.value, &shape_of};
    invoke(spread_op(), spread_op().params.defaults(), in, std::span<NDArray>(&out, 1));
    slot = {std::move(out), true};
  }

  // The array and request that an operator may write the gradient of `input` with; `commit` must follow.
  std::pair<NDArray, Req> destination(const NDArray& input) {
    if (!wants(input)) return {NDArray(), Req::null};
    const TapeEntry* entry = active_entry(input);
    Leaf* leaf = entry->node ? nullptr : leaf_of(entry);
    if (leaf && !leaf->buffer.is_none()) {
      const Req req = leaf->req == GradReq::add || leaf->started ? Req::add : Req::write;
      leaf->started = true;
      return {leaf->buffer, req};
    }
    Slot& slot = leaf ? leaf->slot : states_.at(entry->node.get()).heads[static_cast<size_t>(entry->index)];
    spread(slot, input);
    if (slot.owned && !slot.value.is_none()) return {slot.value, Req::add};
    return {NDArray(), Req::write};
  }
  void commit(const NDArray& input, NDArray result, Req req, bool was_given) {
    if (req == Req::null || was_given) return;
    give(input, std::move(result), true);
  }

 private:
  using OutputKey = std::pair<const TapeNode*, int>;
  struct OutputHash {
    size_t operator()(const OutputKey& k) const { return std::hash<const void*>()(k.first) * 31 + k.second; }
  };

  void seed(std::span<const NDArray> heads, std::span<const NDArray> head_gradients) {
    for (const NDArray& head : heads) {
      const TapeEntry* entry = active_entry(head);
      if (!entry) {
        fail(
            "cannot differentiate an array that is not part of a recorded graph: compute it inside autograd.record(), "
            "from arrays with attach_grad(); a graph is gone after one backward unless retain_graph=True");
      }
      if (entry->node) sort_from(entry->node.get());
    }
    for (size_t i = 0; i < heads.size(); ++i) {
      const bool given = i < head_gradients.size() && !head_gradients[i].is_none();
      if (given && head_gradients[i].shape() != heads[i].shape()) {
        fail(ErrorKind::value, "backward: head gradient ", i, " has shape ", head_gradients[i].shape(),
             ", the head has shape ", heads[i].shape());
      }
      const TapeEntry* entry = active_entry(heads[i]);
      if (!entry->node) leaf_of(entry);
      if (entry->node && !states_.at(entry->node.get()).useful && !is_wanted_output(*entry)) continue;
      give(heads[i], given ? head_gradients[i] : ones_like(heads[i]), !given);
    }
  }

  // Depth-first, children before parents; marks what leads to wanted variables.
  void sort_from(TapeNode* root) {
    if (states_.contains(root)) return;
    std::vector<std::pair<TapeNode*, size_t>> stack{{root, 0}};
    states_.try_emplace(root, root->visible);
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next < node->inputs.size()) {
        const TapeEntry* entry = active_entry(node->inputs[next++]);
        if (entry && entry->node && states_.try_emplace(entry->node.get(), entry->node->visible).second) {
          if (options_.ends_at_variables && is_wanted_output(*entry))
            order_.push_back(entry->node);
          else
            stack.emplace_back(entry->node.get(), 0);
        }
        continue;
      }
      bool useful = false;
      for (const NDArray& input : node->inputs) {
        const TapeEntry* entry = active_entry(input);
        if (!entry) continue;
        useful |=
            entry->node ? states_.at(entry->node.get()).useful || is_wanted_output(*entry) : leaf_of(entry) != nullptr;
      }
      states_.at(node).useful = useful;
      order_.push_back(Ref<TapeNode>(node));
      stack.pop_back();
    }
  }

  bool is_wanted_output(const TapeEntry& entry) const {
    return !wanted_outputs_.empty() && wanted_outputs_.contains({entry.node.get(), entry.index});
  }

  Leaf* leaf_of(const TapeEntry* entry) {
    const auto found = leaves_.find(entry);
    if (found != leaves_.end()) return &found->second;
    if (only_wanted_ || entry->req == GradReq::null) return nullptr;
    Leaf& leaf = leaves_[entry];
    leaf.buffer = entry->gradient;
    leaf.req = entry->req;
    return &leaf;
  }

  Slot& slot_of(const TapeEntry& entry) { return states_.at(entry.node.get()).heads[static_cast<size_t>(entry.index)]; }

  void into_buffer(Leaf& leaf, const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in) {
    const Req req = leaf.req == GradReq::add || leaf.started ? Req::add : Req::write;
    leaf.started = true;
    InvokeOptions how;
    how.req = std::span<const Req>(&req, 1);
    NDArray out = leaf.buffer;
    invoke(op, params, in, std::span<NDArray>(&out, 1), how);
  }

  void add_to(Slot& slot, const NDArray& value) {
    NDArray out = slot.owned && !options_.create_graph ? slot.value : NDArray();
    const NDArray* in[] = {&slot.value, &value};
    autograd::call_as_given(add_op(), add_op().params.defaults(), in, std::span<NDArray>(&out, 1));
    slot = {std::move(out), true};
  }

  void visit(const Ref<TapeNode>& node);

  void finish() {
    for (auto& [entry, leaf] : leaves_) {
      if (leaf.buffer.is_none()) continue;
      if (!leaf.started && leaf.req == GradReq::write) leaf.buffer.fill(0.0);
      const_cast<TapeEntry*>(entry)->fresh = true;
    }
    if (options_.retain_graph || options_.create_graph) return;
    for (const Ref<TapeNode>& node : order_) node->consume();
  }

  BackwardOptions options_;
  bool only_wanted_ = false;
  std::vector<const TapeEntry*> wanted_;
  std::unordered_map<OutputKey, Slot, OutputHash> wanted_outputs_;
  std::unordered_map<const TapeEntry*, Leaf> leaves_;
  std::unordered_map<const TapeNode*, NodeState> states_;
  std::vector<Ref<TapeNode>> order_;
};

// One node's view for its operator's gradient function: values are arrays, each call computes at once.
class TapeBuilder final : public GradientBuilder {
 public:
  TapeBuilder(Backward& walk, TapeNode& node, SmallArray<Slot, 2>& heads) : walk_(walk), node_(node), heads_(heads) {}

  const OpDef& op() const override { return *node_.op; }
  const Ref<Params>& params_ref() const override { return node_.params; }
  int num_inputs() const override { return static_cast<int>(node_.inputs.size()); }
  Value input(int i) override { return {node_.inputs[static_cast<size_t>(i)], {}, 0}; }
  Value output(int i) override {
    NDArray array = node_.outputs[static_cast<size_t>(i)];
    if (walk_.options().create_graph && static_cast<size_t>(i) < node_.visible) {
      // The node keeps its outputs detached (no cycle); a gradient of the gradient must find the way back.
      auto entry = make_ref<TapeEntry>();
      entry->node = Ref<TapeNode>(&node_);
      entry->index = i;
      array.attach(entry);
    }
    return {std::move(array), {}, 0};
  }
  bool has_head(int i) const override { return !heads_[static_cast<size_t>(i)].value.is_none(); }
  Value head(int i) override {
    Slot& slot = heads_[static_cast<size_t>(i)];
    if (slot.value.is_none()) {
      const NDArray& like = node_.outputs[static_cast<size_t>(i)];
      slot = {NDArray::zeros(like.shape(), like.dtype(), node_.device), false};
    }
    walk_.spread(slot, node_.outputs[static_cast<size_t>(i)]);
    return {slot.value, {}, 0};
  }
  bool takes_spread(int i) const override { return walk_.takes_spread(node_.inputs[static_cast<size_t>(i)]); }
  Value head_unspread(int i) override {
    Slot& slot = heads_[static_cast<size_t>(i)];
    return slot.spread ? Value{slot.value, {}, 0} : head(i);
  }
  bool needs(int i) const override { return walk_.wants(node_.inputs[static_cast<size_t>(i)]); }
  bool training() const override { return node_.training; }

  std::vector<Value> apply(const OpDef& op, const Ref<Params>& params, std::span<const Value> in) override {
    const Pointers pointers(in);
    std::vector<NDArray> out(static_cast<size_t>(op.num_outputs(*params)));
    autograd::call_as_given(op, params, pointers.list, out, node_.device);
    std::vector<Value> values(out.size());
    for (size_t i = 0; i < out.size(); ++i) values[i].array = std::move(out[i]);
    return values;
  }

  void give(int i, Value gradient) override {
    walk_.give(node_.inputs[static_cast<size_t>(i)], std::move(gradient.array), false);
  }

  void give_all(std::span<const int> targets, const OpDef& op, const Ref<Params>& params,
                std::span<const Value> in) override {
    if (walk_.options().create_graph) {
      const std::vector<Value> results = apply(op, params, in);
      for (size_t k = 0; k < targets.size(); ++k) give(targets[k], results[k]);
      return;
    }
    const Pointers pointers(in);
    const size_t n = static_cast<size_t>(op.num_outputs(*params));
    SmallArray<NDArray, 4> out(n);
    SmallArray<Req, 4> req(n);
    SmallArray<bool, 4> given(n);
    bool any = false;
    for (size_t k = 0; k < n; ++k) {
      if (k < targets.size() && targets[k] >= 0) {
        std::tie(out[k], req[k]) = walk_.destination(node_.inputs[static_cast<size_t>(targets[k])]);
      }
      given[k] = !out[k].is_none();
      any |= req[k] != Req::null;
    }
    if (!any) return;
    InvokeOptions how;
    how.device = node_.device;
    how.training = node_.training;
    how.req = req;
    invoke(op, params, pointers.list, out, how);
    for (size_t k = 0; k < targets.size() && k < n; ++k) {
      if (targets[k] >= 0) {
        walk_.commit(node_.inputs[static_cast<size_t>(targets[k])], out[k], req[k], given[k]);
      }
    }
  }

  void give_spread(int i, const Value& small, const OpDef& op, const Ref<Params>& params,
                   std::span<const Value> in) override {
    if (takes_spread(i))
      walk_.give_spread(node_.inputs[static_cast<size_t>(i)], small.array);
    else
      give_all({&i, 1}, op, params, in);
  }

  void give_reduced(int i, Value gradient) override {
    const NDArray& input = node_.inputs[static_cast<size_t>(i)];
    if (gradient.is_null() || !needs(i)) return;
    if (gradient.array.shape() == input.shape()) {
      give(i, std::move(gradient));
      return;
    }
    // Only the shape of the input matters; it may be a shell by now.
    Value like{input, {}, 0};
    if (input.is_none()) like.array = NDArray::empty(input.shape(), input.dtype(), node_.device);
    const Value in[] = {std::move(gradient), std::move(like)};
    const int target[] = {i};
    give_all(target, reduce_op(), reduce_op().params.defaults(), in);
  }

  using GradientBuilder::give;
  using GradientBuilder::give_all;

 private:
  struct Pointers {
    explicit Pointers(std::span<const Value> in) : list(in.size()) {
      for (size_t i = 0; i < in.size(); ++i) list[i] = &in[i].array;
    }
    SmallArray<const NDArray*, 8> list;
  };

  Backward& walk_;
  TapeNode& node_;
  SmallArray<Slot, 2>& heads_;
};

void run_custom(Backward& walk, TapeNode& node, SmallArray<Slot, 2>& heads) {
  const size_t n = node.inputs.size();
  std::vector<NDArray> head_arrays(node.visible), out(n);
  std::vector<Req> req(n, Req::null);
  std::vector<bool> given(n);
  for (size_t i = 0; i < node.visible; ++i) head_arrays[i] = heads[i].value;
  const bool graph = walk.options().create_graph;
  bool any = false;
  for (size_t i = 0; i < n; ++i) {
    if (graph)
      req[i] = walk.wants(node.inputs[i]) ? Req::write : Req::null;
    else
      std::tie(out[i], req[i]) = walk.destination(node.inputs[i]);
    given[i] = !out[i].is_none();
    any |= req[i] != Req::null;
  }
  if (!any) return;
  if (graph)
    node.custom->backward_recorded(head_arrays, out, req);
  else
    node.custom->backward(head_arrays, out, req);
  for (size_t i = 0; i < n; ++i) walk.commit(node.inputs[i], out[i], req[i], given[i]);
}

std::vector<NDArray> call_recorded(const OpDef& op, const Ref<Params>& params, std::span<const NDArray> in) {
  SmallArray<const NDArray*, 8> pointers(in.size());
  for (size_t i = 0; i < in.size(); ++i) pointers[i] = &in[i];
  std::vector<NDArray> out(static_cast<size_t>(op.num_outputs(*params)));
  call_as_given(op, params, pointers, out, in.empty() ? Device() : in[0].device());
  return out;
}

// An input of a composition: a copy of its own on the tape, where the composition's gradient ends. The way from there
// is the outer walk's.
Term composition_input(const NDArray& input) {
  const bool half = is_half(input.dtype());
  const Term as_is(call_recorded, input);
  return half ? as_is.cast(DType::f32) : in_graph(input) ? as_is.then("_copy") : as_is;
}

// The gradient of a node through the composition of its operator, recorded.
void run_composition(Backward& walk, TapeNode& node, SmallArray<Slot, 2>& heads, Compose compose) {
  const FlagScope flags(true, node.training);
  std::vector<Term> in;
  std::vector<NDArray> variables, ends, end_heads;
  std::vector<size_t> positions;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (node.inputs[i].is_none()) fail(node.op->name, ": its gradient drops an input that its composition reads");
    in.push_back(composition_input(node.inputs[i]));
    if (!in_graph(node.inputs[i])) continue;
    variables.push_back(in[i].array());
    positions.push_back(i);
  }
  const std::vector<Term> out = compose(Composing(*node.op, *node.params, node.training, in));
  for (size_t i = 0; i < node.visible; ++i) {
    const NDArray& head = heads[i].value;
    if (head.is_none() || !in_graph(out[i].array())) continue;
    ends.push_back(out[i].cast(head.dtype()).array());
    end_heads.push_back(head);
  }
  if (ends.empty()) return;
  BackwardOptions options = walk.options();
  options.ends_at_variables = true;
  options.training = node.training;
  std::vector<NDArray> grads = gradients(ends, end_heads, variables, options);
  for (size_t k = 0; k < grads.size(); ++k) {
    walk.give(node.inputs[positions[k]], Term(call_recorded, grads[k]).cast(node.inputs[positions[k]].dtype()).array(),
              false);
  }
}

void Backward::visit(const Ref<TapeNode>& node) {
  NodeState& state = states_.at(node.get());
  for (size_t i = 0; i < node->visible && !wanted_outputs_.empty(); ++i) {
    const auto wanted = wanted_outputs_.find({node.get(), static_cast<int>(i)});
    if (wanted != wanted_outputs_.end()) wanted->second = state.heads[i];
  }
  if (!state.useful) return;
  const bool any_head =
      std::any_of(state.heads.begin(), state.heads.end(), [](const Slot& s) { return !s.value.is_none(); });
  if (!any_head) return;
  if (node->custom) {
    run_custom(*this, *node, state.heads);
  } else if (const Compose compose =
                 options_.create_graph ? composition_of(*node->op, *node->params, node->training) : nullptr) {
    run_composition(*this, *node, state.heads, compose);
  } else if (!node->op->gradient.is_zero) {
    if (!node->op->gradient.fn) fail(node->op->name, " has no gradient");
    TapeBuilder builder(*this, *node, state.heads);
    node->op->gradient.fn(builder);
  }
  if (!options_.retain_graph && !options_.create_graph) {
    for (Slot& slot : state.heads) slot = {};
  }
}

}  // namespace

void backward(std::span<const NDArray> heads, std::span<const NDArray> head_gradients, const BackwardOptions& options) {
  const observe::Span span(observe::kCalls, [] { return observe::call("backward"); });
  const FlagScope flags(options.create_graph, options.training);
  Backward(options, {}).run(heads, head_gradients);
}

std::vector<NDArray> gradients(std::span<const NDArray> heads, std::span<const NDArray> head_gradients,
                               std::span<const NDArray> variables, const BackwardOptions& options) {
  if (variables.empty()) fail(ErrorKind::value, "grad: no variables are given");
  const FlagScope flags(options.create_graph, options.training);
  Backward walk(options, variables);
  walk.run(heads, head_gradients);
  return walk.results(variables);
}

}  // namespace mxnet::autograd
