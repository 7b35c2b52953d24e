// SPDX-License-Identifier: Apache-2.0
// Convolution whose windows read the image at points that move by given offsets (Dai et al. 2017), and its modulated
// form, which weights every point (Zhu et al. 2019). The points become rows of a matrix, products do the rest.
#include <cmath>
#include <memory>

#include "backend/cpu/gemm.h"
#include "backend/cpu/strided_copy.h"
#include "ops/vision/deformable_columns.h"
#include "ops/vision/sample_composition.h"
#include "ops/vision/vision.h"

namespace mxnet::vision {
namespace {

struct DeformableConvParams {
  Shape kernel, stride, dilate, pad;
  int num_filter = 0;
  int num_group = 1;
  int num_deformable_group = 1;
  int64_t workspace = 1024;
  bool no_bias = false;
  int layout = 0;
  bool modulated = false;
  int im2col_step = 64;

  template <typename Q>
  static void declare_fields(ParamSchemaOf<Q>& s) {
    s.template field<Shape>("kernel", &Q::kernel, "Height and width of the window.").required();
    s.template field<Shape>("stride", &Q::stride, "Distance of windows; 1 if not given.");
    s.template field<Shape>("dilate", &Q::dilate, "Distance of the points of a window; 1 if not given.");
    s.template field<Shape>("pad", &Q::pad, "Zeros around the image; 0 if not given.");
    s.template field<int>("num_filter", &Q::num_filter, "Channels of the output.").required().range(1, 1e9);
    s.template field<int>("num_group", &Q::num_group, "Groups of channels that do not mix.").range(1, 1e9);
    s.template field<int>("num_deformable_group", &Q::num_deformable_group,
                          "Groups of channels with offsets of their own.")
        .range(1, 1e9);
    s.template field<int64_t>("workspace", &Q::workspace, "Has no effect; kept for old programs.");
    s.template field<bool>("no_bias", &Q::no_bias, "Whether there is no bias.");
    s.template choice<int>("layout", &Q::layout, {{"None", 0}, {"NCDHW", 3}, {"NCHW", 2}, {"NCW", 1}},
                           "Only NCHW has a meaning.");
    s.validate([](const Q& p) { p.check(); });
  }
  static void declare(ParamSchemaOf<DeformableConvParams>& s) { declare_fields(s); }

  void check() const {
    const auto two = [](const char* name, const Shape& list, dim_t least, bool optional) {
      if (optional && list.rank() == 0) return;
      if (list.rank() != 2 || list[0] < least || list[1] < least) {
        fail(ErrorKind::value, name, " must be two numbers not below ", least, ", got ", list);
      }
    };
    two("kernel", kernel, 1, false);
    two("stride", stride, 1, true);
    two("dilate", dilate, 1, true);
    two("pad", pad, 0, true);
    if (layout == 1 || layout == 3) fail(ErrorKind::not_supported, "layout must be NCHW");
  }
  int64_t step(const Shape& list, int d, int64_t otherwise) const { return list.rank() ? list[d] : otherwise; }
  int64_t out_size(int64_t n, int d) const {
    const int64_t reach = n + 2 * step(pad, d, 0) - step(dilate, d, 1) * (kernel[d] - 1) - 1;
    return reach < 0 ? 0 : reach / step(stride, d, 1) + 1;
  }
};

struct ModulatedConvParams : DeformableConvParams {
  ModulatedConvParams() { modulated = true; }
  static void declare(ParamSchemaOf<ModulatedConvParams>& s) {
    declare_fields(s);
    s.field<int>("im2col_step", &ModulatedConvParams::im2col_step, "Has no effect; kept for old programs.")
        .range(1, 1e9);
  }
};

// Positions of the inputs, and of the gradients: data, offset, (mask), weight, (bias).
struct Slots {
  int mask, weight, bias, count;
  explicit Slots(const DeformableConvParams& p)
      : mask(p.modulated ? 2 : -1),
        weight(p.modulated ? 3 : 2),
        bias(p.no_bias ? -1 : weight + 1),
        count(weight + (p.no_bias ? 1 : 2)) {}
};

DeformableShape shape_of(const DeformableConvParams& p, const Shape& data) {
  DeformableShape s;
  s.batch = data[0];
  s.channels = data[1];
  s.filters = p.num_filter;
  s.groups = p.num_group;
  s.deformable_groups = p.num_deformable_group;
  s.modulated = p.modulated;
  for (int d = 0; d < 2; ++d) {
    s.in[d] = data[2 + d];
    s.out[d] = p.out_size(data[2 + d], d);
    s.kernel[d] = p.kernel[d];
    s.stride[d] = p.step(p.stride, d, 1);
    s.dilate[d] = p.step(p.dilate, d, 1);
    s.pad[d] = p.step(p.pad, d, 0);
  }
  return s;
}

// weight (filters, channels of a group, taps) <-> (filters, taps, channels of a group)
template <typename T>
void permute_weight(const DeformableShape& s, const T* from, T* to, bool back) {
  const int64_t channels = s.group_channels(), taps = s.taps();
  for (int64_t f = 0; f < s.filters; ++f) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t k = 0; k < taps; ++k) {
        const int64_t plain = (f * channels + c) * taps + k, last = (f * taps + k) * channels + c;
        if (back)
          to[plain] = from[last];
        else
          to[last] = from[plain];
      }
    }
  }
}

// rows (points, filters) <-> (groups, points, filters of a group)
template <typename T>
void split_groups(const DeformableShape& s, const T* from, T* to, bool back) {
  const int64_t width = s.group_filters();
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t p = 0; p < s.points(); ++p) {
      const int64_t whole = p * s.filters + g * width, part = (g * s.points() + p) * width;
      std::copy_n(from + (back ? part : whole), width, to + (back ? whole : part));
    }
  }
}

// Scratch of both passes, in elements of T.
struct Places {
  int64_t total = 0;
  int64_t add(int64_t n) {
    const int64_t at = total;
    total += (n + 15) / 16 * 16;
    return at;
  }
};

std::unique_ptr<cpu::Gemm> product(const PrepareArgs& a, cpu::GemmSpec spec, Kernel& kernel) {
  spec.dtype = a.in[0].dtype;
  auto gemm = cpu::Gemm::prepare(spec, a.team);
  kernel.team_matters |= gemm->team_matters;
  kernel.cost_ns += gemm->cost_ns;
  return gemm;
}

// out = rows of points times the weight, image by image. All images have their channels last.
template <typename T>
class Forward final : public Kernel {
 public:
  Forward(const PrepareArgs& a, const DeformableShape& s, const Slots& slots) : s_(s), slots_(slots) {
    cost_ns = 500 + s.batch * s.points() * s.row() * 2;
    const int64_t depth = s.taps() * s.group_channels();
    gemm_ =
        product(a, {.m = s.points(), .n = s.group_filters(), .k = depth, .trans_b = true, .batch = s.groups}, *this);
    cost_ns += gemm_->cost_ns * (s.batch - 1);
    Places places;
    weight_ = places.add(s.filters * depth);
    rows_ = places.add(s.points() * s.row());
    parts_ = places.add(s.groups > 1 ? s.points() * s.filters : 0);
    gemm_at_ = places.total;
    scratch = static_cast<size_t>(places.total) * sizeof(T) + gemm_->scratch_bytes;
  }

  void run(const KernelCall& c) const override {
    T* memory = static_cast<T*>(c.scratch);
    permute_weight(s_, static_cast<const T*>(c.in[slots_.weight]), memory + weight_, false);
    for (int64_t n = 0; n < s_.batch; ++n) {
      deformable_rows(s_, n, static_cast<const T*>(c.in[0]), static_cast<const T*>(c.in[1]), mask(c), memory + rows_);
      T* out = static_cast<T*>(c.out[0]) + n * s_.points() * s_.filters;
      T* result = s_.groups > 1 ? memory + parts_ : out;
      gemm_->run(memory + rows_, memory + weight_, nullptr, result, memory + gemm_at_);
      if (s_.groups > 1) split_groups(s_, result, out, true);
      if (slots_.bias >= 0) add_bias(static_cast<const T*>(c.in[slots_.bias]), out);
    }
  }

 private:
  const T* mask(const KernelCall& c) const {
    return slots_.mask < 0 ? nullptr : static_cast<const T*>(c.in[slots_.mask]);
  }
  void add_bias(const T* bias, T* out) const {
    for (int64_t p = 0; p < s_.points(); ++p, out += s_.filters) {
      for (int64_t f = 0; f < s_.filters; ++f) out[f] += bias[f];
    }
  }

  DeformableShape s_;
  Slots slots_;
  std::unique_ptr<cpu::Gemm> gemm_;
  int64_t weight_, rows_, parts_, gemm_at_;
};

// Inputs: dy, then those of the forward pass; outputs: their gradients.
template <typename T>
class Backward final : public Kernel {
 public:
  Backward(const PrepareArgs& a, const DeformableShape& s, const Slots& slots) : s_(s), slots_(slots) {
    const int64_t depth = s.taps() * s.group_channels();
    cost_ns = 500 + s.batch * s.points() * s.row() * 8;
    for (int i = 0; i < slots.weight; ++i) points_wanted_ |= a.req[static_cast<size_t>(i)] != Req::null;
    to_rows_ = product(a, {.m = s.points(), .n = depth, .k = s.group_filters(), .batch = s.groups}, *this);
    to_weight_ =
        product(a, {.m = s.group_filters(), .n = depth, .k = s.points(), .trans_a = true, .batch = s.groups}, *this);
    add_weight_ = product(
        a,
        {.m = s.group_filters(), .n = depth, .k = s.points(), .trans_a = true, .batch = s.groups, .accumulate = true},
        *this);
    Places places;
    weight_ = places.add(s.filters * depth);
    dweight_ = places.add(s.filters * depth);
    rows_ = places.add(s.points() * s.row());
    parts_ = places.add(s.groups > 1 ? s.points() * s.filters : 0);
    gemm_at_ = places.total;
    scratch = static_cast<size_t>(places.total) * sizeof(T) +
              std::max({to_rows_->scratch_bytes, to_weight_->scratch_bytes, add_weight_->scratch_bytes});
  }

  void run(const KernelCall& c) const override {
    T* memory = static_cast<T*>(c.scratch);
    if (c.out[0]) zero(c.out[0], s_.batch * s_.in[0] * s_.in[1] * s_.channels);
    if (slots_.bias >= 0 && c.out[slots_.bias]) zero(c.out[slots_.bias], s_.filters);
    permute_weight(s_, input(c, slots_.weight), memory + weight_, false);
    for (int64_t n = 0; n < s_.batch; ++n) one_image(c, memory, n);
    T* dweight = output(c, slots_.weight);
    if (!dweight) return;
    if (s_.batch == 0) return zero(dweight, s_.filters * s_.taps() * s_.group_channels());
    permute_weight(s_, memory + dweight_, dweight, true);
  }

 private:
  static const T* input(const KernelCall& c, int i) { return i < 0 ? nullptr : static_cast<const T*>(c.in[i + 1]); }
  static T* output(const KernelCall& c, int i) { return i < 0 ? nullptr : static_cast<T*>(c.out[i]); }
  static void zero(void* p, int64_t n) { cpu::zero_bytes(p, n * static_cast<int64_t>(sizeof(T))); }

  void one_image(const KernelCall& c, T* memory, int64_t n) const {
    const T* whole = static_cast<const T*>(c.in[0]) + n * s_.points() * s_.filters;
    const T* dy = whole;
    if (s_.groups > 1) {
      split_groups(s_, whole, memory + parts_, false);
      dy = memory + parts_;
    }
    const T *data = input(c, 0), *offset = input(c, 1), *mask = input(c, slots_.mask);
    if (points_wanted_) {
      to_rows_->run(dy, memory + weight_, nullptr, memory + rows_, memory + gemm_at_);
      deformable_gradient(s_, n, memory + rows_, data, offset, mask, output(c, 0), output(c, 1),
                          output(c, slots_.mask));
    }
    if (output(c, slots_.weight)) {
      deformable_rows(s_, n, data, offset, mask, memory + rows_);
      (n == 0 ? to_weight_ : add_weight_)->run(dy, memory + rows_, nullptr, memory + dweight_, memory + gemm_at_);
    }
    if (T* dbias = output(c, slots_.bias)) {
      for (int64_t p = 0; p < s_.points(); ++p) {
        for (int64_t f = 0; f < s_.filters; ++f) dbias[f] += whole[p * s_.filters + f];
      }
    }
  }

  DeformableShape s_;
  Slots slots_;
  bool points_wanted_ = false;
  std::unique_ptr<cpu::Gemm> to_rows_, to_weight_, add_weight_;
  int64_t weight_, dweight_, rows_, parts_, gemm_at_;
};

Prepared zeros(const PrepareArgs& a) {
  std::vector<int64_t> bytes;
  for (const TensorSpec& spec : a.out) bytes.push_back(spec.shape.size() * size_of(spec.dtype));
  auto run = [bytes](const KernelCall& c) {
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (c.out[i]) cpu::zero_bytes(c.out[i], bytes[i]);
    }
  };
  return make_kernel(std::move(run), 100);
}

Prepared prepare(const PrepareArgs& a) {
  const auto& p = a.as<DeformableConvParams>();
  const DeformableShape s = shape_of(p, a.in[0].shape);
  if (a.out[0].shape.size() == 0) return zeros(a);
  if (s.in[0] * s.in[1] > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 pixels in an image");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    a.in_layout[0] = a.out[0].layout = Layout::channels_last;
    return std::unique_ptr<Kernel>(new Forward<T>(a, s, Slots(p)));
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const auto& p = a.as<DeformableConvParams>();
  const DeformableShape s = shape_of(p, a.in[1].shape);
  if (a.in[0].shape.size() == 0 || a.in[1].shape.size() == 0) return zeros(a);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    a.in_layout[0] = a.in_layout[1] = a.out[0].layout = Layout::channels_last;
    return std::unique_ptr<Kernel>(new Backward<T>(a, s, Slots(p)));
  });
}

// ---- records -------------------------------------------------------------------------------------------------------

int num_inputs(const Params& p) { return Slots(p.as<DeformableConvParams>()).count; }

// The inputs begin at `first`. Gives the shape of the output.
Shape infer_from(InferContext& c, int first) {
  const auto& p = c.as<DeformableConvParams>();
  const Slots slots(p);
  const auto in = [&](int i) -> const Shape& { return c.in[static_cast<size_t>(first + i)].shape; };
  for (int i : {0, 1}) check_rank(c, first + i, 4, "(batch, channels, height, width)");
  c.merge_in(first, {-1, -1, -1, -1});
  const Shape data = in(0);
  const auto divides = [&](const char* what, int64_t n, int parts) {
    if (n >= 0 && n % parts) c.bad(str(what, " ", n, " is not a multiple of ", parts));
  };
  divides("the number of input channels", data[1], p.num_group);
  divides("the number of input channels", data[1], p.num_deformable_group);
  divides("num_filter", p.num_filter, p.num_group);
  int64_t size[2];
  for (int d = 0; d < 2; ++d) {
    size[d] = data[2 + d] < 0 ? -1 : p.out_size(data[2 + d], d);
    if (size[d] == 0) c.bad(str("kernel ", p.kernel, " does not fit into data ", data, " with this pad"));
  }
  const int64_t taps = p.kernel[0] * p.kernel[1] * p.num_deformable_group;
  c.merge_in(first + 1, {data[0], 2 * taps, size[0], size[1]});
  if (slots.mask >= 0) c.merge_in(first + slots.mask, {data[0], taps, size[0], size[1]});
  c.merge_in(first + slots.weight, {p.num_filter, data[1] < 0 ? -1 : data[1] / p.num_group, p.kernel[0], p.kernel[1]});
  if (slots.bias >= 0) c.merge_in(first + slots.bias, {p.num_filter});
  return {data[0], p.num_filter, size[0], size[1]};
}

void infer_shape(InferContext& c) { c.merge_out(0, infer_from(c, 0)); }
void infer_backward_shape(InferContext& c) {
  c.merge_in(0, infer_from(c, 1));
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[i + 1].shape);
}

void gradient(GradientBuilder& g) {
  const bool modulated = g.params<DeformableConvParams>().modulated;
  std::vector<Value> in{g.head(0)};
  std::vector<int> targets;
  for (int i = 0; i < g.num_inputs(); ++i) {
    in.push_back(g.input(i));
    targets.push_back(i);
  }
  g.give_all(targets,
             get_op(modulated ? "_backward_ModulatedDeformableConvolution" : "_backward_DeformableConvolution"),
             g.params_ref(), in);
}

std::vector<std::string> with_head(std::vector<std::string> names) {
  names.insert(names.begin(), "head");
  return names;
}

OpDef forward_op(const char* name, const char* doc, const ParamSchema& params, std::vector<std::string> inputs) {
  return {.name = name,
          .doc = doc,
          .params = params,
          .inputs = Inputs(std::move(inputs), num_inputs),
          .infer = {infer_shape, infer_float},
          .gradient = Gradient(gradient).without_outputs(),
          .kernels = wide_kernels<prepare>(),
          .flags = {.precision = Precision::full}};
}

OpDef backward_op(const char* name, const char* doc, const ParamSchema& params, std::vector<std::string> inputs) {
  return {.name = name,
          .doc = doc,
          .params = params,
          .inputs = Inputs(with_head(std::move(inputs)), [](const Params& p) { return num_inputs(p) + 1; }),
          .outputs = Outputs(num_inputs),
          .infer = {infer_backward_shape, infer_float},
          .gradient = Gradient::none(),
          .kernels = wide_kernels<prepare_backward>(),
          .flags = {.hidden = true}};
}

// Columns of samples times the weights, group by group.
class Composition {
 public:
  explicit Composition(const Composing& c)
      : c_(c), p_(c.as<DeformableConvParams>()), slots_(p_), data_(c[0].shape()), out_(c[1].shape()) {}

  Term output() const {
    const int64_t batch = data_[0], points = out_[2] * out_[3], per_group = data_[1] / p_.num_group;
    std::vector<Term> of_group;
    for (int64_t d = 0; d < p_.num_deformable_group; ++d) of_group.push_back(samples(d));
    const Term columns = join("Concat", 3, of_group);  // (batch, taps, points, channels)
    std::vector<Term> maps;
    for (int64_t g = 0; g < p_.num_group; ++g) {
      const Term rows = columns.slice(3, g * per_group, (g + 1) * per_group)
                            .then("transpose", {{"axes", tuple_of({0, 2, 3, 1})}})
                            .reshaped({batch * points, per_group * taps()});
      const int64_t filters = p_.num_filter / p_.num_group;
      const Term weight = c_[slots_.weight].slice(0, g * filters, (g + 1) * filters);
      maps.push_back(apply("dot", {rows, weight.reshaped({filters, per_group * taps()})}, {{"transpose_b", true}}));
    }
    const Term map = join("Concat", 1, maps)
                         .reshaped({batch, points, p_.num_filter})
                         .then("transpose", {{"axes", tuple_of({0, 2, 1})}})
                         .reshaped({batch, p_.num_filter, out_[2], out_[3]});
    return slots_.bias < 0 ? map : map + c_[slots_.bias].reshaped({1, p_.num_filter, 1, 1});
  }

 private:
  int64_t taps() const { return p_.kernel[0] * p_.kernel[1]; }

  // Where the points of an undeformed convolution lie along an axis: (1, taps * points).
  Term places(int d) const {
    std::vector<double> list;
    for (int64_t tap = 0; tap < taps(); ++tap) {
      const int64_t in_window = d == 0 ? tap / p_.kernel[1] : tap % p_.kernel[1];
      for (int64_t point = 0; point < out_[2] * out_[3]; ++point) {
        const int64_t window = d == 0 ? point / out_[3] : point % out_[3];
        list.push_back(static_cast<double>(window * p_.step(p_.stride, d, 1) - p_.step(p_.pad, d, 0) +
                                           in_window * p_.step(p_.dilate, d, 1)));
      }
    }
    return constant(c_[0], {1, static_cast<int64_t>(list.size())}, list);
  }

  // Points outside of the image count as 0, those less than a pixel past its end as its last pixel.
  Term clamped(const Term& v, int64_t extent, Term& inside) const {
    const double last = static_cast<double>(extent - 1);
    inside = inside * v.then("_greater_equal_scalar", 0.0) * v.then("_lesser_scalar", last + 1);
    return v.then("clip", {{"a_min", 0.0}, {"a_max", last}});
  }

  // (batch, taps, points, channels of a deformable group)
  Term samples(int64_t group) const {
    const int64_t batch = data_[0], points = out_[2] * out_[3], channels = data_[1] / p_.num_deformable_group;
    const Term offsets =
        c_[1].slice(1, group * 2 * taps(), (group + 1) * 2 * taps()).reshaped({batch, taps(), 2, points});
    const auto coordinate = [&](int d) { return offsets.at(2, d).reshaped({batch, taps() * points}) + places(d); };
    Term y = coordinate(0), x = coordinate(1), factor = y.then("ones_like");
    if (!p_.modulated) {
      y = clamped(y, data_[2], factor);
      x = clamped(x, data_[3], factor);
    } else {
      factor = c_[slots_.mask].slice(1, group * taps(), (group + 1) * taps());
    }
    const Term image = c_[0].slice(1, group * channels, (group + 1) * channels);
    const Term samples = sample_composed(image, y, x) * factor.reshaped({batch, taps() * points, 1});
    return samples.reshaped({batch, taps(), points, channels});
  }

  const Composing& c_;
  const DeformableConvParams& p_;
  const Slots slots_;
  const Shape &data_, &out_;
};

std::vector<Term> compose(const Composing& c) { return {Composition(c).output()}; }
const RegisterComposition composition{"_contrib_DeformableConvolution", compose};
const RegisterComposition modulated_composition{"_contrib_ModulatedDeformableConvolution", compose};

const std::vector<std::string> kInputs{"data", "offset", "weight", "bias"};
const std::vector<std::string> kModulatedInputs{"data", "offset", "mask", "weight", "bias"};

const RegisterOp deformable_convolution{forward_op(
    "_contrib_DeformableConvolution",
    "Convolution whose points move by given offsets (Deformable ConvNets, Dai et al. 2017).\n\n"
    "Shapes: data (batch, channels, height, width), offset (batch, 2 * num_deformable_group * kernel size, out height, "
    "out "
    "width): y and x of each point in pixels, weight (num_filter, channels / num_group, *kernel), bias (num_filter,), "
    "output (batch, num_filter, out height, out width). Points outside of the image count as 0.",
    schema_of<DeformableConvParams>(), kInputs)};

const RegisterOp backward_deformable_convolution{backward_op("_backward_DeformableConvolution",
                                                             "Gradients of _contrib_DeformableConvolution.",
                                                             schema_of<DeformableConvParams>(), kInputs)};

const RegisterOp modulated_deformable_convolution{forward_op(
    "_contrib_ModulatedDeformableConvolution",
    "Convolution whose points move by given offsets and have given weights (Deformable ConvNets v2, Zhu et al. "
    "2019).\n\n"
    "Shapes: as DeformableConvolution, and mask (batch, num_deformable_group * kernel size, out height, out width): "
    "the "
    "factor of each point. Pixels outside of the image count as 0. Its gradient works on a CPU, unlike that of 1.9.1.",
    schema_of<ModulatedConvParams>(), kModulatedInputs)};

const RegisterOp backward_modulated_deformable_convolution{
    backward_op("_backward_ModulatedDeformableConvolution", "Gradients of _contrib_ModulatedDeformableConvolution.",
                schema_of<ModulatedConvParams>(), kModulatedInputs)};

}  // namespace
}  // namespace mxnet::vision
