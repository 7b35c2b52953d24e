// SPDX-License-Identifier: Apache-2.0
// Sums and means of csr matrices, over rows, columns or all elements.
#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "simple_op/axes.h"

namespace mxnet::ops {
namespace {

bool infer_sum(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (in[0].storage != StorageType::csr || !is_float(in[0].dtype)) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::dense;
  return out[0].storage == StorageType::dense;
}

template <typename T>
void sum_elements(const SparseParts& a, bool over_rows, bool over_columns, double divisor, T* out) {
  const auto* values = static_cast<const T*>(a.values());
  if (over_columns && !over_rows) {
    cpu::parallel_for(a.rows(), 1024, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        double sum = 0;
        for (int64_t e = a.indptr()[r]; e < a.indptr()[r + 1]; ++e) sum += static_cast<double>(values[e]);
        out[r] = static_cast<T>(sum / divisor);
      }
    });
    return;
  }
  std::vector<double> sums(static_cast<size_t>(over_columns ? 1 : a.shape()[1]));
  for (int64_t e = 0; e < a.count(); ++e) {
    sums[static_cast<size_t>(over_columns ? 0 : a.indices()[e])] += static_cast<double>(values[e]);
  }
  std::transform(sums.begin(), sums.end(), out, [divisor](double sum) { return static_cast<T>(sum / divisor); });
}

template <bool kMean>
Prepared prepare_sum(const PrepareArgs& args) {
  const auto& p = args.as<ReduceParams>();
  const Shape& shape = args.in[0].shape;
  const std::vector<bool> axes = reduced_axes(p.axis, p.exclude, 2, args.op.name.c_str());
  if (!axes[0] && !axes[1]) return "no axis is reduced";
  const double count = static_cast<double>((axes[0] ? shape[0] : 1) * (axes[1] ? shape[1] : 1));
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [rows = axes[0], columns = axes[1], divisor = kMean ? count : 1.0](const KernelCall& c) {
          sum_elements(*static_cast<const SparseParts*>(c.in[0]), rows, columns, divisor, static_cast<T*>(c.out[0]));
        },
        Kernel::kUnknownCost);
  });
}

const RegisterSparse sum_form{"sum", {infer_sum, {{"elements", prepare_sum<false>}}}};
const RegisterSparse mean_form{"mean", {infer_sum, {{"elements", prepare_sum<true>}}}};

}  // namespace
}  // namespace mxnet::ops
