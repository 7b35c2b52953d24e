// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <memory>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution_tiles.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

// The weights in the transformed domain, by panels of filters.
class Filters final : public Kernel {
 public:
  Filters(const TiledConv& p, bool flip) : p_(p), flip_(flip), kernel_(winograd_kernels()) {
    filter_step_ = flip_ ? 9 : 9 * p_.channels;
    channel_step_ = flip_ ? 9 * p_.filters : 9;
    panel_ = p_.channels * kernel_.lanes + kSetPadding;
    cost_ns = 500 + 4 * p_.channels * p_.filters;
  }
  size_t bytes() const { return sizeof(float) * static_cast<size_t>(panel(p_.filters)); }
  // Where a point of a panel begins, in elements.
  int64_t at(int64_t panel, int64_t point) const { return (panel * kWinogradPoints + point) * panel_; }
  // Where the panel with this filter begins, in elements.
  int64_t panel(int64_t filter) const { return filter / kernel_.lanes * kWinogradPoints * panel_; }

  void run(const KernelCall& c) const override { transform(c.in[0], c.out[0]); }
  void transform(const void* w, void* packed) const {
    cpu::parallel_for(p_.filters / kernel_.lanes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t filter = begin * kernel_.lanes; filter < end * kernel_.lanes; filter += kernel_.lanes) {
        kernel_.weights(static_cast<const float*>(w) + filter * filter_step_, filter_step_, channel_step_, flip_,
                        p_.channels, static_cast<float*>(packed) + panel(filter), panel_);
      }
    });
  }

 private:
  TiledConv p_;
  bool flip_;
  const WinogradKernels& kernel_;
  int64_t filter_step_, channel_step_, panel_;
};

class Winograd final : public ConvKernel {
 public:
  Winograd(const ConvProblem& q, ConvPass pass, bool with_bias, const ConvEpilogue& epilogue)
      : p_(tiled(q, pass)),
        flip_(pass == ConvPass::data),
        bias_(with_bias && !flip_),
        epilogue_(epilogue),
        kernel_(winograd_kernels()),
        filters_(std::make_shared<Filters>(p_, flip_)),
        weights_(filters_->panel(p_.filters)) {
    layout = Layout::channels_last;
    constexpr int64_t kManyWeights = 5 << 19;
    by_point_ = weights_ > kManyWeights;
    if (by_point_) {
      // Both sides of the products lie in the third cache.
      constexpr int64_t kElements = 3 << 19;
      block_ = std::clamp<int64_t>(kElements / (kWinogradPoints * p_.channels), 64, p_.tiles());
      shared_ = kWinogradPoints * (tiles_step() + product_step(p_.filters));
    } else {
      // A block's transformed tiles stay in the second cache.
      constexpr int64_t kElements = 110'000, kBlocks = 16;
      const int64_t fit = std::clamp<int64_t>(kElements / (kWinogradPoints * p_.channels) / kernel_.rows, 2, 8);
      block_ = std::min(fit, TiledConv::parts_of(p_.tiles(), kBlocks * kernel_.rows)) * kernel_.rows;
    }
    scratch_bytes = sizeof(float) * static_cast<size_t>(weights_ + shared_);
    const double rate = 130;  // of the multiplications that are saved as well, per ns on one core
    cost_ns = 2000 + static_cast<int64_t>(2.0 * static_cast<double>(q.multiplications()) / rate);
  }

  Pack take_weight_pack(int input) override {
    packs_ = false;
    scratch_bytes = sizeof(float) * static_cast<size_t>(shared_);
    return {input, filters_->bytes(), filters_};
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    const auto* packed = static_cast<const float*>(packs_ ? scratch : w);
    float* shared = static_cast<float*>(scratch) + (packs_ ? weights_ : 0);
    if (packs_) filters_->transform(w, scratch);
    const auto* src = static_cast<const float*>(flip_ ? y : x);
    auto* dst = static_cast<float*>(flip_ ? x : y);
    const int64_t blocks = TiledConv::parts_of(p_.tiles(), block_);
    if (by_point_) {
      for (int64_t i = 0; i < blocks; ++i)
        run_points(i * block_, packed, shared, src, static_cast<const float*>(bias), dst);
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
        kernel_.multiply(tiles + i * tiles_step(), count, p_.channels, packed + filters_->at(panel, i),
                         products + i * product);
      }
      for (int64_t t = 0; t < count; ++t) {
        finish(first + t, panel, products + t * kernel_.lanes, product, bias, dst);
      }
    }
  }

  // Many weights: a thread takes a point of all tiles through all panels, so that weights are read once.
  void run_points(int64_t first, const float* packed, float* tiles, const float* src, const float* bias,
                  float* dst) const {
    const int64_t count = std::min(block_, p_.tiles() - first), panels = p_.filters / kernel_.lanes;
    const int64_t product = product_step(p_.filters);
    float* products = tiles + kWinogradPoints * tiles_step();
    cpu::parallel_for(count, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) transform(first + t, src, tiles + t * p_.channels);
    });
    cpu::parallel_for(kWinogradPoints, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t panel = 0; panel < panels; ++panel) {
          kernel_.multiply(tiles + i * tiles_step(), count, p_.channels, packed + filters_->at(panel, i),
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
    float* pixels[kPixels];
    p_.find_outputs<float>(p_.tile_at(tile), dst + panel * kernel_.lanes, pixels);
    store(products, step, bias_ ? bias + panel * kernel_.lanes : nullptr, pixels);
  }

  static constexpr int kPixels = kWinogradOut * kWinogradOut;

  // One tile's panel of filters, with the epilogue while it is in the first cache.
  void store(const float* from, int64_t step, const float* bias, float* const* pixels) const {
    const int64_t lanes = kernel_.lanes;
    constexpr int64_t kMostLanes = 16;
    float old[kPixels * kMostLanes];
    for (int i = 0; i < kPixels && epilogue_.accumulate; ++i) {
      if (pixels[i]) std::copy_n(pixels[i], lanes, old + i * lanes);
    }
    kernel_.output(from, step, bias, pixels);
    for (int i = 0; i < kPixels && epilogue_.accumulate; ++i) {
      for (int64_t k = 0; pixels[i] && k < lanes; ++k) pixels[i][k] += old[i * lanes + k];
    }
    if (epilogue_.activation == ConvActivation::none) return;
    const bool relu = epilogue_.activation == ConvActivation::relu;
    const float low = relu ? 0.0f : epilogue_.alpha;
    const float high = relu ? std::numeric_limits<float>::infinity() : epilogue_.beta;
    for (int i = 0; i < kPixels; ++i) {
      for (int64_t k = 0; pixels[i] && k < lanes; ++k) {
        const float value = pixels[i][k] < low ? low : pixels[i][k];
        pixels[i][k] = value > high ? high : value;
      }
    }
  }

  TiledConv p_;
  bool flip_, bias_, by_point_, packs_ = true;
  ConvEpilogue epilogue_;
  const WinogradKernels& kernel_;
  std::shared_ptr<const Filters> filters_;
  int64_t weights_, shared_ = 0, block_;  // elements, elements, tiles
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

std::unique_ptr<ConvKernel> prepare_conv_winograd(const ConvProblem& q, ConvPass pass, bool with_bias,
                                                  const ConvEpilogue& epilogue) {
  if (!suits(q) || !pays(tiled(q, pass), pass)) return nullptr;
  if (pass == ConvPass::weights) return make_winograd_weights(q, with_bias);
  return std::make_unique<Winograd>(q, pass, with_bias, epilogue);
}

}  // namespace mxnet::nn
