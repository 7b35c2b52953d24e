// SPDX-License-Identifier: Apache-2.0
// Softmax with a loss behind it: SoftmaxOutput makes its own gradient, softmax_cross_entropy is a scalar loss.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
#include "operator/op.h"
#include "ops/nn/pick_log_softmax.h"
#include "ops/nn/softmax.h"

namespace mxnet::nn {
namespace {

enum class Normalization { none, batch, valid };

struct SoftmaxOutputParams {
  float grad_scale = 1;
  float ignore_label = -1;
  bool multi_output = false;
  bool use_ignore = false;
  bool preserve_shape = false;
  Normalization normalization = Normalization::none;
  bool out_grad = false;
  float smooth_alpha = 0;

  static void declare(ParamSchemaOf<SoftmaxOutputParams>& s) {
    using P = SoftmaxOutputParams;
    s.field("grad_scale", &P::grad_scale, "Multiplies the gradient.");
    s.field("ignore_label", &P::ignore_label, "The label that has no gradient, with `use_ignore`.");
    s.field("multi_output", &P::multi_output, "Whether axis 1 holds the classes and each position has a label.");
    s.field("use_ignore", &P::use_ignore, "Whether `ignore_label` has no gradient.");
    s.field("preserve_shape", &P::preserve_shape, "Whether the last axis holds the classes.");
    s.choice("normalization", &P::normalization,
             {{"batch", Normalization::batch}, {"null", Normalization::none}, {"valid", Normalization::valid}},
             "Divides the gradient by the number of samples, or of labels other than `ignore_label`.");
    s.field("out_grad", &P::out_grad, "Whether the gradient is multiplied by the head gradient.");
    s.field("smooth_alpha", &P::smooth_alpha, "Part of a label's weight that is spread over the other classes.")
        .range(0, 1);
  }
};

SoftmaxView view_of(const Shape& shape, const SoftmaxOutputParams& p) {
  if (p.multi_output) return SoftmaxView::along(shape, 1);
  if (p.preserve_shape) return SoftmaxView::along(shape, shape.rank() - 1);
  return {shape[0], shape.size(1, shape.rank()), 1, 1, false};
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<SoftmaxOutputParams>();
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 2) c.bad(str("data must have at least 2 dimensions, got shape ", data));
  const Shape& label = c.in[1].shape;
  if (label.known() && data.known()) {
    if (label == data) return;  // probabilities
    if (p.multi_output && label.rank() == 2 && label[0] == data[0] && label[1] == data.size(2, data.rank())) return;
  }
  Shape expected = data;
  expected.erase(p.multi_output ? 1 : data.rank() - 1);
  c.merge_in(1, expected);
}

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

Prepared prepare_forward(const PrepareArgs& a) {
  const SoftmaxView v = view_of(a.in[0].shape, a.as<SoftmaxOutputParams>());
  return make_kernel([v, dtype = a.in[0].dtype](const KernelCall& c) { softmax_forward(v, dtype, c.in[0], c.out[0]); },
                     softmax_cost(v, a.in[0].dtype));
}

// ---- gradient: (y, label[, dy]) -> dx -------------------------------------------------------------------------------

template <typename Label>
int64_t class_of(Label label) {
  return convert<int64_t>(label);
}

template <typename Label>
double label_divisor(const SoftmaxOutputParams& p, const SoftmaxView& v, const Label* label, int64_t count) {
  if (p.normalization == Normalization::valid) {
    int64_t valid = 0;
    for (int64_t i = 0; i < count; ++i) valid += class_of(label[i]) != static_cast<int64_t>(p.ignore_label);
    return static_cast<double>(std::max<int64_t>(valid, 1));
  }
  double divisor = p.normalization == Normalization::batch ? static_cast<double>(v.outer) : 1.0;
  if (p.multi_output) divisor *= static_cast<double>(v.inner);
  return std::max(divisor, 1.0);
}

// One label's classes: probability minus target.
template <typename T>
void class_gradient(const T* y, const T* dy, T* dx, const SoftmaxView& v, const SoftmaxOutputParams& p, int64_t label,
                    double scale) {
  using C = compute_t<T>;
  const bool ignored = p.use_ignore && label == static_cast<int64_t>(p.ignore_label);
  const C hit = static_cast<C>(1.0 - p.smooth_alpha);
  const C miss = v.n > 1 ? static_cast<C>(p.smooth_alpha / static_cast<double>(v.n - 1)) : C(0);
  for (int64_t k = 0; k < v.n; ++k) {
    const int64_t at = k * v.inner;
    C g = ignored ? C(0) : (C(y[at]) - (k == label ? hit : miss)) * static_cast<C>(scale);
    if (dy) g *= C(dy[at]);
    dx[at] = static_cast<T>(g);
  }
}

template <typename T, typename Label>
void label_gradient(const KernelCall& c, const SoftmaxView& v, int64_t labels) {
  const auto& p = c.params->as<SoftmaxOutputParams>();
  const auto* label = static_cast<const Label*>(c.in[1]);
  const double scale = p.grad_scale / label_divisor(p, v, label, labels);
  cpu::parallel_for(v.outer * v.inner, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, v.n)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t at = i / v.inner * v.n * v.inner + i % v.inner;
                        class_gradient(static_cast<const T*>(c.in[0]) + at,
                                       p.out_grad ? static_cast<const T*>(c.in[2]) + at : nullptr,
                                       static_cast<T*>(c.out[0]) + at, v, p, class_of(label[i]), scale);
                      }
                    });
}

template <typename T, typename Label>
void probability_gradient(const KernelCall& c, int64_t n) {
  using C = compute_t<T>;
  const auto& p = c.params->as<SoftmaxOutputParams>();
  const T* y = static_cast<const T*>(c.in[0]);
  const auto* label = static_cast<const Label*>(c.in[1]);
  const T* dy = p.out_grad ? static_cast<const T*>(c.in[2]) : nullptr;
  T* dx = static_cast<T*>(c.out[0]);
  cpu::parallel_for(n, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const C g = (C(y[i]) - static_cast<C>(label[i])) * C(p.grad_scale);
      dx[i] = static_cast<T>(dy ? g * C(dy[i]) : g);
    }
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const SoftmaxView v = view_of(a.in[0].shape, a.as<SoftmaxOutputParams>());
  const int64_t labels = a.in[1].shape.size();
  const bool probabilities = a.in[1].shape == a.in[0].shape;
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) {
    return dispatch(a.in[1].dtype, [&]<typename Label>(TypeTag<Label>) -> Prepared {
      auto run = [v, labels, probabilities](const KernelCall& c) {
        if (probabilities)
          probability_gradient<T, Label>(c, v.size());
        else
          label_gradient<T, Label>(c, v, labels);
      };
      return make_kernel(std::move(run), 100 + 2 * v.size());
    });
  });
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

void gradient(GradientBuilder& g) {
  if (g.params<SoftmaxOutputParams>().out_grad) {
    g.give(0, "_backward_SoftmaxOutput", {g.output(0), g.input(1), g.head(0)}, g.params_ref());
  } else {
    g.give(0, "_backward_SoftmaxOutput", {g.output(0), g.input(1)}, g.params_ref());
  }
}

const RegisterOp softmax_output{{
    .name = "SoftmaxOutput",
    .doc =
        "Softmax whose gradient is that of the cross entropy to label: probability minus target; the head gradient is "
        "ignored unless `out_grad`.\n\n"
        "Shapes: data (n, k) and label (n,); with `preserve_shape` data (..., k) and label (...); with `multi_output` "
        "data "
        "(n, k, ...) and label (n, ...) or (n, product of the rest); or a label of data's shape that holds "
        "probabilities.\n"
        "label has no gradient.",
    .aliases = {"Softmax"},
    .params = schema_of<SoftmaxOutputParams>(),
    .inputs = {"data", "label"},
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_heads(),
    .kernels = {{"simd", prepare_forward}},
    .flags = {.inplace = true, .precision = Precision::full},
}};

const RegisterOp backward_softmax_output{{
    .name = "_backward_SoftmaxOutput",
    .doc = "The gradient that SoftmaxOutput gives to its data.",
    .params = schema_of<SoftmaxOutputParams>(),
    .inputs =
        Inputs({"y", "label", "dy"}, [](const Params& p) { return p.as<SoftmaxOutputParams>().out_grad ? 3 : 2; }),
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"classes", prepare_backward}},
    .flags = {.hidden = true},
}};

// ---- softmax_cross_entropy ------------------------------------------------------------------------------------------

void infer_entropy_shape(InferContext& c) {
  if (c.in[0].shape.rank_known()) {
    if (c.in[0].shape.rank() != 2) c.bad(str("data must have 2 dimensions, got shape ", c.in[0].shape));
    c.merge_in(1, {c.in[0].shape[0]});
  }
  c.merge_out(0, {1});
}

void infer_entropy_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.in[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

Prepared prepare_entropy(const PrepareArgs& a) {
  const int64_t rows = a.in[0].shape[0], n = a.in[0].shape[1];
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) {
    return dispatch(a.in[1].dtype, [&]<typename Label>(TypeTag<Label>) -> Prepared {
      using Norm = std::conditional_t<std::is_same_v<T, double>, double, float>;
      // Scratch: the classes, their log-probabilities (not used: they are rounded) and the rows' norms.
      auto run = [rows, n](const KernelCall& c) {
        auto* index = static_cast<int64_t*>(c.scratch);
        auto* norm = reinterpret_cast<Norm*>(index + rows);
        auto* picked = reinterpret_cast<T*>(norm + rows);
        const auto* label = static_cast<const Label*>(c.in[1]);
        const T* x = static_cast<const T*>(c.in[0]);
        double loss = 0;
        if (n > 0) {
          for (int64_t r = 0; r < rows; ++r) index[r] = std::clamp<int64_t>(class_of(label[r]), 0, n - 1);
          cpu::parallel_for(rows, std::max<int64_t>(1, 16384 / n), [&](int64_t begin, int64_t end) {
            pick_log_softmax_kernels().forward(dtype_of<T>(), x, n, index, picked, norm, begin, end);
          });
          for (int64_t r = 0; r < rows; ++r) {
            if (class_of(label[r]) == index[r]) {
              loss += static_cast<double>(norm[r]) - static_cast<double>(x[r * n + index[r]]);
            }
          }
        }
        *static_cast<T*>(c.out[0]) = static_cast<T>(static_cast<compute_t<T>>(loss));
      };
      return make_kernel(std::move(run), 100 + rows * (20 + n / 2),
                         static_cast<size_t>(rows) * (sizeof(int64_t) + sizeof(Norm) + sizeof(T)));
    });
  });
}

// in: dy (1,), data, label.
Prepared prepare_entropy_backward(const PrepareArgs& a) {
  const SoftmaxView v = SoftmaxView::along(a.in[1].shape, 1);
  return dispatch_float(a.in[1].dtype, [&]<typename T>(TypeTag<T>) {
    return dispatch(a.in[2].dtype, [&]<typename Label>(TypeTag<Label>) -> Prepared {
      auto run = [v](const KernelCall& c) {
        using C = compute_t<T>;
        const C head = C(*static_cast<const T*>(c.in[0]));
        T* dx = static_cast<T*>(c.out[0]);
        softmax_forward(v, dtype_of<T>(), c.in[1], dx);
        cpu::parallel_for(v.outer, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, v.n)),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t r = begin; r < end; ++r) {
                              const int64_t label = class_of(static_cast<const Label*>(c.in[2])[r]);
                              T* row = dx + r * v.n;
                              const bool inside = label >= 0 && label < v.n;
                              const C own = inside ? C(row[label]) : C(0);
                              for (int64_t k = 0; k < v.n; ++k) row[k] = static_cast<T>(C(row[k]) * head);
                              if (inside) row[label] = static_cast<T>((own - C(1)) * head);
                            }
                          });
      };
      return make_kernel(std::move(run), softmax_cost(v, a.in[1].dtype) + v.size());
    });
  });
}

void infer_entropy_backward_shape(InferContext& c) { c.merge_out(0, c.in[1].shape); }
void infer_entropy_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }

// Labels outside of the classes are told by their one_hot, which is zero.
std::vector<Term> compose_entropy(const Composing& c) {
  const Term chosen = c[1].then("one_hot", {{"depth", int64_t{c[0].shape()[1]}}}).cast(c[0].array().dtype());
  return {(-(c[0].then("log_softmax") * chosen)).sum({0, 1}).reshaped({1})};
}
const RegisterComposition entropy_composition{"softmax_cross_entropy", compose_entropy};

const RegisterOp softmax_cross_entropy{{
    .name = "softmax_cross_entropy",
    .doc = "Sum over the rows of the negative logarithm of the probability that softmax gives the label.\n\n"
           "Shapes: data (n, k), label (n,), output (1,). Labels outside [0, k) add nothing. label has no gradient.",
    .inputs = {"data", "label"},
    .infer = {infer_entropy_shape, infer_entropy_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(0, "_backward_softmax_cross_entropy", {g.head(0), g.input(0), g.input(1)});
                }).without_outputs(),
    .kernels = {{"portable", prepare_entropy}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_softmax_cross_entropy{{
    .name = "_backward_softmax_cross_entropy",
    .doc = "Gradient of softmax_cross_entropy with respect to data.",
    .inputs = {"dy", "data", "label"},
    .infer = {infer_entropy_backward_shape, infer_entropy_backward_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"simd", prepare_entropy_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
