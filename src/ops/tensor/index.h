// SPDX-License-Identifier: Apache-2.0
// What gathers and scatters share: indices of any dtype, and the deterministic sum of rows that share an index.
#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace mxnet::ops {

// What happens to an index outside of [0, extent).
enum class IndexMode { clip, wrap, raise };

inline int64_t clip_index(int64_t i, int64_t extent) { return i < 0 ? 0 : i >= extent ? extent - 1 : i; }
inline int64_t wrap_index(int64_t i, int64_t extent) {
  i %= extent;
  return i < 0 ? i + extent : i;
}

// Reads n indices of any dtype (floats truncate) as int64.
void load_indices(const void* source, DType dtype, int64_t n, int64_t* target);
// Brings indices into [0, extent) as the mode says; `raise` throws Error(index) for the first bad one.
// An empty dimension accepts no index in any mode.
void place_indices(int64_t* indices, int64_t n, int64_t extent, IndexMode mode);

// out[o, r, :] = the sum over k with rows[k] == r of head[o, k, :], in the order of k; zero for rows without one.
// out is (outer, extent, inner), head (outer, n, inner); rows lie in [0, extent).
void sum_rows(void* out, const void* head, DType dtype, const int64_t* rows, int64_t n, int64_t outer, int64_t extent,
              int64_t inner);

}  // namespace mxnet::ops
