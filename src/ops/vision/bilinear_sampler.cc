// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/sampler.h"

#include <cmath>
#include <optional>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/sample_composition.h"
#include "ops/vision/taps.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

// Points whose taps are made at a time, for all channels.
constexpr int64_t kTile = 256;

template <typename T>
struct PointOf {
  T y, x;
};

template <typename T>
PointOf<T> point_of(const Sampling& s, const T* grid, int64_t image, int64_t i) {
  const T* at = grid + image * 2 * s.points + i;
  return {(at[s.points] + 1) * T(s.height - 1) / 2, (at[0] + 1) * T(s.width - 1) / 2};
}

template <typename T>
Tap<T> tap_of(const Sampling& s, const T* grid, int64_t image, int64_t i) {
  const auto p = point_of(s, grid, image, i);
  return zero_padded_tap(p.y, p.x, s.height, s.width);
}

// Calls f(image, first point, last point) for tiles of points.
template <typename F>
void each_tile(const Sampling& s, F&& f) {
  const int64_t tiles = (s.points + kTile - 1) / kTile;
  cpu::parallel_for(s.batch * tiles, grain_of(kTile * (20 + 4 * s.channels)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % tiles * kTile;
      f(i / tiles, first, std::min(s.points, first + kTile));
    }
  });
}

// ddata: planes are added to by one thread each.
template <typename T>
void data_gradient(const Sampling& s, const T* dy, const T* grid, T* ddata) {
  cpu::zero_bytes(ddata, s.batch * s.channels * s.pixels() * static_cast<int64_t>(sizeof(T)));
  constexpr int64_t kPlanes = 8;
  const int64_t blocks = (s.channels + kPlanes - 1) / kPlanes;
  cpu::parallel_for(s.batch * blocks, grain_of(s.points * 40), [&](int64_t begin, int64_t end) {
    Tap<T> taps[kTile];
    for (int64_t i = begin; i < end; ++i) {
      const int64_t image = i / blocks, from = i % blocks * kPlanes, to = std::min(s.channels, from + kPlanes);
      for (int64_t first = 0; first < s.points; first += kTile) {
        const int64_t n = std::min(kTile, s.points - first);
        for (int64_t p = 0; p < n; ++p) {
          taps[p] = tap_of(s, grid, image, first + p);
          for (T& weight : taps[p].weight) {
            if (weight != weight) weight = 0;  // a point that is not finite is outside
          }
        }
        for (int64_t plane = image * s.channels + from; plane < image * s.channels + to; ++plane) {
          const T* heads = dy + plane * s.points + first;
          T* pixels = ddata + plane * s.pixels();
          for (int64_t p = 0; p < n; ++p) {
            for (int k = 0; k < 4; ++k) pixels[taps[p].at[k]] += taps[p].weight[k] * heads[p];
          }
        }
      }
    }
  });
}

// Slopes of the sample in y and x, times the head, summed over channels.
template <typename T>
void grid_gradient(const Sampling& s, const T* dy, const T* data, const T* grid, T* dgrid) {
  each_tile(s, [&](int64_t image, int64_t first, int64_t last) {
    Tap<T> taps[kTile];
    T fy[kTile], fx[kTile], slope_y[kTile] = {}, slope_x[kTile] = {};
    const int64_t n = last - first;
    for (int64_t p = 0; p < n; ++p) {
      const auto at = point_of(s, grid, image, first + p);
      const T y0 = std::floor(at.y), x0 = std::floor(at.x);
      taps[p] = zero_padded_tap(at.y, at.x, s.height, s.width);
      fy[p] = at.y - y0;
      fx[p] = at.x - x0;
      for (int k = 0; k < 4; ++k) {  // from here on a weight says whether its pixel is inside
        const T yk = y0 + T(k / 2), xk = x0 + T(k % 2);
        taps[p].weight[k] = yk >= 0 && yk < T(s.height) && xk >= 0 && xk < T(s.width) ? T(1) : T(0);
      }
    }
    for (int64_t plane = image * s.channels; plane < (image + 1) * s.channels; ++plane) {
      const T* heads = dy + plane * s.points + first;
      const T* pixels = data + plane * s.pixels();
      for (int64_t p = 0; p < n; ++p) {
        T v[4];
        for (int k = 0; k < 4; ++k) v[k] = pixels[taps[p].at[k]] * taps[p].weight[k];
        slope_y[p] += heads[p] * ((v[2] - v[0]) * (1 - fx[p]) + (v[3] - v[1]) * fx[p]);
        slope_x[p] += heads[p] * ((v[1] - v[0]) * (1 - fy[p]) + (v[3] - v[2]) * fy[p]);
      }
    }
    T* to = dgrid + image * 2 * s.points + first;
    for (int64_t p = 0; p < n; ++p) {
      to[p] = slope_x[p] * T(s.width - 1) / 2;
      to[p + s.points] = slope_y[p] * T(s.height - 1) / 2;
    }
  });
}

}  // namespace

Sampling::Sampling(const PrepareArgs& a, const Shape& data, const Shape& out)
    : batch(data[0]), channels(data[1]), height(data[2]), width(data[3]), points(out[2] * out[3]) {
  if (pixels() > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 pixels in an image");
}

template <typename T>
void sample(const Sampling& s, const T* data, const T* grid, T* out) {
  each_tile(s, [&](int64_t image, int64_t first, int64_t last) {
    Tap<T> taps[kTile];
    const int64_t n = last - first;
    for (int64_t p = 0; p < n; ++p) taps[p] = tap_of(s, grid, image, first + p);
    for (int64_t plane = image * s.channels; plane < (image + 1) * s.channels; ++plane) {
      const T* pixels = data + plane * s.pixels();
      T* to = out + plane * s.points + first;
      for (int64_t p = 0; p < n; ++p) {
        const Tap<T>& t = taps[p];
        to[p] = t.weight[0] * pixels[t.at[0]] + t.weight[1] * pixels[t.at[1]] + t.weight[2] * pixels[t.at[2]] +
                t.weight[3] * pixels[t.at[3]];
      }
    }
  });
}

template <typename T>
void sample_gradient(const Sampling& s, const T* dy, const T* data, const T* grid, T* ddata, T* dgrid) {
  if (ddata) data_gradient(s, dy, grid, ddata);
  if (dgrid) grid_gradient(s, dy, data, grid, dgrid);
}

template <typename T>
void affine_grid(const T* theta, int64_t batch, int64_t rows, int64_t columns, T* grid) {
  cpu::parallel_for(batch * rows, grain_of(4 * columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* map = theta + i / rows * 6;
      T* x = grid + i / rows * 2 * rows * columns + i % rows * columns;
      T* y = x + rows * columns;
      const T v = -1 + T(i % rows) * (T(2) / T(rows - 1));
      for (int64_t j = 0; j < columns; ++j) {
        const T u = -1 + T(j) * (T(2) / T(columns - 1));
        x[j] = map[0] * u + map[1] * v + map[2];
        y[j] = map[3] * u + map[4] * v + map[5];
      }
    }
  });
}

template <typename T>
void affine_grid_gradient(const T* dgrid, int64_t batch, int64_t rows, int64_t columns, T* dtheta) {
  cpu::parallel_for(batch * 2, grain_of(3 * rows * columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* head = dgrid + i * rows * columns;
      double sum[3] = {};
      for (int64_t row = 0; row < rows; ++row) {
        const T v = -1 + T(row) * (T(2) / T(rows - 1));
        T of_row[2] = {};
        for (int64_t j = 0; j < columns; ++j) {
          const T u = -1 + T(j) * (T(2) / T(columns - 1)), h = head[row * columns + j];
          of_row[0] += h * u;
          of_row[1] += h;
        }
        sum[0] += static_cast<double>(of_row[0]);
        sum[1] += static_cast<double>(of_row[1] * v);
        sum[2] += static_cast<double>(of_row[1]);
      }
      for (int k = 0; k < 3; ++k) dtheta[i * 3 + k] = static_cast<T>(sum[k]);
    }
  });
}

#define MXNET_SAMPLER(T)                                                                \
  template void sample(const Sampling&, const T*, const T*, T*);                        \
  template void sample_gradient(const Sampling&, const T*, const T*, const T*, T*, T*); \
  template void affine_grid(const T*, int64_t, int64_t, int64_t, T*);                   \
  template void affine_grid_gradient(const T*, int64_t, int64_t, int64_t, T*);
MXNET_SAMPLER(float)
MXNET_SAMPLER(double)
#undef MXNET_SAMPLER

namespace {

struct BilinearSamplerParams {
  std::optional<bool> cudnn_off;
  static void declare(ParamSchemaOf<BilinearSamplerParams>& s) {
    s.field("cudnn_off", &BilinearSamplerParams::cudnn_off, "Has no effect on a CPU.");
  }
};

// data and grid begin at input `first`; the other array is the output or its head.
Shape infer_sampled(InferContext& c, int first) {
  const Shape& data = c.in[static_cast<size_t>(first)].shape;
  const Shape& grid = c.in[static_cast<size_t>(first) + 1].shape;
  check_rank(c, first, 4, "(batch, channels, height, width)");
  check_rank(c, first + 1, 4, "(batch, 2, rows, columns)");
  c.merge_in(first + 1, {data.rank_known() ? data[0] : -1, 2, -1, -1});
  c.merge_in(first, {grid[0], -1, -1, -1});
  return {data[0], data[1], grid[2], grid[3]};
}

void infer_shape(InferContext& c) { c.merge_out(0, infer_sampled(c, 0)); }
void infer_backward_shape(InferContext& c) {
  c.merge_in(0, infer_sampled(c, 1));
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
}

Prepared prepare(const PrepareArgs& a) {
  const Sampling s(a, a.in[0].shape, a.out[0].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      sample(s, static_cast<const T*>(c.in[0]), static_cast<const T*>(c.in[1]), static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + s.cost());
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const Sampling s(a, a.in[1].shape, a.in[0].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      sample_gradient(s, static_cast<const T*>(c.in[0]), static_cast<const T*>(c.in[1]), static_cast<const T*>(c.in[2]),
                      static_cast<T*>(c.out[0]), static_cast<T*>(c.out[1]));
    };
    return make_kernel(std::move(run), 100 + 3 * s.cost());
  });
}

std::vector<Term> compose(const Composing& c) {
  const Shape &data = c[0].shape(), &grid = c[1].shape();
  const int64_t points = grid[2] * grid[3];
  const auto pixels = [&](int64_t axis, int64_t extent) {
    return (c[1].at(1, axis).reshaped({data[0], points}) + 1) * (static_cast<double>(extent - 1) / 2);
  };
  const Term samples = sample_composed(c[0], pixels(1, data[2]), pixels(0, data[3]));
  return {samples.then("transpose", {{"axes", tuple_of({0, 2, 1})}}).reshaped({data[0], data[1], grid[2], grid[3]})};
}
const RegisterComposition composition{"BilinearSampler", compose};

const RegisterOp bilinear_sampler{{
    .name = "BilinearSampler",
    .doc =
        "Samples images bilinearly at given points (Spatial Transformer Networks, Jaderberg et al. 2015).\n\n"
        "Shapes: data (batch, channels, height, width), grid (batch, 2, rows, columns): x and y from -1 to 1 between "
        "the centers of the outer pixels; output (batch, channels, rows, columns). Pixels outside of the image are 0.",
    .params = schema_of<BilinearSamplerParams>(),
    .inputs = {"data", "grid"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_BilinearSampler", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_bilinear_sampler{{
    .name = "_backward_BilinearSampler",
    .doc = "Gradients of BilinearSampler with respect to data and grid.",
    .params = schema_of<BilinearSamplerParams>(),
    .inputs = {"head", "data", "grid"},
    .outputs = 2,
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient::none(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
