// SPDX-License-Identifier: Apache-2.0
// Pooling windows in vectors along channels. Planes are turned, a vector of them at a time, and then are channels.
#include "ops/nn/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "backend/cpu/simd.h"
#include "resource/scratch.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kGroup = 16;              // channels of the scalar code that are worked on together
constexpr int kPlanes = kLanes<float>;  // planes that are turned together

template <int Part>
MX_INLINE void turn_parts(F32 (&rows)[kPlanes]) {
  if constexpr (Part > 0) {
    I32 first{}, second{};
    for (int i = 0; i < kPlanes; ++i) {
      first[i] = i & Part ? (i ^ Part) + kPlanes : i;
      second[i] = i & Part ? i + kPlanes : i ^ Part;
    }
#pragma GCC unroll 16
    for (int i = 0; i < kPlanes; ++i) {
      if (i & Part) continue;
      const F32 a = rows[i], b = rows[i | Part];
      rows[i] = __builtin_shuffle(a, b, first);
      rows[i | Part] = __builtin_shuffle(a, b, second);
    }
    turn_parts<Part / 2>(rows);
  }
}
// kPlanes rows, turned: a square in registers, by halves of ever smaller parts that change places.
MX_INLINE void turn(const float* from, int64_t from_row, float* to, int64_t to_row) {
  F32 rows[kPlanes];
#pragma GCC unroll 16
  for (int i = 0; i < kPlanes; ++i) rows[i] = load(from + i * from_row);
  turn_parts<kPlanes / 2>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kPlanes; ++i) store(to + i * to_row, rows[i]);
}

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
  template <int kWidth>  // their number where it is known to the compiler, else 0
  static void max_group(const PoolView& v, const Window& w, const T* x, T* y, Index* index, int64_t pitch, int width) {
    const int n = kWidth ? kWidth : width;
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

  template <int kWidth>
  static void sum_group(const PoolView& v, const Window& w, const T* x, T* y, int64_t pitch, int width) {
    const int n = kWidth ? kWidth : width;
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

  template <int kWidth>
  static void group(const PoolView& v, const Window& w, const T* x, T* y, Index* index, int64_t pitch, int width) {
    if (v.type == PoolType::max)
      max_group<kWidth>(v, w, x, y, index, pitch, width);
    else
      sum_group<kWidth>(v, w, x, y, pitch, width);
  }

  static void window(const PoolView& v, const Window& w, const T* x, T* y, Index* index) {
    const int64_t c = v.channels;
    if (c == kPlanes) return group<kPlanes>(v, w, x, y, index, c, 0);
    for (int64_t j = 0; j + kGroup <= c; j += kGroup)
      group<kGroup>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    const int64_t rest = c % kGroup;
    if (rest == 0) return;
    if (c > kGroup) {  // the last full group again, shifted
      const int64_t j = c - kGroup;
      group<kGroup>(v, w, x + j, y + j, index ? index + j : nullptr, c, 0);
    } else {
      group<0>(v, w, x, y, index, c, static_cast<int>(rest));
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
        forward_planes(v, x, y, index, unit * kPlanes, std::min((unit + 1) * kPlanes, v.planes()));
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

  static void forward_planes(const PoolView& v, const T* x, T* y, Index* index, int64_t begin, int64_t end) {
    const auto whole = [&](const T* plane) {  // a maximum that begins with NaN is left to the windows
      return v.is_whole() && v.type != PoolType::lp && !(v.type == PoolType::max && plane[0] != plane[0]);
    };
    bool all_whole = true;
    for (int64_t i = begin; i < end; ++i) all_whole &= whole(x + i * v.in_size());
    if (all_whole) {
      for (int64_t i = begin; i < end; ++i) forward_whole(v, x + i * v.in_size(), y + i, index ? index + i : nullptr);
      return;
    }
    const PoolView turned = as_channels(v);
    Scratch scratch;
    T* from = take<T>(scratch, v.in_size());
    T* to = take<T>(scratch, v.out_size());
    Index* places = index ? take<Index>(scratch, v.out_size()) : nullptr;
    gather(x, v.in_size(), begin, end, from);
    forward(turned, from, to, places, 0, turned.out[0] * turned.out[1]);
    scatter(to, v.out_size(), begin, end, y);
    if (index) scatter(places, v.out_size(), begin, end, index);
  }

  // ---- planes as channels: of each point, those of a vector of planes lie together ----------------------------------
  static PoolView as_channels(const PoolView& v) {
    PoolView turned = v;
    turned.layout = Layout::channels_last;
    turned.batch = 1;
    turned.channels = kPlanes;
    return turned;
  }
  template <typename E>
  static E* take(Scratch& scratch, int64_t points) {
    return scratch.get<E>(static_cast<size_t>(points * kPlanes));
  }

  // Planes [begin, end) of `size` points each; those that are missing are zero.
  template <typename E>
  static void gather(const E* from, int64_t size, int64_t begin, int64_t end, E* to) {
    int64_t done = 0;
    if constexpr (std::is_same_v<E, float>) {
      if (end - begin == kPlanes) {
        for (; done + kPlanes <= size; done += kPlanes)
          turn(from + begin * size + done, size, to + done * kPlanes, kPlanes);
      }
    }
    for (int64_t k = 0; k < kPlanes; ++k) {
      const E* plane = from + (begin + k) * size;
      if (begin + k < end) {
        for (int64_t i = done; i < size; ++i) to[i * kPlanes + k] = plane[i];
      } else {
        for (int64_t i = done; i < size; ++i) to[i * kPlanes + k] = E(0);
      }
    }
  }
  template <typename E>
  static void scatter(const E* from, int64_t size, int64_t begin, int64_t end, E* to) {
    int64_t done = 0;
    if constexpr (std::is_same_v<E, float>) {
      if (end - begin == kPlanes) {
        for (; done + kPlanes <= size; done += kPlanes)
          turn(from + done * kPlanes, kPlanes, to + begin * size + done, size);
      }
    }
    for (int64_t k = 0; k < end - begin; ++k) {
      E* plane = to + (begin + k) * size;
      for (int64_t i = done; i < size; ++i) plane[i] = from[i * kPlanes + k];
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
    const T* dy = static_cast<const T*>(head);
    const T* x = static_cast<const T*>(in);
    const T* y = static_cast<const T*>(out);
    const auto* index = static_cast<const Index*>(places);
    T* dx = static_cast<T*>(result);
    for (int64_t unit = begin; unit < end; ++unit) {
      if (v.layout == Layout::plain) {
        backward_planes(v, dy, x, y, index, dx, unit * kPlanes, std::min((unit + 1) * kPlanes, v.planes()));
        continue;
      }
      const int64_t n = unit / v.channel_blocks(), c = unit % v.channel_blocks() * PoolView::kChannelBlock;
      const int64_t from_x = n * v.in_size() * v.channels + c, from_y = n * v.out_size() * v.channels + c;
      backward_block(v, dy + from_y, x + from_x, y + from_y, index ? index + from_y : nullptr, dx + from_x,
                     std::min(PoolView::kChannelBlock, v.channels - c));
    }
  }

  static void backward_planes(const PoolView& v, const T* dy, const T* x, const T* y, const Index* index, T* dx,
                              int64_t begin, int64_t end) {
    Scratch scratch;
    T* heads = take<T>(scratch, v.out_size());
    T* results = take<T>(scratch, v.in_size());
    gather(dy, v.out_size(), begin, end, heads);
    Index* places = nullptr;
    if (v.type == PoolType::max) gather(index, v.out_size(), begin, end, places = take<Index>(scratch, v.out_size()));
    T* from = nullptr;
    T* to = nullptr;
    if (v.type == PoolType::lp) {
      gather(x, v.in_size(), begin, end, from = take<T>(scratch, v.in_size()));
      gather(y, v.out_size(), begin, end, to = take<T>(scratch, v.out_size()));
    }
    backward_block(as_channels(v), heads, from, to, places, results, kPlanes);
    scatter(results, v.in_size(), begin, end, dx);
  }

  // One block of channels of an image.
  static void backward_block(const PoolView& v, const T* dy, const T* x, const T* y, const Index* index, T* dx,
                             int64_t width) {
    const int64_t pitch = v.channels;
    if (!v.tiles()) {
      for (int64_t i = 0; i < v.in_size(); ++i) std::memset(static_cast<void*>(dx + i * pitch), 0, sizeof(T) * width);
    }
    if constexpr (kHasVectors) {
      if (width >= kPlanes && vectors(v) && (!v.overlaps() || width % kPlanes == 0)) {
        if (v.overlaps()) return VectorPool<T>::template spread_block<true>(v, dy, index, dx, width);
        return VectorPool<T>::template spread_block<false>(v, dy, index, dx, width);
      }
    }
    int64_t at = 0, o[3];
    for (o[0] = 0; o[0] < v.out[0]; ++o[0]) {
      for (o[1] = 0; o[1] < v.out[1]; ++o[1]) {
        for (o[2] = 0; o[2] < v.out[2]; ++o[2], at += pitch) {
          const Window w(v, o);
          const Index* winners = index ? index + at : nullptr;
          if (v.overlaps())
            spread<true>(v, w, dy + at, x, y + at, winners, dx, pitch, width);
          else
            spread<false>(v, w, dy + at, x, y + at, winners, dx, pitch, width);
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
  static constexpr int kWidth = kPlanes;
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

  // One block of channels. kAdd: windows overlap, and vectors must not; else every point is written by one window.
  template <bool kAdd>
  static void spread_block(const PoolView& v, const T* dy, const uint8_t* index, T* dx, int64_t width) {
    for (int64_t o0 = 0; o0 < v.out[0]; ++o0) {
      for (int64_t o1 = 0; o1 < v.out[1]; ++o1) {
        each_in_row(v, o0, o1, [&](const Points& points, int64_t shift) {
          spread_one<kAdd>(v, points, dy, index, dx + shift, width);
          dy += v.channels;
          if (index) index += v.channels;
        });
      }
    }
  }

  template <bool kAdd>
  static void put(T* to, F32 g) {
    store(to, kAdd ? load(to) + g : g);
  }

  template <bool kAdd>
  static void spread_one(const PoolView& v, const Points& points, const T* dy, const uint8_t* index, T* dx,
                         int64_t width) {
    for (int64_t j = 0; j < width; j += kWidth) {
      const int64_t c = std::min(j, width - kWidth);
      const F32 g = load(dy + c);
      if (v.type == PoolType::max) {
        const I32 winner = load_places(index + c);
        for (int i = 0; i < points.count; ++i) {
          put<kAdd>(dx + points.offset[i] + c, winner == splat(points.place[i]) ? g : F32{});
        }
      } else {
        for (int i = 0; i < points.count; ++i) put<kAdd>(dx + points.offset[i] + c, g * points.factor);
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

int64_t groups(const PoolView& v) { return (v.planes() + kPlanes - 1) / kPlanes; }
int64_t forward_units(const PoolView& v) {
  return v.layout == Layout::plain ? groups(v) : v.batch * v.out[0] * v.out[1];
}
int64_t backward_units(const PoolView& v) {
  return v.layout == Layout::plain ? groups(v) : v.batch * v.channel_blocks();
}

}  // namespace

const PoolKernels pool_kernels_table = {forward_units, backward_units, forward, backward};

}  // namespace mxnet::MX_ISA
