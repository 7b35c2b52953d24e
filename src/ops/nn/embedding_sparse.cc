// SPDX-License-Identifier: Apache-2.0
// Embedding of a row_sparse weight, whose absent rows are zero, and the row_sparse gradient: positions are sorted by
// the row they picked, then each row is summed. The work grows with the number of indices; nothing of the weight's size
// is touched.
#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "ops/nn/embedding.h"
#include "ops/nn/row_sum.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

bool infer_forward_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (is_sparse(in[0].storage) || in[1].storage != StorageType::row_sparse) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::dense;
  return out[0].storage == StorageType::dense;
}

Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<EmbeddingParams>();
  const int64_t n = a.in[0].shape.size(), rows = p.input_dim;
  const size_t bytes = static_cast<size_t>(p.output_dim) * size_of(a.in[1].dtype);
  return dispatch(a.in[0].dtype, [&]<typename Index>(TypeTag<Index>) -> Prepared {
    auto run = [n, rows, bytes](const KernelCall& c) {
      const auto* index = static_cast<const Index*>(c.in[0]);
      const auto& weight = *static_cast<const SparseParts*>(c.in[1]);
      const int64_t *first = weight.indices(), *last = first + weight.count();
      auto* out = static_cast<char*>(c.out[0]);
      cpu::parallel_for(n, static_cast<int64_t>(std::max<size_t>(1, 32768 / bytes)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t row = row_of(index[i], rows);
          const int64_t* at = weight.count() == rows ? first + row : std::lower_bound(first, last, row);
          char* to = out + static_cast<size_t>(i) * bytes;
          if (at != last && *at == row)
            std::memcpy(to, static_cast<const char*>(weight.values()) + static_cast<size_t>(at - first) * bytes, bytes);
          else
            std::memset(to, 0, bytes);
        }
      });
    };
    return make_kernel(std::move(run), Kernel::kUnknownCost);
  });
}

bool infer_storage(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (is_sparse(in[0].storage) || is_sparse(in[1].storage) || out[0].storage == StorageType::csr) return false;
  if (out[0].storage == StorageType::unset) {
    out[0].storage = params.as<EmbeddingParams>().sparse_grad ? StorageType::row_sparse : StorageType::dense;
  }
  return true;
}

struct Picked {
  int64_t row, from;  // row of the weight, row of dy
};

// Stable, by the lowest `bits` of the row, eleven bits a pass. `spare` has the size of `items`; returns what holds the
// result.
Picked* sort_by_row(Picked* items, Picked* spare, int64_t n, int bits) {
  constexpr int kDigit = 11;
  constexpr int64_t kBuckets = int64_t{1} << kDigit;
  for (int shift = 0; shift < bits; shift += kDigit) {
    int64_t first[kBuckets] = {};
    for (int64_t i = 0; i < n; ++i) ++first[items[i].row >> shift & (kBuckets - 1)];
    int64_t sum = 0;
    for (int64_t& f : first) sum += std::exchange(f, sum);
    for (int64_t i = 0; i < n; ++i) spare[first[items[i].row >> shift & (kBuckets - 1)]++] = items[i];
    std::swap(items, spare);
  }
  return items;
}

using PickFn = void (*)(const void* data, const int64_t* from, int64_t n, int64_t rows, Picked* items);

template <typename Index>
void pick(const void* data, const int64_t* from, int64_t n, int64_t rows, Picked* items) {
  const auto* index = static_cast<const Index*>(data);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t row = convert<int64_t>(index[i]);
    if (row < 0 || row >= rows) {
      fail(ErrorKind::index, "Embedding: index ", row, " at position ", i, " of data is out of range for ", rows,
           " rows; with sparse_grad=True indices are not clipped in the gradient");
    }
    items[i] = {row, from[i]};
  }
}

// The positions in the order of their rows, cut in segments of one row each.
struct Segments {
  const Picked* items;
  const int64_t* order;  // rows of dy
  const int64_t* first;  // where each segment starts, and the end
  int64_t count = 0;
  int64_t several = 0;  // segments of more than one position

  int64_t row(int64_t s) const { return items[first[s]].row; }
  int64_t size(int64_t s) const { return first[s + 1] - first[s]; }
  const int64_t* begin(int64_t s) const { return order + first[s]; }
};

Segments cut(const Picked* items, int64_t n, int64_t* order, int64_t* first) {
  Segments segments{items, order, first};
  for (int64_t i = 0; i < n; ++i) {
    if (i == 0 || items[i].row != items[i - 1].row)
      first[segments.count++] = i;
    else if (first[segments.count - 1] == i - 1)
      ++segments.several;
    order[i] = items[i].from;
  }
  first[segments.count] = n;
  return segments;
}

// in: dy, data; out: row_sparse. Each row is summed by one thread in the order of the positions, so the result does not
// depend on the number of threads.
class RowsKernel final : public Kernel {
 public:
  RowsKernel(const PrepareArgs& a, PickFn pick)
      : pick_(pick),
        dtype_(a.in[0].dtype),
        heads_(a.in[0].shape, a.in[1].shape, a.as<EmbeddingParams>().output_dim),
        n_(a.in[1].shape.size()),
        rows_(a.as<EmbeddingParams>().input_dim),
        width_(a.as<EmbeddingParams>().output_dim),
        bytes_(static_cast<size_t>(width_) * size_of(dtype_)),
        add_(a.req[0] == Req::add) {
    accepts_add = true;
    cost_ns = 1000 + n_ * (30 + width_ / 4);
  }

  void run(const KernelCall& c) const override {
    Scratch scratch;
    const size_t n = static_cast<size_t>(n_);
    auto* items = scratch.get<Picked>(n);
    auto* spare = scratch.get<Picked>(n);
    auto* order = scratch.get<int64_t>(n);
    heads_.number(order);
    pick_(c.in[1], order, n_, rows_, items);
    items = sort_by_row(items, spare, n_, std::bit_width(static_cast<uint64_t>(rows_ - 1)));
    const Segments segments = cut(items, n_, order, scratch.get<int64_t>(n + 1));
    const void* dy = heads_.expand(c.in[0], dtype_, scratch.bytes(heads_.expanded_size() * size_of(dtype_)));
    SparseParts& out = *static_cast<SparseParts*>(c.out[0]);
    if (!add_) return sum(dy, segments, out);
    SparseParts own(out.storage(), out.shape(), out.dtype(), out.device());
    sum(dy, segments, own);
    sparse::accumulate(out, own);
  }

 private:
  void sum(const void* dy, const Segments& segments, SparseParts& out) const {
    // A spread dy has fewer rows than it gives: then they are shared, and only rows with several positions are made.
    if (2 * (heads_.count() + segments.several) <= segments.count) return share(dy, segments, out);
    out.resize(segments.count);
    char* values = static_cast<char*>(out.values());
    cpu::parallel_for(segments.count, grain(), [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        out.indices()[s] = segments.row(s);
        sum_row(dy, segments.begin(s), segments.size(s), values + static_cast<size_t>(s) * bytes_);
      }
    });
  }

  void share(const void* dy, const Segments& segments, SparseParts& out) const {
    const int64_t heads = heads_.count();
    out.resize_shared(segments.count, heads + segments.several);
    char* table = static_cast<char*>(out.table());
    std::memcpy(table, dy, static_cast<size_t>(heads) * bytes_);
    int64_t next = heads;
    for (int64_t s = 0; s < segments.count; ++s) {
      out.indices()[s] = segments.row(s);
      out.table_rows()[s] = segments.size(s) == 1 ? *segments.begin(s) : next++;
    }
    cpu::parallel_for(segments.count, 8 * grain(), [&](int64_t begin, int64_t end) {
      for (int64_t s = begin; s < end; ++s) {
        const int64_t to = out.table_rows()[s];
        if (to < heads) continue;
        sum_row(dy, segments.begin(s), segments.size(s), table + static_cast<size_t>(to) * bytes_);
      }
    });
  }

  int64_t grain() const { return std::max<int64_t>(1, static_cast<int64_t>(65536 / bytes_)); }

  void sum_row(const void* dy, const int64_t* order, int64_t count, void* to) const {
    if (count == 1) {
      std::memcpy(to, static_cast<const char*>(dy) + static_cast<size_t>(order[0]) * bytes_, bytes_);
    } else if (is_float(dtype_)) {
      row_sum_kernels().rows(dtype_, dy, order, count, width_, width_, to, false);
    } else {
      sum_integers(dy, order, count, to);
    }
  }
  void sum_integers(const void* dy, const int64_t* order, int64_t count, void* to) const {
    dispatch(dtype_, [&]<typename T>(TypeTag<T>) {
      if constexpr (std::is_integral_v<T>) {
        for (int64_t j = 0; j < width_; ++j) {
          int64_t sum = 0;
          for (int64_t i = 0; i < count; ++i)
            sum += static_cast<int64_t>(static_cast<const T*>(dy)[order[i] * width_ + j]);
          static_cast<T*>(to)[j] = static_cast<T>(sum);
        }
      }
    });
  }

  PickFn pick_;
  DType dtype_;
  HeadRows heads_;
  int64_t n_, rows_, width_;
  size_t bytes_;
  bool add_;
};

Prepared prepare(const PrepareArgs& a) {
  if (a.in[0].dtype == DType::boolean) return "gradients of dtype bool";
  return dispatch(a.in[1].dtype, [&]<typename Index>(TypeTag<Index>) -> Prepared {
    return std::unique_ptr<Kernel>(new RowsKernel(a, pick<Index>));
  });
}

const RegisterSparse embedding_of_rows{"Embedding", {infer_forward_storage, {{"rows", prepare_forward}}}};
const RegisterSparse embedding_rows{"_backward_Embedding", {infer_storage, {{"rows", prepare}}, true}};

}  // namespace
}  // namespace mxnet::nn
