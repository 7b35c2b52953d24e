// SPDX-License-Identifier: Apache-2.0
#include "ops/tensor/index.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <vector>

#include "backend/cpu/parallel.h"
#include "base/error.h"
#include "resource/scratch.h"

namespace mxnet::ops {

void load_indices(const void* source, DType dtype, int64_t n, int64_t* target) {
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* from = static_cast<const T*>(source);
    for (int64_t i = 0; i < n; ++i) target[i] = convert<int64_t>(from[i]);
  });
}

void place_indices(int64_t* indices, int64_t n, int64_t extent, IndexMode mode) {
  if (n > 0 && extent == 0) fail(ErrorKind::index, "index ", indices[0], " into a dimension of size 0");
  switch (mode) {
    case IndexMode::clip:
      for (int64_t i = 0; i < n; ++i) indices[i] = clip_index(indices[i], extent);
      return;
    case IndexMode::wrap:
      for (int64_t i = 0; i < n; ++i) indices[i] = wrap_index(indices[i], extent);
      return;
    case IndexMode::raise:
      for (int64_t i = 0; i < n; ++i) {
        if (indices[i] < 0 || indices[i] >= extent) {
          fail(ErrorKind::index, "index ", indices[i], " is out of bounds for a dimension of size ", extent);
        }
      }
  }
}

namespace {

// The positions k grouped by rows[k]: list[start[r]..start[r + 1]) are those of row r, rising.
struct Groups {
  int64_t* start;
  int64_t* list;
  Groups(Scratch& scratch, const int64_t* rows, int64_t n, int64_t extent)
      : start(scratch.get<int64_t>(extent + 2)), list(scratch.get<int64_t>(n)) {
    std::fill(start, start + extent + 2, 0);
    // Shifted by one while filling, so that start[r] ends as the beginning of row r.
    for (int64_t k = 0; k < n; ++k) ++start[rows[k] + 2];
    for (int64_t r = 0; r < extent; ++r) start[r + 2] += start[r + 1];
    for (int64_t k = 0; k < n; ++k) list[start[rows[k] + 1]++] = k;
  }
};

template <typename T>
void sum_group(T* out, const T* head, const int64_t* list, int64_t count, int64_t inner) {
  if (count == 0) return std::fill(out, out + inner, T(0));
  if (count == 1) {
    std::memcpy(static_cast<void*>(out), head + list[0] * inner, inner * sizeof(T));
    return;
  }
  using A = accumulate_t<T>;
  constexpr int64_t kBlock = 256;
  A sums[kBlock];
  for (int64_t begin = 0; begin < inner; begin += kBlock) {
    const int64_t width = std::min(kBlock, inner - begin);
    std::fill(sums, sums + width, A(0));
    for (int64_t k = 0; k < count; ++k) {
      const T* row = head + list[k] * inner + begin;
      for (int64_t i = 0; i < width; ++i) sums[i] += static_cast<A>(static_cast<compute_t<T>>(row[i]));
    }
    for (int64_t i = 0; i < width; ++i) out[begin + i] = static_cast<T>(sums[i]);
  }
}

}  // namespace

void sum_rows(void* out, const void* head, DType dtype, const int64_t* rows, int64_t n, int64_t outer, int64_t extent,
              int64_t inner) {
  if (outer * extent * inner == 0) return;
  Scratch scratch;
  const Groups groups(scratch, rows, n, extent);
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t grain = std::max<int64_t>(1, 16 * 1024 / inner);
    cpu::parallel_for(outer * extent, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t o = i / extent, r = i % extent;
        sum_group(static_cast<T*>(out) + i * inner, static_cast<const T*>(head) + o * n * inner,
                  groups.list + groups.start[r], groups.start[r + 1] - groups.start[r], inner);
      }
    });
  });
}

}  // namespace mxnet::ops
