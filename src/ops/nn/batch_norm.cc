// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/batch_norm.h"

#include <cmath>

#include "backend/cpu/parallel.h"
#include "operator/through_float.h"
#include "ops/nn/norm_gradient.h"

namespace mxnet::nn {

void infer_batch_norm_shape(InferContext& c) {
  const auto& p = c.as<BatchNormParams>();
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  int64_t channels = -1;
  if (data.rank_known()) channels = data[normalize_axis(p.axis, data.rank(), "BatchNorm")];
  for (int i = 1; i < 5; ++i) c.merge_in(i, {channels});
  for (size_t i = 1; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[1].shape);
}

void infer_batch_norm_dtype(InferContext& c) {
  const DType data = c.in[0].dtype;
  if (data == DType::unknown) return c.merge_in_dtype(0, c.out[0].dtype);
  if (!is_float(data)) c.bad(str("data must be of a floating point dtype, got ", name_of(data)));
  c.merge_out_dtype(0, data);
  const DType statistics = is_half(data) ? DType::f32 : data;
  for (int i = 1; i < 5; ++i) c.merge_in_dtype(i, statistics);
  for (size_t i = 1; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), statistics);
}

namespace {

onednn::Desc describe(const ChannelView& v, DType dtype) {
  if (v.inner == 1) return onednn::describe({1, v.channels, v.outer, 1}, dtype, Layout::channels_last);
  return onednn::describe({v.outer, v.channels, v.inner, 1}, dtype);
}

class OneDnnForward final : public BatchNormForward {
 public:
  OneDnnForward(const PrepareArgs& a, const ChannelView& view) : BatchNormForward(a, view), team_(a.team) {
    const auto& p = a.as<BatchNormParams>();
    const onednn::ThreadScope scope(team_);
    using dnnl::normalization_flags;
    auto flags = normalization_flags::use_shift;
    scaled_ = !p.fix_gamma;
    if (scaled_) flags = flags | normalization_flags::use_scale;
    if (!batch_statistics_) flags = flags | normalization_flags::use_global_stats;
    const auto kind = batch_statistics_ ? dnnl::prop_kind::forward_training : dnnl::prop_kind::forward_inference;
    const auto data = describe(view, a.in[0].dtype);
    const auto channels = onednn::describe({view.channels}, DType::f32);
    const dnnl::batch_normalization_forward::primitive_desc pd(
        onednn::engine(), kind, data, data, static_cast<float>(p.eps), flags, onednn::user_scratch());
    std::vector<onednn::Primitive::Slot> slots{{DNNL_ARG_SRC, data},       {DNNL_ARG_DST, data},
                                               {DNNL_ARG_MEAN, channels},  {DNNL_ARG_VARIANCE, channels},
                                               {DNNL_ARG_SHIFT, channels}, {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
    if (scaled_) slots.push_back({DNNL_ARG_SCALE, channels});
    norm_ = onednn::Primitive(dnnl::batch_normalization_forward(pd), std::move(slots));
    inner_at_ = plan_.add(pd.scratchpad_desc());
    scratch = plan_.size();
    team_matters = true;
  }

  void run(const KernelCall& c) const override {
    before<float>(c);
    const auto s = statistics<float>(c);
    {
      const onednn::ThreadScope scope(team_);
      void* inner = onednn::at(c.scratch, inner_at_);
      if (scaled_)
        norm_.run({c.in[0], c.out[0], s.mean, s.var, c.in[2], inner, c.in[1]});
      else
        norm_.run({c.in[0], c.out[0], s.mean, s.var, c.in[2], inner});
    }
    after<float>(c, s);
  }

 private:
  int team_;
  bool scaled_;
  onednn::Primitive norm_;
  size_t inner_at_;
};

template <typename T>
class PortableForward final : public BatchNormForward {
 public:
  PortableForward(const PrepareArgs& a, const ChannelView& view) : BatchNormForward(a, view) {
    scratch = plan_.size();
    cost_ns *= 8;
  }

  void run(const KernelCall& c) const override {
    const auto& p = c.params->as<BatchNormParams>();
    before<A>(c);
    const auto s = statistics<A>(c);
    const T* x = static_cast<const T*>(c.in[0]);
    T* y = static_cast<T*>(c.out[0]);
    const A* gamma = static_cast<const A*>(c.in[1]);
    const A* beta = static_cast<const A*>(c.in[2]);
    cpu::parallel_for(
        view_.channels, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, view_.count())),
        [&](int64_t begin, int64_t end) {
          for (int64_t ch = begin; ch < end; ++ch) {
            if (batch_statistics_) measure(x, ch, s.mean + ch, s.var + ch);
            const A factor = (p.fix_gamma ? A(1) : gamma[ch]) / std::sqrt(s.var[ch] + static_cast<A>(p.eps));
            each(ch,
                 [&](int64_t i) { y[i] = static_cast<T>((static_cast<A>(x[i]) - s.mean[ch]) * factor + beta[ch]); });
          }
        });
    after<A>(c, s);
  }

 private:
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;

  template <typename F>
  void each(int64_t channel, F&& f) const {
    for (int64_t o = 0; o < view_.outer; ++o) {
      const int64_t at = (o * view_.channels + channel) * view_.inner;
      for (int64_t i = at; i < at + view_.inner; ++i) f(i);
    }
  }
  void measure(const T* x, int64_t channel, A* mean, A* var) const {
    double sum = 0, squares = 0;
    const double n = static_cast<double>(std::max<int64_t>(1, view_.count()));
    each(channel, [&](int64_t i) { sum += static_cast<double>(x[i]); });
    const double m = sum / n;
    each(channel, [&](int64_t i) {
      const double d = static_cast<double>(x[i]) - m;
      squares += d * d;
    });
    *mean = static_cast<A>(m);
    *var = static_cast<A>(squares / n);
  }
};

Prepared prepare_onednn(const PrepareArgs& a) {
  if (!onednn::computes(a.in[0].dtype)) return "oneDNN does not normalize this dtype";
  if (a.in[0].shape.size() == 0) return "the data is empty";
  const ChannelView view = view_of(a.in[0], a.as<BatchNormParams>().axis, &a.in_layout[0]);
  a.out[0].layout = a.in_layout[0];
  return onednn::or_refuse<Prepared>([&]() -> Prepared { return std::unique_ptr<Kernel>(new OneDnnForward(a, view)); });
}

Prepared prepare_portable(const PrepareArgs& a) {
  const ChannelView view = view_of(a.in[0], a.as<BatchNormParams>().axis, &a.in_layout[0]);
  a.out[0].layout = a.in_layout[0];
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return std::unique_ptr<Kernel>(new PortableForward<T>(a, view));
  });
}

// ---- backward: (dy, x, gamma, mean, var) -> (dx, dgamma, dbeta)
// ------------------------------------------------------

class OneDnnBackward final : public Kernel {
 public:
  OneDnnBackward(const PrepareArgs& a, const ChannelView& view) : view_(view), team_(a.team) {
    const auto& p = a.as<BatchNormBackwardParams>();
    const onednn::ThreadScope scope(team_);
    using dnnl::normalization_flags;
    fixed_ = p.fix_gamma;
    auto flags = normalization_flags::use_shift;
    if (!fixed_) flags = flags | normalization_flags::use_scale;
    if (p.constant) flags = flags | normalization_flags::use_global_stats;
    const auto data = describe(view, a.in[1].dtype);
    const auto channels = onednn::describe({view.channels}, DType::f32);
    const float eps = static_cast<float>(p.eps);
    const auto attr = onednn::user_scratch();
    const dnnl::batch_normalization_forward::primitive_desc forward(onednn::engine(), dnnl::prop_kind::forward_training,
                                                                    data, data, eps, flags, attr);
    const dnnl::batch_normalization_backward::primitive_desc pd(onednn::engine(), dnnl::prop_kind::backward, data, data,
                                                                data, eps, flags, forward, attr);
    std::vector<onednn::Primitive::Slot> slots{{DNNL_ARG_DIFF_DST, data},
                                               {DNNL_ARG_SRC, data},
                                               {DNNL_ARG_MEAN, channels},
                                               {DNNL_ARG_VARIANCE, channels},
                                               {DNNL_ARG_DIFF_SRC, data},
                                               {DNNL_ARG_DIFF_SHIFT, channels},
                                               {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
    if (!fixed_) {
      slots.push_back({DNNL_ARG_SCALE, channels});
      slots.push_back({DNNL_ARG_DIFF_SCALE, channels});
    }
    norm_ = onednn::Primitive(dnnl::batch_normalization_backward(pd), std::move(slots));
    onednn::ScratchPlan plan;
    inner_at_ = plan.add(pd.scratchpad_desc());
    data_at_ = plan.add(a.req[0] == Req::null ? data.get_size() : 0);
    gamma_at_ = plan.add(channels);
    beta_at_ = plan.add(channels);
    scratch = plan.size();
    cost_ns = batch_norm_cost(view, 4);
    team_matters = true;
  }

  void run(const KernelCall& c) const override {
    const onednn::ThreadScope scope(team_);
    void* dx = c.out[0] ? c.out[0] : onednn::at(c.scratch, data_at_);
    void* dgamma = c.out[1] ? c.out[1] : onednn::at(c.scratch, gamma_at_);
    void* dbeta = c.out[2] ? c.out[2] : onednn::at(c.scratch, beta_at_);
    void* inner = onednn::at(c.scratch, inner_at_);
    if (fixed_) {
      norm_.run({c.in[0], c.in[1], c.in[3], c.in[4], dx, dbeta, inner});
      std::fill_n(static_cast<float*>(dgamma), view_.channels, 0.0f);
    } else {
      norm_.run({c.in[0], c.in[1], c.in[3], c.in[4], dx, dbeta, inner, c.in[2], dgamma});
    }
  }

 private:
  ChannelView view_;
  int team_;
  bool fixed_;
  onednn::Primitive norm_;
  size_t inner_at_, data_at_, gamma_at_, beta_at_;
};

template <typename T>
Prepared portable_backward(const ChannelView& v) {
  using A = std::conditional_t<std::is_same_v<T, double>, double, float>;
  auto run = [v](const KernelCall& c) {
    const auto& p = c.params->as<BatchNormBackwardParams>();
    const T* dy = static_cast<const T*>(c.in[0]);
    const T* x = static_cast<const T*>(c.in[1]);
    const double n = static_cast<double>(std::max<int64_t>(1, v.count()));
    cpu::parallel_for(
        v.channels, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, v.count())), [&](int64_t begin, int64_t end) {
          for (int64_t ch = begin; ch < end; ++ch) {
            const auto each = [&](auto&& f) {
              for (int64_t o = 0; o < v.outer; ++o) {
                const int64_t at = (o * v.channels + ch) * v.inner;
                for (int64_t i = at; i < at + v.inner; ++i) f(i);
              }
            };
            const double mean = static_cast<double>(static_cast<const A*>(c.in[3])[ch]);
            const double inverse = 1 / std::sqrt(static_cast<double>(static_cast<const A*>(c.in[4])[ch]) + p.eps);
            const double gamma = p.fix_gamma ? 1.0 : static_cast<double>(static_cast<const A*>(c.in[2])[ch]);
            double sum = 0, dot = 0;
            each([&](int64_t i) {
              sum += static_cast<double>(dy[i]);
              dot += static_cast<double>(dy[i]) * (static_cast<double>(x[i]) - mean) * inverse;
            });
            if (c.out[1]) static_cast<A*>(c.out[1])[ch] = p.fix_gamma ? A(0) : static_cast<A>(dot);
            if (c.out[2]) static_cast<A*>(c.out[2])[ch] = static_cast<A>(sum);
            if (!c.out[0]) continue;
            T* dx = static_cast<T*>(c.out[0]);
            const double shift = p.constant ? 0.0 : sum / n, slope = p.constant ? 0.0 : dot / n;
            each([&](int64_t i) {
              const double normal = (static_cast<double>(x[i]) - mean) * inverse;
              dx[i] = static_cast<T>(
                  static_cast<A>(gamma * inverse * (static_cast<double>(dy[i]) - shift - normal * slope)));
            });
          }
        });
  };
  return make_kernel(std::move(run), 8 * batch_norm_cost(v, 4));
}

ChannelView backward_view(const PrepareArgs& a) {
  const ChannelView view = view_of(a.in[1], a.as<BatchNormBackwardParams>().axis, &a.in_layout[1]);
  a.in_layout[0] = a.out[0].layout = a.in_layout[1];
  return view;
}

Prepared prepare_backward_onednn(const PrepareArgs& a) {
  if (!onednn::computes(a.in[1].dtype)) return "oneDNN does not normalize this dtype";
  if (a.in[1].shape.size() == 0) return "the data is empty";
  const ChannelView view = backward_view(a);
  return onednn::or_refuse<Prepared>(
      [&]() -> Prepared { return std::unique_ptr<Kernel>(new OneDnnBackward(a, view)); });
}

Prepared prepare_backward_portable(const PrepareArgs& a) {
  const ChannelView view = backward_view(a);
  return dispatch_float(a.in[1].dtype, [&]<typename T>(TypeTag<T>) { return portable_backward<T>(view); });
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

void gradient(GradientBuilder& g) {
  const auto& p = g.params<BatchNormParams>();
  const int saved = p.output_mean_var ? 3 : 1;
  const Ref<Params> params = make_params<BatchNormBackwardParams>(
      {.eps = p.eps, .fix_gamma = p.fix_gamma, .constant = p.use_global_stats || !g.training(), .axis = p.axis});
  g.give_all({0, 1, 2}, "_backward_BatchNorm",
             {g.head(0), g.input(0), g.input(1), g.output(saved), g.output(saved + 1)}, params);
}

void backward_gradient(GradientBuilder& g) {
  const auto& p = g.params<BatchNormBackwardParams>();
  if (p.relu) fail(ErrorKind::not_supported, "BatchNorm: gradients of a fused gradient");
  const ParamValue axis{static_cast<int64_t>(p.axis)};
  normalization_backward_gradient(g,
                                  {.together = {{"axis", axis}, {"exclude", true}, {"keepdims", true}},
                                   .all_but_gamma = {{"axis", axis}, {"exclude", true}},
                                   .keep_gamma = {{"axis", axis}, {"exclude", true}, {"keepdims", true}},
                                   .eps = p.eps,
                                   .unit_gamma = p.fix_gamma},
                                  p.constant);
}

OpDef forward_op(const char* name, std::vector<std::string> aliases, const ParamSchema& params, const char* doc) {
  return {.name = name,
          .doc = doc,
          .aliases = std::move(aliases),
          .params = params,
          .inputs = Inputs{"data", "gamma", "beta", "moving_mean", "moving_var"}.with_auxiliary(
              {"moving_mean", "moving_var"}),
          .outputs = Outputs(batch_norm_outputs).with_residuals(2).named({"output", "mean", "var"}),
          .infer = {infer_batch_norm_shape, infer_batch_norm_dtype},
          .gradient = Gradient(gradient).without_outputs(),
          .kernels = {{"rows", [](const PrepareArgs& a) { return prepare_batch_norm_rows(a, {}); }},
                      {"onednn", prepare_onednn},
                      {"through float", prepare_through_float<prepare_onednn>},
                      {"portable", prepare_portable}},
          .flags = {.training_mode = true, .mutates_in_training = true, .inplace = true}};
}

const RegisterOp batch_norm(forward_op(
    "BatchNorm", {"BatchNorm_v1", "CuDNNBatchNorm"}, schema_of<BatchNormParams>(),
    "Normalizes each channel to mean 0 and variance 1 over the batch, then scales by gamma and shifts by beta.\n\n"
    "In training the statistics are the batch's, and the moving ones are updated: moving = moving * momentum + batch * "
    "(1 - momentum); otherwise the moving ones are used.\n"
    "Shapes: data of any shape, the other inputs (channels,), output as data; with `output_mean_var` also mean and "
    "1 / sqrt(variance + eps), (channels,). For half-precision data the other arrays are float32."));
const RegisterOp sync_batch_norm([] {
  OpDef op = forward_op(
      "_contrib_SyncBatchNorm", {}, schema_of<SyncBatchNormParams>(),
      "BatchNorm whose statistics in training are those of the data on all `ndev` devices together.\n\n"
      "Each device calls it once with the same `key` for every step, backward included; the calls wait for each other, "
      "so nothing may read a result before the last device has called. A call that the others do not join within "
      "MXNET_SYNC_TIMEOUT seconds (120) fails, and with it the calls that waited. With one device, with "
      "`use_global_stats` and outside of training it is BatchNorm.\n"
      "Shapes: as BatchNorm, channels in axis 1.");
  op.composed = [](const Params& p) { return p.as<SyncBatchNormParams>().ndev > 1; };
  return op;
}());

const RegisterOp backward_batch_norm{{
    .name = "_backward_BatchNorm",
    .doc = "Gradients of BatchNorm with respect to data, gamma and beta.",
    .params = schema_of<BatchNormBackwardParams>(),
    .inputs = Inputs({"dy", "data", "gamma", "mean", "var", "scale", "shift"},
                     [](const Params& p) { return p.as<BatchNormBackwardParams>().relu ? 7 : 5; }),
    .outputs = 3,
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient(backward_gradient).without_outputs(),
    .kernels = {{"rows", prepare_batch_norm_rows_backward},
                {"onednn", prepare_backward_onednn},
                {"through float", prepare_through_float<prepare_backward_onednn>},
                {"portable", prepare_backward_portable}},
    .flags = {.inplace = true, .hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
