// SPDX-License-Identifier: Apache-2.0
// Weight gradients of convolutions on channels-last data, as sums over places of outer products (filters x channels).
// Both operands are packed in panels, so that a tile of sums stays in registers while it runs over the places.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// `lines` lines of `cols` places. Place (l, x) has its row elements at rows + l * rows_line + x * OuterKernels::rows
// and its lanes at lanes + l * lanes_line + x * lanes_step.
struct OuterPlaces {
  const float *rows, *lanes;
  int64_t lines, cols;
  int64_t rows_line, lanes_line, rows_step, lanes_step;
};

struct OuterKernels {
  int64_t rows, lanes;  // of a tile
  // sums[i][j] += sum over the places of row element i < count times lane j.
  void (*accumulate)(const OuterPlaces& places, int64_t count, float* sums);
  // Cuts `places` places of `width` elements, `step` apart, in panels that are `panel` elements apart: the first of
  // panels of `rows`, the second of `lanes`. The last panel is filled up with zeros.
  void (*pack_rows)(const float* from, int64_t places, int64_t step, int64_t width, float* to, int64_t panel);
  void (*pack_lanes)(const float* from, int64_t places, int64_t step, int64_t width, float* to, int64_t panel);
};
MX_ISA_TABLE(OuterKernels, outer_kernels)

}  // namespace mxnet
