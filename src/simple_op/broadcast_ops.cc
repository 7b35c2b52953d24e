// SPDX-License-Identifier: Apache-2.0
// Operators that repeat an array along axes.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

// Merges an output shape with what `target` asks along each axis: -1 keeps the input's size.
void merge_broadcast(InferContext& c, const Shape& target) {
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (target.rank() != in.rank()) {
    c.bad(str("expected a shape of ", in.rank(), " axes for data of shape ", in, ", got ", target));
  }
  Shape out = in;
  for (int i = 0; i < in.rank(); ++i) {
    if (target[i] < 0 || target[i] == in[i]) continue;
    if (in[i] > 1 || in[i] == 0)
      c.bad(str("axis ", i, " of shape ", in, " has more than one element; it cannot become ", target[i]));
    if (in[i] == 1) out[i] = target[i];
  }
  c.merge_out(0, out);
}

struct BroadcastToParams {
  Shape shape;
  static void declare(ParamSchemaOf<BroadcastToParams>& s) {
    s.field("shape", &BroadcastToParams::shape, "The shape of the output; 0 keeps the size of that axis.");
  }
};
void infer_broadcast_to(InferContext& c) {
  Shape target = c.as<BroadcastToParams>().shape;
  for (int i = 0; i < target.rank(); ++i) {
    if (target[i] == 0) target[i] = -1;
  }
  merge_broadcast(c, target);
}

struct BroadcastAxisParams {
  Shape axis, size;
  static void declare(ParamSchemaOf<BroadcastAxisParams>& s) {
    s.field("axis", &BroadcastAxisParams::axis, "Axes to repeat along; each has size 1 in data.");
    s.field("size", &BroadcastAxisParams::size, "Their sizes in the output.");
    s.validate([](const BroadcastAxisParams& p) {
      if (p.axis.rank() == p.size.rank()) return;
      fail(ErrorKind::value, "axis and size have ", p.axis.rank(), " and ", p.size.rank(),
           " elements; they must agree");
    });
  }
};
void infer_broadcast_axis(InferContext& c) {
  if (!c.in[0].shape.rank_known()) return;
  const auto& p = c.as<BroadcastAxisParams>();
  Shape target = Shape::of_rank(c.in[0].shape.rank());
  for (int i = 0; i < p.axis.rank(); ++i) {
    target[normalize_axis(p.axis[i], target.rank(), c.op.name.c_str())] = p.size[i];
  }
  merge_broadcast(c, target);
}

struct BroadcastLikeParams {
  std::optional<Shape> lhs_axes, rhs_axes;
  static void declare(ParamSchemaOf<BroadcastLikeParams>& s) {
    s.field("lhs_axes", &BroadcastLikeParams::lhs_axes, "Axes of lhs to repeat along; all if None.");
    s.field("rhs_axes", &BroadcastLikeParams::rhs_axes, "The axes of rhs whose sizes they take.");
    s.validate([](const BroadcastLikeParams& p) {
      const auto count = [](const std::optional<Shape>& axes) { return axes ? axes->rank() : 0; };
      if (count(p.lhs_axes) == count(p.rhs_axes)) return;
      fail(ErrorKind::value, "lhs_axes and rhs_axes must be given together and have the same length");
    });
  }
};
void infer_broadcast_like(InferContext& c) {
  const Shape &lhs = c.in[0].shape, &rhs = c.in[1].shape;
  if (!lhs.rank_known() || !rhs.rank_known()) return;
  const auto& p = c.as<BroadcastLikeParams>();
  if (!p.lhs_axes || p.lhs_axes->rank() == 0) return merge_broadcast(c, rhs);
  Shape target = Shape::of_rank(lhs.rank());
  for (int i = 0; i < p.lhs_axes->rank(); ++i) {
    const int from = normalize_axis((*p.rhs_axes)[i], rhs.rank(), c.op.name.c_str(), "rhs_axes");
    target[normalize_axis((*p.lhs_axes)[i], lhs.rank(), c.op.name.c_str(), "lhs_axes")] = rhs[from];
  }
  merge_broadcast(c, target);
}

void sum_back(GradientBuilder& g) { g.give_reduced(0, g.head(0)); }

// The second input only gives a shape: it must not take part in the walk over elements.
void ignore_second(const Params&, std::span<TensorSpec> in) { in[1].shape = Shape(); }

const bool registered = [] {
  const auto same = [](int, int) { return Expr::input(0); };
  const Gradient gradient = Gradient(sum_back).without_outputs();
  register_elementwise({.name = "broadcast_to",
                        .doc = "Repeats an array along axes of size 1 up to a shape.\n\nShapes: data with as many axes "
                               "as `shape`. Dtype: any, kept.",
                        .inputs = {"data"},
                        .info = {.formula = same},
                        .params = schema_of<BroadcastToParams>(),
                        .shape = infer_broadcast_to,
                        .gradient = gradient});
  register_elementwise(
      {.name = "broadcast_axis",
       .doc = "Repeats an array along the given axes of size 1.\n\nShapes: data (any). Dtype: any, kept.",
       .aliases = {"broadcast_axes"},
       .inputs = {"data"},
       .info = {.formula = same},
       .params = schema_of<BroadcastAxisParams>(),
       .shape = infer_broadcast_axis,
       .gradient = gradient});
  register_elementwise({.name = "broadcast_like",
                        .doc = "Repeats the first array along axes of size 1 up to the second's shape.\n\nShapes: lhs "
                               "and rhs with as many axes, or the axes given. Dtype: that of lhs.",
                        .inputs = {"lhs", "rhs"},
                        .info = {.formula = same, .adjust = ignore_second},
                        .params = schema_of<BroadcastLikeParams>(),
                        .shape = infer_broadcast_like,
                        .dtype = infer::float_like_input,
                        .gradient = gradient});
  register_elementwise({.name = "_spread_like",
                        .doc = "Broadcasts the first array to the shape of the second.",
                        .inputs = {"lhs", "rhs"},
                        .info = {.formula = same, .broadcasts = true},
                        .dtype = infer::float_like_input,
                        .hidden = true});
  return true;
}();

}  // namespace
}  // namespace mxnet
