// SPDX-License-Identifier: Apache-2.0
// Sparse arrays in calls: the storage types of outputs, and the way through dense temporaries for operators that have
// no kernel for the storage types they are given.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "operator/invoke.h"

namespace mxnet {

// The storage type of every output, residual ones too; none if the operator cannot do this call on sparse arrays.
std::optional<std::vector<StorageType>> infer_storage(const OpDef& op, const Params& params,
                                                      std::span<const NDArray* const> in, std::span<const NDArray> out);

// Runs the call on dense copies of its sparse inputs; results go to outputs that are given in their own storage type,
// others are dense. Inputs that the operator writes are written back. Warns once per operator.
void invoke_through_dense(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                          std::span<NDArray> out, const InvokeOptions& options);

}  // namespace mxnet
