// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/roi.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct RoiPoolingParams {
  Shape pooled_size;
  float spatial_scale = 1;
  static void declare(ParamSchemaOf<RoiPoolingParams>& s) { declare_pooled(s); }
};

struct Span {
  int64_t begin, end;
};

struct Regions {
  const char* name;
  int64_t count, batch, channels, height, width, rows, columns;
  float scale;

  Regions(const PrepareArgs& a, const Shape& data, int64_t regions)
      : name(a.op.name.c_str()),
        count(regions),
        batch(data[0]),
        channels(data[1]),
        height(data[2]),
        width(data[3]),
        rows(a.as<RoiPoolingParams>().pooled_size[0]),
        columns(a.as<RoiPoolingParams>().pooled_size[1]),
        scale(a.as<RoiPoolingParams>().spatial_scale) {
    check_pixels(a, data);
  }
  int64_t pixels() const { return height * width; }
  int64_t bins() const { return rows * columns; }

  // Bin i of n along an axis from pixel `low` to pixel `high`, both included, cut at the image.
  template <typename T>
  static Span bin(T low, T high, int64_t i, int64_t n, int64_t extent) {
    const T length = std::max(high - low + 1, T(1)) / T(n);
    const auto cut = [&](T v) { return v >= T(extent) ? extent : v > 0 ? static_cast<int64_t>(v) : int64_t{0}; };
    return {cut(std::floor(T(i) * length) + low), cut(std::ceil(T(i + 1) * length) + low)};
  }
};

template <typename T>
void pool_region(const Regions& r, const T* data, const T* roi, T* out, int32_t* index) {
  const int64_t image = image_of(roi, r.batch, r.name), bins = r.bins();
  if (image < 0) {
    if (out) std::fill_n(out, r.channels * bins, T(0));
    if (index) std::fill_n(index, r.channels * bins, -1);
    return;
  }
  T corner[4];
  for (int k = 0; k < 4; ++k) corner[k] = std::round(roi[k + 1] * static_cast<T>(r.scale));
  for (int64_t bin = 0; bin < bins; ++bin) {
    const Span y = Regions::bin(corner[1], corner[3], bin / r.columns, r.rows, r.height);
    const Span x = Regions::bin(corner[0], corner[2], bin % r.columns, r.columns, r.width);
    const bool empty = y.begin >= y.end || x.begin >= x.end;
    for (int64_t c = 0; c < r.channels; ++c) {
      const T* plane = data + (image * r.channels + c) * r.pixels();
      int64_t best = empty ? -1 : y.begin * r.width + x.begin;
      T most = empty ? T(0) : plane[best];
      for (int64_t row = y.begin; row < y.end && !empty; ++row) {
        for (int64_t at = row * r.width + x.begin; at < row * r.width + x.end; ++at) {
          if (plane[at] > most) {
            most = plane[at];
            best = at;
          }
        }
      }
      if (out) out[c * bins + bin] = most;
      if (index) index[c * bins + bin] = static_cast<int32_t>(best);
    }
  }
}

Prepared prepare(const PrepareArgs& a) {
  const Regions r(a, a.in[0].shape, a.in[1].shape[0]);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t cost = r.channels * std::max(r.bins() * 4, r.pixels() / 4);
    auto run = [=](const KernelCall& c) {
      cpu::parallel_for(r.count, grain_of(cost), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          const int64_t at = n * r.channels * r.bins();
          pool_region(r, static_cast<const T*>(c.in[0]), static_cast<const T*>(c.in[1]) + n * 5,
                      c.out[0] ? static_cast<T*>(c.out[0]) + at : nullptr,
                      c.out[1] ? static_cast<int32_t*>(c.out[1]) + at : nullptr);
        }
      });
    };
    return make_kernel(std::move(run), 200 + r.count * cost);
  });
}

// The gradient adds heads to the pixels that won; its own gradient takes them from there. (head, rois, index, data)
template <bool kTake>
Prepared prepare_winners(const PrepareArgs& a) {
  const Shape& data = a.in[3].shape;
  const Regions r(a, data, a.in[1].shape[0]);
  a.in_layout[3] = a.in[3].layout;  // it is not read
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, size = data.size()](const KernelCall& c) {
      if (!c.out[0]) return;
      const T* from = static_cast<const T*>(c.in[0]);
      const int32_t* index = static_cast<const int32_t*>(c.in[2]);
      T* to = static_cast<T*>(c.out[0]);
      if (!kTake) cpu::zero_bytes(to, size * static_cast<int64_t>(sizeof(T)));
      cpu::parallel_for(r.channels, grain_of(r.count * r.bins() * 2), [&](int64_t begin, int64_t end) {
        for (int64_t n = 0; n < r.count; ++n) {
          const int64_t image = image_of(static_cast<const T*>(c.in[1]) + n * 5, r.batch, r.name);
          for (int64_t ch = begin; ch < end; ++ch) {
            const int64_t plane = (image * r.channels + ch) * r.pixels();
            for (int64_t i = (n * r.channels + ch) * r.bins(), last = i + r.bins(); i < last; ++i) {
              const bool won = image >= 0 && index[i] >= 0 && index[i] < r.pixels();
              if (kTake) to[i] = won ? from[plane + index[i]] : T(0);
              if (!kTake && won) to[plane + index[i]] += from[i];
            }
          }
        }
      });
    };
    return make_kernel(std::move(run), 200 + (kTake ? 0 : data.size() / 4) + r.count * r.channels * r.bins() * 2);
  });
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<RoiPoolingParams>();
  check_regions(c, 5);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  const Shape pooled{c.in[1].shape.rank_known() ? c.in[1].shape[0] : -1, data[1], p.pooled_size[0], p.pooled_size[1]};
  c.merge_out(0, pooled);
  c.merge_out(1, pooled);
}

void infer_dtype(InferContext& c) {
  const DType t = c.in[0].dtype;
  c.merge_out_dtype(1, DType::i32);
  if (t == DType::unknown) return;
  if (!is_float(t)) c.bad(str("data must have a floating point dtype, got ", name_of(t)));
  c.merge_in_dtype(1, t);
  c.merge_out_dtype(0, t);
}

template <bool kTake>
void infer_winners_shape(InferContext& c) {
  const auto& p = c.as<RoiPoolingParams>();
  const Shape& rois = c.in[1].shape;
  const Shape& data = c.in[3].shape;
  if (!rois.known() || !data.known()) return;
  if (rois.rank() != 2 || rois[1] != 5) c.bad(str("rois must have shape (regions, 5), got ", rois));
  if (data.rank() != 4) c.bad(str("data must have 4 dimensions, got ", data));
  const Shape pooled{rois[0], data[1], p.pooled_size[0], p.pooled_size[1]};
  c.merge_in(0, kTake ? data : pooled);
  c.merge_in(2, pooled);
  c.merge_out(0, kTake ? pooled : data);
}

void infer_winners_dtype(InferContext& c) {
  const DType t = c.in[0].dtype;
  c.merge_in_dtype(2, DType::i32);
  if (t == DType::unknown) return;
  if (!is_float(t)) c.bad(str("head must have a floating point dtype, got ", name_of(t)));
  c.merge_in_dtype(1, t);
  c.merge_in_dtype(3, t);
  c.merge_out_dtype(0, t);
}

const RegisterOp roi_pooling{{
    .name = "ROIPooling",
    .doc =
        "Maxima of the bins of regions of interest (Fast R-CNN, Girshick 2015).\n\n"
        "Shapes: data (batch, channels, height, width); rois (regions, 5): rows of image, x0, y0, x1, y1, ends "
        "included; output (regions, channels, *pooled_size). Corners are scaled, then rounded. Empty bins and regions "
        "of a negative image give zeros. rois have no gradient.",
    .params = schema_of<RoiPoolingParams>(),
    .inputs = {"data", "rois"},
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
      g.give_all({0}, "_backward_ROIPooling", {g.head(0), g.input(1), g.output(1), g.input(0)}, g.params_ref());
    }),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_roi_pooling{{
    .name = "_backward_ROIPooling",
    .doc = "Gradient of ROIPooling. Of data the shape is read.",
    .params = schema_of<RoiPoolingParams>(),
    .inputs = {"head", "rois", "index", "data"},
    .infer = {infer_winners_shape<false>, infer_winners_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_take_roi_winners", {g.head(0), g.input(1), g.input(2), g.input(3)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare_winners<false>>(),
    .flags = {.hidden = true},
}};

const RegisterOp take_roi_winners{{
    .name = "_take_roi_winners",
    .doc = "Gradient of _backward_ROIPooling: pixels that won their bins.",
    .params = schema_of<RoiPoolingParams>(),
    .inputs = {"head", "rois", "index", "data"},
    .infer = {infer_winners_shape<true>, infer_winners_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_ROIPooling", {g.head(0), g.input(1), g.input(2), g.input(3)},
                             g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare_winners<true>>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
