// SPDX-License-Identifier: Apache-2.0
#include "ndarray/copy.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/parallel.h"

namespace mxnet::copy {
namespace {

constexpr int64_t kGrain = 32 * 1024;  // elements of a chunk of parallel work
constexpr int64_t kTile = 16;

// (rows, columns) -> (columns, rows), in tiles that keep both sides in cache.
template <typename T>
void transpose(T* target, const T* source, int64_t rows, int64_t columns) {
  for (int64_t r0 = 0; r0 < rows; r0 += kTile) {
    const int64_t r1 = std::min(rows, r0 + kTile);
    for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
      const int64_t c1 = std::min(columns, c0 + kTile);
      for (int64_t c = c0; c < c1; ++c) {
        for (int64_t r = r0; r < r1; ++r) target[c * rows + r] = source[r * columns + c];
      }
    }
  }
}

}  // namespace

void convert(void* target, DType target_dtype, const void* source, DType source_dtype, int64_t count) {
  if (target_dtype == source_dtype) {
    const int64_t size = size_of(target_dtype);
    cpu::parallel_for(count * size, 8 * kGrain, [&](int64_t begin, int64_t end) {
      std::memcpy(static_cast<char*>(target) + begin, static_cast<const char*>(source) + begin, end - begin);
    });
    return;
  }
  dispatch(target_dtype, [&]<typename To>(TypeTag<To>) {
    dispatch(source_dtype, [&]<typename From>(TypeTag<From>) {
      To* to = static_cast<To*>(target);
      const From* from = static_cast<const From*>(source);
      cpu::parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = mxnet::convert<To>(from[i]);
      });
    });
  });
}

void reorder(void* target, const void* source, const Shape& shape, DType dtype, Layout from, Layout to) {
  const int64_t count = shape.size();
  if (from == to || count == 0) {
    convert(target, dtype, source, dtype, count);
    return;
  }
  const int64_t channels = shape[1];
  const int64_t spatial = shape.size(2, shape.rank());
  const int64_t image = channels * spatial;
  dispatch_bits(dtype, [&]<typename T>(TypeTag<T>) {
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, image));
    cpu::parallel_for(shape[0], grain, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        T* t = static_cast<T*>(target) + n * image;
        const T* s = static_cast<const T*>(source) + n * image;
        if (to == Layout::channels_last)
          transpose(t, s, channels, spatial);
        else
          transpose(t, s, spatial, channels);
      }
    });
  });
}

void accumulate(void* target, const void* source, DType dtype, int64_t count) {
  dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    T* t = static_cast<T*>(target);
    const T* s = static_cast<const T*>(source);
    cpu::parallel_for(count, kGrain, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if constexpr (std::is_same_v<T, bool>)
          t[i] = t[i] || s[i];
        else
          t[i] = static_cast<T>(static_cast<compute_t<T>>(t[i]) + static_cast<compute_t<T>>(s[i]));
      }
    });
  });
}

void fill(void* target, DType dtype, int64_t count, double value) {
  dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    T* t = static_cast<T*>(target);
    const T v = mxnet::convert<T>(value);
    cpu::parallel_for(count, kGrain, [=](int64_t begin, int64_t end) { std::fill(t + begin, t + end, v); });
  });
}

}  // namespace mxnet::copy
