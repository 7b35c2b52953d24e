// SPDX-License-Identifier: Apache-2.0
#include "executor/precision_pass.h"

#include <algorithm>
#include <array>
#include <map>

namespace mxnet {

namespace {

const OpDef& cast_op() {
  static const OpDef& op = get_op("Cast");
  return op;
}
const OpDef& amp_cast_op() {
  static const OpDef& op = get_op("amp_cast");
  return op;
}
const OpDef& multicast_op() {
  static const OpDef& op = get_op("amp_multicast");
  return op;
}

bool is_single_cast(const Node& node) {
  return node.op == &cast_op() || node.op == &amp_cast_op() || (node.op && node.op->name == "_cast_like");
}

// Rebuilds a graph node by node. `visit` gets each operator node, with its inputs already replaced, and its original;
// it returns what stands for the outputs.
template <typename Visit>
std::vector<Entry> rewrite(std::span<const Entry> heads, Visit&& visit) {
  std::unordered_map<const Node*, std::vector<Entry>> done;
  const auto moved = [&](const Entry& e) { return done.at(e.node.get())[static_cast<size_t>(e.index)]; };
  for (Node* node : topological_order(heads)) {
    std::vector<Entry>& outputs = done[node];
    Ref<Node> same(node);
    if (!node->is_variable()) {
      std::vector<Entry> inputs;
      for (const Entry& in : node->inputs) inputs.push_back(moved(in));
      outputs = visit(same, std::move(inputs));
    } else {
      outputs = {{same, 0}};
    }
  }
  std::vector<Entry> out;
  for (const Entry& head : heads) out.push_back(moved(head));
  return out;
}

std::vector<Entry> outputs_of(const Ref<Node>& node) {
  std::vector<Entry> outputs;
  for (int i = 0; i < node->num_all_outputs(); ++i) outputs.push_back({node, i});
  return outputs;
}

// The node itself if its inputs are the same.
Ref<Node> with_inputs(const Ref<Node>& node, std::vector<Entry> inputs) {
  if (inputs == node->inputs) return node;
  Ref<Node> changed = make_node(*node->op, node->params, node->name, std::move(inputs));
  changed->attrs = node->attrs;
  return changed;
}

// One cast per entry and type.
class Casts {
 public:
  explicit Casts(const OpDef& op) : op_(op) {}

  Entry cast(const Entry& from, DType to) {
    Entry& known = known_[{from.node.get(), from.index, to}];
    if (known.node) return known;
    std::string name = from.node->name;
    if (from.node->num_outputs() > 1) name += std::to_string(from.index);
    name += std::string("_amp_cast_") + name_of(to);
    known = {make_node(op_, params(to), std::move(name), {from}), 0};
    known.node->attrs = attrs_of(op_, *known.node->params);
    return known;
  }

 private:
  const Ref<Params>& params(DType to) {
    Ref<Params>& p = params_[to];
    if (!p) p = cast_params(op_, to);
    return p;
  }

  const OpDef& op_;
  std::map<std::tuple<const Node*, int, DType>, Entry> known_;
  std::map<DType, Ref<Params>> params_;
};

// dtypes of entries, from those of variables.
class Types {
 public:
  explicit Types(const std::unordered_map<const Node*, TensorSpec>& known) : known_(known) {}

  DType of(const Entry& e) {
    if (e.node->is_variable()) {
      const auto it = known_.find(e.node.get());
      return it == known_.end() ? DType::unknown : it->second.dtype;
    }
    auto [it, fresh] = outputs_.try_emplace(e.node.get());
    if (fresh) it->second = infer(*e.node);
    return it->second[static_cast<size_t>(e.index)];
  }

 private:
  // Inputs come before their users, so this does not go deep.
  std::vector<DType> infer(const Node& node) {
    const TensorSpec unknown{Shape::unknown(), DType::unknown, Layout::plain};
    std::vector<TensorSpec> in(node.inputs.size(), unknown), out(static_cast<size_t>(node.num_all_outputs()), unknown);
    for (size_t i = 0; i < in.size(); ++i) in[i].dtype = of(node.inputs[i]);
    try {
      InferContext context(*node.op, *node.params, in, out);
      node.op->infer.dtype(context);
    } catch (const Error& e) {
      throw Error(e.kind(), "node " + node.name + ": " + e.what());
    }
    std::vector<DType> types;
    for (const TensorSpec& spec : out) types.push_back(spec.dtype);
    return types;
  }

  const std::unordered_map<const Node*, TensorSpec>& known_;
  std::unordered_map<const Node*, std::vector<DType>> outputs_;
};

// Every value of `narrow` is one of `wide`.
bool holds(DType wide, DType narrow) { return is_float(wide) && is_float(narrow) && size_of(wide) > size_of(narrow); }

class Simplifier {
 public:
  explicit Simplifier(const GraphSpecs& specs) : specs_(specs), casts_(cast_op()) {}

  std::vector<Entry> visit(const Ref<Node>& node, std::vector<Entry> inputs) {
    const auto& out = specs_.of.at(node.get());
    std::vector<Entry> results;
    if (is_single_cast(*node)) {
      results = {cast(node, inputs[0], type_before(node->inputs[0]), out[0].dtype)};
    } else if (node->op == &multicast_op()) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        results.push_back(cast({}, inputs[i], type_before(node->inputs[i]), out[i].dtype));
      }
    } else {
      results = outputs_of(with_inputs(node, std::move(inputs)));
    }
    return results;
  }

 private:
  DType type_before(const Entry& original) const { return specs_.at(original).dtype; }

  Entry cast(const Ref<Node>& node, const Entry& from, DType before, DType to) {
    if (before == to) return from;
    const auto wider = widened_.find({from.node.get(), from.index});
    if (wider != widened_.end()) return cast(node, wider->second.first, wider->second.second, to);
    const bool kept = node && node->op == &cast_op() && node->inputs[0] == from;
    const Entry made = kept ? Entry{node, 0} : casts_.cast(from, to);
    if (holds(to, before)) widened_[{made.node.get(), made.index}] = {from, before};
    return made;
  }

  const GraphSpecs& specs_;
  Casts casts_;
  std::map<std::pair<const Node*, int>, std::pair<Entry, DType>> widened_;  // what was widened, and its type
};

std::vector<Entry> multicast(const Node& reader, std::vector<Entry> inputs) {
  const OpDef& op = multicast_op();
  const auto params = op.params.parse(op.name, {{"num_outputs", static_cast<int64_t>(inputs.size())}});
  const Ref<Node> made = make_node(op, params, reader.name + "_amp_multicast", std::move(inputs));
  made->attrs = attrs_of(op, *params);
  return outputs_of(made);
}

// Variables of these names that are only read through casts to `low` are of that type themselves.
std::vector<Entry> cast_variables(std::span<const Entry> heads, DType low, const std::set<std::string>& names) {
  const auto casts_low = [&](const Node& node) {
    return node.op == &amp_cast_op() && node.op->params.to_text(*node.params)[0].second == name_of(low);
  };
  std::map<const Node*, Ref<Node>> lowered;
  const auto order = topological_order(heads);
  for (Node* node : order) {
    if (node->is_variable() && names.contains(node->name)) lowered[node] = {};
  }
  for (const Entry& head : heads) lowered.erase(head.node.get());
  for (const Node* node : order) {
    for (const Entry& in : node->inputs) {
      if (!casts_low(*node)) lowered.erase(in.node.get());
    }
  }
  for (auto& [variable, stand_in] : lowered) {
    stand_in = make_variable(variable->name, variable->attrs);
    stand_in->attrs["__dtype__"] = std::to_string(static_cast<int>(low));
  }
  return rewrite(heads, [&](const Ref<Node>& node, std::vector<Entry> inputs) -> std::vector<Entry> {
    const auto it = node->inputs.empty() ? lowered.end() : lowered.find(node->inputs[0].node.get());
    if (it != lowered.end()) return {{it->second, 0}};
    return outputs_of(with_inputs(node, std::move(inputs)));
  });
}

using KnownSpecs = std::unordered_map<const Node*, TensorSpec>;

std::vector<Entry> place_exactly(std::span<const Entry> heads, const KnownSpecs& known, const PrecisionPolicy& policy) {
  Casts casts(cast_op());
  Types types(known);
  return rewrite(heads, [&](const Ref<Node>& node, std::vector<Entry> inputs) {
    std::vector<DType> given, wanted(inputs.size());
    for (const Entry& e : inputs) given.push_back(types.of(e));
    policy.decide(*node->op, *node->params, given, wanted);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (wanted[i] != given[i]) inputs[i] = casts.cast(inputs[i], wanted[i]);
    }
    std::vector<Entry> outputs = outputs_of(with_inputs(node, std::move(inputs)));
    types.of(outputs[0]);
    return outputs;
  });
}

// The graph in float32, where nothing in it asks for a half type itself; empty otherwise.
std::vector<Entry> widen_graph(std::span<const Entry> heads, const KnownSpecs& known, const PrecisionPolicy& policy) {
  Casts casts(cast_op());
  bool fits = true;
  const auto widened = rewrite(heads, [&](const Ref<Node>& node, std::vector<Entry> inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto spec = known.find(inputs[i].node.get());
      if (spec == known.end() || !is_half(spec->second.dtype)) continue;
      if (node->op->is_mutated(*node->params, static_cast<int>(i))) fits = false;
      inputs[i] = casts.cast(inputs[i], DType::f32);
    }
    return outputs_of(with_inputs(node, std::move(inputs)));
  });
  if (!fits) return {};
  std::vector<Entry> placed = place_exactly(widened, known, policy.with_low(DType::f32));
  Types types(known);
  for (const Node* node : topological_order(placed)) {
    for (int i = 0; !node->is_variable() && i < node->num_outputs(); ++i) {
      if (is_half(types.of({Ref<Node>(const_cast<Node*>(node)), i}))) return {};
    }
  }
  return placed;
}

}  // namespace

std::vector<Entry> place_casts(std::span<const Entry> heads, const KnownSpecs& known, const PrecisionPolicy& policy) {
  std::vector<Entry> exact = place_exactly(heads, known, policy.with_low(policy.low()));
  if (!policy.emulated()) return exact;
  std::vector<Entry> wide = widen_graph(heads, known, policy);
  if (wide.empty()) return exact;
  Casts casts(cast_op());
  Types types(known);
  for (size_t i = 0; i < wide.size(); ++i) {
    const DType promised = types.of(exact[i]);
    if (types.of(wide[i]) != promised) wide[i] = casts.cast(wide[i], promised);
  }
  return wide;
}

std::vector<Entry> place_symbolic_casts(std::span<const Entry> heads, const PrecisionPolicy& policy,
                                        const SymbolicCasts& how) {
  Casts casts(amp_cast_op());
  const std::vector<Entry> placed = rewrite(heads, [&](const Ref<Node>& node, std::vector<Entry> inputs) {
    const Precision precision =
        how.excluded.contains(node->name) ? Precision::any : policy.class_of(*node->op, *node->params);
    const auto may_cast = [&](size_t i) { return node->op->may_cast(*node->params, static_cast<int>(i)); };
    if (precision == Precision::low || precision == Precision::full) {
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (may_cast(i)) inputs[i] = casts.cast(inputs[i], precision == Precision::low ? policy.low() : DType::f32);
      }
    } else if (precision == Precision::widest && inputs.size() > 1) {
      std::vector<Entry> together;
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (may_cast(i)) together.push_back(inputs[i]);
      }
      const std::vector<Entry> agreed = multicast(*node, std::move(together));
      for (size_t i = 0, k = 0; i < inputs.size(); ++i) {
        if (may_cast(i)) inputs[i] = agreed[k++];
      }
    }
    return outputs_of(with_inputs(node, std::move(inputs)));
  });
  return how.low_variables.empty() ? placed : cast_variables(placed, policy.low(), how.low_variables);
}

bool has_casts(std::span<const Entry> heads) {
  const auto order = topological_order(heads);
  return std::any_of(order.begin(), order.end(),
                     [](const Node* n) { return is_single_cast(*n) || n->op == &multicast_op(); });
}

std::vector<Entry> simplify_casts(std::span<const Entry> heads, const GraphSpecs& specs) {
  Simplifier simplifier(specs);
  return rewrite(heads, [&](const Ref<Node>& node, std::vector<Entry> inputs) {
    return simplifier.visit(node, std::move(inputs));
  });
}

std::vector<Entry> remove_amp_casts(std::span<const Entry> heads) {
  return rewrite(heads, [](const Ref<Node>& node, std::vector<Entry> inputs) {
    if (node->op == &amp_cast_op() || node->op == &multicast_op()) return inputs;
    return outputs_of(with_inputs(node, std::move(inputs)));
  });
}

}  // namespace mxnet
