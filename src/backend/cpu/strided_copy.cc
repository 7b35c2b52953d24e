// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/strided_copy.h"

#include <array>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "backend/cpu/parallel.h"
#include "base/error.h"

namespace mxnet::cpu {

namespace {

constexpr int64_t kGrainBytes = 64 * 1024;
constexpr int64_t kTile = 32;  // transpose: a tile of 32 x 32 items stays in L1 for every item size

template <typename F>
void with_item(int bytes, F&& f) {
  switch (bytes) {
    case 1: return f(uint8_t{});
    case 2: return f(uint16_t{});
    case 4: return f(uint32_t{});
    case 8: return f(uint64_t{});
    default: fail(ErrorKind::type, "no element of ", bytes, " bytes");
  }
}

// Four rows of four 32-bit items. Vector extensions: 128 bits exist on every target.
using V4 = uint32_t __attribute__((vector_size(16)));

V4 load(const char* p) {
  V4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void transpose_4x4(char* dst, int64_t dst_stride, const char* src, int64_t src_stride) {
  const V4 a = load(src), b = load(src + src_stride), c = load(src + 2 * src_stride), d = load(src + 3 * src_stride);
  const V4 ab_low = __builtin_shuffle(a, b, V4{0, 4, 1, 5}), ab_high = __builtin_shuffle(a, b, V4{2, 6, 3, 7});
  const V4 cd_low = __builtin_shuffle(c, d, V4{0, 4, 1, 5}), cd_high = __builtin_shuffle(c, d, V4{2, 6, 3, 7});
  const std::array<V4, 4> rows = {
      __builtin_shuffle(ab_low, cd_low, V4{0, 1, 4, 5}), __builtin_shuffle(ab_low, cd_low, V4{2, 3, 6, 7}),
      __builtin_shuffle(ab_high, cd_high, V4{0, 1, 4, 5}), __builtin_shuffle(ab_high, cd_high, V4{2, 3, 6, 7})};
  for (int i = 0; i < 4; ++i) std::memcpy(dst + i * dst_stride, &rows[i], 16);
}

// dst[c][r] = src[r][c]: dst rows are `dst_stride` bytes apart, src rows `src_stride`; both contiguous within a row.
template <typename T>
void transpose_tile(char* dst, int64_t dst_stride, const char* src, int64_t src_stride, int64_t rows, int64_t columns) {
  int64_t r0 = 0, c0 = 0;
  if constexpr (sizeof(T) == 4) {
    r0 = rows & ~int64_t{3};
    c0 = columns & ~int64_t{3};
    for (int64_t c = 0; c < c0; c += 4) {
      for (int64_t r = 0; r < r0; r += 4) {
        transpose_4x4(dst + c * dst_stride + r * 4, dst_stride, src + r * src_stride + c * 4, src_stride);
      }
    }
  }
  const auto scalar = [&](int64_t row_begin, int64_t row_end, int64_t column_begin, int64_t column_end) {
    for (int64_t c = column_begin; c < column_end; ++c) {
      T* out = reinterpret_cast<T*>(dst + c * dst_stride);
      const char* in = src + c * static_cast<int64_t>(sizeof(T));
      for (int64_t r = row_begin; r < row_end; ++r) out[r] = *reinterpret_cast<const T*>(in + r * src_stride);
    }
  };
  scalar(r0, rows, 0, c0);
  scalar(0, rows, c0, columns);
}

// Walks all dimensions but some, keeping two byte offsets.
class Odometer {
 public:
  Odometer(const Shape& shape, const Shape& dst, const Shape& src, int64_t start)
      : shape_(shape), dst_(dst), src_(src) {
    index_.fill(0);
    for (int d = shape.rank() - 1; d >= 0; --d) {
      index_[d] = start % shape[d];
      start /= shape[d];
      dst_offset += index_[d] * dst[d];
      src_offset += index_[d] * src[d];
    }
  }
  void next() {
    for (int d = shape_.rank() - 1; d >= 0; --d) {
      dst_offset += dst_[d];
      src_offset += src_[d];
      if (++index_[d] < shape_[d]) return;
      dst_offset -= dst_[d] * shape_[d];
      src_offset -= src_[d] * shape_[d];
      index_[d] = 0;
    }
  }
  int64_t dst_offset = 0;
  int64_t src_offset = 0;

 private:
  const Shape& shape_;
  const Shape& dst_;
  const Shape& src_;
  std::array<int64_t, Shape::kMaxRank> index_;
};

struct Dim {
  int64_t extent, dst, src;
};

}  // namespace

StridedCopy::StridedCopy(const Shape& shape, const Shape& dst_strides, const Shape& src_strides, int item_bytes)
    : item_(item_bytes), size_(shape.size()) {
  if (size_ == 0) return;
  std::array<Dim, Shape::kMaxRank> dims;
  int n = 0;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != 1) dims[n++] = {shape[i], dst_strides[i] * item_, src_strides[i] * item_};
  }
  // The destination is walked in its own order: its writes then stream.
  std::stable_sort(dims.begin(), dims.begin() + n,
                   [](const Dim& a, const Dim& b) { return std::llabs(a.dst) > std::llabs(b.dst); });
  int merged = 0;
  for (int i = 0; i < n; ++i) {
    Dim* last = merged ? &dims[merged - 1] : nullptr;
    if (last && last->dst == dims[i].dst * dims[i].extent && last->src == dims[i].src * dims[i].extent) {
      *last = {last->extent * dims[i].extent, dims[i].dst, dims[i].src};
    } else {
      dims[merged++] = dims[i];
    }
  }
  shape_ = dst_ = src_ = Shape::of_rank(merged, 0);
  for (int i = 0; i < merged; ++i) {
    shape_[i] = dims[i].extent;
    dst_[i] = dims[i].dst;
    src_[i] = dims[i].src;
  }
  choose();
}

void StridedCopy::choose() {
  const int rank = shape_.rank();
  if (rank == 0) {
    kind_ = Kind::flat;
    return;
  }
  const int last = rank - 1;
  if (dst_[last] == item_ && src_[last] == item_) {
    kind_ = rank == 1 ? Kind::flat : Kind::runs;
    return;
  }
  kind_ = Kind::gather;
  if (dst_[last] != item_ || shape_[last] < 4) return;
  for (int i = 0; i < last; ++i) {
    if (src_[i] == item_ && shape_[i] >= 4) {
      kind_ = Kind::transpose;
      column_ = i;
    }
  }
}

int64_t StridedCopy::cost_ns() const {
  const int64_t bytes = size_ * item_;
  switch (kind_) {
    case Kind::empty: return 0;
    case Kind::flat: return 20 + bytes / 10;
    case Kind::runs: return 40 + bytes / 8 + size_ / shape_[shape_.rank() - 1] * 3;
    case Kind::transpose: return 60 + size_ / 2 + bytes / 8;
    case Kind::gather: return 40 + size_;
  }
  return 0;
}

void StridedCopy::run(void* dst, const void* src) const {
  char* d = static_cast<char*>(dst);
  const char* s = static_cast<const char*>(src);
  switch (kind_) {
    case Kind::empty: return;
    case Kind::flat: return copy_bytes(d, s, size_ * item_);
    case Kind::runs:
    case Kind::gather: return run_rows(d, s);
    case Kind::transpose: return run_transpose(d, s);
  }
}

void StridedCopy::run_rows(char* dst, const char* src) const {
  const int last = shape_.rank() - 1;
  const int64_t extent = shape_[last], rows = size_ / extent, dst_step = dst_[last], src_step = src_[last];
  Shape outer = shape_;
  outer.resize(last, 0);
  const auto each_row = [&](auto&& body) {
    if (rows == 1) {  // one long row: cut the row itself
      parallel_for(extent, std::max<int64_t>(1, kGrainBytes / item_), [&](int64_t begin, int64_t end) {
        body(dst + begin * dst_step, src + begin * src_step, end - begin);
      });
      return;
    }
    parallel_for(rows, std::max<int64_t>(1, kGrainBytes / (extent * item_)), [&](int64_t begin, int64_t end) {
      Odometer at(outer, dst_, src_, begin);
      for (int64_t row = begin; row < end; ++row, at.next()) body(dst + at.dst_offset, src + at.src_offset, extent);
    });
  };
  with_item(item_, [&](auto item) {
    using T = decltype(item);
    if (kind_ == Kind::runs && extent * item_ >= 64) {
      return each_row([](char* d, const char* s, int64_t n) { std::memcpy(d, s, n * sizeof(T)); });
    }
    if (dst_step == item_ && src_step == 0) {
      return each_row([](char* d, const char* s, int64_t n) {
        std::fill_n(reinterpret_cast<T*>(d), n, *reinterpret_cast<const T*>(s));
      });
    }
    each_row([=](char* d, const char* s, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        *reinterpret_cast<T*>(d + i * dst_step) = *reinterpret_cast<const T*>(s + i * src_step);
    });
  });
}

void StridedCopy::run_transpose(char* dst, const char* src) const {
  const int last = shape_.rank() - 1;
  const int64_t rows = shape_[last], columns = shape_[column_];
  const int64_t row_tiles = (rows + kTile - 1) / kTile, column_tiles = (columns + kTile - 1) / kTile;
  Shape outer = Shape::of_rank(0), outer_dst = outer, outer_src = outer;
  for (int i = 0; i < last; ++i) {
    if (i == column_) continue;
    outer.push_back(shape_[i]);
    outer_dst.push_back(dst_[i]);
    outer_src.push_back(src_[i]);
  }
  const int64_t tiles = outer.size() * row_tiles * column_tiles;
  const int64_t dst_stride = dst_[column_], src_stride = src_[last];
  with_item(item_, [&](auto item) {
    using T = decltype(item);
    const int64_t grain = std::max<int64_t>(1, kGrainBytes / (kTile * kTile * item_));
    parallel_for(tiles, grain, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t r = t % row_tiles * kTile, c = t / row_tiles % column_tiles * kTile;
        const Odometer at(outer, outer_dst, outer_src, t / (row_tiles * column_tiles));
        transpose_tile<T>(dst + at.dst_offset + c * dst_stride + r * item_, dst_stride,
                          src + at.src_offset + r * src_stride + c * item_, src_stride, std::min(kTile, rows - r),
                          std::min(kTile, columns - c));
      }
    });
  });
}

void copy_bytes(void* dst, const void* src, int64_t bytes) {
  if (dst == src || bytes <= 0) return;
  parallel_for(bytes, kGrainBytes * 4, [=](int64_t begin, int64_t end) {
    std::memcpy(static_cast<char*>(dst) + begin, static_cast<const char*>(src) + begin, end - begin);
  });
}

void zero_bytes(void* dst, int64_t bytes) {
  parallel_for(bytes, kGrainBytes * 4,
               [=](int64_t begin, int64_t end) { std::memset(static_cast<char*>(dst) + begin, 0, end - begin); });
}

void fill_items(void* dst, int64_t n, const void* item, int item_bytes) {
  with_item(item_bytes, [&](auto tag) {
    using T = decltype(tag);
    T value;
    std::memcpy(&value, item, sizeof value);
    parallel_for(n, kGrainBytes * 4 / item_bytes, [&](int64_t begin, int64_t end) {
      std::fill(static_cast<T*>(dst) + begin, static_cast<T*>(dst) + end, value);
    });
  });
}

}  // namespace mxnet::cpu
