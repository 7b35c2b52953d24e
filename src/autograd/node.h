// SPDX-License-Identifier: Apache-2.0
// The tape's own records; only src/autograd includes this.
#pragma once

#include "autograd/tape.h"
#include "base/small_array.h"

namespace mxnet::autograd {

// One recorded call. It refers to its inputs and outputs, not to copies of their values.
struct TapeNode : Counted<TapeNode> {
  TapeNode(size_t n_in, size_t n_out) : inputs(n_in), outputs(n_out) {}
  // Long chains are taken apart iteratively.
  static void destroy(TapeNode* node);

  const OpDef* op = nullptr;
  Ref<Params> params;
  Ref<CustomStep> custom;
  SmallArray<NDArray, 3> inputs;   // shells (no memory) where the gradient does not read them
  SmallArray<NDArray, 2> outputs;  // visible, then residual; detached; shells where not read
  size_t visible = 0;
  Device device;
  bool training = false;
  bool consumed = false;  // walked by a backward that did not retain the graph

  void consume();
  std::string name() const { return op ? op->name : custom->name(); }
};

// What hangs on an array handle that is in the graph: a marked variable (no node), or result `index` of a node.
struct TapeEntry final : Attachment {
  TapeEntry() : Attachment(Kind::tape) {}
  bool active() const { return node ? !node->consumed : true; }

  Ref<TapeNode> node;
  int index = 0;
  NDArray gradient;
  GradReq req = GradReq::null;
  bool fresh = false;
};

inline TapeEntry* entry_of(const NDArray& array) {
  Attachment* a = array.attachment().get();
  return a && a->kind == Attachment::Kind::tape ? static_cast<TapeEntry*>(a) : nullptr;
}
inline TapeEntry* active_entry(const NDArray& array) {
  TapeEntry* entry = entry_of(array);
  return entry && entry->active() ? entry : nullptr;
}

// Sets this thread's flags for a scope.
class FlagScope {
 public:
  FlagScope(bool recording, bool training) : recording_(set_recording(recording)), training_(set_training(training)) {}
  ~FlagScope() {
    set_recording(recording_);
    set_training(training_);
  }
  FlagScope(const FlagScope&) = delete;
  FlagScope& operator=(const FlagScope&) = delete;

 private:
  bool recording_, training_;
};

}  // namespace mxnet::autograd
