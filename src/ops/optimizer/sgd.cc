// SPDX-License-Identifier: Apache-2.0
// Stochastic gradient descent: plain, with momentum, Nesterov's, by sign.
#include "ops/optimizer/params.h"

namespace mxnet::ops {
namespace {

struct SgdParams {
  double lr = 0, wd = 0, rescale_grad = 1, clip_gradient = -1;
  bool lazy_update = true;
  static void declare(ParamSchemaOf<SgdParams>& s) {
    number(s, "lr", &SgdParams::lr, "Learning rate.").required();
    number(s, "wd", &SgdParams::wd, "Weight decay.");
    declare_gradient_numbers(s);
    s.field("lazy_update", &SgdParams::lazy_update, "For row-sparse gradients: update only the rows that are there.");
  }
};

struct MomentumParams {
  double lr = 0, momentum = 0, wd = 0, rescale_grad = 1, clip_gradient = -1;
  bool lazy_update = true;
  static void declare(ParamSchemaOf<MomentumParams>& s) {
    number(s, "lr", &MomentumParams::lr, "Learning rate.").required();
    number(s, "momentum", &MomentumParams::momentum, "Decay rate of the momentum.");
    number(s, "wd", &MomentumParams::wd, "Weight decay.");
    declare_gradient_numbers(s);
    s.field("lazy_update", &MomentumParams::lazy_update,
            "For row-sparse gradients: update only the rows that are there.");
  }
};

struct NagParams {
  double lr = 0, momentum = 0, wd = 0, rescale_grad = 1, clip_gradient = -1;
  static void declare(ParamSchemaOf<NagParams>& s) {
    number(s, "lr", &NagParams::lr, "Learning rate.").required();
    number(s, "momentum", &NagParams::momentum, "Decay rate of the momentum.");
    number(s, "wd", &NagParams::wd, "Weight decay.");
    declare_gradient_numbers(s);
  }
};

struct SignSgdParams {
  double lr = 0, wd = 0, rescale_grad = 1, clip_gradient = -1;
  static void declare(ParamSchemaOf<SignSgdParams>& s) {
    number(s, "lr", &SignSgdParams::lr, "Learning rate.").required();
    number(s, "wd", &SignSgdParams::wd, "Weight decay.");
    declare_gradient_numbers(s);
  }
};

struct SignumParams {
  double lr = 0, momentum = 0, wd = 0, rescale_grad = 1, clip_gradient = -1, wd_lh = 0;
  static void declare(ParamSchemaOf<SignumParams>& s) {
    number(s, "lr", &SignumParams::lr, "Learning rate.").required();
    number(s, "momentum", &SignumParams::momentum, "Decay rate of the momentum.");
    number(s, "wd", &SignumParams::wd, "Weight decay, added to the gradient.");
    declare_gradient_numbers(s);
    number(s, "wd_lh", &SignumParams::wd_lh, "Weight decay, taken from the weight.");
  }
};

template <class P>
UpdateScalars plain_scalars(const Params& params) {
  return common_scalars(params.as<P>());
}
template <class P>
UpdateScalars momentum_scalars(const Params& params) {
  UpdateScalars s = common_scalars(params.as<P>());
  s.a = params.as<P>().momentum;
  return s;
}
UpdateScalars signum_scalars(const Params& params) {
  UpdateScalars s = momentum_scalars<SignumParams>(params);
  s.b = params.as<SignumParams>().wd_lh;
  return s;
}

template <Rule R, int States, bool Master, ScalarsFn Scalars>
Prepared prepare(const PrepareArgs& args) {
  return prepare_update(args, R, States, Master, Scalars);
}

const RegisterOp sgd{{.name = "sgd_update",
                      .doc = "weight - lr * (gradient + wd * weight), with the gradient scaled and clipped.",
                      .aliases = {"_sparse_sgd_update"},
                      .params = schema_of<SgdParams>(),
                      .inputs = {"weight", "grad"},
                      .infer = {infer::same_shape, infer_update_dtype},
                      .gradient = Gradient::none(),
                      .kernels = {{"simd", prepare<Rule::sgd, 0, false, plain_scalars<SgdParams>>}},
                      .flags = kUpdateFlags}};

const RegisterOp mp_sgd{
    {.name = "mp_sgd_update",
     .doc = "sgd_update of a half precision weight by its float32 master copy, which is written as well.",
     .params = schema_of<SgdParams>(),
     .inputs = Inputs{"weight", "grad", "weight32"}.mutates({"weight32"}),
     .infer = {infer::same_shape, infer_master_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare<Rule::sgd, 0, true, plain_scalars<SgdParams>>}},
     .flags = kUpdateFlags}};

const RegisterOp sgd_mom{
    {.name = "sgd_mom_update",
     .doc = "mom = momentum * mom - lr * (gradient + wd * weight); the result is weight + mom. mom is written.",
     .aliases = {"_sparse_sgd_mom_update"},
     .params = schema_of<MomentumParams>(),
     .inputs = Inputs{"weight", "grad", "mom"}.mutates({"mom"}),
     .infer = {infer::same_shape, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare<Rule::sgd_mom, 1, false, momentum_scalars<MomentumParams>>}},
     .flags = kUpdateFlags}};

const RegisterOp mp_sgd_mom{
    {.name = "mp_sgd_mom_update",
     .doc = "sgd_mom_update of a half precision weight by its float32 master copy, which is written as well.",
     .params = schema_of<MomentumParams>(),
     .inputs = Inputs{"weight", "grad", "mom", "weight32"}.mutates({"mom", "weight32"}),
     .infer = {infer::same_shape, infer_master_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare<Rule::sgd_mom, 1, true, momentum_scalars<MomentumParams>>}},
     .flags = kUpdateFlags}};

const RegisterOp nag{
    {.name = "nag_mom_update",
     .doc =
         "Nesterov's momentum: mom as in sgd_mom_update, the result is weight + momentum * mom - lr * (gradient + wd * "
         "weight). mom is written.",
     .params = schema_of<NagParams>(),
     .inputs = Inputs{"weight", "grad", "mom"}.mutates({"mom"}),
     .infer = {infer::same_shape, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare<Rule::nag_mom, 1, false, momentum_scalars<NagParams>>}},
     .flags = kUpdateFlags}};

const RegisterOp mp_nag{
    {.name = "mp_nag_mom_update",
     .doc = "nag_mom_update of a half precision weight by its float32 master copy, which is written as well.\n\nMXNet "
            "1.9.1 "
            "took the weight decay in the momentum from the weight after the step; here it is the one before.",
     .params = schema_of<NagParams>(),
     .inputs = Inputs{"weight", "grad", "mom", "weight32"}.mutates({"mom", "weight32"}),
     .infer = {infer::same_shape, infer_master_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"simd", prepare<Rule::nag_mom, 1, true, momentum_scalars<NagParams>>}},
     .flags = kUpdateFlags}};

const RegisterOp signsgd{{.name = "signsgd_update",
                          .doc = "(1 - lr * wd) * weight - lr * sign(gradient).",
                          .params = schema_of<SignSgdParams>(),
                          .inputs = {"weight", "grad"},
                          .infer = {infer::same_shape, infer_update_dtype},
                          .gradient = Gradient::none(),
                          .kernels = {{"simd", prepare<Rule::signsgd, 0, false, plain_scalars<SignSgdParams>>}},
                          .flags = kUpdateFlags}};

const RegisterOp signum{{.name = "signum_update",
                         .doc = "mom = momentum * mom - (1 - momentum) * (gradient + wd * weight); the result is (1 - "
                                "lr * wd_lh) * weight + lr * "
                                "sign(mom). mom is written.",
                         .params = schema_of<SignumParams>(),
                         .inputs = Inputs{"weight", "grad", "mom"}.mutates({"mom"}),
                         .infer = {infer::same_shape, infer_update_dtype},
                         .gradient = Gradient::none(),
                         .kernels = {{"simd", prepare<Rule::signum, 1, false, signum_scalars>}},
                         .flags = kUpdateFlags}};

// By row_sparse gradients.
template <Rule R, int States, bool Master, ScalarsFn Scalars>
SparseForm by_rows() {
  return {infer_row_update, {{"rows", prepare<R, States, Master, Scalars>}}};
}
const RegisterSparse sgd_rows{"sgd_update", by_rows<Rule::sgd, 0, false, plain_scalars<SgdParams>>()};
const RegisterSparse mp_sgd_rows{"mp_sgd_update", by_rows<Rule::sgd, 0, true, plain_scalars<SgdParams>>()};
const RegisterSparse sgd_mom_rows{"sgd_mom_update",
                                  by_rows<Rule::sgd_mom, 1, false, momentum_scalars<MomentumParams>>()};
const RegisterSparse mp_sgd_mom_rows{"mp_sgd_mom_update",
                                     by_rows<Rule::sgd_mom, 1, true, momentum_scalars<MomentumParams>>()};
const RegisterSparse nag_rows{"nag_mom_update", by_rows<Rule::nag_mom, 1, false, momentum_scalars<NagParams>>()};
const RegisterSparse signsgd_rows{"signsgd_update", by_rows<Rule::signsgd, 0, false, plain_scalars<SignSgdParams>>()};
const RegisterSparse signum_rows{"signum_update", by_rows<Rule::signum, 1, false, signum_scalars>()};

}  // namespace
}  // namespace mxnet::ops
