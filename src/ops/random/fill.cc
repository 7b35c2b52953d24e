// SPDX-License-Identifier: Apache-2.0
#include "ops/random/fill.h"

#include "backend/cpu/isa.h"

namespace mxnet {

#if defined(__x86_64__)
namespace sse42 {
extern const ops::random_fill::Table random_table;
}
namespace avx2 {
extern const ops::random_fill::Table random_table;
}
namespace avx512 {
extern const ops::random_fill::Table random_table;
}
#else
namespace generic {
extern const ops::random_fill::Table random_table;
}
#endif

namespace ops::random_fill {

const Table& table() {
#if defined(__x86_64__)
  switch (cpu::isa()) {
    case cpu::Isa::avx512: return avx512::random_table;
    case cpu::Isa::avx2: return avx2::random_table;
    default: return sse42::random_table;
  }
#else
  return generic::random_table;
#endif
}

}  // namespace ops::random_fill
}  // namespace mxnet
