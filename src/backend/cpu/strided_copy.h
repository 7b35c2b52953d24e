// SPDX-License-Identifier: Apache-2.0
// Moves elements between two strided arrays of one logical shape: the work of transpose, slice, concat, flip, tile and
// of every change of layout. The plan is made once; it merges dimensions, finds contiguous runs and 2-d transposes.
#pragma once

#include <cstdint>

#include "base/shape.h"

namespace mxnet::cpu {

class StridedCopy {
 public:
  StridedCopy() = default;
  // Strides in elements, any sign; a source stride of 0 repeats. Destination elements must be distinct.
  StridedCopy(const Shape& shape, const Shape& dst_strides, const Shape& src_strides, int item_bytes);

  // Both point at the element of index (0, ..., 0). Parallel over the team; the memory must not overlap.
  void run(void* dst, const void* src) const;

  int64_t size() const { return size_; }
  int item_bytes() const { return item_; }
  int64_t cost_ns() const;

 private:
  enum class Kind { empty, flat, runs, transpose, gather };

  void choose();
  void run_rows(char* dst, const char* src) const;
  void run_transpose(char* dst, const char* src) const;

  Kind kind_ = Kind::empty;
  int item_ = 1;
  int64_t size_ = 0;
  Shape shape_;      // merged; the innermost dimension is the destination's fastest
  Shape dst_, src_;  // strides in bytes
  int column_ = -1;  // transpose: the dimension in which the source is contiguous
};

// Contiguous bytes, over the team.
void copy_bytes(void* dst, const void* src, int64_t bytes);
// Fills with one element of item_bytes (1, 2, 4 or 8), over the team.
void fill_items(void* dst, int64_t n, const void* item, int item_bytes);
void zero_bytes(void* dst, int64_t bytes);

}  // namespace mxnet::cpu
