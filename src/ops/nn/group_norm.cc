// SPDX-License-Identifier: Apache-2.0
// InstanceNorm and GroupNorm: rows are runs of channels of one sample.
#include <algorithm>

#include "operator/op.h"
#include "ops/nn/norm_gradient.h"
#include "ops/nn/row_norm.h"

namespace mxnet::nn {
namespace {

struct InstanceNormParams {
  float eps = 1e-3f;
  static void declare(ParamSchemaOf<InstanceNormParams>& s) {
    s.field("eps", &InstanceNormParams::eps, "Added to the variance before its root is taken.").range(0, 1e30);
  }
  bool output_mean_var = false;
};

struct GroupNormParams {
  int64_t num_groups = 1;
  float eps = 1e-5f;
  bool output_mean_var = false;
  static void declare(ParamSchemaOf<GroupNormParams>& s) {
    s.field("num_groups", &GroupNormParams::num_groups, "Number of groups that the channels are cut in.")
        .range(1, 1e15);
    s.field("eps", &GroupNormParams::eps, "Added to the variance before its root is taken.").range(0, 1e30);
    s.field("output_mean_var", &GroupNormParams::output_mean_var, "Whether mean and deviation are outputs as well.");
  }
};

// Rows per sample, which is also the length of gamma and beta; -1 while unknown.
int64_t groups(const InstanceNormParams&, const Shape& data) { return data[1]; }
int64_t groups(const GroupNormParams& p, const Shape&) { return p.num_groups; }

template <typename P>
int num_visible(const Params& p) {
  return p.as<P>().output_mean_var ? 3 : 1;
}

template <typename P>
void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 3) c.bad(str("data must have at least 3 dimensions, got shape ", data));
  const int64_t n = groups(c.as<P>(), data);
  if (n > 0 && data[1] >= 0 && data[1] % n != 0) {
    c.bad(str("data has ", data[1], " channels, not a multiple of num_groups ", n));
  }
  c.merge_in(1, {n});
  c.merge_in(2, {n});
  for (size_t i = 1; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), {data[0], c.in[1].shape[0]});
}

template <typename P>
void infer_dtype(InferContext& c) {
  c.merge_in_dtype(0, c.out[0].dtype);
  const DType data = c.in[0].dtype;
  if (data == DType::unknown) return;
  if (!is_float(data)) c.bad(str("data must be of a floating point dtype, got ", name_of(data)));
  c.merge_in_dtype(1, data);
  c.merge_in_dtype(2, data);
  const int visible = num_visible<P>(c.params);
  for (int i = 0; i < visible; ++i) c.merge_out_dtype(i, data);
  c.merge_out_dtype(visible, statistics_type(data));
  c.merge_out_dtype(visible + 1, statistics_type(data));
}

template <typename P>
RowNormView view_of(const P& p, const TensorSpec& x) {
  RowNormView v{.dtype = x.dtype, .eps = p.eps};
  v.row_groups = std::max<int64_t>(1, groups(p, x.shape));
  v.rows = x.shape.size() == 0 ? 0 : x.shape[0] * v.row_groups;
  v.n = v.rows == 0 ? 0 : x.shape.size() / v.rows;
  return v;
}

template <typename P>
Prepared prepare_forward(const PrepareArgs& a) {
  const RowNormView v = view_of(a.as<P>(), a.in[0]);
  const int visible = num_visible<P>(a.params);
  const size_t statistics = static_cast<size_t>(v.rows) * static_cast<size_t>(size_of(statistics_type(v.dtype)));
  auto run = [=](const KernelCall& c) {
    void* mean = c.out[visible] ? c.out[visible] : c.scratch;
    void* rstd = c.out[visible + 1] ? c.out[visible + 1] : static_cast<char*>(c.scratch) + statistics;
    row_norm_forward(v, c.in[0], c.in[1], c.in[2], c.out[0], mean, rstd);
    if (visible == 1) return;
    dispatch_float(v.dtype, [&]<typename T>(TypeTag<T>) {
      using A = accumulate_t<T>;
      for (int64_t r = 0; r < v.rows; ++r) {
        if (c.out[1]) static_cast<T*>(c.out[1])[r] = static_cast<T>(static_cast<const A*>(mean)[r]);
        if (c.out[2]) static_cast<T*>(c.out[2])[r] = static_cast<T>(A(1) / static_cast<const A*>(rstd)[r]);
      }
    });
  };
  return make_kernel(std::move(run), row_norm_cost(v), 2 * statistics);
}

// in: dy, x, gamma, mean, rstd; out: dx, dgamma, dbeta.
template <typename P>
Prepared prepare_backward(const PrepareArgs& a) {
  const RowNormView v = view_of(a.as<P>(), a.in[1]);
  auto run = [v](const KernelCall& c) {
    row_norm_backward(v, c.in[0], c.in[1], c.in[2], c.in[3], c.in[4], c.out[0], c.out[1], c.out[2], c.scratch);
  };
  return make_kernel(std::move(run), 2 * row_norm_cost(v), row_norm_backward_scratch(v));
}

void infer_backward_shape(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
  c.merge_out(2, c.in[2].shape);
}
void infer_backward_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[1].dtype);
  c.merge_out_dtype(1, c.in[2].dtype);
  c.merge_out_dtype(2, c.in[2].dtype);
}

void backward_gradient(GradientBuilder& g, const InstanceNormParams& p) {
  const ParamValue channel{int64_t{1}}, both{ParamList{int64_t{0}, int64_t{1}}};
  normalization_backward_gradient(g, {.together = {{"axis", both}, {"exclude", true}, {"keepdims", true}},
                                      .all_but_gamma = {{"axis", channel}, {"exclude", true}},
                                      .keep_gamma = {{"axis", channel}, {"exclude", true}, {"keepdims", true}},
                                      .eps = p.eps});
}

// The groups as an axis of their own: (n, groups, rest).
void backward_gradient(GradientBuilder& g, const GroupNormParams& p) {
  const ParamValue rest{int64_t{2}}, groups{int64_t{1}};
  const ParamMap split{{"shape", ParamList{int64_t{0}, p.num_groups, int64_t{-1}}}};
  normalization_backward_gradient(g,
                                  {.together = {{"axis", rest}, {"keepdims", true}},
                                   .all_but_gamma = {{"axis", groups}, {"exclude", true}},
                                   .keep_gamma = {{"axis", groups}, {"exclude", true}, {"keepdims", true}},
                                   .eps = p.eps,
                                   .fold = [&g, split](const Value& v) { return g.call("Reshape", {v}, split); },
                                   .unfold = [&g](const Value& v) { return g.call("reshape_like", {v, g.input(1)}); }});
}

template <typename P>
constexpr const char* kBackward = std::is_same_v<P, GroupNormParams> ? "_backward_GroupNorm" : "_backward_InstanceNorm";

template <typename P>
OpDef forward_op(const char* name, const char* doc) {
  return {.name = name,
          .doc = doc,
          .params = schema_of<P>(),
          .inputs = {"data", "gamma", "beta"},
          .outputs = Outputs(num_visible<P>).with_residuals(2).named({"output", "mean", "std"}),
          .infer = {infer_shape<P>, infer_dtype<P>},
          .gradient = Gradient([](GradientBuilder& g) {
                        const int saved = num_visible<P>(*g.params_ref());
                        g.give_all({0, 1, 2}, kBackward<P>,
                                   {g.head(0), g.input(0), g.input(1), g.output(saved), g.output(saved + 1)},
                                   g.params_ref());
                      }).without_outputs(),
          .kernels = {{"rows", prepare_forward<P>}},
          .flags = {.precision = Precision::full}};
}

template <typename P>
OpDef backward_op() {
  return {.name = kBackward<P>,
          .doc = "Gradients of the operator after which it is named.",
          .params = schema_of<P>(),
          .inputs = {"dy", "data", "gamma", "mean", "rstd"},
          .outputs = 3,
          .infer = {infer_backward_shape, infer_backward_dtype},
          .gradient = Gradient([](GradientBuilder& g) { backward_gradient(g, g.params<P>()); }).without_outputs(),
          .kernels = {{"rows", prepare_backward<P>}},
          .flags = {.hidden = true}};
}

const RegisterOp instance_norm(forward_op<InstanceNormParams>(
    "InstanceNorm",
    "Normalizes every channel of every sample to mean 0 and variance 1, then scales by gamma and shifts by beta.\n\n"
    "Shapes: data (n, c, ...) of at least 3 dimensions, gamma and beta (c,), output as data."));
const RegisterOp group_norm(forward_op<GroupNormParams>(
    "GroupNorm",
    "Normalizes groups of channels of every sample to mean 0 and variance 1, then scales by gamma and shifts by "
    "beta.\n\n"
    "Shapes: data (n, c, ...) of at least 3 dimensions, gamma and beta (num_groups,), output as data; with "
    "`output_mean_var` also mean and deviation, (n, num_groups)."));
const RegisterOp backward_instance_norm(backward_op<InstanceNormParams>());
const RegisterOp backward_group_norm(backward_op<GroupNormParams>());

}  // namespace
}  // namespace mxnet::nn
