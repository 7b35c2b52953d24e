// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_small.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

SmallConv view_of(const ConvProblem& q) {
  return {.channels = q.in_channels,
          .filters = q.out_channels,
          .in_rows = q.in[1],
          .in_cols = q.in[2],
          .out_rows = q.out[1],
          .out_cols = q.out[2],
          .kernel_rows = q.kernel[1],
          .kernel_cols = q.kernel[2],
          .stride_rows = q.stride[1],
          .stride_cols = q.stride[2],
          .pad_rows = q.pad[1],
          .pad_cols = q.pad[2]};
}

// Calls f(row of the image, row of the padded copy, columns to copy, first column of each).
template <typename F>
void each_row(const SmallConv& c, F&& f) {
  const int64_t first = std::max<int64_t>(0, -c.pad_cols);
  const int64_t last = std::min(c.in_cols, c.padded_cols() - c.pad_cols);
  for (int64_t y = 0; y < c.in_rows; ++y) {
    const int64_t to = y + c.pad_rows;
    if (to < c.padded_rows() && last > first) f(y, to, last - first, first);
  }
}

void copy_in(const SmallConv& c, const float* x, float* image) {
  std::memset(image, 0, sizeof(float) * static_cast<size_t>(c.image_size()));
  each_row(c, [&](int64_t y, int64_t to, int64_t cols, int64_t first) {
    std::memcpy(image + to * c.row_size() + (first + c.pad_cols) * c.channels, x + (y * c.in_cols + first) * c.channels,
                sizeof(float) * static_cast<size_t>(cols * c.channels));
  });
}

void copy_out(const SmallConv& c, const float* image, float* x) {
  if (c.padded_rows() - c.pad_rows < c.in_rows || c.padded_cols() - c.pad_cols < c.in_cols) {
    std::memset(x, 0, sizeof(float) * static_cast<size_t>(c.in_rows * c.in_cols * c.channels));
  }
  each_row(c, [&](int64_t y, int64_t from, int64_t cols, int64_t first) {
    std::memcpy(x + (y * c.in_cols + first) * c.channels,
                image + from * c.row_size() + (first + c.pad_cols) * c.channels,
                sizeof(float) * static_cast<size_t>(cols * c.channels));
  });
}

class SmallDataPass final : public ConvKernel {
 public:
  explicit SmallDataPass(const ConvProblem& q) : c_(view_of(q)), batch_(q.batch) {
    layout = Layout::channels_last;
    scratch_bytes = sizeof(float) * static_cast<size_t>(c_.packed_size());
    cost_ns = 2000 + q.multiplications() / 80;
  }

  void run(void* x, void* w, void* y, void*, void* scratch) const override {
    auto* packed = static_cast<float*>(scratch);
    pack(static_cast<const float*>(w), packed);
    const int64_t in_size = c_.in_rows * c_.in_cols * c_.channels, out_size = c_.out_rows * c_.out_cols * c_.filters;
    cpu::parallel_for(batch_, 1, [&](int64_t begin, int64_t end) {
      Scratch own;
      auto* image = own.get<float>(static_cast<size_t>(c_.image_size()));
      for (int64_t n = begin; n < end; ++n) {
        std::memset(image, 0, sizeof(float) * static_cast<size_t>(c_.image_size()));
        small_conv_kernels().data(c_, static_cast<const float*>(y) + n * out_size, packed, image);
        copy_out(c_, image, static_cast<float*>(x) + n * in_size);
      }
    });
  }

 private:
  // (filters, channels, rows, cols) -> [row][filter][col, channel], runs padded with zeros.
  void pack(const float* w, float* packed) const {
    const int64_t width = SmallConv::up(c_.run());
    cpu::parallel_for(c_.kernel_rows * c_.filters, 32, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t ky = i / c_.filters, f = i % c_.filters;
        float* to = packed + i * width;
        for (int64_t ch = 0; ch < c_.channels; ++ch) {
          const float* from = w + ((f * c_.channels + ch) * c_.kernel_rows + ky) * c_.kernel_cols;
          for (int64_t kx = 0; kx < c_.kernel_cols; ++kx) to[kx * c_.channels + ch] = from[kx];
        }
        std::fill(to + c_.run(), to + width, 0.0f);
      }
    });
  }

  SmallConv c_;
  int64_t batch_;
};

class SmallWeightsPass final : public ConvKernel {
 public:
  SmallWeightsPass(const ConvProblem& q, bool with_bias) : c_(view_of(q)), batch_(q.batch), bias_(with_bias) {
    layout = Layout::channels_last;
    part_ = SmallConv::up(c_.gradient_size() + (bias_ ? c_.filters : 0));
    grain_ = std::max<int64_t>(1, (batch_ + kParts - 1) / kParts);
    scratch_bytes = sizeof(float) * static_cast<size_t>(part_ * cpu::chunk_count(batch_, grain_));
    cost_ns = 2000 + q.multiplications() / 80;
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    auto* parts = static_cast<float*>(scratch);
    const int64_t chunk = cpu::chunk_size(batch_, grain_);
    cpu::parallel_for(batch_, grain_, [&](int64_t begin, int64_t end) {
      sum_images(static_cast<const float*>(x), static_cast<const float*>(y), begin, end, parts + begin / chunk * part_);
    });
    const int64_t count = cpu::chunk_count(batch_, grain_);
    cpu::parallel_for(part_, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t p = 1; p < count; ++p) {
        for (int64_t i = begin; i < end; ++i) parts[i] += parts[p * part_ + i];
      }
    });
    unpack(parts, static_cast<float*>(w));
    if (bias_) std::memcpy(bias, parts + c_.gradient_size(), sizeof(float) * static_cast<size_t>(c_.filters));
  }

 private:
  static constexpr int64_t kParts = 8;  // partial sums: fixed, so that results do not depend on the team

  void sum_images(const float* x, const float* dy, int64_t begin, int64_t end, float* sums) const {
    const auto& kernels = small_conv_kernels();
    const int64_t places = c_.out_rows * c_.out_cols, filters = SmallConv::up(c_.filters);
    const int64_t in_size = c_.in_rows * c_.in_cols * c_.channels;
    std::fill_n(sums, part_, 0.0f);
    Scratch own;
    auto* image = own.get<float>(static_cast<size_t>(c_.image_size()));
    float* padded = c_.lanes_are_filters() ? own.get<float>(static_cast<size_t>(places * filters)) : nullptr;
    if (padded) std::memset(padded, 0, sizeof(float) * static_cast<size_t>(places * filters));
    for (int64_t n = begin; n < end; ++n) {
      const float* head = dy + n * places * c_.filters;
      copy_in(c_, x + n * in_size, image);
      if (bias_) kernels.add_rows(head, places, c_.filters, c_.filters, sums + c_.gradient_size());
      for (int64_t i = 0; padded && i < places; ++i) {
        std::memcpy(padded + i * filters, head + i * c_.filters, sizeof(float) * static_cast<size_t>(c_.filters));
      }
      kernels.weights(c_, image, padded ? padded : head, sums);
    }
  }

  void unpack(const float* sums, float* w) const {
    const bool lanes_are_filters = c_.lanes_are_filters();
    const int64_t run = c_.run(), filters = SmallConv::up(c_.filters), width = SmallConv::up(run);
    cpu::parallel_for(c_.filters, 8, [&](int64_t begin, int64_t end) {
      for (int64_t f = begin; f < end; ++f) {
        float* to = w + f * c_.channels * c_.kernel_rows * c_.kernel_cols;
        for (int64_t ch = 0; ch < c_.channels; ++ch) {
          for (int64_t ky = 0; ky < c_.kernel_rows; ++ky) {
            for (int64_t kx = 0; kx < c_.kernel_cols; ++kx) {
              const int64_t m = kx * c_.channels + ch;
              *to++ = lanes_are_filters ? sums[(ky * run + m) * filters + f] : sums[(ky * c_.filters + f) * width + m];
            }
          }
        }
      }
    });
  }

  SmallConv c_;
  int64_t batch_, part_, grain_;
  bool bias_;
};

// What the runs can express: float32, two axes, one group, no dilation, an instruction set with enough registers.
bool suits(const ConvProblem& q) {
  return q.dtype == DType::f32 && q.rank == 2 && q.groups == 1 && !q.empty() && q.dilate[1] == 1 && q.dilate[2] == 1 &&
         q.kernel[2] > 1 && q.in_channels < 32 && q.out_channels <= 256 && small_conv_kernels().available;
}

// Lanes used of those computed with, where n elements are the vector dimension.
double use_of_lanes(int64_t n) { return static_cast<double>(n) / static_cast<double>(SmallConv::up(n)); }

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_small(const ConvProblem& q, ConvPass pass, bool with_bias) {
  if (!suits(q)) return nullptr;
  switch (pass) {
    case ConvPass::forward: return nullptr;
    case ConvPass::weights:
      if (q.in_channels >= 24 || q.in_channels == SmallConv::kVector) return nullptr;
      return std::make_unique<SmallWeightsPass>(q, with_bias);
    case ConvPass::data:  // the margin is measured: oneDNN's vectors of channels are the better code at equal use
      if (use_of_lanes(q.in_channels * q.kernel[2]) < 1.15 * use_of_lanes(q.in_channels)) return nullptr;
      return std::make_unique<SmallDataPass>(q);
  }
  return nullptr;
}

}  // namespace mxnet::nn
