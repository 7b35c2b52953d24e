// SPDX-License-Identifier: Apache-2.0
// Rectangular windows with steps: slice, slice_axis, slice_like, and writing into them.
#include <optional>
#include <vector>

#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

struct Range {
  int64_t begin = 0, count = 0, step = 1;
};

// Python's rule for one dimension.
Range clamp_range(std::optional<int64_t> begin, std::optional<int64_t> end, int64_t step, int64_t extent) {
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
  const auto place = [&](std::optional<int64_t> v, int64_t missing) {
    if (!v) return missing;
    return std::clamp(*v < 0 ? *v + extent : *v, low, high);
  };
  const int64_t b = place(begin, step > 0 ? low : high), e = place(end, step > 0 ? high : low);
  const int64_t count = step > 0 ? (e - b + step - 1) / step : (b - e - step - 1) / -step;
  return {count > 0 ? b : 0, std::max<int64_t>(0, count), step};
}

Window take_ranges(const Shape& shape, const std::vector<Range>& ranges) {
  Window w = Window::all(shape);
  for (size_t i = 0; i < ranges.size(); ++i) {
    w = w.narrow(static_cast<int>(i), ranges[i].begin, ranges[i].count, ranges[i].step);
  }
  return w;
}

Shape shape_of(const Shape& shape, const std::vector<Range>& ranges) {
  Shape out = shape;
  for (size_t i = 0; i < ranges.size(); ++i) out[static_cast<int>(i)] = ranges[i].count;
  return out;
}

// Keeps one operator's way from parameters and input shapes to ranges; `count` -1: not known yet.
using RangesFn = std::vector<Range> (*)(const OpDef& op, const Params& params, std::span<const TensorSpec> in);

template <RangesFn ranges_of>
void infer_window(InferContext& c) {
  if (!c.in[0].shape.rank_known()) return;
  c.merge_out(0, shape_of(c.in[0].shape, ranges_of(c.op, c.params, c.in)));
}

template <RangesFn ranges_of>
Prepared prepare_window(const PrepareArgs& args) {
  const Window from = take_ranges(args.in[0].shape, ranges_of(args.op, args.params, args.in));
  MoveKernel kernel;
  kernel.copy(0, Window::all(from.shape), 0, from, args.in[0].dtype);
  return kernel.finish();
}

// The gradient: head in the window, zero elsewhere. Inputs of the hidden operator: the forward's, then the head.
template <RangesFn ranges_of>
Prepared prepare_window_backward(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const TensorSpec& head = args.in.back();
  const Window to = take_ranges(shape, ranges_of(args.op, args.params, args.in));
  MoveKernel kernel;
  if (to.shape.size() != shape.size()) kernel.fill(0, shape, head.dtype, 0);
  kernel.copy(0, to, static_cast<int>(args.in.size()) - 1, Window::all(to.shape), head.dtype);
  return kernel.finish();
}

void infer_like_first(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
}
void infer_head_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[c.in.size() - 1].dtype); }

// ---- slice ---------------------------------------------------------------------------------------------------------

struct SliceParams {
  OptionalTuple begin, end, step;
  template <typename P>
  static void declare_range(ParamSchemaOf<P>& s) {
    s.field("begin", &P::begin, "First index of each leading dimension; None is the start.")
        .required()
        .type("Shape(tuple)");
    s.field("end", &P::end, "Index after the last; None is the end.").required().type("Shape(tuple)");
    s.field("step", &P::step, "Steps, not 0; None is 1.").type("Shape(tuple)");
    s.validate([](const P& p) {
      if (p.begin.size() != p.end.size()) {
        fail(ErrorKind::value, "begin has ", p.begin.size(), " entries and end ", p.end.size());
      }
      if (!p.step.empty() && p.step.size() != p.begin.size()) {
        fail(ErrorKind::value, "step has ", p.step.size(), " entries and begin ", p.begin.size());
      }
      for (const auto& step : p.step) {
        if (step == 0) fail(ErrorKind::value, "step must not be 0");
      }
    });
  }
  static void declare(ParamSchemaOf<SliceParams>& s) { declare_range(s); }
};

struct SliceAssignScalarParams {
  double scalar = 0;
  OptionalTuple begin, end, step;
  static void declare(ParamSchemaOf<SliceAssignScalarParams>& s) {
    s.field("scalar", &SliceAssignScalarParams::scalar, "The value that is written.").runtime();
    SliceParams::declare_range(s);
  }
};

template <typename P>
std::vector<Range> slice_ranges(const OpDef& op, const Params& params, std::span<const TensorSpec> in) {
  const auto& p = params.as<P>();
  const Shape& shape = in[0].shape;
  if (static_cast<int>(p.begin.size()) > shape.rank()) {
    fail(ErrorKind::value, op.name, ": begin has ", p.begin.size(), " entries, data ", shape, " has ", shape.rank(),
         " dimensions");
  }
  std::vector<Range> ranges(p.begin.size());
  for (size_t i = 0; i < ranges.size(); ++i) {
    const int64_t extent = shape[static_cast<int>(i)], step = p.step.empty() ? 1 : p.step[i].value_or(1);
    if (extent < 0)
      ranges[i].count = !p.begin[i] && !p.end[i] && step == 1 ? extent : -1;
    else
      ranges[i] = clamp_range(p.begin[i], p.end[i], step, extent);
  }
  return ranges;
}
constexpr RangesFn kSlice = slice_ranges<SliceParams>;

const RegisterOp slice{
    {.name = "slice",
     .doc = "The window data[begin:end:step] over the leading dimensions, copied.\n\n"
            "Indices count from the end when negative and are clipped; a negative step walks backward.\n\n"
            "Raises an error if begin, end and step have different lengths or a step is 0.",
     .aliases = {"crop", "_sparse_slice", "_npi_slice", "_npx_slice"},
     .params = schema_of<SliceParams>(),
     .inputs = {"data"},
     .infer = {infer_window<kSlice>, infer::same_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_slice", {g.input(0), g.head(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"move", prepare_window<kSlice>}}}};

const RegisterOp backward_slice{
    {.name = "_backward_slice",
     .doc = "Gradient of slice: head inside the window of an array like data, zero outside.",
     .params = schema_of<SliceParams>(),
     .inputs = {"data", "head"},
     .infer = {infer_like_first, infer_head_dtype},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give_all({1}, "slice", {g.head(0)}, g.params_ref()); }).only_heads(),
     .kernels = {{"move", prepare_window_backward<kSlice>}},
     .flags = {.hidden = true}}};

// ---- slice_axis ----------------------------------------------------------------------------------------------------

struct SliceAxisParams {
  int64_t axis = 0, begin = 0;
  std::optional<int64_t> end;
  static void declare(ParamSchemaOf<SliceAxisParams>& s) {
    s.field("axis", &SliceAxisParams::axis, "The dimension to cut.").required();
    s.field("begin", &SliceAxisParams::begin, "First index; from the end when negative.").required();
    s.field("end", &SliceAxisParams::end, "Index after the last; None is the end.").required();
  }
};

std::vector<Range> slice_axis_ranges(const OpDef& op, const Params& params, std::span<const TensorSpec> in) {
  const auto& p = params.as<SliceAxisParams>();
  const Shape& shape = in[0].shape;
  const int axis = normalize_axis(p.axis, shape.rank(), op.name.c_str());
  std::vector<Range> ranges(axis + 1);
  for (int i = 0; i < axis; ++i) ranges[i].count = shape[i];
  const int64_t extent = shape[axis];
  if (extent < 0) {
    ranges[axis].count = -1;
    return ranges;
  }
  const int64_t begin = p.begin < 0 ? p.begin + extent : p.begin;
  const int64_t end = !p.end ? extent : *p.end < 0 ? *p.end + extent : *p.end;
  if (begin < 0 || end > extent || begin > end || (begin == end && extent > 0)) {
    fail(ErrorKind::value, op.name, ": begin ", p.begin, " and end ", p.end ? str(*p.end) : "None",
         " give no range of dimension ", axis, " with size ", extent);
  }
  ranges[axis] = {begin, end - begin, 1};
  return ranges;
}

const RegisterOp slice_axis{{.name = "slice_axis",
                             .doc = "The indices [begin, end) of one dimension, copied.\n\n"
                                    "Raises an error if the range is empty or leaves the dimension.",
                             .params = schema_of<SliceAxisParams>(),
                             .inputs = {"data"},
                             .infer = {infer_window<slice_axis_ranges>, infer::same_dtype},
                             .gradient = Gradient([](GradientBuilder& g) {
                                           g.give_all({0}, "_backward_slice_axis", {g.input(0), g.head(0)},
                                                      g.params_ref());
                                         }).without_outputs(),
                             .kernels = {{"move", prepare_window<slice_axis_ranges>}}}};

const RegisterOp backward_slice_axis{{.name = "_backward_slice_axis",
                                      .doc = "Gradient of slice_axis.",
                                      .params = schema_of<SliceAxisParams>(),
                                      .inputs = {"data", "head"},
                                      .infer = {infer_like_first, infer_head_dtype},
                                      .gradient = Gradient([](GradientBuilder& g) {
                                                    g.give_all({1}, "slice_axis", {g.head(0)}, g.params_ref());
                                                  }).only_heads(),
                                      .kernels = {{"move", prepare_window_backward<slice_axis_ranges>}},
                                      .flags = {.hidden = true}}};

// ---- slice_like ----------------------------------------------------------------------------------------------------

struct SliceLikeParams {
  Shape axes;
  static void declare(ParamSchemaOf<SliceLikeParams>& s) {
    s.field("axes", &SliceLikeParams::axes, "Dimensions to cut to the sizes of shape_like; empty is all.");
  }
};

std::vector<Range> slice_like_ranges(const OpDef& op, const Params& params, std::span<const TensorSpec> in) {
  const auto& p = params.as<SliceLikeParams>();
  const Shape &shape = in[0].shape, &like = in[1].shape;
  std::vector<Range> ranges(shape.rank());
  for (int i = 0; i < shape.rank(); ++i) ranges[i].count = shape[i];
  if (!like.rank_known()) {
    for (Range& r : ranges) r.count = -1;
    return ranges;
  }
  const auto cut = [&](int axis, int like_axis) {
    if (shape[axis] >= 0 && like[like_axis] > shape[axis]) {
      fail(ErrorKind::value, op.name, ": shape_like ", like, " is larger than data ", shape, " in dimension ", axis);
    }
    ranges[axis].count = like[like_axis];
  };
  if (p.axes.rank() == 0) {
    if (shape.rank() != like.rank()) {
      fail(ErrorKind::value, op.name, ": data ", shape, " and shape_like ", like,
           " have different numbers of dimensions; name the dimensions in axes");
    }
    for (int i = 0; i < shape.rank(); ++i) cut(i, i);
  }
  for (dim_t a : p.axes) {
    cut(normalize_axis(a, shape.rank(), op.name.c_str(), "axes entry"),
        normalize_axis(a, like.rank(), op.name.c_str(), "axes entry"));
  }
  return ranges;
}

void infer_two_dtypes(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

const RegisterOp slice_like{
    {.name = "slice_like",
     .doc = "The leading part of data with the sizes of shape_like in some or all dimensions.\n\n"
            "Only the shape of shape_like is read. Raises an error if it is larger.",
     .params = schema_of<SliceLikeParams>(),
     .inputs = {"data", "shape_like"},
     .infer = {infer_window<slice_like_ranges>, infer_two_dtypes},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_slice_like", {g.input(0), g.input(1), g.head(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"move", prepare_window<slice_like_ranges>}}}};

const RegisterOp backward_slice_like{{.name = "_backward_slice_like",
                                      .doc = "Gradient of slice_like.",
                                      .params = schema_of<SliceLikeParams>(),
                                      .inputs = {"data", "shape_like", "head"},
                                      .infer = {infer_like_first, infer_head_dtype},
                                      .gradient = Gradient([](GradientBuilder& g) {
                                                    g.give_all({2}, "slice_like", {g.head(0), g.input(1)},
                                                               g.params_ref());
                                                  }).without_outputs(),
                                      .kernels = {{"move", prepare_window_backward<slice_like_ranges>}},
                                      .flags = {.hidden = true}}};

// ---- _slice_assign -------------------------------------------------------------------------------------------------

void infer_slice_assign(InferContext& c) {
  infer_like_first(c);
  if (!c.in[0].shape.rank_known()) return;
  const Shape window = shape_of(c.in[0].shape, kSlice(c.op, c.params, c.in));
  if (c.in[1].shape.known() && window.known() && c.in[1].shape != window) {
    c.bad(str("rhs has shape ", c.in[1].shape, ", the window of lhs has shape ", window));
  }
  c.merge_in(1, window);
}

Prepared prepare_slice_assign(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const Window to = take_ranges(shape, kSlice(args.op, args.params, args.in));
  MoveKernel kernel;
  kernel.copy(0, Window::all(shape), 0, Window::all(shape), args.in[0].dtype);
  kernel.copy(0, to, 1, Window::all(to.shape), args.in[0].dtype);
  return kernel.finish();
}

void slice_assign_gradient(GradientBuilder& g) {
  const auto& p = g.params<SliceParams>();
  const auto zeroed =
      make_params<SliceAssignScalarParams>({.scalar = 0, .begin = p.begin, .end = p.end, .step = p.step});
  g.give_all({0}, "_slice_assign_scalar", {g.head(0)}, zeroed);
  g.give_all({1}, "slice", {g.head(0)}, g.params_ref());
}

const RegisterOp slice_assign{{.name = "_slice_assign",
                               .doc = "lhs with its window [begin:end:step] replaced by rhs.",
                               .aliases = {"_crop_assign", "_npi_slice_assign"},
                               .params = schema_of<SliceParams>(),
                               .inputs = {"lhs", "rhs"},
                               .infer = {infer_slice_assign, infer::same_dtype},
                               .gradient = Gradient(slice_assign_gradient).only_heads(),
                               .kernels = {{"move", prepare_slice_assign}},
                               .flags = {.inplace = true}}};

Prepared prepare_slice_assign_scalar(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const DType dtype = args.in[0].dtype;
  const Window to = take_ranges(shape, slice_ranges<SliceAssignScalarParams>(args.op, args.params, args.in));
  Shape repeat = Shape::of_rank(to.shape.rank(), 0);
  const cpu::StridedCopy fill(to.shape, to.strides, repeat, size_of(dtype));
  const int64_t bytes = shape.size() * size_of(dtype), offset = to.offset * size_of(dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        const uint64_t value = element_bits(dtype, c.params->as<SliceAssignScalarParams>().scalar);
        cpu::copy_bytes(c.out[0], c.in[0], bytes);
        fill.run(static_cast<char*>(c.out[0]) + offset, &value);
      },
      20 + bytes / 10 + fill.cost_ns());
}

void slice_assign_scalar_gradient(GradientBuilder& g) {
  const auto& p = g.params<SliceAssignScalarParams>();
  g.give_all({0}, "_slice_assign_scalar", {g.head(0)},
             make_params<SliceAssignScalarParams>({.scalar = 0, .begin = p.begin, .end = p.end, .step = p.step}));
}

void infer_slice_assign_scalar(InferContext& c) {
  infer::same_shape(c);
  if (c.in[0].shape.rank_known()) slice_ranges<SliceAssignScalarParams>(c.op, c.params, c.in);
}

const RegisterOp slice_assign_scalar{{.name = "_slice_assign_scalar",
                                      .doc = "data with its window [begin:end:step] set to a number.",
                                      .aliases = {"_crop_assign_scalar", "_npi_slice_assign_scalar"},
                                      .params = schema_of<SliceAssignScalarParams>(),
                                      .inputs = {"data"},
                                      .infer = {infer_slice_assign_scalar, infer::same_dtype},
                                      .gradient = Gradient(slice_assign_scalar_gradient).only_heads(),
                                      .kernels = {{"move", prepare_slice_assign_scalar}},
                                      .flags = {.inplace = true}}};

}  // namespace
}  // namespace mxnet::ops
