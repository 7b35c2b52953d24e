// SPDX-License-Identifier: Apache-2.0
// Sums and means of csr matrices, over rows, columns or all elements; norms of all elements of sparse arrays.
#include <algorithm>
#include <cstring>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "resource/scratch.h"
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

// Of all elements: those that are kept.
bool infer_norm(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  const auto& axis = params.as<NormParams>().axis;
  if (!is_float(in[0].dtype) || (axis && axis->rank() > 0)) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::dense;
  return out[0].storage == StorageType::dense;
}

// The dense kernel, on the values as a vector. How many there are is known when it runs.
Prepared prepare_norm(const PrepareArgs& args) {
  return make_kernel(
      [&op = args.op, dtype = args.out[0].dtype](const KernelCall& c) {
        const auto& a = *static_cast<const SparseParts*>(c.in[0]);
        const int64_t n = a.count() * a.width();
        if (n == 0) {
          std::memset(c.out[0], 0, static_cast<size_t>(size_of(dtype)));
          return;
        }
        TensorSpec values{{n}, a.dtype()}, result{{1}, dtype};
        Layout layout = {};
        const Req req = Req::write;
        const auto kernel = prepare_kernel(
            {op, *c.params, {&values, 1}, {&layout, 1}, {&result, 1}, {&req, 1}, false, cpu::team_size()});
        Scratch scratch;
        void* const in[] = {a.values()};
        kernel->run({in, c.out, c.params, c.random, scratch.bytes(kernel->scratch)});
      },
      Kernel::kUnknownCost);
}

const RegisterSparse norm_form{"norm", {infer_norm, {{"elements", prepare_norm}}}};
const RegisterSparse sum_form{"sum", {infer_sum, {{"elements", prepare_sum<false>}}}};
const RegisterSparse mean_form{"mean", {infer_sum, {{"elements", prepare_sum<true>}}}};

}  // namespace
}  // namespace mxnet::ops
