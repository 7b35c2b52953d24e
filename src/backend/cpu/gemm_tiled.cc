// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm_tiled.h"

#include <omp.h>

#include <algorithm>
#include <cstring>

#include "backend/cpu/gemm_tile.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"

namespace mxnet::cpu {
namespace {

int64_t divide_up(int64_t n, int64_t by) { return (n + by - 1) / by; }
int64_t round_up(int64_t n, int64_t to) { return divide_up(n, to) * to; }

// b is packed whole, in blocks of the depth; then blocks of c are computed, each by one thread. The blocks follow from
// the extents alone and each element is added up in the order of the depth, so results do not depend on the team.
class TiledGemm final : public Gemm {
 public:
  TiledGemm(const GemmSpec& spec, int team) : s_(spec), slots_(std::max(1, team)) {
    const TileKernels& t = tile_kernels();
    depth_ = s_.k <= kMaxDepth ? s_.k : divide_up(s_.k, divide_up(s_.k, kPartDepth));
    rows_ = round_up(divide_up(s_.m, divide_up(s_.m, kTilesOfRows * t.rows)), t.rows);
    copies_a_ = s_.trans_a || (s_.k > depth_ && s_.k % kConflict == 0);
    // Blocks of equal width; a block of a copied is used for as much of b as can be.
    const int64_t wanted =
        std::max(divide_up(kPieces, divide_up(s_.m, rows_)), divide_up(s_.n, copies_a_ ? kMaxColsOfCopy : kMaxCols));
    cols_ = round_up(divide_up(s_.n, wanted), t.cols);
    if (!s_.pack_b) cols_ = std::max<int64_t>(cols_, 4 * t.cols);
    if (copies_a_) a_floats_ = round_up(rows_ * (depth_ + kPad), 16);
    const size_t b_bytes = sizeof(float) * static_cast<size_t>(round_up(s_.n, t.cols) * s_.k);
    b_at_ = sizeof(float) * static_cast<size_t>(slots_ * a_floats_);
    scratch_bytes = b_at_ + (spec.pack_b ? 0 : b_bytes);
    packed_b_bytes = spec.pack_b ? b_bytes : 0;
    const double ops = 2.0 * s_.m * s_.n * s_.k;
    cost_ns = static_cast<int64_t>(300 + ops / (isa() == Isa::avx512 ? 160 : isa() == Isa::avx2 ? 80 : 20));
    team_matters = true;
  }

  void pack(const void* b, void* packed) const override {
    const TileKernels& t = tile_kernels();
    const auto* from = static_cast<const float*>(b);
    const int64_t column = s_.trans_b ? s_.k : 1, step = s_.trans_b ? 1 : s_.n;
    const int64_t panels = divide_up(s_.n, t.cols), blocks = divide_up(s_.k, depth_);
    parallel_for(
        panels * blocks, std::max<int64_t>(1, 16384 / (t.cols * depth_)),
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t j = i / blocks * t.cols, d = i % blocks * depth_;
            t.pack(from + j * column + d * step, column, step, std::min<int64_t>(t.cols, s_.n - j),
                   std::min(depth_, s_.k - d), panel(static_cast<float*>(packed), j, d));
          }
        },
        true);
  }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch,
           const void* residual) const override {
    const auto* packed = static_cast<const float*>(b);
    if (!s_.pack_b) {
      auto* own = reinterpret_cast<float*>(static_cast<char*>(scratch) + b_at_);
      pack(b, own);
      packed = own;
    }
    const TileFinish finish{.bias = static_cast<const float*>(bias),
                            .activation = s_.activation,
                            .low = s_.low,
                            .high = s_.high,
                            .residual = static_cast<const float*>(residual),
                            .residual_row = s_.n};
    const int64_t down = divide_up(s_.m, rows_);
    parallel_for(
        down * divide_up(s_.n, cols_), 1,
        [&](int64_t begin, int64_t end) {
          // Other threads of the team have other numbers; a thread that is no part of one has 0.
          float* copy = static_cast<float*>(scratch) + std::min(omp_get_thread_num(), slots_ - 1) * a_floats_;
          for (int64_t i = begin; i < end; ++i) {
            block(static_cast<const float*>(a), packed, finish, static_cast<float*>(c), copy, i % down * rows_,
                  i / down * cols_);
          }
        },
        true);
  }

 private:
  static constexpr int64_t kMaxDepth = 832, kPartDepth = 512;  // at once; of each part where it is more
  static constexpr int64_t kTilesOfRows = 16;
  static constexpr int64_t kMaxCols = 384, kMaxColsOfCopy = 1024;
  static constexpr int64_t kPieces = 16;
  static constexpr int64_t kConflict = 256;  // rows that are a multiple of it apart fall on few lines of a cache
  static constexpr int64_t kPad = 16;

  template <typename T>
  T* panel(T* packed, int64_t column, int64_t d) const {
    return packed + d * round_up(s_.n, tile_kernels().cols) + column * std::min(depth_, s_.k - d);
  }

  void block(const float* a, const float* b, const TileFinish& finish, float* c, float* copy, int64_t row,
             int64_t col) const {
    const TileKernels& t = tile_kernels();
    TileProduct p{.rows = std::min(rows_, s_.m - row), .cols = std::min(cols_, s_.n - col)};
    p.c = c + row * s_.n + col;
    p.c_row = s_.n;
    p.alpha = static_cast<float>(s_.alpha);
    for (int64_t d = 0; d < s_.k; d += depth_) {
      p.depth = std::min(depth_, s_.k - d);
      p.b = panel(b, col, d);
      p.add = s_.accumulate || d > 0;
      left(p, a, copy, row, d);
      if (d + depth_ >= s_.k) {
        p.finish = finish;
        if (finish.bias) p.finish.bias += col;
        if (finish.residual) p.finish.residual += row * s_.n + col;
      }
      t.multiply(p);
    }
  }

  void left(TileProduct& p, const float* a, float* copy, int64_t row, int64_t d) const {
    const TileKernels& t = tile_kernels();
    if (s_.trans_a) {
      t.pack_left(a + d * s_.m + row, s_.m, p.rows, p.depth, copy);
      p.a = copy;
      p.a_row = 1;
      p.a_depth = t.rows;
      p.a_tile = t.rows * p.depth;
      return;
    }
    p.a = a + row * s_.k + d;
    p.a_row = s_.k;
    if (!copies_a_) return;
    for (int64_t r = 0; r < p.rows; ++r) {
      std::memcpy(copy + r * (depth_ + kPad), p.a + r * s_.k, sizeof(float) * static_cast<size_t>(p.depth));
    }
    p.a = copy;
    p.a_row = depth_ + kPad;
  }

  GemmSpec s_;
  int slots_;
  int64_t depth_, rows_, cols_;
  bool copies_a_ = false;
  int64_t a_floats_ = 0;
  size_t b_at_ = 0;
};

constexpr int64_t kMinRows = 96, kMinRowsOfPacked = 12;
constexpr int64_t kMinExtent = 32;

}  // namespace

std::unique_ptr<Gemm> tiled_gemm(const GemmSpec& spec, int team) {
  // Elsewhere oneDNN has kernels of its own for what the processor can do; with few rows, packing b costs too much.
  if (spec.dtype != DType::f32 || spec.batch != 1 || isa() != Isa::avx2) return nullptr;
  if (spec.m < (spec.pack_b ? kMinRowsOfPacked : kMinRows)) return nullptr;
  const int64_t least = spec.pack_b ? tile_kernels().cols : kMinExtent;
  if (spec.n < least || spec.k < least) return nullptr;
  return std::make_unique<TiledGemm>(spec, team);
}

}  // namespace mxnet::cpu
