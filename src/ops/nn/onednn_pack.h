// SPDX-License-Identifier: Apache-2.0
// Packs that are a reorder of oneDNN.
#pragma once

#include <memory>
#include <utility>

#include "backend/cpu/onednn.h"
#include "operator/kernel.h"

namespace mxnet::nn {

// From in[0] to out[0]; `bytes` steers the estimate of its cost.
inline std::shared_ptr<const Kernel> reorder_kernel(onednn::Primitive reorder, size_t bytes, int team) {
  struct Reorder final : Kernel {
    void run(const KernelCall& call) const override {
      const onednn::ThreadScope scope(team);
      primitive.run({call.in[0], call.out[0]});
    }
    onednn::Primitive primitive;
    int team = 1;
  };
  auto kernel = std::make_shared<Reorder>();
  kernel->primitive = std::move(reorder);
  kernel->team = team;
  kernel->team_matters = true;
  kernel->cost_ns = 500 + static_cast<int64_t>(bytes / 4);
  return kernel;
}

}  // namespace mxnet::nn
