// SPDX-License-Identifier: Apache-2.0
// BatchNorm and a relu as one public operator: the kernels of BatchNorm, and a relu on their result.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/batch_norm.h"

namespace mxnet::nn {
namespace {

template <typename T>
void relu_in_place(T* y, int64_t n) {
  cpu::parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = y[i] < T(0) ? T(0) : y[i];  // NaN stays
  });
}

class NormThenRelu final : public Kernel {
 public:
  NormThenRelu(std::unique_ptr<Kernel> norm, const TensorSpec& out)
      : norm_(std::move(norm)), dtype_(out.dtype), size_(out.shape.size()) {
    cost_ns = norm_->cost_ns + size_ / 2;
    scratch = norm_->scratch;
    team_matters = norm_->team_matters;
  }
  void run(const KernelCall& c) const override {
    norm_->run(c);
    if (!c.out[0]) return;
    dispatch_float(dtype_, [&]<typename T>(TypeTag<T>) { relu_in_place(static_cast<T*>(c.out[0]), size_); });
  }

 private:
  std::unique_ptr<Kernel> norm_;
  DType dtype_;
  int64_t size_;
};

Prepared prepare(const PrepareArgs& a) {
  std::vector<Req> req(a.req.begin(), a.req.end());
  std::replace(req.begin(), req.end(), Req::add, Req::write);  // the runtime adds
  std::unique_ptr<Kernel> norm = prepare_kernel({.op = get_op("BatchNorm"),
                                                 .params = a.params,
                                                 .in = a.in,
                                                 .in_layout = a.in_layout,
                                                 .out = a.out,
                                                 .req = req,
                                                 .training = a.training,
                                                 .team = a.team,
                                                 .unchanging = a.unchanging});
  return std::unique_ptr<Kernel>(new NormThenRelu(std::move(norm), a.out[0]));
}

void gradient(GradientBuilder& g) {
  const auto& p = g.params<BatchNormParams>();
  const int saved = batch_norm_outputs(*g.params_ref());
  const Value masked = g.call("_backward_relu", {g.head(0), g.output(0)});
  g.give_all(
      {0, 1, 2}, "_backward_BatchNorm", {masked, g.input(0), g.input(1), g.output(saved), g.output(saved + 1)},
      make_params<BatchNormBackwardParams>(
          {.eps = p.eps, .fix_gamma = p.fix_gamma, .constant = p.use_global_stats || !g.training(), .axis = p.axis}));
}

const RegisterOp batch_norm_with_relu{{
    .name = "_contrib_BatchNormWithReLU",
    .doc = "relu(BatchNorm(data)).\n\nShapes, statistics and outputs as of BatchNorm. Unlike in 1.9.1 data may have "
           "any number "
           "of dimensions.",
    .params = schema_of<BatchNormParams>(),
    .inputs =
        Inputs{"data", "gamma", "beta", "moving_mean", "moving_var"}.with_auxiliary({"moving_mean", "moving_var"}),
    .outputs = Outputs(batch_norm_outputs).with_residuals(2).named({"output", "mean", "var"}),
    .infer = {infer_batch_norm_shape, infer_batch_norm_dtype},
    .gradient = Gradient(gradient),
    .kernels = {{"BatchNorm", prepare}},
    .flags = {.training_mode = true, .mutates_in_training = true},
}};

}  // namespace
}  // namespace mxnet::nn
