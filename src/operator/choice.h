// SPDX-License-Identifier: Apache-2.0
// Which kernel of an operator's list was chosen, and why: for whoever tells it to the user.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "operator/op.h"

namespace mxnet {

struct KernelChoice {
  std::string kernel;    // its name in the list
  std::string refusals;  // of those before it: "name: reason; name: reason"
};

// As prepare_kernel, and tells.
std::unique_ptr<Kernel> prepare_kernel(const PrepareArgs& args, KernelChoice& choice);

// "float32(2, 3), float32(3)"; where not plain, the layout too.
std::string describe(std::span<const TensorSpec> arrays);
// "float32(2, 3), float32(3) -> float32(2, 3)"
std::string describe(std::span<const TensorSpec> in, std::span<const TensorSpec> out);

}  // namespace mxnet
