// SPDX-License-Identifier: Apache-2.0
#include "ops/linalg/blocks.h"

#include "backend/cpu/parallel.h"

namespace mxnet::linalg {
namespace {

template <typename T>
void multiply_over_team(const BlockProduct<T>& p) {
  const BlockCut cut = BlockCut::of(p, cpu::team_size());
  cpu::parallel_for(
      cut.units, cut.grain,
      [&](int64_t begin, int64_t end) {
        const BlockProduct<T> piece = cut.piece(p, begin, end);
        const ScratchArray<T> memory(block_gemm<T>().memory(piece.m, piece.n, piece.k));
        block_gemm<T>().multiply(piece, memory);
      },
      true);
}

}  // namespace

void multiply(const BlockProduct<float>& product) { multiply_over_team(product); }
void multiply(const BlockProduct<double>& product) { multiply_over_team(product); }

}  // namespace mxnet::linalg
