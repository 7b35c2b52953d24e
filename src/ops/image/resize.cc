// SPDX-License-Identifier: Apache-2.0
#include "ops/image/resize.h"

#include <cstring>
#include <numbers>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ops/image/resize_loops.h"
#include "resource/scratch.h"

namespace mxnet::image {

namespace {

// For each output position along an axis the positions that it reads, and their weights.
struct Taps {
  std::vector<int64_t> start{0};
  std::vector<int32_t> index;
  std::vector<double> weight;

  int64_t count() const { return static_cast<int64_t>(start.size()) - 1; }
  int64_t longest() const {
    int64_t most = 0;
    for (int64_t i = 0; i < count(); ++i)
      most = std::max(most, start[static_cast<size_t>(i) + 1] - start[static_cast<size_t>(i)]);
    return most;
  }
  void add(int64_t at, double w, int64_t extent) {
    index.push_back(static_cast<int32_t>(std::clamp<int64_t>(at, 0, extent - 1)));
    weight.push_back(w);
  }
  void finish() { start.push_back(static_cast<int64_t>(index.size())); }
};

Taps nearest_taps(int64_t from, int64_t to) {
  Taps taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    taps.add(static_cast<int64_t>(std::floor(static_cast<double>(i) * scale)), 1, from);
    taps.finish();
  }
  return taps;
}

// Cubic convolution (Keys, 1981) with a = -3/4, at distance |t| < 2.
double cubic(double t) {
  constexpr double a = -0.75;
  t = std::abs(t);
  return t < 1 ? ((a + 2) * t - (a + 3)) * t * t + 1 : ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
}
// A sinc in the window of a wider one, at distance |t| < 4.
double lanczos(double t) {
  if (std::abs(t) < 1e-7) return 1;
  const double x = std::numbers::pi * t;
  return std::sin(x) * std::sin(x / 4) / (x * x / 4);
}

// Filters of 2, 4 or 8 taps around the middle of the output's cell.
Taps filter_taps(int64_t from, int64_t to, Filter filter) {
  Taps taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const int64_t half = filter == Filter::linear ? 1 : filter == Filter::cubic ? 2 : 4;
  for (int64_t i = 0; i < to; ++i) {
    double at = static_cast<float>((static_cast<double>(i) + 0.5) * scale - 0.5);
    if (filter == Filter::linear) at = std::clamp(at, 0.0, static_cast<double>(from - 1));
    const auto base = static_cast<int64_t>(std::floor(at));
    const double fraction = at - static_cast<double>(base);
    double weights[8], sum = 0;
    for (int64_t k = 0; k < 2 * half; ++k) {
      const double t = fraction - static_cast<double>(k - half + 1);
      weights[k] = filter == Filter::linear ? 1 - std::abs(t) : filter == Filter::cubic ? cubic(t) : lanczos(t);
      sum += weights[k];
    }
    for (int64_t k = 0; k < 2 * half; ++k) taps.add(base + k - half + 1, weights[k] / sum, from);
    taps.finish();
  }
  return taps;
}

// Means over the cells that shrink to one.
Taps area_taps(int64_t from, int64_t to) {
  Taps taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (int64_t i = 0; i < to; ++i) {
    const double begin = static_cast<double>(i) * scale, end = std::min(begin + scale, static_cast<double>(from));
    const double width = std::min(scale, static_cast<double>(from) - begin);
    for (auto k = static_cast<int64_t>(std::floor(begin)); static_cast<double>(k) < end; ++k) {
      const double covered =
          std::min<double>(end, static_cast<double>(k) + 1) - std::max<double>(begin, static_cast<double>(k));
      if (covered > 1e-3) taps.add(k, covered / width, from);
    }
    taps.finish();
  }
  return taps;
}

// What area means where the image grows: steps of the source, with the seam spread over one cell.
Taps grown_area_taps(int64_t from, int64_t to) {
  Taps taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to), inverse = 1 / scale;
  for (int64_t i = 0; i < to; ++i) {
    const auto base = static_cast<int64_t>(std::floor(static_cast<double>(i) * scale));
    double f = static_cast<float>(static_cast<double>(i + 1) - static_cast<double>(base + 1) * inverse);
    f = f <= 0 || base >= from - 1 ? 0 : f - std::floor(f);
    taps.add(base, 1 - f, from);
    taps.add(base + 1, f, from);
    taps.finish();
  }
  return taps;
}

// How weights and sums are kept, and how a sum becomes an element.
template <typename T>
struct InFloat {
  using Work = std::conditional_t<std::is_same_v<T, double> || std::is_same_v<T, int64_t> || std::is_same_v<T, int32_t>,
                                  double, float>;
  static Work weight(double w) { return static_cast<Work>(w); }
  static T finish(Work sum) { return to_nearest_pixel<T>(sum); }
};
// Means of four 8-bit numbers: halves go up, as in OpenCV.
struct InQuarters : InFloat<uint8_t> {
  static uint8_t finish(Work sum) { return static_cast<uint8_t>(sum + 0.5f); }
};
// 8-bit images: weights of 11 bits. With two taps sums are in fixed point.
constexpr int kFixedBits = 11;
struct InFixed {
  using Work = int32_t;
  static Work weight(double w) { return static_cast<int32_t>(std::lrint(w * (1 << kFixedBits))); }
};
struct InBytes : InFloat<uint8_t> {
  static Work weight(double w) { return static_cast<Work>(InFixed::weight(w)) / (1 << kFixedBits); }
};

template <typename Work>
struct Axis {
  std::vector<int64_t> start;
  std::vector<int32_t> index;
  std::vector<Work> weight;
  int64_t longest = 0;   // taps of one position
  bool uniform = false;  // all have as many
  template <typename Form>
  static Axis from(const Taps& taps, Form) {
    Axis axis{taps.start, taps.index, {}, taps.longest()};
    axis.uniform = static_cast<int64_t>(taps.index.size()) == axis.longest * taps.count();
    for (const double w : taps.weight) axis.weight.push_back(Form::weight(w));
    return axis;
  }
};

// One source row, resampled along the width.
template <typename T, typename Work>
void resample_row(const T* in, Work* out, const Axis<Work>& axis, int64_t width, int64_t channels) {
  const int32_t* index = axis.index.data();
  const Work* weight = axis.weight.data();
  for (int64_t x = 0; x < width; ++x) {
    const int64_t begin = axis.start[static_cast<size_t>(x)], end = axis.start[static_cast<size_t>(x) + 1];
    for (int64_t c = 0; c < channels; ++c) {
      Work sum = 0;
      for (int64_t k = begin; k < end; ++k) sum += static_cast<Work>(in[index[k] * channels + c]) * weight[k];
      out[x * channels + c] = sum;
    }
  }
}
template <typename T, typename Work>
void resample(const T* in, Work* out, const Axis<Work>& axis, int64_t width, int64_t channels) {
  constexpr bool is_bytes = std::is_same_v<T, uint8_t>, is_floats = std::is_same_v<T, float>;
  const int64_t taps = axis.longest;
  if constexpr (is_bytes || is_floats) {
    if (channels == 3 && axis.uniform && (taps == 2 || taps == 4 || taps == 8)) {
      const ResizeLoops& loops = resize_loops();
      const int32_t* index = axis.index.data();
      const Work* weight = axis.weight.data();
      if constexpr (is_floats)
        loops.floats_along(in, index, weight, taps, out, width);
      else if constexpr (std::is_same_v<Work, float>)
        loops.bytes_along(in, index, weight, taps, out, width);
      else
        loops.fixed_along(in, index, weight, taps, out, width);
      return;
    }
  }
  resample_row(in, out, axis, width, channels);
}

// Resampled rows that are still of use to the next output rows.
template <typename T, typename Work>
class RowCache {
 public:
  RowCache(Scratch& scratch, const Axis<Work>& axis, const Images& from, int64_t width, int64_t rows)
      : axis_(axis),
        from_(from),
        width_(width),
        rows_(static_cast<size_t>(rows)),
        source_(static_cast<size_t>(rows), nullptr) {
    for (Work*& row : rows_) row = scratch.get<Work>(width * from.channels);
  }
  // The rows `index[0..n)` of an image; n is at most the size of the cache.
  void get(const T* image, const int32_t* index, int64_t n, const Work** out) {
    std::vector<bool>& used = used_;
    used.assign(rows_.size(), false);
    for (int64_t k = 0; k < n; ++k) {
      out[k] = nullptr;
      const T* wanted = image + index[k] * from_.row();
      for (size_t s = 0; s < rows_.size(); ++s) {
        if (source_[s] != wanted) continue;
        out[k] = rows_[s];
        used[s] = true;
      }
    }
    for (int64_t k = 0; k < n; ++k) {
      if (out[k]) continue;
      const T* wanted = image + index[k] * from_.row();
      size_t slot = 0;
      while (slot < rows_.size() && source_[slot] != wanted) ++slot;
      if (slot == rows_.size()) {
        slot = static_cast<size_t>(std::find(used.begin(), used.end(), false) - used.begin());
        source_[slot] = wanted;
        resample(wanted, rows_[slot], axis_, width_, from_.channels);
      }
      used[slot] = true;
      out[k] = rows_[slot];
    }
  }

 private:
  const Axis<Work>& axis_;
  const Images& from_;
  const int64_t width_;
  std::vector<Work*> rows_;
  std::vector<const T*> source_;
  std::vector<bool> used_;
};

// A row of the result from resampled rows.
template <typename T, typename Form>
void combine(const typename Form::Work* const* rows, const typename Form::Work* weight, int64_t taps, T* out,
             int64_t n) {
  using Work = typename Form::Work;
  if constexpr (std::is_same_v<Form, InFixed>) {
    resize_loops().fixed(rows, weight, out, n);
  } else if constexpr (std::is_same_v<T, float>) {
    resize_loops().floats(rows, weight, taps, out, n);
  } else if constexpr (std::is_same_v<T, uint8_t> && !std::is_same_v<Form, InQuarters>) {
    resize_loops().bytes(rows, weight, taps, out, n);
  } else {
    for (int64_t i = 0; i < n; ++i) {
      Work sum = 0;
      for (int64_t k = 0; k < taps; ++k) sum += rows[k][i] * weight[k];
      out[i] = Form::finish(sum);
    }
  }
}

template <typename T, typename Form>
class ResizeKernel final : public Kernel {
 public:
  using Work = typename Form::Work;
  ResizeKernel(const Images& from, const Taps& rows, const Taps& columns)
      : from_(from),
        height_(rows.count()),
        width_(columns.count()),
        longest_(std::max<int64_t>(rows.longest(), 1)),
        rows_(Axis<Work>::from(rows, Form{})),
        columns_(Axis<Work>::from(columns, Form{})) {
    const int64_t read = std::min(from.height, height_ * longest_);
    cost_ns = 200 + from.n * from.channels *
                        (read * static_cast<int64_t>(columns.index.size()) + height_ * width_ * longest_) / 2;
  }

  void run(const KernelCall& call) const override {
    const T* in = static_cast<const T*>(call.in[0]);
    T* out = static_cast<T*>(call.out[0]);
    const int64_t row = width_ * from_.channels;
    // Where two pieces meet, rows are resampled twice: a piece reads many.
    const int64_t grain = std::max<int64_t>(16, 8 * longest_ * height_ / std::max<int64_t>(from_.height, 1));
    cpu::parallel_for(from_.n * height_, grain, [&](int64_t begin, int64_t end) {
      Scratch scratch;
      RowCache<T, Work> cache(scratch, columns_, from_, width_, longest_);
      std::vector<const Work*> lines(static_cast<size_t>(longest_));
      for (int64_t r = begin; r < end; ++r) {
        const T* image = in + r / height_ * from_.image();
        const auto y = static_cast<size_t>(r % height_);
        const int64_t first = rows_.start[y], taps = rows_.start[y + 1] - first;
        cache.get(image, rows_.index.data() + first, taps, lines.data());
        combine<T, Form>(lines.data(), rows_.weight.data() + first, taps, out + r * row, row);
      }
    });
  }

 private:
  Images from_;
  int64_t height_, width_, longest_;
  Axis<Work> rows_, columns_;
};

template <typename T>
T* copy_pixel(const T* from, T* to, int64_t channels) {
  if (channels == 3) {
    to[0] = from[0];
    to[1] = from[1];
    to[2] = from[2];
    return to + 3;
  }
  return std::copy(from, from + channels, to);
}

template <typename T>
std::unique_ptr<Kernel> nearest_kernel(const Images& from, int64_t height, int64_t width) {
  const Taps rows = nearest_taps(from.height, height), columns = nearest_taps(from.width, width);
  return make_kernel(
      [=](const KernelCall& c) {
        const T* in = static_cast<const T*>(c.in[0]);
        T* out = static_cast<T*>(c.out[0]);
        cpu::parallel_for(
            from.n * height, std::max<int64_t>(1, 16384 / (width * from.channels + 1)),
            [&](int64_t begin, int64_t end) {
              for (int64_t r = begin; r < end; ++r) {
                const T* line =
                    in + r / height * from.image() + rows.index[static_cast<size_t>(r % height)] * from.row();
                T* to = out + r * width * from.channels;
                if (r > begin && r % height > 0 &&
                    rows.index[static_cast<size_t>(r % height)] == rows.index[static_cast<size_t>(r % height) - 1]) {
                  std::copy(to - width * from.channels, to, to);
                  continue;
                }
                for (int64_t x = 0; x < width; ++x) {
                  const T* pixel = line + columns.index[static_cast<size_t>(x)] * from.channels;
                  for (int64_t k = 0; k < from.channels; ++k) *to++ = pixel[k];
                }
              }
            });
      },
      100 + from.n * height * width * from.channels);
}

template <typename T, typename Form>
std::unique_ptr<Kernel> filter_kernel(const Images& from, int64_t height, int64_t width, Filter filter) {
  const auto taps = [&](int64_t extent, int64_t to) {
    if (filter != Filter::area) return filter_taps(extent, to, filter);
    const bool shrinks = from.height >= height && from.width >= width;
    return shrinks ? area_taps(extent, to) : grown_area_taps(extent, to);
  };
  return std::make_unique<ResizeKernel<T, Form>>(from, taps(from.height, height), taps(from.width, width));
}

}  // namespace

Filter filter_of(int64_t number) {
  if (number < 0 || number > 4) {
    fail(ErrorKind::value, "interp must be 0 (nearest), 1 (bilinear), 2 (bicubic), 3 (area) or 4 (Lanczos), got ",
         number);
  }
  return static_cast<Filter>(number);
}

std::unique_ptr<Kernel> make_resize(const Images& from, int64_t height, int64_t width, DType dtype, Filter filter) {
  std::unique_ptr<Kernel> kernel;
  // OpenCV takes means where both sides are halved.
  if (filter == Filter::linear && from.height == 2 * height && from.width == 2 * width) filter = Filter::area;
  if (filter == Filter::nearest) {
    dispatch_bits(dtype, [&](auto tag) { kernel = nearest_kernel<typename decltype(tag)::type>(from, height, width); });
    return kernel;
  }
  dispatch_numbers(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, uint8_t>) {
      const bool halves = from.height == 2 * height && from.width == 2 * width;
      const bool means = filter == Filter::area && from.height >= height && from.width >= width;
      const bool two = filter == Filter::linear || filter == Filter::area;
      kernel = !means   ? (two ? filter_kernel<T, InFixed>(from, height, width, filter)
                               : filter_kernel<T, InBytes>(from, height, width, filter))
               : halves ? filter_kernel<T, InQuarters>(from, height, width, filter)
                        : filter_kernel<T, InFloat<T>>(from, height, width, filter);
      return;
    }
    kernel = filter_kernel<T, InFloat<T>>(from, height, width, filter);
  });
  return kernel;
}

namespace {

// ---- the operators -------------------------------------------------------------------------------------------------

struct ResizeParams {
  Shape size;
  bool keep_ratio = false;
  int64_t interp = 1;
  static void declare(ParamSchemaOf<ResizeParams>& s) {
    s.field("size", &ResizeParams::size, "(width, height), or one number.");
    s.field("keep_ratio", &ResizeParams::keep_ratio, "With one number: it is the shorter side's, the other follows.");
    s.field("interp", &ResizeParams::interp, "0: nearest, 1: bilinear, 2: bicubic, 3: area, 4: Lanczos.").type("int");
    s.validate([](const ResizeParams& p) {
      const int rank = p.size.rank();
      if (rank != 1 && rank != 2) fail(ErrorKind::value, "size must be one number or (width, height), got ", p.size);
      for (const int64_t d : p.size) {
        if (d <= 0) fail(ErrorKind::value, "size must be positive, got ", p.size);
      }
      filter_of(p.interp);
    });
  }
};

void check_side(const InferContext& c, int64_t side) {
  if (side > kMaxSide) c.bad(str("an image may have ", kMaxSide, " rows and columns, this would have ", side));
}

void infer_resize(InferContext& c) {
  if (!check_images(c)) return;
  const auto& p = c.as<ResizeParams>();
  if (p.size.rank() == 0) c.bad("size is required: one number or (width, height)");
  Shape out = c.in[0].shape;
  const int h = out.rank() - 3;
  const int64_t height = out[h], width = out[h + 1];
  if (height <= 0 || width <= 0) c.bad(str("data of shape ", out, " has no pixels"));
  if (p.size.rank() == 2) {
    out[h] = p.size[1];
    out[h + 1] = p.size[0];
  } else if (!p.keep_ratio) {
    out[h] = out[h + 1] = p.size[0];
  } else {
    const double side = static_cast<double>(p.size[0]);
    const bool tall = height > width;
    const auto other = static_cast<int64_t>(side * static_cast<double>(tall ? height : width) /
                                            static_cast<double>(tall ? width : height));
    out[h] = tall ? other : p.size[0];
    out[h + 1] = tall ? p.size[0] : other;
  }
  check_side(c, out[h]);
  check_side(c, out[h + 1]);
  c.merge_out(0, out);
}

Prepared prepare(const PrepareArgs& args, int64_t interp) {
  const Images from(args.in[0].shape), to(args.out[0].shape);
  return make_resize(from, to.height, to.width, args.in[0].dtype, filter_of(interp));
}

const RegisterOp resize{
    {.name = "_image_resize",
     .doc = "Images of another size; the results are OpenCV's (within 1 for bicubic and Lanczos "
            "filters of uint8).\n\n"
            "Shapes: (h, w, c) or (n, h, w, c).",
     .params = schema_of<ResizeParams>(),
     .inputs = {"data"},
     .infer = {infer_resize, infer_same_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"separable", [](const PrepareArgs& a) { return prepare(a, a.as<ResizeParams>().interp); }}}}};

struct CvResizeParams {
  int64_t w = 0, h = 0, interp = 1;
  static void declare(ParamSchemaOf<CvResizeParams>& s) {
    s.field("w", &CvResizeParams::w, "Width of the result.").type("int").range(1, kMaxSide).required();
    s.field("h", &CvResizeParams::h, "Height of the result.").type("int").range(1, kMaxSide).required();
    s.field("interp", &CvResizeParams::interp, "0: nearest, 1: bilinear, 2: bicubic, 3: area, 4: Lanczos.").type("int");
    s.validate([](const CvResizeParams& p) { filter_of(p.interp); });
  }
};

void infer_cv_resize(InferContext& c) {
  if (!check_images(c)) return;
  Shape out = c.in[0].shape;
  if (out.rank() != 3) c.bad(str("src must have shape (height, width, channels), got ", out));
  if (out[0] <= 0 || out[1] <= 0) c.bad(str("src of shape ", out, " has no pixels"));
  out[0] = c.as<CvResizeParams>().h;
  out[1] = c.as<CvResizeParams>().w;
  c.merge_out(0, out);
}

const RegisterOp cv_resize{
    {.name = "_cvimresize",
     .doc = "An image (h, w, c) of another size; see _image_resize.",
     .params = schema_of<CvResizeParams>(),
     .inputs = {"src"},
     .infer = {infer_cv_resize, infer_same_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"separable", [](const PrepareArgs& a) { return prepare(a, a.as<CvResizeParams>().interp); }}}}};

}  // namespace
}  // namespace mxnet::image
