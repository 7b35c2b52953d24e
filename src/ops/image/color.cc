// SPDX-License-Identifier: Apache-2.0
// Changes of light and color. Images have 1 or 3 channels (red, green, blue) of numbers in [0, 255]; each image of a
// batch gets numbers of its own. Results of integer types drop the fraction and stop at the ends of the type.
#include <array>
#include <numbers>

#include "backend/cpu/parallel.h"
#include "ops/image/image.h"

namespace mxnet::image {
namespace {

constexpr float kRed = 0.299f, kGreen = 0.587f, kBlue = 0.114f;  // of luma, as ITU-R BT.601 has it

// ---- what is done to one image -------------------------------------------------------------------------------------

// What colors are computed in.
template <typename T>
using Color = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T>
Color<T> luma(const T* pixel, int64_t channels) {
  if (channels == 1) return static_cast<Color<T>>(pixel[0]);
  return kRed * static_cast<Color<T>>(pixel[0]) + kGreen * static_cast<Color<T>>(pixel[1]) +
         kBlue * static_cast<Color<T>>(pixel[2]);
}

template <typename T>
void scale(const T* in, T* out, int64_t n, Color<T> factor, Color<T> shift) {
  cpu::parallel_for(n, 1 << 16, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = to_pixel<T>(static_cast<Color<T>>(in[i]) * factor + shift);
  });
}

template <typename T>
void change_brightness(const T* in, T* out, int64_t pixels, int64_t channels, float factor) {
  scale(in, out, pixels * channels, Color<T>(factor), Color<T>(0));
}

// Away from the mean luma of the image.
template <typename T>
void change_contrast(const T* in, T* out, int64_t pixels, int64_t channels, float factor) {
  double sum = 0;
  for (int64_t i = 0; i < pixels; ++i) sum += static_cast<double>(luma(in + i * channels, channels));
  const double mean = pixels ? sum / static_cast<double>(pixels) : 0;
  scale(in, out, pixels * channels, Color<T>(factor),
        static_cast<Color<T>>((1.0 - static_cast<double>(factor)) * mean));
}

// Away from the luma of each pixel.
template <typename T>
void change_saturation(const T* in, T* out, int64_t pixels, int64_t channels, float factor) {
  if (channels == 1) {
    std::copy(in, in + pixels, out);
    return;
  }
  for (int64_t i = 0; i < pixels; ++i) {
    const Color<T> gray = (1.0f - factor) * luma(in + i * 3, 3);
    for (int c = 0; c < 3; ++c) out[i * 3 + c] = to_pixel<T>(static_cast<Color<T>>(in[i * 3 + c]) * factor + gray);
  }
}

// Turns the hue by a part of the circle; the largest and the smallest of the channels stay (the hexagon of HSV and
// HSL).
template <typename T>
void change_hue(const T* in, T* out, int64_t pixels, int64_t channels, float turn) {
  if (channels == 1) {
    std::copy(in, in + pixels, out);
    return;
  }
  for (int64_t i = 0; i < pixels; ++i) {
    const double r = static_cast<double>(in[i * 3]), g = static_cast<double>(in[i * 3 + 1]),
                 b = static_cast<double>(in[i * 3 + 2]);
    const double high = std::max({r, g, b}), low = std::min({r, g, b}), span = high - low;
    double hue = 0;  // in sixths of the circle
    if (span > 0) hue = high == r ? (g - b) / span : high == g ? 2 + (b - r) / span : 4 + (r - g) / span;
    hue += 6.0 * static_cast<double>(turn);
    const auto channel = [&](double shift) {
      double k = std::fmod(hue + shift, 6.0);
      if (k < 0) k += 6.0;
      return high - span * std::clamp(std::min(k, 4.0 - k), 0.0, 1.0);
    };
    // A whole number that rounding left just below itself keeps its value.
    constexpr double kSlack = std::is_integral_v<T> ? 1e-4 : 0.0;
    out[i * 3] = to_pixel<T>(channel(5) + kSlack);
    out[i * 3 + 1] = to_pixel<T>(channel(3) + kSlack);
    out[i * 3 + 2] = to_pixel<T>(channel(1) + kSlack);
  }
}

// Along the principal axes of the colors of ImageNet (Krizhevsky, Sutskever, Hinton: "ImageNet classification with deep
// convolutional neural networks", 2012).
std::array<float, 3> light(const std::array<float, 3>& alpha) {
  constexpr float values[3] = {55.46f, 4.794f, 1.148f};
  constexpr float axes[3][3] = {
      {-0.5675f, 0.7192f, 0.4009f}, {-0.5808f, -0.0045f, -0.8140f}, {-0.5836f, -0.6948f, 0.4203f}};
  std::array<float, 3> shift{};
  for (size_t c = 0; c < 3; ++c) {
    for (size_t k = 0; k < 3; ++k) shift[c] += axes[c][k] * alpha[k] * values[k];
  }
  return shift;
}

template <typename T>
void add_light(const T* in, T* out, int64_t pixels, int64_t channels, const std::array<float, 3>& alpha) {
  if (channels == 1) {
    std::copy(in, in + pixels, out);
    return;
  }
  const std::array<float, 3> shift = light(alpha);
  for (int64_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      const size_t at = static_cast<size_t>(i) * 3 + c;
      out[at] = to_pixel<T>(static_cast<Color<T>>(in[at]) + shift[c]);
    }
  }
}

// ---- parameters ----------------------------------------------------------------------------------------------------

struct FactorParams {
  float min_factor = 0, max_factor = 0;
  static void declare(ParamSchemaOf<FactorParams>& s) {
    s.field("min_factor", &FactorParams::min_factor, "The smallest factor that is drawn.").runtime().required();
    s.field("max_factor", &FactorParams::max_factor, "The largest factor that is drawn.").runtime().required();
    s.validate([](const FactorParams& p) {
      if (!(p.min_factor >= 0)) fail(ErrorKind::value, "min_factor must not be negative, got ", p.min_factor);
      if (!(p.max_factor >= p.min_factor)) {
        fail(ErrorKind::value, "max_factor must not be below min_factor, got ", p.max_factor, " and ", p.min_factor);
      }
    });
  }
};

struct JitterParams {
  float brightness = 0, contrast = 0, saturation = 0, hue = 0;
  static void declare(ParamSchemaOf<JitterParams>& s) {
    s.field("brightness", &JitterParams::brightness,
            "The factor is drawn from [max(0, 1 - brightness), 1 + brightness].")
        .runtime()
        .required();
    s.field("contrast", &JitterParams::contrast, "The same for contrast.").runtime().required();
    s.field("saturation", &JitterParams::saturation, "The same for saturation.").runtime().required();
    s.field("hue", &JitterParams::hue, "The turn is drawn from [-hue, hue], in parts of the circle.")
        .runtime()
        .required();
    s.validate([](const JitterParams& p) {
      for (const float v : {p.brightness, p.contrast, p.saturation, p.hue}) {
        if (!(v >= 0)) fail(ErrorKind::value, "brightness, contrast, saturation and hue must not be negative, got ", v);
      }
    });
  }
};

struct LightParams {
  FloatTuple alpha;
  static void declare(ParamSchemaOf<LightParams>& s) {
    s.field("alpha", &LightParams::alpha, "How far along each of the three principal axes of colors.")
        .runtime()
        .required();
    s.validate([](const LightParams& p) {
      if (p.alpha.size() != 3) fail(ErrorKind::value, "alpha must have 3 entries, got ", p.alpha.size());
    });
  }
};

struct RandomLightParams {
  float alpha_std = 0.05f;
  static void declare(ParamSchemaOf<RandomLightParams>& s) {
    s.field("alpha_std", &RandomLightParams::alpha_std, "Standard deviation of the steps along the axes.").runtime();
    s.validate([](const RandomLightParams& p) {
      if (!(p.alpha_std >= 0)) fail(ErrorKind::value, "alpha_std must not be negative, got ", p.alpha_std);
    });
  }
};

// ---- the operators -------------------------------------------------------------------------------------------------

void infer_color(InferContext& c) {
  infer_same(c);
  const Shape& shape = c.in[0].shape;
  if (!shape.rank_known()) return;
  const int64_t channels = shape.back();
  if (channels >= 0 && channels != 1 && channels != 3) {
    c.bad(str("the last dimension of data must hold 1 or 3 channels, got shape ", shape));
  }
}

float between(float low, float high, uint32_t word) { return low + (high - low) * random::uniform_float(word); }

// f(call, in, out, image index) for each image, with typed pointers.
template <typename F>
Prepared for_each_image(const PrepareArgs& args, int64_t cost_per_pixel, uint64_t draws, F f) {
  const Images s(args.in[0].shape);
  auto kernel = make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch_numbers(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          cpu::parallel_for(s.n, 1, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i) {
              f(c, static_cast<const T*>(c.in[0]) + i * s.image(), static_cast<T*>(c.out[0]) + i * s.image(), s, i);
            }
          });
        });
      },
      100 + s.n * s.pixels() * cost_per_pixel);
  kernel->random_draws = draws * static_cast<uint64_t>(s.n);
  return kernel;
}

enum class Change { brightness, contrast, saturation, hue };

template <typename T>
void change(Change what, const T* in, T* out, const Images& s, float factor) {
  switch (what) {
    case Change::brightness: return change_brightness(in, out, s.pixels(), s.channels, factor);
    case Change::contrast: return change_contrast(in, out, s.pixels(), s.channels, factor);
    case Change::saturation: return change_saturation(in, out, s.pixels(), s.channels, factor);
    case Change::hue: return change_hue(in, out, s.pixels(), s.channels, factor);
  }
}

template <Change What>
Prepared prepare_change(const PrepareArgs& args) {
  return for_each_image(args, What == Change::hue ? 30 : 3, 1,
                        [](const KernelCall& c, const auto* in, auto* out, const Images& s, int64_t i) {
                          const auto& p = c.params->as<FactorParams>();
                          const uint32_t word = c.random.at(static_cast<uint64_t>(i)).v[0];
                          change(What, in, out, s, between(p.min_factor, p.max_factor, word));
                        });
}

// All four changes in random order.
Prepared prepare_jitter(const PrepareArgs& args) {
  return for_each_image(args, 40, 2, [](const KernelCall& c, const auto* in, auto* out, const Images& s, int64_t i) {
    const auto& p = c.params->as<JitterParams>();
    const random::Words amounts = c.random.at(static_cast<uint64_t>(i) * 2),
                        order = c.random.at(static_cast<uint64_t>(i) * 2 + 1);
    std::array<Change, 4> list{Change::brightness, Change::contrast, Change::saturation, Change::hue};
    for (uint32_t k = 3; k > 0; --k) std::swap(list[k], list[order.v[k] % (k + 1)]);
    std::copy(in, in + s.image(), out);
    const float width[] = {p.brightness, p.contrast, p.saturation, p.hue};
    for (const Change what : list) {
      const auto k = static_cast<size_t>(what);
      if (width[k] == 0) continue;
      const float low = what == Change::hue ? -width[k] : std::max(0.0f, 1 - width[k]);
      const float high = what == Change::hue ? width[k] : 1 + width[k];
      change(what, out, out, s, between(low, high, amounts.v[k]));
    }
  });
}

Prepared prepare_light(const PrepareArgs& args) {
  return for_each_image(args, 3, 0, [](const KernelCall& c, const auto* in, auto* out, const Images& s, int64_t) {
    const FloatTuple& a = c.params->as<LightParams>().alpha;
    add_light(in, out, s.pixels(), s.channels,
              {static_cast<float>(a[0]), static_cast<float>(a[1]), static_cast<float>(a[2])});
  });
}

Prepared prepare_random_light(const PrepareArgs& args) {
  return for_each_image(args, 3, 1, [](const KernelCall& c, const auto* in, auto* out, const Images& s, int64_t i) {
    const float std = c.params->as<RandomLightParams>().alpha_std;
    const random::Words w = c.random.at(static_cast<uint64_t>(i));
    const auto a = random::normal_float(w.v[0], w.v[1]), b = random::normal_float(w.v[2], w.v[3]);
    add_light(in, out, s.pixels(), s.channels, {a.first * std, a.second * std, b.first * std});
  });
}

OpDef color_op(const char* name, const char* doc, const ParamSchema& params, PrepareFn prepare, bool random,
               Gradient gradient) {
  return {.name = name,
          .doc = std::string(doc) + "\n\nShapes: (h, w, c) or (n, h, w, c), 1 or 3 channels.",
          .params = params,
          .inputs = {"data"},
          .infer = {infer_color, infer_same_dtype},
          .gradient = std::move(gradient),
          .kernels = {{"pixels", prepare}},
          .flags = {.random = random, .inplace = true}};
}

// What is added does not depend on the image.
Gradient passed_on() {
  return Gradient([](GradientBuilder& g) { g.give(0, g.head(0)); }).only_heads();
}

const RegisterOp colors[] = {
    RegisterOp(color_op("_image_random_brightness",
                        "Multiplies images by a factor drawn from [min_factor, max_factor].", schema_of<FactorParams>(),
                        prepare_change<Change::brightness>, true, Gradient::none())),
    RegisterOp(color_op("_image_random_contrast",
                        "Brings images nearer to their mean luma, or farther from it, by a factor drawn from "
                        "[min_factor, max_factor].",
                        schema_of<FactorParams>(), prepare_change<Change::contrast>, true, Gradient::none())),
    RegisterOp(color_op("_image_random_saturation",
                        "Brings pixels nearer to their luma, or farther from it, by a factor drawn from "
                        "[min_factor, max_factor]. (1.9.1 takes the blue part of the luma for all of it.)",
                        schema_of<FactorParams>(), prepare_change<Change::saturation>, true, Gradient::none())),
    RegisterOp(
        color_op("_image_random_hue",
                 "Turns hues by a part of the circle drawn from [min_factor, max_factor]; 0 and 1 change nothing.",
                 schema_of<FactorParams>(), prepare_change<Change::hue>, true, Gradient::none())),
    RegisterOp(color_op("_image_random_color_jitter",
                        "Random brightness, contrast, saturation and hue, in random order.", schema_of<JitterParams>(),
                        prepare_jitter, true, Gradient::none())),
    RegisterOp(color_op("_image_adjust_lighting",
                        "Adds the color at `alpha` along the principal axes of the colors of natural images.",
                        schema_of<LightParams>(), prepare_light, false, passed_on())),
    RegisterOp(color_op("_image_random_lighting",
                        "Adds a color drawn along the principal axes of the colors of natural images.",
                        schema_of<RandomLightParams>(), prepare_random_light, true, passed_on())),
};

}  // namespace
}  // namespace mxnet::image
