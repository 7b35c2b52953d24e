// SPDX-License-Identifier: Apache-2.0
// Joining and cutting along one dimension: Concat, stack, SliceChannel (split), _split_v2.
#include <numeric>
#include <vector>

#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

std::vector<int> first_n(int n) {
  std::vector<int> list(n);
  std::iota(list.begin(), list.end(), 0);
  return list;
}

std::vector<Value> heads_of(GradientBuilder& g, int n) {
  std::vector<Value> heads;
  for (int i = 0; i < n; ++i) heads.push_back(g.head(i));
  return heads;
}

struct ConcatParams {
  int64_t num_args = 0;
  int64_t dim = 1;
  static void declare(ParamSchemaOf<ConcatParams>& s) {
    s.field("num_args", &ConcatParams::num_args, "Number of arrays.");
    s.field("dim", &ConcatParams::dim, "The dimension along which they are joined.");
  }
};

struct StackParams {
  int64_t axis = 0;
  int64_t num_args = 0;
  static void declare(ParamSchemaOf<StackParams>& s) {
    s.field("axis", &StackParams::axis, "Where the new dimension goes.");
    s.field("num_args", &StackParams::num_args, "Number of arrays.");
  }
};

struct SplitParams {
  int64_t num_outputs = 1;
  int64_t axis = 1;
  bool squeeze_axis = false;
  static void declare(ParamSchemaOf<SplitParams>& s) {
    s.field("num_outputs", &SplitParams::num_outputs, "Number of pieces.").required().range(1, 1 << 24);
    s.field("axis", &SplitParams::axis, "The dimension that is cut.");
    s.field("squeeze_axis", &SplitParams::squeeze_axis, "Drop the dimension, whose size must then be num_outputs.");
  }
};

// ---- Concat --------------------------------------------------------------------------------------------------------

void merge_dim(const InferContext& c, int64_t& into, int64_t d, int arg, int axis) {
  if (into < 0) into = d;
  if (d >= 0 && d != into) {
    c.bad(str(c.name_in(arg), " has size ", d, " in dimension ", axis, ", the others have ", into));
  }
}

void infer_concat(InferContext& c) {
  int rank = c.out[0].shape.rank();
  for (const TensorSpec& in : c.in) rank = std::max(rank, in.shape.rank());
  if (rank < 0) return;
  if (rank == 0) c.bad("scalars cannot be joined: data must have at least one dimension");
  const int dim = normalize_axis(c.as<ConcatParams>().dim, rank, c.op.name.c_str(), "dim");
  Shape common = Shape::of_rank(rank);
  int64_t total = 0;
  int missing = -1, unknown = 0;
  for (int i = 0; i < static_cast<int>(c.in.size()); ++i) {
    const Shape& in = c.in[i].shape;
    if (in.rank_known() && in.rank() != rank) {
      c.bad(str(c.name_in(i), " has ", in.rank(), " dimensions ", in, ", the others have ", rank));
    }
    for (int d = 0; in.rank_known() && d < rank; ++d) {
      if (d != dim) merge_dim(c, common[d], in[d], i, d);
    }
    if (in.rank_known() && in[dim] >= 0)
      total += in[dim];
    else
      missing = i, ++unknown;
  }
  common[dim] = unknown ? -1 : total;
  c.merge_out(0, common);
  const Shape out = c.out[0].shape;
  for (int i = 0; i < static_cast<int>(c.in.size()); ++i) {
    Shape in = out;
    in[dim] = unknown == 1 && i == missing && out[dim] >= 0 ? out[dim] - total : -1;
    c.merge_in(i, in);
  }
}

Prepared prepare_concat(const PrepareArgs& args) {
  const Shape& out = args.out[0].shape;
  const int dim = normalize_axis(args.as<ConcatParams>().dim, out.rank(), "Concat");
  MoveKernel kernel;
  int64_t at = 0;
  for (size_t i = 0; i < args.in.size(); ++i) {
    const Shape& in = args.in[i].shape;
    kernel.copy(0, Window::all(out).narrow(dim, at, in[dim]), static_cast<int>(i), Window::all(in), args.out[0].dtype);
    at += in[dim];
  }
  return kernel.finish();
}

void concat_gradient(GradientBuilder& g) {
  const int n = g.num_inputs();
  std::vector<Value> in{g.head(0)};
  for (int i = 0; i < n; ++i) in.push_back(g.input(i));
  const auto params = make_params<ConcatParams>({.num_args = n + 1, .dim = g.params<ConcatParams>().dim});
  g.give_all(first_n(n), get_op("_backward_Concat"), params, in);
}

const RegisterOp concat{{.name = "Concat",
                         .doc = "Joins arrays along a dimension.\n\n"
                                "Shapes: the arrays agree in all other dimensions. Dtypes: all the same.",
                         .aliases = {"concat", "_sparse_concat"},
                         .params = schema_of<ConcatParams>(),
                         .inputs = Inputs::variadic("num_args"),
                         .infer = {infer_concat, infer::same_dtype},
                         .gradient = Gradient(concat_gradient).without_outputs(),
                         .kernels = {{"move", prepare_concat}},
                         .flags = {.precision = Precision::widest}}};

// Several unknown inputs are the first layer's weights for the features, which have one size.
void infer_rnn_param_concat(InferContext& c) {
  infer_concat(c);
  const Shape out = c.out[0].shape;
  if (out.rank() != 1 || out[0] < 0) return;
  int64_t rest = out[0], unknown = 0;
  for (const TensorSpec& in : c.in) {
    if (in.shape[0] < 0)
      ++unknown;
    else
      rest -= in.shape[0];
  }
  if (unknown < 2 || rest < 0 || rest % unknown != 0) return;
  for (size_t i = 0; i < c.in.size(); ++i) {
    if (c.in[i].shape[0] < 0) c.merge_in(static_cast<int>(i), {rest / unknown});
  }
}

const RegisterOp rnn_param_concat{{.name = "_rnn_param_concat",
                                   .doc = "Joins the flat parameters of recurrent layers to the vector that RNN takes.",
                                   .aliases = {"_npi_rnn_param_concat"},
                                   .params = schema_of<ConcatParams>(),
                                   .inputs = Inputs::variadic("num_args"),
                                   .infer = {infer_rnn_param_concat, infer::same_dtype},
                                   .gradient = Gradient(concat_gradient).without_outputs(),
                                   .kernels = {{"move", prepare_concat}}}};

void infer_concat_backward(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[i + 1].shape);
}

Prepared prepare_concat_backward(const PrepareArgs& args) {
  const Shape& head = args.in[0].shape;
  const int dim = normalize_axis(args.as<ConcatParams>().dim, head.rank(), "Concat");
  MoveKernel kernel;
  int64_t at = 0;
  for (size_t i = 0; i < args.out.size(); ++i) {
    const Shape& out = args.out[i].shape;
    if (args.req[i] != Req::null) {
      kernel.copy(static_cast<int>(i), Window::all(out), 0, Window::all(head).narrow(dim, at, out[dim]),
                  args.in[0].dtype);
    }
    at += out[dim];
  }
  return kernel.finish();
}

void concat_backward_gradient(GradientBuilder& g) {
  const int n = g.num_inputs() - 1;
  const auto params = make_params<ConcatParams>({.num_args = n, .dim = g.params<ConcatParams>().dim});
  g.give_all(first_n(1), get_op("Concat"), params, heads_of(g, n));
}

void infer_all_outputs_first_dtype(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), c.in[0].dtype);
}

const RegisterOp backward_concat{
    {.name = "_backward_Concat",
     .doc = "Gradient of Concat. Inputs: the head, then the arrays that were joined (their shapes are read).",
     .params = schema_of<ConcatParams>(),
     .inputs = Inputs::variadic("num_args"),
     .outputs = Outputs([](const Params& p) { return static_cast<int>(p.as<ConcatParams>().num_args) - 1; }),
     .infer = {infer_concat_backward, infer_all_outputs_first_dtype},
     .gradient = Gradient(concat_backward_gradient).only_heads(),
     .kernels = {{"move", prepare_concat_backward}},
     .flags = {.hidden = true}}};

// ---- stack ---------------------------------------------------------------------------------------------------------

void infer_stack(InferContext& c) {
  const int64_t n = static_cast<int64_t>(c.in.size());
  for (int i = 1; i < n; ++i) {
    c.merge_in(0, c.in[i].shape);
  }
  for (int i = 1; i < n; ++i) c.merge_in(i, c.in[0].shape);
  if (c.in[0].shape.rank_known()) {
    Shape out = c.in[0].shape;
    out.insert(normalize_axis(c.as<StackParams>().axis, out.rank() + 1, c.op.name.c_str()), n);
    c.merge_out(0, out);
  }
  if (c.out[0].shape.rank() > 0) {
    Shape in = c.out[0].shape;
    in.erase(normalize_axis(c.as<StackParams>().axis, in.rank(), c.op.name.c_str()));
    for (int i = 0; i < n; ++i) c.merge_in(i, in);
  }
}

Prepared prepare_stack(const PrepareArgs& args) {
  const Shape& out = args.out[0].shape;
  const int axis = normalize_axis(args.as<StackParams>().axis, out.rank(), "stack");
  MoveKernel kernel;
  for (size_t i = 0; i < args.in.size(); ++i) {
    Shape one = args.in[i].shape;
    one.insert(axis, 1);
    kernel.copy(0, Window::all(out).narrow(axis, static_cast<int64_t>(i), 1), static_cast<int>(i), Window::all(one),
                args.out[0].dtype);
  }
  return kernel.finish();
}

void stack_gradient(GradientBuilder& g) {
  const int n = g.num_inputs();
  const auto params =
      make_params<SplitParams>({.num_outputs = n, .axis = g.params<StackParams>().axis, .squeeze_axis = true});
  const Value head = g.head(0);
  g.give_all(first_n(n), get_op("SliceChannel"), params, {&head, 1});
}

const RegisterOp stack{{.name = "stack",
                        .doc = "Joins arrays of one shape along a new dimension.",
                        .params = schema_of<StackParams>(),
                        .inputs = Inputs::variadic("num_args"),
                        .infer = {infer_stack, infer::same_dtype},
                        .gradient = Gradient(stack_gradient).only_heads(),
                        .kernels = {{"move", prepare_stack}},
                        .flags = {.precision = Precision::widest}}};

// ---- SliceChannel --------------------------------------------------------------------------------------------------

void infer_split(InferContext& c) {
  const auto& p = c.as<SplitParams>();
  Shape in = c.in[0].shape;
  if (!in.rank_known()) return;
  const int axis = normalize_axis(p.axis, in.rank(), c.op.name.c_str());
  if (in[axis] >= 0 && in[axis] % p.num_outputs) {
    c.bad(str("dimension ", axis, " of data ", in, " does not divide into num_outputs = ", p.num_outputs,
              " equal pieces"));
  }
  if (in[axis] >= 0 && p.squeeze_axis && in[axis] != p.num_outputs) {
    c.bad(str("squeeze_axis needs pieces of size 1: dimension ", axis, " of data ", in, " has size ", in[axis],
              ", num_outputs is ", p.num_outputs));
  }
  Shape piece = in;
  if (in[axis] >= 0) piece[axis] = in[axis] / p.num_outputs;
  if (p.squeeze_axis) piece.erase(axis);
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), piece);
}

// Cuts input 0 along `axis` into pieces that start at `begins`.
Prepared move_pieces(const PrepareArgs& args, int axis, const std::vector<int64_t>& begins) {
  const Shape& in = args.in[0].shape;
  MoveKernel kernel;
  for (size_t i = 0; i < begins.size(); ++i) {
    if (args.req[i] == Req::null) continue;
    const int64_t end = i + 1 < begins.size() ? begins[i + 1] : in[axis];
    const Window from = Window::all(in).narrow(axis, begins[i], end - begins[i]);
    kernel.copy(static_cast<int>(i), Window::all(from.shape), 0, from, args.in[0].dtype);
  }
  return kernel.finish();
}

Prepared prepare_split(const PrepareArgs& args) {
  const auto& p = args.as<SplitParams>();
  const Shape& in = args.in[0].shape;
  const int axis = normalize_axis(p.axis, in.rank(), "SliceChannel");
  std::vector<int64_t> begins(p.num_outputs);
  for (int64_t i = 0; i < p.num_outputs; ++i) begins[i] = i * (in[axis] / p.num_outputs);
  return move_pieces(args, axis, begins);
}

// The pieces' gradients side by side again.
void join_heads(GradientBuilder& g, int n, int64_t axis, bool squeezed) {
  const std::vector<Value> heads = heads_of(g, n);
  if (squeezed) {
    g.give_all(first_n(1), get_op("stack"), make_params<StackParams>({.axis = axis, .num_args = n}), heads);
  } else {
    g.give_all(first_n(1), get_op("Concat"), make_params<ConcatParams>({.num_args = n, .dim = axis}), heads);
  }
}

const RegisterOp split{
    {.name = "SliceChannel",
     .doc = "Cuts an array into equal pieces along a dimension.\n\n"
            "Raises an error if the dimension does not divide.",
     .aliases = {"split"},
     .params = schema_of<SplitParams>(),
     .inputs = {"data"},
     .outputs = Outputs([](const Params& p) { return static_cast<int>(p.as<SplitParams>().num_outputs); }),
     .infer = {infer_split, infer_all_outputs_first_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   const auto& p = g.params<SplitParams>();
                   join_heads(g, static_cast<int>(p.num_outputs), p.axis, p.squeeze_axis);
                 }).only_heads(),
     .kernels = {{"move", prepare_split}}}};

// ---- _split_v2 -----------------------------------------------------------------------------------------------------

struct SplitV2Params {
  Shape indices;
  int64_t axis = 1;
  bool squeeze_axis = false;
  int64_t sections = 0;
  static void declare(ParamSchemaOf<SplitV2Params>& s) {
    s.field("indices", &SplitV2Params::indices, "Where each piece begins; the first is 0.").required();
    s.field("axis", &SplitV2Params::axis, "The dimension that is cut.");
    s.field("squeeze_axis", &SplitV2Params::squeeze_axis, "Drop the dimension; each piece must have size 1.");
    s.field("sections", &SplitV2Params::sections, "If positive: the number of equal pieces, instead of indices.")
        .range(-(1 << 24), 1 << 24);
  }
  int pieces() const { return static_cast<int>(sections > 0 ? sections : std::max(0, indices.rank())); }
};

std::vector<int64_t> split_begins(const SplitV2Params& p, int64_t extent, const OpDef& op) {
  std::vector<int64_t> begins;
  if (p.indices.rank_known()) begins.assign(p.indices.begin(), p.indices.end());
  if (p.sections > 0) {
    if (extent % p.sections) {
      fail(ErrorKind::value, op.name, ": a dimension of ", extent, " does not divide into ", p.sections,
           " equal sections");
    }
    begins.resize(p.sections);
    for (int64_t i = 0; i < p.sections; ++i) begins[i] = i * (extent / p.sections);
    return begins;
  }
  if (begins.empty() || begins[0] != 0) fail(ErrorKind::value, op.name, ": indices must begin with 0, got ", p.indices);
  for (size_t i = 0; i < begins.size(); ++i) {
    const int64_t end = i + 1 < begins.size() ? begins[i + 1] : extent;
    if (begins[i] > end || end > extent) {
      fail(ErrorKind::value, op.name, ": indices ", p.indices, " do not rise within a dimension of size ", extent);
    }
  }
  return begins;
}

void infer_split_v2(InferContext& c) {
  const auto& p = c.as<SplitV2Params>();
  const Shape in = c.in[0].shape;
  if (!in.rank_known()) return;
  const int axis = normalize_axis(p.axis, in.rank(), c.op.name.c_str());
  const bool known = in[axis] >= 0;
  const std::vector<int64_t> begins = known ? split_begins(p, in[axis], c.op) : std::vector<int64_t>(p.pieces(), 0);
  for (size_t i = 0; i < begins.size(); ++i) {
    Shape piece = in;
    if (known) piece[axis] = (i + 1 < begins.size() ? begins[i + 1] : in[axis]) - begins[i];
    if (p.squeeze_axis) {
      if (known && piece[axis] != 1) {
        c.bad(str("squeeze_axis needs pieces of size 1, piece ", i, " has size ", piece[axis]));
      }
      piece.erase(axis);
    }
    c.merge_out(static_cast<int>(i), piece);
  }
}

Prepared prepare_split_v2(const PrepareArgs& args) {
  const auto& p = args.as<SplitV2Params>();
  const int axis = normalize_axis(p.axis, args.in[0].shape.rank(), "_split_v2");
  return move_pieces(args, axis, split_begins(p, args.in[0].shape[axis], args.op));
}

const RegisterOp split_v2{{.name = "_split_v2",
                           .doc = "Cuts an array along a dimension at the given indices, or into equal sections.",
                           .aliases = {"_npi_split"},
                           .params = schema_of<SplitV2Params>(),
                           .inputs = {"data"},
                           .outputs = Outputs([](const Params& p) { return p.as<SplitV2Params>().pieces(); }),
                           .infer = {infer_split_v2, infer_all_outputs_first_dtype},
                           .gradient = Gradient([](GradientBuilder& g) {
                                         const auto& p = g.params<SplitV2Params>();
                                         join_heads(g, p.pieces(), p.axis, p.squeeze_axis);
                                       }).only_heads(),
                           .kernels = {{"move", prepare_split_v2}}}};

}  // namespace
}  // namespace mxnet::ops
