// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/softmax.h"

#include <cmath>
#include <limits>
#include <optional>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::nn {

namespace {
int64_t rows_per_chunk(const SoftmaxView& v) {
  return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, v.n * v.inner));
}
}  // namespace

void softmax_forward(const SoftmaxView& view, DType dtype, const void* x, void* y) {
  cpu::parallel_for(view.outer, rows_per_chunk(view),
                    [&](int64_t begin, int64_t end) { softmax_kernels().forward(view, dtype, x, y, begin, end); });
}

void softmax_backward(const SoftmaxView& view, DType dtype, const void* dy, const void* y, void* dx) {
  cpu::parallel_for(view.outer, rows_per_chunk(view), [&](int64_t begin, int64_t end) {
    softmax_kernels().backward(view, dtype, dy, y, dx, begin, end);
  });
}

int64_t softmax_cost(const SoftmaxView& view, DType dtype) {
  return 60 + 10 * view.outer + view.size() * (dtype == DType::f64 ? 8 : 1) * 6 / 10;
}

namespace {

struct SoftmaxParams {
  int axis = -1;
  std::optional<double> temperature;
  std::optional<DType> dtype;
  std::optional<bool> use_length = false;

  static void declare(ParamSchemaOf<SoftmaxParams>& s) {
    s.field("axis", &SoftmaxParams::axis, "The axis along which the results sum to 1.");
    s.field("temperature", &SoftmaxParams::temperature, "Divides the data first; None is 1.");
    s.field("dtype", &SoftmaxParams::dtype, "dtype of the result; None is the data's.")
        .type("{None, 'float16', 'float32', 'float64'},optional, default='None'");
    s.field("use_length", &SoftmaxParams::use_length, "Whether an array of valid lengths is given (softmax only).");
    s.validate([](const SoftmaxParams& p) {
      if (p.temperature && *p.temperature == 0) fail(ErrorKind::value, "temperature must not be 0");
    });
  }
};

enum class Kind { softmax, log, min };

template <Kind kKind>
SoftmaxView view_of(const Shape& shape, const SoftmaxParams& p, const char* name) {
  SoftmaxView v = SoftmaxView::along(shape, normalize_axis(p.axis, shape.rank(), name));
  v.scale = static_cast<float>((kKind == Kind::min ? -1.0 : 1.0) / p.temperature.value_or(1.0));
  v.log = kKind == Kind::log;
  return v;
}

bool has_length(const Params& p) { return p.as<SoftmaxParams>().use_length.value_or(false); }

void infer_shape(InferContext& c) {
  const auto& p = c.as<SoftmaxParams>();
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  const int axis = normalize_axis(p.axis, data.rank(), c.op.name.c_str());
  if (c.in.size() == 2) {
    Shape lengths = data;
    lengths.erase(axis);
    c.merge_in(1, lengths);
  }
}

void infer_dtype(InferContext& c) {
  const auto& p = c.as<SoftmaxParams>();
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  if (c.in.size() == 2 && c.in[1].dtype != DType::unknown && c.in[1].dtype != DType::i32 &&
      c.in[1].dtype != DType::i64) {
    c.bad(str("length must be int32 or int64, got ", name_of(c.in[1].dtype)));
  }
  if (p.dtype) {
    c.merge_out_dtype(0, *p.dtype);
  } else {
    c.merge_out_dtype(0, c.in[0].dtype);
    c.merge_in_dtype(0, c.out[0].dtype);
  }
}

template <Kind kKind>
Prepared prepare_simd(const PrepareArgs& a) {
  if (a.in.size() != 1) return "lengths are given";
  if (a.in[0].dtype != a.out[0].dtype) return "the result has another dtype";
  if (!softmax_has_simd(a.in[0].dtype)) return "no vector code for this dtype";
  const SoftmaxView v = view_of<kKind>(a.in[0].shape, a.as<SoftmaxParams>(), a.op.name.c_str());
  return make_kernel(
      [v, dtype = a.in[0].dtype](const KernelCall& call) { softmax_forward(v, dtype, call.in[0], call.out[0]); },
      softmax_cost(v, a.in[0].dtype));
}

// One row of any dtypes; `length` elements count, the others become 0 (-inf for the logarithm).
template <typename In, typename Out>
void softmax_line(const In* x, Out* y, int64_t n, int64_t length, int64_t step, double scale, bool log) {
  double top = -std::numeric_limits<double>::infinity(), sum = 0;
  for (int64_t i = 0; i < length; ++i) top = std::max(top, scale * static_cast<double>(x[i * step]));
  for (int64_t i = 0; i < length; ++i) sum += std::exp(scale * static_cast<double>(x[i * step]) - top);
  const double log_sum = std::log(sum);
  for (int64_t i = 0; i < n; ++i) {
    double value = log ? -std::numeric_limits<double>::infinity() : 0.0;
    if (i < length) {
      const double v = scale * static_cast<double>(x[i * step]) - top;
      value = log ? v - log_sum : std::exp(v) / sum;
    }
    y[i * step] = static_cast<Out>(static_cast<compute_t<Out>>(value));
  }
}

template <Kind kKind>
Prepared prepare_portable(const PrepareArgs& a) {
  const SoftmaxView v = view_of<kKind>(a.in[0].shape, a.as<SoftmaxParams>(), a.op.name.c_str());
  const DType length_type = a.in.size() == 2 ? a.in[1].dtype : DType::unknown;
  return dispatch_float(a.in[0].dtype, [&]<typename In>(TypeTag<In>) {
    return dispatch_float(a.out[0].dtype, [&]<typename Out>(TypeTag<Out>) -> Prepared {
      auto run = [v, length_type](const KernelCall& call) {
        const auto* x = static_cast<const In*>(call.in[0]);
        auto* y = static_cast<Out*>(call.out[0]);
        cpu::parallel_for(v.outer * v.inner, std::max<int64_t>(1, 2048 / std::max<int64_t>(1, v.n)),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t i = begin; i < end; ++i) {
                              int64_t length = v.n;
                              if (length_type == DType::i32) length = static_cast<const int32_t*>(call.in[1])[i];
                              if (length_type == DType::i64) length = static_cast<const int64_t*>(call.in[1])[i];
                              length = std::min(std::max<int64_t>(length, 0), v.n);
                              const int64_t at = i / v.inner * v.n * v.inner + i % v.inner;
                              softmax_line(x + at, y + at, v.n, length, v.inner, v.scale, v.log);
                            }
                          });
      };
      return make_kernel(std::move(run), 100 + 15 * v.size());
    });
  });
}

// ---- gradients: (dy, y[, like data]) -> dx
// ---------------------------------------------------------------------------

int backward_inputs(const Params& p) { return p.as<SoftmaxParams>().dtype ? 3 : 2; }

void infer_backward_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[c.in.size() == 3 ? 2 : 1].dtype);
  c.merge_in_dtype(0, c.in[1].dtype);
}

template <Kind kKind>
Prepared prepare_backward_simd(const PrepareArgs& a) {
  if (a.in[1].dtype != a.out[0].dtype) return "the result has another dtype";
  if (!softmax_has_simd(a.in[0].dtype)) return "no vector code for this dtype";
  const SoftmaxView v = view_of<kKind>(a.in[0].shape, a.as<SoftmaxParams>(), a.op.name.c_str());
  return make_kernel([v, dtype = a.in[0].dtype](
                         const KernelCall& call) { softmax_backward(v, dtype, call.in[0], call.in[1], call.out[0]); },
                     softmax_cost(v, a.in[0].dtype));
}

template <Kind kKind>
Prepared prepare_backward_portable(const PrepareArgs& a) {
  const SoftmaxView v = view_of<kKind>(a.in[0].shape, a.as<SoftmaxParams>(), a.op.name.c_str());
  return dispatch_float(a.in[0].dtype, [&]<typename In>(TypeTag<In>) {
    return dispatch_float(a.out[0].dtype, [&]<typename Out>(TypeTag<Out>) -> Prepared {
      auto run = [v](const KernelCall& call) {
        const auto* dy = static_cast<const In*>(call.in[0]);
        const auto* y = static_cast<const In*>(call.in[1]);
        auto* dx = static_cast<Out*>(call.out[0]);
        cpu::parallel_for(v.outer * v.inner, std::max<int64_t>(1, 2048 / std::max<int64_t>(1, v.n)),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t i = begin; i < end; ++i) {
                              const int64_t at = i / v.inner * v.n * v.inner + i % v.inner;
                              double sum = 0;
                              for (int64_t j = 0; j < v.n; ++j) {
                                const double head = static_cast<double>(dy[at + j * v.inner]);
                                sum += v.log ? head : head * static_cast<double>(y[at + j * v.inner]);
                              }
                              for (int64_t j = 0; j < v.n; ++j) {
                                const double head = static_cast<double>(dy[at + j * v.inner]);
                                const double result = static_cast<double>(y[at + j * v.inner]);
                                const double value = v.log ? head - std::exp(result) * sum : (head - sum) * result;
                                dx[at + j * v.inner] = static_cast<Out>(static_cast<compute_t<Out>>(value * v.scale));
                              }
                            }
                          });
      };
      return make_kernel(std::move(run), 100 + 15 * v.size());
    });
  });
}

template <Kind kKind>
constexpr const char* kBackward = kKind == Kind::softmax ? "_backward_softmax"
                                  : kKind == Kind::log   ? "_backward_log_softmax"
                                                         : "_backward_softmin";

template <Kind kKind>
void gradient(GradientBuilder& g) {
  if (g.params<SoftmaxParams>().dtype)
    g.give(0, kBackward<kKind>, {g.head(0), g.output(0), g.input(0)}, g.params_ref());
  else
    g.give(0, kBackward<kKind>, {g.head(0), g.output(0)}, g.params_ref());
}

// dx = k (dy - <dy, y>) y; for the logarithm dx = k (dy - e^y <dy, 1>).
template <Kind kKind>
void backward_gradient(GradientBuilder& g) {
  const auto& p = g.params<SoftmaxParams>();
  const double scale = (kKind == Kind::min ? -1.0 : 1.0) / p.temperature.value_or(1.0);
  const Value dy = g.input(0), y = g.input(1);
  Value h = g.head(0);
  if (p.dtype) h = g.call("Cast", {h}, ParamMap{{"dtype", *p.dtype}});
  const ParamMap along{{"axis", static_cast<int64_t>(p.axis)}, {"keepdims", true}};
  const auto times = [&](const Value& a, const Value& b) { return g.call("broadcast_mul", {a, b}); };
  const auto sum = [&](const Value& a) { return g.call("sum", {a}, along); };
  if constexpr (kKind == Kind::log) {
    const Value e = g.call("exp", {y});
    const Value he = times(h, e);
    if (g.needs(0)) {
      const Value of_dy = g.call("broadcast_sub", {h, sum(he)});
      g.give(0, g.call("_mul_scalar", {of_dy}, ParamMap{{"scalar", scale}}));
    }
    if (g.needs(1)) g.give(1, g.call("_mul_scalar", {times(he, sum(dy))}, ParamMap{{"scalar", -scale}}));
  } else {
    const Value hy_sum = sum(times(h, y));
    if (g.needs(0)) {
      const Value of_dy = times(g.call("broadcast_sub", {h, hy_sum}), y);
      g.give(0, g.call("_mul_scalar", {of_dy}, ParamMap{{"scalar", scale}}));
    }
    if (g.needs(1)) {
      const Value first = times(h, g.call("broadcast_sub", {dy, sum(times(dy, y))}));
      const Value of_y = g.call("broadcast_sub", {first, times(dy, hy_sum)});
      g.give(1, g.call("_mul_scalar", {of_y}, ParamMap{{"scalar", scale}}));
    }
  }
}

// Softmax keeps its type: sums are float32 inside, and probabilities need few digits. Logarithms need them.
template <Kind kKind>
OpDef forward_op(const char* name, const char* doc, Inputs inputs) {
  return {.name = name,
          .doc = doc,
          .params = schema_of<SoftmaxParams>(),
          .inputs = std::move(inputs),
          .infer = {infer_shape, infer_dtype},
          .gradient = gradient<kKind>,
          .kernels = {{"simd", prepare_simd<kKind>}, {"portable", prepare_portable<kKind>}},
          .flags = {.inplace = true, .precision = kKind == Kind::log ? Precision::full : Precision::any}};
}

template <Kind kKind>
OpDef backward_op() {
  return {.name = kBackward<kKind>,
          .doc = "Gradient of the operator after which it is named.",
          .params = schema_of<SoftmaxParams>(),
          .inputs = Inputs({"dy", "y", "data"}, backward_inputs),
          .infer = {infer::same_shape, infer_backward_dtype},
          .gradient = Gradient(backward_gradient<kKind>).without_outputs(),
          .kernels = {{"simd", prepare_backward_simd<kKind>}, {"portable", prepare_backward_portable<kKind>}},
          .flags = {.inplace = true, .hidden = true}};
}

const RegisterOp softmax(forward_op<Kind::softmax>(
    "softmax",
    "Exponentials along an axis, divided by their sum.\n\nShapes: data of any shape, output the same; length, with "
    "`use_length`, is an int32 or int64 array of the data's shape without `axis`: elements from there on become 0.",
    Inputs({"data", "length"}, [](const Params& p) { return has_length(p) ? 2 : 1; })));
const RegisterOp log_softmax(forward_op<Kind::log>(
    "log_softmax",
    "Logarithm of softmax along an axis, without overflow.\n\nShapes: data of any shape, output the same.", {"data"}));
const RegisterOp softmin(forward_op<Kind::min>(
    "softmin", "Softmax of the negated data along an axis.\n\nShapes: data of any shape, output the same.", {"data"}));
const RegisterOp backward_softmax(backward_op<Kind::softmax>());
const RegisterOp backward_log_softmax(backward_op<Kind::log>());
const RegisterOp backward_softmin(backward_op<Kind::min>());

}  // namespace
}  // namespace mxnet::nn
