// SPDX-License-Identifier: Apache-2.0
// Permutations of elements: transpose, SwapAxis, reverse, depth_to_space, space_to_depth.
#include <numeric>
#include <vector>

#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

// out = the window `from` of input 0, in plain order.
Prepared move_window(const PrepareArgs& args, const Window& from) {
  MoveKernel kernel;
  kernel.copy(0, Window::all(from.shape), 0, from, args.in[0].dtype);
  return kernel.finish();
}

// ---- transpose -----------------------------------------------------------------------------------------------------

struct TransposeParams {
  Shape axes;
  static void declare(ParamSchemaOf<TransposeParams>& s) {
    s.field("axes", &TransposeParams::axes, "The new order of the dimensions; empty reverses them.");
  }
};

// axes[i]: which dimension of the input becomes dimension i.
std::vector<int> permutation(const TransposeParams& p, int rank, const OpDef& op) {
  std::vector<int> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  if (p.axes.rank() == 0) return {axes.rbegin(), axes.rend()};
  if (p.axes.rank() != rank) {
    fail(ErrorKind::value, op.name, ": axes ", p.axes, " has ", p.axes.rank(), " entries, data has ", rank,
         " dimensions");
  }
  std::vector<bool> seen(rank, false);
  for (int i = 0; i < rank; ++i) {
    axes[i] = normalize_axis(p.axes[i], rank, op.name.c_str(), "axes entry");
    if (seen[axes[i]]) fail(ErrorKind::value, op.name, ": axes ", p.axes, " names dimension ", axes[i], " twice");
    seen[axes[i]] = true;
  }
  return axes;
}

void infer_transpose(InferContext& c) {
  const auto& p = c.as<TransposeParams>();
  const Shape in = c.in[0].shape, out = c.out[0].shape;
  const int rank = in.rank_known() ? in.rank() : out.rank_known() ? out.rank() : p.axes.rank() > 0 ? p.axes.rank() : -1;
  if (rank < 0) return;
  const std::vector<int> axes = permutation(p, rank, c.op);
  Shape forward = Shape::of_rank(rank), backward = forward;
  for (int i = 0; i < rank; ++i) {
    if (in.rank_known()) forward[i] = in[axes[i]];
    if (out.rank_known() && out.rank() == rank) backward[axes[i]] = out[i];
  }
  c.merge_out(0, forward);
  c.merge_in(0, backward);
}

Prepared prepare_transpose(const PrepareArgs& args) {
  const Shape& in = args.in[0].shape;
  return move_window(args, Window::all(in).permute(permutation(args.as<TransposeParams>(), in.rank(), args.op)));
}

void transpose_gradient(GradientBuilder& g) {
  const auto& p = g.params<TransposeParams>();
  const int rank = p.axes.rank();
  if (rank == 0) return g.give(0, "transpose", {g.head(0)});
  const std::vector<int> axes = permutation(p, rank, g.op());
  Shape inverse = Shape::of_rank(rank);
  for (int i = 0; i < rank; ++i) inverse[axes[i]] = i;
  g.give_all({0}, "transpose", {g.head(0)}, make_params<TransposeParams>({.axes = inverse}));
}

const RegisterOp transpose{{.name = "transpose",
                            .doc = "Permutes the dimensions.\n\nShapes: output dimension i is dimension axes[i] of "
                                   "data; without axes the order is "
                                   "reversed.\n\nRaises an error if axes is no permutation.",
                            .params = schema_of<TransposeParams>(),
                            .inputs = {"data"},
                            .infer = {infer_transpose, infer::same_dtype},
                            .gradient = Gradient(transpose_gradient).only_heads(),
                            .kernels = {{"move", prepare_transpose}}}};

// ---- SwapAxis ------------------------------------------------------------------------------------------------------

struct SwapAxisParams {
  int64_t dim1 = 0, dim2 = 0;
  static void declare(ParamSchemaOf<SwapAxisParams>& s) {
    s.field("dim1", &SwapAxisParams::dim1, "The first dimension.");
    s.field("dim2", &SwapAxisParams::dim2, "The second dimension.");
  }
};

void infer_swap(InferContext& c) {
  const auto& p = c.as<SwapAxisParams>();
  const auto swapped = [&](Shape shape) {
    if (!shape.rank_known()) return shape;
    const int a = normalize_axis(p.dim1, shape.rank(), c.op.name.c_str(), "dim1");
    const int b = normalize_axis(p.dim2, shape.rank(), c.op.name.c_str(), "dim2");
    std::swap(shape[a], shape[b]);
    return shape;
  };
  c.merge_out(0, swapped(c.in[0].shape));
  c.merge_in(0, swapped(c.out[0].shape));
}

Prepared prepare_swap(const PrepareArgs& args) {
  const auto& p = args.as<SwapAxisParams>();
  Window from = Window::all(args.in[0].shape);
  const int rank = from.shape.rank();
  std::vector<int> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  std::swap(axes[normalize_axis(p.dim1, rank, "SwapAxis")], axes[normalize_axis(p.dim2, rank, "SwapAxis")]);
  return move_window(args, from.permute(axes));
}

const RegisterOp swap_axis{{.name = "SwapAxis",
                            .doc = "Exchanges two dimensions.",
                            .aliases = {"swapaxes", "_npi_swapaxes"},
                            .params = schema_of<SwapAxisParams>(),
                            .inputs = {"data"},
                            .infer = {infer_swap, infer::same_dtype},
                            .gradient = Gradient([](GradientBuilder& g) {
                                          g.give_all({0}, "SwapAxis", {g.head(0)}, g.params_ref());
                                        }).only_heads(),
                            .kernels = {{"move", prepare_swap}}}};

// ---- reverse -------------------------------------------------------------------------------------------------------

struct ReverseParams {
  Shape axis;
  static void declare(ParamSchemaOf<ReverseParams>& s) {
    s.field("axis", &ReverseParams::axis, "Dimensions to reverse.").required();
  }
};

void infer_reverse(InferContext& c) {
  infer::same_shape(c);
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  for (dim_t axis : c.as<ReverseParams>().axis) normalize_axis(axis, in.rank(), c.op.name.c_str());
}

Prepared prepare_reverse(const PrepareArgs& args) {
  Window from = Window::all(args.in[0].shape);
  std::vector<bool> flipped(from.shape.rank(), false);
  for (dim_t a : args.as<ReverseParams>().axis) {
    const int axis = normalize_axis(a, from.shape.rank(), "reverse");
    if (!flipped[axis]) from = from.flip(axis);
    flipped[axis] = true;
  }
  return move_window(args, from);
}

const RegisterOp reverse{
    {.name = "reverse",
     .doc = "Reverses the order of the elements along dimensions.\n\nShapes: the output has the shape of data.",
     .aliases = {"flip"},
     .params = schema_of<ReverseParams>(),
     .inputs = {"data"},
     .infer = {infer_reverse, infer::same_dtype},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give_all({0}, "reverse", {g.head(0)}, g.params_ref()); }).only_heads(),
     .kernels = {{"move", prepare_reverse}}}};

// ---- depth_to_space, space_to_depth --------------------------------------------------------------------------------

struct BlockParams {
  int64_t block_size = 0;
  static void declare(ParamSchemaOf<BlockParams>& s) {
    s.field("block_size", &BlockParams::block_size, "Side of the square blocks.").required().range(1, 1 << 20);
  }
};

void need_image(const InferContext& c, const Shape& in) {
  if (in.rank() != 4) c.bad(str("data must have 4 dimensions (batch, channel, height, width), got ", in));
}

void infer_depth_to_space(InferContext& c) {
  const int64_t b = c.as<BlockParams>().block_size;
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  need_image(c, in);
  if (in[1] % (b * b)) c.bad(str("the channels of data ", in, " are not divisible by block_size^2 = ", b * b));
  c.merge_out(0, Shape{in[0], in[1] / (b * b), in[2] * b, in[3] * b});
}

void infer_space_to_depth(InferContext& c) {
  const int64_t b = c.as<BlockParams>().block_size;
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  need_image(c, in);
  if (in[2] % b || in[3] % b) c.bad(str("height and width of data ", in, " are not divisible by block_size ", b));
  c.merge_out(0, Shape{in[0], in[1] * b * b, in[2] / b, in[3] / b});
}

// (n, b, b, c, h, w) seen as (n, c, h, b, w, b).
Prepared prepare_depth_to_space(const PrepareArgs& args) {
  const int64_t b = args.as<BlockParams>().block_size;
  const Shape& in = args.in[0].shape;
  const Shape split{in[0], b, b, in[1] / (b * b), in[2], in[3]};
  return move_window(args, Window::all(split).permute({0, 3, 4, 1, 5, 2}));
}

// (n, c, h, b, w, b) seen as (n, b, b, c, h, w).
Prepared prepare_space_to_depth(const PrepareArgs& args) {
  const int64_t b = args.as<BlockParams>().block_size;
  const Shape& in = args.in[0].shape;
  const Shape split{in[0], in[1], in[2] / b, b, in[3] / b, b};
  return move_window(args, Window::all(split).permute({0, 3, 5, 1, 2, 4}));
}

const RegisterOp depth_to_space{{.name = "depth_to_space",
                                 .doc =
                                     "Moves blocks of channels into squares of pixels.\n\n"
                                     "Shapes: data (n, c * b * b, h, w), output (n, c, h * b, w * b) for block_size b.",
                                 .params = schema_of<BlockParams>(),
                                 .inputs = {"data"},
                                 .infer = {infer_depth_to_space, infer::same_dtype},
                                 .gradient = Gradient([](GradientBuilder& g) {
                                               g.give_all({0}, "space_to_depth", {g.head(0)}, g.params_ref());
                                             }).only_heads(),
                                 .kernels = {{"move", prepare_depth_to_space}}}};

const RegisterOp space_to_depth{{.name = "space_to_depth",
                                 .doc =
                                     "Moves squares of pixels into channels: the inverse of depth_to_space.\n\n"
                                     "Shapes: data (n, c, h * b, w * b), output (n, c * b * b, h, w) for block_size b.",
                                 .params = schema_of<BlockParams>(),
                                 .inputs = {"data"},
                                 .infer = {infer_space_to_depth, infer::same_dtype},
                                 .gradient = Gradient([](GradientBuilder& g) {
                                               g.give_all({0}, "depth_to_space", {g.head(0)}, g.params_ref());
                                             }).only_heads(),
                                 .kernels = {{"move", prepare_space_to_depth}}}};

}  // namespace
}  // namespace mxnet::ops
