// SPDX-License-Identifier: Apache-2.0
#include "executor/plan.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "base/env.h"
#include "base/observe.h"
#include "executor/attention_pass.h"
#include "executor/dense_pass.h"
#include "executor/gradient_pass.h"
#include "executor/inference_pass.h"
#include "executor/launch.h"
#include "executor/passes.h"
#include "executor/precision_pass.h"
#include "operator/invoke.h"

namespace mxnet {

namespace {

constexpr size_t kMaxBackwards = 64;       // variants per plan
constexpr int64_t kLongRun = 1'000'000;    // ns
constexpr int64_t kWarmTeamCost = 10'000;  // ns

bool plannable(std::span<Node* const> order) {
  return std::all_of(order.begin(), order.end(), [](const Node* n) { return !n->op || can_plan(*n); });
}

// The terms of a sum: each is added to a sparse target by itself, so that the sum need not be dense.
std::vector<Entry> addends(const Entry& sum) {
  static const OpDef& add_op = get_op("elemwise_add");
  if (sum.node->op != &add_op) return {sum};
  std::vector<Entry> terms = addends(sum.node->inputs[0]);
  const std::vector<Entry> rest = addends(sum.node->inputs[1]);
  terms.insert(terms.end(), rest.begin(), rest.end());
  return terms;
}

std::string names_of(std::span<const Entry> heads) {
  std::string names;
  for (const Entry& head : heads) names += (names.empty() ? "" : ", ") + head.node->name;
  return names;
}

void require_known(const GraphSpecs& specs) {
  for (const Node* node : specs.order) {
    const auto& outputs = specs.of.at(node);
    const size_t visible = static_cast<size_t>(node->num_outputs());
    for (size_t i = 0; i < visible; ++i) {
      if (is_known(outputs[i])) continue;
      fail(ErrorKind::value, "the ", outputs[i].dtype == DType::unknown ? "dtype" : "shape", " of ",
           node->output_name(static_cast<int>(i)), " does not follow from the inputs of the graph");
    }
  }
}

}  // namespace

Ref<Plan> Plan::compile(std::span<const Entry> heads, std::span<Node* const> inputs, PlanSignature signature) {
  if (!plannable(topological_order(heads))) return {};
  const observe::Span span(observe::kCalls, [&] { return observe::call("compile forward", names_of(heads)); });
  Ref<Plan> plan(new Plan);
  plan->signature_ = std::move(signature);
  for (Node* node : inputs) plan->variables_.emplace_back(node);
  const auto known = plan->known_specs();
  plan->heads_.assign(heads.begin(), heads.end());
  if (const PrecisionPolicy* precision = plan->signature_.precision) {
    plan->heads_ = place_casts(plan->heads_, known, *precision);
  }
  plan->has_casts_ = has_casts(plan->heads_);
  plan->heads_ = settle_shapes(plan->heads_, infer_graph(plan->heads_, known));
  plan->heads_ = resolve_broadcasts(plan->heads_, infer_graph(plan->heads_, known));
  plan->heads_ = merge_common_subexpressions(plan->heads_);
  if (plan->has_casts_) plan->heads_ = simplify_casts(plan->heads_, infer_graph(plan->heads_, known));
  plan->source_heads_ = plan->heads_;
  if (plan->signature_.training) {
    plan->heads_ = fuse_norm_relu(plan->heads_, infer_graph(plan->heads_, plan->known_specs()));
  }
  plan->heads_ = fuse_pick_log_softmax(plan->heads_, infer_graph(plan->heads_, plan->known_specs()));
  plan->heads_ = split_rnn_parameters(plan->heads_, infer_graph(plan->heads_, plan->known_specs()));
  plan->heads_ =
      fuse_attention(plan->heads_, infer_graph(plan->heads_, plan->known_specs()), plan->signature_.training);
  if (!plan->signature_.training && plan->signature_.needs.empty()) plan->optimize_for_inference();
  if (plan->signature_.needs.empty())
    plan->heads_ = fuse_dense(plan->heads_, infer_graph(plan->heads_, plan->known_specs()));
  plan->alias_.assign(heads.size(), -1);
  for (size_t i = 0; i < heads.size() && !plan->signature_.bound; ++i) {
    const auto at = std::find(inputs.begin(), inputs.end(), heads[i].node.get());
    if (heads[i].node->is_variable() && at != inputs.end()) plan->alias_[i] = static_cast<int>(at - inputs.begin());
  }
  plan->compile_forward();
  return plan;
}

void Plan::optimize_for_inference() {
  if (!env::settings().fuse_inference) return;
  std::unordered_set<const Node*> unchanging;
  for (size_t i = 0; i < signature_.unchanging.size(); ++i) {
    if (signature_.unchanging[i]) unchanging.insert(variables_[i].get());
  }
  for (const auto pass : {fold_batch_norms, expand_batch_norms, fuse_convolutions}) {
    heads_ = pass({heads_, infer_graph(heads_, known_specs()), unchanging});
  }
}

std::unordered_map<const Node*, TensorSpec> Plan::known_specs() const {
  std::unordered_map<const Node*, TensorSpec> known;
  for (size_t i = 0; i < variables_.size(); ++i) known[variables_[i].get()] = signature_.inputs[i];
  for (size_t i = 0; i < head_variables_.size(); ++i) {
    known[head_variables_[i].get()] = {outputs_[i].shape, outputs_[i].dtype, Layout::plain};
  }
  return known;
}

// Casts of gradients take their type from what they are gradients of, which would be kept for that alone.
void Plan::simplify_present(std::vector<Entry>& entries) const {
  std::vector<Entry> present;
  std::copy_if(entries.begin(), entries.end(), std::back_inserter(present), [](const Entry& e) { return e.node; });
  present = simplify_casts(present, infer_graph(present, known_specs()));
  auto next = present.begin();
  for (Entry& e : entries) {
    if (e.node) e = *next++;
  }
}

std::vector<Entry> Plan::gradient_graph(std::span<const Head> heads, bool lenient) const {
  static const OpDef& ones_like = get_op("ones_like");
  std::vector<Entry> head_gradients(heads_.size());
  for (size_t i = 0; i < heads_.size(); ++i) {
    if (heads[i] == Head::given) head_gradients[i] = {head_variables_[i], 0};
    if (heads[i] == Head::ones) head_gradients[i] = {make_node(ones_like, {}, "head_gradient", {heads_[i]}), 0};
  }
  std::vector<Node*> wanted;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (signature_.needs[i]) wanted.push_back(variables_[i].get());
  }
  std::vector<Entry> compact = make_gradients({heads_, head_gradients, wanted, signature_.training, lenient});
  if (has_casts_) simplify_present(compact);
  std::vector<Entry> all(variables_.size());
  for (size_t i = 0, k = 0; i < variables_.size(); ++i) {
    if (signature_.needs[i]) all[i] = std::move(compact[k++]);
  }
  return all;
}

// What the gradients read of the forward, apart from inputs and outputs. Views are taken again from what they view.
std::vector<Entry> Plan::entries_to_save(std::span<const Entry> gradients) const {
  const auto forward_order = topological_order(heads_);
  const std::unordered_set<const Node*> forward(forward_order.begin(), forward_order.end());
  std::vector<Entry> save, pending;
  std::unordered_set<const Node*> seen;
  const auto follow = [&](Entry e) {
    while (forward.contains(e.node.get())) {
      const bool known = e.node->is_variable() || std::find(heads_.begin(), heads_.end(), e) != heads_.end() ||
                         std::find(save.begin(), save.end(), e) != save.end();
      if (known) return;
      const bool view = e.index == 0 && (e.node->op->flags.view_like || is_identity(*e.node, signature_.training));
      if (!view) {
        save.push_back(e);
        return;
      }
      e = e.node->inputs[0];
    }
    pending.push_back(std::move(e));
  };
  for (const Entry& gradient : gradients) {
    if (gradient.node) follow(gradient);
  }
  while (!pending.empty()) {
    const Entry e = std::move(pending.back());
    pending.pop_back();
    if (e.node->is_variable() || !seen.insert(e.node.get()).second) continue;
    if (reads_only_shape(*e.node)) continue;
    for (const Entry& in : e.node->inputs) follow(in);
  }
  return save;
}

// Small plans run on the calling thread, where a kernel has a team of one. In a long run without gradients the team
// stays awake from step to step, and whoever asked waits for the result: there it pays for much smaller steps.
Schedule Plan::schedule_within_budget(ScheduleRequest request) const {
  request.team = env::settings().threads;
  const bool inference = !signature_.training && signature_.needs.empty();
  if (inference) request.team_cost = kWarmTeamCost;
  Schedule schedule = build_schedule(request);
  if (inference && schedule.cost_ns < kLongRun && request.team > 1) {
    request.team_cost = Kernel::kTeamCost;
    schedule = build_schedule(request);
  }
  if (schedule.cost_ns < env::settings().inline_ns && schedule.team_matters && request.team > 1) {
    request.team = 1;
    schedule = build_schedule(request);
  }
  return schedule;
}

void Plan::compile_forward() {
  const auto specs = infer_graph(heads_, known_specs());
  require_known(specs);
  mutated_.assign(variables_.size(), false);
  for (const Node* node : specs.order) {
    if (node->is_variable()) continue;
    for (size_t i = 0; i < node->inputs.size(); ++i) {
      if (!node->op->writes_input(*node->params, static_cast<int>(i), signature_.training)) continue;
      for (size_t v = 0; v < variables_.size(); ++v) {
        if (variables_[v] == node->inputs[i].node) mutated_[v] = true;
      }
    }
  }
  outputs_.clear();
  for (const Entry& head : heads_) outputs_.push_back(specs.at(head));
  for (const Entry& head : heads_) head_variables_.push_back(make_variable(head.node->name + "_head_gradient"));

  std::vector<Entry> save;
  if (!signature_.needs.empty()) {
    const std::vector<Head> all(heads_.size(), Head::given);
    save = entries_to_save(gradient_graph(all, true));  // which heads will come is not known yet
  }
  std::vector<ScheduleSource> sources;
  for (size_t i = 0; i < variables_.size(); ++i) {
    const bool unchanging = !signature_.unchanging.empty() && signature_.unchanging[i] && !mutated_[i];
    sources.push_back({{variables_[i], 0}, {slot_of_input(i), 0}, signature_.inputs[i], unchanging});
  }
  std::vector<ScheduleTarget> targets;
  std::vector<size_t> target_of;
  for (size_t i = 0; i < heads_.size(); ++i) {
    if (alias_[i] >= 0) continue;
    targets.push_back({heads_[i], {slot_of_output(i), 0}, Req::write, !signature_.bound, Layout::plain});
    target_of.push_back(i);
  }
  forward_ = schedule_within_budget({sources, targets, save, specs, num_bases(), signature_.training, 1});
  forward_.about = {"graph", signature_.needs.empty() ? "forward" : "forward, recorded", names_of(heads_), "", "", ""};
  for (size_t k = 0; k < targets.size(); ++k) outputs_[target_of[k]].layout = targets[k].layout;
  for (size_t i = 0; i < alias_.size(); ++i) {
    if (alias_[i] >= 0) outputs_[i].layout = signature_.inputs[static_cast<size_t>(alias_[i])].layout;
  }
  configure_constants();
}

void Plan::configure_constants() {
  if (!forward_.prologue) return;
  std::vector<size_t> slots;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (forward_.prologue->uses_base[static_cast<size_t>(slot_of_input(i))]) slots.push_back(i);
  }
  constants_.configure(std::move(slots), forward_.constant_bytes);
  PlanStep mark;
  mark.kernel =
      make_kernel([bytes = forward_.constant_bytes](const KernelCall& c) { mark_constants_made(c.out[0], bytes); }, 1);
  mark.name = "prologue";
  mark.out = {{kConstantBase, 0}};
  forward_.prologue->steps.push_back(std::move(mark));
}

// What the prologue makes of these inputs: kept from an earlier run if none of them changed since.
NDArray Plan::constants_for(std::span<const NDArray* const> inputs, Device device) {
  Constants::Lookup found = constants_.find(inputs, device);
  if (found.valid) return found.memory;
  Launch launch(*this, *forward_.prologue, num_bases());
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int slot = slot_of_input(i);
    if (forward_.prologue->uses_base[static_cast<size_t>(slot)]) launch.read(slot, *inputs[i]);
  }
  launch.write(kConstantBase, found.memory);
  launch.go({}, device);
  NDArray memory = found.memory;
  constants_.store(std::move(found));
  return memory;
}

// ---- frames ---------------------------------------------------------------------------------------------------------

Plan::Frame Plan::lease_frame(Device device) {
  if (!keeps_frame()) return {};
  {
    const std::lock_guard lock(mutex_);
    const auto it =
        std::find_if(frames_.rbegin(), frames_.rend(), [&](const NDArray& f) { return f.device() == device; });
    if (it != frames_.rend()) {
      Frame frame{std::move(*it), {}};
      frames_.erase(std::next(it).base());
      return frame;
    }
  }
  return {NDArray::empty(Shape{static_cast<dim_t>(forward_.frame_bytes)}, DType::u8, device), {}};
}

void Plan::return_frame(NDArray memory) {
  if (memory.is_none()) return;
  if (env::settings().debug.reuse_frames) {
    Ref<Chunk> chunk = memory.chunk();
    schedule("poison", {}, {chunk}, Kernel::kUnknownCost, [chunk] { std::memset(chunk->data(), 0xFF, chunk->bytes); });
  }
  const std::lock_guard lock(mutex_);
  frames_.push_back(std::move(memory));
}

// ---- running --------------------------------------------------------------------------------------------------------

void Plan::run_forward(std::span<const NDArray* const> inputs, std::span<NDArray> outputs, Frame& frame) {
  const Device device = inputs.empty() ? Device{} : inputs[0]->device();
  const NDArray constants = forward_.prologue ? constants_for(inputs, device) : NDArray();
  Launch launch(*this, forward_, num_bases());
  if (!constants.is_none()) launch.read(kConstantBase, constants);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int slot = slot_of_input(i);
    if (mutated_[i])
      launch.update(slot, *inputs[i]);
    else if (forward_.uses_base[static_cast<size_t>(slot)])
      launch.read(slot, *inputs[i]);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (alias_[i] >= 0) {
      outputs[i] = inputs[static_cast<size_t>(alias_[i])]->detached();
      continue;
    }
    if (outputs[i].is_none()) {
      outputs[i] = NDArray::empty(outputs_[i].shape, outputs_[i].dtype, device, outputs_[i].layout);
    }
    launch.write(slot_of_output(i), outputs[i]);
  }
  if (!frame.memory.is_none()) launch.write(kFrameBase, frame.memory);
  if (forward_.random_draws) frame.stream = random::reserve(device, forward_.random_draws);
  launch.go(frame.stream, device);
}

const Plan::Backward& Plan::backward_for(const BackwardCall& call) {
  std::vector<uint64_t> key;
  key.push_back(call.frame && !call.frame->memory.is_none());
  const auto layout_of = [](const NDArray& a) { return a.is_none() ? 0u : 1u + static_cast<unsigned>(a.layout()); };
  for (size_t i = 0; i < heads_.size(); ++i) {
    key.push_back(static_cast<uint64_t>(call.heads[i]) | layout_of(call.head_gradients[i]) << 8 |
                  layout_of(call.outputs[i]) << 16);
  }
  for (size_t i = 0; i < variables_.size(); ++i) {
    const NDArray& gradient = call.gradients[i];
    const auto storage = static_cast<unsigned>(gradient.is_none() ? StorageType::unset : gradient.storage());
    key.push_back(static_cast<uint64_t>(call.req[i]) | storage << 8 | layout_of(call.inputs[i]) << 16);
  }
  const std::lock_guard lock(mutex_);
  for (const auto& known : backwards_) {
    if (known->key == key) return *known;
  }
  if (backwards_.size() >= kMaxBackwards) fail("a graph is differentiated in more than ", kMaxBackwards, " ways");
  backwards_.push_back(compile_backward(call));
  backwards_.back()->key = std::move(key);
  return *backwards_.back();
}

std::unique_ptr<Plan::Backward> Plan::compile_backward(const BackwardCall& call) const {
  const observe::Span span(observe::kCalls, [&] { return observe::call("compile backward", names_of(heads_)); });
  auto backward = std::make_unique<Backward>();
  std::vector<Entry> gradients = gradient_graph(call.heads, false);
  backward->zero.assign(variables_.size(), false);
  backward->summed.assign(variables_.size(), false);
  backward->out_layout.assign(variables_.size(), Layout::plain);
  // Forward and gradients together, so that what both compute is found.
  std::vector<Entry> all = heads_;
  std::vector<size_t> target_of;
  for (size_t i = 0; i < variables_.size(); ++i) {
    if (call.req[i] == Req::null) continue;
    backward->zero[i] = !gradients[i].node;
    if (backward->zero[i]) continue;
    std::vector<Entry> parts{gradients[i]};
    if (!call.gradients[i].is_none() && call.gradients[i].is_sparse()) parts = addends(gradients[i]);
    backward->summed[i] = parts.size() > 1;
    for (Entry& part : parts) {
      all.push_back(std::move(part));
      target_of.push_back(i);
    }
  }
  all = merge_common_subexpressions(all);
  const std::span<const Entry> wanted = std::span<const Entry>(all).subspan(heads_.size());
  const GraphSpecs specs = infer_graph(all, known_specs());
  require_known(specs);

  std::vector<ScheduleSource> sources;
  const auto add = [&](const Entry& e, Location at, const TensorSpec& spec) {
    const bool known = std::any_of(sources.begin(), sources.end(), [&](const auto& s) { return s.entry == e; });
    if (!known) sources.push_back({e, at, spec});
  };
  for (size_t i = 0; i < variables_.size(); ++i) {
    TensorSpec spec = signature_.inputs[i];
    spec.layout = call.inputs[i].layout();
    add({variables_[i], 0}, {slot_of_input(i), 0}, spec);
  }
  for (size_t i = 0; i < heads_.size(); ++i) {
    TensorSpec spec = outputs_[i];
    if (!call.outputs[i].is_none()) {
      spec.layout = call.outputs[i].layout();
      add(heads_[i], {slot_of_output(i), 0}, spec);
    }
    if (call.heads[i] == Head::given) {
      spec.layout = call.head_gradients[i].layout();
      add({head_variables_[i], 0}, {slot_of_head(i), 0}, spec);
    }
  }
  if (call.frame && !call.frame->memory.is_none()) {
    for (const SavedEntry& saved : forward_.saved) add(saved.entry, {kFrameBase, saved.offset}, saved.spec);
  }
  std::vector<ScheduleTarget> targets;
  for (size_t k = 0; k < wanted.size(); ++k) {
    const size_t i = target_of[k];
    const bool none = call.gradients[i].is_none();
    const Req req = backward->summed[i] ? Req::add : call.req[i];
    targets.push_back({wanted[k],
                       {slot_of_gradient(i), 0},
                       req,
                       none,
                       Layout::plain,
                       none ? StorageType::dense : call.gradients[i].storage()});
  }
  backward->schedule = schedule_within_budget({sources, targets, {}, specs, num_bases(), signature_.training, 1});
  backward->schedule.about = {"graph", "backward", names_of(heads_), "", "", ""};
  for (size_t k = 0; k < targets.size(); ++k) backward->out_layout[target_of[k]] = targets[k].layout;
  return backward;
}

Plan::Memory Plan::memory(const BackwardCall* backward) {
  Memory memory{.values = forward_.value_bytes,
                .arena = forward_.arena_bytes,
                .frame = forward_.frame_bytes,
                .constants = forward_.constant_bytes};
  const auto also = [&](const Schedule& schedule) {
    memory.values = std::max(memory.values, schedule.value_bytes);
    memory.arena = std::max(memory.arena, schedule.arena_bytes);
  };
  if (forward_.prologue) also(*forward_.prologue);
  if (backward) also(backward_for(*backward).schedule);
  return memory;
}

void Plan::zero_gradients(const BackwardCall& call, const std::vector<bool>& zero) const {
  for (size_t i = 0; i < zero.size(); ++i) {
    if (!zero[i]) continue;
    if (call.gradients[i].is_none()) {
      const TensorSpec& spec = signature_.inputs[i];
      call.gradients[i] = NDArray::zeros(spec.shape, spec.dtype, call.inputs[i].device());
    } else if (call.req[i] == Req::write) {
      call.gradients[i].fill(0.0);
    }
  }
}

void Plan::run_backward(const BackwardCall& call) {
  for (size_t i = 0; i < heads_.size(); ++i) {
    if (call.heads[i] != Head::given || call.head_gradients[i].shape() == outputs_[i].shape) continue;
    fail(ErrorKind::value, "backward: the gradient of output ", i, " has shape ", call.head_gradients[i].shape(),
         ", the output has shape ", outputs_[i].shape);
  }
  // A buffer that is not plain gets its layout from a write of its own.
  for (NDArray& gradient : call.gradients) {
    if (!gradient.is_none()) gradient.make_plain();
  }
  const Backward& backward = backward_for(call);
  zero_gradients(call, backward.zero);
  const Schedule& schedule = backward.schedule;
  if (schedule.steps.empty()) return;
  const auto used = [&](int slot) { return schedule.uses_base[static_cast<size_t>(slot)]; };
  Launch launch(*this, schedule, num_bases());
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (used(slot_of_input(i))) {
      // Without a frame the forward is computed again, with its effects.
      if (mutated_[i] && !call.frame)
        launch.update(slot_of_input(i), call.inputs[i]);
      else
        launch.read(slot_of_input(i), call.inputs[i]);
    }
    if (!used(slot_of_gradient(i))) continue;
    if (call.gradients[i].is_none()) {
      const TensorSpec& spec = signature_.inputs[i];
      call.gradients[i] = NDArray::empty(spec.shape, spec.dtype, call.inputs[i].device(), backward.out_layout[i]);
    }
    if (backward.summed[i] && call.req[i] == Req::write) call.gradients[i].fill(0.0);
    if (call.req[i] == Req::add || backward.summed[i])
      launch.update(slot_of_gradient(i), call.gradients[i]);
    else
      launch.write(slot_of_gradient(i), call.gradients[i]);
  }
  for (size_t i = 0; i < heads_.size(); ++i) {
    if (used(slot_of_output(i))) launch.read(slot_of_output(i), call.outputs[i]);
    if (used(slot_of_head(i))) launch.read(slot_of_head(i), call.head_gradients[i]);
  }
  if (used(kFrameBase) && call.frame) launch.read(kFrameBase, call.frame->memory);
  const Device device = call.inputs.empty() ? Device{} : call.inputs[0].device();
  random::Stream stream;
  if (schedule.random_draws) stream = random::reserve(device, schedule.random_draws);
  launch.go(stream, device);
}

}  // namespace mxnet
