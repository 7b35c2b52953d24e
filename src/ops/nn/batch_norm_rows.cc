// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/batch_norm_rows.h"

#include "backend/cpu/parallel.h"
#include "ops/nn/batch_norm.h"

namespace mxnet::nn {
namespace {

constexpr int64_t kBlockElements = 32768;  // that one thread reads at a time; their sums are kept in float32

// Rows in blocks, the same whatever the team.
struct Blocks {
  Blocks(const ChannelView& v) : rows(v.outer), size(std::max<int64_t>(8, kBlockElements / v.channels / 8 * 8)) {}
  int64_t count() const { return (rows + size - 1) / size; }
  int64_t length(int64_t block) const { return std::min(size, rows - block * size); }

  // f(block), later blocks first where `backwards`: what was read last is still in cache.
  template <typename F>
  void each(bool backwards, F&& f) const {
    const int64_t n = count();
    cpu::parallel_for(n, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) f(backwards ? n - 1 - i : i);
    });
  }

  int64_t rows, size;
};

void* element(void* data, DType dtype, int64_t index) {
  return data ? static_cast<char*>(data) + index * static_cast<int64_t>(size_of(dtype)) : nullptr;
}

NormRows rows_of(const ChannelView& view, DType dtype, const Blocks& blocks, int64_t block, void* x) {
  return {.dtype = dtype,
          .rows = blocks.length(block),
          .channels = view.channels,
          .x = element(x, dtype, block * blocks.size * view.channels),
          .other = nullptr,
          .mean = nullptr,
          .scale = nullptr,
          .shift = nullptr,
          .relu = false};
}

float* floats_at(void* scratch, size_t offset) { return static_cast<float*>(onednn::at(scratch, offset)); }

// BatchNorm; or that with a relu after it and perhaps an array added between them.
class RowsForward final : public BatchNormForward {
 public:
  RowsForward(const PrepareArgs& a, const ChannelView& view, const NormFold& fold)
      : BatchNormForward(a, view), dtype_(a.in[0].dtype), fold_(fold), blocks_(view) {
    const size_t channels = static_cast<size_t>(view.channels), blocks = static_cast<size_t>(blocks_.count());
    sums_at_ = plan_.add(sizeof(float) * 3 * channels * blocks);
    merged_at_ = plan_.add(sizeof(double) * 2 * channels);
    scale_at_ = plan_.add(sizeof(float) * channels);
    scratch = plan_.size();
  }

  void run(const KernelCall& c) const override {
    before<float>(c);
    const auto s = statistics<float>(c);
    if (batch_statistics_) measure(c, s);
    const auto& p = c.params->as<BatchNormParams>();
    const auto* gamma = static_cast<const float*>(c.in[1]);
    const auto* beta = static_cast<const float*>(c.in[2]);
    float* scale = fold_.relu && c.out[3] ? static_cast<float*>(c.out[3]) : floats_at(c.scratch, scale_at_);
    for (int64_t i = 0; i < view_.channels; ++i) {
      const double inverse = 1 / std::sqrt(static_cast<double>(s.var[i]) + p.eps);
      scale[i] = static_cast<float>(p.fix_gamma ? inverse : static_cast<double>(gamma[i]) * inverse);
    }
    if (fold_.relu && c.out[4]) std::copy_n(beta, view_.channels, static_cast<float*>(c.out[4]));
    blocks_.each(batch_statistics_, [&](int64_t block) {
      NormRows rows = rows_of(view_, dtype_, blocks_, block, c.in[0]);
      const int64_t at = block * blocks_.size * view_.channels;
      rows.other = fold_.sum ? element(c.in[5], dtype_, at) : nullptr;
      rows.mean = s.mean, rows.scale = scale, rows.shift = beta, rows.relu = fold_.relu;
      batch_norm_kernels().normalize(rows, element(c.out[0], dtype_, at));
    });
    after<float>(c, s);
  }

 private:
  // Each block's sums are those of distances to its own first row, so that a large mean costs no digits.
  void measure(const KernelCall& c, const Statistics<float>& s) const {
    const int64_t channels = view_.channels;
    float* sums = floats_at(c.scratch, sums_at_);
    blocks_.each(false, [&](int64_t block) {
      NormRows rows = rows_of(view_, dtype_, blocks_, block, c.in[0]);
      float* origin = sums + 3 * channels * block;
      widen(rows.x, origin);
      rows.mean = origin;
      batch_norm_kernels().moments(rows, origin + channels, origin + 2 * channels);
    });
    auto* mean = static_cast<double*>(onednn::at(c.scratch, merged_at_));
    double* squares = mean + channels;
    std::fill_n(mean, 2 * channels, 0.0);
    double seen = 0;
    for (int64_t block = 0; block < blocks_.count(); ++block) {
      const double n = static_cast<double>(blocks_.length(block)), part = n / (seen + n), both = seen * part;
      const float* origin = sums + 3 * channels * block;
      for (int64_t i = 0; i < channels; ++i) {
        const double sum = static_cast<double>(origin[channels + i]);
        const double distance = static_cast<double>(origin[i]) + sum / n - mean[i];
        mean[i] += distance * part;
        squares[i] += static_cast<double>(origin[2 * channels + i]) - sum * sum / n + distance * distance * both;
      }
      seen += n;
    }
    for (int64_t i = 0; i < channels; ++i) {
      s.mean[i] = static_cast<float>(mean[i]);
      s.var[i] = static_cast<float>(std::max(0.0, squares[i] / seen));
    }
  }

  void widen(const void* row, float* to) const {
    dispatch_float(dtype_, [&]<typename T>(TypeTag<T>) {
      for (int64_t i = 0; i < view_.channels; ++i) to[i] = static_cast<float>(static_cast<const T*>(row)[i]);
    });
  }

  DType dtype_;
  NormFold fold_;
  Blocks blocks_;
  size_t sums_at_, merged_at_, scale_at_;
};

// in: dy, x, gamma, mean, var (, scale, shift); out: dx, dgamma, dbeta.
class RowsBackward final : public Kernel {
 public:
  RowsBackward(const PrepareArgs& a, const ChannelView& view) : view_(view), dtype_(a.in[1].dtype), blocks_(view) {
    onednn::ScratchPlan plan;
    const size_t channels = static_cast<size_t>(view.channels), blocks = static_cast<size_t>(blocks_.count());
    sums_at_ = plan.add(sizeof(float) * 2 * channels * blocks);
    factors_at_ = plan.add(sizeof(float) * 3 * channels);
    scratch = plan.size();
    cost_ns = batch_norm_cost(view, 4);
  }

  void run(const KernelCall& c) const override {
    const auto& p = c.params->as<BatchNormBackwardParams>();
    const int64_t channels = view_.channels;
    const auto rows = [&](int64_t block) {
      NormRows r = rows_of(view_, dtype_, blocks_, block, c.in[1]);
      r.mean = static_cast<const float*>(c.in[3]);
      r.relu = p.relu;
      if (p.relu) r.scale = static_cast<const float*>(c.in[5]), r.shift = static_cast<const float*>(c.in[6]);
      return r;
    };
    float* sums = floats_at(c.scratch, sums_at_);
    blocks_.each(false, [&](int64_t block) {
      float* to = sums + 2 * channels * block;
      const void* dy = element(c.in[0], dtype_, block * blocks_.size * channels);
      batch_norm_kernels().gradient_sums(rows(block), dy, to, to + channels);
    });
    float* slope = floats_at(c.scratch, factors_at_);
    finish_sums(c, p, sums, slope);
    if (!c.out[0]) return;
    blocks_.each(true, [&](int64_t block) {
      const int64_t at = block * blocks_.size * channels;
      batch_norm_kernels().gradient(rows(block), element(c.in[0], dtype_, at), slope, slope + channels,
                                    slope + 2 * channels, element(c.out[0], dtype_, at));
    });
  }

 private:
  // dx = slope * dy + tilt * (x - mean) + bias, one of each per channel; dgamma and dbeta.
  void finish_sums(const KernelCall& c, const BatchNormBackwardParams& p, const float* sums, float* slope) const {
    const int64_t channels = view_.channels;
    const double n = static_cast<double>(view_.outer);
    const auto* gamma = static_cast<const float*>(c.in[2]);
    const auto* var = static_cast<const float*>(c.in[4]);
    for (int64_t i = 0; i < channels; ++i) {
      double sum = 0, dot = 0;
      for (int64_t block = 0; block < blocks_.count(); ++block) {
        sum += static_cast<double>(sums[2 * channels * block + i]);
        dot += static_cast<double>(sums[2 * channels * block + channels + i]);
      }
      const double inverse = 1 / std::sqrt(static_cast<double>(var[i]) + p.eps);
      const double factor = p.fix_gamma ? inverse : static_cast<double>(gamma[i]) * inverse;
      if (c.out[1]) static_cast<float*>(c.out[1])[i] = p.fix_gamma ? 0.0f : static_cast<float>(dot * inverse);
      if (c.out[2]) static_cast<float*>(c.out[2])[i] = static_cast<float>(sum);
      slope[i] = static_cast<float>(factor);
      slope[channels + i] = p.constant ? 0.0f : static_cast<float>(-factor * inverse * inverse * dot / n);
      slope[2 * channels + i] = p.constant ? 0.0f : static_cast<float>(-factor * sum / n);
    }
  }

  ChannelView view_;
  DType dtype_;
  Blocks blocks_;
  size_t sums_at_, factors_at_;
};

const char* refusal(const TensorSpec& x, const ChannelView& view) {
  if (x.dtype != DType::f32 && !is_half(x.dtype)) return "rows are float32 or half precision";
  if (x.shape.size() == 0) return "the data is empty";
  if (view.inner != 1) return "channels are not last in memory";
  return view.channels < batch_norm_kernels().lanes ? "too few channels" : nullptr;
}

}  // namespace

Prepared prepare_batch_norm_rows(const PrepareArgs& a, const NormFold& fold) {
  TensorSpec x = a.in[0];
  const int axis = a.as<BatchNormParams>().axis;
  // A fold has no other kernel: it wants its layout.
  if (fold.relu && normalize_axis(axis, x.shape.rank(), "BatchNorm") == 1 && x.shape.rank() > 2) {
    x.layout = Layout::channels_last;
  }
  const ChannelView view = view_of(x, axis, &a.in_layout[0]);
  if (!fold.relu) {
    if (const char* reason = refusal(x, view)) return reason;
  }
  a.out[0].layout = a.in_layout[0];
  if (fold.sum) a.in_layout[5] = a.in_layout[0];
  return std::unique_ptr<Kernel>(new RowsForward(a, view, fold));
}

Prepared prepare_batch_norm_rows_backward(const PrepareArgs& a) {
  const auto& p = a.as<BatchNormBackwardParams>();
  TensorSpec x = a.in[1];
  if (p.relu && normalize_axis(p.axis, x.shape.rank(), "BatchNorm") == 1 && x.shape.rank() > 2) {
    x.layout = Layout::channels_last;
  }
  const ChannelView view = view_of(x, p.axis, &a.in_layout[1]);
  if (!p.relu) {
    if (const char* reason = refusal(x, view)) return reason;
  }
  a.in_layout[0] = a.out[0].layout = a.in_layout[1];
  return std::unique_ptr<Kernel>(new RowsBackward(a, view));
}

}  // namespace mxnet::nn
