// SPDX-License-Identifier: Apache-2.0
// Images turned, cut and brought into the form of networks.
#include <cstring>

#include "backend/cpu/parallel.h"
#include "ops/image/image.h"
#include "ops/tensor/moves.h"

namespace mxnet::image {
namespace {

using ops::MoveKernel;
using ops::Window;

// ---- to_tensor, normalize ------------------------------------------------------------------------------------------

// (…, h, w, c) -> (…, c, h, w), or back.
Shape channels_first(const Shape& s) {
  Shape out = s;
  const int h = s.rank() - 3;
  out[h] = s[h + 2];
  out[h + 1] = s[h];
  out[h + 2] = s[h + 1];
  return out;
}
Shape channels_last(const Shape& s) {
  Shape out = s;
  const int c = s.rank() - 3;
  out[c] = s[c + 1];
  out[c + 1] = s[c + 2];
  out[c + 2] = s[c];
  return out;
}

constexpr int64_t kBlock = 64;  // pixels that are read once for all channels

// out (n, c, pixels) = in (n, pixels, c) / 255
template <typename T>
void to_planes(const T* in, float* out, int64_t n, int64_t pixels, int64_t channels) {
  const int64_t blocks = (pixels + kBlock - 1) / kBlock;
  cpu::parallel_for(n * blocks, 64, [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const int64_t image = b / blocks, from = b % blocks * kBlock, count = std::min(kBlock, pixels - from);
      const T* source = in + (image * pixels + from) * channels;
      float* target = out + image * channels * pixels + from;
      for (int64_t c = 0; c < channels; ++c) {
        for (int64_t i = 0; i < count; ++i) {
          target[c * pixels + i] = static_cast<float>(static_cast<compute_t<T>>(source[i * channels + c])) / 255.0f;
        }
      }
    }
  });
}

// The way back of a gradient: out (n, pixels, c) = in (n, c, pixels) / 255
template <typename T>
void to_pixels(const float* in, T* out, int64_t n, int64_t pixels, int64_t channels) {
  cpu::parallel_for(n * pixels, 4096, [=](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const float* source = in + p / pixels * channels * pixels + p % pixels;
      for (int64_t c = 0; c < channels; ++c) out[p * channels + c] = convert<T>(source[c * pixels] / 255.0f);
    }
  });
}

Prepared prepare_to_tensor(const PrepareArgs& args) {
  const Images images(args.in[0].shape);
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch_numbers(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          to_planes(static_cast<const T*>(c.in[0]), static_cast<float*>(c.out[0]), images.n, images.pixels(),
                    images.channels);
        });
      },
      100 + images.size());
}

Prepared prepare_to_tensor_backward(const PrepareArgs& args) {
  const Images images(args.out[0].shape);
  return make_kernel(
      [=, dtype = args.out[0].dtype](const KernelCall& c) {
        dispatch_numbers(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          to_pixels(static_cast<const float*>(c.in[0]), static_cast<T*>(c.out[0]), images.n, images.pixels(),
                    images.channels);
        });
      },
      100 + images.size());
}

const RegisterOp to_tensor{{.name = "_image_to_tensor",
                            .doc = "Images of numbers in [0, 255] as float32 in [0, 1], channels first.\n\n"
                                   "Shapes: (h, w, c) becomes (c, h, w), (n, h, w, c) becomes (n, c, h, w).",
                            .inputs = {"data"},
                            .infer = {[](InferContext& c) {
                                        if (c.in[0].shape.rank_known()) check_images(c);
                                        if (c.in[0].shape.rank_known()) c.merge_out(0, channels_first(c.in[0].shape));
                                        const int rank = c.out[0].shape.rank();
                                        if (rank == 3 || rank == 4) c.merge_in(0, channels_last(c.out[0].shape));
                                      },
                                      [](InferContext& c) {
                                        if (c.in[0].dtype == DType::boolean) c.bad("data must be of numbers, got bool");
                                        c.merge_out_dtype(0, DType::f32);
                                      }},
                            .gradient = Gradient([](GradientBuilder& g) {
                                          g.give_all({0}, "_backward_image_to_tensor", {g.head(0), g.input(0)});
                                        }).without_outputs(),
                            .kernels = {{"blocks", prepare_to_tensor}}}};

const RegisterOp backward_to_tensor{
    {.name = "_backward_image_to_tensor",
     .doc = "Gradient of _image_to_tensor; the type is that of `data`.",
     .inputs = {"head", "data"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[1].shape); },
               [](InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }},
     .gradient = Gradient([](GradientBuilder& g) { g.give(0, "_image_to_tensor", {g.head(0)}); }).only_heads(),
     .kernels = {{"pixels", prepare_to_tensor_backward}},
     .flags = {.hidden = true}}};

struct NormalizeParams {
  FloatTuple mean{0, 0, 0, 0}, std{1, 1, 1, 1};
  static void declare(ParamSchemaOf<NormalizeParams>& s) {
    s.field("mean", &NormalizeParams::mean, "One number, or one for each channel; by default nothing is taken off.");
    s.field("std", &NormalizeParams::std, "One number, or one for each channel; by default nothing is divided.");
  }
};

// The value of a channel; the default, of four equal entries, fits any number of channels.
double of_channel(const FloatTuple& list, int64_t channel, int64_t channels) {
  const bool fits = static_cast<int64_t>(list.size()) == channels;
  return list[fits ? static_cast<size_t>(channel) : 0];
}

void check_list(const InferContext& c, const char* name, const FloatTuple& list, int64_t channels) {
  const bool same = std::all_of(list.begin(), list.end(), [&](double v) { return v == list[0]; });
  const auto n = static_cast<int64_t>(list.size());
  if (n == 1 || n == channels || (n == 4 && same)) return;
  c.bad(str(name, " must have 1 or ", channels, " entries for data of shape ", c.in[0].shape, ", got ", n));
}

void infer_normalize(InferContext& c) {
  const Shape& shape = c.in[0].shape;
  if (shape.rank_known()) {
    if (shape.rank() != 3 && shape.rank() != 4) {
      c.bad(str("data must have shape (channels, height, width) or (n, channels, height, width), got ", shape));
    }
    const auto& p = c.as<NormalizeParams>();
    if (const int64_t channels = shape[shape.rank() - 3]; channels >= 0) {
      check_list(c, "mean", p.mean, channels);
      check_list(c, "std", p.std, channels);
    }
  }
  c.merge_in(0, c.out[0].shape);
  c.merge_out(0, c.in[0].shape);
}
void infer_normalize_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be floating point, as to_tensor gives it, got ", name_of(c.in[0].dtype)));
  }
  infer_same_dtype(c);
}

// out = (in - mean) / std; a gradient has no mean.
Prepared prepare_scaling(const PrepareArgs& args, bool with_mean) {
  const Shape& shape = args.in[0].shape;
  const int64_t channels = shape[shape.rank() - 3],
                planes = shape.size() ? shape.size() / shape.back() / shape[shape.rank() - 2] : 0;
  const int64_t plane = planes ? shape.size() / planes : 0;
  const NormalizeParams p = args.as<NormalizeParams>();
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch_float(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          using C = compute_t<T>;
          const T* in = static_cast<const T*>(c.in[0]);
          T* out = static_cast<T*>(c.out[0]);
          cpu::parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(plane, 1)),
                            [=, &p](int64_t begin, int64_t end) {
                              for (int64_t i = begin; i < end; ++i) {
                                const C mean = with_mean ? C(of_channel(p.mean, i % channels, channels)) : C(0);
                                const C std = C(of_channel(p.std, i % channels, channels));
                                for (int64_t k = i * plane; k < (i + 1) * plane; ++k) {
                                  out[k] = static_cast<T>((static_cast<C>(in[k]) - mean) / std);
                                }
                              }
                            });
        });
      },
      100 + shape.size() / 2);
}

const RegisterOp normalize{{.name = "_image_normalize",
                            .doc = "(data - mean) / std for each channel.\n\n"
                                   "Shapes: (c, h, w) or (n, c, h, w), floating point.",
                            .params = schema_of<NormalizeParams>(),
                            .inputs = {"data"},
                            .infer = {infer_normalize, infer_normalize_dtype},
                            .gradient = Gradient([](GradientBuilder& g) {
                                          g.give_all({0}, "_backward_image_normalize", {g.head(0)}, g.params_ref());
                                        }).only_heads(),
                            .kernels = {{"planes", [](const PrepareArgs& a) { return prepare_scaling(a, true); }}},
                            .flags = {.inplace = true}}};

const RegisterOp backward_normalize{
    {.name = "_backward_image_normalize",
     .doc = "Gradient of _image_normalize.",
     .params = schema_of<NormalizeParams>(),
     .inputs = {"head"},
     .infer = {infer_normalize, infer_normalize_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_image_normalize", {g.head(0)}, g.params_ref());
                 }).only_heads(),
     .kernels = {{"planes", [](const PrepareArgs& a) { return prepare_scaling(a, false); }}},
     .flags = {.inplace = true, .hidden = true}}};

// ---- crop ----------------------------------------------------------------------------------------------------------

struct CropParams {
  int64_t x = 0, y = 0, width = 0, height = 0;
  static void declare(ParamSchemaOf<CropParams>& s) {
    s.field("x", &CropParams::x, "First column.").type("int").range(0, 2147483647).required();
    s.field("y", &CropParams::y, "First row.").type("int").range(0, 2147483647).required();
    s.field("width", &CropParams::width, "Columns.").type("int").range(1, 2147483647).required();
    s.field("height", &CropParams::height, "Rows.").type("int").range(1, 2147483647).required();
  }
};

void infer_crop(InferContext& c) {
  if (!check_images(c)) return;
  const auto& p = c.as<CropParams>();
  Shape out = c.in[0].shape;
  const int h = out.rank() - 3;
  if (p.y + p.height > out[h] || p.x + p.width > out[h + 1]) {
    c.bad(str("rows [", p.y, ", ", p.y + p.height, ") and columns [", p.x, ", ", p.x + p.width, ") leave data ", out));
  }
  out[h] = p.height;
  out[h + 1] = p.width;
  c.merge_out(0, out);
}

Window crop_window(const Shape& data, const CropParams& p) {
  const int h = data.rank() - 3;
  return Window::all(data).narrow(h, p.y, p.height).narrow(h + 1, p.x, p.width);
}

Prepared prepare_crop(const PrepareArgs& args) {
  MoveKernel kernel;
  kernel.copy(0, Window::all(args.out[0].shape), 0, crop_window(args.in[0].shape, args.as<CropParams>()),
              args.in[0].dtype);
  return kernel.finish();
}
Prepared prepare_crop_backward(const PrepareArgs& args) {
  MoveKernel kernel;
  kernel.fill(0, args.out[0].shape, args.out[0].dtype, 0);
  kernel.copy(0, crop_window(args.out[0].shape, args.as<CropParams>()), 0, Window::all(args.in[0].shape),
              args.in[0].dtype);
  return kernel.finish();
}

const RegisterOp crop{{.name = "_image_crop",
                       .doc =
                           "The rectangle of `height` rows from row `y` on and `width` columns from column `x` on.\n\n"
                           "Shapes: (h, w, c) or (n, h, w, c). Raises an error if it leaves the image.",
                       .params = schema_of<CropParams>(),
                       .inputs = {"data"},
                       .infer = {infer_crop, infer_same_dtype},
                       .gradient = Gradient([](GradientBuilder& g) {
                                     g.give_all({0}, "_backward_image_crop", {g.head(0), g.input(0)}, g.params_ref());
                                   }).without_outputs(),
                       .kernels = {{"move", prepare_crop}}}};

const RegisterOp backward_crop{{.name = "_backward_image_crop",
                                .doc = "Gradient of _image_crop; the shape is that of `data`.",
                                .params = schema_of<CropParams>(),
                                .inputs = {"head", "data"},
                                .infer = {[](InferContext& c) { c.merge_out(0, c.in[1].shape); },
                                          [](InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }},
                                .gradient = Gradient([](GradientBuilder& g) {
                                              g.give_all({0}, "_image_crop", {g.head(0)}, g.params_ref());
                                            }).only_heads(),
                                .kernels = {{"move", prepare_crop_backward}},
                                .flags = {.hidden = true}}};

// ---- flips ---------------------------------------------------------------------------------------------------------

// Mirrors one row.
template <typename T>
void mirror_row(const T* in, T* out, int64_t width, int64_t channels) {
  for (int64_t x = 0; x < width; ++x) {
    for (int64_t c = 0; c < channels; ++c) out[x * channels + c] = in[(width - 1 - x) * channels + c];
  }
}

// Turns those images for which `flags` (null: all) says so; the others are copied.
void flip(const Images& s, bool rows, DType dtype, const void* in, void* out, const uint8_t* flags) {
  dispatch_bits(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* source = static_cast<const T*>(in);
    T* target = static_cast<T*>(out);
    const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(s.row(), 1));
    cpu::parallel_for(s.n * s.height, grain, [=](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t image = r / s.height, y = r % s.height;
        const bool turn = !flags || flags[image];
        const int64_t from = turn && rows ? s.height - 1 - y : y;
        const T* row = source + image * s.image() + from * s.row();
        if (turn && !rows)
          mirror_row(row, target + r * s.row(), s.width, s.channels);
        else
          std::memcpy(target + r * s.row(), row, static_cast<size_t>(s.row()) * sizeof(T));
      }
    });
  });
}

template <bool Rows>
Prepared prepare_flip(const PrepareArgs& args) {
  const Images images(args.in[0].shape);
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) { flip(images, Rows, dtype, c.in[0], c.out[0], nullptr); },
      100 + images.size() / 2);
}

// Outputs: the images, and which of them were turned.
template <bool Rows>
Prepared prepare_random_flip(const PrepareArgs& args) {
  const Images images(args.in[0].shape);
  auto kernel = make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        auto* flags = static_cast<uint8_t*>(c.out[1] ? c.out[1] : c.scratch);
        for (int64_t i = 0; i < images.n; ++i) flags[i] = c.random.at(static_cast<uint64_t>(i)).v[0] >> 31;
        if (c.out[0]) flip(images, Rows, dtype, c.in[0], c.out[0], flags);
      },
      100 + images.size() / 2, static_cast<size_t>(images.n));
  kernel->random_draws = static_cast<uint64_t>(images.n);
  return kernel;
}

template <bool Rows>
Prepared prepare_flip_backward(const PrepareArgs& args) {
  const Images images(args.in[0].shape);
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        flip(images, Rows, dtype, c.in[0], c.out[0], static_cast<const uint8_t*>(c.in[1]));
      },
      100 + images.size() / 2);
}

void infer_random_flip(InferContext& c) {
  infer_same(c);
  const Shape& shape = c.in[0].shape;
  if (shape.rank_known()) c.merge_out(1, Shape{shape.rank() == 4 ? shape[0] : 1});
}
void infer_random_flip_dtype(InferContext& c) {
  infer_same_dtype(c);
  c.merge_out_dtype(1, DType::u8);
}

OpDef flip_op(const char* name, const char* doc, PrepareFn prepare) {
  static const auto again = [](GradientBuilder& g) { g.give_all({0}, g.op().name, {g.head(0)}); };
  return {.name = name,
          .doc = doc,
          .inputs = {"data"},
          .infer = {infer_same, infer_same_dtype},
          .gradient = Gradient(+again).only_heads(),
          .kernels = {{"rows", prepare}}};
}

OpDef random_flip_op(const char* name, const char* doc, PrepareFn prepare, Gradient::Fn gradient) {
  return {.name = name,
          .doc = doc,
          .inputs = {"data"},
          .outputs = Outputs(1).with_residuals(1),
          .infer = {infer_random_flip, infer_random_flip_dtype},
          .gradient = Gradient(gradient).without_inputs(),
          .kernels = {{"rows", prepare}},
          .flags = {.random = true}};
}

OpDef flip_backward_op(const char* name, PrepareFn prepare) {
  static const auto again = [](GradientBuilder& g) { g.give(0, g.op().name, {g.head(0), g.input(1)}); };
  return {.name = name,
          .doc = "Gradient of a random flip: turns the images that `flags` says.",
          .inputs = {"head", "flags"},
          .infer = {infer_same, infer_same_dtype},
          .gradient = Gradient(+again).without_outputs(),
          .kernels = {{"rows", prepare}},
          .flags = {.hidden = true}};
}

const RegisterOp flips[] = {
    RegisterOp(flip_op("_image_flip_left_right",
                       "Mirrors images: the first column becomes the last.\n\nShapes: (h, w, c) or (n, h, w, c).",
                       prepare_flip<false>)),
    RegisterOp(
        flip_op("_image_flip_top_bottom",
                "Turns images upside down: the first row becomes the last.\n\nShapes: (h, w, c) or (n, h, w, c).",
                prepare_flip<true>)),
    RegisterOp(random_flip_op(
        "_image_random_flip_left_right",
        "Mirrors each image with probability 1/2.\n\nShapes: (h, w, c) or (n, h, w, c).", prepare_random_flip<false>,
        [](GradientBuilder& g) { g.give(0, "_backward_image_flip_left_right", {g.head(0), g.output(1)}); })),
    RegisterOp(random_flip_op(
        "_image_random_flip_top_bottom",
        "Turns each image upside down with probability 1/2.\n\nShapes: (h, w, c) or (n, h, w, c).",
        prepare_random_flip<true>,
        [](GradientBuilder& g) { g.give(0, "_backward_image_flip_top_bottom", {g.head(0), g.output(1)}); })),
    RegisterOp(flip_backward_op("_backward_image_flip_left_right", prepare_flip_backward<false>)),
    RegisterOp(flip_backward_op("_backward_image_flip_top_bottom", prepare_flip_backward<true>)),
};

}  // namespace
}  // namespace mxnet::image
