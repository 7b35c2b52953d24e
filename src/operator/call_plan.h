// SPDX-License-Identifier: Apache-2.0
// What an eager call needs that does not depend on data: inferred outputs and a prepared kernel, kept per signature.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/intrusive.h"
#include "base/observe.h"
#include "operator/choice.h"
#include "operator/invoke.h"
#include "operator/op.h"

namespace mxnet {

struct CallPlan : Counted<CallPlan> {
  std::vector<uint64_t> key;
  const OpDef* op = nullptr;
  std::string signature;            // "FullyConnected(float32(2, 3), ...)" for errors
  std::vector<TensorSpec> in, out;  // out: visible, then residual
  std::vector<Layout> in_layout;    // as the kernel reads
  std::vector<Req> req;             // one per output
  std::unique_ptr<Kernel> kernel;
  KernelChoice choice;
  bool inline_ok = false;    // cheap enough for the calling thread
  bool alone = false;        // too small for a team
  observe::LabelSlot label;  // of its runs
  bool direct = false;       // no relayout of inputs, no scratch, no random numbers, nothing mutated
};

// One call's signature.
struct CallSignature {
  const OpDef& op;
  const Ref<Params>& params;
  std::span<const NDArray* const> in;
  std::span<const NDArray> given;  // outputs that the caller brought; operators without inputs take their shape
  std::span<const Req> req;        // one per output, residuals too
  bool training;
  std::span<const StorageType> storage = {};  // of the outputs; empty: all dense
};

// From this thread's bounded cache, or made now (inference errors are raised here).
Ref<CallPlan> find_call_plan(const CallSignature& signature);

// Made anew with the given output shapes filled in (data-dependent operators).
Ref<CallPlan> make_call_plan(const CallSignature& signature, std::span<const TensorSpec> known_out);

}  // namespace mxnet
