// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/nn/norm_gradient.h"
#include "ops/nn/row_norm.h"

namespace mxnet::nn {
namespace {

struct LayerNormParams {
  int axis = -1;
  float eps = 1e-5f;
  bool output_mean_var = false;

  static void declare(ParamSchemaOf<LayerNormParams>& s) {
    s.field("axis", &LayerNormParams::axis, "The axis to normalize along.");
    s.field("eps", &LayerNormParams::eps, "Added to the variance before its root is taken.").range(0, 1e30);
    s.field("output_mean_var", &LayerNormParams::output_mean_var, "Whether mean and deviation are outputs as well.");
  }
};

int num_visible(const Params& p) { return p.as<LayerNormParams>().output_mean_var ? 3 : 1; }

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  const int axis = normalize_axis(c.as<LayerNormParams>().axis, data.rank(), "LayerNorm");
  c.merge_in(1, {data[axis]});
  c.merge_in(2, {data[axis]});
  Shape statistics = data;
  statistics[axis] = 1;
  for (size_t i = 1; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), statistics);
}

void infer_dtype(InferContext& c) {
  c.merge_in_dtype(0, c.out[0].dtype);
  const DType data = c.in[0].dtype;
  if (data == DType::unknown) return;
  if (!is_float(data)) c.bad(str("data must be of a floating point dtype, got ", name_of(data)));
  c.merge_in_dtype(1, data);
  c.merge_in_dtype(2, data);
  const int visible = num_visible(c.params);
  for (int i = 0; i < visible; ++i) c.merge_out_dtype(i, data);
  c.merge_out_dtype(visible, statistics_type(data));
  c.merge_out_dtype(visible + 1, statistics_type(data));
}

// Data as (outer, n, inner); rows are what remains when n is moved to the end.
struct Axes {
  int64_t outer, n, inner;
};

Axes axes_of(const Shape& shape, int axis_param) {
  const int axis = normalize_axis(axis_param, shape.rank(), "LayerNorm");
  return {shape.size(0, axis), shape[axis], shape.size(axis + 1, shape.rank())};
}

RowNormView view_of(const Axes& a, DType dtype, float eps) {
  return {.dtype = dtype, .rows = a.outer * a.inner, .n = a.n, .eps = eps};
}

// (outer, n, inner) -> (outer, inner, n), or back with n and inner exchanged.
void swap_inner(const void* from, void* to, DType dtype, int64_t outer, int64_t n, int64_t inner) {
  dispatch_bits(dtype, [&]<typename T>(TypeTag<T>) {
    cpu::parallel_for(outer * inner, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, n)),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t r = begin; r < end; ++r) {
                          const T* source = static_cast<const T*>(from) + r / inner * n * inner + r % inner;
                          T* target = static_cast<T*>(to) + r * n;
                          for (int64_t i = 0; i < n; ++i) target[i] = source[i * inner];
                        }
                      });
  });
}

size_t aligned(int64_t count, DType dtype) {
  return (static_cast<size_t>(count) * static_cast<size_t>(size_of(dtype)) + 63) / 64 * 64;
}
char* offset(void* scratch, size_t bytes) { return static_cast<char*>(scratch) + bytes; }

template <typename T, typename A>
void write_visible(const KernelCall& c, const RowNormView& v, const A* mean, const A* rstd) {
  for (int64_t r = 0; r < v.rows; ++r) {
    if (c.out[1]) static_cast<T*>(c.out[1])[r] = static_cast<T>(mean[r]);
    if (c.out[2]) static_cast<T*>(c.out[2])[r] = static_cast<T>(A(1) / rstd[r]);
  }
}

Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<LayerNormParams>();
  const Axes axes = axes_of(a.in[0].shape, p.axis);
  const RowNormView v = view_of(axes, a.in[0].dtype, p.eps);
  const int visible = num_visible(a.params);
  const size_t data = aligned(v.rows * v.n, v.dtype), statistics = aligned(v.rows, statistics_type(v.dtype));
  auto run = [=](const KernelCall& c) {
    void* mean = c.out[visible] ? c.out[visible] : c.scratch;
    void* rstd = c.out[visible + 1] ? c.out[visible + 1] : offset(c.scratch, statistics);
    if (axes.inner == 1) {
      row_norm_forward(v, c.in[0], c.in[1], c.in[2], c.out[0], mean, rstd);
    } else {
      void* x = offset(c.scratch, 2 * statistics);
      void* y = offset(x, data);
      swap_inner(c.in[0], x, v.dtype, axes.outer, axes.n, axes.inner);
      row_norm_forward(v, x, c.in[1], c.in[2], y, mean, rstd);
      swap_inner(y, c.out[0], v.dtype, axes.outer, axes.inner, axes.n);
    }
    if (visible == 1) return;
    dispatch_float(v.dtype, [&]<typename T>(TypeTag<T>) {
      using A = accumulate_t<T>;
      write_visible<T, A>(c, v, static_cast<const A*>(mean), static_cast<const A*>(rstd));
    });
  };
  return make_kernel(std::move(run), row_norm_cost(v), 2 * statistics + (axes.inner == 1 ? 0 : 2 * data));
}

// in: dy, x, gamma, mean, rstd; out: dx, dgamma, dbeta.
Prepared prepare_backward(const PrepareArgs& a) {
  const auto& p = a.as<LayerNormParams>();
  const Axes axes = axes_of(a.in[1].shape, p.axis);
  const RowNormView v = view_of(axes, a.in[1].dtype, p.eps);
  const size_t data = aligned(v.rows * v.n, v.dtype), sums = (row_norm_backward_scratch(v) + 63) / 64 * 64;
  auto run = [=](const KernelCall& c) {
    if (axes.inner == 1) {
      row_norm_backward(v, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.out[0], c.out[1], c.out[2], c.scratch);
      return;
    }
    void* dy = offset(c.scratch, sums);
    void* x = offset(dy, data);
    void* dx = offset(x, data);
    swap_inner(c.in[0], dy, v.dtype, axes.outer, axes.n, axes.inner);
    swap_inner(c.in[1], x, v.dtype, axes.outer, axes.n, axes.inner);
    row_norm_backward(v, dy, x, c.in[2], c.in[3], c.in[4], dx, c.out[1], c.out[2], c.scratch);
    if (c.out[0]) swap_inner(dx, c.out[0], v.dtype, axes.outer, axes.inner, axes.n);
  };
  return make_kernel(std::move(run), 2 * row_norm_cost(v), sums + (axes.inner == 1 ? 0 : 3 * data));
}

void infer_backward_shape(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
  c.merge_out(2, c.in[2].shape);
}
void infer_backward_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[1].dtype);
  c.merge_out_dtype(1, c.in[2].dtype);
  c.merge_out_dtype(2, c.in[2].dtype);
}

void gradient(GradientBuilder& g) {
  const int saved = num_visible(*g.params_ref());
  g.give_all({0, 1, 2}, "_backward_LayerNorm",
             {g.head(0), g.input(0), g.input(1), g.output(saved), g.output(saved + 1)}, g.params_ref());
}

void backward_gradient(GradientBuilder& g) {
  const auto& p = g.params<LayerNormParams>();
  const ParamValue axis{static_cast<int64_t>(p.axis)};
  normalization_backward_gradient(g, {.together = {{"axis", axis}, {"keepdims", true}},
                                      .all_but_gamma = {{"axis", axis}, {"exclude", true}},
                                      .keep_gamma = {{"axis", axis}, {"exclude", true}, {"keepdims", true}},
                                      .eps = p.eps});
}

const RegisterOp layer_norm{{
    .name = "LayerNorm",
    .doc = "Normalizes along one axis to mean 0 and variance 1, then scales by gamma and shifts by beta.\n\n"
           "Shapes: data of any shape, gamma and beta (size of the axis,), output as data; with `output_mean_var` also "
           "mean "
           "and deviation, sized 1 along the axis.",
    .params = schema_of<LayerNormParams>(),
    .inputs = {"data", "gamma", "beta"},
    .outputs = Outputs(num_visible).with_residuals(2).named({"output", "mean", "std"}),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_outputs(),
    .kernels = {{"rows", prepare_forward}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_layer_norm{{
    .name = "_backward_LayerNorm",
    .doc = "Gradients of LayerNorm with respect to data, gamma and beta.",
    .params = schema_of<LayerNormParams>(),
    .inputs = {"dy", "data", "gamma", "mean", "rstd"},
    .outputs = 3,
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient(backward_gradient).without_outputs(),
    .kernels = {{"rows", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
