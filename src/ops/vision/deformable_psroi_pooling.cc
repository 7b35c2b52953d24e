// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/roi.h"

namespace mxnet::vision {
namespace {

struct DeformablePsRoiParams {
  float spatial_scale = 1;
  int output_dim = 0;
  int group_size = 1;
  int pooled_size = 0;
  int part_size = 0;
  int sample_per_part = 1;
  float trans_std = 0;
  bool no_trans = false;

  static void declare(ParamSchemaOf<DeformablePsRoiParams>& s) {
    using P = DeformablePsRoiParams;
    s.field("spatial_scale", &P::spatial_scale, "Factor from coordinates of regions to pixels of data.")
        .required()
        .range(0, 1);
    s.field("output_dim", &P::output_dim, "Channels of the output.").required().range(0, 1e9);
    s.field("group_size", &P::group_size, "Groups of channels along each axis.").required().range(1, 30000);
    s.field("pooled_size", &P::pooled_size, "Bins along each axis.").required().range(0, 30000);
    s.field("part_size", &P::part_size, "Parts along each axis that move by themselves; 0: as pooled_size.")
        .range(0, 30000);
    s.field("sample_per_part", &P::sample_per_part, "Samples of a bin along each axis.").range(1, 30000);
    s.field("trans_std", &P::trans_std, "Factor of trans, which counts in sizes of regions.");
    s.field("no_trans", &P::no_trans, "Whether bins stay in place; there is no input trans then.");
  }
  int64_t parts() const { return part_size > 0 ? part_size : pooled_size; }
  Shape pooled(int64_t regions) const { return {regions, output_dim, pooled_size, pooled_size}; }
  int64_t channels() const { return int64_t{output_dim} * group_size * group_size; }
};

// A sample: the pixels around it, and its place between them.
template <typename T>
struct Point {
  int64_t at[4];  // (top, left), (top, right), (bottom, left), (bottom, right), in the plane
  T y, x;         // 0..1 from top and left
};

class Deformable {
 public:
  Deformable(const PrepareArgs& a, const Shape& data, int64_t regions, int64_t classes)
      : p_(a.as<DeformablePsRoiParams>()),
        name_(a.op.name.c_str()),
        regions_(regions),
        classes_(classes),
        per_class_(classes > 0 ? std::max<int64_t>(1, p_.output_dim / classes) : 1),
        data_(data) {}

  int64_t regions() const { return regions_; }
  int64_t outputs() const { return p_.output_dim; }
  int64_t size() const { return p_.pooled_size * p_.pooled_size; }
  int64_t parts() const { return p_.parts() * p_.parts(); }
  int64_t offsets() const { return 2 * classes_ * parts(); }  // elements of trans of a region
  int64_t class_of(int64_t channel) const { return channel / per_class_; }
  template <typename T>
  T trans_std() const {
    return static_cast<T>(p_.trans_std);
  }
  int64_t pixels() const { return data_[2] * data_[3]; }
  int64_t cost() const { return outputs() * size() * (20 + 15 * int64_t{p_.sample_per_part} * p_.sample_per_part); }
  bool moves() const { return !p_.no_trans; }

  template <typename T>
  struct Region {
    int64_t image;
    T x, y, width, height;
  };
  template <typename T>
  Region<T> region(const T* roi) const {
    const T scale = static_cast<T>(p_.spatial_scale);
    Region<T> r;
    r.image = image_of(roi, data_[0], name_);
    r.x = std::round(roi[1]) * scale - T(0.5);
    r.y = std::round(roi[2]) * scale - T(0.5);
    r.width = std::max((std::round(roi[3]) + 1) * scale - T(0.5) - r.x, T(0.1));
    r.height = std::max((std::round(roi[4]) + 1) * scale - T(0.5) - r.y, T(0.1));
    return r;
  }

  // The part of bin (i, j) in a plane of trans.
  int64_t part(int64_t bin) const {
    const int64_t i = bin / p_.pooled_size, j = bin % p_.pooled_size;
    return i * p_.parts() / p_.pooled_size * p_.parts() + j * p_.parts() / p_.pooled_size;
  }
  // First element of the plane that a bin of an output channel reads.
  int64_t plane(int64_t image, int64_t channel, int64_t bin) const {
    const int64_t g = p_.group_size, i = bin / p_.pooled_size, j = bin % p_.pooled_size;
    return (image * data_[1] + (channel * g + i * g / p_.pooled_size) * g + j * g / p_.pooled_size) * pixels();
  }

  // Calls f(point) for the samples of a bin that are in the image; `trans`: of this region, null without.
  template <typename T, typename F>
  void each_sample(const Region<T>& r, const T* trans, int64_t channel, int64_t bin, F&& f) const {
    const int64_t at = class_of(channel) * 2 * parts() + part(bin);
    const T dx = trans ? trans[at] * trans_std<T>() : T(0), dy = trans ? trans[at + parts()] * trans_std<T>() : T(0);
    const T bin_w = r.width / T(p_.pooled_size), bin_h = r.height / T(p_.pooled_size);
    const T left = T(bin % p_.pooled_size) * bin_w + r.x + dx * r.width;
    const T top = T(bin / p_.pooled_size) * bin_h + r.y + dy * r.height;
    for (int64_t i = 0; i < p_.sample_per_part; ++i) {
      for (int64_t j = 0; j < p_.sample_per_part; ++j) {
        const T x = left + T(j) * (bin_w / T(p_.sample_per_part)), y = top + T(i) * (bin_h / T(p_.sample_per_part));
        const T right_end = T(data_[3]) - T(0.5), bottom_end = T(data_[2]) - T(0.5);
        if (x >= T(-0.5) && x <= right_end && y >= T(-0.5) && y <= bottom_end) f(point(y, x));
      }
    }
  }

 private:
  template <typename T>
  Point<T> point(T y, T x) const {
    x = std::min(std::max(x, T(0)), T(data_[3] - 1));
    y = std::min(std::max(y, T(0)), T(data_[2] - 1));
    const int64_t x0 = static_cast<int64_t>(x), x1 = static_cast<int64_t>(std::ceil(x));
    const int64_t y0 = static_cast<int64_t>(y), y1 = static_cast<int64_t>(std::ceil(y)), w = data_[3];
    return {{y0 * w + x0, y0 * w + x1, y1 * w + x0, y1 * w + x1}, y - T(y0), x - T(x0)};
  }

  DeformablePsRoiParams p_;
  const char* name_;
  int64_t regions_, classes_, per_class_;
  Shape data_;
};

template <typename T>
T weight(const Point<T>& p, int k) {
  return (k / 2 ? p.y : 1 - p.y) * (k % 2 ? p.x : 1 - p.x);
}

int64_t classes_of(const PrepareArgs& a, size_t trans) {
  return a.as<DeformablePsRoiParams>().no_trans ? 0 : a.in[trans].shape[1] / 2;
}

Prepared prepare(const PrepareArgs& a) {
  const Deformable d(a, a.in[0].shape, a.in[1].shape[0], classes_of(a, 2));
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      const T* data = static_cast<const T*>(c.in[0]);
      T* out = static_cast<T*>(c.out[0]);
      T* counts = static_cast<T*>(c.out[1]);
      cpu::parallel_for(d.regions(), grain_of(d.cost()), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          const auto region = d.region(static_cast<const T*>(c.in[1]) + n * 5);
          const T* trans = d.moves() ? static_cast<const T*>(c.in[2]) + n * d.offsets() : nullptr;
          for (int64_t i = 0; i < d.outputs() * d.size(); ++i) {
            const int64_t channel = i / d.size(), bin = i % d.size(), at = n * d.outputs() * d.size() + i;
            T sum = 0;
            int64_t count = 0;
            if (region.image >= 0) {
              const T* plane = data + d.plane(region.image, channel, bin);
              d.each_sample(region, trans, channel, bin, [&](const Point<T>& p) {
                for (int k = 0; k < 4; ++k) sum += weight(p, k) * plane[p.at[k]];
                ++count;
              });
            }
            if (out) out[at] = count ? sum / T(count) : T(0);
            if (counts) counts[at] = T(count);
          }
        }
      });
    };
    return make_kernel(std::move(run), 200 + d.regions() * d.cost());
  });
}

// ---- backward: (dy, counts, data, rois, trans) -> (dx, dtrans) -----------------------------------------------------

template <typename T>
struct Backward {
  const Deformable& d;
  const T *dy, *counts, *data, *rois, *trans;

  Backward(const Deformable& d, const KernelCall& c)
      : d(d),
        dy(static_cast<const T*>(c.in[0])),
        counts(static_cast<const T*>(c.in[1])),
        data(static_cast<const T*>(c.in[2])),
        rois(static_cast<const T*>(c.in[3])),
        trans(d.moves() ? static_cast<const T*>(c.in[4]) : nullptr) {}

  // Calls f(region, channel, bin, head of each of its samples, trans of the region).
  template <typename F>
  void each_bin(int64_t n, int64_t first, int64_t last, F&& f) const {
    const auto region = d.region(rois + n * 5);
    if (region.image < 0) return;
    for (int64_t channel = first; channel < last; ++channel) {
      for (int64_t bin = 0; bin < d.size(); ++bin) {
        const int64_t at = (n * d.outputs() + channel) * d.size() + bin;
        if (counts[at] > 0) f(region, channel, bin, dy[at] / counts[at], trans ? trans + n * d.offsets() : nullptr);
      }
    }
  }

  // Output channels read channels of their own, so threads take channels.
  void data_gradient(T* dx) const {
    cpu::parallel_for(d.outputs(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < d.regions(); ++n) {
        each_bin(n, begin, end, [&](const auto& region, int64_t channel, int64_t bin, T head, const T* moved) {
          T* plane = dx + d.plane(region.image, channel, bin);
          d.each_sample(region, moved, channel, bin, [&](const Point<T>& p) {
            for (int k = 0; k < 4; ++k) plane[p.at[k]] += weight(p, k) * head;
          });
        });
      }
    });
  }

  void trans_gradient(T* dtrans) const {
    cpu::parallel_for(d.regions(), grain_of(d.cost()), [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        T* to = dtrans + n * d.offsets();
        std::fill_n(to, d.offsets(), T(0));
        each_bin(n, 0, d.outputs(), [&](const auto& region, int64_t channel, int64_t bin, T head, const T* moved) {
          const T* plane = data + d.plane(region.image, channel, bin);
          T slope_x = 0, slope_y = 0;
          d.each_sample(region, moved, channel, bin, [&](const Point<T>& p) {
            const T v[4] = {plane[p.at[0]], plane[p.at[1]], plane[p.at[2]], plane[p.at[3]]};
            slope_x += (v[1] - v[0]) * (1 - p.y) + (v[3] - v[2]) * p.y;
            slope_y += (v[2] - v[0]) * (1 - p.x) + (v[3] - v[1]) * p.x;
          });
          const int64_t at = d.class_of(channel) * 2 * d.parts() + d.part(bin);
          to[at] += slope_x * head * region.width * d.template trans_std<T>();
          to[at + d.parts()] += slope_y * head * region.height * d.template trans_std<T>();
        });
      }
    });
  }
};

Prepared prepare_backward(const PrepareArgs& a) {
  const Deformable d(a, a.in[2].shape, a.in[3].shape[0], classes_of(a, 4));
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, size = a.in[2].shape.size()](const KernelCall& c) {
      const Backward<T> backward(d, c);
      if (c.out[0]) {
        cpu::zero_bytes(c.out[0], size * static_cast<int64_t>(sizeof(T)));
        backward.data_gradient(static_cast<T*>(c.out[0]));
      }
      if (d.moves() && c.out[1]) backward.trans_gradient(static_cast<T*>(c.out[1]));
    };
    return make_kernel(std::move(run), 200 + a.in[2].shape.size() / 4 + 3 * d.regions() * d.cost());
  });
}

// ---- records -------------------------------------------------------------------------------------------------------

int num_inputs(const Params& p) { return p.as<DeformablePsRoiParams>().no_trans ? 2 : 3; }

// data, rois and trans begin at input `first`.
void infer_from(InferContext& c, int first) {
  const auto& p = c.as<DeformablePsRoiParams>();
  c.merge_in(first, {-1, p.channels(), -1, -1});
  const Shape& data = c.in[static_cast<size_t>(first)].shape;
  if (data[2] == 0 || data[3] == 0) c.bad(str("data has no pixels, its shape is ", data));
  c.merge_in(first + 1, {-1, 5});
  const int64_t regions = c.in[static_cast<size_t>(first) + 1].shape[0];
  if (!p.no_trans) {
    c.merge_in(first + 2, {regions, -1, p.parts(), p.parts()});
    const int64_t twice = c.in[static_cast<size_t>(first) + 2].shape[1];
    if (twice >= 0 && (twice < 2 || twice % 2 || p.output_dim % (twice / 2))) {
      c.bad(str("trans must have two channels per class, and the classes divide output_dim ", p.output_dim, "; got ",
                twice, " channels"));
    }
  }
  for (int i = 0; i < 2; ++i) {
    if (first == 0)
      c.merge_out(i, p.pooled(regions));
    else
      c.merge_in(i, p.pooled(regions));
  }
}

void infer_shape(InferContext& c) { infer_from(c, 0); }

void infer_backward_shape(InferContext& c) {
  infer_from(c, 2);
  c.merge_out(0, c.in[2].shape);
  if (!c.as<DeformablePsRoiParams>().no_trans) c.merge_out(1, c.in[4].shape);
}

void gradient(GradientBuilder& g) {
  if (g.params<DeformablePsRoiParams>().no_trans) {
    g.give_all({0}, "_backward_DeformablePSROIPooling", {g.head(0), g.output(1), g.input(0), g.input(1)},
               g.params_ref());
  } else {
    g.give_all({0, 2}, "_backward_DeformablePSROIPooling", {g.head(0), g.output(1), g.input(0), g.input(1), g.input(2)},
               g.params_ref());
  }
}

const RegisterOp deformable_psroi_pooling{{
    .name = "_contrib_DeformablePSROIPooling",
    .doc =
        "Position-sensitive pooling of regions whose parts are moved by given offsets (Deformable ConvNets, Dai et al. "
        "2017).\n\n"
        "Shapes: data (batch, output_dim * group_size^2, height, width); rois (regions, 5): rows of image, x0, y0, x1, "
        "y1; trans (regions, 2 * classes, part_size, part_size): offsets in x and y, in sizes of regions times "
        "trans_std; output (regions, output_dim, pooled_size, pooled_size): means of the samples inside the image. "
        "rois have no gradient.",
    .params = schema_of<DeformablePsRoiParams>(),
    .inputs = Inputs({"data", "rois", "trans"}, num_inputs),
    .outputs = Outputs(1).with_residuals(1),
    .infer = {infer_shape, infer_float},
    .gradient = Gradient(gradient),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_deformable_psroi_pooling{{
    .name = "_backward_DeformablePSROIPooling",
    .doc = "Gradients of _contrib_DeformablePSROIPooling with respect to data and trans.",
    .params = schema_of<DeformablePsRoiParams>(),
    .inputs = Inputs({"head", "counts", "data", "rois", "trans"}, [](const Params& p) { return num_inputs(p) + 2; }),
    .outputs = Outputs([](const Params& p) { return num_inputs(p) - 1; }),
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient::none(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
