// SPDX-License-Identifier: Apache-2.0
#include "autograd/tape.h"

#include <algorithm>

#include "autograd/composite.h"
#include "autograd/node.h"
#include "base/error.h"
#include "operator/invoke.h"
#include "operator/precision.h"

namespace mxnet::autograd {
namespace {

thread_local bool recording = false;
thread_local bool training = false;
thread_local TraceHook trace_hook = nullptr;

bool any_active(std::span<const NDArray* const> in) {
  return std::any_of(in.begin(), in.end(), [](const NDArray* a) { return active_entry(*a) != nullptr; });
}

// A traced graph shows a composite, not what it runs.
class HookPause {
 public:
  HookPause() : hook_(std::exchange(trace_hook, nullptr)) {}
  ~HookPause() { trace_hook = hook_; }
  HookPause(const HookPause&) = delete;
  HookPause& operator=(const HookPause&) = delete;

 private:
  TraceHook hook_;
};

void attach_outputs(const Ref<TapeNode>& node, std::span<NDArray> out) {
  for (size_t i = 0; i < node->visible; ++i) {
    auto entry = make_ref<TapeEntry>();
    entry->node = node;
    entry->index = static_cast<int>(i);
    out[i].attach(entry);
  }
}

void record_call(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
                 size_t visible) {
  auto node = make_ref<TapeNode>(in.size(), out.size());
  node->op = &op;
  node->params = params;
  node->visible = visible;
  node->training = training;
  node->device = out[0].device();
  for (size_t i = 0; i < in.size(); ++i) node->inputs[i] = op.gradient.reads_inputs ? *in[i] : in[i]->shell();
  for (size_t i = 0; i < out.size(); ++i) {
    const bool keep = op.gradient.reads_outputs || i >= visible;
    node->outputs[i] = keep ? out[i].detached() : out[i].detached().shell();
  }
  attach_outputs(node, out);
}

NDArray cast(const NDArray& from, DType to, NDArray into = {}) {
  static const OpDef& op = get_op("amp_cast");
  static const Ref<Params> low[] = {cast_params(op, DType::f32), cast_params(op, DType::f16),
                                    cast_params(op, DType::bf16)};
  const Ref<Params> params = to == DType::f32    ? low[0]
                             : to == DType::f16  ? low[1]
                             : to == DType::bf16 ? low[2]
                                                 : cast_params(op, to);
  const NDArray* in[] = {&from};
  call_as_given(op, params, in, std::span<NDArray>(&into, 1), from.device());
  return into;
}

// Mixed precision of a call on arrays. The casts are calls of their own, so they are recorded and traced.
void call_with_casts(const PrecisionPolicy& policy, const OpDef& op, const Ref<Params>& params,
                     std::span<const NDArray* const> in, std::span<NDArray> out, Device device) {
  const size_t n = in.size();
  SmallArray<DType, 8> given(n), wanted(n);
  for (size_t i = 0; i < n; ++i) given[i] = in[i] ? in[i]->dtype() : DType::unknown;
  const PrecisionPolicy::Decision decision = policy.decide(op, *params, {given.data(), n}, {wanted.data(), n});
  if (!decision.casts && decision.result == DType::unknown) return call_as_given(op, params, in, out, device);
  SmallArray<NDArray, 8> casts(n);
  SmallArray<const NDArray*, 8> used(n);
  for (size_t i = 0; i < n; ++i) {
    used[i] = in[i];
    if (wanted[i] == given[i] || in[i]->is_none()) continue;
    casts[i] = cast(*in[i], wanted[i]);
    used[i] = &casts[i];
  }
  // Arrays that the caller brings keep their types: the results are cast into them.
  SmallArray<NDArray, 2> results(out.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].is_none()) check_writable(out[i], op.name.c_str());
  }
  call_as_given(op, params, {used.data(), n}, results, device);
  for (size_t i = 0; i < out.size(); ++i) {
    const DType own = results[i].dtype();
    const DType to = !out[i].is_none()                                    ? out[i].dtype()
                     : decision.result != DType::unknown && is_float(own) ? decision.result
                                                                          : own;
    out[i] = to == own && out[i].is_none() ? std::move(results[i]) : cast(results[i], to, out[i]);
  }
}

}  // namespace

bool is_recording() { return recording; }
bool is_training() { return training; }
bool set_recording(bool on) { return std::exchange(recording, on); }
bool set_training(bool on) { return std::exchange(training, on); }
void set_trace_hook(TraceHook hook) { trace_hook = hook; }
bool is_tracing() { return trace_hook != nullptr; }

void TapeNode::destroy(TapeNode* node) {
  thread_local std::vector<TapeNode*> doomed;
  thread_local bool draining = false;
  doomed.push_back(node);
  if (draining) return;
  draining = true;
  while (!doomed.empty()) {
    TapeNode* next = doomed.back();
    doomed.pop_back();
    delete next;
  }
  draining = false;
}

void TapeNode::consume() {
  consumed = true;
  for (NDArray& a : inputs) a = NDArray();
  for (NDArray& a : outputs) a = NDArray();
  params.reset();
  custom.reset();
}

void call(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
          Device device) {
  const PrecisionPolicy* policy = active_precision();
  if (policy) [[unlikely]]
    call_with_casts(*policy, op, params, in, out, device);
  else
    call_as_given(op, params, in, out, device);
}

void call_as_given(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                   std::span<NDArray> out, Device device) {
  InvokeOptions options;
  options.device = device;
  options.training = training;
  if (recording) {
    for (const NDArray& a : out) {
      if (!a.is_none()) check_writable(a, op.name.c_str());
    }
  }
  if (is_composite(op, *params)) [[unlikely]] {
    const HookPause pause;
    run_composite(op, params, in, out, device);
  } else if (!recording || out.empty() || !any_active(in)) {
    invoke(op, params, in, out, options);
  } else if (op.outputs.residuals == 0) {
    invoke(op, params, in, out, options);
    record_call(op, params, in, out, out.size());
  } else {
    SmallArray<NDArray, 4> all(out.size() + static_cast<size_t>(op.outputs.residuals));
    std::copy(out.begin(), out.end(), all.begin());
    options.residuals = true;
    invoke(op, params, in, all, options);
    record_call(op, params, in, all, out.size());
    std::copy_n(all.begin(), out.size(), out.begin());
  }
  if (trace_hook) trace_hook(op, params, in, out);
}

std::vector<NDArray> call(const OpDef& op, const Ref<Params>& params, std::span<const NDArray> in, Device device) {
  SmallArray<const NDArray*, 8> pointers(in.size());
  for (size_t i = 0; i < in.size(); ++i) pointers[i] = &in[i];
  std::vector<NDArray> out(static_cast<size_t>(op.num_outputs(*params)));
  call(op, params, pointers, out, device);
  return out;
}

bool would_record(std::span<const NDArray* const> in) { return recording && any_active(in); }

void record_custom(Ref<CustomStep> step, std::span<const NDArray* const> in, std::span<NDArray> out) {
  auto node = make_ref<TapeNode>(in.size(), out.size());
  node->custom = std::move(step);
  node->visible = out.size();
  node->training = training;
  node->device = out[0].device();
  for (size_t i = 0; i < in.size(); ++i) node->inputs[i] = in[i]->shell();
  for (size_t i = 0; i < out.size(); ++i) node->outputs[i] = out[i].detached().shell();
  attach_outputs(node, out);
}

void CustomStep::backward_recorded(std::span<const NDArray>, std::span<NDArray>, std::span<const Req>) {
  fail(name(), ": the gradient of this step cannot be differentiated again (create_graph=True)");
}

void mark_variable(NDArray& variable, const NDArray& gradient, GradReq req) {
  if (req != GradReq::null) {
    if (gradient.shape() != variable.shape()) {
      fail(ErrorKind::value, "mark_variables: the gradient has shape ", gradient.shape(), ", the variable ",
           variable.shape());
    }
    gradient.make_plain(true);
  }
  auto entry = make_ref<TapeEntry>();
  entry->gradient = gradient.is_none() ? NDArray() : gradient.detached();
  entry->req = req;
  variable.attach(entry);
}

bool in_graph(const NDArray& array) { return active_entry(array) != nullptr; }

NDArray gradient_of(const NDArray& variable) {
  const TapeEntry* entry = entry_of(variable);
  return entry && !entry->node ? entry->gradient : NDArray();
}
GradReq grad_req_of(const NDArray& variable) {
  const TapeEntry* entry = entry_of(variable);
  return entry ? entry->req : GradReq::null;
}
bool fresh_gradient(const NDArray& variable) {
  const TapeEntry* entry = entry_of(variable);
  return entry && entry->fresh;
}
void set_fresh_gradient(const NDArray& variable, bool fresh) {
  if (TapeEntry* entry = entry_of(variable)) entry->fresh = fresh;
}

void check_writable(const NDArray& target, const char* what) {
  if (recording && in_graph(target)) {
    fail(what,
         ": while recording, an array that is part of the graph cannot be written; write before recording, or "
         "into a copy");
  }
}

}  // namespace mxnet::autograd
