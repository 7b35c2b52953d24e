// SPDX-License-Identifier: Apache-2.0
// What a sparse chunk holds. Its extent is known only when the chunk's writer has run: kernels get a pointer to a
// SparseParts where a dense array would give the address of its elements, and may resize what they write.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "base/device.h"
#include "base/dtype.h"
#include "base/shape.h"
#include "base/storage_type.h"
#include "storage/storage.h"

namespace mxnet {

// row_sparse: `count` rows of axis 0; indices are their numbers, ascending and distinct; values are (count, rest...).
// csr (two axes): `count` elements; indices are their columns, indptr[r] .. indptr[r + 1] those of row r.
class SparseParts {
 public:
  SparseParts(StorageType storage, const Shape& shape, DType dtype, Device device);  // nothing stored: all zero
  ~SparseParts();
  SparseParts(const SparseParts&) = delete;
  SparseParts& operator=(const SparseParts&) = delete;

  StorageType storage() const { return storage_; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  int64_t count() const { return count_; }
  int64_t width() const { return width_; }  // elements per index
  int64_t rows() const { return shape_[0]; }

  // `count` * `width` elements. If the rows are shared, the first call makes these of them; they must not be written
  // then.
  void* values() const;
  int64_t* indices() const { return static_cast<int64_t*>(indices_.data); }
  int64_t* indptr() const { return static_cast<int64_t*>(indptr_.data); }

  // Room for `count` indices; contents are undefined. Memory that fits is kept.
  void resize(int64_t count);

  // The rows of row_sparse values may be shared: row i is row at[i] of a table that is much smaller than the values.
  struct Rows {
    const void* table;
    const int64_t* at;  // null: row i
  };
  Rows shared_rows() const;
  // Room for `count` indices whose rows lie in a table of `rows` rows; contents are undefined.
  void resize_shared(int64_t count, int64_t rows);
  void* table() const { return table_.data; }
  int64_t* table_rows() const { return static_cast<int64_t*>(table_rows_.data); }
  void clear();
  // Exchanges contents; both have the same storage type, shape and dtype.
  void swap(SparseParts& other);

 private:
  StorageType storage_;
  DType dtype_;
  Device device_;
  Shape shape_;
  int64_t count_ = 0, width_ = 1;
  bool shared_ = false;
  storage::Block indices_, indptr_, table_, table_rows_;
  mutable storage::Block values_;
  mutable std::atomic<bool> settled_{true};  // values_ is valid
  mutable std::mutex mutex_;                 // readers may settle at the same time
};

// Run from engine operations; no waiting inside.
namespace sparse {

void to_dense(void* target, DType target_dtype, const SparseParts& source);
// Keeps the rows, or elements, that are not zero.
void from_dense(SparseParts& target, const void* source, DType source_dtype);
// Between arrays of one shape; converts dtype and storage type.
void copy(SparseParts& target, const SparseParts& source);
// target = a + b, row_sparse of one dtype; target is neither a nor b.
void add_rows(SparseParts& target, const SparseParts& a, const SparseParts& b);
// target += source, row_sparse of one dtype.
void accumulate(SparseParts& target, const SparseParts& source);
// dense += source.
void accumulate_into_dense(void* target, const SparseParts& source);
// Raises ErrorKind::value if indices are not ascending, distinct and within the shape.
void check(const SparseParts& parts);

}  // namespace sparse
}  // namespace mxnet
