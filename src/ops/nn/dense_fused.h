// SPDX-License-Identifier: Apache-2.0
// FullyConnected with what follows it: an activation, then the sum with another array. No public operator: plans put it
// where they find these operators (executor/dense_pass.cc).
#pragma once

#include "backend/cpu/gemm_tile.h"
#include "operator/op.h"

namespace mxnet::nn {

struct DenseFusedParams {
  int64_t num_hidden = 0;
  bool no_bias = false;
  bool flatten = true;
  Activation activation = Activation::none;
  bool residual = false;

  static void declare(ParamSchemaOf<DenseFusedParams>& s);
};

}  // namespace mxnet::nn
