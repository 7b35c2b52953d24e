// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "ops/vision/vision.h"

namespace mxnet::vision {
namespace {

struct MultiBoxPriorParams {
  FloatTuple sizes{1};
  FloatTuple ratios{1};
  bool clip = false;
  FloatTuple steps{-1, -1};
  FloatTuple offsets{0.5, 0.5};

  static void declare(ParamSchemaOf<MultiBoxPriorParams>& s) {
    using P = MultiBoxPriorParams;
    s.field("sizes", &P::sizes, "Heights of the boxes of ratio 1, relative to the image.");
    s.field("ratios", &P::ratios, "Ratios of width to height.");
    s.field("clip", &P::clip, "Whether boxes are cut at the image.");
    s.field("steps", &P::steps, "Distances of centers (y, x) relative to the image; (-1, -1): one per pixel of data.");
    s.field("offsets", &P::offsets, "Place of a center in its pixel (y, x), between 0 and 1.");
    s.validate([](const P& p) {
      if (p.sizes.empty() || p.ratios.empty()) fail(ErrorKind::value, "sizes and ratios must not be empty");
      if (p.steps.size() != 2 || p.offsets.size() != 2) fail(ErrorKind::value, "steps and offsets must have 2 entries");
      if (p.steps[0] * p.steps[1] < 0) fail(ErrorKind::value, "steps must both be given or both be -1");
      for (const double offset : p.offsets) {
        if (!(offset >= 0 && offset <= 1)) fail(ErrorKind::value, "offsets must lie between 0 and 1, got ", offset);
      }
    });
  }
  int64_t per_pixel() const { return static_cast<int64_t>(sizes.size() + ratios.size()) - 1; }
};

void infer_shape(InferContext& c) {
  check_rank(c, 0, 4, "(batch, channels, height, width)");
  const Shape& s = c.in[0].shape;
  if (!s.rank_known() || s[2] < 0 || s[3] < 0) return;
  c.merge_out(0, {1, s[2] * s[3] * c.as<MultiBoxPriorParams>().per_pixel(), 4});
}

// (half width, half height) of the boxes of a pixel: all sizes in the first ratio, then the first size in the others.
std::vector<std::pair<double, double>> half_extents(const MultiBoxPriorParams& p, double height, double width) {
  std::vector<std::pair<double, double>> list;
  const auto add = [&](double size, double ratio) {
    const double root = std::sqrt(ratio);
    list.emplace_back(size * height / width * root / 2, size / root / 2);
  };
  for (const double size : p.sizes) add(size, p.ratios[0]);
  for (size_t i = 1; i < p.ratios.size(); ++i) add(p.sizes[0], p.ratios[i]);
  return list;
}

Prepared prepare(const PrepareArgs& a) {
  const auto& p = a.as<MultiBoxPriorParams>();
  const int64_t height = a.in[0].shape[2], width = a.in[0].shape[3];
  const auto extents = half_extents(p, static_cast<double>(height), static_cast<double>(width));
  const bool given = p.steps[0] > 0 && p.steps[1] > 0;
  const double step_y = given ? p.steps[0] : 1.0 / static_cast<double>(height);
  const double step_x = given ? p.steps[1] : 1.0 / static_cast<double>(width);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, p = p](const KernelCall& c) {
      T* out = static_cast<T*>(c.out[0]);
      const auto put = [&](double value) {
        *out++ = static_cast<T>(p.clip ? std::min(1.0, std::max(0.0, value)) : value);
      };
      for (int64_t i = 0; i < height; ++i) {
        for (int64_t j = 0; j < width; ++j) {
          const double y = (static_cast<double>(i) + p.offsets[0]) * step_y;
          const double x = (static_cast<double>(j) + p.offsets[1]) * step_x;
          for (const auto& [w, h] : extents) {
            put(x - w);
            put(y - h);
            put(x + w);
            put(y + h);
          }
        }
      }
    };
    return make_kernel(std::move(run), 100 + 2 * a.out[0].shape.size());
  });
}

const RegisterOp multibox_prior{{
    .name = "_contrib_MultiBoxPrior",
    .doc = "Anchor boxes around each pixel of a feature map, in coordinates relative to the image (0 to 1).\n\n"
           "Shapes: data (batch, channels, height, width), of which only the extents are read; output "
           "(1, height * width * (sizes + ratios - 1), 4): corners. The gradient is zero. (SSD, Liu et al. 2016.)",
    .params = schema_of<MultiBoxPriorParams>(),
    .inputs = {"data"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
