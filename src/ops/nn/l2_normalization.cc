// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
#include "operator/op.h"

namespace mxnet::nn {
namespace {

enum class Mode { instance, channel, spatial };

struct L2NormalizationParams {
  float eps = 1e-10f;
  Mode mode = Mode::instance;
  static void declare(ParamSchemaOf<L2NormalizationParams>& s) {
    s.field("eps", &L2NormalizationParams::eps, "Added to the sum of squares before its root is taken.").range(0, 1e30);
    s.choice("mode", &L2NormalizationParams::mode,
             {{"channel", Mode::channel}, {"instance", Mode::instance}, {"spatial", Mode::spatial}},
             "What has norm 1: a sample, the channels at a position, or a channel of a sample.");
  }
};

// Data as (outer, n, inner), n being what is normalized together.
struct View {
  int64_t outer, n, inner;
};

View view_of(const Shape& s, Mode mode) {
  if (mode == Mode::channel) return {s[0], s[1], s.size(2, s.rank())};
  const int split = mode == Mode::spatial ? 2 : 1;
  return {s.size(0, split), s.size(split, s.rank()), 1};
}

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  const Mode mode = c.as<L2NormalizationParams>().mode;
  const int least = mode == Mode::instance ? 1 : 3;
  if (data.rank() < least) c.bad(str("data must have at least ", least, " dimensions, got shape ", data));
  Shape norm{data[0]};
  if (mode == Mode::spatial) norm.push_back(data[1]);
  for (int i = 2; mode == Mode::channel && i < data.rank(); ++i) norm.push_back(data[i]);
  c.merge_out(1, norm);
}

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  infer::same_dtype(c);
}

// The sum of f(i) for i < n, in several sums that do not wait for each other.
template <typename A, typename F>
A sum_of(int64_t n, F&& f) {
  constexpr int64_t kSums = 16;
  A sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (int64_t k = 0; k < kSums; ++k) sums[k] += f(i + k);
  }
  for (; i < n; ++i) sums[0] += f(i);
  A sum = 0;
  for (const A part : sums) sum += part;
  return sum;
}

// Runs f(offset of the first element, index of the norm) for every group.
template <typename F>
void each_group(const View& v, F&& f) {
  cpu::parallel_for(v.outer * v.inner, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, v.n)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end; ++i) f(i / v.inner * v.n * v.inner + i % v.inner, i);
                    });
}

Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<L2NormalizationParams>();
  const View v = view_of(a.in[0].shape, p.mode);
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    using A = accumulate_t<T>;
    auto run = [v, eps = static_cast<A>(p.eps)](const KernelCall& c) {
      const T* x = static_cast<const T*>(c.in[0]);
      T* y = static_cast<T*>(c.out[0]);
      each_group(v, [&](int64_t at, int64_t group) {
        const int64_t step = v.inner;
        const A sum = sum_of<A>(v.n, [&](int64_t i) {
          const A value = A(x[at + i * step]);
          return value * value;
        });
        const A norm = std::sqrt(sum + eps);
        if (c.out[1]) static_cast<T*>(c.out[1])[group] = static_cast<T>(norm);
        for (int64_t i = 0; i < v.n; ++i) y[at + i * step] = static_cast<T>(A(x[at + i * step]) / norm);
      });
    };
    return make_kernel(std::move(run), 100 + 2 * a.in[0].shape.size());
  });
}

// in: dy, x, norm.
Prepared prepare_backward(const PrepareArgs& a) {
  const View v = view_of(a.in[0].shape, a.as<L2NormalizationParams>().mode);
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    using A = accumulate_t<T>;
    auto run = [v](const KernelCall& c) {
      const T* dy = static_cast<const T*>(c.in[0]);
      const T* x = static_cast<const T*>(c.in[1]);
      T* dx = static_cast<T*>(c.out[0]);
      each_group(v, [&](int64_t at, int64_t group) {
        const A dot = sum_of<A>(v.n, [&](int64_t i) { return A(dy[at + i * v.inner]) * A(x[at + i * v.inner]); });
        const A inverse = A(1) / A(static_cast<const T*>(c.in[2])[group]);
        const A share = dot * inverse * inverse;
        for (int64_t i = 0; i < v.n; ++i) {
          const int64_t j = at + i * v.inner;
          dx[j] = static_cast<T>((A(dy[j]) - A(x[j]) * share) * inverse);
        }
      });
    };
    return make_kernel(std::move(run), 100 + 3 * a.in[0].shape.size());
  });
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }

std::vector<Term> compose(const Composing& c) {
  const auto& p = c.as<L2NormalizationParams>();
  const Term& x = c[0];
  Shape together;
  for (int i = p.mode == Mode::spatial ? 2 : 1; i < x.shape().rank(); ++i) {
    together.push_back(i);
    if (p.mode == Mode::channel) break;
  }
  const Term sum = together.rank() ? square(x).sum(together, true) : square(x);
  return {x * (sum + static_cast<double>(p.eps)).then("rsqrt")};
}
const RegisterComposition composition{"L2Normalization", compose};

const RegisterOp l2_normalization{{
    .name = "L2Normalization",
    .doc = "Divides by the Euclidean norm of a sample ('instance'), of the channels at a position ('channel') or of a "
           "channel "
           "of a sample ('spatial').\n\nShapes: data (n, ...), or (n, c, ...) with at least 3 dimensions for the "
           "latter two; "
           "output the same.",
    .params = schema_of<L2NormalizationParams>(),
    .inputs = {"data"},
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(0, "_backward_L2Normalization", {g.head(0), g.input(0), g.output(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"portable", prepare_forward}},
    .flags = {.inplace = true, .precision = Precision::full},
}};

const RegisterOp backward_l2_normalization{{
    .name = "_backward_L2Normalization",
    .doc = "Gradient of L2Normalization.",
    .params = schema_of<L2NormalizationParams>(),
    .inputs = {"dy", "data", "norm"},
    .infer = {infer_backward_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"portable", prepare_backward}},
    .flags = {.inplace = true, .hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
