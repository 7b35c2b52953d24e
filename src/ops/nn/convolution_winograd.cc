// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution_tiles.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

class Winograd final : public ConvKernel {
 public:
  Winograd(const ConvProblem& q, ConvPass pass, bool with_bias)
      : p_(tiled(q, pass)), flip_(pass == ConvPass::data), bias_(with_bias && !flip_), kernel_(winograd_kernels()) {
    layout = Layout::channels_last;
    filter_step_ = flip_ ? 9 : 9 * q.in_channels;
    channel_step_ = flip_ ? 9 * q.in_channels : 9;
    panel_ = p_.channels * kernel_.lanes + kSetPadding;
    weights_ = kWinogradPoints * panel_ * (p_.filters / kernel_.lanes);
    constexpr int64_t kManyWeights = 5 << 19;
    by_point_ = weights_ > kManyWeights;
    int64_t shared = 0;
    if (by_point_) {
      // Both sides of the products lie in the third cache.
      constexpr int64_t kElements = 3 << 19;
      block_ = std::clamp<int64_t>(kElements / (kWinogradPoints * p_.channels), 64, p_.tiles());
      shared = kWinogradPoints * (tiles_step() + product_step(p_.filters));
    } else {
      // A block's transformed tiles stay in the second cache.
      constexpr int64_t kElements = 110'000, kBlocks = 16;
      const int64_t fit = std::clamp<int64_t>(kElements / (kWinogradPoints * p_.channels) / kernel_.rows, 2, 8);
      block_ = std::min(fit, TiledConv::parts_of(p_.tiles(), kBlocks * kernel_.rows)) * kernel_.rows;
    }
    scratch_bytes = sizeof(float) * static_cast<size_t>(weights_ + shared);
    const double rate = 130;  // of the multiplications that are saved as well, per ns on one core
    cost_ns = 2000 + static_cast<int64_t>(2.0 * static_cast<double>(q.multiplications()) / rate);
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    auto* packed = static_cast<float*>(scratch);
    cpu::parallel_for(p_.filters / kernel_.lanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t panel = begin; panel < end; ++panel) {
        kernel_.weights(static_cast<const float*>(w) + panel * kernel_.lanes * filter_step_, filter_step_,
                        channel_step_, flip_, p_.channels, packed + panel * kWinogradPoints * panel_, panel_);
      }
    });
    const auto* src = static_cast<const float*>(flip_ ? y : x);
    auto* dst = static_cast<float*>(flip_ ? x : y);
    const int64_t blocks = TiledConv::parts_of(p_.tiles(), block_);
    if (by_point_) {
      for (int64_t i = 0; i < blocks; ++i) run_points(i * block_, packed, src, static_cast<const float*>(bias), dst);
      return;
    }
    cpu::parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_block(i * block_, packed, src, static_cast<const float*>(bias), dst);
    });
  }

 private:
  int64_t tiles_step() const { return block_ * p_.channels + kSetPadding; }
  int64_t product_step(int64_t filters) const { return block_ * filters + kSetPadding; }

  // Few weights: a thread takes a block of tiles through all points and all panels of filters.
  void run_block(int64_t first, const float* packed, const float* src, const float* bias, float* dst) const {
    const int64_t count = std::min(block_, p_.tiles() - first), product = product_step(kernel_.lanes);
    Scratch own;
    auto* tiles = own.get<float>(static_cast<size_t>(kWinogradPoints * tiles_step()));
    auto* products = own.get<float>(static_cast<size_t>(kWinogradPoints * product));
    for (int64_t t = 0; t < count; ++t) transform(first + t, src, tiles + t * p_.channels);
    for (int64_t panel = 0; panel < p_.filters / kernel_.lanes; ++panel) {
      for (int64_t i = 0; i < kWinogradPoints; ++i) {
        kernel_.multiply(tiles + i * tiles_step(), count, p_.channels, packed + (panel * kWinogradPoints + i) * panel_,
                         products + i * product);
      }
      for (int64_t t = 0; t < count; ++t) {
        finish(first + t, panel, products + t * kernel_.lanes, product, bias, dst);
      }
    }
  }

  // Many weights: a thread takes a point of all tiles through all panels, so that weights are read once.
  void run_points(int64_t first, float* packed, const float* src, const float* bias, float* dst) const {
    const int64_t count = std::min(block_, p_.tiles() - first), panels = p_.filters / kernel_.lanes;
    const int64_t product = product_step(p_.filters);
    float* tiles = packed + weights_;
    float* products = tiles + kWinogradPoints * tiles_step();
    cpu::parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) transform(first + t, src, tiles + t * p_.channels);
    });
    cpu::parallel_for(kWinogradPoints, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t panel = 0; panel < panels; ++panel) {
          kernel_.multiply(tiles + i * tiles_step(), count, p_.channels,
                           packed + (panel * kWinogradPoints + i) * panel_,
                           products + i * product + panel * block_ * kernel_.lanes);
        }
      }
    });
    cpu::parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t panel = 0; panel < panels; ++panel) {
          finish(first + t, panel, products + (panel * block_ + t) * kernel_.lanes, product, bias, dst);
        }
      }
    });
  }

  void transform(int64_t tile, const float* src, float* to) const {
    const float* pixels[kWinogradPoints];
    p_.find_inputs(p_.tile_at(tile), src, pixels);
    kernel_.input(pixels, p_.channels, to, tiles_step(), kernel_.lanes);
  }

  void finish(int64_t tile, int64_t panel, const float* products, int64_t step, const float* bias, float* dst) const {
    float* pixels[kWinogradOut * kWinogradOut];
    p_.find_outputs<float>(p_.tile_at(tile), dst + panel * kernel_.lanes, pixels);
    kernel_.output(products, step, bias_ ? bias + panel * kernel_.lanes : nullptr, pixels);
  }

  TiledConv p_;
  bool flip_, bias_, by_point_;
  const WinogradKernels& kernel_;
  int64_t filter_step_, channel_step_, panel_, weights_, block_;
};

bool suits(const ConvProblem& q) {
  const auto same = [&](int64_t a, int64_t rows, int64_t cols) { return a == rows && rows == cols; };
  return q.dtype == DType::f32 && q.groups == 1 && !q.empty() && q.kernel[0] == 1 && q.in[0] == 1 && q.out[0] == 1 &&
         same(3, q.kernel[1], q.kernel[2]) && same(1, q.stride[1], q.stride[2]) && same(1, q.dilate[1], q.dilate[2]) &&
         q.pad[1] <= 2 && q.pad[2] <= 2;
}

// Transforms cost memory traffic: there must be enough channels that each transformed element meets, tiles that are
// mostly full, and enough of them for the transformed weights, four times as large as the weights; direct kernels are
// slower for many channels. Not measured with AVX-512.
bool pays(const TiledConv& p, ConvPass pass) {
  constexpr int64_t kLeastChannels = 64, kMany = 256 * 256, kMost = 512 * 512;
  if (cpu::isa() == cpu::Isa::avx512) return false;
  const int64_t lanes = winograd_kernels().lanes, weights = p.channels * p.filters;
  if (p.channels % lanes || p.filters % lanes || std::min(p.channels, p.filters) < kLeastChannels) return false;
  if (weights > (pass == ConvPass::weights ? kMany : kMost)) return false;
  const int64_t computed = p.tile_rows() * p.tile_cols() * kWinogradOut * kWinogradOut;
  const int64_t least = weights > kMany ? 32 : std::clamp<int64_t>(weights / 700, 24, 96);
  return 2 * computed <= 3 * p.out_rows * p.out_cols && p.tiles() >= least;
}

}  // namespace

TiledConv tiled(const ConvProblem& q, ConvPass pass) {
  if (pass != ConvPass::data) {
    return {q.batch, q.in_channels, q.out_channels, q.in[1], q.in[2], q.out[1], q.out[2], q.pad[1], q.pad[2]};
  }
  return {q.batch, q.out_channels, q.in_channels, q.out[1], q.out[2], q.in[1], q.in[2], 2 - q.pad[1], 2 - q.pad[2]};
}

std::unique_ptr<ConvKernel> prepare_conv_winograd(const ConvProblem& q, ConvPass pass, bool with_bias) {
  if (!suits(q) || !pays(tiled(q, pass), pass)) return nullptr;
  if (pass == ConvPass::weights) return make_winograd_weights(q, with_bias);
  return std::make_unique<Winograd>(q, pass, with_bias);
}

}  // namespace mxnet::nn
