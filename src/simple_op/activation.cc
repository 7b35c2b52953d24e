// SPDX-License-Identifier: Apache-2.0
// Activation, LeakyReLU, hard_sigmoid, smooth_l1, clip.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
#include "simple_op/axes.h"
#include "simple_op/elementwise_gradient.h"

namespace mxnet {
namespace {

const Expr kX = Expr::input(0);

// ---- Activation ---------------------------------------------------------------------------------------------------
enum class ActivationType { relu, sigmoid, softrelu, softsign, tanh, log_sigmoid, mish };
constexpr int kActivationTypes = 7;

struct ActivationParams {
  ActivationType act_type = ActivationType::relu;
  static void declare(ParamSchemaOf<ActivationParams>& s) {
    using enum ActivationType;
    s.choice("act_type", &ActivationParams::act_type,
             {{"relu", relu},
              {"sigmoid", sigmoid},
              {"softrelu", softrelu},
              {"softsign", softsign},
              {"tanh", tanh},
              {"log_sigmoid", log_sigmoid},
              {"mish", mish}},
             "The function.")
        .required();
  }
};

Expr activation(int type, int) {
  switch (static_cast<ActivationType>(type)) {
    case ActivationType::relu: return apply(Fn::relu, kX);
    case ActivationType::sigmoid: return apply(Fn::sigmoid, kX);
    case ActivationType::softrelu: return apply(Fn::softrelu, kX);
    case ActivationType::softsign: return apply(Fn::softsign, kX);
    case ActivationType::tanh: return apply(Fn::tanh, kX);
    case ActivationType::log_sigmoid: return -apply(Fn::softrelu, -kX);
    default: return apply(Fn::mish, kX);
  }
}

// ---- LeakyReLU ----------------------------------------------------------------------------------------------------
enum class LeakyType { leaky, elu, selu, gelu, prelu, rrelu };  // prelu: the first that is not a function of data alone

struct LeakyParams {
  LeakyType act_type = LeakyType::leaky;
  float slope = 0.25f;
  float lower_bound = 0.125f;
  float upper_bound = 0.334f;
  static void declare(ParamSchemaOf<LeakyParams>& s) {
    using enum LeakyType;
    s.choice("act_type", &LeakyParams::act_type,
             {{"elu", elu}, {"gelu", gelu}, {"leaky", leaky}, {"prelu", prelu}, {"rrelu", rrelu}, {"selu", selu}},
             "The function below zero.");
    s.field("slope", &LeakyParams::slope, "Factor below zero of leaky and elu.").runtime();
    s.field("lower_bound", &LeakyParams::lower_bound, "Least random slope of rrelu.").runtime();
    s.field("upper_bound", &LeakyParams::upper_bound, "Largest random slope of rrelu.").runtime();
  }
};

Expr leaky_relu(int type, int) {
  const Expr slope = Expr::scalar(0), zero = 0.0;
  const auto with_exponential = [&](const Expr& factor) {
    return apply(Fn::select, apply(Fn::greater, kX, zero), kX, factor * apply(Fn::expm1, kX));
  };
  switch (static_cast<LeakyType>(type)) {
    case LeakyType::elu: return with_exponential(slope);
    case LeakyType::selu: return 1.0507009873554805 * with_exponential(1.6732632423543773);
    case LeakyType::gelu: return apply(Fn::gelu, kX);
    case LeakyType::prelu: return apply(Fn::leaky, kX, Expr::input(1));
    default: return apply(Fn::leaky, kX, slope);
  }
}

// rrelu outside training takes the mean of its bounds as slope.
void read_slope(const Params& params, Scalar* to) {
  const LeakyParams& p = params.as<LeakyParams>();
  *to = p.act_type == LeakyType::rrelu ? 0.5 * (p.lower_bound + p.upper_bound) : static_cast<double>(p.slope);
}

bool has_exponential(const Params& params) {
  const LeakyType type = params.as<LeakyParams>().act_type;
  return type == LeakyType::elu || type == LeakyType::selu;
}

int leaky_inputs(const Params& params) { return params.as<LeakyParams>().act_type == LeakyType::prelu ? 2 : 1; }

// PReLU's slopes lie along axis 1, or there is one for all.
Shape slopes_shape(const Shape& data, const Shape& gamma) {
  if (gamma.rank() != 1 || gamma[0] == 1 || data.rank() < 2) return gamma;
  Shape shape = Shape::of_rank(data.rank(), 1);
  shape[1] = gamma[0];
  return shape;
}
void adjust_slopes(const Params&, std::span<TensorSpec> in) {
  if (in.size() > 1) in[1].shape = slopes_shape(in[0].shape, in[1].shape);
}

void infer_leaky(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (c.in.size() < 2 || !data.rank_known()) return;
  const Shape channels{data.rank() > 1 ? data[1] : 1};
  if (!c.in[1].shape.rank_known()) return c.merge_in(1, channels);
  const Shape& gamma = c.in[1].shape;
  if (gamma.size() == 1 || gamma == data) return;
  if (gamma.rank() != 1 || data.rank() < 2 || (data[1] >= 0 && gamma[0] != data[1])) {
    c.bad(str("gamma must have shape ", channels, " or (1,) for data of shape ", data, ", got ", gamma));
  }
}

// Sums to the shape of the slopes.
void infer_sum_to_slopes(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_in(1, c.out[0].shape);
}

Prepared prepare_random_slopes(const PrepareArgs& args) {
  const LeakyParams& p = args.as<LeakyParams>();
  if (p.act_type != LeakyType::rrelu || !args.training) return "the slopes are not random";
  args.keep_layout();
  const int64_t n = args.in[0].shape.size();
  auto kernel = dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> std::unique_ptr<Kernel> {
    return make_kernel(
        [n](const KernelCall& call) {
          const LeakyParams& p = call.params->as<LeakyParams>();
          const T* x = static_cast<const T*>(call.in[0]);
          T* y = static_cast<T*>(call.out[0]);
          const float low = p.lower_bound, width = p.upper_bound - p.lower_bound;
          cpu::parallel_for((n + 3) / 4, 4096, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
              const random::Words words = call.random.at(static_cast<uint64_t>(i));
              for (int64_t k = 4 * i; k < std::min(n, 4 * i + 4); ++k) {
                const compute_t<T> v = x[k];
                y[k] = T(v > 0 ? v : v * (low + width * random::uniform_float(words.v[k - 4 * i])));
              }
            }
          });
        },
        8 * n);
  });
  kernel->random_draws = static_cast<uint64_t>((n + 3) / 4);
  return kernel;
}

void leaky_gradient(GradientBuilder& g) {
  switch (g.params<LeakyParams>().act_type) {
    case LeakyType::prelu:
      g.give(0, "_prelu_data", {g.head(0), g.input(0), g.input(1)});
      if (g.needs(1)) g.give(1, "_sum_to_slopes", {g.call("_prelu_slope", {g.head(0), g.input(0)}), g.input(1)});
      break;
    case LeakyType::rrelu:  // the quotient of output and input is the slope that was drawn
      g.give(0, "_rrelu_data", {g.head(0), g.input(0), g.output(0)});
      break;
    default: elementwise_gradient_of(g, get_op("_leaky_relu"));
  }
}

std::vector<Term> compose_prelu(const Composing& c) {
  const Term gamma = c[1].reshaped(slopes_shape(c[0].shape(), c[1].shape()));
  return {c[0].then("relu") - gamma * (-c[0]).then("relu")};
}
const RegisterComposition prelu_composition{
    "LeakyReLU", compose_prelu, [](const Params& p, bool) { return p.as<LeakyParams>().act_type == LeakyType::prelu; }};

int leaky_variant(const Params& p) { return static_cast<int>(p.as<LeakyParams>().act_type); }

void register_leaky_relu() {
  const ElementwiseInfo info{.formula = leaky_relu, .variant = leaky_variant, .scalars = 1, .read_scalars = read_slope};
  ElementwiseInfo with_slopes = info;
  with_slopes.adjust = adjust_slopes;
  with_slopes.fusible = [](const Params& p) { return leaky_variant(p) != static_cast<int>(LeakyType::rrelu); };
  register_elementwise({.name = "LeakyReLU",
                        .doc =
                            "The rectifiers that let something through below zero: leaky and prelu a fraction (prelu "
                            "learns it: gamma), rrelu a random one, elu and selu an exponential, gelu by the normal "
                            "distribution.\n\nShapes: data (N, C, ...), gamma (C,) or (1,), output that of data.",
                        .inputs = Inputs({"data", "gamma"}, leaky_inputs),
                        .info = with_slopes,
                        .params = schema_of<LeakyParams>(),
                        .shape = infer_leaky,
                        .gradient = Gradient(leaky_gradient),
                        .kernels = {{"random slopes", prepare_random_slopes}},
                        .training_mode = true,
                        .precision = Precision::widest,
                        .full_precision = has_exponential});
  register_elementwise({.name = "_leaky_relu",
                        .doc = "LeakyReLU of one input.",
                        .inputs = {"data"},
                        .info = info,
                        .params = schema_of<LeakyParams>(),
                        .hidden = true,
                        .variants = static_cast<int>(LeakyType::prelu)});
  const Expr head = Expr::input(0), x = Expr::input(1), third = Expr::input(2);
  const Expr positive = apply(Fn::greater, x, 0.0);
  const auto adjust_third = [](const Params&, std::span<TensorSpec> in) {
    in[2].shape = slopes_shape(in[1].shape, in[2].shape);
  };
  const auto shape_of_head = [](InferContext& c) { c.merge_out(0, c.in[0].shape); };
  const auto add = [&](const char* name, Inputs inputs, Expr formula,
                       void (*adjust)(const Params&, std::span<TensorSpec>), Gradient gradient = Gradient::none()) {
    register_elementwise({.name = name,
                          .doc = "A part of the gradient of LeakyReLU.",
                          .inputs = std::move(inputs),
                          .info = {.formula = [formula](int, int) { return formula; }, .adjust = adjust},
                          .shape = shape_of_head,
                          .gradient = std::move(gradient),
                          .hidden = true});
  };
  add("_prelu_data", {"head", "data", "gamma"}, head * apply(Fn::select, positive, 1.0, third), adjust_third);
  add("_prelu_slope", {"head", "data"}, head * apply(Fn::select, positive, 0.0, x), nullptr);
  add("_rrelu_data", {"head", "data", "output"}, head * apply(Fn::select, apply(Fn::lesser, x, 0.0), third / x, 1.0),
      nullptr, Gradient([](GradientBuilder& g) {  // the slope that was drawn is a constant
        g.give(0, "_rrelu_data", {g.head(0), g.input(1), g.input(2)});
      }));
  RegisterOp({.name = "_sum_to_slopes",
              .doc = "Sums over all axes that the slopes of PReLU do not have.",
              .inputs = {"data", "gamma"},
              .infer = {infer_sum_to_slopes, infer::same_dtype},
              .gradient = Gradient::none(),
              .kernels = {{"reduce",
                           [](const PrepareArgs& args) {
                             const Shape slopes = slopes_shape(args.in[0].shape, args.in[1].shape);
                             return prepare_sum_to(args, slopes);
                           }}},
              .flags = {.hidden = true}});
}

// ---- hard_sigmoid, smooth_l1, clip
// -----------------------------------------------------------------------------------
struct HardSigmoidParams {
  float alpha = 0.2f, beta = 0.5f;
  static void declare(ParamSchemaOf<HardSigmoidParams>& s) {
    s.field("alpha", &HardSigmoidParams::alpha, "Slope.").runtime();
    s.field("beta", &HardSigmoidParams::beta, "Value at zero.").runtime();
  }
};

struct SmoothL1Params {
  float scalar = 1.0f;
  static void declare(ParamSchemaOf<SmoothL1Params>& s) {
    s.field("scalar", &SmoothL1Params::scalar, "Where the parabola ends: at 1 / scalar^2.").runtime();
  }
};

struct ClipParams {
  float a_min = 0, a_max = 0;
  static void declare(ParamSchemaOf<ClipParams>& s) {
    s.field("a_min", &ClipParams::a_min, "Smaller elements become this.").runtime().required();
    s.field("a_max", &ClipParams::a_max, "Larger elements become this.").runtime().required();
  }
};

Expr smooth_l1() {
  const Expr s2 = apply(Fn::square, Expr::scalar(0)), size = apply(Fn::abs, kX);
  const Expr inverse = apply(Fn::reciprocal, s2);
  return apply(Fn::select, apply(Fn::lesser, size, inverse), (0.5 * s2) * apply(Fn::square, kX), size - 0.5 * inverse);
}

void register_clips() {
  register_elementwise({.name = "hard_sigmoid",
                        .doc = "max(0, min(1, alpha x + beta)).\n\nShapes: data (any), output the same.",
                        .inputs = {"data"},
                        .info = {.formula =
                                     [](int, int) {
                                       const Expr line = Expr::scalar(0) * kX + Expr::scalar(1);
                                       return apply(Fn::minimum, 1.0, apply(Fn::maximum, 0.0, line));
                                     },
                                 .scalars = 2,
                                 .read_scalars =
                                     [](const Params& params, Scalar* to) {
                                       const auto& p = params.as<HardSigmoidParams>();
                                       to[0] = static_cast<double>(p.alpha), to[1] = static_cast<double>(p.beta);
                                     }},
                        .params = schema_of<HardSigmoidParams>()});
  register_elementwise(
      {.name = "smooth_l1",
       .doc = "A parabola near zero, the distance from zero minus a constant elsewhere.\n\nShapes: data "
              "(any), output the same.",
       .inputs = {"data"},
       .info = {.formula = [](int, int) { return smooth_l1(); },
                .scalars = 1,
                .read_scalars = [](const Params& params,
                                   Scalar* to) { *to = static_cast<double>(params.as<SmoothL1Params>().scalar); }},
       .params = schema_of<SmoothL1Params>(),
       .precision = Precision::full});
  register_elementwise(
      {.name = "clip",
       .doc = "Elements limited to [a_min, a_max]; NaN stays.\n\nShapes: data (any), output the same.",
       .inputs = {"data"},
       .info = {.formula = [](int, int) { return apply(Fn::clip, kX, Expr::scalar(0), Expr::scalar(1)); },
                .scalars = 2,
                .read_scalars =
                    [](const Params& params, Scalar* to) {
                      const auto& p = params.as<ClipParams>();
                      to[0] = static_cast<double>(p.a_min), to[1] = static_cast<double>(p.a_max);
                    }},
       .params = schema_of<ClipParams>()});
}

const bool registered = [] {
  register_elementwise(
      {.name = "Activation",
       .doc = "relu, sigmoid, softrelu, softsign, tanh, log_sigmoid or mish of each element.\n\nShapes: "
              "data (any), output the same.",
       .inputs = {"data"},
       .info = {.formula = activation,
                .variant = [](const Params& p) { return static_cast<int>(p.as<ActivationParams>().act_type); }},
       .params = schema_of<ActivationParams>(),
       .variants = kActivationTypes,
       .full_precision = [](const Params& p) {
         return p.as<ActivationParams>().act_type == ActivationType::softrelu;
       }});
  register_leaky_relu();
  register_clips();
  return true;
}();

}  // namespace
}  // namespace mxnet
