// SPDX-License-Identifier: Apache-2.0
#include "ops/tensor/axis_maps.h"

#include <algorithm>
#include <array>

#include "backend/cpu/parallel.h"

namespace mxnet::ops {

namespace {

constexpr int64_t kGrain = 16 * 1024;

// Position of row `row` of an array in each dimension but the last.
std::array<int64_t, Shape::kMaxRank> row_index(const Shape& shape, int64_t row) {
  std::array<int64_t, Shape::kMaxRank> index{};
  for (int d = shape.rank() - 2; d >= 0; --d) {
    index[d] = row % shape[d];
    row /= shape[d];
  }
  return index;
}

// For each input index the output indices that read it, rising.
struct Readers {
  std::vector<int64_t> start, list;
  Readers(const std::vector<int64_t>& map, int64_t extent) : start(extent + 1, 0), list(map.size()) {
    for (int64_t i : map) ++start[i + 1];
    for (int64_t i = 0; i < extent; ++i) start[i + 1] += start[i];
    std::vector<int64_t> next(start.begin(), start.end() - 1);
    for (size_t o = 0; o < map.size(); ++o) list[next[map[o]]++] = static_cast<int64_t>(o);
  }
};

// Sums for one row of the input: over all rows of the head that read it, then within them.
template <typename T>
class RowSum {
 public:
  RowSum(const std::vector<Readers>& readers, const Shape& strides, const T* head)
      : readers_(readers), strides_(strides), head_(head), last_(static_cast<int>(readers.size()) - 1) {}

  void operator()(const int64_t* index, std::vector<accumulate_t<T>>& sums) {
    std::fill(sums.begin(), sums.end(), accumulate_t<T>(0));
    add(0, index, 0, sums);
  }

 private:
  void add(int d, const int64_t* index, int64_t offset, std::vector<accumulate_t<T>>& sums) {
    const Readers& r = readers_[d];
    if (d == last_) {
      for (size_t i = 0; i < sums.size(); ++i) {
        for (int64_t k = r.start[i]; k < r.start[i + 1]; ++k) {
          sums[i] += static_cast<compute_t<T>>(head_[offset + r.list[k]]);
        }
      }
      return;
    }
    for (int64_t k = r.start[index[d]]; k < r.start[index[d] + 1]; ++k) {
      add(d + 1, index, offset + r.list[k] * strides_[d], sums);
    }
  }

  const std::vector<Readers>& readers_;
  const Shape& strides_;
  const T* head_;
  const int last_;
};

}  // namespace

std::unique_ptr<Kernel> gather_maps(const Shape& in, const Shape& out, DType dtype, const AxisMaps& maps) {
  const int64_t cost = 50 + out.size() * 2;
  return make_kernel(
      [=, strides = strides_of(in)](const KernelCall& c) {
        if (!c.out[0] || out.size() == 0) return;
        const int last = out.rank() - 1;
        dispatch_bits(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* src = static_cast<const T*>(c.in[0]);
          T* dst = static_cast<T*>(c.out[0]);
          const int64_t width = out[last];
          cpu::parallel_for(out.size() / width, std::max<int64_t>(1, kGrain / width), [&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row) {
              const auto index = row_index(out, row);
              int64_t offset = 0;
              for (int d = 0; d < last; ++d) offset += maps[d][index[d]] * strides[d];
              for (int64_t i = 0; i < width; ++i) dst[row * width + i] = src[offset + maps[last][i]];
            }
          });
        });
      },
      cost);
}

std::unique_ptr<Kernel> sum_maps(const Shape& in, const Shape& out, DType dtype, const AxisMaps& maps, int head_input) {
  std::vector<Readers> readers;
  for (int d = 0; d < in.rank(); ++d) readers.emplace_back(maps[d], in[d]);
  return make_kernel(
      [=, readers = std::move(readers), strides = strides_of(out)](const KernelCall& c) {
        if (!c.out[0] || in.size() == 0) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          T* dst = static_cast<T*>(c.out[0]);
          const int64_t width = in.back(), grain = std::max<int64_t>(1, kGrain / width);
          cpu::parallel_for(in.size() / width, grain, [&](int64_t begin, int64_t end) {
            RowSum<T> sum(readers, strides, static_cast<const T*>(c.in[head_input]));
            std::vector<accumulate_t<T>> sums(width);
            for (int64_t row = begin; row < end; ++row) {
              sum(row_index(in, row).data(), sums);
              for (int64_t i = 0; i < width; ++i) dst[row * width + i] = static_cast<T>(sums[i]);
            }
          });
        });
      },
      50 + out.size() * 2);
}

}  // namespace mxnet::ops
