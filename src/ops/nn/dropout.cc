// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/dropout.h"

#include <cmath>
#include <cstring>
#include <optional>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::nn {
namespace {

enum class Mode { training, always };

struct DropoutParams {
  float p = 0.5f;
  Mode mode = Mode::training;
  Shape axes;
  std::optional<bool> cudnn_off = false;

  static void declare(ParamSchemaOf<DropoutParams>& s) {
    s.field("p", &DropoutParams::p, "Part of the elements that are set to 0.").range(0, 1);
    s.choice("mode", &DropoutParams::mode, {{"always", Mode::always}, {"training", Mode::training}},
             "Whether elements are dropped outside training as well.");
    s.field("axes", &DropoutParams::axes, "Axes along which elements are dropped together.");
    s.field("cudnn_off", &DropoutParams::cudnn_off, "Has no effect on a CPU.");
  }
};

bool is_active(const DropoutParams& p, bool training) { return (training || p.mode == Mode::always) && p.p > 0; }

Shape mask_shape(const Shape& data, const DropoutParams& p) {
  Shape shape = data;
  for (dim_t axis : p.axes) shape[normalize_axis(axis, data.rank(), "Dropout", "axes")] = 1;
  return shape;
}

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  if (c.in[0].shape.rank_known()) c.merge_out(1, mask_shape(c.in[0].shape, c.as<DropoutParams>()));
}

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  c.merge_out_dtype(1, DType::u8);
}

float scale_of(const DropoutParams& p) { return p.p < 1 ? 1.0f / (1.0f - p.p) : 0.0f; }

constexpr int64_t kGrain = 64 * kMaskGroup;

// Spreads a mask over the axes along which it has size 1.
void expand_mask(const Shape& data, const Shape& mask, const uint8_t* from, uint8_t* to) {
  const Shape strides = strides_of(mask);
  const int64_t last = data.rank() > 0 ? data.back() : 1;
  const int64_t rows = last == 0 ? 0 : data.size() / last;
  cpu::parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, last)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t rest = row, offset = 0;
      for (int d = data.rank() - 2; d >= 0; --d) {
        if (mask[d] != 1) offset += rest % data[d] * strides[d];
        rest /= data[d];
      }
      uint8_t* out = to + row * last;
      if (mask.back() == 1)
        std::memset(out, from[offset], static_cast<size_t>(last));
      else
        std::memcpy(out, from + offset, static_cast<size_t>(last));
    }
  });
}

class DropoutKernel final : public Kernel {
 public:
  explicit DropoutKernel(const PrepareArgs& a) : data_(a.in[0].shape), dtype_(a.in[0].dtype) {
    const auto& p = a.as<DropoutParams>();
    mask_ = mask_shape(data_, p);
    active_ = is_active(p, a.training);
    scale_ = scale_of(p);
    threshold_ = static_cast<uint32_t>(std::lround(static_cast<double>(p.p) * 0x1p24));
    if (mask_ == data_) a.keep_layout();
    const int64_t n = data_.size();
    cost_ns = 50 + (active_ ? 2 * mask_.size() + n : n / 8);
    if (!active_) return;
    random_draws = static_cast<uint64_t>((mask_.size() + kMaskGroup - 1) / kMaskGroup * kMaskGroup / 4);
    scratch = static_cast<size_t>(mask_.size() + (mask_ == data_ ? 0 : n));
  }

  void run(const KernelCall& c) const override {
    const int64_t n = data_.size();
    if (!active_) {
      if (c.out[0] != c.in[0]) std::memcpy(c.out[0], c.in[0], static_cast<size_t>(n) * size_of(dtype_));
      if (c.out[1]) std::memset(c.out[1], 1, static_cast<size_t>(mask_.size()));
      return;
    }
    auto* own = static_cast<uint8_t*>(c.scratch);
    auto* mask = c.out[1] ? static_cast<uint8_t*>(c.out[1]) : own;
    const auto& kernels = dropout_kernels();
    if (mask_ == data_) {
      cpu::parallel_for((n + kMaskGroup - 1) / kMaskGroup, kGrain / kMaskGroup, [&](int64_t begin, int64_t end) {
        const int64_t first = begin * kMaskGroup, last = std::min(n, end * kMaskGroup);
        kernels.mask(c.random, threshold_, mask, first, last);
        kernels.scale_kept(dtype_, c.in[0], mask, c.out[0], scale_, first, last);
      });
      return;
    }
    kernels.mask(c.random, threshold_, mask, 0, mask_.size());
    uint8_t* whole = own + mask_.size();
    expand_mask(data_, mask_, mask, whole);
    cpu::parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
      kernels.scale_kept(dtype_, c.in[0], whole, c.out[0], scale_, begin, end);
    });
  }

 private:
  Shape data_, mask_;
  DType dtype_;
  bool active_;
  float scale_;
  uint32_t threshold_;
};

// in: dy, mask.
Prepared prepare_backward(const PrepareArgs& a) {
  const Shape data = a.in[0].shape, mask = a.in[1].shape;
  const bool same = data == mask;
  if (same) a.in_layout[0] = a.in_layout[1] = a.out[0].layout = a.in[1].layout;
  auto run = [data, mask, same, dtype = a.in[0].dtype, scale = scale_of(a.as<DropoutParams>())](const KernelCall& c) {
    const auto* keep = static_cast<const uint8_t*>(c.in[1]);
    if (!same) {
      expand_mask(data, mask, keep, static_cast<uint8_t*>(c.scratch));
      keep = static_cast<const uint8_t*>(c.scratch);
    }
    cpu::parallel_for(data.size(), kGrain, [&](int64_t begin, int64_t end) {
      dropout_kernels().scale_kept(dtype, c.in[0], keep, c.out[0], scale, begin, end);
    });
  };
  return make_kernel(std::move(run), 50 + data.size() / 4, same ? 0 : static_cast<size_t>(data.size()));
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

void gradient(GradientBuilder& g) {
  if (is_active(g.params<DropoutParams>(), g.training())) {
    g.give(0, "_backward_Dropout", {g.head(0), g.output(1)}, g.params_ref());
  } else {
    g.give(0, g.head(0));
  }
}

const RegisterOp dropout{{
    .name = "Dropout",
    .doc = "In training sets a random part p of the elements to 0 and divides the others by 1 - p; else returns the "
           "data.\n\n"
           "Shapes: data of any shape, output the same.",
    .params = schema_of<DropoutParams>(),
    .inputs = {"data"},
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_inputs().without_outputs(),
    .kernels = {{"masks",
                 [](const PrepareArgs& a) -> Prepared { return std::unique_ptr<Kernel>(new DropoutKernel(a)); }}},
    .flags = {.random = true, .training_mode = true, .inplace = true},
}};

const RegisterOp backward_dropout{{
    .name = "_backward_Dropout",
    .doc = "Gradient of Dropout: the mask applied again.",
    .params = schema_of<DropoutParams>(),
    .inputs = {"dy", "mask"},
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(0, "_backward_Dropout", {g.head(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"masks", prepare_backward}},
    .flags = {.inplace = true, .hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
