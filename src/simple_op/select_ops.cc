// SPDX-License-Identifier: Apache-2.0
// where, add_n, make_loss, and the helpers of three arrays.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

// ---- where --------------------------------------------------------------------------------------------------------
// A condition with one axis chooses among whole rows.
void adjust_condition(const Params&, std::span<TensorSpec> in) {
  const int rank = in[1].shape.rank();
  if (in[0].shape == in[1].shape || in[0].shape.rank() != 1) return;
  Shape shape = Shape::of_rank(rank, 1);
  shape[0] = in[0].shape[0];
  in[0].shape = shape;
}

void check_condition(InferContext& c, const Shape& data) {
  const Shape& condition = c.in[0].shape;
  if (!condition.rank_known() || !data.rank_known() || !condition.known() || !data.known()) return;
  if (condition == data || (condition.rank() == 1 && data.rank() > 0 && condition[0] == data[0])) return;
  c.bad(str("condition has shape ", condition, "; expected that of x and y, ", data, ", or one element per row"));
}

void infer_where(InferContext& c) {
  for (int i : {1, 2}) {
    c.merge_out(0, c.in[i].shape);
    c.merge_in(i, c.out[0].shape);
  }
  c.merge_in(1, c.out[0].shape);
  check_condition(c, c.out[0].shape);
}
void infer_where_dtype(InferContext& c) {
  for (int i : {1, 2}) c.merge_out_dtype(0, c.in[i].dtype);
  for (int i : {1, 2}) c.merge_in_dtype(i, c.out[0].dtype);
}
void infer_branch(InferContext& c) { c.merge_out(0, c.in[1].shape); }
void infer_branch_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }

// Whether input 0 is not zero, asked in its own dtype.
Expr condition() { return Expr::call(Fn::not_equal, Expr::input(0), 0.0, {}, 0); }

void where_gradient(GradientBuilder& g) {
  g.give(1, "_where_true", {g.input(0), g.head(0)});
  g.give(2, "_where_false", {g.input(0), g.head(0)});
}
void where_true_gradient(GradientBuilder& g) { g.give(1, "_where_true", {g.input(0), g.head(0)}); }
void where_false_gradient(GradientBuilder& g) { g.give(1, "_where_false", {g.input(0), g.head(0)}); }

void register_where() {
  const Expr x = Expr::input(1), y = Expr::input(2), zero = 0.0;
  register_elementwise(
      {.name = "where",
       .doc = "x where the condition is not zero, else y.\n\nShapes: x, y and output the same; condition the same, or "
              "(N,) for x of shape (N, ...). Dtypes: x and y the same, condition any.",
       .inputs = Inputs{"condition", "x", "y"}.sets_apart({"condition"}),
       .info = {.formula = [=](int, int) { return apply(Fn::select, condition(), x, y); }, .adjust = adjust_condition},
       .shape = infer_where,
       .dtype = infer_where_dtype,
       .gradient = Gradient(where_gradient).without_outputs(),
       .precision = Precision::widest});
  const auto add_branch = [&](const char* name, Expr formula, Gradient::Fn gradient) {
    register_elementwise({.name = name,
                          .doc = "The gradient of one branch of where.",
                          .inputs = {"condition", "head"},
                          .info = {.formula = [formula](int, int) { return formula; }, .adjust = adjust_condition},
                          .shape = infer_branch,
                          .dtype = infer_branch_dtype,
                          .gradient = Gradient(gradient).without_outputs(),
                          .hidden = true});
  };
  add_branch("_where_true", apply(Fn::select, condition(), x, zero), where_true_gradient);
  add_branch("_where_false", apply(Fn::select, condition(), zero, x), where_false_gradient);
}

// ---- add_n --------------------------------------------------------------------------------------------------------
struct AddNParams {
  int num_args = 1;
  static void declare(ParamSchemaOf<AddNParams>& s) {
    s.field("num_args", &AddNParams::num_args, "How many arrays.").required().range(1, 1 << 20);
  }
};

Expr sum_of(int, int inputs) {
  Expr sum = Expr::input(0);
  for (int i = 1; i < inputs; ++i) sum = apply(Fn::add, sum, Expr::input(i));
  return sum;
}

void add_n_gradient(GradientBuilder& g) {
  for (int i = 0; i < g.num_inputs(); ++i) {
    if (g.needs(i)) g.give(i, g.head(0));
  }
}

const bool registered = [] {
  register_where();
  register_elementwise({.name = "add_n",
                        .doc = "Sum of any number of arrays.\n\nShapes and dtypes: all the same.",
                        .aliases = {"ElementWiseSum"},
                        .inputs = Inputs::variadic("num_args", "arg"),
                        .info = {.formula = sum_of},
                        .params = schema_of<AddNParams>(),
                        .gradient = Gradient(add_n_gradient).only_heads(),
                        .precision = Precision::widest});
  register_elementwise(
      {.name = "make_loss",
       .doc = "Marks its input as a loss: the same values, and a gradient of one whatever comes "
              "back.\n\nShapes: data (any), output the same.",
       .inputs = {"data"},
       .info = {.formula = [](int, int) { return Expr::input(0); }},
       .gradient = Gradient([](GradientBuilder& g) { g.give(0, "ones_like", {g.output(0)}); }).without_heads(),
       .precision = Precision::full});
  const Expr a = Expr::input(0), b = Expr::input(1), c = Expr::input(2);
  for (Fn fn : {Fn::select, Fn::clip}) {
    register_elementwise({.name = str("_", info(fn).name),
                          .doc = "A function of three arrays that broadcast.",
                          .inputs = {"a", "b", "c"},
                          .info = {.formula = [=](int, int) { return apply(fn, a, b, c); }, .broadcasts = true},
                          .hidden = true});
  }
  return true;
}();

}  // namespace
}  // namespace mxnet
