// SPDX-License-Identifier: Apache-2.0
#include "base/shape.h"

#include <ostream>

#include "base/error.h"

namespace mxnet {

void Shape::assign(const dim_t* dims, int rank) {
  if (rank > kMaxRank) fail(ErrorKind::value, "arrays have at most ", kMaxRank, " dimensions, got ", rank);
  std::unique_ptr<dim_t[]> heap;
  dim_t* target = dims_;
  if (rank > kInline) {
    heap = std::make_unique<dim_t[]>(kMaxRank);
    target = heap.get();
  }
  std::copy_n(dims, std::max(rank, 0), target);
  heap_ = std::move(heap);
  rank_ = rank;
}

void Shape::resize(int rank, dim_t fill) {
  if (rank > kMaxRank) fail(ErrorKind::value, "arrays have at most ", kMaxRank, " dimensions, got ", rank);
  if (rank > kInline && !heap_) {
    auto heap = std::make_unique<dim_t[]>(kMaxRank);
    std::copy_n(dims_, std::max(rank_, 0), heap.get());
    heap_ = std::move(heap);
  } else if (rank <= kInline && heap_) {
    std::copy_n(heap_.get(), std::min(rank, rank_), dims_);
    heap_.reset();
  }
  for (int i = std::max(rank_, 0); i < rank; ++i) data()[i] = fill;
  rank_ = rank;
}

void Shape::erase(int axis) {
  std::copy(begin() + axis + 1, end(), begin() + axis);
  resize(rank_ - 1, 0);
}

void Shape::insert(int axis, dim_t d) {
  resize(rank_ + 1, 0);
  std::copy_backward(begin() + axis, end() - 1, end());
  data()[axis] = d;
}

std::string Shape::str() const {
  if (rank_ < 0) return "None";
  std::string out = "(";
  for (int i = 0; i < rank_; ++i) {
    if (i) out += ", ";
    out += std::to_string(data()[i]);
  }
  return out + (rank_ == 1 ? ",)" : ")");
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

int normalize_axis(int64_t axis, int rank, const char* op, const char* argument) {
  if (axis < -rank || axis >= rank) {
    fail(ErrorKind::value, op, ": ", argument, " ", axis, " is out of range for an array with ", rank, " dimensions");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Shape strides_of(const Shape& shape) {
  Shape strides = Shape::of_rank(shape.rank(), 1);
  for (int i = shape.rank() - 2; i >= 0; --i) strides[i] = strides[i + 1] * shape[i + 1];
  return strides;
}

}  // namespace mxnet
