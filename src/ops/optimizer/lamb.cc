// SPDX-License-Identifier: Apache-2.0
// LAMB (You et al., 2020): Adam's direction, scaled by the ratio of the norms of weight and direction.
#include <algorithm>
#include <cmath>

#include "backend/cpu/halves.h"
#include "ops/optimizer/params.h"
#include "ops/optimizer/sums.h"

namespace mxnet::ops {
namespace {

struct LambParams {
  double beta1 = kBeta1, beta2 = kBeta2, epsilon = 1e-6;
  int64_t t = 1;
  bool bias_correction = true;
  double wd = 0, rescale_grad = 1, clip_gradient = -1;
  static void declare(ParamSchemaOf<LambParams>& s) {
    declare_betas(s);
    s.field("t", &LambParams::t, "Number of this update, from 1.").required().runtime().type("int");
    s.field("bias_correction", &LambParams::bias_correction, "Correct the means for their start at zero.").runtime();
    number(s, "wd", &LambParams::wd, "Weight decay.").required();
    declare_gradient_numbers(s);
  }
};

// For the direction of step number t.
template <class P>
UpdateScalars direction_scalars(const P& p, double wd, double t) {
  UpdateScalars s{
      .wd = wd, .rescale = p.rescale_grad, .clip = p.clip_gradient, .a = p.beta1, .b = p.beta2, .c = p.epsilon};
  s.d = p.bias_correction ? 1 - std::pow(p.beta1, t) : 1;
  s.e = p.bias_correction ? 1 - std::pow(p.beta2, t) : 1;
  return s;
}

UpdateScalars lamb_scalars(const Params& params) {
  const auto& p = params.as<LambParams>();
  return direction_scalars(p, p.wd, static_cast<double>(p.t));
}

const RegisterOp lamb1{
    {.name = "lamb_update_phase1",
     .doc = "The direction of a LAMB step (You et al., 2020), before it is scaled. mean and var are written.",
     .params = schema_of<LambParams>(),
     .inputs = Inputs{"weight", "grad", "mean", "var"}.mutates({"mean", "var"}),
     .infer = {infer::same_shape, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd",
                  [](const PrepareArgs& args) {
                    return prepare_update(args, Rule::lamb_direction, 2, false, lamb_scalars);
                  }}},
     .flags = kUpdateFlags}};

struct LambStepParams {
  double lr = 0, lower_bound = -1, upper_bound = -1;
  static void declare(ParamSchemaOf<LambStepParams>& s) {
    number(s, "lr", &LambStepParams::lr, "Learning rate.").required();
    number(s, "lower_bound", &LambStepParams::lower_bound, "Least norm of the weight; negative: none.");
    number(s, "upper_bound", &LambStepParams::upper_bound, "Largest norm of the weight; negative: none.");
  }
};

// lr times the trust ratio.
template <class P>
double step_rate(const P& p, double lr, double weight_norm, double direction_norm) {
  if (p.lower_bound >= 0) weight_norm = std::max(weight_norm, p.lower_bound);
  if (p.upper_bound >= 0) weight_norm = std::min(weight_norm, p.upper_bound);
  return weight_norm == 0 || direction_norm == 0 ? lr : lr * weight_norm / direction_norm;
}

// lr times the trust ratio, from inputs r1 and r2.
double step_rate_of(const KernelCall& c, DType norms) {
  const auto& p = c.params->as<LambStepParams>();
  return dispatch_float(norms, [&]<typename T>(TypeTag<T>) {
    return step_rate(p, p.lr, static_cast<double>(*static_cast<const T*>(c.in[2])),
                     static_cast<double>(*static_cast<const T*>(c.in[3])));
  });
}

void infer_lamb_step(InferContext& c) {
  c.merge_in(1, c.in[0].shape);
  c.merge_in(0, c.in[1].shape);
  c.merge_out(0, c.in[0].shape);
  for (int i : {2, 3}) {
    const Shape& norm = c.in[i].shape;
    if (norm.known() && norm.size() != 1) c.bad(str(c.name_in(i), " must hold one number, got shape ", norm));
  }
}

Prepared prepare_lamb_step(const PrepareArgs& args) {
  const UpdateFn update = find_update(Rule::lamb_step, args.in[0].dtype, false).all;
  if (!update) return str("weights must be floating point, got ", name_of(args.in[0].dtype));
  const int64_t n = args.in[0].shape.size();
  UpdatePieces pieces({n});
  return make_kernel(
      [=, pieces = std::move(pieces), type = args.in[2].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        const UpdateScalars numbers{.lr = step_rate_of(c, type)};
        const UpdateArrays arrays{.out = c.out[0], .weight = c.in[0], .grad = c.in[1]};
        pieces.run([&](int, int64_t begin, int64_t end) { update(arrays, numbers, begin, end); });
      },
      30 + n * size_of(args.in[0].dtype) / 3);
}

const RegisterOp lamb2{
    {.name = "lamb_update_phase2",
     .doc = "weight - lr * r1 / r2 * g: a LAMB step along direction g, with the norms r1 of the weight and r2 of g.",
     .params = schema_of<LambStepParams>(),
     .inputs = {"weight", "g", "r1", "r2"},
     .infer = {infer_lamb_step, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare_lamb_step}},
     .flags = kUpdateFlags}};

// ---- with a float32 weight -----------------------------------------------------------------------------------------

// f(begin, end) over the team in pieces whose gradient fits the first cache as float32.
constexpr int64_t kRun = 1024;

// The direction for elements [begin, end): a half precision gradient, all else in float32.
void mixed_direction(const UpdateArrays& a, DType grad_type, const UpdateScalars& numbers, int64_t begin, int64_t end) {
  const UpdateFn update = find_update(Rule::lamb_direction, DType::f32, false).all;
  alignas(64) float grad[kRun];
  for (int64_t at = begin; at < end; at += kRun) {
    const int64_t n = std::min(kRun, end - at);
    if (grad_type == DType::f32)
      std::copy_n(static_cast<const float*>(a.grad) + at, n, grad);
    else
      cpu::widen(grad_type, static_cast<const char*>(a.grad) + at * size_of(grad_type), grad, n);
    const auto moved = [at](void* p) -> void* { return static_cast<float*>(p) + at; };
    const UpdateArrays run{.out = moved(a.out),
                           .weight = static_cast<const float*>(a.weight) + at,
                           .grad = grad,
                           .state = {moved(a.state[0]), moved(a.state[1])}};
    update(run, numbers, 0, n);
  }
}

// The step of a float32 weight, copied to the half precision one.
void mixed_step(float* master, const float* direction, void* out, DType out_type, double rate, int64_t begin,
                int64_t end) {
  const UpdateFn update = find_update(Rule::lamb_step, DType::f32, false).all;
  update({.out = master, .weight = master, .grad = direction}, {.lr = rate}, begin, end);
  if (out_type == DType::f32)
    std::copy(master + begin, master + end, static_cast<float*>(out) + begin);
  else
    cpu::narrow(out_type, master + begin, static_cast<char*>(out) + begin * size_of(out_type), end - begin);
}

void infer_mp_dtype(InferContext& c, DType out, std::initializer_list<int> full) {
  for (const int i : full) c.merge_in_dtype(i, DType::f32);
  c.merge_out_dtype(0, out == DType::unknown ? c.in[0].dtype : out);
  need_float(c);
}

void infer_mp1_dtype(InferContext& c) {
  c.merge_in_dtype(1, c.in[0].dtype);
  c.merge_in_dtype(0, c.in[1].dtype);
  infer_mp_dtype(c, DType::f32, {2, 3, 4});
}
void infer_mp2_dtype(InferContext& c) { infer_mp_dtype(c, DType::unknown, {1, 2, 3, 4}); }

void infer_mp2_shape(InferContext& c) {
  infer_lamb_step(c);
  c.merge_in(4, c.in[0].shape);
}

Prepared prepare_mp1(const PrepareArgs& args) {
  const int64_t n = args.in[0].shape.size();
  UpdatePieces pieces({n});
  return make_kernel(
      [=, pieces = std::move(pieces), type = args.in[1].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        const UpdateScalars numbers = lamb_scalars(*c.params);
        const UpdateArrays arrays{.out = c.out[0], .weight = c.in[4], .grad = c.in[1], .state = {c.in[2], c.in[3]}};
        pieces.run([&](int, int64_t begin, int64_t end) { mixed_direction(arrays, type, numbers, begin, end); });
      },
      30 + n * 3);
}

Prepared prepare_mp2(const PrepareArgs& args) {
  const int64_t n = args.in[0].shape.size();
  UpdatePieces pieces({n});
  return make_kernel(
      [=, pieces = std::move(pieces), type = args.out[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        const double rate = step_rate_of(c, DType::f32);
        pieces.run([&](int, int64_t begin, int64_t end) {
          mixed_step(static_cast<float*>(c.in[4]), static_cast<const float*>(c.in[1]), c.out[0], type, rate, begin,
                     end);
        });
      },
      30 + n * 2);
}

const RegisterOp mp_lamb1{
    {.name = "mp_lamb_update_phase1",
     .doc =
         "lamb_update_phase1 of a half precision weight by its float32 copy weight32. The direction is float32; mean "
         "and var are written.",
     .params = schema_of<LambParams>(),
     .inputs = Inputs{"weight", "grad", "mean", "var", "weight32"}.mutates({"mean", "var"}),
     .infer = {infer::same_shape, infer_mp1_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare_mp1}}}};

const RegisterOp mp_lamb2{
    {.name = "mp_lamb_update_phase2",
     .doc = "lamb_update_phase2 of a half precision weight by its float32 copy weight32, which is written.",
     .params = schema_of<LambStepParams>(),
     .inputs = Inputs{"weight", "g", "r1", "r2", "weight32"}.mutates({"weight32"}),
     .infer = {infer_mp2_shape, infer_mp2_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare_mp2}},
     .flags = kUpdateFlags}};

// ---- several weights in one call ------------------------------------------------------------------------------------

struct MultiLambParams {
  FloatTuple learning_rates, wds;
  double beta1 = kBeta1, beta2 = kBeta2, epsilon = 1e-6, rescale_grad = 1, lower_bound = -1, upper_bound = -1,
         clip_gradient = -1;
  bool bias_correction = true;
  Shape step_count;
  int64_t num_tensors = 1;
  static void declare(ParamSchemaOf<MultiLambParams>& s) {
    using P = MultiLambParams;
    const char* floats = "tuple of <float>";
    s.field("learning_rates", &P::learning_rates, "Learning rates.").required().runtime().type(floats);
    declare_betas(s);
    s.field("wds", &P::wds, "Weight decays.").required().runtime().type(floats);
    declare_gradient_numbers(s);
    number(s, "lower_bound", &P::lower_bound, "Least norm of a weight; negative: none.");
    number(s, "upper_bound", &P::upper_bound, "Largest norm of a weight; negative: none.");
    s.field("bias_correction", &P::bias_correction, "Correct the means for their start at zero.").runtime();
    s.field("step_count", &P::step_count, "Number of this update of each weight, from 1.").required().runtime();
    s.field("num_tensors", &P::num_tensors, "Number of weights.").range(1, 1 << 20);
    s.validate([](const P& p) {
      const auto n = static_cast<size_t>(p.num_tensors);
      if (p.learning_rates.size() != n || p.wds.size() != n || p.step_count.rank() != p.num_tensors) {
        fail(ErrorKind::value, "learning_rates, wds and step_count must have num_tensors = ", n, " entries, got ",
             p.learning_rates.size(), ", ", p.wds.size(), " and ", p.step_count.rank());
      }
    });
  }
};

// Inputs: for each weight (weight, grad, mean, var[, weight32]). Directions lie in scratch memory, one after the other.
template <bool Master>
struct MultiLamb {
  static constexpr int kStride = 4 + Master;

  static int count(const Params& params) { return static_cast<int>(params.as<MultiLambParams>().num_tensors); }
  static WeightGroups groups(const Params& params) { return {count(params), kStride, Master, "num_tensors"}; }
  static bool mutates(const Params& params, int i) { return groups(params).mutates(i); }
  static void infer_shape(InferContext& c) { groups(c.params).infer_shape(c); }
  static void infer_dtype(InferContext& c) {
    groups(c.params).infer_dtype(c);
    need_float(c);
  }

  struct Plan {
    std::vector<DType> types;
    std::vector<int64_t> sizes;
    std::vector<size_t> at;  // of the directions
    size_t bytes = 0;
  };

  static void directions(const Plan& plan, const UpdatePieces& pieces, const KernelCall& c) {
    const auto& p = c.params->as<MultiLambParams>();
    pieces.run([&](int w, int64_t begin, int64_t end) {
      void* const* in = c.in + w * kStride;
      const UpdateScalars numbers =
          direction_scalars(p, p.wds[static_cast<size_t>(w)], static_cast<double>(p.step_count[w]));
      const UpdateArrays arrays{.out = static_cast<char*>(c.scratch) + plan.at[w],
                                .weight = Master ? in[4] : in[0],
                                .grad = in[1],
                                .state = {in[2], in[3]}};
      if (Master)
        mixed_direction(arrays, plan.types[w], numbers, begin, end);
      else
        find_update(Rule::lamb_direction, plan.types[w], false).all(arrays, numbers, begin, end);
    });
  }

  static double rate(const Plan& plan, const KernelCall& c, int w) {
    const auto& p = c.params->as<MultiLambParams>();
    const void* weight = c.in[w * kStride + (Master ? 4 : 0)];
    const void* direction = static_cast<char*>(c.scratch) + plan.at[w];
    return dispatch_float(Master ? DType::f32 : plan.types[w], [&]<typename T>(TypeTag<T>) {
      const double r1 = std::sqrt(sum_of_squares(static_cast<const T*>(weight), plan.sizes[w]));
      const double r2 = std::sqrt(sum_of_squares(static_cast<const T*>(direction), plan.sizes[w]));
      return step_rate(p, p.learning_rates[static_cast<size_t>(w)], r1, r2);
    });
  }

  static Prepared prepare(const PrepareArgs& args) {
    Plan plan;
    int64_t total = 0;
    for (int w = 0; w < count(args.params); ++w) {
      const TensorSpec& weight = args.in[w * kStride];
      plan.types.push_back(weight.dtype);
      plan.sizes.push_back(weight.shape.size());
      plan.at.push_back(plan.bytes);
      const int item = Master ? 4 : size_of(weight.dtype);
      plan.bytes += (static_cast<size_t>(plan.sizes.back() * item) + 63) / 64 * 64;
      total += plan.sizes.back();
    }
    const size_t scratch = plan.bytes;
    UpdatePieces pieces(plan.sizes);
    return make_kernel(
        [plan = std::move(plan), pieces = std::move(pieces)](const KernelCall& c) {
          directions(plan, pieces, c);
          std::vector<double> rates(plan.sizes.size());
          for (size_t w = 0; w < rates.size(); ++w) rates[w] = rate(plan, c, static_cast<int>(w));
          pieces.run([&](int w, int64_t begin, int64_t end) {
            if (!c.out[w]) return;
            void* const* in = c.in + w * kStride;
            const void* direction = static_cast<char*>(c.scratch) + plan.at[w];
            if (Master) {
              mixed_step(static_cast<float*>(in[4]), static_cast<const float*>(direction), c.out[w], plan.types[w],
                         rates[w], begin, end);
            } else {
              find_update(Rule::lamb_step, plan.types[w], false)
                  .all({.out = c.out[w], .weight = in[0], .grad = direction}, {.lr = rates[w]}, begin, end);
            }
          });
        },
        30 + total * 5, scratch);
  }

  static OpDef op(const char* name, const char* doc) {
    return {.name = name,
            .doc = doc,
            .params = schema_of<MultiLambParams>(),
            .inputs = Inputs::variadic("num_tensors", "data").mutates(mutates),
            .outputs = Outputs(count),
            .infer = {infer_shape, infer_dtype},
            .gradient = Gradient::none(),
            .kernels = {{"simd", prepare}},
            .flags = {.inplace_list = true}};
  }
};

const RegisterOp multi_lamb{MultiLamb<false>::op(
    "_multi_lamb_update",
    "LAMB (You et al., 2020) for several weights. Inputs: weight, grad, mean, var of each; the last two are written.")};
const RegisterOp multi_mp_lamb{MultiLamb<true>::op("_multi_mp_lamb_update",
                                                   "_multi_lamb_update of half precision weights by their float32 "
                                                   "copies. Inputs: weight, grad, mean, var, weight32 of "
                                                   "each; the last three are written.")};

}  // namespace
}  // namespace mxnet::ops
