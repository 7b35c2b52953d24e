// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backend/cpu/strided_copy.h"
#include "operator/composition.h"
#include "ops/vision/vision.h"

namespace mxnet::vision {
namespace {

struct CorrelationParams {
  int64_t kernel_size = 1;
  int64_t max_displacement = 1;
  int64_t stride1 = 1;
  int64_t stride2 = 1;
  int64_t pad_size = 0;
  bool is_multiply = true;

  static void declare(ParamSchemaOf<CorrelationParams>& s) {
    using P = CorrelationParams;
    constexpr double kMost = 1e6;
    s.field("kernel_size", &P::kernel_size, "Side of the compared patches, odd.").range(1, kMost);
    s.field("max_displacement", &P::max_displacement, "Largest displacement along each axis.").range(0, kMost);
    s.field("stride1", &P::stride1, "Distance of patches in data1.").range(1, kMost);
    s.field("stride2", &P::stride2, "Distance of displacements.").range(1, kMost);
    s.field("pad_size", &P::pad_size, "Zeros around the images.").range(0, kMost);
    s.field("is_multiply", &P::is_multiply, "Whether elements are multiplied; else their differences are taken.");
    s.validate([](const P& p) {
      if (p.kernel_size % 2 == 0) fail(ErrorKind::value, "kernel_size must be odd, got ", p.kernel_size);
    });
  }
};

struct Extents {
  int64_t batch, channels, height, width;  // of the images
  int64_t padded_height, padded_width;
  int64_t rows, columns;  // of the output
  int64_t radius;         // displacements on each side
  int64_t side() const { return 2 * radius + 1; }
  int64_t displacements() const { return side() * side(); }
  int64_t padded() const { return channels * padded_height * padded_width; }

  Extents(const CorrelationParams& p, const Shape& data)
      : batch(data[0]),
        channels(data[1]),
        height(data[2]),
        width(data[3]),
        padded_height(height + 2 * p.pad_size),
        padded_width(width + 2 * p.pad_size),
        rows(steps(padded_height, p)),
        columns(steps(padded_width, p)),
        radius(p.max_displacement / p.stride2) {}

 private:
  static int64_t steps(int64_t extent, const CorrelationParams& p) {
    const int64_t inner = extent - 2 * (p.max_displacement + p.kernel_size / 2);
    return inner <= 0 ? 0 : (inner + p.stride1 - 1) / p.stride1;
  }
};

// Displaced patches never leave the padded image: the first and last rows of the output keep that distance.
template <typename T>
void pad_image(const Extents& e, int64_t pad, const T* from, T* to) {
  cpu::parallel_for(e.channels, grain_of(e.padded_height * e.padded_width / 4), [&](int64_t begin, int64_t end) {
    std::fill(to + begin * e.padded_height * e.padded_width, to + end * e.padded_height * e.padded_width, T(0));
    for (int64_t i = begin * e.height; i < end * e.height; ++i) {
      const int64_t row = i / e.height * e.padded_height + i % e.height + pad;
      std::copy_n(from + i * e.width, e.width, to + row * e.padded_width + pad);
    }
  });
}

template <typename T>
void unpad_image(const Extents& e, int64_t pad, const T* from, T* to) {
  for (int64_t i = 0; i < e.channels * e.height; ++i) {
    const int64_t row = i / e.height * e.padded_height + i % e.height + pad;
    std::copy_n(from + row * e.padded_width + pad, e.width, to + i * e.width);
  }
}

// The rows of elements that one row of the output compares, for one displacement, channel and row and column of the
// kernel: f(first of data1, first of data2), in a padded image, `stride1` elements apart.
template <typename F>
void each_pair(const CorrelationParams& p, const Extents& e, int64_t displacement, int64_t row, int64_t channel,
               F&& f) {
  const int64_t dy = (displacement / e.side() - e.radius) * p.stride2;
  const int64_t dx = (displacement % e.side() - e.radius) * p.stride2;
  for (int64_t h = 0; h < p.kernel_size; ++h) {
    for (int64_t w = 0; w < p.kernel_size; ++w) {
      const int64_t y = row * p.stride1 + p.max_displacement + h, x = p.max_displacement + w;
      const int64_t plane = channel * e.padded_height;
      f((plane + y) * e.padded_width + x, (plane + y + dy) * e.padded_width + x + dx);
    }
  }
}

template <typename T, bool kMultiply>
void add_row(const T* a, const T* b, int64_t n, int64_t step, T* sum) {
  const auto term = [](T x, T y) { return kMultiply ? x * y : std::abs(x - y); };
  if (step == 1) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) sum[j] += term(a[j], b[j]);
  } else {
    for (int64_t j = 0; j < n; ++j) sum[j] += term(a[j * step], b[j * step]);
  }
}

// to += head * derivative with respect to a (sign 1) or b (sign -1 where differences are taken).
template <typename T, bool kMultiply>
void add_gradient_row(const T* head, const T* a, const T* b, const T* other, T sign, int64_t n, int64_t step, T* to) {
  if (step == 1) {
#pragma omp simd
    for (int64_t j = 0; j < n; ++j) to[j] += head[j] * (kMultiply ? other[j] : a[j] >= b[j] ? sign : -sign);
  } else {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t k = j * step;
      to[k] += head[j] * (kMultiply ? other[k] : a[k] >= b[k] ? sign : -sign);
    }
  }
}

template <typename T>
T scale_of(const CorrelationParams& p, const Extents& e) {
  return T(1) / T(std::max<int64_t>(1, p.kernel_size * p.kernel_size * e.channels));
}

int64_t cost_of(const CorrelationParams& p, const Extents& e) {
  return e.batch * e.displacements() * e.rows * e.columns * p.kernel_size * p.kernel_size * e.channels;
}

template <typename T, bool kMultiply>
std::unique_ptr<Kernel> forward_kernel(const CorrelationParams& params, const Extents& e) {
  auto run = [=, p = params](const KernelCall& c) {
    T* a = static_cast<T*>(c.scratch);
    T* b = a + e.padded();
    const int64_t image = e.channels * e.height * e.width, lines = e.displacements() * e.rows;
    for (int64_t n = 0; n < e.batch; ++n) {
      pad_image(e, p.pad_size, static_cast<const T*>(c.in[0]) + n * image, a);
      pad_image(e, p.pad_size, static_cast<const T*>(c.in[1]) + n * image, b);
      const int64_t cost = cost_of(p, e) / (e.batch * lines);
      cpu::parallel_for(lines, grain_of(cost / 2), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T* out = static_cast<T*>(c.out[0]) + (n * lines + i) * e.columns;
          std::fill_n(out, e.columns, T(0));
          for (int64_t channel = 0; channel < e.channels; ++channel) {
            each_pair(p, e, i / e.rows, i % e.rows, channel, [&](int64_t at, int64_t other) {
              add_row<T, kMultiply>(a + at, b + other, e.columns, p.stride1, out);
            });
          }
          for (int64_t j = 0; j < e.columns; ++j) out[j] *= scale_of<T>(p, e);
        }
      });
    }
  };
  return make_kernel(std::move(run), 200 + cost_of(params, e), 2 * static_cast<size_t>(e.padded()) * sizeof(T));
}

// (dy, data1, data2) -> gradients. Threads take channels.
template <typename T, bool kMultiply>
std::unique_ptr<Kernel> backward_kernel(const CorrelationParams& params, const Extents& e) {
  auto run = [=, p = params](const KernelCall& c) {
    T* a = static_cast<T*>(c.scratch);
    T *b = a + e.padded(), *da = b + e.padded(), *db = da + e.padded();
    const int64_t image = e.channels * e.height * e.width, lines = e.displacements() * e.rows;
    for (int64_t n = 0; n < e.batch; ++n) {
      pad_image(e, p.pad_size, static_cast<const T*>(c.in[1]) + n * image, a);
      pad_image(e, p.pad_size, static_cast<const T*>(c.in[2]) + n * image, b);
      cpu::zero_bytes(da, 2 * e.padded() * static_cast<int64_t>(sizeof(T)));
      const T* dy = static_cast<const T*>(c.in[0]) + n * lines * e.columns;
      cpu::parallel_for(e.channels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t channel = begin; channel < end; ++channel) {
          for (int64_t i = 0; i < lines; ++i) {
            const T* head = dy + i * e.columns;
            each_pair(p, e, i / e.rows, i % e.rows, channel, [&](int64_t x, int64_t y) {
              add_gradient_row<T, kMultiply>(head, a + x, b + y, b + y, T(1), e.columns, p.stride1, da + x);
              add_gradient_row<T, kMultiply>(head, a + x, b + y, a + x, T(-1), e.columns, p.stride1, db + y);
            });
          }
        }
      });
      for (int64_t i = 0; i < 2 * e.padded(); ++i) da[i] *= scale_of<T>(p, e);
      if (c.out[0]) unpad_image(e, p.pad_size, da, static_cast<T*>(c.out[0]) + n * image);
      if (c.out[1]) unpad_image(e, p.pad_size, db, static_cast<T*>(c.out[1]) + n * image);
    }
  };
  return make_kernel(std::move(run), 200 + 2 * cost_of(params, e), 4 * static_cast<size_t>(e.padded()) * sizeof(T));
}

Prepared prepare(const PrepareArgs& a) {
  const auto& p = a.as<CorrelationParams>();
  const Extents e(p, a.in[0].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return p.is_multiply ? forward_kernel<T, true>(p, e) : forward_kernel<T, false>(p, e);
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const auto& p = a.as<CorrelationParams>();
  const Extents e(p, a.in[1].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return p.is_multiply ? backward_kernel<T, true>(p, e) : backward_kernel<T, false>(p, e);
  });
}

// data1 and data2 begin at input `first`. Gives the shape of the output.
Shape infer_from(InferContext& c, int first) {
  const auto& p = c.as<CorrelationParams>();
  for (int i : {0, 1}) check_rank(c, first + i, 4, "(batch, channels, height, width)");
  const auto in = [&](int i) -> const Shape& { return c.in[static_cast<size_t>(first + i)].shape; };
  c.merge_in(first, in(1));
  c.merge_in(first + 1, in(0));
  if (!in(0).known()) return Shape::unknown();
  const Extents e(p, in(0));
  if (e.rows == 0 || e.columns == 0) {
    c.bad(str("displacements and kernel do not fit into data of shape ", in(0), " with this pad"));
  }
  if (e.side() > 1'000'000) c.bad("too many displacements");
  return {e.batch, e.displacements(), e.rows, e.columns};
}

void infer_shape(InferContext& c) { c.merge_out(0, infer_from(c, 0)); }
void infer_backward_shape(InferContext& c) {
  c.merge_in(0, infer_from(c, 1));
  for (int i : {0, 1}) c.merge_out(i, c.in[1].shape);
}

// One map of products or differences for each displacement, summed over channels and kernels by pooling.
std::vector<Term> compose(const Composing& c) {
  const auto& p = c.as<CorrelationParams>();
  const Extents e(p, c[0].shape());
  const ParamMap padding{{"mode", "constant"},
                         {"pad_width", tuple_of({0, 0, 0, 0, p.pad_size, p.pad_size, p.pad_size, p.pad_size})}};
  const Term a = c[0].then("Pad", padding), b = c[1].then("Pad", padding);
  const int64_t height = (e.rows - 1) * p.stride1 + p.kernel_size, width = (e.columns - 1) * p.stride1 + p.kernel_size;
  const auto window = [&](const Term& image, int64_t dy, int64_t dx) {
    const int64_t y = p.max_displacement + dy, x = p.max_displacement + dx;
    return image.slice(2, y, y + height).slice(3, x, x + width);
  };
  const ParamMap sum{{"kernel", tuple_of({p.kernel_size, p.kernel_size})},
                     {"stride", tuple_of({p.stride1, p.stride1})},
                     {"pool_type", "sum"}};
  const Term still = window(a, 0, 0);
  std::vector<Term> maps;
  for (int64_t i = 0; i < e.displacements(); ++i) {
    const Term moved = window(b, (i / e.side() - e.radius) * p.stride2, (i % e.side() - e.radius) * p.stride2);
    const Term each = p.is_multiply ? still * moved : (still - moved).then("abs");
    maps.push_back(each.sum({1}, true).then("Pooling", sum) * scale_of<double>(p, e));
  }
  return {join("Concat", 1, maps)};
}
const RegisterComposition composition{"Correlation", compose};

const RegisterOp correlation{{
    .name = "Correlation",
    .doc =
        "Compares patches of two images at all displacements up to a largest one (FlowNet, Dosovitskiy et al. "
        "2015).\n\n"
        "Shapes: data1 and data2 (batch, channels, height, width), output (batch, displacements, rows, columns): the "
        "mean over a patch and all channels of products, or of absolute differences, of elements.",
    .params = schema_of<CorrelationParams>(),
    .inputs = {"data1", "data2"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_Correlation", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::widest},
}};

const RegisterOp backward_correlation{{
    .name = "_backward_Correlation",
    .doc = "Gradients of Correlation with respect to both images.",
    .params = schema_of<CorrelationParams>(),
    .inputs = {"head", "data1", "data2"},
    .outputs = 2,
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient::none(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
