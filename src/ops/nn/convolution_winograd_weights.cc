// SPDX-License-Identifier: Apache-2.0
// Weight gradients of 3 x 3 convolutions by F(3 x 3, 4 x 4): a tile's 6 x 6 inputs and 4 x 4 output gradients are
// transformed, multiplied point by point, summed over all tiles, and only the sums are transformed back.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution_outer.h"
#include "ops/nn/convolution_tiles.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

class WinogradWeights final : public ConvKernel {
 public:
  WinogradWeights(const ConvProblem& q, bool with_bias)
      : conv_(tiled(q, ConvPass::weights)), bias_(with_bias), kernel_(winograd_kernels()), outer_(outer_kernels()) {
    layout = Layout::channels_last;
    lane_panels_ = conv_.channels / kernel_.lanes;
    row_panels_ = TiledConv::parts_of(conv_.filters, outer_.rows);
    row_ = conv_.filters + kSetPadding;
    sums_ = kWinogradPoints * lane_panels_ * row_panels_ * outer_.rows * outer_.lanes;
    point_ = conv_.channels * kTiles + kSetPadding;
    row_point_ = row_ * kTiles + kSetPadding;
    inputs_ = kWinogradPoints * point_;
    scratch_bytes = sizeof(float) * static_cast<size_t>(sums_ + inputs_ + kWinogradPoints * row_point_);
    constexpr double kRate = 120;  // of the multiplications that are saved as well, per ns on one core
    cost_ns = 2000 + static_cast<int64_t>(2.0 * static_cast<double>(q.multiplications()) / kRate);
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    auto* sums = static_cast<float*>(scratch);
    const auto* src = static_cast<const float*>(x);
    const auto* dy = static_cast<const float*>(y);
    for (int64_t first = 0; first < conv_.tiles(); first += kTiles) {
      const int64_t count = std::min(kTiles, conv_.tiles() - first);
      transform(src, dy, first, count, sums + sums_);
      accumulate(first == 0, count, sums, sums + sums_);
    }
    finish(sums, static_cast<float*>(w));
    if (!bias_) return;
    const int64_t places = conv_.batch * conv_.out_rows * conv_.out_cols;
    sum_to_channels(y, bias, DType::f32, places, conv_.filters, 1, false);
  }

 private:
  static constexpr int64_t kTiles = 128;  // at a time: what a tile of sums runs over

  // Inputs to [point][panel][tile][lanes], output gradients to [point][tile][row_].
  void transform(const float* src, const float* dy, int64_t first, int64_t count, float* to) const {
    cpu::parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const TiledConv::Tile tile = conv_.tile_at(first + t);
        const float* pixels[kWinogradPoints];
        conv_.find_inputs(tile, src, pixels);
        kernel_.input(pixels, conv_.channels, to + t * kernel_.lanes, point_, kernel_.lanes * kTiles);
        conv_.find_outputs<const float>(tile, dy, pixels);
        kernel_.gradient(pixels, conv_.filters, to + inputs_ + t * row_, row_point_);
      }
    });
  }

  void accumulate(bool fresh, int64_t count, float* sums, const float* transformed) const {
    const int64_t tile = outer_.rows * outer_.lanes, panel = row_panels_ * tile;
    cpu::parallel_for(kWinogradPoints * lane_panels_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (fresh) std::fill_n(sums + i * panel, panel, 0.0f);
        const float* rows = transformed + inputs_ + i / lane_panels_ * row_point_;
        const float* lanes = transformed + i / lane_panels_ * point_ + i % lane_panels_ * kernel_.lanes * kTiles;
        for (int64_t r = 0; r < row_panels_; ++r) {
          const OuterPlaces places{.rows = rows + r * outer_.rows,
                                   .lanes = lanes,
                                   .lines = 1,
                                   .cols = count,
                                   .rows_line = 0,
                                   .lanes_line = 0,
                                   .rows_step = row_,
                                   .lanes_step = kernel_.lanes};
          const int64_t used = std::min(outer_.rows, conv_.filters - r * outer_.rows);
          outer_.accumulate(places, used, sums + i * panel + r * tile);
        }
      }
    });
  }

  void finish(const float* sums, float* w) const {
    const int64_t tile = outer_.rows * outer_.lanes, point = lane_panels_ * row_panels_ * tile;
    cpu::parallel_for(row_panels_, 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t first = r * outer_.rows, count = std::min(outer_.rows, conv_.filters - first);
        for (int64_t p = 0; p < lane_panels_; ++p) {
          const float* from = sums + (p * row_panels_ + r) * tile;
          for (int64_t k = 0; k < count; ++k) {
            float* to = w + ((first + k) * conv_.channels + p * kernel_.lanes) * 9;
            kernel_.window(from + k * outer_.lanes, point, to);
          }
        }
      }
    });
  }

  TiledConv conv_;
  bool bias_;
  const WinogradKernels& kernel_;
  const OuterKernels& outer_;
  int64_t lane_panels_, row_panels_, row_, point_, row_point_, sums_, inputs_;
};

}  // namespace

std::unique_ptr<ConvKernel> make_winograd_weights(const ConvProblem& q, bool with_bias) {
  return std::make_unique<WinogradWeights>(q, with_bias);
}

}  // namespace mxnet::nn
