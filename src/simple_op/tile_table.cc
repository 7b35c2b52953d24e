// SPDX-License-Identifier: Apache-2.0
#include "simple_op/tile_table.h"

#include "backend/cpu/isa.h"
#include "simple_op/tile_fill.h"

namespace mxnet {
namespace {

#define MX_FILL(isa)          \
  do {                        \
    isa::fill_f32(table);     \
    isa::fill_f64(table);     \
    isa::fill_int(table);     \
    isa::fill_convert(table); \
    isa::fill_fold(table);    \
    isa::fill_chain(table);   \
  } while (false)

TileTable make_table() {
  TileTable table;
#if defined(__x86_64__)
  switch (cpu::isa()) {
    case cpu::Isa::avx512: MX_FILL(avx512); break;
    case cpu::Isa::avx2: MX_FILL(avx2); break;
    default: MX_FILL(sse42); break;
  }
#else
  MX_FILL(generic);
#endif
  return table;
}

#undef MX_FILL

}  // namespace

const TileTable& tile_table() {
  static const TileTable table = make_table();
  return table;
}

}  // namespace mxnet
