// SPDX-License-Identifier: Apache-2.0
// Operators that read elements more than once: tile, repeat, Pad; and diag.
#include <numeric>
#include <optional>
#include <vector>

#include "operator/op.h"
#include "ops/tensor/axis_maps.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

void infer_backward_like_first(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_head_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }

// The hidden gradient operators of this file read (data, head).
template <const char* Name>
void give_backward(GradientBuilder& g) {
  g.give_all({0}, Name, {g.input(0), g.head(0)}, g.params_ref());
}
template <const char* Name>
void give_forward_again(GradientBuilder& g) {
  g.give_all({1}, Name, {g.head(0)}, g.params_ref());
}

// ---- tile ----------------------------------------------------------------------------------------------------------

struct TileParams {
  Shape reps;
  static void declare(ParamSchemaOf<TileParams>& s) {
    s.field("reps", &TileParams::reps, "How often each dimension is repeated, aligned at the last one.").required();
    s.validate([](const TileParams& p) {
      for (dim_t r : p.reps) {
        if (r < 0) fail(ErrorKind::value, "reps must not be negative, got ", p.reps);
      }
    });
  }
};

// Shape and repetitions at the common rank.
struct Tiling {
  Shape shape, reps, out;
  Tiling(const Shape& in, const Shape& r) {
    const int rank = std::max(in.rank(), r.rank());
    shape = reps = Shape::of_rank(rank, 1);
    for (int i = 0; i < in.rank(); ++i) shape[rank - in.rank() + i] = in[i];
    for (int i = 0; i < r.rank(); ++i) reps[rank - r.rank() + i] = r[i];
    out = shape;
    for (int i = 0; i < rank; ++i) out[i] = shape[i] < 0 ? -1 : shape[i] * reps[i];
  }
};

void infer_tile(InferContext& c) {
  if (c.in[0].shape.rank_known()) c.merge_out(0, Tiling(c.in[0].shape, c.as<TileParams>().reps).out);
}

Prepared prepare_tile(const PrepareArgs& args) {
  const Tiling t(args.in[0].shape, args.as<TileParams>().reps);
  const Shape in_strides = strides_of(t.shape), out_strides = strides_of(t.out);
  Window from{Shape(), Shape(), 0}, to = from;
  for (int i = 0; i < t.shape.rank(); ++i) {
    from.shape.push_back(t.reps[i]);
    from.strides.push_back(0);
    to.strides.push_back(out_strides[i] * t.shape[i]);
    from.shape.push_back(t.shape[i]);
    from.strides.push_back(in_strides[i]);
    to.strides.push_back(out_strides[i]);
  }
  to.shape = from.shape;
  MoveKernel kernel;
  kernel.copy(0, to, 0, from, args.in[0].dtype);
  return kernel.finish();
}

Prepared prepare_tile_backward(const PrepareArgs& args) {
  const Tiling t(args.in[0].shape, args.as<TileParams>().reps);
  AxisMaps maps(t.out.rank());
  for (int d = 0; d < t.out.rank(); ++d) {
    for (int64_t o = 0; o < t.out[d]; ++o) maps[d].push_back(o % t.shape[d]);
  }
  if (t.out.rank() == 0) return prepare_copy(args);
  return sum_maps(t.shape, t.out, args.in[1].dtype, maps, 1);
}

constexpr char kTile[] = "tile", kTileBackward[] = "_backward_tile";

const RegisterOp tile{
    {.name = kTile,
     .doc = "Repeats the whole array along dimensions.\n\n"
            "Shapes: output dimension i is dimension i of data times reps[i], both aligned at the last dimension.",
     .aliases = {"_npi_tile"},
     .params = schema_of<TileParams>(),
     .inputs = {"data"},
     .infer = {infer_tile, infer::same_dtype},
     .gradient = Gradient(give_backward<kTileBackward>).without_outputs(),
     .kernels = {{"move", prepare_tile}}}};

const RegisterOp backward_tile{{.name = kTileBackward,
                                .doc = "Gradient of tile: the sum of the heads of all copies of an element.",
                                .params = schema_of<TileParams>(),
                                .inputs = {"data", "head"},
                                .infer = {infer_backward_like_first, infer_head_dtype},
                                .gradient = Gradient(give_forward_again<kTile>).only_heads(),
                                .kernels = {{"index", prepare_tile_backward}},
                                .flags = {.hidden = true}}};

// ---- repeat --------------------------------------------------------------------------------------------------------

struct RepeatParams {
  int64_t repeats = 1;
  std::optional<int64_t> axis;
  static void declare(ParamSchemaOf<RepeatParams>& s) {
    s.field("repeats", &RepeatParams::repeats, "How often each element is repeated.").required().range(0, 1e15);
    s.field("axis", &RepeatParams::axis, "The dimension; None repeats the flattened array.");
  }
};

void infer_repeat(InferContext& c) {
  const auto& p = c.as<RepeatParams>();
  Shape in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (!p.axis) {
    c.merge_out(0, Shape{in.known() ? in.size() * p.repeats : -1});
    return;
  }
  const int axis = normalize_axis(*p.axis, in.rank(), c.op.name.c_str());
  if (in[axis] >= 0) in[axis] *= p.repeats;
  c.merge_out(0, in);
}

// (before, size, after): each of the `size` slices is repeated.
Shape repeat_split(const RepeatParams& p, const Shape& in) {
  if (!p.axis) return {1, in.size(), 1};
  const int axis = normalize_axis(*p.axis, in.rank(), "repeat");
  return {in.size(0, axis), in[axis], in.size(axis + 1, in.rank())};
}

Prepared prepare_repeat(const PrepareArgs& args) {
  const auto& p = args.as<RepeatParams>();
  const Shape split = repeat_split(p, args.in[0].shape);
  const Window from = Window::all(split).insert_axis(2, p.repeats, 0);
  MoveKernel kernel;
  kernel.copy(0, Window::all(from.shape), 0, from, args.in[0].dtype);
  return kernel.finish();
}

Prepared prepare_repeat_backward(const PrepareArgs& args) {
  const auto& p = args.as<RepeatParams>();
  const Shape split = repeat_split(p, args.in[0].shape);
  const Shape out{split[0], split[1] * p.repeats, split[2]};
  AxisMaps maps(3);
  for (int d = 0; d < 3; ++d) {
    maps[d].resize(out[d]);
    std::iota(maps[d].begin(), maps[d].end(), 0);
  }
  for (int64_t& o : maps[1]) o /= p.repeats;
  return sum_maps(split, out, args.in[1].dtype, maps, 1);
}

constexpr char kRepeat[] = "repeat", kRepeatBackward[] = "_backward_repeat";

const RegisterOp repeat{{.name = kRepeat,
                         .doc = "Repeats each element, along a dimension or of the flattened array.",
                         .aliases = {"_np_repeat"},
                         .params = schema_of<RepeatParams>(),
                         .inputs = {"data"},
                         .infer = {infer_repeat, infer::same_dtype},
                         .gradient = Gradient(give_backward<kRepeatBackward>).without_outputs(),
                         .kernels = {{"move", prepare_repeat}}}};

const RegisterOp backward_repeat{{.name = kRepeatBackward,
                                  .doc = "Gradient of repeat: the sum of the heads of all copies of an element.",
                                  .params = schema_of<RepeatParams>(),
                                  .inputs = {"data", "head"},
                                  .infer = {infer_backward_like_first, infer_head_dtype},
                                  .gradient = Gradient(give_forward_again<kRepeat>).only_heads(),
                                  .kernels = {{"index", prepare_repeat_backward}},
                                  .flags = {.hidden = true}}};

// ---- Pad -----------------------------------------------------------------------------------------------------------

enum class PadMode { constant, edge, reflect };

struct PadParams {
  PadMode mode = PadMode::constant;
  Shape pad_width;
  double constant_value = 0;
  static void declare(ParamSchemaOf<PadParams>& s) {
    s.choice("mode", &PadParams::mode,
             {{"constant", PadMode::constant}, {"edge", PadMode::edge}, {"reflect", PadMode::reflect}},
             "What the border holds: a number, the nearest element, or the elements mirrored at the edge.")
        .required();
    s.field("pad_width", &PadParams::pad_width, "Elements before and after each dimension: (b0, a0, b1, a1, ...).")
        .required();
    s.field("constant_value", &PadParams::constant_value, "The number for mode constant.");
    s.validate([](const PadParams& p) {
      for (dim_t w : p.pad_width) {
        if (w < 0) fail(ErrorKind::value, "pad_width must not be negative, got ", p.pad_width);
      }
    });
  }
};

void infer_pad(InferContext& c) {
  const auto& p = c.as<PadParams>();
  Shape in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (p.pad_width.rank() != 2 * in.rank()) {
    c.bad(str("pad_width must have two entries for each of the ", in.rank(), " dimensions of data, got ", p.pad_width));
  }
  for (int d = 0; d < in.rank(); ++d) {
    if (in[d] < 0) continue;
    const int64_t before = p.pad_width[2 * d], after = p.pad_width[2 * d + 1];
    const int64_t most = p.mode == PadMode::reflect ? in[d] - 1 : in[d] > 0 ? INT64_MAX : 0;
    if (p.mode != PadMode::constant && std::max(before, after) > std::max<int64_t>(most, 0)) {
      c.bad(str("pad_width ", before, ", ", after, " of dimension ", d, " is too wide for size ", in[d],
                " in this mode"));
    }
    in[d] += before + after;
  }
  c.merge_out(0, in);
}

AxisMaps pad_maps(const PadParams& p, const Shape& in) {
  AxisMaps maps(in.rank());
  for (int d = 0; d < in.rank(); ++d) {
    const int64_t before = p.pad_width[2 * d], after = p.pad_width[2 * d + 1], n = in[d];
    for (int64_t o = -before; o < n + after; ++o) {
      const int64_t mirrored = o < 0 ? -o : o >= n ? 2 * (n - 1) - o : o;
      maps[d].push_back(p.mode == PadMode::edge ? std::clamp<int64_t>(o, 0, n - 1) : mirrored);
    }
  }
  return maps;
}

Window pad_inside(const PadParams& p, const Shape& in, const Shape& out) {
  Window w = Window::all(out);
  for (int d = 0; d < in.rank(); ++d) w = w.narrow(d, p.pad_width[2 * d], in[d]);
  return w;
}

Prepared prepare_pad(const PrepareArgs& args) {
  const auto& p = args.as<PadParams>();
  const Shape &in = args.in[0].shape, &out = args.out[0].shape;
  const DType dtype = args.in[0].dtype;
  if (in.rank() == 0) return prepare_copy(args);
  if (p.mode != PadMode::constant) return gather_maps(in, out, dtype, pad_maps(p, in));
  MoveKernel kernel;
  kernel.fill(0, out, dtype, p.constant_value);
  kernel.copy(0, pad_inside(p, in, out), 0, Window::all(in), dtype);
  return kernel.finish();
}

Prepared prepare_pad_backward(const PrepareArgs& args) {
  const auto& p = args.as<PadParams>();
  const Shape &in = args.in[0].shape, &head = args.in[1].shape;
  const DType dtype = args.in[1].dtype;
  if (p.mode != PadMode::constant && in.rank() > 0) return sum_maps(in, head, dtype, pad_maps(p, in), 1);
  MoveKernel kernel;
  kernel.copy(0, Window::all(in), 1, pad_inside(p, in, head), dtype);
  return kernel.finish();
}

constexpr char kPad[] = "Pad", kPadBackward[] = "_backward_Pad";

void pad_backward_gradient(GradientBuilder& g) {
  PadParams p = g.params<PadParams>();
  p.constant_value = 0;
  g.give_all({1}, kPad, {g.head(0)}, make_params<PadParams>(p));
}

const RegisterOp pad{
    {.name = kPad,
     .doc =
         "Adds a border.\n\nShapes: output dimension i is pad_width[2i] + dimension i of data + pad_width[2i + 1].\n\n"
         "Raises an error if the border of mode reflect is wider than the dimension less one.",
     .aliases = {"pad"},
     .params = schema_of<PadParams>(),
     .inputs = {"data"},
     .infer = {infer_pad, infer::same_dtype},
     .gradient = Gradient(give_backward<kPadBackward>).without_outputs(),
     .kernels = {{"move", prepare_pad}}}};

const RegisterOp backward_pad{{.name = kPadBackward,
                               .doc = "Gradient of Pad.",
                               .params = schema_of<PadParams>(),
                               .inputs = {"data", "head"},
                               .infer = {infer_backward_like_first, infer_head_dtype},
                               .gradient = Gradient(pad_backward_gradient).only_heads(),
                               .kernels = {{"index", prepare_pad_backward}},
                               .flags = {.hidden = true}}};

// ---- diag ----------------------------------------------------------------------------------------------------------

struct DiagParams {
  int64_t k = 0, axis1 = 0, axis2 = 1;
  static void declare(ParamSchemaOf<DiagParams>& s) {
    s.field("k", &DiagParams::k, "Which diagonal: above the main one when positive, below when negative.");
    s.field("axis1", &DiagParams::axis1, "Rows of the matrices, for data of more than one dimension.");
    s.field("axis2", &DiagParams::axis2, "Columns of the matrices.");
  }
};

// The diagonal as a window: the other dimensions, then the diagonal.
Window diagonal_of(const DiagParams& p, const Shape& in, const OpDef& op) {
  const Window all = Window::all(in);
  const int a = normalize_axis(p.axis1, in.rank(), op.name.c_str(), "axis1");
  const int b = normalize_axis(p.axis2, in.rank(), op.name.c_str(), "axis2");
  if (a == b) fail(ErrorKind::value, op.name, ": axis1 and axis2 are the same dimension ", a);
  Window w;
  for (int d = 0; d < in.rank(); ++d) {
    if (d == a || d == b) continue;
    w.shape.push_back(in[d]);
    w.strides.push_back(all.strides[d]);
  }
  const int64_t length = p.k >= 0 ? std::min(in[a], in[b] - p.k) : std::min(in[a] + p.k, in[b]);
  w.shape.push_back(in[a] < 0 || in[b] < 0 ? -1 : std::max<int64_t>(length, 0));
  w.strides.push_back(all.strides[a] + all.strides[b]);
  if (length > 0) w.offset = p.k >= 0 ? p.k * all.strides[b] : -p.k * all.strides[a];
  return w;
}

Window diagonal_of_square(int64_t k, int64_t side) {
  const int64_t length = side - std::abs(k);
  return {Shape{length}, Shape{side + 1}, k >= 0 ? k : -k * side};
}

void infer_diag(InferContext& c) {
  const auto& p = c.as<DiagParams>();
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (in.rank() == 0) c.bad("data must have at least one dimension, got a scalar");
  if (in.rank() == 1) {
    const int64_t side = in[0] < 0 ? -1 : in[0] + std::abs(p.k);
    c.merge_out(0, Shape{side, side});
    return;
  }
  const Shape out = diagonal_of(p, in, c.op).shape;
  if (out.back() == 0) c.bad(str("diagonal k = ", p.k, " lies outside of data ", in));
  c.merge_out(0, out);
}

Prepared prepare_diag(const PrepareArgs& args) {
  const auto& p = args.as<DiagParams>();
  const Shape &in = args.in[0].shape, &out = args.out[0].shape;
  const DType dtype = args.in[0].dtype;
  MoveKernel kernel;
  if (in.rank() == 1) {
    kernel.fill(0, out, dtype, 0);
    kernel.copy(0, diagonal_of_square(p.k, out[0]), 0, Window::all(in), dtype);
  } else {
    kernel.copy(0, Window::all(out), 0, diagonal_of(p, in, args.op), dtype);
  }
  return kernel.finish();
}

Prepared prepare_diag_backward(const PrepareArgs& args) {
  const auto& p = args.as<DiagParams>();
  const Shape &in = args.in[0].shape, &head = args.in[1].shape;
  const DType dtype = args.in[1].dtype;
  MoveKernel kernel;
  if (in.rank() == 1) {
    kernel.copy(0, Window::all(in), 1, diagonal_of_square(p.k, head[0]), dtype);
  } else {
    kernel.fill(0, in, dtype, 0);
    kernel.copy(0, diagonal_of(p, in, args.op), 1, Window::all(head), dtype);
  }
  return kernel.finish();
}

constexpr char kDiag[] = "diag", kDiagBackward[] = "_backward_diag";

const RegisterOp diag{
    {.name = kDiag,
     .doc = "A diagonal matrix of a 1-d array, or the diagonals of the matrices of an array with more dimensions.\n\n"
            "Shapes: (n,) to (n + |k|, n + |k|); else the dimensions without axis1 and axis2, then the diagonal.",
     .params = schema_of<DiagParams>(),
     .inputs = {"data"},
     .infer = {infer_diag, infer::same_dtype},
     .gradient = Gradient(give_backward<kDiagBackward>).without_outputs(),
     .kernels = {{"move", prepare_diag}}}};

const RegisterOp backward_diag{{.name = kDiagBackward,
                                .doc = "Gradient of diag.",
                                .params = schema_of<DiagParams>(),
                                .inputs = {"data", "head"},
                                .infer = {infer_backward_like_first, infer_head_dtype},
                                .gradient = Gradient(give_forward_again<kDiag>).only_heads(),
                                .kernels = {{"move", prepare_diag_backward}},
                                .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::ops
