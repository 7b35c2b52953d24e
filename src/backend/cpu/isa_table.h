// SPDX-License-Identifier: Apache-2.0
// A table of functions that a *_isa.cc file fills once per instruction set, and the choice among the copies:
//
//   struct RowKernels { void (*sum)(const float*, int64_t); };
//   MX_ISA_TABLE(RowKernels, row_kernels)                       // in a header, in namespace mxnet
//   namespace MX_ISA { const RowKernels row_kernels_table = {...}; }  // in row_isa.cc, in namespace mxnet
//   row_kernels().sum(...)
#pragma once

#include "backend/cpu/isa.h"

#if defined(__x86_64__) || defined(_M_X64)
#define MX_ISA_TABLE(Type, name)                                                      \
  namespace sse42 {                                                                   \
  extern const Type name##_table;                                                     \
  }                                                                                   \
  namespace avx2 {                                                                    \
  extern const Type name##_table;                                                     \
  }                                                                                   \
  namespace avx512 {                                                                  \
  extern const Type name##_table;                                                     \
  }                                                                                   \
  inline const Type& name() {                                                         \
    static const Type& chosen = cpu::isa() == cpu::Isa::avx512 ? avx512::name##_table \
                                : cpu::isa() == cpu::Isa::avx2 ? avx2::name##_table   \
                                                               : sse42::name##_table; \
    return chosen;                                                                    \
  }
#else
#define MX_ISA_TABLE(Type, name)  \
  namespace generic {             \
  extern const Type name##_table; \
  }                               \
  inline const Type& name() { return generic::name##_table; }
#endif
