// SPDX-License-Identifier: Apache-2.0
// The loss of classification: one number of each row of log-probabilities. As pick(log_softmax(data)), but neither the
// log-probabilities nor their gradient with its zeros are ever written.
#include "ops/nn/pick_log_softmax.h"

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/tensor/index.h"

namespace mxnet::nn {
namespace {

struct PickLogSoftmaxParams {
  bool keepdims = false;

  static void declare(ParamSchemaOf<PickLogSoftmaxParams>& s) {
    s.field("keepdims", &PickLogSoftmaxParams::keepdims, "Keep the last dimension with size 1.");
  }
};

Shape picked_shape(const Shape& data, bool keepdims) {
  Shape shape = data;
  shape.erase(data.rank() - 1);
  if (keepdims) shape.push_back(1);
  return shape;
}

void infer_shape(InferContext& c) {
  const Shape data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 2) c.bad(str("data must have at least 2 dimensions, got ", data));
  c.merge_in(1, picked_shape(data, c.in[1].shape.rank() == data.rank()));
  const Shape out = picked_shape(data, c.as<PickLogSoftmaxParams>().keepdims);
  c.merge_out(0, out);
  c.merge_out(1, {out.known() ? out.size() : -1});
}

void infer_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  const DType dtype = c.in[0].dtype;
  if (dtype == DType::unknown) return;
  if (!is_float(dtype)) c.bad(str("data must be of a floating point dtype, got ", name_of(dtype)));
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, dtype);
  c.merge_out_dtype(1, dtype == DType::f64 ? DType::f64 : DType::f32);
}

// What forward and backward know of their call.
struct Rows {
  DType dtype, index_type;
  int64_t rows, n;

  Rows(const TensorSpec& data, const TensorSpec& index)
      : dtype(data.dtype), index_type(index.dtype), rows(index.shape.size()), n(data.shape.back()) {}
  int64_t grain() const { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, n)); }
  int64_t cost_ns() const { return 100 + rows * (20 + n / 2); }
  size_t scratch() const { return sizeof(int64_t) * static_cast<size_t>(rows); }
  const int64_t* indices(const KernelCall& c) const {
    auto* to = static_cast<int64_t*>(c.scratch);
    ops::load_indices(c.in[1], index_type, rows, to);
    ops::place_indices(to, rows, n, ops::IndexMode::clip);
    return to;
  }
};

size_t size_of_norm(DType dtype) { return dtype == DType::f64 ? sizeof(double) : sizeof(float); }

Prepared prepare_forward(const PrepareArgs& a) {
  const Rows v(a.in[0], a.in[1]);
  const size_t norms = size_of_norm(v.dtype) * static_cast<size_t>(v.rows);
  const size_t at = (v.scratch() + 63) / 64 * 64;
  if (v.rows > 0 && v.n == 0) return "rows without elements";
  auto run = [v, at](const KernelCall& c) {
    const int64_t* index = v.indices(c);
    void* norm = c.out[1] ? c.out[1] : static_cast<char*>(c.scratch) + at;
    cpu::parallel_for(v.rows, v.grain(), [&](int64_t begin, int64_t end) {
      pick_log_softmax_kernels().forward(v.dtype, c.in[0], v.n, index, c.out[0], norm, begin, end);
    });
  };
  return make_kernel(std::move(run), v.cost_ns(), at + norms);
}

// in: data, index, norm, dy.
Prepared prepare_backward(const PrepareArgs& a) {
  const Rows v(a.in[0], a.in[1]);
  const bool add = a.req[0] == Req::add;
  auto run = [v, add](const KernelCall& c) {
    const int64_t* index = v.indices(c);
    cpu::parallel_for(v.rows, v.grain(), [&](int64_t begin, int64_t end) {
      pick_log_softmax_kernels().backward(v.dtype, c.in[0], v.n, index, c.in[2], c.in[3], c.out[0], add, begin, end);
    });
  };
  auto kernel = make_kernel(std::move(run), v.cost_ns(), v.scratch());
  kernel->accepts_add = true;
  return kernel;
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

// dx = dy (onehot - s) with s = softmax(x); for a head a: of dy it is pick(a) - sum(a s), of x it is
// -dy s (a - sum(a s)).
void backward_gradient(GradientBuilder& g) {
  const bool keepdims = g.params<PickLogSoftmaxParams>().keepdims;
  const auto last = [](bool keep) { return ParamMap{{"axis", int64_t{-1}}, {"keepdims", keep}}; };
  const Value a = g.head(0);
  const Value s = g.call("softmax", {g.input(0)});
  const Value weighted = g.call("elemwise_mul", {a, s});
  if (g.needs(3)) {
    g.give(3, g.call("elemwise_sub",
                     {g.call("pick", {a, g.input(1)}, last(keepdims)), g.call("sum", {weighted}, last(keepdims))}));
  }
  if (g.needs(0)) {
    const Value dy = keepdims ? g.input(3) : g.call("expand_dims", {g.input(3)}, ParamMap{{"axis", int64_t{-1}}});
    const Value centred = g.call("broadcast_sub", {a, g.call("sum", {weighted}, last(true))});
    g.give(0, g.call("broadcast_mul", {g.call("elemwise_mul", {s, centred}), g.call("negative", {dy})}));
  }
}

const RegisterOp pick_log_softmax{{
    .name = "_pick_log_softmax",
    .doc = "pick(log_softmax(data), index) along the last dimension, in one pass. Indices outside are clipped.\n\n"
           "Shapes: data (..., n) of at least 2 dimensions, index (...) or (..., 1), output (...), or (..., 1) with "
           "`keepdims`.",
    .params = schema_of<PickLogSoftmaxParams>(),
    .inputs = Inputs{"data", "index"}.sets_apart({"index"}),
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
      g.give(0, "_backward_pick_log_softmax", {g.input(0), g.input(1), g.output(1), g.head(0)}, g.params_ref());
    }),
    .kernels = {{"rows", prepare_forward}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_pick_log_softmax{{
    .name = "_backward_pick_log_softmax",
    .doc = "Gradient of _pick_log_softmax with respect to data.",
    .params = schema_of<PickLogSoftmaxParams>(),
    .inputs = {"data", "index", "norm", "dy"},
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient(backward_gradient).without_outputs(),
    .kernels = {{"rows", prepare_backward}},
    .flags = {.inplace = true, .hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
