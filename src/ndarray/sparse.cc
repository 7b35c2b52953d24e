// SPDX-License-Identifier: Apache-2.0
#include "ndarray/sparse.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "backend/cpu/parallel.h"
#include "base/error.h"
#include "ndarray/copy.h"
#include "storage/sanitize.h"

namespace mxnet {
namespace {

void give_back(const storage::Block& block) {
  if (block.data) storage::release(block);
}

// Memory that fits is kept unless most of it would be idle.
void make_room(storage::Block& block, size_t bytes, Device device) {
  constexpr size_t kSmall = 1 << 16;
  if (block.data && block.capacity >= bytes && (block.capacity <= kSmall || block.capacity / 4 <= bytes)) {
    storage::limit_use(block, bytes);
    return;
  }
  give_back(block);
  block = {};
  block = storage::allocate(bytes, device);
}

}  // namespace

SparseParts::SparseParts(StorageType storage, const Shape& shape, DType dtype, Device device)
    : storage_(storage), dtype_(dtype), device_(device), shape_(shape) {
  if (shape.rank() < 1) fail(ErrorKind::value, "a sparse array needs at least one axis");
  if (storage == StorageType::csr && shape.rank() != 2) {
    fail(ErrorKind::value, "a csr array has two axes, got shape ", shape);
  }
  if (storage == StorageType::row_sparse) width_ = shape.size(1, shape.rank());
  clear();
}

SparseParts::~SparseParts() {
  for (const storage::Block* b : {&values_, &indices_, &indptr_, &table_, &table_rows_}) give_back(*b);
}

void SparseParts::resize(int64_t count) {
  make_room(values_, static_cast<size_t>(count * width_) * size_of(dtype_), device_);
  make_room(indices_, static_cast<size_t>(count) * sizeof(int64_t), device_);
  if (storage_ == StorageType::csr) {
    make_room(indptr_, static_cast<size_t>(rows() + 1) * sizeof(int64_t), device_);
  }
  count_ = count;
  shared_ = false;
  settled_ = true;
}

void SparseParts::resize_shared(int64_t count, int64_t rows) {
  make_room(table_, static_cast<size_t>(rows * width_) * size_of(dtype_), device_);
  make_room(table_rows_, static_cast<size_t>(count) * sizeof(int64_t), device_);
  make_room(indices_, static_cast<size_t>(count) * sizeof(int64_t), device_);
  count_ = count;
  shared_ = true;
  settled_ = false;
}

SparseParts::Rows SparseParts::shared_rows() const {
  return shared_ ? Rows{table_.data, table_rows()} : Rows{values_.data, nullptr};
}

void* SparseParts::values() const {
  if (settled_.load(std::memory_order_acquire)) return values_.data;
  const std::lock_guard lock(mutex_);
  if (settled_) return values_.data;
  const size_t bytes = static_cast<size_t>(width_) * size_of(dtype_);
  make_room(values_, static_cast<size_t>(count_) * bytes, device_);
  for (int64_t i = 0; i < count_; ++i) {
    std::memcpy(static_cast<char*>(values_.data) + static_cast<size_t>(i) * bytes,
                static_cast<const char*>(table_.data) + static_cast<size_t>(table_rows()[i]) * bytes, bytes);
  }
  settled_.store(true, std::memory_order_release);
  return values_.data;
}

void SparseParts::clear() {
  resize(0);
  if (storage_ == StorageType::csr) std::fill_n(indptr(), rows() + 1, int64_t{0});
}

void SparseParts::swap(SparseParts& other) {
  std::swap(count_, other.count_);
  std::swap(values_, other.values_);
  std::swap(indices_, other.indices_);
  std::swap(indptr_, other.indptr_);
  std::swap(table_, other.table_);
  std::swap(table_rows_, other.table_rows_);
  std::swap(shared_, other.shared_);
  settled_ = other.settled_.exchange(settled_);
}

namespace sparse {
namespace {

constexpr int64_t kGrainBytes = 64 * 1024;

int64_t grain_of(int64_t row_bytes) { return std::max<int64_t>(1, kGrainBytes / std::max<int64_t>(row_bytes, 1)); }

char* at(void* base, int64_t element, DType dtype) {
  return static_cast<char*>(base) + element * static_cast<int64_t>(size_of(dtype));
}
const char* at(const void* base, int64_t element, DType dtype) { return at(const_cast<void*>(base), element, dtype); }

void same_kind(const SparseParts& a, const SparseParts& b, const char* what) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype() || a.storage() != b.storage()) {
    fail(ErrorKind::value, what, ": ", name_of(a.storage()), " ", name_of(a.dtype()), a.shape(), " and ",
         name_of(b.storage()), " ", name_of(b.dtype()), b.shape(), " do not fit");
  }
}

// Whether any of n elements differs from zero. -0.0 counts as zero.
template <typename T>
bool is_nonzero(T x) {
  if constexpr (std::is_same_v<T, bool>)
    return x;
  else if constexpr (std::is_arithmetic_v<T>)
    return x != T(0);
  else
    return static_cast<float>(x) != 0.0f;
}

bool any_nonzero(const void* data, DType dtype, int64_t n) {
  return dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    const T* p = static_cast<const T*>(data);
    return std::any_of(p, p + n, [](T x) { return is_nonzero(x); });
  });
}

void rows_from_dense(SparseParts& target, const void* source, DType dtype) {
  const int64_t rows = target.rows(), width = target.width();
  std::vector<uint8_t> keep(static_cast<size_t>(rows));
  cpu::parallel_for(rows, grain_of(width * size_of(dtype)), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      keep[static_cast<size_t>(r)] = any_nonzero(at(source, r * width, dtype), dtype, width);
    }
  });
  target.resize(std::count(keep.begin(), keep.end(), 1));
  for (int64_t r = 0, k = 0; r < rows; ++r) {
    if (keep[static_cast<size_t>(r)]) target.indices()[k++] = r;
  }
  cpu::parallel_for(target.count(), grain_of(width * size_of(dtype)), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      copy::convert(at(target.values(), k * width, target.dtype()), target.dtype(),
                    at(source, target.indices()[k] * width, dtype), dtype, width);
    }
  });
}

void elements_from_dense(SparseParts& target, const void* source, DType dtype) {
  const int64_t rows = target.rows(), columns = target.shape()[1];
  int64_t* start = target.indptr();
  const int64_t grain = grain_of(columns * size_of(dtype));
  dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    const T* from = static_cast<const T*>(source);
    cpu::parallel_for(rows, grain, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t n = 0;
        for (int64_t c = 0; c < columns; ++c) n += is_nonzero(from[r * columns + c]);
        start[r + 1] = n;
      }
    });
    start[0] = 0;
    std::partial_sum(start, start + rows + 1, start);
    target.resize(start[rows]);
    cpu::parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t* to = target.indices() + start[r];
        for (int64_t c = 0; c < columns; ++c) {
          if (is_nonzero(from[r * columns + c])) *to++ = c;
        }
        for (int64_t k = start[r]; k < start[r + 1]; ++k) {
          copy::convert(at(target.values(), k, target.dtype()), target.dtype(),
                        from + r * columns + target.indices()[k], dtype, 1);
        }
      }
    });
  });
}

// Calls visit(element in the dense array, first stored element, count) for every stored run.
template <typename F>
void for_each_run(const SparseParts& p, F&& visit) {
  if (p.storage() == StorageType::row_sparse) {
    const int64_t width = p.width();
    cpu::parallel_for(p.count(), grain_of(width * size_of(p.dtype())), [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) visit(p.indices()[k] * width, k * width, width);
    });
    return;
  }
  const int64_t columns = p.shape()[1];
  for (int64_t r = 0; r < p.rows(); ++r) {
    for (int64_t k = p.indptr()[r]; k < p.indptr()[r + 1]; ++k) visit(r * columns + p.indices()[k], k, 1);
  }
}

}  // namespace

void to_dense(void* target, DType target_dtype, const SparseParts& source) {
  const int64_t size = source.shape().size(), bytes = size * static_cast<int64_t>(size_of(target_dtype));
  cpu::parallel_for(bytes, 1 << 20, [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(target) + begin, 0, static_cast<size_t>(end - begin));
  });
  for_each_run(source, [&](int64_t to, int64_t from, int64_t n) {
    copy::convert(at(target, to, target_dtype), target_dtype, at(source.values(), from, source.dtype()), source.dtype(),
                  n);
  });
}

void from_dense(SparseParts& target, const void* source, DType source_dtype) {
  if (target.storage() == StorageType::row_sparse)
    rows_from_dense(target, source, source_dtype);
  else
    elements_from_dense(target, source, source_dtype);
}

void copy(SparseParts& target, const SparseParts& source) {
  if (&target == &source) return;
  if (target.storage() != source.storage()) {
    std::unique_ptr<char[]> dense(new char[static_cast<size_t>(source.shape().size()) * size_of(source.dtype())]);
    to_dense(dense.get(), source.dtype(), source);
    from_dense(target, dense.get(), source.dtype());
    return;
  }
  const int64_t n = source.count(), width = source.width();
  target.resize(n);
  if (n) std::memcpy(target.indices(), source.indices(), static_cast<size_t>(n) * sizeof(int64_t));
  if (source.storage() == StorageType::csr) std::copy_n(source.indptr(), source.rows() + 1, target.indptr());
  cpu::parallel_for(n, grain_of(width * size_of(source.dtype())), [&](int64_t begin, int64_t end) {
    copy::convert(at(target.values(), begin * width, target.dtype()), target.dtype(),
                  at(source.values(), begin * width, source.dtype()), source.dtype(), (end - begin) * width);
  });
}

void add_rows(SparseParts& target, const SparseParts& a, const SparseParts& b) {
  same_kind(a, b, "add");
  same_kind(target, a, "add");
  if (a.storage() != StorageType::row_sparse) fail(ErrorKind::not_supported, "add: csr arrays cannot be accumulated");
  // Where each row of the result comes from: a position in a, in b, or in both.
  struct Origin {
    int64_t row, a, b;
  };
  std::vector<Origin> origins;
  origins.reserve(static_cast<size_t>(a.count() + b.count()));
  for (int64_t i = 0, j = 0; i < a.count() || j < b.count();) {
    const int64_t row_a = i < a.count() ? a.indices()[i] : INT64_MAX;
    const int64_t row_b = j < b.count() ? b.indices()[j] : INT64_MAX;
    origins.push_back({std::min(row_a, row_b), row_a <= row_b ? i++ : -1, row_b <= row_a ? j++ : -1});
  }
  target.resize(static_cast<int64_t>(origins.size()));
  const int64_t width = a.width();
  const size_t bytes = static_cast<size_t>(width) * size_of(a.dtype());
  cpu::parallel_for(target.count(), grain_of(static_cast<int64_t>(bytes)), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Origin& from = origins[static_cast<size_t>(k)];
      target.indices()[k] = from.row;
      char* to = at(target.values(), k * width, a.dtype());
      const SparseParts& first = from.a >= 0 ? a : b;
      std::memcpy(to, at(first.values(), (from.a >= 0 ? from.a : from.b) * width, a.dtype()), bytes);
      if (from.a >= 0 && from.b >= 0) copy::accumulate(to, at(b.values(), from.b * width, b.dtype()), a.dtype(), width);
    }
  });
}

void accumulate(SparseParts& target, const SparseParts& source) {
  SparseParts sum(target.storage(), target.shape(), target.dtype(), target.device());
  add_rows(sum, target, source);
  target.swap(sum);
}

void accumulate_into_dense(void* target, const SparseParts& source) {
  for_each_run(source, [&](int64_t to, int64_t from, int64_t n) {
    copy::accumulate(at(target, to, source.dtype()), at(source.values(), from, source.dtype()), source.dtype(), n);
  });
}

void check(const SparseParts& p) {
  const auto ascending = [&](int64_t begin, int64_t end, int64_t limit, const char* what) {
    for (int64_t k = begin; k < end; ++k) {
      const int64_t index = p.indices()[k];
      if (index < 0 || index >= limit) {
        fail(ErrorKind::value, name_of(p.storage()), " array: ", what, " index ", index, " is out of range for ",
             p.shape());
      }
      if (k > begin && index <= p.indices()[k - 1]) {
        fail(ErrorKind::value, name_of(p.storage()), " array: ", what, " indices must be ascending and distinct, got ",
             p.indices()[k - 1], " before ", index);
      }
    }
  };
  if (p.storage() == StorageType::row_sparse) return ascending(0, p.count(), p.rows(), "row");
  const int64_t* indptr = p.indptr();
  if (indptr[0] != 0 || indptr[p.rows()] != p.count() || !std::is_sorted(indptr, indptr + p.rows() + 1)) {
    fail(ErrorKind::value, "csr array: indptr must rise from 0 to the number of elements, ", p.count());
  }
  for (int64_t r = 0; r < p.rows(); ++r) ascending(indptr[r], indptr[r + 1], p.shape()[1], "column");
}

}  // namespace sparse
}  // namespace mxnet
