// SPDX-License-Identifier: Apache-2.0
// ROIAlign and RROIAlign: means of bilinear samples in the bins of a region.
#include <cmath>

#include "backend/cpu/strided_copy.h"
#include "ops/vision/roi.h"
#include "ops/vision/taps.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct RoiAlignParams {
  Shape pooled_size;
  float spatial_scale = 1;
  int sample_ratio = -1;
  bool position_sensitive = false;
  bool aligned = false;
  bool rotated = false;

  static void declare(ParamSchemaOf<RoiAlignParams>& s) {
    using P = RoiAlignParams;
    declare_pooled(s);
    s.field("sample_ratio", &P::sample_ratio, "Samples per bin along each axis; not positive: one per pixel.");
    s.field("position_sensitive", &P::position_sensitive, "Whether each bin reads channels of its own.");
    s.field("aligned", &P::aligned, "Whether regions are moved by half a pixel, so that pixel centers are at 0.5.");
  }
};

// The same for regions (image, center x, center y, width, height, angle).
struct RotatedRoiAlignParams : RoiAlignParams {
  RotatedRoiAlignParams() { rotated = true; }
  static void declare(ParamSchemaOf<RotatedRoiAlignParams>& s) {
    using P = RotatedRoiAlignParams;
    declare_pooled(s);
    s.field<int>("sampling_ratio", &P::sample_ratio, "Samples per bin along each axis; not positive: one per pixel.");
  }
};

// Where the samples of one region lie.
template <typename T>
struct SampleGrid {
  T y, x, bin_height, bin_width;
  int64_t rows, columns;  // samples of a bin
  T sine = 0, cosine = 1, center_y = 0, center_x = 0;

  // Samples of a bin, and the factor of their sum.
  int64_t samples() const { return rows * columns; }
  T scale() const { return T(1) / T(std::max<int64_t>(1, samples())); }

  void point(int64_t bin_y, int64_t bin_x, int64_t row, int64_t column, T* at) const {
    const T v = y + T(bin_y) * bin_height + (T(row) + T(0.5)) * bin_height / T(rows);
    const T u = x + T(bin_x) * bin_width + (T(column) + T(0.5)) * bin_width / T(columns);
    at[0] = v * cosine - u * sine + center_y;
    at[1] = u * cosine + v * sine + center_x;
  }
};

class Align {
 public:
  Align(const PrepareArgs& a, const Shape& data, int64_t regions)
      : name_(a.op.name.c_str()),
        p_(a.as<RoiAlignParams>()),
        regions_(regions),
        batch_(data[0]),
        channels_(data[1]),
        height_(data[2]),
        width_(data[3]) {
    check_pixels(a, data);
  }

  int64_t pixels() const { return height_ * width_; }
  int64_t bins() const { return p_.pooled_size[0] * p_.pooled_size[1]; }
  int64_t out_channels() const { return p_.position_sensitive ? channels_ / bins() : channels_; }
  int64_t roi_row() const { return p_.rotated ? 6 : 5; }
  // Estimated weighted pixels per channel.
  int64_t reads() const {
    const int64_t ratio = p_.sample_ratio > 0 ? std::min(p_.sample_ratio, 1000) : 2;
    return regions_ * bins() * ratio * ratio * 4;
  }
  // Channels last in memory pays where more is read than reordered.
  bool channels_last(Layout now) const {
    if (p_.position_sensitive || channels_ < 8) return false;
    return now == Layout::channels_last || reads() > 4 * batch_ * pixels();
  }

  template <typename T>
  SampleGrid<T> grid(const T* roi) const {
    const T scale = static_cast<T>(p_.spatial_scale);
    T h, w;
    SampleGrid<T> g;
    if (p_.rotated) {
      g.center_x = roi[1] * scale;
      g.center_y = roi[2] * scale;
      w = std::max(roi[3] * scale, T(1));
      h = std::max(roi[4] * scale, T(1));
      const T angle = roi[5] * static_cast<T>(3.14159265358979323846 / 180);
      g.sine = std::sin(angle);
      g.cosine = std::cos(angle);
      g.y = -h / 2;
      g.x = -w / 2;
    } else {
      const T shift = p_.aligned ? T(0.5) : T(0);
      g.x = roi[1] * scale - shift;
      g.y = roi[2] * scale - shift;
      w = roi[3] * scale - shift - g.x;
      h = roi[4] * scale - shift - g.y;
      if (p_.aligned && (w < 0 || h < 0))
        fail(ErrorKind::value, name_, ": aligned regions must not have negative size");
      if (!p_.aligned) w = std::max(w, T(1)), h = std::max(h, T(1));
    }
    g.bin_height = h / T(p_.pooled_size[0]);
    g.bin_width = w / T(p_.pooled_size[1]);
    g.rows = samples_along(g.bin_height);
    g.columns = samples_along(g.bin_width);
    return g;
  }

  // The taps of all bins of a region, samples() per bin.
  template <typename T>
  Tap<T>* taps(const SampleGrid<T>& g, Scratch& scratch) const {
    Tap<T>* list = scratch.get<Tap<T>>(static_cast<size_t>(bins() * g.samples()));
    Tap<T>* next = list;
    T at[2];
    for (int64_t i = 0; i < p_.pooled_size[0]; ++i) {
      for (int64_t j = 0; j < p_.pooled_size[1]; ++j) {
        for (int64_t row = 0; row < g.rows; ++row) {
          for (int64_t column = 0; column < g.columns; ++column) {
            g.point(i, j, row, column, at);
            *next++ = clamped_tap(at[0], at[1], height_, width_, T(-1), T(height_), T(width_));
          }
        }
      }
    }
    return list;
  }

  template <typename T>
  int64_t image(const T* roi) const {
    return image_of(roi, batch_, name_);
  }
  int64_t regions() const { return regions_; }
  int64_t batch() const { return batch_; }
  int64_t channels() const { return channels_; }
  // The channel of data that a bin of output channel c reads.
  int64_t source(int64_t c, int64_t bin) const { return p_.position_sensitive ? c * bins() + bin : c; }

 private:
  template <typename T>
  int64_t samples_along(T bin) const {
    if (p_.sample_ratio > 0) return p_.sample_ratio;
    constexpr T kMost = 10'000;  // a bin of more pixels than any image has comes from coordinates that make no sense
    if (bin > kMost) fail(ErrorKind::value, name_, ": a bin of a region is ", bin, " pixels long");
    return bin == bin ? static_cast<int64_t>(std::ceil(bin)) : 1;
  }

  const char* name_;
  RoiAlignParams p_;
  int64_t regions_, batch_, channels_, height_, width_;
};

// to[j][i] = from[i][j]
template <typename T>
void transpose(const T* from, int64_t rows, int64_t columns, T* to) {
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) to[j * rows + i] = from[i * columns + j];
  }
}

// ---- forward -------------------------------------------------------------------------------------------------------

template <typename T>
void forward_plain(const Align& a, const T* data, const T* roi, T* out) {
  const int64_t bins = a.bins(), image = a.image(roi);
  if (image < 0) return void(std::fill_n(out, a.out_channels() * bins, T(0)));
  Scratch scratch;
  const auto grid = a.grid(roi);
  const Tap<T>* taps = a.taps(grid, scratch);
  const int64_t samples = grid.samples();
  for (int64_t c = 0; c < a.out_channels(); ++c) {
    for (int64_t bin = 0; bin < bins; ++bin) {
      const T* plane = data + (image * a.channels() + a.source(c, bin)) * a.pixels();
      T sum = 0;
      for (const Tap<T>* t = taps + bin * samples; t != taps + (bin + 1) * samples; ++t) {
        for (int k = 0; k < 4; ++k) sum += t->weight[k] * plane[t->at[k]];
      }
      *out++ = sum * grid.scale();
    }
  }
}

// Data has its channels last; the output as well, or not.
template <typename T>
void forward_rows(const Align& a, const T* data, const T* roi, T* out, bool out_last) {
  const int64_t bins = a.bins(), channels = a.channels(), image = a.image(roi);
  if (image < 0) return void(std::fill_n(out, channels * bins, T(0)));
  Scratch scratch;
  const auto grid = a.grid(roi);
  const Tap<T>* taps = a.taps(grid, scratch);
  T* rows = out_last ? out : scratch.get<T>(static_cast<size_t>(channels * bins));
  for (int64_t bin = 0; bin < bins; ++bin) {
    tap_table().of<T>().gather(data + image * a.pixels() * channels, channels, taps + bin * grid.samples(),
                               grid.samples(), grid.scale(), channels, rows + bin * channels);
  }
  if (!out_last) transpose(rows, bins, channels, out);
}

Prepared prepare(const PrepareArgs& args) {
  const Align a(args, args.in[0].shape, args.in[1].shape[0]);
  const bool last = a.channels_last(args.in[0].layout), out_last = last && args.in[0].layout == Layout::channels_last;
  if (last) args.in_layout[0] = Layout::channels_last;
  if (out_last) args.out[0].layout = Layout::channels_last;
  return for_wide_floats(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t size = a.out_channels() * a.bins();
    const int64_t cost = a.reads() / std::max<int64_t>(1, a.regions()) * (a.out_channels() / (last ? 4 : 1) + 10);
    auto run = [=](const KernelCall& c) {
      cpu::parallel_for(a.regions(), grain_of(cost), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          const T* data = static_cast<const T*>(c.in[0]);
          const T* roi = static_cast<const T*>(c.in[1]) + n * a.roi_row();
          T* out = static_cast<T*>(c.out[0]) + n * size;
          if (last)
            forward_rows(a, data, roi, out, out_last);
          else
            forward_plain(a, data, roi, out);
        }
      });
    };
    return make_kernel(std::move(run), 200 + a.regions() * cost);
  });
}

// ---- backward: (dy, rois, data) -> dx; of data only the shape is read ----------------------------------------------

// Channels [begin, end) of the output, all regions in their order: no two threads add to one element.
template <typename T>
void backward_plain(const Align& a, const T* dy, const T* rois, T* dx, int64_t begin, int64_t end) {
  const int64_t bins = a.bins();
  for (int64_t n = 0; n < a.regions(); ++n) {
    const T* roi = rois + n * a.roi_row();
    const int64_t image = a.image(roi);
    if (image < 0) continue;
    Scratch scratch;
    const auto grid = a.grid(roi);
    const Tap<T>* taps = a.taps(grid, scratch);
    for (int64_t c = begin; c < end; ++c) {
      for (int64_t bin = 0; bin < bins; ++bin) {
        T* plane = dx + (image * a.channels() + a.source(c, bin)) * a.pixels();
        const T head = dy[(n * a.out_channels() + c) * bins + bin] * grid.scale();
        for (int64_t s = bin * grid.samples(); s < (bin + 1) * grid.samples(); ++s) {
          for (int k = 0; k < 4; ++k) plane[taps[s].at[k]] += head * taps[s].weight[k];
        }
      }
    }
  }
}

// The same for the regions of one image, all arrays with their channels last but dy, which may be plain.
template <typename T>
void backward_rows(const Align& a, const T* dy, bool dy_last, const T* rois, T* dx, int64_t image, int64_t begin,
                   int64_t end) {
  const int64_t bins = a.bins(), channels = a.channels(), width = end - begin;
  for (int64_t n = 0; n < a.regions(); ++n) {
    const T* roi = rois + n * a.roi_row();
    if (a.image(roi) != image) continue;
    Scratch scratch;
    const auto grid = a.grid(roi);
    const Tap<T>* taps = a.taps(grid, scratch);
    const T* heads = dy + n * channels * bins + begin;
    int64_t step = channels;
    if (!dy_last) {
      T* rows = scratch.get<T>(static_cast<size_t>(width * bins));
      transpose(dy + (n * channels + begin) * bins, width, bins, rows);
      heads = rows;
      step = width;
    }
    for (int64_t bin = 0; bin < bins; ++bin) {
      tap_table().of<T>().scatter(heads + bin * step, taps + bin * grid.samples(), grid.samples(), grid.scale(), width,
                                  dx + image * a.pixels() * channels + begin, channels);
    }
  }
}

Prepared prepare_backward(const PrepareArgs& args) {
  const Shape& data = args.out[0].shape;
  const Align a(args, data, args.in[1].shape[0]);
  const bool last = a.channels_last(Layout::plain), dy_last = last && args.in[0].layout == Layout::channels_last;
  if (last) args.out[0].layout = Layout::channels_last;
  if (dy_last) args.in_layout[0] = Layout::channels_last;
  args.in_layout[2] = args.in[2].layout;  // it is not read
  return for_wide_floats(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, size = data.size()](const KernelCall& c) {
      if (!c.out[0]) return;
      const T* dy = static_cast<const T*>(c.in[0]);
      const T* rois = static_cast<const T*>(c.in[1]);
      T* dx = static_cast<T*>(c.out[0]);
      cpu::zero_bytes(dx, size * static_cast<int64_t>(sizeof(T)));
      if (!last) {
        return cpu::parallel_for(a.out_channels(), grain_of(a.reads()),
                                 [&](int64_t begin, int64_t end) { backward_plain(a, dy, rois, dx, begin, end); });
      }
      constexpr int64_t kBlock = 64;
      const int64_t blocks = (a.channels() + kBlock - 1) / kBlock;
      cpu::parallel_for(a.batch() * blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i % blocks * kBlock;
          backward_rows(a, dy, dy_last, rois, dx, i / blocks, first, std::min(a.channels(), first + kBlock));
        }
      });
    };
    return make_kernel(std::move(run), 200 + data.size() / 4 + a.reads() * a.out_channels() / (last ? 2 : 1));
  });
}

// ---- records -------------------------------------------------------------------------------------------------------

void infer_shape(InferContext& c) {
  const auto& p = c.as<RoiAlignParams>();
  check_regions(c, p.rotated ? 6 : 5);
  const Shape& data = c.in[0].shape;
  const Shape& rois = c.in[1].shape;
  if (!data.rank_known() || data[1] < 0) return;
  int64_t channels = data[1];
  const int64_t bins = p.pooled_size[0] * p.pooled_size[1];
  if (p.position_sensitive) {
    if (channels % bins) c.bad(str("position_sensitive needs a multiple of ", bins, " channels, got ", channels));
    channels /= bins;
  }
  if (data[2] == 0 || data[3] == 0) c.bad(str("data has no pixels, its shape is ", data));
  c.merge_out(0, {rois.rank_known() ? rois[0] : -1, channels, p.pooled_size[0], p.pooled_size[1]});
}

void infer_backward_shape(InferContext& c) {
  const auto& p = c.as<RoiAlignParams>();
  const Shape& data = c.in[2].shape;
  const Shape& rois = c.in[1].shape;
  if (!data.known() || !rois.known()) return;
  if (data.rank() != 4 || data[2] == 0 || data[3] == 0) c.bad(str("data must have 4 dimensions, got ", data));
  if (rois.rank() != 2 || rois[1] != (p.rotated ? 6 : 5)) c.bad(str("rois must be rows of regions, got ", rois));
  const int64_t bins = p.pooled_size[0] * p.pooled_size[1];
  c.merge_in(0, {rois[0], p.position_sensitive ? data[1] / bins : data[1], p.pooled_size[0], p.pooled_size[1]});
  c.merge_out(0, data);
}

OpDef forward_op(const char* name, const char* doc, const ParamSchema& params, Gradient::Fn gradient) {
  return {.name = name,
          .doc = doc,
          .params = params,
          .inputs = {"data", "rois"},
          .infer = {infer_shape, infer_float},
          .gradient = Gradient(gradient).without_outputs(),
          .kernels = wide_kernels<prepare>(),
          .flags = {.precision = Precision::full}};
}

OpDef backward_op(const char* name, const char* doc, const ParamSchema& params, Gradient::Fn gradient) {
  return {.name = name,
          .doc = doc,
          .params = params,
          .inputs = {"head", "rois", "data"},
          .infer = {infer_backward_shape, infer_float},
          .gradient = Gradient(gradient).without_outputs(),
          .kernels = wide_kernels<prepare_backward>(),
          .flags = {.hidden = true}};
}

// Both are linear in data, so the gradient of one is the other.
const RegisterOp roi_align{forward_op(
    "_contrib_ROIAlign",
    "Means of bilinear samples in the bins of regions of interest (Mask R-CNN, He et al. 2017).\n\n"
    "Shapes: data (batch, channels, height, width); rois (regions, 5): rows of image, x0, y0, x1, y1; output (regions, "
    "channels, *pooled_size), with position_sensitive channels / bins. Regions of a negative image give zeros. rois "
    "have "
    "no gradient.",
    schema_of<RoiAlignParams>(), [](GradientBuilder& g) {
      g.give_all({0}, "_backward_ROIAlign", {g.head(0), g.input(1), g.input(0)}, g.params_ref());
    })};

const RegisterOp backward_roi_align{backward_op(
    "_backward_ROIAlign", "Gradient of _contrib_ROIAlign. Of data the shape is read.", schema_of<RoiAlignParams>(),
    [](GradientBuilder& g) { g.give_all({0}, "_contrib_ROIAlign", {g.head(0), g.input(1)}, g.params_ref()); })};

const RegisterOp rotated_roi_align{forward_op(
    "_contrib_RROIAlign",
    "ROIAlign of rotated regions (Ma et al. 2018).\n\n"
    "Shapes: data (batch, channels, height, width); rois (regions, 6): rows of image, center x, center y, width, "
    "height, "
    "angle in degrees; output (regions, channels, *pooled_size). Unlike in 1.9.1 data has a gradient; rois have none.",
    schema_of<RotatedRoiAlignParams>(), [](GradientBuilder& g) {
      g.give_all({0}, "_backward_RROIAlign", {g.head(0), g.input(1), g.input(0)}, g.params_ref());
    })};

const RegisterOp backward_rotated_roi_align{backward_op(
    "_backward_RROIAlign", "Gradient of _contrib_RROIAlign. Of data the shape is read.",
    schema_of<RotatedRoiAlignParams>(),
    [](GradientBuilder& g) { g.give_all({0}, "_contrib_RROIAlign", {g.head(0), g.input(1)}, g.params_ref()); })};

}  // namespace
}  // namespace mxnet::vision
