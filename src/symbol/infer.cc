// SPDX-License-Identifier: Apache-2.0
#include "symbol/infer.h"

#include <algorithm>
#include <charconv>

namespace mxnet {

namespace {

// "(2, 0, 8)" as a shape; unknown when it does not read as one.
Shape shape_from_text(const std::string& text, bool np_shape) {
  Shape shape;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end) {
    int64_t dim = 0;
    const auto [next, error] = std::from_chars(at, end, dim);
    if (error != std::errc()) {
      ++at;
      continue;
    }
    shape.push_back(dim < 0 || (!np_shape && dim == 0) ? -1 : dim);
    at = next;
  }
  if (shape.rank() == 0 && !np_shape) return Shape::unknown();
  return shape;
}

DType dtype_from_text(const std::string& text) {
  int number = -1;
  const auto [next, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && next == text.data() + text.size()) {
    const bool valid = size_of(static_cast<DType>(number)) > 0;
    return valid ? static_cast<DType>(number) : DType::unknown;
  }
  return dtype_from_name(text);
}

TensorSpec variable_spec(const Node& node, bool np_shape) {
  TensorSpec spec{Shape::unknown(), DType::unknown, Layout::plain};
  if (const std::string* text = node.attr("__shape__")) spec.shape = shape_from_text(*text, np_shape);
  if (const std::string* text = node.attr("__dtype__")) spec.dtype = dtype_from_text(*text);
  return spec;
}

void check_agrees(const Node& node, const TensorSpec& own, const TensorSpec& given) {
  const bool ranks = own.shape.rank_known() && given.shape.rank_known();
  bool conflict = ranks && own.shape.rank() != given.shape.rank();
  for (int i = 0; ranks && !conflict && i < own.shape.rank(); ++i) {
    conflict = own.shape[i] >= 0 && given.shape[i] >= 0 && own.shape[i] != given.shape[i];
  }
  if (conflict) {
    fail(ErrorKind::value, "variable ", node.name, ": declared with shape ", own.shape, ", given ", given.shape);
  }
}

// What the caller knows, completed by what the variable's own attributes say.
TensorSpec merged(const TensorSpec& own, const TensorSpec& given) {
  TensorSpec spec = given;
  if (!spec.shape.rank_known()) spec.shape = own.shape;
  for (int i = 0; own.shape.rank_known() && i < spec.shape.rank(); ++i) {
    if (spec.shape[i] < 0) spec.shape[i] = own.shape[i];
  }
  if (spec.dtype == DType::unknown) spec.dtype = own.dtype;
  return spec;
}

class Inference {
 public:
  Inference(GraphSpecs& specs) : specs_(specs) {}

  void run() {
    bool changed = true;
    // Each round learns something that stays; a chain that is learned backwards needs one for each node at most.
    for (size_t round = 0; changed; ++round) {
      if (round > specs_.order.size() + 100) fail(ErrorKind::value, "infer_shape: the shapes do not settle");
      changed = false;
      for (Node* node : specs_.order) changed |= visit(*node);
      if (!changed) return;
      changed = false;
      for (auto it = specs_.order.rbegin(); it != specs_.order.rend(); ++it) changed |= visit(**it);
    }
  }

 private:
  // What was known stays as it was: otherwise two operators could contradict each other for ever.
  static void check_keeps(const Node& node, const TensorSpec& old, const TensorSpec& now) {
    bool keeps = old.dtype == DType::unknown || old.dtype == now.dtype;
    if (old.shape.rank_known()) {
      keeps = keeps && now.shape.rank() == old.shape.rank();
      for (int i = 0; keeps && i < old.shape.rank(); ++i) keeps = old.shape[i] < 0 || old.shape[i] == now.shape[i];
    }
    if (keeps) return;
    fail(ErrorKind::value, "in node ", node.name, ": shape ", old.shape, " and dtype ", name_of(old.dtype),
         " follow from one side, ", now.shape, " and ", name_of(now.dtype), " from the other");
  }

  bool visit(Node& node) {
    if (node.is_variable()) return false;
    auto& out = specs_.of.at(&node);
    in_.clear();
    for (const Entry& e : node.inputs) in_.push_back(specs_.at(e));
    const auto all_known = [](const std::vector<TensorSpec>& list) {
      return std::all_of(list.begin(), list.end(), [](const TensorSpec& s) { return is_known(s); });
    };
    if (done_.contains(&node) && all_known(in_) && all_known(out)) return false;
    const auto before = out;
    const OpDef& op = broadcasting_operator(node, in_);
    InferContext context(op, *node.params, in_, out);
    try {
      op.infer.shape(context);
      op.infer.dtype(context);
    } catch (const Error& e) {
      throw Error(e.kind(), "in node " + node.name + ": " + e.what());
    }
    if (all_known(in_) && all_known(out)) done_.emplace(&node, true);
    bool changed = !(before == out);
    for (size_t i = 0; i < out.size(); ++i) check_keeps(node, before[i], out[i]);
    for (size_t i = 0; i < in_.size(); ++i) {
      TensorSpec& slot = specs_.of.at(node.inputs[i].node.get())[static_cast<size_t>(node.inputs[i].index)];
      if (slot == in_[i]) continue;
      check_keeps(node, slot, in_[i]);
      slot = in_[i];
      changed = true;
    }
    return changed;
  }

  GraphSpecs& specs_;
  std::vector<TensorSpec> in_;
  std::unordered_map<const Node*, bool> done_;
};

}  // namespace

const OpDef& broadcasting_operator(const Node& node, std::span<const TensorSpec> in) {
  if (in.size() != 2 || !in[0].shape.known() || !in[1].shape.known() || in[0].shape == in[1].shape) return *node.op;
  static const auto* twins = [] {
    auto* table = new std::unordered_map<const OpDef*, const OpDef*>;
    constexpr std::pair<const char*, const char*> names[] = {{"elemwise_add", "add"},
                                                             {"elemwise_sub", "sub"},
                                                             {"elemwise_mul", "mul"},
                                                             {"elemwise_div", "div"},
                                                             {"_mod", "mod"},
                                                             {"_power", "power"},
                                                             {"_maximum", "maximum"},
                                                             {"_minimum", "minimum"},
                                                             {"_hypot", "hypot"},
                                                             {"_equal", "equal"},
                                                             {"_not_equal", "not_equal"},
                                                             {"_greater", "greater"},
                                                             {"_lesser", "lesser"},
                                                             {"_greater_equal", "greater_equal"},
                                                             {"_lesser_equal", "lesser_equal"}};
    for (const auto& [same, broadcast] : names) {
      const OpDef* from = find_op(same);
      const OpDef* to = find_op(std::string("broadcast_") + broadcast);
      if (from && to) table->emplace(from, to);
    }
    return table;
  }();
  const auto it = twins->find(node.op);
  return it == twins->end() ? *node.op : *it->second;
}

bool is_known(const TensorSpec& spec) { return spec.shape.known() && spec.dtype != DType::unknown; }

GraphSpecs infer_graph(std::span<const Entry> heads, const std::unordered_map<const Node*, TensorSpec>& known,
                       bool np_shape) {
  GraphSpecs specs;
  specs.order = topological_order(heads);
  for (const Node* node : specs.order) {
    auto& own = specs.of[node];
    if (!node->is_variable()) {
      own.assign(static_cast<size_t>(node->num_all_outputs()), {Shape::unknown(), DType::unknown, Layout::plain});
      continue;
    }
    own.push_back(variable_spec(*node, np_shape));
    if (const auto it = known.find(node); it != known.end()) {
      check_agrees(*node, own[0], it->second);
      own[0] = merged(own[0], it->second);
    }
  }
  Inference(specs).run();
  return specs;
}

}  // namespace mxnet
