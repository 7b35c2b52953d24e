// SPDX-License-Identifier: Apache-2.0
#include "executor/cached_op.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "autograd/custom.h"
#include "autograd/tape.h"
#include "base/observe.h"
#include "base/small_array.h"
#include "executor/history.h"
#include "executor/interpret.h"
#include "operator/invoke.h"

namespace mxnet {

namespace {

// The tape's record of one call: holds the frame until it dies.
class CachedStep final : public GraphStep {
 public:
  CachedStep(Ref<Plan> plan, std::span<const NDArray* const> inputs, std::span<const NDArray> outputs,
             Plan::Frame frame, std::string name)
      : plan_(std::move(plan)), frame_(std::move(frame)), name_(std::move(name)) {
    for (const NDArray* a : inputs) inputs_.push_back(*a);
    for (const NDArray& a : outputs) outputs_.push_back(a.detached());
  }
  ~CachedStep() override { plan_->return_frame(std::move(frame_.memory)); }

  std::string name() const override { return name_; }
  const std::vector<Entry>& heads() const override { return plan_->heads(); }
  const std::vector<Ref<Node>>& variables() const override { return plan_->variables(); }

  void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    std::vector<Head> kinds;
    for (const NDArray& head : heads) kinds.push_back(head.is_none() ? Head::none : Head::given);
    // The same buffer behind two inputs: the second is computed apart and added.
    std::vector<NDArray> targets(grads.begin(), grads.end());
    std::vector<Req> how(req.begin(), req.end());
    std::vector<size_t> apart;
    for (size_t i = 0; i < targets.size(); ++i) {
      if (req[i] == Req::null || targets[i].is_none()) continue;
      const auto same = [&](const NDArray& other) { return other.chunk() == targets[i].chunk(); };
      if (std::none_of(targets.begin(), targets.begin() + static_cast<ptrdiff_t>(i), same)) continue;
      targets[i] = targets[i].is_sparse() ? NDArray::sparse(targets[i].storage(), targets[i].shape(),
                                                            targets[i].dtype(), targets[i].device())
                                          : NDArray();
      how[i] = Req::write;
      apart.push_back(i);
    }
    plan_->run_backward({inputs_, outputs_, heads, kinds, targets, how, &frame_});
    for (const size_t i : apart) add_into(grads[i], targets[i]);
    for (size_t i = 0; i < targets.size(); ++i) {
      if (grads[i].is_none()) grads[i] = std::move(targets[i]);
    }
  }

  void backward_recorded(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    std::unordered_map<const Node*, NDArray> feed;
    std::vector<NDArray> wanted;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      feed[plan_->variables()[i].get()] = inputs_[i];
      if (req[i] != Req::null) wanted.push_back(inputs_[i]);
    }
    const std::vector<NDArray> out = interpret(plan_->heads(), feed, outputs_[0].device());
    std::vector<NDArray> used_out, used_heads;
    for (size_t i = 0; i < out.size(); ++i) {
      if (heads[i].is_none()) continue;
      used_out.push_back(out[i]);
      used_heads.push_back(heads[i]);
    }
    autograd::BackwardOptions options;
    options.create_graph = true;
    options.training = plan_->signature().training;
    const auto results = autograd::gradients(used_out, used_heads, wanted, options);
    for (size_t i = 0, k = 0; i < grads.size(); ++i) {
      if (req[i] != Req::null) grads[i] = results[k++];
    }
  }

 private:
  // The first of the two has been written or added already.
  static void add_into(NDArray& target, const NDArray& value) {
    static const OpDef& copy_op = get_op("_copy");
    const Req add = Req::add;
    InvokeOptions options;
    options.req = std::span<const Req>(&add, 1);
    const NDArray* in[] = {&value};
    invoke(copy_op, copy_op.params.defaults(), in, std::span<NDArray>(&target, 1), options);
  }

  Ref<Plan> plan_;
  std::vector<NDArray> inputs_, outputs_;
  Plan::Frame frame_;
  std::string name_;
};

// "[0, 2, 5]"
std::vector<size_t> indices_of(const std::string& text) {
  std::vector<size_t> list;
  for (size_t i = 0; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      ++i;
      continue;
    }
    size_t value = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + text.size(), value);
    if (error != std::errc()) fail(ErrorKind::value, "CachedOp: param_indices must be a list of indices, got ", text);
    list.push_back(value);
    i = static_cast<size_t>(end - text.data());
  }
  return list;
}

std::vector<uint8_t> marked(const std::vector<size_t>& indices, size_t count) {
  std::vector<uint8_t> marks(count);
  for (const size_t i : indices) {
    if (i >= count) fail(ErrorKind::value, "CachedOp: param_indices names input ", i, ", the graph has ", count);
    marks[i] = 1;
  }
  return marks;
}

}  // namespace

CachedOp::CachedOp(const Symbol& symbol, const Flags& flags)
    : plans_(symbol), name_(symbol.name().value_or("CachedOp")) {
  static constexpr std::array known = {
      "static_alloc",       "static_shape", "inline_limit", "data_indices", "param_indices", "forward_bulk_size",
      "backward_bulk_size", "bulk",         "is_dynamic",   "subgraph",     "flags",         "cse",
      "use_static"};
  for (const auto& [key, value] : flags) {
    const bool ok = std::any_of(known.begin(), known.end(), [&](const char* k) { return key == k; });
    if (!ok) fail(ErrorKind::value, "CachedOp: there is no flag named ", key);
    if (key == "param_indices") plans_.set_unchanging(marked(indices_of(value), num_inputs()));
  }
}

void CachedOp::check_inputs(std::span<const NDArray* const> inputs) const {
  if (inputs.size() != num_inputs()) {
    fail(ErrorKind::type, "CachedOp ", name_, ": takes ", num_inputs(), " inputs, got ", inputs.size());
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i] || inputs[i]->is_none()) {
      fail(ErrorKind::type, "CachedOp ", name_, ": input ", plans_.variables()[i]->name, " is missing");
    }
  }
}

void CachedOp::call_eagerly(std::span<const NDArray* const> inputs, std::span<NDArray> outputs) {
  std::unordered_map<const Node*, NDArray> feed;
  for (size_t i = 0; i < inputs.size(); ++i) feed[plans_.variables()[i]] = *inputs[i];
  const Device device = inputs.empty() ? Device{} : inputs[0]->device();
  const autograd::InstanceScope none(nullptr);
  const auto& heads = watch_ || plans_.plannable() ? plans_.heads() : plans_.segments();
  auto results = interpret(heads, feed, device, watch_ ? &*watch_ : nullptr);
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].is_none())
      outputs[i] = std::move(results[i]);
    else
      outputs[i].copy_from(results[i]);
  }
}

// Checks the arrays that the caller brought; those that overlap an input are replaced, and told of in the result.
std::vector<std::pair<size_t, NDArray>> CachedOp::prepare_outputs(const Plan& plan,
                                                                  std::span<const NDArray* const> inputs,
                                                                  std::span<NDArray> outputs) const {
  std::vector<std::pair<size_t, NDArray>> copies;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const TensorSpec& spec = plan.outputs()[i];
    if (outputs[i].is_none()) outputs[i] = NDArray::empty(spec.shape, spec.dtype, {});
    if (outputs[i].shape() != spec.shape || outputs[i].dtype() != spec.dtype) {
      fail(ErrorKind::value, "CachedOp ", name_, ": the array given for output ", i, " has shape ", outputs[i].shape(),
           " and dtype ", name_of(outputs[i].dtype()), ", the result has ", spec.shape, " and ", name_of(spec.dtype));
    }
    outputs[i].make_plain();
    const auto shared = [&](const NDArray* in) { return in->chunk() == outputs[i].chunk(); };
    if (std::none_of(inputs.begin(), inputs.end(), shared)) continue;
    copies.emplace_back(i, outputs[i]);
    outputs[i] = NDArray::empty(spec.shape, spec.dtype, outputs[i].device());
  }
  return copies;
}

void CachedOp::call(std::span<const NDArray* const> inputs, std::span<NDArray> outputs) {
  const observe::Span span(observe::kCalls, [] { return observe::call("CachedOp"); });
  check_inputs(inputs);
  const bool sparse = std::any_of(inputs.begin(), inputs.end(), [](const NDArray* a) { return a->is_sparse(); });
  if (watch_ || !plans_.plannable() || sparse) return call_eagerly(inputs, outputs);
  const bool record = autograd::would_record(inputs);
  SmallArray<uint8_t, 64> needs(record ? inputs.size() : 0);
  for (size_t i = 0; i < needs.size(); ++i) needs[i] = !plans_.is_mutated(i) && autograd::in_graph(*inputs[i]);
  const bool bound = std::any_of(outputs.begin(), outputs.end(), [](const NDArray& a) { return !a.is_none(); });
  const Ref<Plan> plan = plans_.find(inputs, autograd::is_training(), bound, needs);
  std::vector<std::pair<size_t, NDArray>> copies;
  if (bound) copies = prepare_outputs(*plan, inputs, outputs);
  Plan::Frame frame = record ? plan->lease_frame(inputs[0]->device()) : Plan::Frame{};
  plan->run_forward(inputs, outputs, frame);
  for (auto& [i, target] : copies) {
    target.copy_from(outputs[i]);
    outputs[i] = std::move(target);
  }
  if (!record) return;
  auto step = make_ref<CachedStep>(plan, inputs, outputs, std::move(frame), name_);
  autograd::record_custom(Ref<autograd::CustomStep>(step.get()), inputs, outputs);
}

}  // namespace mxnet
