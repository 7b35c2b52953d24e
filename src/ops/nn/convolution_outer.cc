// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution_outer.h"

#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"
#include "ops/nn/row_sum.h"
#include "resource/scratch.h"

namespace mxnet::nn {
namespace {

int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

constexpr int64_t kPackedElements = 1 << 20;  // of both operands at a time: they should stay in cache
constexpr int64_t kBlockPlaces = 256;         // that a tile runs over before the next tile

// How the two operands are packed: rows are filters, lanes are channels. A chunk is several images or, where those are
// large, a band of output rows of one.
struct Geometry {
  explicit Geometry(const ConvProblem& q) {
    const auto& kernel = outer_kernels();
    taps = {q.kernel[1], q.kernel[2]};
    // With one tap only the elements that it meets are packed.
    step = {taps[0] == 1 ? 1 : q.stride[1], taps[1] == 1 ? 1 : q.stride[2]};
    packed_cols = taps[1] == 1 ? q.out[2] : (q.out[2] - 1) * q.stride[2] + (taps[1] - 1) * q.dilate[2] + 1;
    row_panels = parts_of(q.out_channels, kernel.rows);
    lane_panels = parts_of(q.in_channels, kernel.lanes);
    const int64_t line = row_panels * kernel.rows * q.out[2] + lane_panels * kernel.lanes * packed_cols * step[0];
    band = std::clamp<int64_t>(kPackedElements / line, 1, q.out[1]);
    images = band < q.out[1] ? 1 : std::clamp<int64_t>(kPackedElements / (line * band), 1, q.batch);
    packed_rows = taps[0] == 1 ? band : (band - 1) * q.stride[1] + (taps[0] - 1) * q.dilate[1] + 1;
    row_panel = images * band * q.out[2] * kernel.rows;
    lane_panel = images * packed_rows * packed_cols * kernel.lanes;
    merged = taps[0] == 1 && taps[1] == 1;
  }
  int64_t num_taps() const { return taps[0] * taps[1]; }

  bool merged;  // places lie one after the other in both operands
  std::array<int64_t, 2> taps, step;
  int64_t packed_rows, packed_cols, row_panels, lane_panels, band, images, row_panel, lane_panel;
};

struct Chunk {
  int64_t image, images, first_row, rows;
};

struct Block {
  int64_t image, row, rows, col, cols;
};

class OuterWeights final : public ConvKernel {
 public:
  OuterWeights(const ConvProblem& q, bool with_bias) : q_(q), g_(q), bias_(with_bias), kernel_(outer_kernels()) {
    layout = Layout::channels_last;
    tile_ = kernel_.rows * kernel_.lanes;
    rows_at_ = g_.num_taps() * g_.row_panels * g_.lane_panels * tile_;
    lanes_at_ = rows_at_ + g_.row_panels * g_.row_panel;
    scratch_bytes = sizeof(float) * static_cast<size_t>(lanes_at_ + g_.lane_panels * g_.lane_panel);
    const double rate = cpu::isa() == cpu::Isa::avx512 ? 130 : cpu::isa() == cpu::Isa::avx2 ? 70 : 20;
    cost_ns = 2000 + static_cast<int64_t>(2.0 * static_cast<double>(q.multiplications()) / rate);
  }

  void run(void* x, void* w, void* y, void* bias, void* scratch) const override {
    auto* memory = static_cast<float*>(scratch);
    for (int64_t image = 0; image < q_.batch; image += g_.images) {
      for (int64_t row = 0; row < q_.out[1]; row += g_.band) {
        const Chunk chunk{image, std::min(g_.images, q_.batch - image), row, std::min(g_.band, q_.out[1] - row)};
        pack(chunk, static_cast<const float*>(x), static_cast<const float*>(y), memory);
        sum(chunk, memory);
      }
    }
    unpack(memory, static_cast<float*>(w));
    if (bias_) sum_to_channels(y, bias, DType::f32, q_.batch * q_.out_size(), q_.out_channels, 1, false);
  }

 private:
  void pack(const Chunk& c, const float* x, const float* dy, float* memory) const {
    const int64_t packed = g_.taps[0] == 1 ? c.rows : (c.rows - 1) * q_.stride[1] + (g_.taps[0] - 1) * q_.dilate[1] + 1;
    cpu::parallel_for(c.images * (c.rows + packed), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t image = i / (c.rows + packed), row = i % (c.rows + packed);
        if (row < c.rows)
          pack_output(c, image, row, dy, memory + rows_at_);
        else
          pack_input(c, image, row - c.rows, x, memory + lanes_at_);
      }
    });
  }

  void pack_output(const Chunk& c, int64_t image, int64_t row, const float* dy, float* to) const {
    const int64_t cols = q_.out[2], k = q_.out_channels;
    const float* from = dy + ((c.image + image) * q_.out[1] + c.first_row + row) * cols * k;
    kernel_.pack_rows(from, cols, k, k, to + (image * g_.band + row) * cols * kernel_.rows, g_.row_panel);
  }

  void pack_input(const Chunk& c, int64_t image, int64_t row, const float* x, float* to) const {
    float* line = to + (image * g_.packed_rows + row) * g_.packed_cols * kernel_.lanes;
    const float* from = x + (c.image + image) * q_.in_size() * q_.in_channels;
    const int64_t y = g_.taps[0] == 1 ? (c.first_row + row) * q_.stride[1] : c.first_row * q_.stride[1] + row;
    pack_line(from, y - q_.pad[1], line);
  }

  void zero(float* line, int64_t places) const {
    for (int64_t p = 0; p < g_.lane_panels; ++p) {
      std::fill_n(line + p * g_.lane_panel, places * kernel_.lanes, 0.0f);
    }
  }

  // Row y of an image, with zeros where the padding is.
  void pack_line(const float* image, int64_t y, float* line) const {
    if (y < 0 || y >= q_.in[1]) return zero(line, g_.packed_cols);
    const int64_t step = g_.taps[1] == 1 ? q_.stride[2] : 1, channels = q_.in_channels;
    const int64_t first = std::min(g_.packed_cols, std::max<int64_t>(0, parts_of(q_.pad[2], step)));
    const int64_t last = std::clamp(parts_of(q_.in[2] + q_.pad[2], step), first, g_.packed_cols);
    zero(line, first);
    const float* from = image + (y * q_.in[2] + first * step - q_.pad[2]) * channels;
    kernel_.pack_lanes(from, last - first, step * channels, channels, line + first * kernel_.lanes, g_.lane_panel);
    zero(line + last * kernel_.lanes, g_.packed_cols - last);
  }

  std::vector<Block> blocks_of(const Chunk& c) const {
    std::vector<Block> blocks;
    if (g_.merged && (c.rows == g_.band || c.images == 1)) {
      const int64_t places = c.images * c.rows * q_.out[2];
      for (int64_t at = 0; at < places; at += kBlockPlaces)
        blocks.push_back({0, 0, 1, at, std::min(kBlockPlaces, places - at)});
      return blocks;
    }
    const int64_t cols = std::min(kBlockPlaces, q_.out[2]), rows = std::max<int64_t>(1, kBlockPlaces / cols);
    for (int64_t image = 0; image < c.images; ++image) {
      for (int64_t y = 0; y < c.rows; y += rows) {
        for (int64_t x = 0; x < q_.out[2]; x += cols)
          blocks.push_back({image, y, std::min(rows, c.rows - y), x, std::min(cols, q_.out[2] - x)});
      }
    }
    return blocks;
  }

  // Tiles are shared out by tap, panel of lanes and group of panels of rows: each is summed by one thread, in order.
  void sum(const Chunk& c, float* memory) const {
    const std::vector<Block> blocks = blocks_of(c);
    constexpr int64_t kRowPanels = 16;
    const int64_t groups = parts_of(g_.row_panels, kRowPanels);
    cpu::parallel_for(groups * g_.num_taps() * g_.lane_panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t lanes = i % g_.lane_panels, tap = i / g_.lane_panels % g_.num_taps();
        const int64_t first = i / (g_.lane_panels * g_.num_taps()) * kRowPanels;
        const int64_t last = std::min(first + kRowPanels, g_.row_panels);
        float* tiles = memory + (tap * g_.lane_panels + lanes) * g_.row_panels * tile_;
        if (c.image == 0 && c.first_row == 0) std::fill(tiles + first * tile_, tiles + last * tile_, 0.0f);
        for (const Block& block : blocks) {
          for (int64_t rows = first; rows < last; ++rows) {
            const int64_t count = std::min(kernel_.rows, q_.out_channels - rows * kernel_.rows);
            kernel_.accumulate(places_of(block, tap, rows, lanes, memory), count, tiles + rows * tile_);
          }
        }
      }
    });
  }

  OuterPlaces places_of(const Block& b, int64_t tap, int64_t rows, int64_t lanes, const float* memory) const {
    const int64_t r = tap / g_.taps[1] * q_.dilate[1], s = tap % g_.taps[1] * q_.dilate[2];
    const int64_t out = (b.image * g_.band + b.row) * q_.out[2] + b.col;
    const int64_t in = (b.image * g_.packed_rows + b.row * g_.step[0] + r) * g_.packed_cols + b.col * g_.step[1] + s;
    return {.rows = memory + rows_at_ + rows * g_.row_panel + out * kernel_.rows,
            .lanes = memory + lanes_at_ + lanes * g_.lane_panel + in * kernel_.lanes,
            .lines = b.rows,
            .cols = b.cols,
            .rows_line = q_.out[2] * kernel_.rows,
            .lanes_line = g_.step[0] * g_.packed_cols * kernel_.lanes,
            .rows_step = kernel_.rows,
            .lanes_step = g_.step[1] * kernel_.lanes};
  }

  // Tiles to (filters, channels, kernel rows, kernel columns), each read once from end to end.
  void unpack(const float* tiles, float* w) const {
    const int64_t per_filter = q_.in_channels * q_.kernel_size();
    cpu::parallel_for(g_.row_panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t rows = begin; rows < end; ++rows) {
        const int64_t first = rows * kernel_.rows, count = std::min(kernel_.rows, q_.out_channels - first);
        for (int64_t lanes = 0; lanes < g_.lane_panels; ++lanes) {
          for (int64_t tap = 0; tap < g_.num_taps(); ++tap) {
            const float* from = tiles + ((tap * g_.lane_panels + lanes) * g_.row_panels + rows) * tile_;
            for (int64_t k = 0; k < count; ++k) {
              unpack_lanes(from + k * kernel_.lanes, lanes * kernel_.lanes, tap, w + (first + k) * per_filter);
            }
          }
        }
      }
    });
  }

  void unpack_lanes(const float* from, int64_t first, int64_t tap, float* filter) const {
    const int64_t window = q_.kernel_size(), count = std::min(kernel_.lanes, q_.in_channels - first);
    for (int64_t j = 0; j < count; ++j) filter[(first + j) * window + tap] = from[j];
  }

  ConvProblem q_;
  Geometry g_;
  bool bias_;
  const OuterKernels& kernel_;
  int64_t tile_, rows_at_, lanes_at_;
};

// With AVX-512 oneDNN reaches its forward speed; without, half of that for windows and large matrices. Packing costs
// more than it gives where a packed element meets few others, and few channels leave lanes idle.
bool pays(const ConvProblem& q) {
  if (cpu::isa() == cpu::Isa::avx512) return false;
  const int64_t lanes = outer_kernels().lanes, padded = parts_of(q.in_channels, lanes) * lanes;
  if (4 * q.in_channels < 3 * padded || q.out_channels < 16) return false;
  return q.kernel_size() > 1 || std::min(q.in_channels, q.out_channels) >= 256;
}

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_outer(const ConvProblem& q, ConvPass pass, bool with_bias) {
  if (pass != ConvPass::weights || q.dtype != DType::f32 || q.groups != 1 || q.empty()) return nullptr;
  if (q.kernel[0] != 1 || q.in[0] != 1 || q.out[0] != 1) return nullptr;  // one or two axes
  return pays(q) ? std::make_unique<OuterWeights>(q, with_bias) : nullptr;
}

}  // namespace mxnet::nn
