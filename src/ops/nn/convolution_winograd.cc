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
    scratch_bytes = sizeof(float) * static_cast<size_t>(kWinogradPoints * panel_ * (p_.filters / kernel_.lanes));
    // A block's transformed tiles should stay in the second cache.
    constexpr int64_t kBlockElements = 110'000, kBlocks = 16;
    const int64_t fit = std::clamp<int64_t>(kBlockElements / (kWinogradPoints * p_.channels) / kernel_.rows, 2, 8);
    block_ = std::min(fit, TiledConv::parts_of(p_.tiles(), kBlocks * kernel_.rows)) * kernel_.rows;
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
    cpu::parallel_for(TiledConv::parts_of(p_.tiles(), block_), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_block(i * block_, packed, src, static_cast<const float*>(bias), dst);
    });
  }

 private:
  void run_block(int64_t first, const float* packed, const float* src, const float* bias, float* dst) const {
    const int64_t count = std::min(block_, p_.tiles() - first), point = block_ * p_.channels + kSetPadding,
                  product = block_ * kernel_.lanes + kSetPadding;
    Scratch own;
    auto* tiles = own.get<float>(static_cast<size_t>(kWinogradPoints * point));
    auto* products = own.get<float>(static_cast<size_t>(kWinogradPoints * product));
    auto* zeros = own.get<float>(static_cast<size_t>(p_.channels));
    std::fill_n(zeros, p_.channels, 0.0f);
    for (int64_t t = 0; t < count; ++t) {
      const float* pixels[kWinogradPoints];
      p_.find_inputs(p_.tile_at(first + t), src, zeros, pixels);
      kernel_.input(pixels, p_.channels, tiles + t * p_.channels, point, kernel_.lanes);
    }
    for (int64_t filter = 0; filter < p_.filters; filter += kernel_.lanes) {
      const float* weights = packed + filter / kernel_.lanes * kWinogradPoints * panel_;
      for (int64_t i = 0; i < kWinogradPoints; ++i) {
        kernel_.multiply(tiles + i * point, count, p_.channels, weights + i * panel_, products + i * product);
      }
      for (int64_t t = 0; t < count; ++t) {
        float* pixels[kWinogradOut * kWinogradOut];
        p_.find_outputs<float>(p_.tile_at(first + t), dst + filter, nullptr, pixels);
        kernel_.output(products + t * kernel_.lanes, product, bias_ ? bias + filter : nullptr, pixels);
      }
    }
  }

  TiledConv p_;
  bool flip_, bias_;
  const WinogradKernels& kernel_;
  int64_t filter_step_, channel_step_, panel_, block_;
};

bool suits(const ConvProblem& q) {
  const auto same = [&](int64_t a, int64_t rows, int64_t cols) { return a == rows && rows == cols; };
  return q.dtype == DType::f32 && q.groups == 1 && !q.empty() && q.kernel[0] == 1 && q.in[0] == 1 && q.out[0] == 1 &&
         same(3, q.kernel[1], q.kernel[2]) && same(1, q.stride[1], q.stride[2]) && same(1, q.dilate[1], q.dilate[2]) &&
         q.pad[1] <= 2 && q.pad[2] <= 2;
}

// Transforms cost memory traffic: there must be enough channels that each transformed element meets, tiles that are
// mostly full, and enough of them for the transformed weights, four times as large as the weights. Not measured with
// AVX-512.
bool pays(const TiledConv& p) {
  constexpr int64_t kLeastChannels = 64, kMostWeights = 512 * 512;
  if (cpu::isa() == cpu::Isa::avx512) return false;
  const int64_t lanes = winograd_kernels().lanes, weights = p.channels * p.filters;
  if (p.channels % lanes || p.filters % lanes || std::min(p.channels, p.filters) < kLeastChannels) return false;
  const int64_t computed = p.tile_rows() * p.tile_cols() * kWinogradOut * kWinogradOut;
  return weights <= kMostWeights && 2 * computed <= 3 * p.out_rows * p.out_cols &&
         p.tiles() >= std::clamp<int64_t>(weights / 700, 24, 96);
}

}  // namespace

TiledConv tiled(const ConvProblem& q, ConvPass pass) {
  if (pass != ConvPass::data) {
    return {q.batch, q.in_channels, q.out_channels, q.in[1], q.in[2], q.out[1], q.out[2], q.pad[1], q.pad[2]};
  }
  return {q.batch, q.out_channels, q.in_channels, q.out[1], q.out[2], q.in[1], q.in[2], 2 - q.pad[1], 2 - q.pad[2]};
}

std::unique_ptr<ConvKernel> prepare_conv_winograd(const ConvProblem& q, ConvPass pass, bool with_bias) {
  if (!suits(q) || !pays(tiled(q, pass))) return nullptr;
  if (pass == ConvPass::weights) return make_winograd_weights(q, with_bias);
  return std::make_unique<Winograd>(q, pass, with_bias);
}

}  // namespace mxnet::nn
