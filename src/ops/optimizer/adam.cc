// SPDX-License-Identifier: Apache-2.0
// Optimizers with per-element step sizes: Adam, AdamW, RMSProp, FTRL, FTML.
#include <cmath>

#include "ops/optimizer/params.h"

namespace mxnet::ops {
namespace {

// ---- Adam ----------------------------------------------------------------------------------------------------------

struct AdamParams {
  double lr = 0, beta1 = kBeta1, beta2 = kBeta2, epsilon = kEpsilon, wd = 0, rescale_grad = 1, clip_gradient = -1;
  bool lazy_update = true;
  static void declare(ParamSchemaOf<AdamParams>& s) {
    number(s, "lr", &AdamParams::lr, "Learning rate, with any bias correction already in it.").required();
    declare_betas(s);
    number(s, "wd", &AdamParams::wd, "Weight decay, added to the gradient.");
    declare_gradient_numbers(s);
    s.field("lazy_update", &AdamParams::lazy_update, "For row-sparse gradients: update only the rows that are there.");
  }
};

Prepared prepare_adam(const PrepareArgs& args) {
  return prepare_update(args, Rule::adam, 2, false, [](const Params& params) {
    const auto& p = params.as<AdamParams>();
    UpdateScalars s = common_scalars(p);
    s.a = p.beta1, s.b = p.beta2, s.c = p.epsilon;
    return s;
  });
}

const RegisterOp adam{{.name = "adam_update",
                       .doc = "Adam (Kingma and Ba, 2015). mean and var hold the decaying means of the gradient and "
                              "its square and are written.",
                       .aliases = {"_sparse_adam_update"},
                       .params = schema_of<AdamParams>(),
                       .inputs = Inputs{"weight", "grad", "mean", "var"}.mutates({"mean", "var"}),
                       .infer = {infer::same_shape, infer_update_dtype},
                       .gradient = Gradient::none(),
                       .kernels = {{"simd", prepare_adam}},
                       .flags = kUpdateFlags}};

const RegisterSparse adam_rows{"adam_update", {infer_row_update, {{"rows", prepare_adam}}}};

// ---- AdaGrad -------------------------------------------------------------------------------------------------------

struct AdaGradParams {
  double lr = 0, epsilon = 1e-7, wd = 0, rescale_grad = 1, clip_gradient = -1;
  static void declare(ParamSchemaOf<AdaGradParams>& s) {
    number(s, "lr", &AdaGradParams::lr, "Learning rate.").required();
    number(s, "epsilon", &AdaGradParams::epsilon, "Added to the history under the root.");
    number(s, "wd", &AdaGradParams::wd, "Weight decay: only 0 is supported.");
    declare_gradient_numbers(s);
  }
};

Prepared prepare_adagrad(const PrepareArgs& args) {
  return prepare_update(args, Rule::adagrad, 1, false, [](const Params& params) {
    const auto& p = params.as<AdaGradParams>();
    if (p.wd != 0) fail(ErrorKind::value, "weight decay is not supported, got wd=", p.wd);
    UpdateScalars s = common_scalars(p);
    s.c = p.epsilon;
    return s;
  });
}

const RegisterOp adagrad{{.name = "_sparse_adagrad_update",
                          .doc = "AdaGrad (Duchi et al., 2011): history += gradient^2, the result is weight - lr * "
                                 "gradient / sqrt(history + epsilon). history is written. Of a row_sparse gradient "
                                 "only the rows that are there change.",
                          .params = schema_of<AdaGradParams>(),
                          .inputs = Inputs{"weight", "grad", "history"}.mutates({"history"}),
                          .infer = {infer::same_shape, infer_update_dtype},
                          .gradient = Gradient::none(),
                          .kernels = {{"simd", prepare_adagrad}},
                          .flags = kUpdateFlags}};
const RegisterSparse adagrad_rows{"_sparse_adagrad_update", {infer_row_update, {{"rows", prepare_adagrad}}}};

// ---- AdamW ---------------------------------------------------------------------------------------------------------

struct AdamWParams {
  double lr = 0, beta1 = kBeta1, beta2 = kBeta2, epsilon = kEpsilon, wd = 0, eta = 0, clip_gradient = -1;
  static void declare(ParamSchemaOf<AdamWParams>& s) {
    number(s, "lr", &AdamWParams::lr, "Learning rate.").required();
    declare_betas(s);
    number(s, "wd", &AdamWParams::wd, "Weight decay, taken from the weight.");
    number(s, "eta", &AdamWParams::eta, "Factor of the whole step.").required();
    number(s, "clip_gradient", &AdamWParams::clip_gradient, "Bound of the scaled gradient; negative: none.");
  }
};

// The gradient's factor is an input; the update is skipped when it is not finite or zero (a loss scale that
// overflowed).
template <bool Master>
Prepared prepare_adamw(const PrepareArgs& args) {
  const UpdateFn update = find_update(Rule::adamw, args.in[0].dtype, Master).all;
  if (!update) return str("weights must be floating point, got ", name_of(args.in[0].dtype));
  const int64_t n = args.in[0].shape.size();
  const int item = size_of(args.in[0].dtype);
  UpdatePieces pieces({n});
  constexpr int kScale = Master ? 5 : 4;
  return make_kernel(
      [=, pieces = std::move(pieces), scale_type = args.in[kScale].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        const auto& p = c.params->as<AdamWParams>();
        const double scale = dispatch_float(scale_type, [&](auto tag) {
          return static_cast<double>(*static_cast<const typename decltype(tag)::type*>(c.in[kScale]));
        });
        const bool skip = !std::isfinite(scale) || scale == 0;
        UpdateArrays arrays{.out = c.out[0], .weight = c.in[0], .grad = c.in[1], .state = {c.in[2], c.in[3]}};
        if (Master) arrays.master = static_cast<float*>(c.in[4]);
        const UpdateScalars numbers{.lr = p.lr,
                                    .wd = p.wd,
                                    .rescale = scale,
                                    .clip = p.clip_gradient,
                                    .a = p.beta1,
                                    .b = p.beta2,
                                    .c = p.epsilon,
                                    .d = p.eta};
        pieces.run([&](int, int64_t begin, int64_t end) {
          if (!skip) return update(arrays, numbers, begin, end);
          if (c.out[0] == c.in[0]) return;
          const char* from = static_cast<const char*>(c.in[0]);
          std::copy(from + begin * item, from + end * item, static_cast<char*>(c.out[0]) + begin * item);
        });
      },
      30 + n * item);
}

void infer_adamw(InferContext& c) {
  const size_t scale = c.in.size() - 1;
  for (size_t i = 0; i < scale; ++i) {
    c.merge_in(0, c.in[i].shape);
    c.merge_in(static_cast<int>(i), c.in[0].shape);
  }
  c.merge_out(0, c.in[0].shape);
  const Shape& one = c.in[scale].shape;
  if (one.known() && one.size() != 1) c.bad(str("rescale_grad must hold one number, got shape ", one));
}

template <bool Master>
void infer_adamw_dtype(InferContext& c) {
  c.merge_in_dtype(1, c.in[0].dtype);
  c.merge_in_dtype(0, c.in[1].dtype);
  const DType state = Master ? DType::f32 : c.in[0].dtype;
  for (int i = 2; i < (Master ? 5 : 4); ++i) c.merge_in_dtype(i, state);
  const int scale = static_cast<int>(c.in.size()) - 1;
  if (c.in[scale].dtype == DType::unknown) c.merge_in_dtype(scale, DType::f32);
  c.merge_out_dtype(0, c.in[0].dtype);
  need_float(c);
}

const RegisterOp adamw{{.name = "_adamw_update",
                        .doc = "Adam with decoupled weight decay (Loshchilov and Hutter, 2019). Nothing happens when "
                               "rescale_grad is 0 or not "
                               "finite. mean and var are written.",
                        .aliases = {"_contrib_adamw_update"},
                        .params = schema_of<AdamWParams>(),
                        .inputs = Inputs{"weight", "grad", "mean", "var", "rescale_grad"}.mutates({"mean", "var"}),
                        .infer = {infer_adamw, infer_adamw_dtype<false>},
                        .gradient = Gradient::none(),
                        .kernels = {{"simd", prepare_adamw<false>}},
                        .flags = kUpdateFlags}};

const RegisterOp mp_adamw{
    {.name = "_mp_adamw_update",
     .doc = "_adamw_update of a half precision weight by its float32 master copy, which is written as well.",
     .aliases = {"_contrib_mp_adamw_update"},
     .params = schema_of<AdamWParams>(),
     .inputs = Inputs{"weight", "grad", "mean", "var", "weight32", "rescale_grad"}.mutates({"mean", "var", "weight32"}),
     .infer = {infer_adamw, infer_adamw_dtype<true>},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare_adamw<true>}},
     .flags = kUpdateFlags}};

// ---- RMSProp -------------------------------------------------------------------------------------------------------

struct RmsPropParams {
  double lr = 0, gamma1 = 0.95, epsilon = kEpsilon, wd = 0, rescale_grad = 1, clip_gradient = -1, clip_weights = -1;
  static void declare(ParamSchemaOf<RmsPropParams>& s) {
    number(s, "lr", &RmsPropParams::lr, "Learning rate.").required();
    number(s, "gamma1", &RmsPropParams::gamma1, "Decay rate of the mean of squared gradients.");
    number(s, "epsilon", &RmsPropParams::epsilon, "Added to the mean before the root.");
    number(s, "wd", &RmsPropParams::wd, "Weight decay, added to the gradient.");
    declare_gradient_numbers(s);
    number(s, "clip_weights", &RmsPropParams::clip_weights, "Bound of the weights; negative: none.");
  }
};

struct RmsPropAlexParams : RmsPropParams {
  double gamma2 = kBeta1;
  static void declare(ParamSchemaOf<RmsPropAlexParams>& s) {
    using P = RmsPropAlexParams;
    using M = double P::*;
    number<P>(s, "lr", static_cast<M>(&P::lr), "Learning rate.").required();
    number<P>(s, "gamma1", static_cast<M>(&P::gamma1), "Decay rate of the means of the gradient and its square.");
    number<P>(s, "gamma2", &P::gamma2, "Decay rate of the momentum.");
    number<P>(s, "epsilon", static_cast<M>(&P::epsilon), "Added to the variance before the root.");
    number<P>(s, "wd", static_cast<M>(&P::wd), "Weight decay, added to the gradient.");
    number<P>(s, "rescale_grad", static_cast<M>(&P::rescale_grad), "Factor of the gradient.");
    number<P>(s, "clip_gradient", static_cast<M>(&P::clip_gradient), "Bound of the scaled gradient; negative: none.");
    number<P>(s, "clip_weights", static_cast<M>(&P::clip_weights), "Bound of the weights; negative: none.");
  }
};

template <class P>
UpdateScalars rmsprop_scalars(const Params& params) {
  const auto& p = params.as<P>();
  UpdateScalars s = common_scalars(p);
  s.a = p.gamma1, s.c = p.epsilon, s.d = p.clip_weights < 0 ? INFINITY : p.clip_weights;
  if constexpr (requires { p.gamma2; }) s.b = p.gamma2;
  return s;
}

const RegisterOp rmsprop{
    {.name = "rmsprop_update",
     .doc = "RMSProp (Tieleman and Hinton, 2012). n holds the decaying mean of squared gradients and is written.",
     .params = schema_of<RmsPropParams>(),
     .inputs = Inputs{"weight", "grad", "n"}.mutates({"n"}),
     .infer = {infer::same_shape, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd",
                  [](const PrepareArgs& args) {
                    return prepare_update(args, Rule::rmsprop, 1, false, rmsprop_scalars<RmsPropParams>);
                  }}},
     .flags = kUpdateFlags}};

const RegisterOp rmsprop_alex{{.name = "rmspropalex_update",
                               .doc = "Centred RMSProp with momentum (Graves, 2013). n, g and delta are written.",
                               .params = schema_of<RmsPropAlexParams>(),
                               .inputs = Inputs{"weight", "grad", "n", "g", "delta"}.mutates({"n", "g", "delta"}),
                               .infer = {infer::same_shape, infer_update_dtype},
                               .gradient = Gradient::none(),
                               .kernels = {{"simd",
                                            [](const PrepareArgs& args) {
                                              return prepare_update(args, Rule::rmsprop_alex, 3, false,
                                                                    rmsprop_scalars<RmsPropAlexParams>);
                                            }}},
                               .flags = kUpdateFlags}};

// ---- FTRL, FTML ----------------------------------------------------------------------------------------------------

struct FtrlParams {
  double lr = 0, lamda1 = 0.01, beta = 1, wd = 0, rescale_grad = 1, clip_gradient = -1;
  static void declare(ParamSchemaOf<FtrlParams>& s) {
    number(s, "lr", &FtrlParams::lr, "Learning rate.").required();
    number(s, "lamda1", &FtrlParams::lamda1, "Strength of the L1 term.");
    number(s, "beta", &FtrlParams::beta, "Smoothing of the per-element rate.");
    number(s, "wd", &FtrlParams::wd, "Strength of the L2 term.");
    declare_gradient_numbers(s);
  }
};

Prepared prepare_ftrl(const PrepareArgs& args) {
  return prepare_update(args, Rule::ftrl, 2, false, [](const Params& params) {
    const auto& p = params.as<FtrlParams>();
    UpdateScalars s = common_scalars(p);
    s.a = p.lamda1, s.b = p.beta;
    return s;
  });
}

const RegisterOp ftrl{{.name = "ftrl_update",
                       .doc = "Follow the regularized leader (McMahan et al., 2013). z and n are written.",
                       .aliases = {"_sparse_ftrl_update"},
                       .params = schema_of<FtrlParams>(),
                       .inputs = Inputs{"weight", "grad", "z", "n"}.mutates({"z", "n"}),
                       .infer = {infer::same_shape, infer_update_dtype},
                       .gradient = Gradient::none(),
                       .kernels = {{"simd", prepare_ftrl}},
                       .flags = kUpdateFlags}};
const RegisterSparse ftrl_rows{"ftrl_update", {infer_row_update, {{"rows", prepare_ftrl}}}};

struct FtmlParams {
  double lr = 0, beta1 = 0.6, beta2 = kBeta2, epsilon = kEpsilon;
  int64_t t = 1;
  double wd = 0, rescale_grad = 1, clip_grad = -1;
  static void declare(ParamSchemaOf<FtmlParams>& s) {
    number(s, "lr", &FtmlParams::lr, "Learning rate.").required();
    declare_betas(s);
    s.field("t", &FtmlParams::t, "Number of this update, from 1.").required().runtime().type("int");
    number(s, "wd", &FtmlParams::wd, "Weight decay, added to the gradient.");
    number(s, "rescale_grad", &FtmlParams::rescale_grad, "Factor of the gradient.");
    number(s, "clip_grad", &FtmlParams::clip_grad, "Bound of the scaled gradient; negative: none.");
  }
};

const RegisterOp ftml{{.name = "ftml_update",
                       .doc = "Follow the moving leader (Zheng and Kwok, 2017). d, v and z are written.",
                       .params = schema_of<FtmlParams>(),
                       .inputs = Inputs{"weight", "grad", "d", "v", "z"}.mutates({"d", "v", "z"}),
                       .infer = {infer::same_shape, infer_update_dtype},
                       .gradient = Gradient::none(),
                       .kernels = {{"simd",
                                    [](const PrepareArgs& args) {
                                      return prepare_update(args, Rule::ftml, 3, false, [](const Params& params) {
                                        const auto& p = params.as<FtmlParams>();
                                        const double t = static_cast<double>(p.t);
                                        return UpdateScalars{.lr = p.lr,
                                                             .wd = p.wd,
                                                             .rescale = p.rescale_grad,
                                                             .clip = p.clip_grad,
                                                             .a = p.beta1,
                                                             .b = p.beta2,
                                                             .c = p.epsilon,
                                                             .d = 1 - std::pow(p.beta1, t),
                                                             .e = 1 - std::pow(p.beta2, t)};
                                      });
                                    }}},
                       .flags = kUpdateFlags}};

}  // namespace
}  // namespace mxnet::ops
