// SPDX-License-Identifier: Apache-2.0
#include "executor/executor.h"

#include <algorithm>

#include "autograd/tape.h"
#include "base/observe.h"
#include "executor/gradient_pass.h"
#include "executor/passes.h"
#include "executor/segments.h"
#include "symbol/infer.h"

namespace mxnet {

namespace {

// Sets the thread's flags for a scope.
class ModeScope {
 public:
  explicit ModeScope(bool training, bool recording = false)
      : recording_(autograd::set_recording(recording)), training_(autograd::set_training(training)) {}
  ~ModeScope() {
    autograd::set_recording(recording_);
    autograd::set_training(training_);
  }
  ModeScope(const ModeScope&) = delete;
  ModeScope& operator=(const ModeScope&) = delete;

 private:
  bool recording_, training_;
};

}  // namespace

Executor::Executor(const Symbol& symbol, std::vector<Device> devices, std::vector<NDArray> inputs,
                   std::vector<NDArray> gradients, std::vector<Req> req)
    : plans_(symbol),
      device_(devices.at(0)),
      output_devices_(devices.begin() + 1, devices.end()),
      inputs_(std::move(inputs)),
      gradients_(std::move(gradients)),
      req_(std::move(req)) {
  if (inputs_.size() != plans_.num_inputs()) {
    fail(ErrorKind::value, "bind: the symbol has ", plans_.num_inputs(), " inputs, got ", inputs_.size(), " arrays");
  }
  gradients_.resize(inputs_.size());
  req_.resize(inputs_.size(), Req::null);
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i].is_none()) fail(ErrorKind::value, "bind: the array of ", plans_.variables()[i]->name, " is missing");
    sparse_ |= inputs_[i].is_sparse();
    inputs_[i] = inputs_[i].detached();
    if (gradients_[i].is_none()) {
      req_[i] = Req::null;
      continue;
    }
    gradients_[i] = gradients_[i].detached();
    if (gradients_[i].shape() != inputs_[i].shape() || gradients_[i].dtype() != inputs_[i].dtype()) {
      fail(ErrorKind::value, "bind: the gradient array of ", plans_.variables()[i]->name, " has shape ",
           gradients_[i].shape(), " and dtype ", name_of(gradients_[i].dtype()), ", the argument has ",
           inputs_[i].shape(), " and ", name_of(inputs_[i].dtype()));
    }
    gradients_[i].make_plain(true);
  }
  allocate_outputs();
}

void Executor::allocate_outputs() {
  std::unordered_map<const Node*, TensorSpec> known;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    known[plans_.variables()[i]] = {inputs_[i].shape(), inputs_[i].dtype(), Layout::plain};
  }
  outputs_.assign(plans_.heads().size(), NDArray());
  const std::vector<Entry> heads = plans_.heads_with_casts(known);
  const GraphSpecs specs = infer_graph(heads, known);
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const TensorSpec& spec = specs.at(heads[i]);
    if (!is_known(spec)) {
      if (!plans_.plannable()) continue;  // data may tell
      fail(ErrorKind::value, "bind: the shape of output ", plans_.heads()[i].node->name, " does not follow");
    }
    outputs_[i] = NDArray::zeros(spec.shape, spec.dtype, i < output_devices_.size() ? output_devices_[i] : device_);
    outputs_[i].make_plain(true);
  }
}

std::vector<const NDArray*> Executor::pointers() const {
  std::vector<const NDArray*> list;
  for (const NDArray& a : inputs_) list.push_back(&a);
  return list;
}

std::vector<uint8_t> Executor::needs() const {
  std::vector<uint8_t> list;
  for (const Req req : req_) list.push_back(req != Req::null);
  return list;
}

void Executor::drop_frame() {
  if (plan_) plan_->return_frame(std::move(frame_.memory));
  frame_ = {};
  plan_.reset();
}

void Executor::forward(bool training) {
  const observe::Span span(observe::kCalls, [] { return observe::call("Executor.forward"); });
  trained_ = training;
  if (monitor_ || !is_planned()) return forward_watched(training);
  const std::vector<uint8_t> wanted = needs();
  const bool differentiable = training && std::find(wanted.begin(), wanted.end(), 1) != wanted.end();
  const auto in = pointers();
  if (!differentiable) {
    drop_frame();
    Plan::Frame none;
    plans_.find(in, training, true, {})->run_forward(in, outputs_, none);
    return;
  }
  const Ref<Plan> plan = plans_.find(in, training, true, wanted);
  if (!(plan == plan_)) {
    drop_frame();
    plan_ = plan;
    frame_ = plan->lease_frame(device_);
  }
  plan->run_forward(in, outputs_, frame_);
}

std::vector<Entry> Executor::settled_heads() const {
  std::unordered_map<const Node*, TensorSpec> known;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    known[plans_.variables()[i]] = {inputs_[i].shape(), inputs_[i].dtype(), Layout::plain};
  }
  return settle_shapes(plans_.heads(), infer_graph(plans_.heads(), known));
}

void Executor::forward_watched(bool training) {
  drop_frame();
  recorded_.clear();
  const autograd::InstanceScope keep(&instances_);
  std::vector<NDArray> results;
  if (training && !is_planned()) {
    results = record(training);
    recorded_ = results;
  } else {
    const ModeScope mode(training);
    std::unordered_map<const Node*, NDArray> feed;
    for (size_t i = 0; i < inputs_.size(); ++i) feed[plans_.variables()[i]] = inputs_[i];
    results = run_interpreted(feed);
  }
  for (size_t i = 0; i < results.size(); ++i) {
    if (outputs_[i].is_none() || outputs_[i].shape() != results[i].shape())
      outputs_[i] = results[i].detached();
    else
      outputs_[i].copy_from(results[i]);
  }
}

// Operators one by one while somebody watches, or where arrays are sparse; else what lies between cuts runs as plans.
std::vector<NDArray> Executor::run_interpreted(const std::unordered_map<const Node*, NDArray>& feed) {
  if (monitor_ || sparse_) return interpret(settled_heads(), feed, device_, monitor_ ? &*monitor_ : nullptr);
  if (segments_.empty()) segments_ = make_segments(settled_heads(), {});
  return interpret(segments_, feed, device_);
}

// The outputs, on a tape whose variables write to the bound gradients.
std::vector<NDArray> Executor::record(bool training) {
  const ModeScope mode(training, true);
  std::unordered_map<const Node*, NDArray> feed;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    NDArray variable = inputs_[i].detached();
    if (req_[i] != Req::null) {
      const auto req = req_[i] == Req::add ? autograd::GradReq::add : autograd::GradReq::write;
      autograd::mark_variable(variable, gradients_[i], req);
    }
    feed[plans_.variables()[i]] = std::move(variable);
  }
  return run_interpreted(feed);
}

void Executor::backward_recorded(std::span<const NDArray> head_gradients, std::span<const Head> kinds) {
  const autograd::InstanceScope keep(&instances_);
  const std::vector<NDArray> results = recorded_.empty() ? record(trained_) : recorded_;
  std::vector<NDArray> heads, gradients;
  for (size_t i = 0; i < results.size(); ++i) {
    if (kinds[i] == Head::none || !autograd::in_graph(results[i])) continue;
    heads.push_back(results[i]);
    gradients.push_back(head_gradients[i]);
  }
  autograd::BackwardOptions options;
  options.retain_graph = true;
  options.training = trained_;
  if (!heads.empty()) autograd::backward(heads, gradients, options);
}

std::vector<Head> Executor::kinds_of_heads(std::span<const NDArray> head_gradients) const {
  std::vector<Head> kinds;
  for (size_t i = 0; i < outputs_.size(); ++i) {
    const Entry& head = plans_.heads()[i];
    if (is_loss_head(head)) {
      kinds.push_back(head.node->op->gradient.is_zero ? Head::none : Head::ones);
    } else if (i < head_gradients.size() && !head_gradients[i].is_none()) {
      kinds.push_back(Head::given);
    } else {
      fail(ErrorKind::value, "backward: output ", head.node->output_name(head.index),
           " is not a loss, so its gradient must be given in out_grads");
    }
  }
  return kinds;
}

void Executor::backward(std::span<const NDArray> head_gradients) {
  const observe::Span span(observe::kCalls, [] { return observe::call("Executor.backward"); });
  const std::vector<Head> kinds = kinds_of_heads(head_gradients);
  std::vector<NDArray> heads(outputs_.size());
  for (size_t i = 0; i < heads.size(); ++i) {
    if (kinds[i] == Head::given) heads[i] = head_gradients[i];
  }
  const std::vector<uint8_t> wanted = needs();
  if (std::find(wanted.begin(), wanted.end(), 1) == wanted.end()) return;
  if (!is_planned()) return backward_recorded(heads, kinds);
  const Ref<Plan> plan = plan_ ? plan_ : plans_.find(pointers(), trained_, true, wanted);
  plan->run_backward({inputs_, outputs_, heads, kinds, gradients_, req_, plan_ ? &frame_ : nullptr});
}

Plan::Memory Executor::planned_memory() {
  if (!is_planned()) return {};
  const std::vector<uint8_t> wanted = needs();
  if (std::find(wanted.begin(), wanted.end(), 1) == wanted.end()) {
    return plans_.find(pointers(), false, true, {})->memory(nullptr);
  }
  // The gradient of an output looks like the output.
  const std::vector<Head> kinds = kinds_of_heads(outputs_);
  std::vector<NDArray> heads(outputs_.size());
  for (size_t i = 0; i < heads.size(); ++i) {
    if (kinds[i] == Head::given) heads[i] = outputs_[i];
  }
  const Ref<Plan> plan = plans_.find(pointers(), true, true, wanted);
  Plan::Frame frame = plan->lease_frame(device_);
  const Plan::BackwardCall call{inputs_, outputs_, heads, kinds, gradients_, req_, &frame};
  const Plan::Memory memory = plan->memory(&call);
  plan->return_frame(std::move(frame.memory));
  return memory;
}

}  // namespace mxnet
