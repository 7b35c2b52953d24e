// SPDX-License-Identifier: Apache-2.0
// Products of parts of matrices, whatever their strides: the inner step of factorizations, which work on windows of one
// matrix, and the product of double matrices.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

// c = alpha * a * b (+ c); a is m x k, b is k x n. Steps are in elements and may be negative; the columns of c lie next
// to each other. c shares no memory with a and b.
template <typename T>
struct BlockProduct {
  int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  int64_t a_row = 0, a_col = 1;
  const T* b = nullptr;
  int64_t b_row = 0, b_col = 1;
  T* c = nullptr;
  int64_t c_row = 0;
  T alpha = 1;
  bool add = true;
};

template <typename T>
struct BlockGemm {
  int64_t rows, cols;  // of the tile that registers hold
  // On one thread. `memory`: as many elements as `memory` says, 64-byte aligned.
  void (*multiply)(const BlockProduct<T>& product, T* memory);
  int64_t (*memory)(int64_t m, int64_t n, int64_t k);
};
MX_ISA_TABLE(BlockGemm<float>, block_gemm_f32)
MX_ISA_TABLE(BlockGemm<double>, block_gemm_f64)

template <typename T>
const BlockGemm<T>& block_gemm();
template <>
inline const BlockGemm<float>& block_gemm<float>() {
  return block_gemm_f32();
}
template <>
inline const BlockGemm<double>& block_gemm<double>() {
  return block_gemm_f64();
}

// A product cut along the longer side of c, for a team. An element's sum is the same in every piece, so the cut may
// depend on the team.
struct BlockCut {
  static constexpr int64_t kPieceWork = 1 << 22;  // multiplications, below which a team does not pay

  bool by_rows;
  int64_t unit, length, units, grain;  // grain: units of one piece

  template <typename T>
  static BlockCut of(const BlockProduct<T>& p, int team) {
    const int64_t pieces = team == 1 ? 1 : std::clamp<int64_t>(p.m * p.n * p.k / kPieceWork, 1, 2 * team);
    BlockCut cut{};
    cut.by_rows = p.m >= p.n;
    cut.unit = cut.by_rows ? block_gemm<T>().rows : block_gemm<T>().cols;
    cut.length = cut.by_rows ? p.m : p.n;
    cut.units = (cut.length + cut.unit - 1) / cut.unit;
    cut.grain = std::max<int64_t>(1, (cut.units + pieces - 1) / pieces);
    return cut;
  }

  // Units [begin, end) of the product.
  template <typename T>
  BlockProduct<T> piece(const BlockProduct<T>& p, int64_t begin, int64_t end) const {
    BlockProduct<T> piece = p;
    const int64_t from = begin * unit, count = std::min(end * unit, length) - from;
    if (by_rows) {
      piece.m = count;
      piece.a += from * p.a_row;
      piece.c += from * p.c_row;
    } else {
      piece.n = count;
      piece.b += from * p.b_col;
      piece.c += from;
    }
    return piece;
  }
};

}  // namespace mxnet
