// SPDX-License-Identifier: Apache-2.0
// Pooling windows, vectorized along channels (channels-last) or one plane at a time.
#include "ops/nn/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace mxnet::MX_ISA {
namespace {

constexpr int kLanes = 16;

// A window clipped to the data; `count` is what an average divides by.
struct Window {
  int64_t begin[3], end[3], start[3];
  int64_t count;

  Window(const PoolView& v, const int64_t* o) {
    count = 1;
    int64_t inside = 1;
    for (int d = 0; d < 3; ++d) {
      const auto i = static_cast<size_t>(d);
      start[d] = o[d] * v.stride[i] - v.pad[i];
      const int64_t stop = std::min(start[d] + v.kernel[i], v.in[i] + v.pad[i]);
      begin[d] = std::max<int64_t>(start[d], 0);
      end[d] = std::min(stop, v.in[i]);
      count *= stop - start[d];
      inside *= std::max<int64_t>(0, end[d] - begin[d]);
    }
    if (v.whole_window) count = v.kernel_size();
    else if (!v.include_pad) count = inside;
    count = std::max<int64_t>(count, 1);
  }
  // Calls f(offset of the point in the data, place in the window).
  template <typename F>
  inline void each(const PoolView& v, F&& f) const {
    for (int64_t a = begin[0]; a < end[0]; ++a) {
      for (int64_t b = begin[1]; b < end[1]; ++b) {
        for (int64_t c = begin[2]; c < end[2]; ++c) {
          f((a * v.in[1] + b) * v.in[2] + c,
            ((a - start[0]) * v.kernel[1] + (b - start[1])) * v.kernel[2] + (c - start[2]));
        }
      }
    }
  }
};

template <typename C>
C power(C x, int p) {
  const C a = x < 0 ? -x : x;
  return p == 1 ? a : p == 2 ? a * a : a * a * a;
}
template <typename C>
C root(C x, int p) {
  return p == 1 ? x : p == 2 ? std::sqrt(x) : std::cbrt(x);
}

// `kStep`: distance between the elements of one lane group's neighbours in memory is always 1; a group is kLanes wide
// where `kFull`, else `width`.
template <typename T, typename Index>
struct Pool {
  using C = compute_t<T>;

  // ---- forward, one group of channels of one window; `pitch` is the distance between points -------------------------
  template <bool kFull>
  static void max_group(const PoolView& v, const Window& w, const T* x, T* y, Index* index, int64_t pitch, int width) {
    const int n = kFull ? kLanes : width;
    C best[kLanes];
    int32_t place[kLanes];
    bool first = true;
    for (int i = 0; i < n; ++i) best[i] = std::numeric_limits<C>::lowest(), place[i] = 0;
    w.each(v, [&](int64_t offset, int64_t k) {
      const T* p = x + offset * pitch;
      const auto at = static_cast<int32_t>(k);
      if (first) {
        for (int i = 0; i < n; ++i) best[i] = C(p[i]), place[i] = at;
        first = false;
      } else {
        for (int i = 0; i < n; ++i) {
          const C value = C(p[i]);
          const bool wins = value > best[i];
          best[i] = wins ? value : best[i];
          place[i] = wins ? at : place[i];
        }
      }
    });
    for (int i = 0; i < n; ++i) y[i] = static_cast<T>(best[i]);
    if (index) {
      for (int i = 0; i < n; ++i) index[i] = static_cast<Index>(place[i]);
    }
  }

  template <bool kFull>
  static void sum_group(const PoolView& v, const Window& w, const T* x, T* y, int64_t pitch, int width) {
    const int n = kFull ? kLanes : width;
    C sum[kLanes];
    for (int i = 0; i < n; ++i) sum[i] = 0;
    if (v.type == PoolType::lp) {
      w.each(v, [&](int64_t offset, int64_t) {
        for (int i = 0; i < n; ++i) sum[i] += power(C(x[offset * pitch + i]), v.p);
      });
      for (int i = 0; i < n; ++i) y[i] = static_cast<T>(root(sum[i], v.p));
      return;
    }
    w.each(v, [&](int64_t offset, int64_t) {
      const T* p = x + offset * pitch;
      for (int i = 0; i < n; ++i) sum[i] += C(p[i]);
    });
    const C factor = v.type == PoolType::avg ? C(1) / static_cast<C>(w.count) : C(1);
    for (int i = 0; i < n; ++i) y[i] = static_cast<T>(sum[i] * factor);
  }

  template <bool kFull>
  static void group(const PoolView& v, const Window& w, const T* x, T* y, Index* index, int64_t pitch, int width) {
    if (v.type == PoolType::max) max_group<kFull>(v, w, x, y, index, pitch, width);
    else sum_group<kFull>(v, w, x, y, pitch, width);
  }

  static void window(const PoolView& v, const Window& w, const T* x, T* y, Index* index) {
    const int64_t c = v.channels;
    for (int64_t j = 0; j + kLanes <= c; j += kLanes) group<true>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    const int64_t rest = c % kLanes;
    if (rest == 0) return;
    if (c > kLanes) {  // the last full group again, shifted
      const int64_t j = c - kLanes;
      group<true>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    } else {
      group<false>(v, w, x, y, index, c, static_cast<int>(rest));
    }
  }

  static void forward(const PoolView& v, const void* in, void* out, void* places, int64_t begin, int64_t end) {
    const T* x = static_cast<const T*>(in);
    T* y = static_cast<T*>(out);
    auto* index = static_cast<Index*>(places);
    for (int64_t unit = begin; unit < end; ++unit) {
      if (v.layout == Layout::plain) {
        forward_plane(v, x + unit * v.in_size(), y + unit * v.out_size(),
                      index ? index + unit * v.out_size() : nullptr);
        continue;
      }
      const int64_t n = unit / (v.out[0] * v.out[1]);
      int64_t o[3] = {unit / v.out[1] % v.out[0], unit % v.out[1], 0};
      for (; o[2] < v.out[2]; ++o[2]) {
        const int64_t at = (unit * v.out[2] + o[2]) * v.channels;
        window(v, Window(v, o), x + n * v.in_size() * v.channels, y + at, index ? index + at : nullptr);
      }
    }
  }

  static void forward_plane(const PoolView& v, const T* x, T* y, Index* index) {
    int64_t at = 0, o[3];
    for (o[0] = 0; o[0] < v.out[0]; ++o[0]) {
      for (o[1] = 0; o[1] < v.out[1]; ++o[1]) {
        for (o[2] = 0; o[2] < v.out[2]; ++o[2], ++at) {
          group<false>(v, Window(v, o), x, y + at, index ? index + at : nullptr, 1, 1);
        }
      }
    }
  }

  // ---- backward: every window spreads its gradient ---------------------------------------------------------------------
  // kAdd: windows overlap; otherwise a point belongs to one window and is written.
  template <bool kAdd>
  static void spread(const PoolView& v, const Window& w, const T* dy, const T* x, const T* y, const Index* index, T* dx,
                     int64_t pitch, int64_t width) {
    const C factor = v.type == PoolType::avg ? C(1) / static_cast<C>(w.count) : C(1);
    w.each(v, [&](int64_t offset, int64_t k) {
      T* to = dx + offset * pitch;
      const auto place = static_cast<Index>(k);
      if (v.type == PoolType::max) {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          const C g = index[i] == place ? C(dy[i]) : C(0);
          to[i] = static_cast<T>(kAdd ? C(to[i]) + g : g);
        }
      } else if (v.type == PoolType::lp) {
        for (int64_t i = 0; i < width; ++i) {
          const C g = C(dy[i]) * lp_slope(C(x[offset * pitch + i]), C(y[i]), v.p);
          to[i] = static_cast<T>(kAdd ? C(to[i]) + g : g);
        }
      } else {
#pragma omp simd
        for (int64_t i = 0; i < width; ++i) {
          const C g = C(dy[i]) * factor;
          to[i] = static_cast<T>(kAdd ? C(to[i]) + g : g);
        }
      }
    });
  }

  static C lp_slope(C x, C y, int p) {
    if (p == 1) return x > 0 ? C(1) : x < 0 ? C(-1) : C(0);
    if (y == 0) return C(0);
    return p == 2 ? x / y : (x < 0 ? -x * x : x * x) / (y * y);
  }

  static void backward(const PoolView& v, const void* head, const void* in, const void* out, const void* places,
                       void* result, int64_t begin, int64_t end) {
    const bool plain = v.layout == Layout::plain;
    const int64_t pitch = plain ? 1 : v.channels;
    for (int64_t unit = begin; unit < end; ++unit) {
      int64_t from_x, from_y, width = 1;
      if (plain) {
        from_x = unit * v.in_size();
        from_y = unit * v.out_size();
      } else {
        const int64_t n = unit / v.channel_blocks(), c = unit % v.channel_blocks() * PoolView::kChannelBlock;
        width = std::min(PoolView::kChannelBlock, v.channels - c);
        from_x = n * v.in_size() * v.channels + c;
        from_y = n * v.out_size() * v.channels + c;
      }
      const T* x = static_cast<const T*>(in) + from_x;
      T* dx = static_cast<T*>(result) + from_x;
      const T* dy = static_cast<const T*>(head) + from_y;
      const T* y = static_cast<const T*>(out) + from_y;
      const Index* index = places ? static_cast<const Index*>(places) + from_y : nullptr;
      if (!v.tiles()) {
        for (int64_t i = 0; i < v.in_size(); ++i) std::memset(static_cast<void*>(dx + i * pitch), 0, sizeof(T) * width);
      }
      int64_t at = 0, o[3];
      for (o[0] = 0; o[0] < v.out[0]; ++o[0]) {
        for (o[1] = 0; o[1] < v.out[1]; ++o[1]) {
          for (o[2] = 0; o[2] < v.out[2]; ++o[2], at += pitch) {
            const Window w(v, o);
            if (v.overlaps()) spread<true>(v, w, dy + at, x, y + at, index ? index + at : nullptr, dx, pitch, width);
            else spread<false>(v, w, dy + at, x, y + at, index ? index + at : nullptr, dx, pitch, width);
          }
        }
      }
    }
  }
};

template <typename F>
void pick(const PoolView& v, F&& f) {
  const auto with_index = [&]<typename T>(TypeTag<T>) {
    if (v.wide_index) f(Pool<T, int32_t>{});
    else f(Pool<T, uint8_t>{});
  };
  switch (v.dtype) {
    case DType::f32: return with_index(TypeTag<float>{});
    case DType::f64: return with_index(TypeTag<double>{});
    case DType::f16: return with_index(TypeTag<half_t>{});
    case DType::bf16: return with_index(TypeTag<bfloat16_t>{});
    default: return;
  }
}

void forward(const PoolView& v, const void* x, void* y, void* index, int64_t begin, int64_t end) {
  pick(v, [&](auto pool) { pool.forward(v, x, y, index, begin, end); });
}
void backward(const PoolView& v, const void* dy, const void* x, const void* y, const void* index, void* dx,
              int64_t begin, int64_t end) {
  pick(v, [&](auto pool) { pool.backward(v, dy, x, y, index, dx, begin, end); });
}

}  // namespace

const PoolKernels pool_kernels_table = {forward, backward};

}  // namespace mxnet::MX_ISA
