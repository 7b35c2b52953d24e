// SPDX-License-Identifier: Apache-2.0
// Elementwise operators whose gradient is a choice rather than a derivative, and other small ones.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

const Expr kX = Expr::input(0);

// ---- straight-through estimators, gradient multiplier --------------------------------------------------------------
void pass_head(GradientBuilder& g) { g.give(0, g.head(0)); }

void multiply_head(GradientBuilder& g) { g.give(0, "_mul_scalar", {g.head(0)}, g.params_ref()); }

void add_estimator(const char* name, Fn fn, const char* doc) {
  register_elementwise({.name = name,
                        .doc = str(doc,
                                   " The gradient passes as if it were the identity.\n\nShapes: data (any), output "
                                   "the same."),
                        .inputs = {"data"},
                        .info = {.formula = [fn](int, int) { return apply(fn, kX); }},
                        .gradient = Gradient(pass_head).only_heads()});
}

// ---- quadratic ----------------------------------------------------------------------------------------------------
struct QuadraticParams {
  float a = 0, b = 0, c = 0;
  static void declare(ParamSchemaOf<QuadraticParams>& s) {
    s.field("a", &QuadraticParams::a, "Factor of the square.").runtime();
    s.field("b", &QuadraticParams::b, "Factor of the argument.").runtime();
    s.field("c", &QuadraticParams::c, "Constant.").runtime();
  }
};

void read_quadratic(const Params& params, Scalar* to) {
  const auto& p = params.as<QuadraticParams>();
  to[0] = static_cast<double>(p.a), to[1] = static_cast<double>(p.b), to[2] = static_cast<double>(p.c);
}

// ---- MakeLoss -----------------------------------------------------------------------------------------------------
enum class LossNormalization { null, batch, valid };
struct MakeLossParams {
  float grad_scale = 1.0f, valid_thresh = 0.0f;
  LossNormalization normalization = LossNormalization::null;
  static void declare(ParamSchemaOf<MakeLossParams>& s) {
    using enum LossNormalization;
    s.field("grad_scale", &MakeLossParams::grad_scale, "The gradient of each element.");
    s.field("valid_thresh", &MakeLossParams::valid_thresh, "Elements above it are valid.");
    s.choice("normalization", &MakeLossParams::normalization, {{"batch", batch}, {"null", null}, {"valid", valid}},
             "Divides the gradient by the number of rows, by the number of valid elements, or not.");
  }
};

Value scaled(GradientBuilder& g, const char* op, const Value& v, double scalar) {
  return g.call(op, {v}, make_params<ScalarParams>({.scalar = scalar}));
}

void make_loss_gradient(GradientBuilder& g) {
  const auto& p = g.params<MakeLossParams>();
  const Value loss = g.output(0), ones = g.call("ones_like", {loss});
  if (p.normalization == LossNormalization::null) return g.give(0, scaled(g, "_mul_scalar", ones, p.grad_scale));
  // The number of rows: the sum of a column of ones.
  const Value counted =
      p.normalization == LossNormalization::valid
          ? scaled(g, "_maximum_scalar", g.call("sum", {scaled(g, "_greater_scalar", loss, p.valid_thresh)}), 1)
          : g.call("sum", {g.call("slice_axis", {g.call("Flatten", {ones})},
                                  ParamMap{{"axis", int64_t{1}}, {"begin", int64_t{0}}, {"end", int64_t{1}}})});
  g.give(0, scaled(g, "_mul_scalar", g.call("_spread_like", {g.call("reciprocal", {counted}), loss}), p.grad_scale));
}

// ---- amp_multicast --------------------------------------------------------------------------------------------------
struct MulticastParams {
  int num_outputs = 1;
  bool cast_narrow = false;
  static void declare(ParamSchemaOf<MulticastParams>& s) {
    s.field("num_outputs", &MulticastParams::num_outputs, "How many arrays.").required().range(1, 1 << 20);
    s.field("cast_narrow", &MulticastParams::cast_narrow,
            "Whether to cast to the narrowest dtype rather than the widest.");
  }
};

void infer_each_shape(InferContext& c) {
  for (size_t i = 0; i < c.in.size(); ++i) {
    c.merge_out(static_cast<int>(i), c.in[i].shape);
    c.merge_in(static_cast<int>(i), c.out[i].shape);
  }
}

void infer_common_dtype(InferContext& c) {
  if (c.in.size() != c.out.size()) c.bad(str("num_outputs is ", c.out.size(), " with ", c.in.size(), " arrays"));
  DType common = DType::unknown;
  const bool narrow = c.as<MulticastParams>().cast_narrow;
  for (const TensorSpec& t : c.in) {
    if (t.dtype == DType::unknown) return;
    const bool better =
        common == DType::unknown || (narrow ? size_of(t.dtype) < size_of(common) : size_of(t.dtype) > size_of(common));
    if (is_float(t.dtype) && better) common = t.dtype;
  }
  for (size_t i = 0; i < c.out.size(); ++i) {
    c.merge_out_dtype(static_cast<int>(i), is_float(c.in[i].dtype) ? common : c.in[i].dtype);
  }
}

Prepared prepare_multicast(const PrepareArgs& args) {
  std::vector<std::unique_ptr<ProgramKernel>> casts;
  int64_t cost = 0;
  for (size_t i = 0; i < args.in.size(); ++i) {
    ProgramBuilder builder;
    builder.output(builder.input(args.in[i].dtype), args.out[i].dtype);
    TensorSpec in = args.in[i];
    in.layout = Layout::plain;
    const Req req = args.req[i];
    casts.push_back(ProgramKernel::prepare(builder.take(), {&in, 1}, {&args.out[i], 1}, {&req, 1}));
    cost += casts.back()->cost_ns();
  }
  auto shared = std::make_shared<const std::vector<std::unique_ptr<ProgramKernel>>>(std::move(casts));
  auto kernel = make_kernel(
      [shared](const KernelCall& call) {
        for (size_t i = 0; i < shared->size(); ++i) (*shared)[i]->run(call.in + i, call.out + i, nullptr);
      },
      cost);
  kernel->accepts_add = true;
  return kernel;
}

void multicast_gradient(GradientBuilder& g) {
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (g.has_head(i)) g.give(i, "_cast_like", {g.head(i), g.input(i)});
  }
}

const bool registered = [] {
  add_estimator("_contrib_round_ste", Fn::round, "The nearest whole number.");
  add_estimator("_contrib_sign_ste", Fn::sign, "-1, 0 or 1 by the sign.");
  register_elementwise({.name = "_contrib_gradientmultiplier",
                        .doc = "The same values; the gradient is multiplied by a scalar.\n\nShapes: data (any), output "
                               "the same.",
                        .inputs = {"data"},
                        .info = {.formula = [](int, int) { return kX; }},
                        .params = schema_of<ScalarParams>(),
                        .gradient = Gradient(multiply_head).only_heads()});
  register_elementwise({.name = "_contrib_quadratic",
                        .doc = "a x^2 + b x + c.\n\nShapes: data (any), output the same.",
                        .inputs = {"data"},
                        .info = {.formula =
                                     [](int, int) {
                                       return Expr::scalar(0) * apply(Fn::square, kX) + Expr::scalar(1) * kX +
                                              Expr::scalar(2);
                                     },
                                 .scalars = 3,
                                 .read_scalars = read_quadratic},
                        .params = schema_of<QuadraticParams>()});
  register_elementwise({.name = "_identity_with_attr_like_rhs",
                        .doc = "The first array; the second only gives its shape to inference.",
                        .inputs = {"lhs", "rhs"},
                        .info = {.formula = [](int, int) { return kX; }},
                        .dtype = infer::float_like_input,
                        .gradient = Gradient(pass_head).only_heads()});
  register_elementwise({.name = "MakeLoss",
                        .doc =
                            "Marks its input as a loss: the same values, and a gradient of `grad_scale` whatever comes "
                            "back.\n\nShapes: data (any), output the same.",
                        .inputs = {"data"},
                        .info = {.formula = [](int, int) { return kX; }},
                        .params = schema_of<MakeLossParams>(),
                        .gradient = Gradient(make_loss_gradient).without_heads(),
                        .precision = Precision::full});
  RegisterOp({.name = "amp_multicast",
              .doc =
                  "Casts floating point arrays to the widest dtype among them; others pass unchanged.\n\nShapes: each "
                  "output that of its input.",
              .params = schema_of<MulticastParams>(),
              .inputs = Inputs::variadic("num_outputs", "data"),
              .outputs = Outputs([](const Params& p) { return p.as<MulticastParams>().num_outputs; }),
              .infer = {infer_each_shape, infer_common_dtype},
              .gradient = Gradient(multicast_gradient).without_outputs(),
              .kernels = {{"program", prepare_multicast}}});
  return true;
}();

}  // namespace
}  // namespace mxnet
