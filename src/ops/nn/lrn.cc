// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::nn {
namespace {

struct LrnParams {
  float alpha = 1e-4f;
  float beta = 0.75f;
  float knorm = 2;
  int64_t nsize = 0;
  static void declare(ParamSchemaOf<LrnParams>& s) {
    s.field("alpha", &LrnParams::alpha, "Weight of the mean of squares.");
    s.field("beta", &LrnParams::beta, "Exponent of the divisor.");
    s.field("knorm", &LrnParams::knorm, "Constant in the divisor.");
    s.field("nsize", &LrnParams::nsize, "Number of neighbouring channels, odd.").required().range(1, 1e9);
    s.validate([](const LrnParams& p) {
      if (p.nsize % 2 == 0) fail(ErrorKind::value, "nsize must be odd, got ", p.nsize);
    });
  }
};

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  if (c.in[0].shape.rank_known() && c.in[0].shape.rank() != 4) {
    c.bad(str("data must have 4 dimensions, got shape ", c.in[0].shape));
  }
  c.merge_out(1, c.in[0].shape);
}

// The sum of f(channel) over the window around each channel, at one position.
template <typename A, typename F, typename G>
void windows(int64_t channels, int64_t size, F&& f, G&& give) {
  const int64_t half = size / 2;
  for (int64_t c = 0; c < channels; ++c) {
    A sum = 0;
    for (int64_t j = std::max<int64_t>(0, c - half); j <= std::min(channels - 1, c + half); ++j) sum += f(j);
    give(c, sum);
  }
}

template <typename F>
void each_position(const Shape& s, F&& f) {
  const int64_t inner = s[2] * s[3];
  cpu::parallel_for(s[0] * inner, std::max<int64_t>(1, 2048 / std::max<int64_t>(1, s[1])),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) f(i / inner * s[1] * inner + i % inner, inner);
                    });
}

Prepared prepare_forward(const PrepareArgs& a) {
  const Shape shape = a.in[0].shape;
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    using A = accumulate_t<T>;
    auto run = [shape](const KernelCall& c) {
      const auto& p = c.params->as<LrnParams>();
      const T* x = static_cast<const T*>(c.in[0]);
      T* y = static_cast<T*>(c.out[0]);
      T* base = static_cast<T*>(c.out[1]);
      const A factor = static_cast<A>(p.alpha / static_cast<float>(p.nsize));
      each_position(shape, [&](int64_t at, int64_t step) {
        windows<A>(
            shape[1], p.nsize, [&](int64_t j) { return A(x[at + j * step]) * A(x[at + j * step]); },
            [&](int64_t ch, A sum) {
              const A divisor = A(p.knorm) + factor * sum;
              if (base) base[at + ch * step] = static_cast<T>(divisor);
              y[at + ch * step] = static_cast<T>(A(x[at + ch * step]) * std::pow(divisor, -A(p.beta)));
            });
      });
    };
    return make_kernel(std::move(run), 100 + shape.size() * (20 + 2 * a.as<LrnParams>().nsize));
  });
}

// in: dy, x, base.
Prepared prepare_backward(const PrepareArgs& a) {
  const Shape shape = a.in[0].shape;
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    using A = accumulate_t<T>;
    auto run = [shape](const KernelCall& c) {
      const auto& p = c.params->as<LrnParams>();
      const T* dy = static_cast<const T*>(c.in[0]);
      const T* x = static_cast<const T*>(c.in[1]);
      const T* base = static_cast<const T*>(c.in[2]);
      T* dx = static_cast<T*>(c.out[0]);
      const A factor = A(2) * A(p.beta) * static_cast<A>(p.alpha / static_cast<float>(p.nsize));
      each_position(shape, [&](int64_t at, int64_t step) {
        windows<A>(
            shape[1], p.nsize,
            [&](int64_t j) {
              const int64_t k = at + j * step;
              return A(dy[k]) * A(x[k]) * std::pow(A(base[k]), -A(p.beta) - A(1));
            },
            [&](int64_t ch, A sum) {
              const int64_t k = at + ch * step;
              dx[k] = static_cast<T>(A(dy[k]) * std::pow(A(base[k]), -A(p.beta)) - factor * A(x[k]) * sum);
            });
      });
    };
    return make_kernel(std::move(run), 100 + shape.size() * 20 * (2 + a.as<LrnParams>().nsize));
  });
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  infer::same_dtype(c);
}

const RegisterOp lrn{{
    .name = "LRN",
    .doc = "Divides by (knorm + alpha * mean of the squares of nsize neighbouring channels) to the power beta.\n\n"
           "Shapes: data (n, c, h, w), output the same.",
    .params = schema_of<LrnParams>(),
    .inputs = {"data"},
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(0, "_backward_LRN", {g.head(0), g.input(0), g.output(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"portable", prepare_forward}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_lrn{{
    .name = "_backward_LRN",
    .doc = "Gradient of LRN.",
    .params = schema_of<LrnParams>(),
    .inputs = {"dy", "data", "base"},
    .infer = {infer_backward_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"portable", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
