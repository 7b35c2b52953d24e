// SPDX-License-Identifier: Apache-2.0
// Sums and means of csr matrices, over rows, columns or all elements; norms of all elements of sparse arrays.
#include <algorithm>
#include <cmath>
#include <numeric>
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

// Of all elements: those that are kept.
bool infer_norm(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  const auto& axis = params.as<NormParams>().axis;
  if (!is_float(in[0].dtype) || (axis && axis->rank() > 0)) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::dense;
  return out[0].storage == StorageType::dense;
}

template <bool kSquares, typename T>
double sum_of_sizes(const T* values, int64_t n) {
  using A = accumulate_t<T>;
  constexpr int64_t kBlock = 1024, kPiece = 32 * kBlock;  // summed in A; in double, by one thread
  std::vector<double> pieces(static_cast<size_t>((n + kPiece - 1) / kPiece));
  cpu::parallel_for(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * kPiece; i < std::min(n, end * kPiece); i += kBlock) {
      A sum = 0;
      const int64_t stop = std::min(n, i + kBlock);
#pragma omp simd reduction(+ : sum)
      for (int64_t k = i; k < stop; ++k) sum += kSquares ? A(values[k]) * A(values[k]) : std::abs(A(values[k]));
      pieces[static_cast<size_t>(i / kPiece)] += static_cast<double>(sum);
    }
  });
  return std::accumulate(pieces.begin(), pieces.end(), 0.0);
}

Prepared prepare_norm(const PrepareArgs& args) {
  const bool squares = args.as<NormParams>().ord == 2;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [squares, dtype = args.out[0].dtype](const KernelCall& c) {
          const auto& a = *static_cast<const SparseParts*>(c.in[0]);
          const auto* values = static_cast<const T*>(a.values());
          const int64_t n = a.count() * a.width();
          const double norm = squares ? std::sqrt(sum_of_sizes<true>(values, n)) : sum_of_sizes<false>(values, n);
          dispatch(dtype, [&]<typename Out>(TypeTag<Out>) { *static_cast<Out*>(c.out[0]) = convert<Out>(norm); });
        },
        Kernel::kUnknownCost);
  });
}

const RegisterSparse norm_form{"norm", {infer_norm, {{"elements", prepare_norm}}}};
const RegisterSparse sum_form{"sum", {infer_sum, {{"elements", prepare_sum<false>}}}};
const RegisterSparse mean_form{"mean", {infer_sum, {{"elements", prepare_sum<true>}}}};

}  // namespace
}  // namespace mxnet::ops
