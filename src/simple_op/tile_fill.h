// SPDX-License-Identifier: Apache-2.0
// What each instruction set's files put into the table.
#pragma once

#include "simple_op/tile_table.h"

#define MX_DECLARE_FILLS(isa)          \
  namespace mxnet::isa {               \
  void fill_f32(TileTable& table);     \
  void fill_f64(TileTable& table);     \
  void fill_int(TileTable& table);     \
  void fill_convert(TileTable& table); \
  void fill_fold(TileTable& table);    \
  void fill_chain(TileTable& table);   \
  }

#if defined(__x86_64__)
MX_DECLARE_FILLS(sse42)
MX_DECLARE_FILLS(avx2)
MX_DECLARE_FILLS(avx512)
#else
MX_DECLARE_FILLS(generic)
#endif
