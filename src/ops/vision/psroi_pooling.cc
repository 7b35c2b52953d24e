// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/roi.h"

namespace mxnet::vision {
namespace {

struct PsRoiPoolingParams {
  float spatial_scale = 1;
  int output_dim = 0;
  int pooled_size = 0;
  int group_size = 0;

  static void declare(ParamSchemaOf<PsRoiPoolingParams>& s) {
    using P = PsRoiPoolingParams;
    s.field("spatial_scale", &P::spatial_scale, "Factor from coordinates of regions to pixels of data.")
        .required()
        .range(0, 1);
    s.field("output_dim", &P::output_dim, "Channels of the output.").required().range(0, 1e9);
    s.field("pooled_size", &P::pooled_size, "Bins along each axis.").required().range(0, 30000);
    s.field("group_size", &P::group_size, "Groups of channels along each axis; 0: as pooled_size.").range(0, 30000);
  }
  int64_t groups() const { return group_size > 0 ? group_size : pooled_size; }
  Shape pooled(int64_t regions) const { return {regions, output_dim, pooled_size, pooled_size}; }
  int64_t channels() const { return output_dim * groups() * groups(); }
};

// The pixels of each bin of a region: [begin, end) along both axes.
class Bins {
 public:
  Bins(const PrepareArgs& a, const Shape& data, int64_t regions)
      : name_(a.op.name.c_str()), p_(a.as<PsRoiPoolingParams>()), regions_(regions), data_(data) {
    check_pixels(a, data);
  }
  int64_t regions() const { return regions_; }
  int64_t outputs() const { return p_.output_dim; }
  int64_t size() const { return p_.pooled_size * p_.pooled_size; }

  // Calls f(position in the output plane, first pixel of data, rows, columns) for the bins of an output channel that
  // are not empty. False: the region belongs to no image.
  template <typename T, typename F>
  bool each(const T* roi, int64_t channel, F&& f) const {
    const int64_t image = image_of(roi, data_[0], name_);
    if (image < 0) return false;
    const T scale = static_cast<T>(p_.spatial_scale);
    const T x = std::round(roi[1]) * scale, y = std::round(roi[2]) * scale;
    const T width = std::max((std::round(roi[3]) + 1) * scale - x, T(0.1)) / T(p_.pooled_size);
    const T height = std::max((std::round(roi[4]) + 1) * scale - y, T(0.1)) / T(p_.pooled_size);
    const int64_t groups = p_.groups();
    for (int64_t i = 0; i < p_.pooled_size; ++i) {
      const int64_t top = cut(std::floor(T(i) * height + y), data_[2]);
      const int64_t bottom = cut(std::ceil(T(i + 1) * height + y), data_[2]);
      for (int64_t j = 0; j < p_.pooled_size; ++j) {
        const int64_t left = cut(std::floor(T(j) * width + x), data_[3]);
        const int64_t right = cut(std::ceil(T(j + 1) * width + x), data_[3]);
        if (top >= bottom || left >= right) continue;
        const int64_t plane = (channel * groups + i * groups / p_.pooled_size) * groups + j * groups / p_.pooled_size;
        f(i * p_.pooled_size + j, ((image * data_[1] + plane) * data_[2] + top) * data_[3] + left, bottom - top,
          right - left);
      }
    }
    return true;
  }
  int64_t width() const { return data_[3]; }

 private:
  template <typename T>
  static int64_t cut(T v, int64_t extent) {
    return v >= T(extent) ? extent : v > 0 ? static_cast<int64_t>(v) : 0;
  }
  const char* name_;
  PsRoiPoolingParams p_;
  int64_t regions_;
  Shape data_;
};

int64_t cost_of(const Bins& b, const Shape& data) { return b.outputs() * (b.size() * 20 + data[2] * data[3] / 4); }

Prepared prepare(const PrepareArgs& a) {
  const Bins bins(a, a.in[0].shape, a.in[1].shape[0]);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t cost = cost_of(bins, a.in[0].shape);
    auto run = [=](const KernelCall& c) {
      const T* data = static_cast<const T*>(c.in[0]);
      cpu::parallel_for(bins.regions(), grain_of(cost), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin * bins.outputs(); n < end * bins.outputs(); ++n) {
          T* out = static_cast<T*>(c.out[0]) + n * bins.size();
          std::fill_n(out, bins.size(), T(0));
          const T* roi = static_cast<const T*>(c.in[1]) + n / bins.outputs() * 5;
          bins.each(roi, n % bins.outputs(), [&](int64_t at, int64_t pixel, int64_t rows, int64_t columns) {
            T sum = 0;
            for (int64_t i = 0; i < rows; ++i) {
              for (int64_t j = 0; j < columns; ++j) sum += data[pixel + i * bins.width() + j];
            }
            out[at] = sum / T(rows * columns);
          });
        }
      });
    };
    return make_kernel(std::move(run), 200 + bins.regions() * cost);
  });
}

// (dy, rois, data) -> dx; of data only the shape is read. Output channels read channels of their own.
Prepared prepare_backward(const PrepareArgs& a) {
  const Bins bins(a, a.in[2].shape, a.in[1].shape[0]);
  a.in_layout[2] = a.in[2].layout;
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t cost = cost_of(bins, a.in[2].shape);
    auto run = [=, size = a.in[2].shape.size()](const KernelCall& c) {
      if (!c.out[0]) return;
      const T* dy = static_cast<const T*>(c.in[0]);
      T* dx = static_cast<T*>(c.out[0]);
      cpu::zero_bytes(dx, size * static_cast<int64_t>(sizeof(T)));
      cpu::parallel_for(bins.outputs(), 1, [&](int64_t begin, int64_t end) {
        for (int64_t n = 0; n < bins.regions(); ++n) {
          for (int64_t channel = begin; channel < end; ++channel) {
            const T* heads = dy + (n * bins.outputs() + channel) * bins.size();
            bins.each(static_cast<const T*>(c.in[1]) + n * 5, channel,
                      [&](int64_t at, int64_t pixel, int64_t rows, int64_t columns) {
                        const T head = heads[at] / T(rows * columns);
                        for (int64_t i = 0; i < rows; ++i) {
                          for (int64_t j = 0; j < columns; ++j) dx[pixel + i * bins.width() + j] += head;
                        }
                      });
          }
        }
      });
    };
    return make_kernel(std::move(run), 200 + a.in[2].shape.size() / 4 + bins.regions() * cost);
  });
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<PsRoiPoolingParams>();
  check_regions(c, 5);
  c.merge_in(0, {-1, p.channels(), -1, -1});
  c.merge_out(0, p.pooled(c.in[1].shape.rank_known() ? c.in[1].shape[0] : -1));
}

void infer_backward_shape(InferContext& c) {
  const auto& p = c.as<PsRoiPoolingParams>();
  const Shape& rois = c.in[1].shape;
  if (rois.rank_known() && (rois.rank() != 2 || rois[1] != 5)) c.bad(str("rois must be (regions, 5), got ", rois));
  c.merge_in(0, p.pooled(rois.rank_known() ? rois[0] : -1));
  c.merge_in(2, {-1, p.channels(), -1, -1});
  c.merge_out(0, c.in[2].shape);
}

const RegisterOp psroi_pooling{{
    .name = "_contrib_PSROIPooling",
    .doc =
        "Means of the bins of regions, each bin from channels of its own (R-FCN, Dai et al. 2016).\n\n"
        "Shapes: data (batch, output_dim * group_size^2, height, width); rois (regions, 5): rows of image, x0, y0, x1, "
        "y1, ends included; output (regions, output_dim, pooled_size, pooled_size). Empty bins and regions of a "
        "negative image give zeros. rois have no gradient.",
    .params = schema_of<PsRoiPoolingParams>(),
    .inputs = {"data", "rois"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_PSROIPooling", {g.head(0), g.input(1), g.input(0)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_psroi_pooling{{
    .name = "_backward_PSROIPooling",
    .doc = "Gradient of _contrib_PSROIPooling. Of data the shape is read.",
    .params = schema_of<PsRoiPoolingParams>(),
    .inputs = {"head", "rois", "data"},
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_contrib_PSROIPooling", {g.head(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
