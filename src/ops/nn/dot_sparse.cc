// SPDX-License-Identifier: Apache-2.0
// Products with a csr matrix on one side: its elements are walked in their order, so the work grows with their number.
// The transposed matrix is walked by columns, which a stable sort of the elements gives; each row of a result is summed
// by one thread in the order of the elements.
#include <algorithm>
#include <numeric>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "ops/nn/dot.h"

namespace mxnet::nn {
namespace {

// Rows of a matrix with `width` columns, dense or row_sparse, or of its transpose.
template <typename T>
class RowSource {
 public:
  RowSource(const void* operand, StorageType storage, int64_t rows, int64_t width, bool transposed)
      : rows_(rows), width_(width) {
    if (storage == StorageType::row_sparse) {
      sparse_ = static_cast<const SparseParts*>(operand);
      values_ = static_cast<const T*>(sparse_->values());
      return;
    }
    values_ = static_cast<const T*>(operand);
    if (!transposed || width == 1) return;
    copy_.resize(static_cast<size_t>(rows * width));
    cpu::parallel_for(rows, std::max<int64_t>(1, 16384 / width), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        for (int64_t j = 0; j < width; ++j) copy_[static_cast<size_t>(r * width + j)] = values_[j * rows + r];
      }
    });
    values_ = copy_.data();
  }
  // Null for a row that is not kept: all zero.
  const T* row(int64_t r) const {
    if (!sparse_ || sparse_->count() == rows_) return values_ + r * width_;
    const int64_t *first = sparse_->indices(), *last = first + sparse_->count();
    const int64_t* at = std::lower_bound(first, last, r);
    return at != last && *at == r ? values_ + (at - first) * width_ : nullptr;
  }

 private:
  int64_t rows_, width_;
  const SparseParts* sparse_ = nullptr;
  const T* values_ = nullptr;
  std::vector<T> copy_;
};

template <typename T>
void add_scaled(accumulate_t<T>* sum, accumulate_t<T> factor, const T* row, int64_t width) {
#pragma omp simd
  for (int64_t j = 0; j < width; ++j) sum[j] += factor * static_cast<accumulate_t<T>>(row[j]);
}

int64_t rows_per_piece(int64_t elements, int64_t rows, int64_t width) {
  return std::max<int64_t>(1, 16384 / (1 + elements * width / std::max<int64_t>(1, rows)));
}

// out (rows of a, width) = a * b
template <typename T>
void times(const SparseParts& a, const RowSource<T>& b, int64_t width, T* out) {
  const auto* values = static_cast<const T*>(a.values());
  cpu::parallel_for(a.rows(), rows_per_piece(a.count(), a.rows(), width), [&](int64_t begin, int64_t end) {
    std::vector<accumulate_t<T>> sum(static_cast<size_t>(width));
    for (int64_t r = begin; r < end; ++r) {
      std::fill(sum.begin(), sum.end(), accumulate_t<T>(0));
      for (int64_t e = a.indptr()[r]; e < a.indptr()[r + 1]; ++e) {
        if (const T* row = b.row(a.indices()[e])) add_scaled(sum.data(), accumulate_t<T>(values[e]), row, width);
      }
      for (int64_t j = 0; j < width; ++j) out[r * width + j] = static_cast<T>(sum[static_cast<size_t>(j)]);
    }
  });
}

// The elements of a csr matrix by column.
struct Columns {
  explicit Columns(const SparseParts& a) : order(static_cast<size_t>(a.count())), row(order.size()) {
    for (int64_t r = 0; r < a.rows(); ++r) std::fill(row.begin() + a.indptr()[r], row.begin() + a.indptr()[r + 1], r);
    const int64_t columns = a.shape()[1];
    const int64_t* index = a.indices();
    if (columns <= 8 * a.count() + 1024) {
      std::vector<int64_t> at(static_cast<size_t>(columns) + 1);
      for (int64_t e = 0; e < a.count(); ++e) ++at[static_cast<size_t>(index[e]) + 1];
      std::partial_sum(at.begin(), at.end(), at.begin());
      for (int64_t e = 0; e < a.count(); ++e) order[static_cast<size_t>(at[static_cast<size_t>(index[e])]++)] = e;
    } else {
      std::iota(order.begin(), order.end(), int64_t{0});
      std::stable_sort(order.begin(), order.end(), [index](int64_t i, int64_t j) { return index[i] < index[j]; });
    }
    for (size_t k = 0; k < order.size(); ++k) {
      if (k == 0 || index[order[k]] != index[order[k - 1]]) begin.push_back(static_cast<int64_t>(k));
    }
    count = static_cast<int64_t>(begin.size());
    begin.push_back(a.count());
  }
  std::vector<int64_t> order, row;  // elements by column; the row of each element
  std::vector<int64_t> begin;       // where each column that has elements begins in `order`
  int64_t count;
};

// Calls sum_to(column, sums) for every column of a that has elements: a row of transposed(a) * b.
template <typename T, typename F>
void for_columns(const SparseParts& a, const Columns& columns, const RowSource<T>& b, int64_t width, F&& sum_to) {
  const auto* values = static_cast<const T*>(a.values());
  cpu::parallel_for(columns.count, rows_per_piece(a.count(), columns.count, width), [&](int64_t begin, int64_t end) {
    std::vector<accumulate_t<T>> sum(static_cast<size_t>(width));
    for (int64_t k = begin; k < end; ++k) {
      std::fill(sum.begin(), sum.end(), accumulate_t<T>(0));
      for (int64_t i = columns.begin[static_cast<size_t>(k)]; i < columns.begin[static_cast<size_t>(k) + 1]; ++i) {
        const int64_t e = columns.order[static_cast<size_t>(i)];
        if (const T* row = b.row(columns.row[static_cast<size_t>(e)])) {
          add_scaled(sum.data(), accumulate_t<T>(values[e]), row, width);
        }
      }
      sum_to(k, a.indices()[columns.order[static_cast<size_t>(columns.begin[static_cast<size_t>(k)])]], sum);
    }
  });
}

// Sums of at most so many bytes stay in the second cache.
constexpr int64_t kCachedSums = 512 << 10;

// out = transposed(a) * b for few columns: a and b are read in the order of their rows, and all sums stay in a cache.
// Each piece takes the elements of some columns.
template <typename T>
void scatter_times(const SparseParts& a, const RowSource<T>& b, int64_t width, void* out, StorageType storage) {
  using A = accumulate_t<T>;
  const int64_t columns = a.shape()[1];
  const auto* values = static_cast<const T*>(a.values());
  std::vector<A> sums(static_cast<size_t>(columns * width));
  std::vector<uint8_t> seen(static_cast<size_t>(columns));
  constexpr int64_t kPieces = 4;
  cpu::parallel_for(columns, std::max<int64_t>(1, (columns + kPieces - 1) / kPieces), [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < a.rows(); ++r) {
      const int64_t *first = a.indices() + a.indptr()[r], *last = a.indices() + a.indptr()[r + 1];
      const T* row = first == last ? nullptr : b.row(r);
      for (const int64_t* at = std::lower_bound(first, last, begin); at != last && *at < end; ++at) {
        seen[static_cast<size_t>(*at)] = 1;
        if (row) add_scaled(sums.data() + *at * width, A(values[at - a.indices()]), row, width);
      }
    }
  });
  if (storage == StorageType::dense) {
    std::transform(sums.begin(), sums.end(), static_cast<T*>(out), [](A sum) { return static_cast<T>(sum); });
    return;
  }
  auto& rows = *static_cast<SparseParts*>(out);
  rows.resize(std::count(seen.begin(), seen.end(), 1));
  auto* to = static_cast<T*>(rows.values());
  for (int64_t column = 0, k = 0; column < columns; ++column) {
    if (!seen[static_cast<size_t>(column)]) continue;
    rows.indices()[k++] = column;
    for (int64_t j = 0; j < width; ++j) *to++ = static_cast<T>(sums[static_cast<size_t>(column * width + j)]);
  }
}

// out = transposed(a) * b, row_sparse or dense.
template <typename T>
void transposed_times(const SparseParts& a, const RowSource<T>& b, int64_t width, void* out, StorageType storage) {
  const int64_t bytes = a.shape()[1] * width * static_cast<int64_t>(sizeof(accumulate_t<T>));
  if (a.count() > 0 && a.shape()[1] <= a.count() && bytes <= kCachedSums) {
    return scatter_times(a, b, width, out, storage);
  }
  const Columns columns(a);
  const auto store = [width](const std::vector<accumulate_t<T>>& sum, T* to) {
    for (int64_t j = 0; j < width; ++j) to[j] = static_cast<T>(sum[static_cast<size_t>(j)]);
  };
  if (storage == StorageType::row_sparse) {
    auto& rows = *static_cast<SparseParts*>(out);
    rows.resize(columns.count);
    auto* values = static_cast<T*>(rows.values());
    for_columns<T>(a, columns, b, width, [&](int64_t k, int64_t column, const auto& sum) {
      rows.indices()[k] = column;
      store(sum, values + k * width);
    });
    return;
  }
  auto* dense = static_cast<T*>(out);
  std::fill_n(dense, a.shape()[1] * width, T(0));
  for_columns<T>(a, columns, b, width,
                 [&](int64_t, int64_t column, const auto& sum) { store(sum, dense + column * width); });
}

// out (m, n) = a (m, k) * b, or * transposed(b); a is dense.
template <typename T>
void dense_times(const T* a, int64_t m, const SparseParts& b, bool transposed, T* out) {
  const int64_t k = b.shape()[transposed ? 1 : 0], n = b.shape()[transposed ? 0 : 1];
  const auto* values = static_cast<const T*>(b.values());
  cpu::parallel_for(m, std::max<int64_t>(1, 16384 / (1 + b.count())), [&](int64_t begin, int64_t end) {
    std::vector<accumulate_t<T>> sum(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      std::fill(sum.begin(), sum.end(), accumulate_t<T>(0));
      for (int64_t r = 0; r < b.rows(); ++r) {
        for (int64_t e = b.indptr()[r]; e < b.indptr()[r + 1]; ++e) {
          const int64_t column = b.indices()[e];
          const int64_t from = transposed ? column : r, to = transposed ? r : column;
          sum[static_cast<size_t>(to)] += accumulate_t<T>(a[i * k + from]) * accumulate_t<T>(values[e]);
        }
      }
      for (int64_t j = 0; j < n; ++j) out[i * n + j] = static_cast<T>(sum[static_cast<size_t>(j)]);
    }
  });
}

// ---- dot ------------------------------------------------------------------------------------------------------------

StorageType asked_for(ForwardStype stype) {
  switch (stype) {
    case ForwardStype::none: return StorageType::unset;
    case ForwardStype::csr: return StorageType::csr;
    case ForwardStype::dense: return StorageType::dense;
    case ForwardStype::row_sparse: return StorageType::row_sparse;
  }
  return StorageType::unset;
}

// csr * dense and csr * row_sparse are dense, those of the transposed csr row_sparse; dense * csr is csr.
bool infer_dot_storage(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  const auto& p = params.as<DotParams>();
  StorageType natural, other = StorageType::dense;
  if (in[0].storage == StorageType::csr && in[1].storage != StorageType::csr) {
    if (p.transpose_b && in[1].storage == StorageType::row_sparse) return false;
    natural = p.transpose_a && !p.transpose_b ? StorageType::row_sparse : StorageType::dense;
    if (p.transpose_a) other = StorageType::row_sparse;
  } else if (in[0].storage == StorageType::dense && in[1].storage == StorageType::csr && !p.transpose_a) {
    natural = other = StorageType::csr;
  } else {
    return false;
  }
  if (out[0].storage == StorageType::unset) out[0].storage = asked_for(p.forward_stype);
  if (out[0].storage == StorageType::unset) out[0].storage = natural;
  return out[0].storage == StorageType::dense || out[0].storage == other;
}

template <typename T>
Prepared csr_times(const PrepareArgs& a, const ProductDims& d) {
  return make_kernel(
      [d, b = a.in[1].storage, out = a.out[0].storage](const KernelCall& c) {
        const auto& lhs = *static_cast<const SparseParts*>(c.in[0]);
        const RowSource<T> rows(c.in[1], b, d.k, d.n, d.trans_b);
        if (d.trans_a)
          transposed_times<T>(lhs, rows, d.n, c.out[0], out);
        else
          times<T>(lhs, rows, d.n, static_cast<T*>(c.out[0]));
      },
      Kernel::kUnknownCost);
}

template <typename T>
Prepared times_csr(const PrepareArgs& a, const ProductDims& d) {
  return make_kernel(
      [d, out = a.out[0].storage](const KernelCall& c) {
        const auto& rhs = *static_cast<const SparseParts*>(c.in[1]);
        const auto* lhs = static_cast<const T*>(c.in[0]);
        if (out == StorageType::dense) return dense_times<T>(lhs, d.m, rhs, d.trans_b, static_cast<T*>(c.out[0]));
        std::vector<T> dense(static_cast<size_t>(d.m * d.n));
        dense_times<T>(lhs, d.m, rhs, d.trans_b, dense.data());
        sparse::from_dense(*static_cast<SparseParts*>(c.out[0]), dense.data(), rhs.dtype());
      },
      Kernel::kUnknownCost);
}

Prepared prepare_dot(const PrepareArgs& a) {
  const ProductDims d = dot_dims(a.in[0].shape, a.in[1].shape, a.as<DotParams>());
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return a.in[0].storage == StorageType::csr ? csr_times<T>(a, d) : times_csr<T>(a, d);
  });
}

// ---- its gradient ---------------------------------------------------------------------------------------------------
// in: dc, a, b; out: da, db. The gradient of a csr operand a is dense.

// out[i][j] = the product of row i of x and row j of y.
template <typename T>
void rows_by_rows(const RowSource<T>& x, const RowSource<T>& y, int64_t rows, int64_t columns, int64_t width, T* out) {
  cpu::parallel_for(rows, std::max<int64_t>(1, 16384 / (1 + columns * width)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        const T *left = x.row(i), *right = y.row(j);
        accumulate_t<T> sum = 0;
        for (int64_t k = 0; left && right && k < width; ++k) {
          sum += static_cast<accumulate_t<T>>(left[k]) * static_cast<accumulate_t<T>>(right[k]);
        }
        out[i * columns + j] = static_cast<T>(sum);
      }
    }
  });
}

bool infer_backward_storage(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  const auto& p = params.as<DotParams>();
  if (in[0].storage != StorageType::dense || in[1].storage != StorageType::csr || in[2].storage == StorageType::csr) {
    return false;
  }
  if (p.transpose_b) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::dense;
  if (out[1].storage == StorageType::unset) {
    out[1].storage = p.transpose_a ? StorageType::dense : StorageType::row_sparse;
  }
  return out[0].storage == StorageType::dense &&
         (out[1].storage == StorageType::dense || (out[1].storage == StorageType::row_sparse && !p.transpose_a));
}

Prepared prepare_backward(const PrepareArgs& a) {
  const ProductDims d = dot_dims(a.in[1].shape, a.in[2].shape, a.as<DotParams>());
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [d, b = a.in[2].storage, out = a.out[1].storage](const KernelCall& c) {
          const auto& lhs = *static_cast<const SparseParts*>(c.in[1]);
          const RowSource<T> rows(c.in[0], StorageType::dense, d.m, d.n, false);
          if (c.out[0]) {
            const RowSource<T> rhs(c.in[2], b, d.k, d.n, false);
            T* to = static_cast<T*>(c.out[0]);
            if (d.trans_a)
              rows_by_rows(rhs, rows, d.k, d.m, d.n, to);
            else
              rows_by_rows(rows, rhs, d.m, d.k, d.n, to);
          }
          if (!c.out[1]) return;
          if (d.trans_a)
            times<T>(lhs, rows, d.n, static_cast<T*>(c.out[1]));
          else
            transposed_times<T>(lhs, rows, d.n, c.out[1], out);
        },
        Kernel::kUnknownCost);
  });
}

const RegisterSparse dot_form{"dot", {infer_dot_storage, {{"elements", prepare_dot}}}};
const RegisterSparse backward_dot_form{"_backward_dot", {infer_backward_storage, {{"elements", prepare_backward}}}};

}  // namespace
}  // namespace mxnet::nn
