// SPDX-License-Identifier: Apache-2.0
#include "executor/plan_steps.h"

#include <cstring>

#include "ndarray/copy.h"
#include "operator/choice.h"

namespace mxnet {

namespace {

int64_t bytes_of(const TensorSpec& spec) { return spec.shape.size() * static_cast<int64_t>(size_of(spec.dtype)); }

template <typename Run>
PlanStep own_step(observe::Label about, int64_t cost, Run run) {
  PlanStep step;
  step.kernel = make_kernel(std::move(run), cost);
  step.name = about.nodes;
  step.about = std::move(about);
  return step;
}

}  // namespace

PlanStep make_copy_step(const std::string& name, const TensorSpec& spec, Layout target_layout, Req req) {
  const int64_t cost = copy::cost_ns(bytes_of(spec));
  TensorSpec target = spec;
  target.layout = target_layout;
  const bool turns = spec.layout != target_layout && req != Req::add;
  const char* what = turns ? "reorder" : req == Req::add ? "accumulate" : "copy";
  observe::Label about = {turns ? "reorder" : "operator", what, name, describe({&spec, 1}, {&target, 1}), "", ""};
  if (req == Req::add) {
    return own_step(std::move(about), cost, [dtype = spec.dtype, n = spec.shape.size()](const KernelCall& c) {
      copy::accumulate(c.out[0], c.in[0], dtype, n);
    });
  }
  if (turns) {
    return own_step(std::move(about), cost, [spec, target_layout](const KernelCall& c) {
      copy::reorder(c.out[0], c.in[0], spec.shape, spec.dtype, spec.layout, target_layout);
    });
  }
  return own_step(std::move(about), cost, [bytes = static_cast<size_t>(bytes_of(spec))](const KernelCall& c) {
    std::memcpy(c.out[0], c.in[0], bytes);
  });
}

PlanStep make_sparse_step(const std::string& name, const TensorSpec& spec, StorageType target, Req req, bool training,
                          int team) {
  static const OpDef& copy_op = get_op("_copy");
  TensorSpec in = spec, out = spec;
  in.layout = out.layout = Layout::plain;
  out.storage = target;
  Layout layout = Layout::plain;
  KernelChoice choice;
  auto kernel = prepare_kernel(
      {copy_op, *copy_op.params.defaults(), {&in, 1}, {&layout, 1}, {&out, 1}, {&req, 1}, training, team}, choice);
  PlanStep step;
  step.kernel = std::move(kernel);
  step.name = name;
  step.about = {"operator", copy_op.name, name, describe({&in, 1}, {&out, 1}), choice.kernel, choice.refusals};
  return step;
}

PlanStep make_fill_step(const Node& node, const TensorSpec& spec) {
  const double number = node.op->name == "ones_like" ? 1.0 : 0.0;
  observe::Label about = {"operator", node.op->name, node.name, describe({}, {&spec, 1}), "", ""};
  return own_step(std::move(about), copy::cost_ns(bytes_of(spec)),
                  [dtype = spec.dtype, n = spec.shape.size(), number](const KernelCall& c) {
                    copy::fill(c.out[0], dtype, n, number);
                  });
}

}  // namespace mxnet
