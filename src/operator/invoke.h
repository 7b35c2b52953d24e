// SPDX-License-Identifier: Apache-2.0
// Runs one operator on arrays: inference, kernel choice, layouts, write/add/in-place, engine. Knows nothing of the
// tape.
#pragma once

#include <span>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet {

struct InvokeOptions {
  Device device;  // for operators without inputs; otherwise the first input's device
  bool training = false;
  bool residuals = false;         // also produce the hidden outputs
  std::span<const Req> req = {};  // empty: write everything
};

// `out` holds num_outputs (or num_all_outputs with residuals) handles. A none handle is allocated; a given one is
// written (or added to) and must agree in shape and dtype. Errors that can be known at the call are raised here; what
// fails while running is stored on the outputs and raised at the next wait.
void invoke(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
            const InvokeOptions& options = {});

// Shapes, dtypes and layouts of all outputs (with residuals) for known inputs.
std::vector<TensorSpec> infer_outputs(const OpDef& op, const Params& params, std::span<const TensorSpec> in);

}  // namespace mxnet
