// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/deformable_columns.h"

#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "ops/vision/taps.h"

namespace mxnet::vision {
namespace {

// One image: where the points lie.
template <typename T>
class Points {
 public:
  Points(const DeformableShape& s, int64_t image, const T* offset, const T* mask)
      : s_(s),
        offset_(offset + image * 2 * s.deformable_groups * s.taps() * s.points()),
        mask_(mask ? mask + image * s.deformable_groups * s.taps() * s.points() : nullptr) {}

  struct At {
    T y, x;
  };
  // Calls f(group, tap, where it lies) for all taps of a point.
  template <typename F>
  void each_tap(int64_t point, F&& f) const {
    const int64_t top = point / s_.out[1] * s_.stride[0] - s_.pad[0];
    const int64_t left = point % s_.out[1] * s_.stride[1] - s_.pad[1];
    const T* offset = offset_ + point;
    for (int64_t group = 0; group < s_.deformable_groups; ++group) {
      int64_t tap = 0;
      for (int64_t i = 0; i < s_.kernel[0]; ++i) {
        for (int64_t j = 0; j < s_.kernel[1]; ++j, ++tap, offset += 2 * s_.points()) {
          f(group, tap, At{T(top + i * s_.dilate[0]) + offset[0], T(left + j * s_.dilate[1]) + offset[s_.points()]});
        }
      }
    }
  }
  T mask(int64_t group, int64_t tap, int64_t point) const {
    return mask_ ? mask_[(group * s_.taps() + tap) * s_.points() + point] : T(1);
  }
  bool inside(const At& p) const {
    const T low = s_.modulated ? T(-1) : T(0);
    const bool after = s_.modulated ? p.y > low && p.x > low : p.y >= low && p.x >= low;
    return after && p.y < T(s_.in[0]) && p.x < T(s_.in[1]);
  }
  // Without the mask. Points outside have weights of 0.
  Tap<T> tap(const At& p) const {
    if (!inside(p)) return {};
    if (s_.modulated) return zero_padded_tap(p.y, p.x, s_.in[0], s_.in[1]);
    return clamped_tap(p.y, p.x, s_.in[0], s_.in[1], T(0), T(s_.in[0]), T(s_.in[1]));
  }

 private:
  const DeformableShape& s_;
  const T* offset_;
  const T* mask_;
};

// Calls f(first channel, count, place in the row of the first) for runs of channels of one deformable group between
// first and last that lie together in rows.
template <typename F>
void each_run(const DeformableShape& s, int64_t group, int64_t point, int64_t tap, int64_t first, int64_t last, F&& f) {
  const int64_t width = s.channels / s.deformable_groups, of_group = s.group_channels();
  const int64_t end = std::min(last, (group + 1) * width);
  for (int64_t c = std::max(first, group * width); c < end;) {
    const int64_t g = s.groups == 1 ? 0 : c / of_group, stop = std::min(end, (g + 1) * of_group);
    f(c, stop - c, ((g * s.points() + point) * s.taps() + tap) * of_group + c - g * of_group);
    c = stop;
  }
}

// Dot products of the heads with the four pixels of a tap, all channels of a deformable group.
template <typename T>
void dots(const DeformableShape& s, const Tap<T>& tap, const T* data, const T* drows, int64_t group, int64_t point,
          int64_t k, T* sums) {
  each_run(s, group, point, k, 0, s.channels, [&](int64_t c, int64_t n, int64_t row) {
    tap_table().of<T>().dots(data + c, s.channels, tap, drows + row, n, sums);
  });
}

// One tap of few channels is too small for a call through the table.
template <typename T>
void gather_point(const T* map, int64_t step, const Tap<T>& tap, T mask, int64_t channels, T* to) {
  if (channels >= 8) return tap_table().of<T>().gather(map, step, &tap, 1, mask, channels, to);
  const T *a = map + tap.at[0] * step, *b = map + tap.at[1] * step, *c = map + tap.at[2] * step,
          *d = map + tap.at[3] * step;
  for (int64_t k = 0; k < channels; ++k) {
    to[k] = mask * (tap.weight[0] * a[k] + tap.weight[1] * b[k] + tap.weight[2] * c[k] + tap.weight[3] * d[k]);
  }
}

// Derivative of the sample with respect to its place, of the dots v with its pixels.
template <typename T>
typename Points<T>::At points_slope(const DeformableShape& s, const typename Points<T>::At& at, const T* dot) {
  const T y0 = std::floor(at.y), x0 = std::floor(at.x), fy = at.y - y0, fx = at.x - x0;
  T v[4];
  for (int k = 0; k < 4; ++k) {
    const T y = y0 + T(k / 2), x = x0 + T(k % 2);
    const bool inside = y >= 0 && y < T(s.in[0]) && x >= 0 && x < T(s.in[1]);
    v[k] = inside || !s.modulated ? dot[k] : T(0);
  }
  return {(v[2] - v[0]) * (1 - fx) + (v[3] - v[1]) * fx, (v[1] - v[0]) * (1 - fy) + (v[3] - v[2]) * fy};
}

// doffset and dmask: each element is one thread's.
template <typename T>
void point_gradient(const DeformableShape& s, int64_t image, const T* drows, const T* data, const Points<T>& points,
                    T* doffset, T* dmask) {
  const int64_t n = s.points(), taps = s.deformable_groups * s.taps();
  T* to_offset = doffset ? doffset + image * 2 * taps * n : nullptr;
  T* to_mask = dmask ? dmask + image * taps * n : nullptr;
  cpu::parallel_for(n, std::max<int64_t>(1, 20000 / (s.row() + 50 * taps)), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      points.each_tap(p, [&](int64_t group, int64_t k, const typename Points<T>::At& at) {
        const int64_t i = group * s.taps() + k;
        const Tap<T> tap = points.tap(at);
        T v[4] = {};
        if (points.inside(at)) dots(s, tap, data, drows, group, p, k, v);
        if (to_mask) {
          to_mask[i * n + p] =
              v[0] * tap.weight[0] + v[1] * tap.weight[1] + v[2] * tap.weight[2] + v[3] * tap.weight[3];
        }
        if (!to_offset) return;
        const T mask = points.mask(group, k, p);
        const auto slope = points_slope(s, at, v);
        to_offset[2 * i * n + p] = slope.y * mask;
        to_offset[(2 * i + 1) * n + p] = slope.x * mask;
      });
    }
  });
}

}  // namespace

template <typename T>
void deformable_rows(const DeformableShape& s, int64_t image, const T* data, const T* offset, const T* mask, T* rows) {
  const Points<T> points(s, image, offset, mask);
  const T* pixels = data + image * s.in[0] * s.in[1] * s.channels;
  cpu::parallel_for(s.points(), std::max<int64_t>(1, 20000 / (s.row() + 20 * s.taps())),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t p = begin; p < end; ++p) {
                        points.each_tap(p, [&](int64_t group, int64_t k, const typename Points<T>::At& at) {
                          const Tap<T> tap = points.tap(at);
                          each_run(s, group, p, k, 0, s.channels, [&](int64_t c, int64_t n, int64_t row) {
                            gather_point(pixels + c, s.channels, tap, points.mask(group, k, p), n, rows + row);
                          });
                        });
                      }
                    });
}

template <typename T>
void deformable_gradient(const DeformableShape& s, int64_t image, const T* drows, const T* data, const T* offset,
                         const T* mask, T* ddata, T* doffset, T* dmask) {
  const Points<T> points(s, image, offset, mask);
  const int64_t first = image * s.in[0] * s.in[1] * s.channels;
  if (doffset || dmask) point_gradient(s, image, drows, data + first, points, doffset, dmask);
  if (!ddata) return;
  // Points share pixels, so threads take channels.
  const int64_t block = std::max<int64_t>(16, std::min<int64_t>(64, s.channels / 4));
  cpu::parallel_for((s.channels + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = 0; p < s.points(); ++p) {
      points.each_tap(p, [&](int64_t group, int64_t k, const typename Points<T>::At& at) {
        const Tap<T> tap = points.tap(at);
        each_run(s, group, p, k, begin * block, std::min(s.channels, end * block),
                 [&](int64_t c, int64_t n, int64_t row) {
                   tap_table().of<T>().scatter(drows + row, &tap, 1, points.mask(group, k, p), n, ddata + first + c,
                                               s.channels);
                 });
      });
    }
  });
}

#define MXNET_DEFORMABLE(T)                                                                                          \
  template void deformable_rows(const DeformableShape&, int64_t, const T*, const T*, const T*, T*);                  \
  template void deformable_gradient(const DeformableShape&, int64_t, const T*, const T*, const T*, const T*, T*, T*, \
                                    T*);
MXNET_DEFORMABLE(float)
MXNET_DEFORMABLE(double)
#undef MXNET_DEFORMABLE

}  // namespace mxnet::vision
