// SPDX-License-Identifier: Apache-2.0
// A graph bound to arrays: forward writes the outputs it was bound with, backward the gradients. Plans run it, unless a
// monitor watches or no plan can hold the graph: then operators run one by one, and the tape gives the gradients.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "autograd/custom.h"
#include "executor/interpret.h"
#include "executor/plan_cache.h"

namespace mxnet {

class Executor {
 public:
  // `inputs` are in the order of Symbol::list_inputs; `gradients` and `req` likewise (none and null for auxiliary
  // states and arguments without gradient). `devices` are where it runs and, if there are more, where each output lies.
  Executor(const Symbol& symbol, std::vector<Device> devices, std::vector<NDArray> inputs,
           std::vector<NDArray> gradients, std::vector<Req> req);

  void forward(bool training);
  // One per output, none where the output needs none (loss operators) or nothing flows in. May be called again, and
  // after a forward without training.
  void backward(std::span<const NDArray> head_gradients);

  const std::vector<NDArray>& outputs() const { return outputs_; }
  // Of a training step if there are gradients, else of an inference; makes the plans that those need. Nothing for
  // graphs that no plan can hold.
  Plan::Memory planned_memory();
  void set_monitor(Watch watch) { monitor_ = std::move(watch); }
  void clear_monitor() { monitor_.reset(); }

 private:
  std::vector<const NDArray*> pointers() const;
  std::vector<uint8_t> needs() const;
  void allocate_outputs();
  void forward_watched(bool training);
  std::vector<Entry> settled_heads() const;  // with known shapes of what has no inputs
  std::vector<NDArray> record(bool training);
  std::vector<NDArray> run_interpreted(const std::unordered_map<const Node*, NDArray>& feed);
  std::vector<Head> kinds_of_heads(std::span<const NDArray> head_gradients) const;
  void backward_recorded(std::span<const NDArray> head_gradients, std::span<const Head> kinds);
  void drop_frame();
  bool is_planned() const { return plans_.plannable() && !sparse_; }

  PlanCache plans_;
  Device device_;
  std::vector<Device> output_devices_;
  std::vector<NDArray> inputs_, gradients_, outputs_;
  std::vector<Req> req_;
  std::optional<Watch> monitor_;
  bool sparse_ = false;   // an argument is: operators run one by one
  bool trained_ = false;  // mode of the last forward
  Ref<Plan> plan_;        // of the last training forward, with its frame
  Plan::Frame frame_;
  autograd::CustomInstances instances_;
  std::vector<Entry> segments_;    // of a graph that no plan can hold, once it ran
  std::vector<NDArray> recorded_;  // results of the last training forward of a graph that no plan can hold

 public:
  ~Executor() { drop_frame(); }
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
};

}  // namespace mxnet
