// SPDX-License-Identifier: Apache-2.0
#include "simple_op/tile_fill.h"
#include "simple_op/tile_loops.h"

namespace mxnet::MX_ISA {

void fill_int(TileTable& table) {
  fill_column<int32_t>(table, Native::i32);
  fill_column<int64_t>(table, Native::i64);
  fill_column<int8_t>(table, Native::i8);
  fill_column<uint8_t>(table, Native::u8);
}

}  // namespace mxnet::MX_ISA
