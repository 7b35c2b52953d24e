// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/lrn.h"

#include <algorithm>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
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

LrnView view_of(const Shape& s, const LrnParams& p) {
  return {s[0], s[1], s[2] * s[3], std::min(p.nsize / 2, s[1]), p.knorm, p.alpha / static_cast<float>(p.nsize), p.beta};
}

template <typename F>
void over_units(const LrnView& v, F&& f) {
  const int64_t each = std::max<int64_t>(1, v.channels * LrnView::kPositions);
  cpu::parallel_for(v.units(), std::max<int64_t>(1, 16384 / each), f);
}

int64_t cost(const LrnView& v) { return 100 + v.batch * v.channels * v.inner * (2 + v.half / 4); }

Prepared prepare_forward(const PrepareArgs& a) {
  const LrnView v = view_of(a.in[0].shape, a.as<LrnParams>());
  return make_kernel(
      [v, dtype = a.in[0].dtype](const KernelCall& c) {
        over_units(v, [&](int64_t begin, int64_t end) {
          lrn_kernels().forward(v, dtype, c.in[0], c.out[0], c.out[1], begin, end);
        });
      },
      cost(v));
}

// in: dy, x, base.
Prepared prepare_backward(const PrepareArgs& a) {
  const LrnView v = view_of(a.in[0].shape, a.as<LrnParams>());
  return make_kernel(
      [v, dtype = a.in[0].dtype](const KernelCall& c) {
        over_units(v, [&](int64_t begin, int64_t end) {
          lrn_kernels().backward(v, dtype, c.in[0], c.in[1], c.in[2], c.out[0], begin, end);
        });
      },
      2 * cost(v));
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  infer::same_dtype(c);
}

// Sums over neighbouring channels are pooling of an image whose rows are the channels.
std::vector<Term> compose(const Composing& c) {
  const auto& p = c.as<LrnParams>();
  const Term& x = c[0];
  const Shape& s = x.shape();
  const Term sums =
      square(x)
          .reshaped({s[0], 1, s[1], s[2] * s[3]})
          .then("Pooling",
                {{"kernel", tuple_of({p.nsize, 1})}, {"pad", tuple_of({p.nsize / 2, 0})}, {"pool_type", "sum"}})
          .reshaped(s);
  const double factor = static_cast<double>(p.alpha / static_cast<float>(p.nsize));
  return {x * (static_cast<double>(p.knorm) + factor * sums).then("_power_scalar", -static_cast<double>(p.beta))};
}
const RegisterComposition composition{"LRN", compose};

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
    .kernels = {{"simd", prepare_forward}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_lrn{{
    .name = "_backward_LRN",
    .doc = "Gradient of LRN.",
    .params = schema_of<LrnParams>(),
    .inputs = {"dy", "data", "base"},
    .infer = {infer_backward_shape, infer::same_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"simd", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
