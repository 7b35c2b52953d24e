// SPDX-License-Identifier: Apache-2.0
#include "executor/fusion.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "executor/passes.h"
#include "simple_op/elementwise.h"

namespace mxnet {

namespace {

constexpr size_t kMaxNodes = 24;
constexpr size_t kMaxInputs = 12;

// Elementwise over its output's shape, with the usual broadcasting rules.
bool fusable(const Node& node, const GraphSpecs& specs) {
  const ElementwiseInfo* info = elementwise_info(*node.op);
  if (!info || reads_only_shape(node) || node.num_all_outputs() != 1 || node.op->inputs.mutates_any() ||
      node.inputs.empty())
    return false;
  if (info->fusible && !info->fusible(*node.params)) return false;
  const TensorSpec& out = specs.of.at(&node)[0];
  if (out.shape.size() == 0) return false;
  std::vector<TensorSpec> in;
  for (const Entry& e : node.inputs) in.push_back(specs.at(e));
  if (info->adjust) {
    std::vector<TensorSpec> adjusted = in;
    info->adjust(*node.params, adjusted);
    if (!(adjusted == in)) return false;
  }
  return info->broadcasts ||
         std::all_of(in.begin(), in.end(), [&](const TensorSpec& s) { return s.shape == out.shape; });
}

// Units under construction and what they read from each other.
class Grouping {
 public:
  Grouping(std::span<Node* const> order, const GraphSpecs& specs, const std::function<bool(const Entry&)>& given,
           const std::function<bool(const Node*)>& alone)
      : order_(order), specs_(specs), given_(given), alone_(alone) {}

  std::vector<Unit> run() {
    for (Node* node : order_) place(*node);
    return sorted();
  }

 private:
  bool computed(const Entry& e) const { return !given_(e) && unit_of_.contains(e.node.get()); }

  void place(Node& node) {
    const int home = !alone_(&node) && fusable(node, specs_) ? find_home(node) : -1;
    const int unit = home >= 0 ? home : static_cast<int>(units_.size());
    if (home < 0) {
      units_.emplace_back();
      reads_.emplace_back();
      inputs_.emplace_back();
    }
    units_[static_cast<size_t>(unit)].push_back(&node);
    unit_of_[&node] = unit;
    for (const Entry& in : node.inputs) {
      const int from = computed(in) ? unit_of_.at(in.node.get()) : -1;
      if (from == unit) continue;
      if (from >= 0) reads_[static_cast<size_t>(unit)].insert(from);
      inputs_[static_cast<size_t>(unit)].insert({in.node.get(), in.index});
    }
  }

  // A unit that one of the inputs comes from and that may take the node; -1 if there is none.
  int find_home(const Node& node) const {
    int best = -1;
    for (const Entry& in : node.inputs) {
      if (!computed(in)) continue;
      const int unit = unit_of_.at(in.node.get());
      if (unit > best && accepts(unit, node)) best = unit;
    }
    return best;
  }

  bool accepts(int unit, const Node& node) const {
    const Unit& members = units_[static_cast<size_t>(unit)];
    if (members.size() >= kMaxNodes || alone_(members[0]) || !fusable(*members[0], specs_)) return false;
    if (!(specs_.of.at(members[0])[0].shape == specs_.of.at(&node)[0].shape)) return false;
    std::set<std::pair<const Node*, int>> all = inputs_[static_cast<size_t>(unit)];
    for (const Entry& in : node.inputs) {
      const bool inside = computed(in) && unit_of_.at(in.node.get()) == unit;
      if (inside) continue;
      all.insert({in.node.get(), in.index});
      // Nothing that the node reads from outside may wait for the unit: they would wait for each other.
      if (computed(in) && depends(unit_of_.at(in.node.get()), unit)) return false;
    }
    return all.size() <= kMaxInputs;
  }

  bool depends(int from, int on) const {
    std::vector<int> stack{from};
    std::unordered_set<int> seen;
    while (!stack.empty()) {
      const int unit = stack.back();
      stack.pop_back();
      if (unit == on) return true;
      if (!seen.insert(unit).second) continue;
      stack.insert(stack.end(), reads_[static_cast<size_t>(unit)].begin(), reads_[static_cast<size_t>(unit)].end());
    }
    return false;
  }

  std::vector<Unit> sorted() {
    std::vector<Unit> result;
    std::vector<char> state(units_.size(), 0);
    std::vector<std::pair<int, bool>> stack;  // unit, whether its inputs are done
    for (Node* node : order_) {
      stack.emplace_back(unit_of_.at(node), false);
      while (!stack.empty()) {
        const auto [unit, ready] = stack.back();
        stack.pop_back();
        const size_t u = static_cast<size_t>(unit);
        if (ready) result.push_back(std::move(units_[u]));
        if (state[u]) continue;
        state[u] = 1;
        stack.emplace_back(unit, true);
        for (const int from : reads_[u]) {
          if (!state[static_cast<size_t>(from)]) stack.emplace_back(from, false);
        }
      }
    }
    return result;
  }

  std::span<Node* const> order_;
  const GraphSpecs& specs_;
  const std::function<bool(const Entry&)>& given_;
  const std::function<bool(const Node*)>& alone_;
  std::vector<Unit> units_;
  std::vector<std::set<int>> reads_;
  std::vector<std::set<std::pair<const Node*, int>>> inputs_;
  std::unordered_map<const Node*, int> unit_of_;
};

class FusedKernel final : public Kernel {
 public:
  FusedKernel(std::unique_ptr<ProgramKernel> program, std::vector<Scalar> scalars)
      : program_(std::move(program)), scalars_(std::move(scalars)) {}
  void run(const KernelCall& call) const override { program_->run(call.in, call.out, scalars_.data()); }

 private:
  std::unique_ptr<ProgramKernel> program_;
  std::vector<Scalar> scalars_;  // the nodes' parameters are fixed
};

}  // namespace

std::vector<Unit> fuse_elementwise(std::span<Node* const> order, const GraphSpecs& specs,
                                   const std::function<bool(const Entry&)>& given,
                                   const std::function<bool(const Node*)>& alone) {
  return Grouping(order, specs, given, alone).run();
}

std::unique_ptr<Kernel> make_fused_kernel(const FusedKernelArgs& args) {
  ProgramBuilder builder;
  std::map<std::pair<const Node*, int>, Operand> operands;
  for (size_t i = 0; i < args.inputs.size(); ++i) {
    operands[{args.inputs[i].node.get(), args.inputs[i].index}] = builder.input(args.in[i].dtype);
  }
  std::vector<Scalar> scalars;
  for (const Node* node : args.unit) {
    const ElementwiseInfo& info = *elementwise_info(*node->op);
    std::vector<Operand> in;
    for (const Entry& e : node->inputs) in.push_back(operands.at({e.node.get(), e.index}));
    operands[{node, 0}] = info.append(builder, *node->params, in, args.specs.of.at(node)[0].dtype);
    const size_t first = scalars.size();
    scalars.resize(first + static_cast<size_t>(info.scalars));
    if (info.read_scalars) info.read_scalars(*node->params, scalars.data() + first);
  }
  for (size_t i = 0; i < args.outputs.size(); ++i) {
    builder.output(operands.at({args.outputs[i].node.get(), args.outputs[i].index}), args.out[i].dtype);
  }
  auto program = ProgramKernel::prepare(builder.take(), args.in, args.out, args.req);
  const int64_t cost = program->cost_ns();
  auto kernel = std::make_unique<FusedKernel>(std::move(program), std::move(scalars));
  kernel->cost_ns = cost;
  kernel->accepts_add = true;
  return kernel;
}

}  // namespace mxnet
