// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_winograd.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

// dst = conv(src): of the forward pass, or of the data pass with dy as src and the window turned round.
struct Problem {
  int64_t batch, channels, filters;
  int64_t in_rows, in_cols, out_rows, out_cols, pad_rows, pad_cols;

  int64_t tile_rows() const { return parts_of(out_rows, kWinogradOut); }
  int64_t tile_cols() const { return parts_of(out_cols, kWinogradOut); }
  int64_t tiles() const { return batch * tile_rows() * tile_cols(); }
};

Problem problem_of(const ConvProblem& q, ConvPass pass) {
  if (pass == ConvPass::forward) {
    return {q.batch, q.in_channels, q.out_channels, q.in[1], q.in[2], q.out[1], q.out[2], q.pad[1], q.pad[2]};
  }
  return {q.batch, q.out_channels, q.in_channels, q.out[1], q.out[2], q.in[1], q.in[2], 2 - q.pad[1], 2 - q.pad[2]};
}

class Winograd final : public ConvKernel {
 public:
  Winograd(const ConvProblem& q, ConvPass pass, bool with_bias)
      : p_(problem_of(q, pass)),
        flip_(pass == ConvPass::data),
        bias_(with_bias && !flip_),
        kernel_(winograd_kernels()) {
    layout = Layout::channels_last;
    filter_step_ = flip_ ? 9 : 9 * q.in_channels;
    channel_step_ = flip_ ? 9 * q.in_channels : 9;
    panel_ = p_.channels * kernel_.lanes;
    scratch_bytes = sizeof(float) * static_cast<size_t>(kWinogradPoints * p_.channels * p_.filters);
    // A block's transformed tiles should stay in the second cache.
    constexpr int64_t kBlockElements = 110'000, kBlocks = 16;
    const int64_t fit = std::clamp<int64_t>(kBlockElements / (kWinogradPoints * p_.channels) / kernel_.rows, 2, 8);
    block_ = std::min(fit, parts_of(p_.tiles(), kBlocks * kernel_.rows)) * kernel_.rows;
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
    cpu::parallel_for(parts_of(p_.tiles(), block_), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) run_block(i * block_, packed, src, static_cast<const float*>(bias), dst);
    });
  }

 private:
  struct Tile {
    int64_t image, row, col;  // of its first output
  };
  Tile tile_at(int64_t index) const {
    const int64_t per_image = p_.tile_rows() * p_.tile_cols(), within = index % per_image;
    return {index / per_image, within / p_.tile_cols() * kWinogradOut, within % p_.tile_cols() * kWinogradOut};
  }

  void run_block(int64_t first, const float* packed, const float* src, const float* bias, float* dst) const {
    const int64_t count = std::min(block_, p_.tiles() - first), point = block_ * p_.channels;
    Scratch own;
    auto* tiles = own.get<float>(static_cast<size_t>(kWinogradPoints * point));
    auto* products = own.get<float>(static_cast<size_t>(kWinogradPoints * block_ * kernel_.lanes));
    auto* zeros = own.get<float>(static_cast<size_t>(p_.channels));
    std::fill_n(zeros, p_.channels, 0.0f);
    for (int64_t t = 0; t < count; ++t) {
      const float* pixels[kWinogradPoints];
      find_inputs(tile_at(first + t), src, zeros, pixels);
      kernel_.input(pixels, p_.channels, tiles + t * p_.channels, point);
    }
    for (int64_t filter = 0; filter < p_.filters; filter += kernel_.lanes) {
      const float* weights = packed + filter * kWinogradPoints * p_.channels;
      for (int64_t i = 0; i < kWinogradPoints; ++i) {
        kernel_.multiply(tiles + i * point, count, p_.channels, weights + i * panel_,
                         products + i * block_ * kernel_.lanes);
      }
      for (int64_t t = 0; t < count; ++t) {
        float* pixels[kWinogradOut * kWinogradOut];
        find_outputs(tile_at(first + t), dst + filter, pixels);
        kernel_.output(products + t * kernel_.lanes, block_ * kernel_.lanes, bias_ ? bias + filter : nullptr, pixels);
      }
    }
  }

  void find_inputs(const Tile& tile, const float* src, const float* zeros, const float** pixels) const {
    for (int64_t r = 0; r < kWinogradIn; ++r) {
      const int64_t y = tile.row + r - p_.pad_rows;
      for (int64_t s = 0; s < kWinogradIn; ++s) {
        const int64_t x = tile.col + s - p_.pad_cols;
        const bool inside = y >= 0 && y < p_.in_rows && x >= 0 && x < p_.in_cols;
        *pixels++ = inside ? src + ((tile.image * p_.in_rows + y) * p_.in_cols + x) * p_.channels : zeros;
      }
    }
  }
  void find_outputs(const Tile& tile, float* dst, float** pixels) const {
    for (int64_t y = tile.row; y < tile.row + kWinogradOut; ++y) {
      for (int64_t x = tile.col; x < tile.col + kWinogradOut; ++x) {
        const bool inside = y < p_.out_rows && x < p_.out_cols;
        *pixels++ = inside ? dst + ((tile.image * p_.out_rows + y) * p_.out_cols + x) * p_.filters : nullptr;
      }
    }
  }

  Problem p_;
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
bool pays(const Problem& p) {
  constexpr int64_t kLeastChannels = 64, kMostWeights = 512 * 512;
  if (cpu::isa() == cpu::Isa::avx512) return false;
  const int64_t lanes = winograd_kernels().lanes, weights = p.channels * p.filters;
  if (p.channels % lanes || p.filters % lanes || std::min(p.channels, p.filters) < kLeastChannels) return false;
  const int64_t computed = p.tile_rows() * p.tile_cols() * kWinogradOut * kWinogradOut;
  return weights <= kMostWeights && 2 * computed <= 3 * p.out_rows * p.out_cols &&
         p.tiles() >= std::clamp<int64_t>(weights / 700, 24, 96);
}

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_winograd(const ConvProblem& q, ConvPass pass, bool with_bias) {
  if (pass == ConvPass::weights || !suits(q) || !pays(problem_of(q, pass))) return nullptr;
  return std::make_unique<Winograd>(q, pass, with_bias);
}

}  // namespace mxnet::nn
