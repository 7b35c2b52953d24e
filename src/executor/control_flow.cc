// SPDX-License-Identifier: Apache-2.0
// _foreach, _while_loop and _cond. Their graphs are compiled once and called per step; each call is a step on the tape,
// so gradients of every order follow.
#include "symbol/control_flow.h"

#include <algorithm>
#include <unordered_map>

#include "autograd/composite.h"
#include "autograd/tape.h"
#include "base/error.h"
#include "executor/cached_op.h"
#include "operator/invoke.h"
#include "symbol/infer.h"

namespace mxnet {

namespace {

using Arrays = std::vector<NDArray>;

const Subgraphs& require_graphs(const OpDef& op, const Subgraphs& p) {
  if (p.graphs.empty()) {
    fail(ErrorKind::value, op.name, ": has no subgraph; it is made by mx.sym.contrib.foreach, while_loop and cond");
  }
  return p;
}

CachedOp& compiled(const Subgraphs& p, size_t graph) {
  const std::lock_guard lock(p.mutex);
  p.compiled.resize(p.graphs.size());
  auto& slot = p.compiled[graph];
  if (!slot) slot = std::make_shared<Ref<CachedOp>>(make_ref<CachedOp>(p.graphs[graph]));
  return **static_cast<Ref<CachedOp>*>(slot.get());
}

Arrays call_graph(CachedOp& graph, std::span<const NDArray* const> in) {
  Arrays out(graph.num_outputs());
  graph.call(in, out);
  return out;
}

NDArray call_one(const char* name, const ParamMap& params, std::span<const NDArray> in) {
  const OpDef& op = get_op(name);
  return autograd::call(op, op.params.parse(op.name, params), in)[0];
}

NDArray stack(const Arrays& parts) {
  return call_one("stack", {{"axis", int64_t{0}}, {"num_args", static_cast<int64_t>(parts.size())}}, parts);
}

std::vector<TensorSpec> specs_of(std::span<const NDArray* const> in) {
  std::vector<TensorSpec> specs;
  for (const NDArray* a : in) specs.push_back({a->shape(), a->dtype()});
  return specs;
}

NDArray zeros_of(const TensorSpec& spec, Device device) { return NDArray::zeros(spec.shape, spec.dtype, device); }

// ---- inference ------------------------------------------------------------------------------------------------------

// What is known of a subgraph's inputs, and what follows.
class GraphLearner {
 public:
  explicit GraphLearner(const Symbol& graph) : graph_(graph), inputs_(graph_inputs(graph.entries()).all) {}

  void know(size_t input, const TensorSpec& spec) { known_[inputs_[input]] = {spec.shape, spec.dtype, Layout::plain}; }
  void infer() { specs_ = infer_graph(graph_.entries(), known_); }
  const TensorSpec& input(size_t i) const { return specs_.of.at(inputs_[i])[0]; }
  const TensorSpec& output(size_t i) const { return specs_.at(graph_.entries()[i]); }

 private:
  const Symbol& graph_;
  std::vector<Node*> inputs_;
  std::unordered_map<const Node*, TensorSpec> known_;
  GraphSpecs specs_;
};

void merge_in(InferContext& c, int64_t i, const TensorSpec& spec) {
  c.merge_in(static_cast<int>(i), spec.shape);
  c.merge_in_dtype(static_cast<int>(i), spec.dtype);
}
void merge_out(InferContext& c, int64_t i, const TensorSpec& spec) {
  c.merge_out(static_cast<int>(i), spec.shape);
  c.merge_out_dtype(static_cast<int>(i), spec.dtype);
}

// One step of data of rank one is an array of one element, as indexing gives it.
TensorSpec step_of(const TensorSpec& data) {
  TensorSpec step{Shape::unknown(), data.dtype};
  if (!data.shape.rank_known() || data.shape.rank() == 0) return step;
  step.shape = Shape{};
  for (int d = 1; d < data.shape.rank(); ++d) step.shape.push_back(data.shape[d]);
  if (data.shape.rank() == 1) step.shape.push_back(1);
  return step;
}
TensorSpec stacked(const TensorSpec& step, int64_t length) {
  TensorSpec all{Shape::unknown(), step.dtype};
  if (!step.shape.rank_known()) return all;
  all.shape = Shape{length};
  for (const dim_t d : step.shape) all.shape.push_back(d);
  return all;
}

void nothing(InferContext&) {}  // shapes and dtypes are learned together

void infer_foreach(InferContext& c) {
  const auto& p = c.as<ForeachParams>();
  const auto position = [](const Shape& locs, int i) { return static_cast<size_t>(locs[i]); };
  GraphLearner graph(require_graphs(c.op, p).graphs[0]);
  const int n_data = p.in_data_locs.rank(), n_states = p.in_state_locs.rank();
  int64_t length = -1;
  for (int i = 0; i < n_data; ++i) {
    const Shape& shape = c.in[static_cast<size_t>(i)].shape;
    if (shape.rank_known() && shape.rank() == 0) c.bad("data must have an axis to walk along");
    if (shape.rank_known() && shape[0] >= 0) {
      if (length >= 0 && length != shape[0]) {
        c.bad(str("data have lengths ", length, " and ", shape[0], " along axis 0, expected the same"));
      }
      length = shape[0];
    }
    graph.know(position(p.in_data_locs, i), step_of(c.in[static_cast<size_t>(i)]));
  }
  for (int i = 0; i < n_states; ++i) graph.know(position(p.in_state_locs, i), c.in[static_cast<size_t>(n_data + i)]);
  for (int i = 0; i < p.remain_locs.rank(); ++i) {
    graph.know(position(p.remain_locs, i), c.in[static_cast<size_t>(n_data + n_states + i)]);
  }
  graph.infer();
  for (int i = 0; i < n_data; ++i) {
    const TensorSpec& step = graph.input(position(p.in_data_locs, i));
    const Shape& given = c.in[static_cast<size_t>(i)].shape;
    if (given.rank_known() && given.rank() > 1) merge_in(c, i, stacked(step, length));
    c.merge_in_dtype(i, step.dtype);
  }
  for (int i = 0; i < n_states; ++i) merge_in(c, n_data + i, graph.input(position(p.in_state_locs, i)));
  for (int i = 0; i < p.remain_locs.rank(); ++i) {
    merge_in(c, n_data + n_states + i, graph.input(position(p.remain_locs, i)));
  }
  for (int64_t i = 0; i < p.num_outputs; ++i) {
    const TensorSpec& step = graph.output(static_cast<size_t>(i));
    merge_out(c, i, i < p.num_out_data ? stacked(step, length) : step);
  }
}

void know_inputs(const InferContext& c, GraphLearner& graph, const Shape& locs) {
  for (int k = 0; k < locs.rank(); ++k) graph.know(static_cast<size_t>(k), c.in[static_cast<size_t>(locs[k])]);
}
void learn_inputs(InferContext& c, const GraphLearner& graph, const Shape& locs) {
  for (int k = 0; k < locs.rank(); ++k) merge_in(c, locs[k], graph.input(static_cast<size_t>(k)));
}

void infer_while(InferContext& c) {
  const auto& p = c.as<WhileParams>();
  GraphLearner condition(require_graphs(c.op, p).graphs[0]), step(p.graphs[1]);
  know_inputs(c, step, p.func_input_locs);
  step.infer();
  learn_inputs(c, step, p.func_input_locs);
  know_inputs(c, condition, p.cond_input_locs);
  condition.infer();
  learn_inputs(c, condition, p.cond_input_locs);
  for (int64_t i = 0; i < p.num_outputs; ++i) {
    const TensorSpec& out = step.output(static_cast<size_t>(i));
    merge_out(c, i, i < p.num_out_data ? stacked(out, p.max_iterations) : out);
  }
}

void infer_cond(InferContext& c) {
  const auto& p = c.as<CondParams>();
  require_graphs(c.op, p);
  const Shape* locs[] = {&p.cond_input_locs, &p.then_input_locs, &p.else_input_locs};
  for (size_t g = 0; g < 3; ++g) {
    GraphLearner graph(p.graphs[g]);
    know_inputs(c, graph, *locs[g]);
    graph.infer();
    learn_inputs(c, graph, *locs[g]);
    for (int64_t i = 0; i < p.num_outputs && g > 0; ++i) merge_out(c, i, graph.output(static_cast<size_t>(i)));
  }
}

// ---- running --------------------------------------------------------------------------------------------------------

// The steps of one array of data. While recording they are cut in one operation, whose gradient is one array.
class Steps {
 public:
  Steps(const NDArray& data, int64_t length) : data_(data) {
    const NDArray* in[] = {&data};
    if (!length || !autograd::would_record(in)) return;
    const OpDef& op = get_op("SliceChannel");
    const Ref<Params> params =
        op.params.parse(op.name, {{"num_outputs", length}, {"axis", int64_t{0}}, {"squeeze_axis", is_deep()}});
    cut_ = autograd::call(op, params, {in[0], 1});
  }
  NDArray at(int64_t t) const {
    if (!cut_.empty()) return cut_[static_cast<size_t>(t)];
    return is_deep() ? data_.at(t) : data_.slice(t, t + 1);
  }

 private:
  bool is_deep() const { return data_.shape().rank() > 1; }

  const NDArray& data_;
  Arrays cut_;
};

int64_t length_of(const OpDef& op, std::span<const NDArray* const> data) {
  int64_t length = -1;
  for (const NDArray* a : data) {
    if (a->shape().rank() == 0) fail(ErrorKind::value, op.name, ": data must have an axis to walk along");
    if (length >= 0 && a->shape()[0] != length) {
      fail(ErrorKind::value, op.name, ": data have lengths ", length, " and ", a->shape()[0],
           " along axis 0, expected the same");
    }
    length = a->shape()[0];
  }
  return length;
}

void run_foreach(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
                 Device device) {
  const auto& p = params->as<ForeachParams>();
  CachedOp& graph = compiled(require_graphs(op, p), 0);
  const int n_data = p.in_data_locs.rank(), n_states = p.in_state_locs.rank();
  const auto n_out = static_cast<size_t>(p.num_out_data);
  const int64_t length = length_of(op, in.first(static_cast<size_t>(n_data)));
  std::vector<Steps> data;
  for (int i = 0; i < n_data; ++i) data.emplace_back(*in[static_cast<size_t>(i)], length);
  Arrays states;
  for (int i = 0; i < n_states; ++i) states.push_back(*in[static_cast<size_t>(n_data + i)]);
  std::vector<const NDArray*> args(in.size());
  for (int i = 0; i < p.remain_locs.rank(); ++i) {
    args[static_cast<size_t>(p.remain_locs[i])] = in[static_cast<size_t>(n_data + n_states + i)];
  }
  std::vector<Arrays> parts(n_out);
  for (int64_t t = 0; t < length; ++t) {
    Arrays now;
    for (const Steps& steps : data) now.push_back(steps.at(t));
    for (int i = 0; i < n_data; ++i) args[static_cast<size_t>(p.in_data_locs[i])] = &now[static_cast<size_t>(i)];
    for (int i = 0; i < n_states; ++i) args[static_cast<size_t>(p.in_state_locs[i])] = &states[static_cast<size_t>(i)];
    Arrays results = call_graph(graph, args);
    for (size_t i = 0; i < n_out; ++i) parts[i].push_back(std::move(results[i]));
    std::move(results.begin() + static_cast<ptrdiff_t>(n_out), results.end(), states.begin());
  }
  if (length) {
    for (size_t i = 0; i < n_out; ++i) out[i] = stack(parts[i]);
  } else {
    const std::vector<TensorSpec> inferred = infer_outputs(op, *params, specs_of(in));
    for (size_t i = 0; i < n_out; ++i) out[i] = zeros_of(inferred[i], device);
  }
  std::move(states.begin(), states.end(), out.begin() + static_cast<ptrdiff_t>(n_out));
}

// The value of a condition, which is not differentiated.
bool is_true(const OpDef& op, CachedOp& graph, std::span<const NDArray* const> in) {
  const bool recording = autograd::set_recording(false);
  NDArray value;
  try {
    value = call_graph(graph, in)[0];
  } catch (...) {
    autograd::set_recording(recording);
    throw;
  }
  autograd::set_recording(recording);
  if (value.size() != 1) {
    fail(ErrorKind::value, op.name, ": the condition must give one element, got shape ", value.shape());
  }
  double number = 0;
  value.astype(DType::f64).copy_to_memory(&number);
  return number != 0;
}

void run_while(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
               Device device) {
  const auto& p = params->as<WhileParams>();
  CachedOp &condition = compiled(require_graphs(op, p), 0), &step = compiled(p, 1);
  const auto n_out = static_cast<size_t>(p.num_out_data);
  Arrays now(in.size());  // the loop variables, in the places that they start from
  for (size_t i = 0; i < in.size(); ++i) now[i] = *in[i];
  const auto args_of = [&](const Shape& locs) {
    std::vector<const NDArray*> args;
    for (const int64_t at : locs) args.push_back(&now[static_cast<size_t>(at)]);
    return args;
  };
  std::vector<Arrays> parts(n_out);
  int64_t steps = 0;
  for (; steps < p.max_iterations && is_true(op, condition, args_of(p.cond_input_locs)); ++steps) {
    Arrays results = call_graph(step, args_of(p.func_input_locs));
    for (size_t i = 0; i < n_out; ++i) parts[i].push_back(std::move(results[i]));
    for (int i = 0; i < p.func_var_locs.rank(); ++i) {
      now[static_cast<size_t>(p.start_of(i))] = std::move(results[n_out + static_cast<size_t>(i)]);
    }
  }
  if (steps == 0 && n_out) {
    const std::vector<TensorSpec> inferred = infer_outputs(op, *params, specs_of(in));
    for (size_t i = 0; i < n_out; ++i) out[i] = zeros_of(inferred[i], device);
  }
  for (size_t i = 0; i < n_out && steps; ++i) {
    out[i] = stack(parts[i]);
    if (steps == p.max_iterations) continue;
    TensorSpec rest{out[i].shape(), out[i].dtype()};
    rest.shape[0] = p.max_iterations - steps;
    const NDArray both[] = {out[i], zeros_of(rest, device)};
    out[i] = call_one("Concat", {{"dim", int64_t{0}}, {"num_args", int64_t{2}}}, both);
  }
  for (int i = 0; i < p.func_var_locs.rank(); ++i) {
    out[n_out + static_cast<size_t>(i)] = now[static_cast<size_t>(p.start_of(i))];
  }
}

void run_cond(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
              Device) {
  const auto& p = params->as<CondParams>();
  require_graphs(op, p);
  const auto args_of = [&](const Shape& locs) {
    std::vector<const NDArray*> args;
    for (const int64_t at : locs) args.push_back(in[static_cast<size_t>(at)]);
    return args;
  };
  const bool taken = is_true(op, compiled(p, 0), args_of(p.cond_input_locs));
  Arrays results = call_graph(compiled(p, taken ? 1 : 2), args_of(taken ? p.then_input_locs : p.else_input_locs));
  std::move(results.begin(), results.end(), out.begin());
}

// ---- registration ---------------------------------------------------------------------------------------------------

template <typename P, int Graphs>
OpDef describe(const char* name, const char* doc, InferFn infer) {
  Inputs inputs({}, [](const Params& p) { return static_cast<int>(p.as<P>().num_args) - Graphs; });
  inputs.names_of = [](const Params& p) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < p.as<P>().num_args - Graphs; ++i) names.push_back("data" + std::to_string(i));
    return names;
  };
  inputs.mutates_at = [](const Params& p, int i) {
    const auto& mutated = p.as<P>().mutated;
    return i < static_cast<int>(mutated.size()) && mutated[static_cast<size_t>(i)] != 0;
  };
  inputs.auxiliary = {"*"};
  return {
      .name = name,
      .doc = doc,
      .params = schema_of<P>(),
      .inputs = std::move(inputs),
      .outputs = Outputs([](const Params& p) { return static_cast<int>(p.as<P>().num_outputs); }),
      .infer = {infer, nothing},
      .gradient = Gradient::none(),
      .kernels = {},
  };
}

const RegisterOp foreach_op{describe<ForeachParams, 1>(
    "_foreach", "Runs a graph for each step of its data; see contrib.foreach.", infer_foreach)};
const RegisterOp while_op{describe<WhileParams, 2>(
    "_while_loop", "Runs a graph as long as a condition holds; see contrib.while_loop.", infer_while)};
const RegisterOp cond_op{describe<CondParams, 3>("_cond", "Runs one of two graphs; see contrib.cond.", infer_cond)};
const autograd::RegisterComposite foreach_runs{"_foreach", {run_foreach}};
const autograd::RegisterComposite while_runs{"_while_loop", {run_while}};
const autograd::RegisterComposite cond_runs{"_cond", {run_cond}};

}  // namespace

}  // namespace mxnet
