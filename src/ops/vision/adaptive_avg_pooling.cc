// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/plane_view.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct AdaptiveAvgPoolingParams {
  Shape output_size;
  static void declare(ParamSchemaOf<AdaptiveAvgPoolingParams>& s) {
    s.field("output_size", &AdaptiveAvgPoolingParams::output_size,
            "Height and width of the output, one number for both; (1, 1) if not given.");
    s.validate([](const AdaptiveAvgPoolingParams& p) {
      const Shape& size = p.output_size;
      const bool negative = std::any_of(size.begin(), size.end(), [](dim_t d) { return d < 0; });
      if (size.rank() > 2 || negative) fail(ErrorKind::value, "output_size must be one or two sizes, got ", size);
    });
  }
  int64_t height() const { return output_size.rank() == 0 ? 1 : output_size[0]; }
  int64_t width() const { return output_size.rank() == 0 ? 1 : output_size[output_size.rank() - 1]; }
};

// Bin i of n: elements [begin, end) of `extent`.
struct Bin {
  int64_t begin, end;
  Bin(int64_t i, int64_t n, int64_t extent) : begin(i * extent / n), end(((i + 1) * extent + n - 1) / n) {}
  int64_t size() const { return end - begin; }
};

struct Pooling {
  PlaneView view;
  int64_t height, width, rows, columns;

  // Sums rows of a bin first, then columns of the sums.
  template <typename T>
  void forward(const T* x, T* y) const {
    const int64_t line = width * view.inner;
    cpu::parallel_for(view.outer * rows, grain_of(height * line / std::max<int64_t>(1, rows) / 2),
                      [&](int64_t begin, int64_t end) {
                        Scratch scratch;
                        T* sum = scratch.get<T>(static_cast<size_t>(line));
                        for (int64_t i = begin; i < end; ++i) {
                          const Bin bin(i % rows, rows, height);
                          const T* from = x + (i / rows * height + bin.begin) * line;
                          std::copy_n(from, line, sum);
                          for (int64_t row = 1; row < bin.size(); ++row) {
                            const T* next = from + row * line;
#pragma omp simd
                            for (int64_t k = 0; k < line; ++k) sum[k] += next[k];
                          }
                          finish_row(sum, bin.size(), y + i * columns * view.inner);
                        }
                      });
  }

  // Rows of dx are sums of lines, one per row of bins; neighbouring rows share them.
  template <typename T>
  void backward(const T* dy, T* dx) const {
    const int64_t line = width * view.inner;
    cpu::parallel_for(view.outer * height, grain_of(line), [&](int64_t begin, int64_t end) {
      Scratch scratch;
      T* lines[2] = {scratch.get<T>(static_cast<size_t>(line)), scratch.get<T>(static_cast<size_t>(line))};
      int64_t held[2] = {-1, -1};
      for (int64_t i = begin; i < end; ++i) {
        const int64_t h = i % height, first = h * rows / height;
        std::fill_n(dx + i * line, rows == 0 ? line : 0, T(0));
        for (int64_t row = first; row < rows && Bin(row, rows, height).begin <= h; ++row) {
          const int64_t at = i / height * rows + row;
          T* from = lines[row % 2];
          if (held[row % 2] != at) spread_row(dy + at * columns * view.inner, Bin(row, rows, height).size(), from);
          held[row % 2] = at;
          add_line(from, line, row == first, dx + i * line);
        }
      }
    });
  }

 private:
  template <typename T>
  void finish_row(const T* sum, int64_t bin_rows, T* y) const {
    for (int64_t j = 0; j < columns; ++j) {
      const Bin bin(j, columns, width);
      const T scale = T(1) / T(bin_rows * bin.size());
      for (int64_t k = 0; k < view.inner; ++k) {
        T total = 0;
        for (int64_t w = bin.begin; w < bin.end; ++w) total += sum[w * view.inner + k];
        *y++ = total * scale;
      }
    }
  }
  template <typename T>
  void spread_row(const T* dy, int64_t bin_rows, T* to) const {
    std::fill_n(to, width * view.inner, T(0));
    for (int64_t j = 0; j < columns; ++j) {
      const Bin bin(j, columns, width);
      const T scale = T(1) / T(bin_rows * bin.size());
      for (int64_t w = bin.begin; w < bin.end; ++w) {
        for (int64_t k = 0; k < view.inner; ++k) to[w * view.inner + k] += dy[j * view.inner + k] * scale;
      }
    }
  }
  template <typename T>
  static void add_line(const T* from, int64_t n, bool first, T* to) {
    if (first) return void(std::copy_n(from, n, to));
#pragma omp simd
    for (int64_t k = 0; k < n; ++k) to[k] += from[k];
  }
};

Prepared prepare(const PrepareArgs& a) {
  const Shape& in = a.in[0].shape;
  const Pooling pool{keep_layout_of_first(a), in[2], in[3], a.out[0].shape[2], a.out[0].shape[3]};
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) { pool.forward(static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[0])); };
    return make_kernel(std::move(run), 100 + in.size() / 2 + 4 * a.out[0].shape.size());
  });
}

// (dy, data) -> dx; of data only the shape is read.
Prepared prepare_backward(const PrepareArgs& a) {
  const Shape& in = a.in[1].shape;
  a.in_layout[1] = a.in[1].layout;
  const Pooling pool{keep_layout_of_first(a), in[2], in[3], a.in[0].shape[2], a.in[0].shape[3]};
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      if (c.out[0]) pool.backward(static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + 2 * in.size());
  });
}

Shape pooled(const InferContext& c, const Shape& data) {
  const auto& p = c.as<AdaptiveAvgPoolingParams>();
  if ((data[2] == 0 && p.height() > 0) || (data[3] == 0 && p.width() > 0)) {
    c.bad(str("data has no pixels, its shape is ", data));
  }
  return {data[0], data[1], p.height(), p.width()};
}

void infer_shape(InferContext& c) {
  check_rank(c, 0, 4, "(batch, channels, height, width)");
  if (c.in[0].shape.rank_known()) c.merge_out(0, pooled(c, c.in[0].shape));
}

void infer_backward_shape(InferContext& c) {
  check_rank(c, 1, 4, "(batch, channels, height, width)");
  if (!c.in[1].shape.rank_known()) return;
  c.merge_in(0, pooled(c, c.in[1].shape));
  c.merge_out(0, c.in[1].shape);
}

const RegisterOp adaptive_avg_pooling{{
    .name = "_contrib_AdaptiveAvgPooling2D",
    .doc = "Means over the bins of a grid of given size; bin i of n covers the elements from floor(i h / n) to "
           "ceil((i + 1) h / n).\n\n"
           "Shapes: data (batch, channels, height, width), output (batch, channels, *output_size).",
    .params = schema_of<AdaptiveAvgPoolingParams>(),
    .inputs = {"data"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_AdaptiveAvgPooling2D", {g.head(0), g.input(0)}, g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
}};

const RegisterOp backward_adaptive_avg_pooling{{
    .name = "_backward_AdaptiveAvgPooling2D",
    .doc = "Gradient of _contrib_AdaptiveAvgPooling2D. Of data the shape is read.",
    .params = schema_of<AdaptiveAvgPoolingParams>(),
    .inputs = {"head", "data"},
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_contrib_AdaptiveAvgPooling2D", {g.head(0)}, g.params_ref());
                }).only_heads(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
