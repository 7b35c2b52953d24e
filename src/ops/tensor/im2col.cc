// SPDX-License-Identifier: Apache-2.0
// Windows of an image as columns of a matrix, and back: im2col, col2im.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"

namespace mxnet::ops {
namespace {

struct Im2colParams {
  Shape kernel, stride, dilate, pad;
  template <typename P>
  static void declare_window(ParamSchemaOf<P>& s) {
    s.field("kernel", static_cast<Shape P::*>(&P::kernel), "Size of the window, one to three numbers.").required();
    s.field("stride", static_cast<Shape P::*>(&P::stride), "Distance of the windows; 1 if not given.");
    s.field("dilate", static_cast<Shape P::*>(&P::dilate), "Distance of the elements in a window; 1 if not given.");
    s.field("pad", static_cast<Shape P::*>(&P::pad), "Zeros around the image; 0 if not given.");
    s.validate([](const P& p) {
      const int rank = p.kernel.rank();
      if (rank < 1 || rank > 3) fail(ErrorKind::value, "kernel must have one to three entries, got ", p.kernel);
      for (const Shape* list : {&p.stride, &p.dilate, &p.pad}) {
        if (list->rank() != 0 && list->rank() != rank) {
          fail(ErrorKind::value, "stride, dilate and pad must have as many entries as kernel ", p.kernel, ", got ",
               *list);
        }
      }
      const auto least = [](const Shape& list, dim_t low) {
        return std::all_of(list.begin(), list.end(), [=](dim_t d) { return d >= low; });
      };
      if (!least(p.kernel, 1) || !least(p.stride, 1) || !least(p.dilate, 1) || !least(p.pad, 0)) {
        fail(ErrorKind::value, "kernel, stride and dilate must be positive and pad not negative");
      }
    });
  }
  static void declare(ParamSchemaOf<Im2colParams>& s) { declare_window(s); }
};

struct Col2imParams : Im2colParams {
  Shape output_size;
  static void declare(ParamSchemaOf<Col2imParams>& s) {
    s.field("output_size", &Col2imParams::output_size, "Size of the image.").required();
    declare_window(s);
    s.validate([](const Col2imParams& p) {
      if (p.output_size.rank() != p.kernel.rank()) {
        fail(ErrorKind::value, "output_size must have as many entries as kernel ", p.kernel, ", got ", p.output_size);
      }
    });
  }
};

// Always three spatial dimensions, the leading ones of size 1.
struct Windows {
  int64_t image[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilate[3] = {1, 1, 1}, pad[3] = {0, 0, 0};
  int64_t count[3] = {1, 1, 1};
  bool fits = true;

  Windows(const Im2colParams& p, std::span<const dim_t> spatial) {
    const int rank = p.kernel.rank();
    for (int d = 0; d < rank; ++d) {
      const int k = 3 - rank + d;
      image[k] = spatial[static_cast<size_t>(d)];
      kernel[k] = p.kernel[d];
      if (p.stride.rank()) stride[k] = p.stride[d];
      if (p.dilate.rank()) dilate[k] = p.dilate[d];
      if (p.pad.rank()) pad[k] = p.pad[d];
      const int64_t reach = image[k] + 2 * pad[k] - dilate[k] * (kernel[k] - 1) - 1;
      fits = fits && reach >= 0;
      count[k] = reach >= 0 ? reach / stride[k] + 1 : 0;
    }
  }
  int64_t pixels() const { return image[0] * image[1] * image[2]; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t columns() const { return count[0] * count[1] * count[2]; }

  // Calls f(position in the column plane, pixel or -1) for every tap and window of one channel.
  template <typename F>
  void walk(F&& f) const {
    int64_t at = 0;
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const int64_t k[3] = {tap / (kernel[1] * kernel[2]), tap / kernel[2] % kernel[1], tap % kernel[2]};
      for (int64_t a = 0; a < count[0]; ++a) {
        const int64_t z = a * stride[0] - pad[0] + k[0] * dilate[0];
        for (int64_t b = 0; b < count[1]; ++b) {
          const int64_t y = b * stride[1] - pad[1] + k[1] * dilate[1];
          const bool inside = z >= 0 && z < image[0] && y >= 0 && y < image[1];
          for (int64_t e = 0; e < count[2]; ++e, ++at) {
            const int64_t x = e * stride[2] - pad[2] + k[2] * dilate[2];
            f(at, inside && x >= 0 && x < image[2] ? (z * image[1] + y) * image[2] + x : -1);
          }
        }
      }
    }
  }
};

Windows windows_of(const Im2colParams& p, const Shape& image) {
  return Windows(p, {image.begin() + 2, static_cast<size_t>(image.rank() - 2)});
}

void infer_im2col(InferContext& c) {
  const auto& p = c.as<Im2colParams>();
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  if (in.rank() != p.kernel.rank() + 2) {
    c.bad(str("kernel ", p.kernel, " needs data of ", p.kernel.rank() + 2, " dimensions, got ", in));
  }
  const Windows w = windows_of(p, in);
  if (!w.fits) c.bad(str("kernel ", p.kernel, " does not fit into data ", in, " with this pad"));
  c.merge_out(0, Shape{in[0], in[1] * w.taps(), w.columns()});
}

Prepared prepare_im2col(const PrepareArgs& args) {
  const Shape& in = args.in[0].shape;
  const Windows w = windows_of(args.as<Im2colParams>(), in);
  const int64_t planes = in[0] * in[1], pixels = w.pixels(), plane = w.taps() * w.columns();
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch_bits(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          cpu::parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(plane, 1)),
                            [&](int64_t begin, int64_t end) {
                              for (int64_t i = begin; i < end; ++i) {
                                const T* image = static_cast<const T*>(c.in[0]) + i * pixels;
                                T* out = static_cast<T*>(c.out[0]) + i * plane;
                                w.walk([=](int64_t at, int64_t pixel) { out[at] = pixel < 0 ? T(0) : image[pixel]; });
                              }
                            });
        });
      },
      50 + planes * plane * 2);
}

// Adds every column element to its pixel. `in` is the last input.
std::unique_ptr<Kernel> add_columns(const Windows& w, int64_t planes, DType dtype, int in) {
  const int64_t pixels = w.pixels(), plane = w.taps() * w.columns();
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          cpu::parallel_for(planes, std::max<int64_t>(1, 16384 / std::max<int64_t>(plane, 1)),
                            [&](int64_t begin, int64_t end) {
                              std::vector<accumulate_t<T>> sums(static_cast<size_t>(pixels));
                              for (int64_t i = begin; i < end; ++i) {
                                std::fill(sums.begin(), sums.end(), accumulate_t<T>(0));
                                const T* columns = static_cast<const T*>(c.in[in]) + i * plane;
                                w.walk([&](int64_t at, int64_t pixel) {
                                  if (pixel >= 0)
                                    sums[static_cast<size_t>(pixel)] += static_cast<compute_t<T>>(columns[at]);
                                });
                                T* image = static_cast<T*>(c.out[0]) + i * pixels;
                                for (int64_t k = 0; k < pixels; ++k)
                                  image[k] = convert<T>(sums[static_cast<size_t>(k)]);
                              }
                            });
        });
      },
      50 + planes * plane * 2);
}

Prepared prepare_im2col_backward(const PrepareArgs& args) {
  const Shape& image = args.in[0].shape;
  return add_columns(windows_of(args.as<Im2colParams>(), image), image[0] * image[1], args.in[1].dtype, 1);
}

const RegisterOp im2col{{.name = "im2col",
                         .doc =
                             "The windows of an image as columns.\n\n"
                             "Shapes: data (n, c, spatial...), output (n, c * size of the kernel, number of windows).",
                         .params = schema_of<Im2colParams>(),
                         .inputs = {"data"},
                         .infer = {infer_im2col, infer::same_dtype},
                         .gradient = Gradient([](GradientBuilder& g) {
                                       g.give_all({0}, "_backward_im2col", {g.input(0), g.head(0)}, g.params_ref());
                                     }).without_outputs(),
                         .kernels = {{"index", prepare_im2col}}}};

const RegisterOp backward_im2col{{.name = "_backward_im2col",
                                  .doc = "Gradient of im2col. Inputs: data (its shape is read), the head.",
                                  .params = schema_of<Im2colParams>(),
                                  .inputs = {"data", "head"},
                                  .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); },
                                            [](InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }},
                                  .gradient = Gradient([](GradientBuilder& g) {
                                                g.give_all({1}, "im2col", {g.head(0)}, g.params_ref());
                                              }).only_heads(),
                                  .kernels = {{"index", prepare_im2col_backward}},
                                  .flags = {.hidden = true}}};

void infer_col2im(InferContext& c) {
  const auto& p = c.as<Col2imParams>();
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  if (in.rank() != 3) c.bad(str("data must have 3 dimensions, got ", in));
  const Windows w(p, {p.output_size.begin(), p.output_size.end()});
  if (!w.fits || in[1] % w.taps() || in[2] != w.columns()) {
    c.bad(str("data ", in, " must have a multiple of ", w.taps(), " rows and ", w.columns(),
              " columns for an image of ", p.output_size));
  }
  Shape out{in[0], in[1] / w.taps()};
  for (dim_t d : p.output_size) out.push_back(d);
  c.merge_out(0, out);
}

Prepared prepare_col2im(const PrepareArgs& args) {
  const Shape& image = args.out[0].shape;
  return add_columns(windows_of(args.as<Col2imParams>(), image), image[0] * image[1], args.in[0].dtype, 0);
}

void col2im_gradient(GradientBuilder& g) {
  const auto& p = g.params<Col2imParams>();
  g.give_all({0}, "im2col", {g.head(0)},
             make_params<Im2colParams>({.kernel = p.kernel, .stride = p.stride, .dilate = p.dilate, .pad = p.pad}));
}

const RegisterOp col2im{
    {.name = "col2im",
     .doc = "The image whose pixels are the sums of the column elements that im2col would copy them to.\n\n"
            "Shapes: data (n, c * size of the kernel, number of windows), output (n, c, output_size...).",
     .params = schema_of<Col2imParams>(),
     .inputs = {"data"},
     .infer = {infer_col2im, infer::same_dtype},
     .gradient = Gradient(col2im_gradient).only_heads(),
     .kernels = {{"index", prepare_col2im}}}};

}  // namespace
}  // namespace mxnet::ops
