// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/sampler.h"

namespace mxnet::vision {
namespace {

enum class GridTransform { affine, warp };

struct GridGeneratorParams {
  GridTransform transform_type = GridTransform::affine;
  Shape target_shape{0, 0};

  static void declare(ParamSchemaOf<GridGeneratorParams>& s) {
    using P = GridGeneratorParams;
    s.choice("transform_type", &P::transform_type, {{"affine", GridTransform::affine}, {"warp", GridTransform::warp}},
             "What data holds: affine maps, or offsets of every point in pixels.")
        .required();
    s.field("target_shape", &P::target_shape, "Rows and columns of the grid, for affine maps.");
    s.validate([](const P& p) {
      const Shape& t = p.target_shape;
      if (p.transform_type == GridTransform::affine && (t.rank() != 2 || t[0] < 1 || t[1] < 1)) {
        fail(ErrorKind::value, "target_shape must be two positive numbers, got ", t);
      }
    });
  }
};

void infer_shape(InferContext& c) {
  const auto& p = c.as<GridGeneratorParams>();
  if (p.transform_type == GridTransform::affine) {
    check_rank(c, 0, 2, "(batch, 6)");
    c.merge_in(0, {c.out[0].shape.rank_known() ? c.out[0].shape[0] : -1, 6});
    c.merge_out(0, {c.in[0].shape[0], 2, p.target_shape[0], p.target_shape[1]});
    return;
  }
  check_rank(c, 0, 4, "(batch, 2, rows, columns)");
  c.merge_in(0, {-1, 2, -1, -1});
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
}

// The gradient of an offset in pixels; the grid of a warp is this times (offset + place), minus 1.
template <typename T>
T pixel(int64_t extent) {
  return 1 / (T(extent - 1) / 2);
}

template <typename T>
void warp(const T* flow, int64_t batch, int64_t rows, int64_t columns, T* grid) {
  cpu::parallel_for(batch * 2 * rows, grain_of(columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const bool is_x = i / rows % 2 == 0;
      const T half = T((is_x ? columns : rows) - 1) / 2;
      for (int64_t j = 0; j < columns; ++j) {
        grid[i * columns + j] = (flow[i * columns + j] + T(is_x ? j : i % rows)) / half - 1;
      }
    }
  });
}

Prepared prepare(const PrepareArgs& a) {
  const bool affine = a.as<GridGeneratorParams>().transform_type == GridTransform::affine;
  const Shape s = a.out[0].shape;
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      (affine ? affine_grid<T> : warp<T>)(static_cast<const T*>(c.in[0]), s[0], s[2], s[3], static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + 2 * s.size());
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const bool affine = a.as<GridGeneratorParams>().transform_type == GridTransform::affine;
  const Shape s = a.in[0].shape;
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      if (!c.out[0]) return;
      const T* dy = static_cast<const T*>(c.in[0]);
      T* dx = static_cast<T*>(c.out[0]);
      if (affine) return affine_grid_gradient(dy, s[0], s[2], s[3], dx);
      const int64_t plane = s[2] * s[3];
      for (int64_t i = 0; i < s[0] * 2; ++i) {
        const T factor = pixel<T>(i % 2 == 0 ? s[3] : s[2]);
        for (int64_t j = i * plane; j < (i + 1) * plane; ++j) dx[j] = dy[j] * factor;
      }
    };
    return make_kernel(std::move(run), 100 + 2 * s.size());
  });
}

void infer_backward_shape(InferContext& c) {
  const auto& p = c.as<GridGeneratorParams>();
  check_rank(c, 0, 4, "(batch, 2, rows, columns)");
  c.merge_in(0, {-1, 2, -1, -1});
  if (p.transform_type == GridTransform::warp) return c.merge_out(0, c.in[0].shape);
  c.merge_in(0, {-1, 2, p.target_shape[0], p.target_shape[1]});
  c.merge_out(0, {c.in[0].shape[0], 6});
}

// Both maps are affine in data, so the gradient of the gradient is linear: the grid without its constant part.
void backward_gradient(GradientBuilder& g) {
  const Value head = g.head(0);
  const Value grid = g.call("GridGenerator", {head}, g.params_ref());
  const Value constant = g.call("GridGenerator", {g.call("zeros_like", {head})}, g.params_ref());
  g.give(0, g.call("elemwise_sub", {grid, constant}));
}

const RegisterOp grid_generator{{
    .name = "GridGenerator",
    .doc =
        "Points for BilinearSampler: x and y from -1 to 1, (batch, 2, rows, columns).\n\n"
        "'affine': data (batch, 6) are maps [a, b, c; d, e, f] of the points of a regular grid of target_shape. "
        "'warp': "
        "data (batch, 2, rows, columns) are offsets in pixels, x then y. A grid of one row or column has no scale: its "
        "points are not finite, as in 1.9.1.",
    .params = schema_of<GridGeneratorParams>(),
    .inputs = {"data"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_GridGenerator", {g.head(0)}, g.params_ref());
                }).only_heads(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_grid_generator{{
    .name = "_backward_GridGenerator",
    .doc = "Gradient of GridGenerator.",
    .params = schema_of<GridGeneratorParams>(),
    .inputs = {"head"},
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient(backward_gradient).only_heads(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
