// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/plane_view.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

enum class ResizeMode { size, odd_scale, like, to_even_down, to_even_up, to_odd_down, to_odd_up };

struct BilinearResizeParams {
  int height = 1;
  int width = 1;
  std::optional<float> scale_height, scale_width;
  ResizeMode mode = ResizeMode::size;
  bool align_corners = true;

  static void declare(ParamSchemaOf<BilinearResizeParams>& s) {
    using P = BilinearResizeParams;
    using M = ResizeMode;
    s.field("height", &P::height, "Height of the output, for mode 'size' without scales.").range(1, 1e9);
    s.field("width", &P::width, "Width of the output, for mode 'size' without scales.").range(1, 1e9);
    s.field("scale_height", &P::scale_height, "Factor of the height, for modes 'size' and 'odd_scale'.");
    s.field("scale_width", &P::scale_width, "Factor of the width, for modes 'size' and 'odd_scale'.");
    s.choice("mode", &P::mode,
             {{"like", M::like},
              {"odd_scale", M::odd_scale},
              {"size", M::size},
              {"to_even_down", M::to_even_down},
              {"to_even_up", M::to_even_up},
              {"to_odd_down", M::to_odd_down},
              {"to_odd_up", M::to_odd_up}},
             "Where the size of the output comes from: height and width or their scales ('size'); scales, odd sizes "
             "becoming odd again ('odd_scale'); the input `like` ('like'); the next even or odd number below or above "
             "('to_...').");
    s.field("align_corners", &P::align_corners,
            "Whether the centers of the corner pixels stay in place, or the edges.");
    s.validate([](const P& p) {
      // As in 1.9.1, scale_width alone does nothing.
      if (p.mode != M::odd_scale && !(p.mode == M::size && p.scale_height)) return;
      if (!p.scale_height || !p.scale_width) fail(ErrorKind::value, "scale_height and scale_width must both be given");
      for (const float scale : {*p.scale_height, *p.scale_width}) {
        if (!(scale >= 0 && scale <= 1e6f)) fail(ErrorKind::value, "scales must lie between 0 and 1e6, got ", scale);
      }
    });
  }

  int64_t resized(int64_t n, int given, const std::optional<float>& scale) const {
    const bool scales = mode == ResizeMode::size && scale_height;
    if (n < 0) return mode == ResizeMode::size && !scales ? given : -1;
    switch (mode) {
      case ResizeMode::size: return scales ? scaled(n, *scale) : given;
      case ResizeMode::odd_scale: return n % 2 == 0 ? scaled(n, *scale) : scaled(n - 1, *scale) + 1;
      case ResizeMode::to_even_down: return n - n % 2;
      case ResizeMode::to_even_up: return n + n % 2;
      case ResizeMode::to_odd_down: return n % 2 ? n : std::max<int64_t>(0, n - 1);
      case ResizeMode::to_odd_up: return n % 2 ? n : n + 1;
      case ResizeMode::like: break;
    }
    return -1;
  }
  static int64_t scaled(int64_t n, float scale) { return static_cast<int64_t>(static_cast<float>(n) * scale); }
};

// Where each element of an output axis lies between two of the input.
template <typename T>
struct Axis {
  std::vector<int64_t> low, high;
  std::vector<T> part;  // of `high`; the rest is of `low`

  Axis(int64_t in, int64_t out, bool align_corners) {
    // An output of one element takes the first of the input, as in 1.9.1.
    T ratio = 0;
    if (out > 1) ratio = align_corners ? T(in - 1) / T(out - 1) : T(in) / T(out);
    for (int64_t i = 0; i < out; ++i) {
      const T at = align_corners ? ratio * T(i) : std::max(T(0), ratio * (T(i) + T(0.5)) - T(0.5));
      low.push_back(std::min(static_cast<int64_t>(at), in - 1));
      high.push_back(std::min(low.back() + 1, in - 1));
      part.push_back(at - T(low.back()));
    }
  }
};

template <typename T>
struct Resize {
  PlaneView view;
  int64_t height, width, rows, columns;
  Axis<T> y, x;

  Resize(PlaneView view, const Shape& in, const Shape& out, bool align_corners)
      : view(view),
        height(in[2]),
        width(in[3]),
        rows(out[2]),
        columns(out[3]),
        y(height, rows, align_corners),
        x(width, columns, align_corners) {}

  void forward(const T* from, T* to) const {
    const int64_t line = width * view.inner;
    cpu::parallel_for(view.outer * rows, grain_of(2 * columns * view.inner + line), [&](int64_t begin, int64_t end) {
      Scratch scratch;
      T* mixed = scratch.get<T>(static_cast<size_t>(line));
      for (int64_t i = begin; i < end; ++i) {
        const auto row = static_cast<size_t>(i % rows);
        const T* plane = from + i / rows * height * line;
        const T *low = plane + y.low[row] * line, *high = plane + y.high[row] * line;
        const T b = y.part[row], a = 1 - b;
#pragma omp simd
        for (int64_t k = 0; k < line; ++k) mixed[k] = a * low[k] + b * high[k];
        stretch(mixed, to + i * columns * view.inner);
      }
    });
  }

  // Blocks of channels, or planes, are added to by one thread each.
  void backward(const T* dy, T* dx) const {
    constexpr int64_t kBlock = 32;
    cpu::zero_bytes(dx, view.outer * height * width * view.inner * static_cast<int64_t>(sizeof(T)));
    const int64_t blocks = (view.inner + kBlock - 1) / kBlock;
    cpu::parallel_for(view.outer * blocks, grain_of(rows * columns * 4 * std::min(view.inner, kBlock)),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t i = begin; i < end; ++i) {
                          const int64_t first = i % blocks * kBlock;
                          backward_block(dy + i / blocks * rows * columns * view.inner + first,
                                         dx + i / blocks * height * width * view.inner + first,
                                         std::min(kBlock, view.inner - first));
                        }
                      });
  }

 private:
  void stretch(const T* line, T* to) const {
    for (size_t j = 0; j < static_cast<size_t>(columns); ++j) {
      const T *low = line + x.low[j] * view.inner, *high = line + x.high[j] * view.inner;
      const T b = x.part[j], a = 1 - b;
      if (view.inner == 1) {
        *to++ = a * *low + b * *high;
        continue;
      }
#pragma omp simd
      for (int64_t k = 0; k < view.inner; ++k) to[k] = a * low[k] + b * high[k];
      to += view.inner;
    }
  }

  void backward_block(const T* dy, T* dx, int64_t n) const {
    Scratch scratch;
    T* line = scratch.get<T>(static_cast<size_t>(width * n));
    for (size_t i = 0; i < static_cast<size_t>(rows); ++i) {
      std::fill_n(line, width * n, T(0));
      for (size_t j = 0; j < static_cast<size_t>(columns); ++j) {
        const T* head = dy + (static_cast<int64_t>(i) * columns + static_cast<int64_t>(j)) * view.inner;
        T *low = line + x.low[j] * n, *high = line + x.high[j] * n;
        const T b = x.part[j], a = 1 - b;
        for (int64_t k = 0; k < n; ++k) low[k] += a * head[k];
        for (int64_t k = 0; k < n; ++k) high[k] += b * head[k];
      }
      add_line(line, dx + y.low[i] * width * view.inner, 1 - y.part[i], n);
      add_line(line, dx + y.high[i] * width * view.inner, y.part[i], n);
    }
  }
  void add_line(const T* line, T* to, T factor, int64_t n) const {
    if (n == view.inner) {
#pragma omp simd
      for (int64_t k = 0; k < width * n; ++k) to[k] += factor * line[k];
      return;
    }
    for (int64_t w = 0; w < width; ++w) {
#pragma omp simd
      for (int64_t k = 0; k < n; ++k) to[w * view.inner + k] += factor * line[w * n + k];
    }
  }
};

Prepared prepare(const PrepareArgs& a) {
  if (a.in.size() > 1) a.in_layout[1] = a.in[1].layout;  // only its shape is read
  const PlaneView view = keep_layout_of_first(a);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const bool empty = a.out[0].shape.size() == 0;
    const Shape none{0, 0, 0, 0};
    Resize<T> resize(view, empty ? none : a.in[0].shape, empty ? none : a.out[0].shape,
                     a.as<BilinearResizeParams>().align_corners);
    auto run = [resize = std::move(resize), empty](const KernelCall& c) {
      if (!empty) resize.forward(static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + 2 * a.out[0].shape.size() + a.in[0].shape.size());
  });
}

// (dy, data) -> dx; of data only the shape is read.
Prepared prepare_backward(const PrepareArgs& a) {
  a.in_layout[1] = a.in[1].layout;
  const PlaneView view = keep_layout_of_first(a);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const Shape& in = a.in[1].shape;
    const bool empty = a.in[0].shape.size() == 0;
    const Shape none{0, 0, 0, 0};
    Resize<T> resize(view, empty ? none : in, empty ? none : a.in[0].shape, a.as<BilinearResizeParams>().align_corners);
    auto run = [resize = std::move(resize), empty, size = in.size()](const KernelCall& c) {
      if (!c.out[0]) return;
      if (empty) return cpu::zero_bytes(c.out[0], size * static_cast<int64_t>(sizeof(T)));
      resize.backward(static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + 5 * a.in[0].shape.size() + in.size());
  });
}

int num_inputs(const Params& p) { return p.as<BilinearResizeParams>().mode == ResizeMode::like ? 2 : 1; }

void infer_shape(InferContext& c) {
  const auto& p = c.as<BilinearResizeParams>();
  check_rank(c, 0, 4, "(batch, channels, height, width)");
  c.merge_in(0, {-1, -1, -1, -1});
  const Shape& data = c.in[0].shape;
  Shape out{data[0], data[1], p.resized(data[2], p.height, p.scale_height), p.resized(data[3], p.width, p.scale_width)};
  if (p.mode == ResizeMode::like) {
    check_rank(c, 1, 4, "(batch, channels, height, width)");
    if (!c.in[1].shape.rank_known()) return;
    for (int d = 2; d < 4; ++d) out[d] = c.in[1].shape[d];
  }
  if (out.known() && data.known() && data.size() == 0 && out.size() > 0) {
    c.bad(str("data has no pixels, its shape is ", data));
  }
  c.merge_out(0, out);
}

const RegisterOp bilinear_resize{{
    .name = "_contrib_BilinearResize2D",
    .doc = "Resizes images bilinearly.\n\n"
           "Shapes: data (batch, channels, height, width), like (any, any, h, w) with mode 'like'; output (batch, "
           "channels, new height, new width). like has no gradient.",
    .params = schema_of<BilinearResizeParams>(),
    .inputs = Inputs({"data", "like"}, num_inputs),
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  const bool like = g.params<BilinearResizeParams>().mode == ResizeMode::like;
                  if (like)
                    g.give_all({0}, "_backward_BilinearResize2D", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                  else
                    g.give_all({0}, "_backward_BilinearResize2D", {g.head(0), g.input(0)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
}};

const RegisterOp backward_bilinear_resize{{
    .name = "_backward_BilinearResize2D",
    .doc = "Gradient of _contrib_BilinearResize2D. Of data and like the shapes are read.",
    .params = schema_of<BilinearResizeParams>(),
    .inputs = Inputs({"head", "data", "like"}, [](const Params& p) { return num_inputs(p) + 1; }),
    .infer = {[](InferContext& c) {
                check_rank(c, 0, 4, "(batch, channels, height, width)");
                check_rank(c, 1, 4, "(batch, channels, height, width)");
                const Shape& data = c.in[1].shape;
                if (!data.known() || !c.in[0].shape.known()) return;
                c.merge_in(0, {data[0], data[1], -1, -1});
                if (data.size() == 0 && c.in[0].shape.size() > 0) c.bad("data has no pixels");
                c.merge_out(0, data);
              },
              infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  const bool like = g.params<BilinearResizeParams>().mode == ResizeMode::like;
                  if (like)
                    g.give_all({0}, "_contrib_BilinearResize2D", {g.head(0), g.input(2)}, g.params_ref());
                  else
                    g.give_all({0}, "_contrib_BilinearResize2D", {g.head(0)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
