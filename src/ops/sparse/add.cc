// SPDX-License-Identifier: Apache-2.0
// Sums of row_sparse arrays: what the gradient of a weight that is used twice needs.
#include "ndarray/sparse.h"
#include "operator/op.h"

namespace mxnet::ops {
namespace {

bool infer_rows(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  for (const TensorSpec& t : in) {
    if (t.storage != StorageType::row_sparse) return false;
  }
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::row_sparse;
  return out[0].storage == StorageType::row_sparse;
}

Prepared prepare_sum(const PrepareArgs& args) {
  return make_kernel(
      [n = args.in.size()](const KernelCall& c) {
        const auto& first = *static_cast<const SparseParts*>(c.in[0]);
        auto& out = *static_cast<SparseParts*>(c.out[0]);
        SparseParts sum(first.storage(), first.shape(), first.dtype(), first.device());
        sparse::copy(sum, first);
        for (size_t i = 1; i < n; ++i) sparse::accumulate(sum, *static_cast<const SparseParts*>(c.in[i]));
        out.swap(sum);
      },
      Kernel::kUnknownCost);
}

const RegisterSparse add_n_form{"add_n", {infer_rows, {{"rows", prepare_sum}}}};

}  // namespace
}  // namespace mxnet::ops
