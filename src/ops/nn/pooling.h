// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>

#include "backend/cpu/isa_table.h"
#include "base/dtype.h"
#include "base/shape.h"

namespace mxnet {

enum class PoolType { max, avg, sum, lp };

// One pooling problem; one- and two-dimensional ones have leading axes of size 1.
struct PoolView {
  using Dims = std::array<int64_t, 3>;
  DType dtype = DType::f32;
  PoolType type = PoolType::max;
  Layout layout = Layout::plain;
  int64_t batch = 0, channels = 0;
  Dims in{1, 1, 1}, out{1, 1, 1}, kernel{1, 1, 1}, stride{1, 1, 1}, pad{0, 0, 0};
  bool include_pad = true;    // padded points count in an average
  bool whole_window = false;  // an average divides by the kernel's size, even past the padding
  int p = 2;                  // of lp
  bool wide_index = false;    // winners are stored as int32, else as uint8

  int64_t in_size() const { return in[0] * in[1] * in[2]; }
  int64_t out_size() const { return out[0] * out[1] * out[2]; }
  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
  // Windows neither overlap nor leave anything out.
  bool tiles() const { return kernel == stride && pad == Dims{0, 0, 0} && covers(); }
  bool is_whole() const { return kernel == in && pad == Dims{0, 0, 0} && out_size() == 1 && in_size() > 0; }
  bool overlaps() const { return kernel[0] > stride[0] || kernel[1] > stride[1] || kernel[2] > stride[2]; }

  static constexpr int64_t kChannelBlock = 64;
  int64_t channel_blocks() const { return (channels + kChannelBlock - 1) / kChannelBlock; }
  int64_t planes() const { return batch * channels; }

 private:
  bool covers() const {
    return in[0] == out[0] * stride[0] && in[1] == out[1] * stride[1] && in[2] == out[2] * stride[2];
  }
};

struct PoolKernels {
  // Independent pieces of work: groups of planes, or (forward) output rows / (backward) images times channel blocks.
  int64_t (*forward_units)(const PoolView& view);
  int64_t (*backward_units)(const PoolView& view);
  // Units [begin, end). `index` (null if nobody asks): of each maximum, its place in the window, counted row by row.
  void (*forward)(const PoolView& view, const void* x, void* y, void* index, int64_t begin, int64_t end);
  // max reads index; lp reads x and y.
  void (*backward)(const PoolView& view, const void* dy, const void* x, const void* y, const void* index, void* dx,
                   int64_t begin, int64_t end);
};
MX_ISA_TABLE(PoolKernels, pool_kernels)

}  // namespace mxnet
