// SPDX-License-Identifier: Apache-2.0
// Updates of many arrays in one call, and what training loops ask of many arrays: sums of squares, finiteness, zeros.
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "ops/optimizer/params.h"
#include "ops/optimizer/sums.h"

namespace mxnet::ops {
namespace {

// ---- several weights in one call ------------------------------------------------------------------------------------

struct MultiParams {
  FloatTuple lrs, wds;
  double rescale_grad = 1, clip_gradient = -1;
  int64_t num_weights = 1;

  // Rates in arrays are the last two inputs of a call.
  UpdateScalars scalars(const KernelCall& c, bool preloaded, int first_rates, int w) const {
    UpdateScalars s{.rescale = rescale_grad, .clip = clip_gradient};
    s.lr = preloaded ? static_cast<const float*>(c.in[first_rates])[w] : lrs[static_cast<size_t>(w)];
    s.wd = preloaded ? static_cast<const float*>(c.in[first_rates + 1])[w] : wds[static_cast<size_t>(w)];
    return s;
  }
};

template <class P>
void declare_rates(ParamSchemaOf<P>& s) {
  using T = FloatTuple P::*;
  s.field("lrs", static_cast<T>(&P::lrs), "Learning rates.").required().runtime().type("tuple of <float>");
  s.field("wds", static_cast<T>(&P::wds), "Weight decays.").required().runtime().type("tuple of <float>");
  s.validate([](const P& p) {
    const auto n = static_cast<size_t>(p.num_weights);
    if (p.lrs.size() != n || p.wds.size() != n) {
      fail(ErrorKind::value, "lrs and wds must have num_weights = ", n, " entries, got ", p.lrs.size(), " and ",
           p.wds.size());
    }
  });
}

template <class P>
void declare_multi(ParamSchemaOf<P>& s) {
  using M = double P::*;
  number<P>(s, "rescale_grad", static_cast<M>(&P::rescale_grad), "Factor of the gradients.");
  number<P>(s, "clip_gradient", static_cast<M>(&P::clip_gradient), "Bound of the scaled gradients; negative: none.");
  s.field("num_weights", static_cast<int64_t P::*>(&P::num_weights), "Number of weights.").range(1, 1 << 20);
}

template <bool Momentum, bool Preloaded>
struct MultiSgdParams : MultiParams {
  static constexpr Rule kRule = Momentum ? Rule::sgd_mom : Rule::sgd;
  static constexpr int kStates = Momentum;
  static constexpr bool kPreloaded = Preloaded;
  double momentum = 0;
  static void declare(ParamSchemaOf<MultiSgdParams>& s) {
    if constexpr (!Preloaded) declare_rates(s);
    if constexpr (Momentum) number(s, "momentum", &MultiSgdParams::momentum, "Decay rate of the momentum.");
    declare_multi(s);
  }
  void set_rule(UpdateScalars& s, int) const { s.a = momentum; }
};

struct MultiAdamParams : MultiParams {
  static constexpr Rule kRule = Rule::adam;
  static constexpr int kStates = 2;
  static constexpr bool kPreloaded = false;
  double beta1 = kBeta1, beta2 = kBeta2, epsilon = kEpsilon;
  static void declare(ParamSchemaOf<MultiAdamParams>& s) {
    declare_rates(s);
    declare_betas(s);
    declare_multi(s);
  }
  void set_rule(UpdateScalars& s, int) const { s.a = beta1, s.b = beta2, s.c = epsilon; }
};

// The factor of all gradients is one more array after the others; the update is skipped when it is not finite or zero
// (a loss scale that overflowed).
struct MultiAdamWParams : MultiParams {
  static constexpr Rule kRule = Rule::adamw;
  static constexpr int kStates = 2;
  static constexpr bool kPreloaded = false;
  static constexpr bool kScaled = true;
  FloatTuple etas;
  double beta1 = kBeta1, beta2 = kBeta2, epsilon = kEpsilon;
  static void declare(ParamSchemaOf<MultiAdamWParams>& s) {
    using P = MultiAdamWParams;
    declare_rates(s);
    s.field("etas", &P::etas, "Factors of the whole steps.").required().runtime().type("tuple of <float>");
    s.validate([](const P& p) {
      if (p.etas.size() != static_cast<size_t>(p.num_weights)) {
        fail(ErrorKind::value, "etas must have num_weights = ", p.num_weights, " entries, got ", p.etas.size());
      }
    });
    declare_betas(s);
    number(s, "clip_gradient", static_cast<double P::*>(&P::clip_gradient),
           "Bound of the scaled gradients; negative: none.");
    s.field("num_weights", static_cast<int64_t P::*>(&P::num_weights), "Number of weights.").range(1, 1 << 20);
  }
  void set_rule(UpdateScalars& s, int w) const {
    s.a = beta1, s.b = beta2, s.c = epsilon, s.d = etas[static_cast<size_t>(w)];
  }
};

template <class P>
constexpr bool kHasScale = requires { P::kScaled; };

// Inputs: for each weight (weight, grad, states...[, weight32]); preloaded operators end with the arrays lrs and wds,
// scaled ones with the factor of the gradients.
template <class P, bool Master>
struct MultiUpdate {
  static constexpr int kStride = 2 + P::kStates + Master;
  static constexpr int kMore = (P::kPreloaded ? 2 : 0) + kHasScale<P>;

  static int count(const Params& params) { return static_cast<int>(params.as<P>().num_weights); }
  static WeightGroups groups(const Params& params) { return {count(params), kStride, Master, "num_weights", kMore}; }
  static bool mutates(const Params& params, int i) { return groups(params).mutates(i); }
  static void infer_shape(InferContext& c) {
    groups(c.params).infer_shape(c);
    for (int i = count(c.params) * kStride; i < static_cast<int>(c.in.size()); ++i) {
      if (P::kPreloaded) c.merge_in(i, Shape{count(c.params)});
      const Shape& scale = c.in[i].shape;
      if (kHasScale<P> && scale.known() && scale.size() != 1) {
        c.bad(str("the factor of the gradients must hold one number, got shape ", scale));
      }
    }
  }
  static void infer_dtype(InferContext& c) {
    groups(c.params).infer_dtype(c);
    for (size_t i = count(c.params) * kStride; i < c.in.size(); ++i) c.merge_in_dtype(static_cast<int>(i), DType::f32);
    need_float(c);
  }

  static Prepared prepare(const PrepareArgs& args) {
    const int n = count(args.params);
    std::vector<int64_t> sizes;
    std::vector<UpdateFn> updates;
    int64_t bytes = 0;
    for (int w = 0; w < n; ++w) {
      const TensorSpec& weight = args.in[w * kStride];
      sizes.push_back(weight.shape.size());
      bytes += sizes.back() * (3 + 2 * P::kStates) * size_of(weight.dtype);
      updates.push_back(find_update(P::kRule, weight.dtype, Master).all);
      if (!updates.back()) return str("weights must be floating point, got ", name_of(weight.dtype));
    }
    return make_kernel(
        [n, updates, pieces = UpdatePieces(sizes), item = size_of(args.in[0].dtype)](const KernelCall& c) {
          const P& p = c.params->as<P>();
          const double scale = kHasScale<P> ? static_cast<double>(*static_cast<const float*>(c.in[n * kStride])) : 1;
          const bool skip = kHasScale<P> && (!std::isfinite(scale) || scale == 0);
          pieces.run([&](int w, int64_t begin, int64_t end) {
            if (!c.out[w]) return;
            void* const* in = c.in + w * kStride;
            if (skip) {
              if (c.out[w] == in[0]) return;
              const char* from = static_cast<const char*>(in[0]);
              std::copy(from + begin * item, from + end * item, static_cast<char*>(c.out[w]) + begin * item);
              return;
            }
            UpdateArrays arrays{.out = c.out[w], .weight = in[0], .grad = in[1]};
            for (int s = 0; s < P::kStates; ++s) arrays.state[s] = in[2 + s];
            if (Master) arrays.master = static_cast<float*>(in[2 + P::kStates]);
            UpdateScalars numbers = p.scalars(c, P::kPreloaded, n * kStride, w);
            if (kHasScale<P>) numbers.rescale = scale;
            p.set_rule(numbers, w);
            updates[w](arrays, numbers, begin, end);
          });
        },
        30 + 40 * n + bytes / 8);
  }

  static OpDef op(const char* name, const char* doc) {
    return {.name = name,
            .doc = doc,
            .params = schema_of<P>(),
            .inputs = Inputs::variadic("num_weights", "data").mutates(mutates),
            .outputs = Outputs(count),
            .infer = {infer_shape, infer_dtype},
            .gradient = Gradient::none(),
            .kernels = {{"simd", prepare}},
            .flags = {.inplace_list = true}};
  }
};

template <bool Momentum, bool Master, bool Preloaded>
using MultiSgd = MultiUpdate<MultiSgdParams<Momentum, Preloaded>, Master>;

const RegisterOp multi_sgd{MultiSgd<false, false, false>::op(
    "multi_sgd_update", "sgd_update of several weights. Inputs: weight, grad of each.")};
const RegisterOp multi_sgd_mom{MultiSgd<true, false, false>::op(
    "multi_sgd_mom_update", "sgd_mom_update of several weights. Inputs: weight, grad, mom of each; mom is written.")};
const RegisterOp multi_mp_sgd{MultiSgd<false, true, false>::op(
    "multi_mp_sgd_update",
    "mp_sgd_update of several weights. Inputs: weight, grad, weight32 of each; weight32 is written.")};
const RegisterOp multi_mp_sgd_mom{MultiSgd<true, true, false>::op(
    "multi_mp_sgd_mom_update",
    "mp_sgd_mom_update of several weights. Inputs: weight, grad, mom, weight32 of each; the "
    "last two are written.")};
const RegisterOp preloaded_sgd{MultiSgd<false, false, true>::op(
    "preloaded_multi_sgd_update", "multi_sgd_update with learning rates and decays in two arrays after the others.")};
const RegisterOp preloaded_sgd_mom{MultiSgd<true, false, true>::op(
    "preloaded_multi_sgd_mom_update",
    "multi_sgd_mom_update with learning rates and decays in two arrays after the others.")};
const RegisterOp preloaded_mp_sgd{MultiSgd<false, true, true>::op(
    "preloaded_multi_mp_sgd_update",
    "multi_mp_sgd_update with learning rates and decays in two arrays after the others.")};
const RegisterOp preloaded_mp_sgd_mom{MultiSgd<true, true, true>::op(
    "preloaded_multi_mp_sgd_mom_update",
    "multi_mp_sgd_mom_update with learning rates and decays in two arrays after the others.")};

const RegisterOp multi_adam{MultiUpdate<MultiAdamParams, false>::op(
    "_multi_adam_update",
    "adam_update of several weights. Inputs: weight, grad, mean, var of each; the last two are "
    "written.")};
const RegisterOp multi_mp_adam{MultiUpdate<MultiAdamParams, true>::op(
    "_multi_mp_adam_update",
    "_multi_adam_update of half precision weights by their float32 copies. Inputs: weight, grad, mean, var, weight32 "
    "of each; the last three are written.")};

const RegisterOp multi_adamw{MultiUpdate<MultiAdamWParams, false>::op(
    "_multi_adamw_update",
    "_adamw_update of several weights. Inputs: weight, grad, mean, var of each, then one array with the factor of all "
    "gradients; mean and var are written.")};
const RegisterOp multi_mp_adamw{MultiUpdate<MultiAdamWParams, true>::op(
    "_multi_mp_adamw_update",
    "_multi_adamw_update of half precision weights by their float32 copies. Inputs: weight, grad, mean, var, weight32 "
    "of each, then one array with the factor of all gradients; mean, var and weight32 are written.")};

// ---- sums of squares, finiteness -----------------------------------------------------------------------------------

struct ArraysParams {
  int64_t num_arrays = 0;
  static void declare(ParamSchemaOf<ArraysParams>& s) {
    s.field("num_arrays", &ArraysParams::num_arrays, "Number of arrays.");
  }
};

Prepared prepare_sum_sq(const PrepareArgs& args) {
  std::vector<TensorSpec> in(args.in.begin(), args.in.end());
  int64_t total = 0;
  for (const TensorSpec& t : in) total += t.shape.size();
  return make_kernel(
      [in](const KernelCall& c) {
        float* out = static_cast<float*>(c.out[0]);
        if (!out) return;
        for (size_t a = 0; a < in.size(); ++a) {
          dispatch_float(in[a].dtype, [&](auto tag) {
            const auto* x = static_cast<const typename decltype(tag)::type*>(c.in[a]);
            out[a] = static_cast<float>(sum_of_squares(x, in[a].shape.size()));
          });
        }
      },
      30 + total / 2);
}

void infer_arrays_float(InferContext& c) {
  for (size_t i = 0; i < c.in.size(); ++i) {
    const DType t = c.in[i].dtype;
    if (t != DType::unknown && !is_float(t))
      c.bad(str(c.name_in(static_cast<int>(i)), " must be floating point, got ", name_of(t)));
  }
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), DType::f32);
}

const RegisterOp multi_sum_sq{
    {.name = "multi_sum_sq",
     .doc = "The sum of squares of each array, as one float32 array.",
     .params = schema_of<ArraysParams>(),
     .inputs = Inputs::variadic("num_arrays", "data"),
     .infer = {[](InferContext& c) { c.merge_out(0, Shape{static_cast<int64_t>(c.in.size())}); }, infer_arrays_float},
     .gradient = Gradient::none(),
     .kernels = {{"index", prepare_sum_sq}}}};

struct FiniteParams {
  bool init_output = true;
  static void declare(ParamSchemaOf<FiniteParams>& s) {
    s.field("init_output", &FiniteParams::init_output, "Start from 1; otherwise multiply what the output holds.")
        .runtime();
  }
};
struct MultiFiniteParams {
  int64_t num_arrays = 1;
  bool init_output = true;
  static void declare(ParamSchemaOf<MultiFiniteParams>& s) {
    s.field("num_arrays", &MultiFiniteParams::num_arrays, "Number of arrays.");
    s.field("init_output", &MultiFiniteParams::init_output, "Start from 1; otherwise multiply what the output holds.")
        .runtime();
  }
};

template <typename T>
double count_infinite(const T* x, int64_t begin, int64_t end) {
  int64_t count = 0;
  for (int64_t i = begin; i < end; ++i)
    count += !(std::abs(static_cast<compute_t<T>>(x[i])) <= std::numeric_limits<compute_t<T>>::max());
  return static_cast<double>(count);
}

template <class P>
Prepared prepare_finite(const PrepareArgs& args) {
  std::vector<TensorSpec> in(args.in.begin(), args.in.end());
  int64_t total = 0;
  for (const TensorSpec& t : in) total += t.shape.size();
  return make_kernel(
      [in](const KernelCall& c) {
        float* out = static_cast<float*>(c.out[0]);
        if (!out) return;
        double bad = 0;
        for (size_t a = 0; a < in.size() && bad == 0; ++a) {
          dispatch_float(in[a].dtype, [&](auto tag) {
            const auto* x = static_cast<const typename decltype(tag)::type*>(c.in[a]);
            bad = sum_pieces(in[a].shape.size(),
                             [=](int64_t begin, int64_t end) { return count_infinite(x, begin, end); });
          });
        }
        const float good = bad == 0 ? 1.0f : 0.0f;
        out[0] = c.params->as<P>().init_output ? good : good * out[0];
      },
      30 + total / 2);
}

void infer_one(InferContext& c) { c.merge_out(0, Shape{1}); }

const RegisterOp all_finite{{.name = "all_finite",
                             .doc = "1 if every element is finite, else 0, as a float32 array of shape (1,).",
                             .params = schema_of<FiniteParams>(),
                             .inputs = {"data"},
                             .infer = {infer_one, infer_arrays_float},
                             .gradient = Gradient::none(),
                             .kernels = {{"index", prepare_finite<FiniteParams>}}}};

const RegisterOp multi_all_finite{
    {.name = "multi_all_finite",
     .doc = "1 if every element of every array is finite, else 0, as a float32 array of shape (1,).",
     .params = schema_of<MultiFiniteParams>(),
     .inputs = Inputs::variadic("num_arrays", "data"),
     .infer = {infer_one, infer_arrays_float},
     .gradient = Gradient::none(),
     .kernels = {{"index", prepare_finite<MultiFiniteParams>}}}};

// ---- reset_arrays --------------------------------------------------------------------------------------------------

Prepared prepare_reset(const PrepareArgs& args) {
  std::vector<int64_t> bytes;
  for (const TensorSpec& t : args.in) bytes.push_back(t.shape.size() * size_of(t.dtype));
  const int64_t total = std::accumulate(bytes.begin(), bytes.end(), int64_t{0});
  return make_kernel(
      [bytes](const KernelCall& c) {
        for (size_t i = 0; i < bytes.size(); ++i) cpu::zero_bytes(c.in[i], bytes[i]);
      },
      30 + total / 16);
}

const RegisterOp reset_arrays{
    {.name = "reset_arrays",
     .doc = "Sets arrays to zero in place.",
     .params = schema_of<ArraysParams>(),
     .inputs = Inputs::variadic("num_arrays", "data").mutates([](const Params&, int) { return true; }),
     .outputs = 0,
     .infer = {[](InferContext&) {}, [](InferContext&) {}},
     .gradient = Gradient::none(),
     .kernels = {{"fill", prepare_reset}}}};

// ---- multi_lars ----------------------------------------------------------------------------------------------------

struct LarsParams {
  double eta = 0, eps = 0, rescale_grad = 1;
  static void declare(ParamSchemaOf<LarsParams>& s) {
    number(s, "eta", &LarsParams::eta, "Trust coefficient.").required();
    number(s, "eps", &LarsParams::eps, "Added to the divisor.").required();
    number(s, "rescale_grad", &LarsParams::rescale_grad, "Factor of the gradients.");
  }
};

Prepared prepare_lars(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [n](const KernelCall& c) {
        const auto& p = c.params->as<LarsParams>();
        const auto in = [&](int k, int64_t i) { return static_cast<double>(static_cast<const float*>(c.in[k])[i]); };
        float* out = static_cast<float*>(c.out[0]);
        for (int64_t i = 0; out && i < n; ++i) {
          const double w = std::sqrt(in(1, i)), g = std::sqrt(in(2, i)) * p.rescale_grad;
          const double rate = w > 0 && in(2, i) > 0 ? p.eta * w / (g + in(3, i) * w + p.eps) : 1;
          out[i] = static_cast<float>(in(0, i) * rate);
        }
      },
      30 + n * 10);
}

const RegisterOp multi_lars{
    {.name = "multi_lars",
     .doc = "Learning rates scaled layer by layer (You et al., 2017) from sums of squares of weights and gradients.",
     .params = schema_of<LarsParams>(),
     .inputs = {"lrs", "weights_sum_sq", "grads_sum_sq", "wds"},
     .infer = {infer::same_shape,
               [](InferContext& c) {
                 for (int i = 0; i < 4; ++i) c.merge_in_dtype(i, DType::f32);
                 c.merge_out_dtype(0, DType::f32);
               }},
     .gradient = Gradient::none(),
     .kernels = {{"index", prepare_lars}},
     .flags = {.inplace = true}}};

}  // namespace
}  // namespace mxnet::ops
