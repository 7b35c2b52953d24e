// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace mxnet {

using dim_t = int64_t;

// Dimensions of an array. Rank -1 means nothing is known; a dimension of -1 is unknown, 0 is an empty array.
// The API's older "0 means unknown" is translated at its boundary, never here.
class Shape {
 public:
  static constexpr int kInline = 6;
  static constexpr int kMaxRank = 32;

  Shape() = default;  // rank 0: a scalar
  Shape(std::initializer_list<dim_t> dims) : Shape(std::span<const dim_t>(dims.begin(), dims.size())) {}
  explicit Shape(std::span<const dim_t> dims) { assign(dims.data(), static_cast<int>(dims.size())); }
  Shape(const Shape& other) { copy_from(other); }
  Shape(Shape&& other) noexcept { *this = std::move(other); }
  Shape& operator=(const Shape& other) {
    if (this != &other) copy_from(other);
    return *this;
  }
  Shape& operator=(Shape&& other) noexcept {
    heap_ = std::move(other.heap_);
    std::memcpy(dims_, other.dims_, sizeof dims_);
    rank_ = other.rank_;
    if (heap_) other.rank_ = 0;
    return *this;
  }

  static Shape unknown() {
    Shape s;
    s.rank_ = -1;
    return s;
  }
  static Shape of_rank(int rank, dim_t fill = -1) {
    Shape s;
    s.resize(rank, fill);
    return s;
  }

  int rank() const { return rank_; }
  bool rank_known() const { return rank_ >= 0; }
  bool known() const {
    return rank_ >= 0 && std::none_of(begin(), end(), [](dim_t d) { return d < 0; });
  }
  int64_t size() const {  // number of elements; of a known shape
    int64_t n = 1;
    for (dim_t d : *this) n *= d;
    return n;
  }
  int64_t size(int first, int last) const {  // product of dimensions [first, last)
    int64_t n = 1;
    for (int i = first; i < last; ++i) n *= data()[i];
    return n;
  }

  const dim_t* data() const { return heap_ ? heap_.get() : dims_; }
  dim_t* data() { return heap_ ? heap_.get() : dims_; }
  dim_t operator[](int i) const { return data()[i]; }
  dim_t& operator[](int i) { return data()[i]; }
  const dim_t* begin() const { return data(); }
  const dim_t* end() const { return data() + std::max(rank_, 0); }
  dim_t* begin() { return data(); }
  dim_t* end() { return data() + std::max(rank_, 0); }
  dim_t back() const { return data()[rank_ - 1]; }

  void resize(int rank, dim_t fill);
  void push_back(dim_t d) { resize(rank_ + 1, d); }
  void erase(int axis);
  void insert(int axis, dim_t d);

  bool operator==(const Shape& other) const {
    return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
  }
  std::string str() const;  // "(2, 3)", "(4,)", "()", "None" for an unknown rank

 private:
  void assign(const dim_t* dims, int rank);
  void copy_from(const Shape& other) {
    if (other.rank_ <= kInline && !heap_) {
      rank_ = other.rank_;
      std::memcpy(dims_, other.dims_, sizeof dims_);
    } else {
      assign(other.data(), other.rank_);
    }
  }

  int rank_ = 0;
  dim_t dims_[kInline] = {};
  std::unique_ptr<dim_t[]> heap_;  // used when rank > kInline
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// An axis counted from the end is counted from the start; raises IndexError-like ValueError naming `op` when out of
// range.
int normalize_axis(int64_t axis, int rank, const char* op, const char* argument = "axis");

// Row-major strides in elements.
Shape strides_of(const Shape& shape);

// How the elements of a chunk lie in memory. channels_last keeps the batch outermost: (N, spatial..., C) for a logical
// (N, C, spatial...). It is a permutation: same bytes, same size.
enum class Layout : uint8_t { plain, channels_last };

}  // namespace mxnet
