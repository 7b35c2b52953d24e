// SPDX-License-Identifier: Apache-2.0
// Operators without inputs: constants, ranges, the identity matrix.
#include <cmath>
#include <optional>
#include <string>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

constexpr char kDeviceDoc[] = "Where the array is made, as text (\"cpu(0)\"); empty is the current context.";

template <typename P>
void infer_dtype_param(InferContext& c) {
  c.merge_out_dtype(0, c.as<P>().dtype);
}

// In these operators a size of 0 stands for one that inference finds out (a begin state whose batch is not known).
Shape declared_shape(const std::optional<Shape>& given) {
  if (!given || given->rank() == 0) return Shape::unknown();
  Shape shape = *given;
  for (dim_t& d : shape) d = d == 0 ? -1 : d;
  return shape;
}

// ---- constants -----------------------------------------------------------------------------------------------------

struct InitParams {
  Shape shape;
  std::string ctx;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<InitParams>& s) {
    s.field("shape", &InitParams::shape, "Shape of the array.");
    s.field("ctx", &InitParams::ctx, kDeviceDoc);
    s.field("dtype", &InitParams::dtype, "Type of the array.");
  }
};

struct UntypedParams {
  std::optional<Shape> shape;
  std::string ctx;
  int64_t dtype = -1;
  static void declare(ParamSchemaOf<UntypedParams>& s) {
    s.field("shape", &UntypedParams::shape, "Shape of the array.");
    s.field("ctx", &UntypedParams::ctx, kDeviceDoc);
    s.field("dtype", &UntypedParams::dtype, "Number of the type; -1 takes the type that inference finds.");
  }
};

struct FullParams {
  std::optional<Shape> shape;
  std::string ctx;
  DType dtype = DType::f32;
  double value = 0;
  static void declare(ParamSchemaOf<FullParams>& s) {
    s.field("shape", &FullParams::shape, "Shape of the array.");
    s.field("ctx", &FullParams::ctx, kDeviceDoc);
    s.field("dtype", &FullParams::dtype, "Type of the array.");
    s.field("value", &FullParams::value, "The value of every element.").required().runtime();
  }
};

template <typename P>
void infer_declared_shape(InferContext& c) {
  c.merge_out(0, declared_shape(c.as<P>().shape));
}

template <int Value>
Prepared prepare_constant(const PrepareArgs& args) {
  MoveKernel kernel;
  kernel.fill(0, args.out[0].shape, args.out[0].dtype, Value);
  return kernel.finish();
}

const RegisterOp zeros{{.name = "_zeros",
                        .doc = "An array of zeros.",
                        .params = schema_of<InitParams>(),
                        .inputs = Inputs(std::initializer_list<const char*>{}),
                        .infer = {infer_declared_shape<InitParams>, infer_dtype_param<InitParams>},
                        .gradient = Gradient::zero(),
                        .kernels = {{"fill", prepare_constant<0>}}}};

const RegisterOp ones{{.name = "_ones",
                       .doc = "An array of ones.",
                       .params = schema_of<InitParams>(),
                       .inputs = Inputs(std::initializer_list<const char*>{}),
                       .infer = {infer_declared_shape<InitParams>, infer_dtype_param<InitParams>},
                       .gradient = Gradient::zero(),
                       .kernels = {{"fill", prepare_constant<1>}}}};

void infer_untyped_dtype(InferContext& c) {
  const int64_t dtype = c.as<UntypedParams>().dtype;
  if (dtype >= 0)
    c.merge_out_dtype(0, static_cast<DType>(dtype));
  else if (c.out[0].dtype == DType::unknown)
    c.merge_out_dtype(0, DType::f32);
}

const RegisterOp zeros_without_dtype{{.name = "_zeros_without_dtype",
                                      .doc = "An array of zeros whose type inference may choose.",
                                      .params = schema_of<UntypedParams>(),
                                      .inputs = Inputs(std::initializer_list<const char*>{}),
                                      .infer = {infer_declared_shape<UntypedParams>, infer_untyped_dtype},
                                      .gradient = Gradient::zero(),
                                      .kernels = {{"fill", prepare_constant<0>}}}};

void infer_full(InferContext& c) {
  if (c.as<FullParams>().shape) c.merge_out(0, *c.as<FullParams>().shape);
}

Prepared prepare_full(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  const int item = size_of(args.out[0].dtype);
  return make_kernel(
      [n, item, dtype = args.out[0].dtype](const KernelCall& c) {
        const uint64_t bits = element_bits(dtype, c.params->as<FullParams>().value);
        if (c.out[0]) cpu::fill_items(c.out[0], n, &bits, item);
      },
      20 + n * item / 16);
}

const RegisterOp full{{.name = "_full",
                       .doc = "An array filled with a value.",
                       .aliases = {"_npi_full"},
                       .params = schema_of<FullParams>(),
                       .inputs = Inputs(std::initializer_list<const char*>{}),
                       .infer = {infer_full, infer_dtype_param<FullParams>},
                       .gradient = Gradient::zero(),
                       .kernels = {{"fill", prepare_full}}}};

// ---- ranges --------------------------------------------------------------------------------------------------------

struct RangeParams {
  double start = 0;
  std::optional<double> stop;
  double step = 1;
  int64_t repeat = 1;
  bool infer_range = false;
  std::string ctx;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<RangeParams>& s) {
    s.field("start", &RangeParams::start, "The first value; the end if stop is None.").required();
    s.field("stop", &RangeParams::stop, "The end, which is left out.");
    s.field("step", &RangeParams::step, "Distance of the values, not 0.");
    s.field("repeat", &RangeParams::repeat, "How often each value stands.").range(1, 1e15);
    s.field("infer_range", &RangeParams::infer_range, "Take the length from where the array is used.");
    s.field("ctx", &RangeParams::ctx, kDeviceDoc);
    s.field("dtype", &RangeParams::dtype, "Type of the array.");
    s.validate([](const RangeParams& p) {
      if (p.step == 0) fail(ErrorKind::value, "step must not be 0");
    });
  }
};

// out[i] = start + (i / repeat) * step, each value rounded once.
Prepared make_range(const PrepareArgs& args, double start, double step, int64_t repeat) {
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [=, dtype = args.out[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          T* out = static_cast<T*>(c.out[0]);
          cpu::parallel_for(n, 16384, [=](int64_t begin, int64_t end) {
            if (repeat == 1) {
              for (int64_t i = begin; i < end; ++i) out[i] = convert<T>(start + static_cast<double>(i) * step);
            } else {
              for (int64_t i = begin; i < end; ++i) out[i] = convert<T>(start + static_cast<double>(i / repeat) * step);
            }
          });
        });
      },
      30 + n);
}

void infer_arange(InferContext& c) {
  const auto& p = c.as<RangeParams>();
  if (p.infer_range && !p.stop) return;
  const double begin = p.stop ? p.start : 0, end = p.stop ? *p.stop : p.start;
  const double count = std::ceil((end - begin) / p.step);
  if (!(count >= 0) || count > 1e15) c.bad(str("start ", begin, ", stop ", end, ", step ", p.step, " give no range"));
  c.merge_out(0, Shape{static_cast<int64_t>(count) * p.repeat});
}

Prepared prepare_arange(const PrepareArgs& args) {
  const auto& p = args.as<RangeParams>();
  return make_range(args, p.stop || p.infer_range ? p.start : 0, p.step, p.repeat);
}

const RegisterOp arange{
    {.name = "_arange",
     .doc = "Values from start up to stop (left out) in equal steps; with one bound, from 0 up to it.\n\n"
            "Raises an error if the step is 0 or leads away from stop.",
     .params = schema_of<RangeParams>(),
     .inputs = Inputs(std::initializer_list<const char*>{}),
     .infer = {infer_arange, infer_dtype_param<RangeParams>},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_arange}}}};

struct LinspaceParams {
  double start = 0;
  std::optional<double> stop;
  double step = 1;
  int64_t repeat = 1;
  bool infer_range = false;
  std::string ctx;
  DType dtype = DType::f32;
  int64_t num = 50;
  bool endpoint = true;
  static void declare(ParamSchemaOf<LinspaceParams>& s) {
    s.field("start", &LinspaceParams::start, "The first value.").required();
    s.field("stop", &LinspaceParams::stop, "The last value, or the end if endpoint is False.");
    s.field("step", &LinspaceParams::step, "Unused.");
    s.field("repeat", &LinspaceParams::repeat, "Unused.");
    s.field("infer_range", &LinspaceParams::infer_range, "Unused.");
    s.field("ctx", &LinspaceParams::ctx, kDeviceDoc);
    s.field("dtype", &LinspaceParams::dtype, "Type of the array.");
    s.field("num", &LinspaceParams::num, "Number of values.").range(0, 1e15);
    s.field("endpoint", &LinspaceParams::endpoint, "Whether stop is the last value.");
  }
};

Prepared prepare_linspace(const PrepareArgs& args) {
  const auto& p = args.as<LinspaceParams>();
  const int64_t gaps = p.endpoint ? p.num - 1 : p.num;
  return make_range(args, p.start, gaps > 0 ? (p.stop.value_or(p.start) - p.start) / static_cast<double>(gaps) : 0, 1);
}

const RegisterOp linspace{{.name = "_linspace",
                           .doc = "A number of values at equal distances between two bounds.",
                           .aliases = {"_npi_linspace"},
                           .params = schema_of<LinspaceParams>(),
                           .inputs = Inputs(std::initializer_list<const char*>{}),
                           .infer = {[](InferContext& c) { c.merge_out(0, Shape{c.as<LinspaceParams>().num}); },
                                     infer_dtype_param<LinspaceParams>},
                           .gradient = Gradient::zero(),
                           .kernels = {{"index", prepare_linspace}}}};

struct ArangeLikeParams {
  double start = 0, step = 1;
  int64_t repeat = 1;
  std::string ctx;
  std::optional<int64_t> axis;
  static void declare(ParamSchemaOf<ArangeLikeParams>& s) {
    s.field("start", &ArangeLikeParams::start, "The first value.");
    s.field("step", &ArangeLikeParams::step, "Distance of the values.");
    s.field("repeat", &ArangeLikeParams::repeat, "How often each value stands.").range(1, 1e15);
    s.field("ctx", &ArangeLikeParams::ctx, kDeviceDoc);
    s.field("axis", &ArangeLikeParams::axis,
            "The dimension of data that gives the length; None fills the shape of data.");
  }
};

void infer_arange_like(InferContext& c) {
  const auto& p = c.as<ArangeLikeParams>();
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (!p.axis) return c.merge_out(0, in);
  c.merge_out(0, Shape{in[normalize_axis(*p.axis, in.rank(), c.op.name.c_str())]});
}

Prepared prepare_arange_like(const PrepareArgs& args) {
  const auto& p = args.as<ArangeLikeParams>();
  return make_range(args, p.start, p.step, p.repeat);
}

const RegisterOp arange_like{
    {.name = "_contrib_arange_like",
     .doc = "Values in equal steps, as many as data has elements (in its shape) or as one of its dimensions.",
     .aliases = {"_npx_arange_like"},
     .params = schema_of<ArangeLikeParams>(),
     .inputs = {"data"},
     .infer = {infer_arange_like, infer::same_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_arange_like}}}};

// ---- _eye ----------------------------------------------------------------------------------------------------------

struct EyeParams {
  int64_t N = 0, M = 0, k = 0;
  std::string ctx;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<EyeParams>& s) {
    s.field("N", &EyeParams::N, "Rows.").required().range(0, 1e15);
    s.field("M", &EyeParams::M, "Columns; 0 is as many as rows.").range(0, 1e15);
    s.field("k", &EyeParams::k, "Which diagonal: above the main one when positive, below when negative.");
    s.field("ctx", &EyeParams::ctx, kDeviceDoc);
    s.field("dtype", &EyeParams::dtype, "Type of the array.");
  }
};

void infer_eye(InferContext& c) {
  const auto& p = c.as<EyeParams>();
  c.merge_out(0, Shape{p.N, p.M > 0 ? p.M : p.N});
}

Prepared prepare_eye(const PrepareArgs& args) {
  const Shape& out = args.out[0].shape;
  const DType dtype = args.out[0].dtype;
  const int64_t k = args.as<EyeParams>().k, row = std::max<int64_t>(0, -k), column = std::max<int64_t>(0, k);
  const int64_t length = std::max<int64_t>(0, std::min(out[0] - row, out[1] - column));
  const cpu::StridedCopy ones(Shape{length}, Shape{out[1] + 1}, Shape{0}, size_of(dtype));
  const int64_t bytes = out.size() * size_of(dtype), offset = (row * out[1] + column) * size_of(dtype);
  return make_kernel(
      [=, one = element_bits(dtype, 1)](const KernelCall& c) {
        if (!c.out[0]) return;
        cpu::zero_bytes(c.out[0], bytes);
        ones.run(static_cast<char*>(c.out[0]) + offset, &one);
      },
      30 + bytes / 16 + ones.cost_ns());
}

const RegisterOp eye{{.name = "_eye",
                      .doc = "Ones on a diagonal, zeros elsewhere.\n\nShapes: (N, M).",
                      .params = schema_of<EyeParams>(),
                      .inputs = Inputs(std::initializer_list<const char*>{}),
                      .infer = {infer_eye, infer_dtype_param<EyeParams>},
                      .gradient = Gradient::zero(),
                      .kernels = {{"fill", prepare_eye}}}};

}  // namespace
}  // namespace mxnet::ops
