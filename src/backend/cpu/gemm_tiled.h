// SPDX-License-Identifier: Apache-2.0
// The matrix product of our own, on the tiles of gemm_tile.h.
#pragma once

#include "backend/cpu/gemm.h"

namespace mxnet::cpu {

// Null where something else is faster or the spec is not for it: f32 and no batch.
std::unique_ptr<Gemm> tiled_gemm(const GemmSpec& spec, int team);

}  // namespace mxnet::cpu
