// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mxnet::cpu {

// Instruction sets that kernels are compiled for, each including the ones before it.
// avx2: with FMA and F16C. avx512: F, BW, DQ and VL.
enum class Isa { generic, sse42, avx2, avx512 };

// The best that this processor and system offer, capped by MXNET_CPU_ISA. Does not change during the process.
Isa isa();

const char* name(Isa isa);

}  // namespace mxnet::cpu
