// SPDX-License-Identifier: Apache-2.0
#include "simple_op/tile_fill.h"
#include "simple_op/tile_loops.h"

namespace mxnet::MX_ISA {

void fill_f32(TileTable& table) { fill_column<float>(table, Native::f32); }

}  // namespace mxnet::MX_ISA
