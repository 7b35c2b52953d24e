// SPDX-License-Identifier: Apache-2.0
#include "simple_op/tile_fill.h"
#include "simple_op/tile_loops.h"

namespace mxnet::MX_ISA {

void fill_f64(TileTable& table) { fill_column<double>(table, Native::f64); }

}  // namespace mxnet::MX_ISA
