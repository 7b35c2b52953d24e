// SPDX-License-Identifier: Apache-2.0
// What the kernels of BatchNorm share. Internal to the operators of that family.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "backend/cpu/onednn.h"
#include "operator/op.h"

namespace mxnet::nn {

struct BatchNormParams {
  double eps = 1e-3f;
  float momentum = 0.9f;
  bool fix_gamma = true;
  bool use_global_stats = false;
  bool output_mean_var = false;
  int axis = 1;
  bool cudnn_off = false;
  std::optional<float> min_calib_range, max_calib_range;

  static void declare(ParamSchemaOf<BatchNormParams>& s) { declare_fields(s); }
  template <typename P>
  static void declare_fields(ParamSchemaOf<P>& s) {
    s.template field<double>("eps", &P::eps, "Added to the variance before its root is taken.").range(0, 1e30);
    s.template field<float>("momentum", &P::momentum, "Part of the old moving statistics that an update keeps.");
    s.template field<bool>("fix_gamma", &P::fix_gamma,
                           "Whether gamma is 1 and has no gradient; training then sets the array to 1.");
    s.template field<bool>("use_global_stats", &P::use_global_stats,
                           "Whether training, too, uses the moving statistics.");
    s.template field<bool>("output_mean_var", &P::output_mean_var,
                           "Whether mean and inverse deviation are outputs as well.");
    s.template field<int>("axis", &P::axis, "The axis of channels.");
    s.template field<bool>("cudnn_off", &P::cudnn_off, "Has no effect on a CPU.");
    s.template field<std::optional<float>>("min_calib_range", &P::min_calib_range, "Read by quantization.");
    s.template field<std::optional<float>>("max_calib_range", &P::max_calib_range, "Read by quantization.");
  }
};

struct SyncBatchNormParams : BatchNormParams {
  int ndev = 1;
  std::string key;

  static void declare(ParamSchemaOf<SyncBatchNormParams>& s) {
    using P = SyncBatchNormParams;
    s.field<double>("eps", &P::eps, "Added to the variance before its root is taken.").range(0, 1e30);
    s.field<float>("momentum", &P::momentum, "Part of the old moving statistics that an update keeps.");
    s.field<bool>("fix_gamma", &P::fix_gamma, "Whether gamma is 1 and has no gradient.");
    s.field<bool>("use_global_stats", &P::use_global_stats, "Whether training, too, uses the moving statistics.");
    s.field<bool>("output_mean_var", &P::output_mean_var, "Whether mean and inverse deviation are outputs as well.");
    s.field("ndev", &P::ndev, "Number of devices that share the statistics.").range(1, 1 << 16);
    s.field("key", &P::key, "Name of the group of devices, its own for each layer.").required();
  }
};

// What the gradient needs: with `constant` the statistics do not depend on the data.
struct BatchNormBackwardParams {
  double eps = 1e-3f;
  bool fix_gamma = true;
  bool constant = false;
  int axis = 1;
  bool relu = false;  // the forward ended in a relu, which let (x - mean) * scale + shift pass where it is positive

  static void declare(ParamSchemaOf<BatchNormBackwardParams>& s) {
    s.field("eps", &BatchNormBackwardParams::eps, "Added to the variance before its root is taken.");
    s.field("fix_gamma", &BatchNormBackwardParams::fix_gamma, "Whether gamma is 1 and has no gradient.");
    s.field("constant", &BatchNormBackwardParams::constant, "Whether the statistics are constants.");
    s.field("axis", &BatchNormBackwardParams::axis, "The axis of channels.");
    s.field("relu", &BatchNormBackwardParams::relu,
            "Whether a relu followed; inputs scale and shift then tell what it let pass.");
  }
};

inline int batch_norm_outputs(const Params& p) { return p.as<BatchNormParams>().output_mean_var ? 3 : 1; }

// Data as (outer, channels, inner): any layout and axis comes down to that.
struct ChannelView {
  int64_t outer, channels, inner;
  int64_t count() const { return outer * inner; }
};

inline ChannelView view_of(const TensorSpec& x, int axis_param, Layout* layout) {
  const int axis = normalize_axis(axis_param, x.shape.rank(), "BatchNorm");
  if (axis == 1 && x.layout == Layout::channels_last) {
    *layout = Layout::channels_last;
    return {x.shape.size() / std::max<int64_t>(1, x.shape[1]), x.shape[1], 1};
  }
  *layout = Layout::plain;
  return {x.shape.size(0, axis), x.shape[axis], x.shape.size(axis + 1, x.shape.rank())};
}

inline int64_t batch_norm_cost(const ChannelView& v, int passes) {
  return 500 + v.outer * v.channels * v.inner * passes / 4;
}

// Forward, whatever computes the normalization: which statistics, what becomes of them.
class BatchNormForward : public Kernel {
 public:
  BatchNormForward(const PrepareArgs& a, const ChannelView& view)
      : view_(view), visible_(batch_norm_outputs(a.params)) {
    const auto& p = a.as<BatchNormParams>();
    batch_statistics_ = a.training && !p.use_global_stats;
    training_ = a.training;
    own_mean_ = plan_.add(sizeof(double) * static_cast<size_t>(view.channels));
    own_var_ = plan_.add(sizeof(double) * static_cast<size_t>(view.channels));
    cost_ns = batch_norm_cost(view, batch_statistics_ ? 3 : 1);
  }

 protected:
  template <typename A>
  struct Statistics {
    A *mean, *var;
  };

  // Where the batch's statistics go, or the moving ones.
  template <typename A>
  Statistics<A> statistics(const KernelCall& c) const {
    if (!batch_statistics_) return {static_cast<A*>(c.in[3]), static_cast<A*>(c.in[4])};
    void* mean = c.out[visible_] ? c.out[visible_] : onednn::at(c.scratch, own_mean_);
    void* var = c.out[visible_ + 1] ? c.out[visible_ + 1] : onednn::at(c.scratch, own_var_);
    return {static_cast<A*>(mean), static_cast<A*>(var)};
  }

  template <typename A>
  void before(const KernelCall& c) const {
    const auto& p = c.params->as<BatchNormParams>();
    if (!p.fix_gamma || !training_) return;
    A* gamma = static_cast<A*>(c.in[1]);
    for (int64_t i = 0; i < view_.channels; ++i) {
      if (gamma[i] != A(1)) gamma[i] = A(1);
    }
  }

  template <typename A>
  void after(const KernelCall& c, const Statistics<A>& s) const {
    const auto& p = c.params->as<BatchNormParams>();
    if (visible_ == 3) {
      for (int64_t i = 0; i < view_.channels; ++i) {
        if (c.out[1]) static_cast<A*>(c.out[1])[i] = s.mean[i];
        if (c.out[2]) static_cast<A*>(c.out[2])[i] = A(1) / std::sqrt(s.var[i] + static_cast<A>(p.eps));
      }
    }
    if (batch_statistics_) {
      const A keep = static_cast<A>(p.momentum);
      A* mean = static_cast<A*>(c.in[3]);
      A* var = static_cast<A*>(c.in[4]);
      for (int64_t i = 0; i < view_.channels; ++i) {
        mean[i] = mean[i] * keep + s.mean[i] * (A(1) - keep);
        var[i] = var[i] * keep + s.var[i] * (A(1) - keep);
      }
      return;
    }
    for (int k = 0; k < 2; ++k) {
      if (!c.out[visible_ + k]) continue;
      std::copy_n(k == 0 ? s.mean : s.var, view_.channels, static_cast<A*>(c.out[visible_ + k]));
    }
  }

  ChannelView view_;
  int visible_;
  bool batch_statistics_, training_;
  onednn::ScratchPlan plan_;
  size_t own_mean_, own_var_;
};

// What a kernel does behind the normalization.
struct NormFold {
  bool relu = false;
  bool sum = false;  // adds input 5 before the relu
};

// Rows of channels, float32 or halves; refused where layout, dtype or few channels do not suit. With a fold the
// residuals are mean, variance, scale and shift.
Prepared prepare_batch_norm_rows(const PrepareArgs& a, const NormFold& fold);
Prepared prepare_batch_norm_rows_backward(const PrepareArgs& a);

// Shapes, dtypes and the number of statistics that the whole family has.
void infer_batch_norm_shape(InferContext& c);
void infer_batch_norm_dtype(InferContext& c);

}  // namespace mxnet::nn
