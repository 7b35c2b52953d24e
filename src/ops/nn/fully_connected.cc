// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm.h"
#include "ops/nn/linear_gradient.h"
#include "ops/nn/matrix_product.h"
#include "ops/nn/row_sum.h"

namespace mxnet::nn {
namespace {

struct FullyConnectedParams {
  int64_t num_hidden = 0;
  bool no_bias = false;
  bool flatten = true;

  static void declare(ParamSchemaOf<FullyConnectedParams>& s) {
    s.field("num_hidden", &FullyConnectedParams::num_hidden, "Number of output features.").required().range(1, 1e15);
    s.field("no_bias", &FullyConnectedParams::no_bias, "Whether there is no bias.");
    s.field("flatten", &FullyConnectedParams::flatten,
            "Whether all axes after the first are features; otherwise only the last axis is.");
  }
};

struct Sizes {
  int64_t rows = 1, features = 1, hidden = 1;
};

Sizes sizes_of(const Shape& data, const FullyConnectedParams& p) {
  const int split = p.flatten ? std::min(1, data.rank()) : data.rank() - 1;
  return {data.size(0, split), data.size(split, data.rank()), p.num_hidden};
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<FullyConnectedParams>();
  if (!p.no_bias) c.merge_in(2, {p.num_hidden});
  c.merge_in(1, {p.num_hidden, -1});
  const Shape& data = c.in[0].shape;
  const Shape& out = c.out[0].shape;
  if (!data.rank_known()) {
    if (!p.flatten && out.rank_known() && out.rank() > 0) {
      Shape like = out;
      like[like.rank() - 1] = c.in[1].shape[1];
      c.merge_in(0, like);
    }
    return;
  }
  if (data.rank() == 0) c.bad("data must have at least one dimension, got a scalar");
  int64_t features = 1;
  for (int i = p.flatten ? 1 : data.rank() - 1; i < data.rank(); ++i) {
    features = data[i] < 0 || features < 0 ? -1 : features * data[i];
  }
  c.merge_in(1, {p.num_hidden, features});
  if (p.flatten) {
    c.merge_out(0, {data[0], p.num_hidden});
    if (c.out[0].shape[0] >= 0) {
      Shape known = data;
      known[0] = c.out[0].shape[0];
      c.merge_in(0, known);
    }
    return;
  }
  Shape result = data;
  result[result.rank() - 1] = p.num_hidden;
  c.merge_out(0, result);
  Shape known = c.out[0].shape;
  known[known.rank() - 1] = c.in[1].shape[1];
  c.merge_in(0, known);
}

// Weights are packed where that is done once for many runs; a single product is faster with them as they are.
Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<FullyConnectedParams>();
  const Sizes s = sizes_of(a.in[0].shape, p);
  const cpu::GemmSpec spec{.dtype = a.in[0].dtype,
                           .m = s.rows,
                           .n = s.hidden,
                           .k = s.features,
                           .trans_b = true,
                           .bias = !p.no_bias,
                           .pack_b = a.is_unchanging(1)};
  return dense_kernel(spec, a.team, 2);
}

// in: dy, x, w; out: dx, dw, db.
class BackwardKernel final : public Kernel {
 public:
  BackwardKernel(const PrepareArgs& a) : dtype_(a.in[0].dtype) {
    sizes_ = sizes_of(a.in[1].shape, a.as<FullyConnectedParams>());
    const auto [rows, features, hidden] = sizes_;
    const auto adds = [&](size_t i) { return i < a.req.size() && a.req[i] == Req::add; };
    const auto wanted = [&](size_t i) { return i < a.req.size() && a.req[i] != Req::null; };
    cost_ns = 100;
    if (wanted(0)) {
      data_ =
          cpu::Gemm::prepare({.dtype = dtype_, .m = rows, .n = features, .k = hidden, .accumulate = adds(0)}, a.team);
      account(*data_);
    }
    if (wanted(1)) {
      weight_ = cpu::Gemm::prepare(
          {.dtype = dtype_, .m = hidden, .n = features, .k = rows, .trans_a = true, .accumulate = adds(1)}, a.team);
      account(*weight_);
    }
    add_bias_ = adds(2);
    if (wanted(2)) cost_ns += rows * hidden / 8;
    accepts_add = true;
  }

  void run(const KernelCall& call) const override {
    if (data_) data_->run(call.in[0], call.in[2], nullptr, call.out[0], call.scratch);
    if (weight_) weight_->run(call.in[0], call.in[1], nullptr, call.out[1], call.scratch);
    if (call.params->as<FullyConnectedParams>().no_bias || !call.out[2]) return;
    sum_to_channels(call.in[0], call.out[2], dtype_, sizes_.rows, sizes_.hidden, 1, add_bias_);
  }

 private:
  void account(const cpu::Gemm& gemm) {
    cost_ns += gemm.cost_ns;
    scratch = std::max(scratch, gemm.scratch_bytes);
    team_matters |= gemm.team_matters;
  }

  DType dtype_;
  Sizes sizes_;
  std::unique_ptr<cpu::Gemm> data_, weight_;
  bool add_bias_ = false;
};

Prepared prepare_backward(const PrepareArgs& a) { return std::unique_ptr<Kernel>(std::make_unique<BackwardKernel>(a)); }

void infer_backward_shape(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
  if (!c.as<FullyConnectedParams>().no_bias) c.merge_out(2, {c.as<FullyConnectedParams>().num_hidden});
}

const RegisterOp fully_connected{{
    .name = "FullyConnected",
    .doc = "Applies a linear transformation: data times the transposed weight, plus bias.\n\n"
           "Shapes: data (n, d1, d2, ...), weight (num_hidden, d1 * d2 * ...), bias (num_hidden,), output "
           "(n, num_hidden); without `flatten` data (..., d), weight (num_hidden, d), output (..., num_hidden).",
    .params = schema_of<FullyConnectedParams>(),
    .inputs = Inputs({"data", "weight", "bias"},
                     [](const Params& p) { return p.as<FullyConnectedParams>().no_bias ? 2 : 3; }),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_gradient<FullyConnectedParams>(g, "_backward_FullyConnected");
                }).without_outputs(),
    .kernels = {{"gemm", prepare_forward}},
    .flags = {.precision = Precision::low},
}};

const RegisterOp backward_fully_connected{{
    .name = "_backward_FullyConnected",
    .doc = "Gradients of FullyConnected with respect to data, weight and bias.",
    .params = schema_of<FullyConnectedParams>(),
    .inputs = {"dy", "data", "weight"},
    .outputs = Outputs([](const Params& p) { return p.as<FullyConnectedParams>().no_bias ? 2 : 3; }),
    .infer = {infer_backward_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  linear_backward_gradient<FullyConnectedParams>(g, "FullyConnected", "_backward_FullyConnected");
                }).without_outputs(),
    .kernels = {{"gemm", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
