// SPDX-License-Identifier: Apache-2.0
// A plan: one graph compiled for one signature of its inputs. The plan is immutable to its users; each training call
// leases a frame, which holds what its backward needs, for as long as the call's result may be differentiated.
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "executor/constants.h"
#include "executor/schedule.h"
#include "ndarray/ndarray.h"
#include "operator/precision.h"
#include "symbol/infer.h"

namespace mxnet {

struct PlanSignature {
  std::vector<TensorSpec> inputs;  // in the order of the graph's inputs
  bool training = false;
  bool bound = false;                          // outputs are plain arrays that the caller keeps
  std::vector<uint8_t> needs;                  // per input: wants a gradient; empty: nothing is recorded
  std::vector<uint8_t> unchanging;             // per input: a parameter, which few calls find changed; empty: none
  const PrecisionPolicy* precision = nullptr;  // where casts are placed; null: nowhere
};

// Where gradients of outputs come from.
enum class Head : uint8_t { none, given, ones };

class Plan : public Counted<Plan> {
 public:
  // `inputs`: the graph's variables in slot order. Null if the graph cannot be planned (extents depend on data).
  static Ref<Plan> compile(std::span<const Entry> heads, std::span<Node* const> inputs, PlanSignature signature);

  const PlanSignature& signature() const { return signature_; }
  // The graph out of operators that have gradients of every order.
  const std::vector<Entry>& heads() const { return source_heads_; }
  const std::vector<Ref<Node>>& variables() const { return variables_; }
  bool keeps_frame() const { return forward_.frame_bytes > 0; }
  const std::vector<TensorSpec>& outputs() const { return outputs_; }
  // The input that output i simply is; -1 if it is computed. Never set for bound outputs.
  int alias_of(size_t i) const { return alias_[i]; }
  bool mutates(size_t input) const { return mutated_[input]; }

  struct Frame {
    NDArray memory;         // none if the plan keeps nothing
    random::Stream stream;  // what the forward drew from
  };
  Frame lease_frame(Device device);
  void return_frame(NDArray memory);

  // Queues (or runs) the forward. Outputs are allocated where none is given; frame.memory may be none if no backward
  // will ask for it.
  void run_forward(std::span<const NDArray* const> inputs, std::span<NDArray> outputs, Frame& frame);

  struct BackwardCall {
    std::span<const NDArray> inputs, outputs;
    std::span<const NDArray> head_gradients;  // none where heads[i] is not `given`
    std::span<const Head> heads;
    std::span<NDArray> gradients;  // per input: none and write: allocated
    std::span<const Req> req;
    const Frame* frame = nullptr;  // null: everything is computed again from the inputs
  };
  void run_backward(const BackwardCall& call);

  // Bytes that runs take beside the arrays of the caller.
  struct Memory {
    size_t values = 0;     // what passes between operators, at the same place in forward and backward
    size_t arena = 0;      // the same with the kernels' scratch memory
    size_t frame = 0;      // kept from forward to backward
    size_t constants = 0;  // made of parameters once for many runs
  };
  // `backward`: null for a forward that nobody differentiates.
  Memory memory(const BackwardCall* backward);

 private:
  struct Backward {
    std::vector<uint64_t> key;
    Schedule schedule;
    std::vector<bool> zero;          // gradient i is zero everywhere
    std::vector<bool> summed;        // gradient i is sparse: several terms are added to it
    std::vector<Layout> out_layout;  // of gradients that the plan allocates
  };

  Plan() = default;
  int slot_of_input(size_t i) const { return kFirstSlot + static_cast<int>(i); }
  int slot_of_output(size_t i) const { return slot_of_input(variables_.size()) + static_cast<int>(i); }
  int slot_of_head(size_t i) const { return slot_of_output(heads_.size()) + static_cast<int>(i); }
  int slot_of_gradient(size_t i) const { return slot_of_head(heads_.size()) + static_cast<int>(i); }
  int num_bases() const { return slot_of_gradient(variables_.size()); }

  std::unordered_map<const Node*, TensorSpec> known_specs() const;
  void simplify_present(std::vector<Entry>& entries) const;
  std::vector<Entry> gradient_graph(std::span<const Head> heads, bool lenient) const;
  std::vector<Entry> entries_to_save(std::span<const Entry> gradients) const;
  void optimize_for_inference();
  void compile_forward();
  void configure_constants();
  NDArray constants_for(std::span<const NDArray* const> inputs, Device device);
  const Backward& backward_for(const BackwardCall& call);
  std::unique_ptr<Backward> compile_backward(const BackwardCall& call) const;
  Schedule schedule_within_budget(ScheduleRequest request) const;
  void zero_gradients(const BackwardCall& call, const std::vector<bool>& zero) const;

  PlanSignature signature_;
  std::vector<Entry> source_heads_, heads_;  // before and after training's own operators came in
  std::vector<Ref<Node>> variables_;
  std::vector<Ref<Node>> head_variables_;  // stand for gradients of outputs
  std::vector<TensorSpec> outputs_;
  std::vector<int> alias_;
  std::vector<bool> mutated_;
  bool has_casts_ = false;
  Schedule forward_;
  Constants constants_;

  std::mutex mutex_;  // guards what follows
  std::vector<NDArray> frames_;
  std::vector<std::unique_ptr<Backward>> backwards_;
};

}  // namespace mxnet
