// SPDX-License-Identifier: Apache-2.0
// Pooling windows, vectorized along channels (channels-last) or one plane at a time.
#include "ops/nn/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/simd.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kGroup = 16;  // channels of the scalar code that are worked on together

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
    if (v.whole_window)
      count = v.kernel_size();
    else if (!v.include_pad)
      count = inside;
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
  return p == 1 ? x : p == 2 ? x * x : x * x * x;
}
template <typename C>
C root(C x, int p) {
  return p == 1 ? x : p == 2 ? std::sqrt(x) : std::cbrt(x);
}

template <typename T>
struct VectorPool;

template <typename T, typename Index>
struct Pool {
  using C = compute_t<T>;
  static constexpr bool kHasVectors = !std::is_same_v<T, double> && std::is_same_v<Index, uint8_t>;
  static bool vectors(const PoolView& v);

  // ---- forward, one group of channels of one window; `pitch` is the distance between points -------------------------
  template <bool kFull>
  static void max_group(const PoolView& v, const Window& w, const T* x, T* y, Index* index, int64_t pitch, int width) {
    const int n = kFull ? kGroup : width;
    C best[kGroup];
    int32_t place[kGroup];
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
    const int n = kFull ? kGroup : width;
    C sum[kGroup];
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
    if (v.type == PoolType::max)
      max_group<kFull>(v, w, x, y, index, pitch, width);
    else
      sum_group<kFull>(v, w, x, y, pitch, width);
  }

  static void window(const PoolView& v, const Window& w, const T* x, T* y, Index* index) {
    const int64_t c = v.channels;
    for (int64_t j = 0; j + kGroup <= c; j += kGroup)
      group<true>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    const int64_t rest = c % kGroup;
    if (rest == 0) return;
    if (c > kGroup) {  // the last full group again, shifted
      const int64_t j = c - kGroup;
      group<true>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    } else {
      group<false>(v, w, x, y, index, c, static_cast<int>(rest));
    }
  }

  static void forward(const PoolView& v, const void* in, void* out, void* places, int64_t begin, int64_t end) {
    const T* x = static_cast<const T*>(in);
    T* y = static_cast<T*>(out);
    auto* index = static_cast<Index*>(places);
    if (vectors(v)) {
      if constexpr (kHasVectors) VectorPool<T>::forward(v, x, y, index, begin, end);
      return;
    }
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

  // One window over a whole plane, whose points lie next to each other.
  static void forward_whole(const PoolView& v, const T* x, T* y, Index* index) {
    const int64_t n = v.in_size();
    if (v.type == PoolType::max) {
      C best = C(x[0]);
#pragma omp simd reduction(max : best)
      for (int64_t i = 0; i < n; ++i) best = C(x[i]) > best ? C(x[i]) : best;
      *y = static_cast<T>(best);
      if (index) *index = static_cast<Index>(std::find(x, x + n, *y) - x);
      return;
    }
    C sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += C(x[i]);
    *y = static_cast<T>(v.type == PoolType::avg ? sum / static_cast<C>(n) : sum);
  }

  static void forward_plane(const PoolView& v, const T* x, T* y, Index* index) {
    if (v.is_whole() && v.type != PoolType::lp && !(v.type == PoolType::max && x[0] != x[0])) {
      forward_whole(v, x, y, index);
      return;
    }
    int64_t at = 0, o[3];
    for (o[0] = 0; o[0] < v.out[0]; ++o[0]) {
      for (o[1] = 0; o[1] < v.out[1]; ++o[1]) {
        for (o[2] = 0; o[2] < v.out[2]; ++o[2], ++at) {
          group<false>(v, Window(v, o), x, y + at, index ? index + at : nullptr, 1, 1);
        }
      }
    }
  }

  // ---- backward: every window spreads its gradient
  // --------------------------------------------------------------------- kAdd: windows overlap; otherwise a point
  // belongs to one window and is written.
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
    if (p == 1) return C(1);
    if (y == 0) return C(0);
    return p == 2 ? x / y : x * x / (y * y);
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
      if constexpr (kHasVectors) {
        if (!v.overlaps() && width >= kGroup && vectors(v)) {
          VectorPool<T>::spread_block(v, dy, index, dx, width);
          continue;
        }
      }
      int64_t at = 0, o[3];
      for (o[0] = 0; o[0] < v.out[0]; ++o[0]) {
        for (o[1] = 0; o[1] < v.out[1]; ++o[1]) {
          for (o[2] = 0; o[2] < v.out[2]; ++o[2], at += pitch) {
            const Window w(v, o);
            if (v.overlaps())
              spread<true>(v, w, dy + at, x, y + at, index ? index + at : nullptr, dx, pitch, width);
            else
              spread<false>(v, w, dy + at, x, y + at, index ? index + at : nullptr, dx, pitch, width);
          }
        }
      }
    }
  }
};

// ---- channels-last in vectors: float and the halves, winners stored as bytes
// ---------------------------------------------
using Bytes = uint8_t __attribute__((vector_size(kVectorBytes / 4)));
using BytesInMemory = uint8_t __attribute__((vector_size(kVectorBytes / 4), aligned(1), may_alias));

inline I32 load_places(const uint8_t* p) {
  return __builtin_convertvector(*reinterpret_cast<const BytesInMemory*>(p), I32);
}
inline void store_places(uint8_t* p, I32 v) {
  *reinterpret_cast<BytesInMemory*>(p) = __builtin_convertvector(v, Bytes);
}

template <typename T>
struct VectorPool {
  static constexpr int kWidth = kLanes<float>;
  static constexpr int kMaxPoints = 64;

  static bool takes(const PoolView& v) {
    return v.layout == Layout::channels_last && v.channels >= kWidth && v.kernel_size() <= kMaxPoints &&
           !v.wide_index && v.type != PoolType::lp;
  }

  // The points of one window: offsets in elements, places, what an average divides by.
  struct Points {
    int count = 0;
    float factor = 1;
    int64_t offset[kMaxPoints];
    int32_t place[kMaxPoints];

    Points(const PoolView& v, const int64_t* o) {
      const Window w(v, o);
      if (v.type == PoolType::avg) factor = 1.0f / static_cast<float>(w.count);
      w.each(v, [&](int64_t at, int64_t k) {
        offset[count] = at * v.channels;
        place[count++] = static_cast<int32_t>(k);
      });
    }
  };

  // Calls f(points, shift) for the windows of one output row: those inside the data share their points, `shift`
  // elements further on.
  template <typename F>
  static void each_in_row(const PoolView& v, int64_t o0, int64_t o1, F&& f) {
    int64_t o[3] = {o0, o1, 0};
    const int64_t first = std::min(v.out[2], (v.pad[2] + v.stride[2] - 1) / v.stride[2]);
    const int64_t room = v.in[2] + v.pad[2] - v.kernel[2];
    const int64_t last = room < 0 ? first : std::clamp(room / v.stride[2] + 1, first, v.out[2]);
    for (; o[2] < first; ++o[2]) f(Points(v, o), int64_t{0});
    if (first < last) {
      const Points inside(v, o);
      for (; o[2] < last; ++o[2]) f(inside, (o[2] - first) * v.stride[2] * v.channels);
    }
    for (; o[2] < v.out[2]; ++o[2]) f(Points(v, o), int64_t{0});
  }

  // kPoints: their number where it is known to the compiler, else 0.
  template <int kPoints>
  static void max_at(const Points& points, const T* x, T* y, uint8_t* index) {
    F32 best = load(x + points.offset[0]);
    I32 winner = splat(points.place[0]);
    const int count = kPoints ? kPoints : points.count;
#pragma GCC unroll 16
    for (int i = 1; i < count; ++i) {
      const F32 value = load(x + points.offset[i]);
      const I32 wins = value > best;
      best = wins ? value : best;
      winner = wins ? splat(points.place[i]) : winner;
    }
    store(y, best);
    if (index) store_places(index, winner);
  }

  template <int kPoints>
  static void max_window(const PoolView& v, const Points& points, const T* x, T* y, uint8_t* index) {
    for (int64_t j = 0; j < v.channels; j += kWidth) {
      const int64_t c = std::min(j, v.channels - kWidth);  // the last group overlaps the one before
      max_at<kPoints>(points, x + c, y + c, index ? index + c : nullptr);
    }
  }

  static void sum_at(const Points& points, const T* x, T* y, float factor) {
    F32 sum{};
    for (int i = 0; i < points.count; ++i) sum += load(x + points.offset[i]);
    store(y, sum * factor);
  }

  static void forward(const PoolView& v, const T* x, T* y, uint8_t* index, int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const T* image = x + unit / (v.out[0] * v.out[1]) * v.in_size() * v.channels;
      int64_t at = unit * v.out[2] * v.channels;
      each_in_row(v, unit / v.out[1] % v.out[0], unit % v.out[1], [&](const Points& points, int64_t shift) {
        one_window(v, points, image + shift, y + at, index ? index + at : nullptr);
        at += v.channels;
      });
    }
  }

  static void one_window(const PoolView& v, const Points& points, const T* x, T* y, uint8_t* index) {
    if (points.count == 0) {
      std::fill_n(y, v.channels, static_cast<T>(v.type == PoolType::max ? std::numeric_limits<float>::lowest() : 0.0f));
      if (index) std::memset(index, 0, static_cast<size_t>(v.channels));
      return;
    }
    if (v.type == PoolType::max) {
      if (points.count == 4) return max_window<4>(v, points, x, y, index);
      if (points.count == 9) return max_window<9>(v, points, x, y, index);
      return max_window<0>(v, points, x, y, index);
    }
    for (int64_t j = 0; j < v.channels; j += kWidth) {
      const int64_t c = std::min(j, v.channels - kWidth);
      sum_at(points, x + c, y + c, points.factor);
    }
  }

  // One block of channels, windows that do not overlap: every point is written by one window.
  static void spread_block(const PoolView& v, const T* dy, const uint8_t* index, T* dx, int64_t width) {
    for (int64_t o0 = 0; o0 < v.out[0]; ++o0) {
      for (int64_t o1 = 0; o1 < v.out[1]; ++o1) {
        each_in_row(v, o0, o1, [&](const Points& points, int64_t shift) {
          spread_one(v, points, dy, index, dx + shift, width);
          dy += v.channels;
          if (index) index += v.channels;
        });
      }
    }
  }

  static void spread_one(const PoolView& v, const Points& points, const T* dy, const uint8_t* index, T* dx,
                         int64_t width) {
    for (int64_t j = 0; j < width; j += kWidth) {
      const int64_t c = std::min(j, width - kWidth);
      const F32 g = load(dy + c);
      if (v.type == PoolType::max) {
        const I32 winner = load_places(index + c);
        for (int i = 0; i < points.count; ++i) {
          store(dx + points.offset[i] + c, winner == splat(points.place[i]) ? g : F32{});
        }
      } else {
        for (int i = 0; i < points.count; ++i) store(dx + points.offset[i] + c, g * points.factor);
      }
    }
  }
};

template <typename T, typename Index>
bool Pool<T, Index>::vectors(const PoolView& v) {
  if constexpr (kHasVectors) return VectorPool<T>::takes(v);
  return false;
}

template <typename F>
void pick(const PoolView& v, F&& f) {
  const auto with_index = [&]<typename T>(TypeTag<T>) {
    if (v.wide_index)
      f(Pool<T, int32_t>{});
    else
      f(Pool<T, uint8_t>{});
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
