// SPDX-License-Identifier: Apache-2.0
// The inner loops of resampling that profit from wide registers.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

struct ResizeLoops {
  // One row of three channels along the width: for each output pixel the sum of `taps` input pixels (2, 4 or 8).
  void (*bytes_along)(const uint8_t* in, const int32_t* index, const float* weight, int64_t taps, float* out,
                      int64_t width);
  void (*fixed_along)(const uint8_t* in, const int32_t* index, const int32_t* weight, int64_t taps, int32_t* out,
                      int64_t width);
  void (*floats_along)(const float* in, const int32_t* index, const float* weight, int64_t taps, float* out,
                       int64_t width);
  // A row of the result: the sum of `taps` rows of n numbers, each with its weight; bytes are rounded to the nearest.
  void (*bytes)(const float* const* rows, const float* weight, int64_t taps, uint8_t* out, int64_t n);
  void (*floats)(const float* const* rows, const float* weight, int64_t taps, float* out, int64_t n);
  // Two rows in fixed point; the products drop 4 and 16 bits, as OpenCV has it.
  void (*fixed)(const int32_t* const* rows, const int32_t* weight, uint8_t* out, int64_t n);
};
MX_ISA_TABLE(ResizeLoops, resize_loops)

}  // namespace mxnet
