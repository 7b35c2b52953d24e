// SPDX-License-Identifier: Apache-2.0
// The tape: while recording, each call leaves a node that refers (by reference, current values) to its inputs and
// outputs; backward walks the nodes and asks the operators' own gradient functions.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet::autograd {

// The numbers are MXNet's own.
enum class GradReq : int { null = 0, write = 1, add = 3 };

// Flags belong to the calling thread and are not inherited.
bool is_recording();
bool is_training();
bool set_recording(bool on);  // returns the old value
bool set_training(bool on);

// Runs an operator and records it if the thread records and an input is in the graph. This is what every front calls.
void call(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
          Device device = {});
std::vector<NDArray> call(const OpDef& op, const Ref<Params>& params, std::span<const NDArray> in, Device device = {});
// The same without the casts of mixed precision: for calls whose types are settled (gradients of gradients).
void call_as_given(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                   std::span<NDArray> out, Device device = {});

// While set on a thread, every `call` is also shown to it after it ran (tracing of programs into graphs).
using TraceHook = void (*)(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                           std::span<NDArray> out);
void set_trace_hook(TraceHook hook);  // null: off
bool is_tracing();

// A recorded step that is not one operator: a cached graph, a Python function.
struct CustomStep : Attachment {
  virtual std::string name() const = 0;
  // heads[i]: gradient of output i, none where nothing came. grads[i]: req null: not wanted; otherwise either a buffer
  // to write/add to, or a none handle for which the step supplies an array (req write). May run more than once when the
  // graph is retained.
  virtual void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) = 0;
  // The same for create_graph=True: computed by recorded calls, so that the result can be differentiated again.
  virtual void backward_recorded(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req);
};
// True if recording and at least one input is in the graph (a marked variable or a recorded result).
bool would_record(std::span<const NDArray* const> in);
void record_custom(Ref<CustomStep> step, std::span<const NDArray* const> in, std::span<NDArray> out);

void mark_variable(NDArray& variable, const NDArray& gradient, GradReq req);
bool in_graph(const NDArray& array);
// The variable's gradient buffer; none if there is none.
NDArray gradient_of(const NDArray& variable);
GradReq grad_req_of(const NDArray& variable);
bool fresh_gradient(const NDArray& variable);
void set_fresh_gradient(const NDArray& variable, bool fresh);

struct BackwardOptions {
  bool retain_graph = false;
  bool create_graph = false;
  bool training = true;
  bool ends_at_variables = false;  // `variables` count as constants of nothing before them
};
// head_gradients: empty, or one per head; none = ones.
void backward(std::span<const NDArray> heads, std::span<const NDArray> head_gradients, const BackwardOptions& options);
// Gradients of `variables` as new arrays; their own buffers are left alone.
std::vector<NDArray> gradients(std::span<const NDArray> heads, std::span<const NDArray> head_gradients,
                               std::span<const NDArray> variables, const BackwardOptions& options);

// Raises MXNetError if recording and `target` is in the graph: written arrays must not be (leaf or not).
void check_writable(const NDArray& target, const char* what);

}  // namespace mxnet::autograd
