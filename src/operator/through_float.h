// SPDX-License-Identifier: Apache-2.0
// Kernels for half types from kernels for float32: inputs are widened into scratch memory, results rounded from there.
#pragma once

#include "operator/kernel.h"

namespace mxnet {

// What `inner` prepares for the same call with float32 in the place of every half type. Refuses where nothing is half.
Prepared through_float(const PrepareArgs& args, PrepareFn inner);

// The same as an entry of a kernel list: through_float_kernel<prepare_onednn>.
template <PrepareFn kInner>
Prepared prepare_through_float(const PrepareArgs& args) {
  return through_float(args, kInner);
}

}  // namespace mxnet
