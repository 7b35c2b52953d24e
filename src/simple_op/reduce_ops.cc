// SPDX-License-Identifier: Apache-2.0
// sum, mean, prod, nansum, nanprod, max, min, norm, and the gradients of all of them.
#include <algorithm>
#include <functional>
#include <map>

#include "simple_op/axes.h"
#include "simple_op/elementwise_gradient.h"
#include "simple_op/iteration.h"
#include "simple_op/reduce.h"

namespace mxnet {
namespace {

// One reduction: what is combined, how, and the gradient of data as a formula over (head, data, output, count), where
// head and output are spread over the reduced axes and count is how many elements make one result.
struct ReduceDef {
  const char* name;
  const char* doc;
  Expr value;
  Combine combine;
  Expr finish;    // over the combined value (0) and the count (1)
  Expr gradient;  // over head (0), data (1), output (2), count (3)
  std::vector<std::string> aliases = {};
};

// The result is one of the elements: nothing is added up.
bool selects(const ReduceDef& def) { return def.combine == Combine::max || def.combine == Combine::min; }

const Expr kX = Expr::input(0), kCount = Expr::input(1);
const Expr kHead = Expr::input(0), kData = Expr::input(1), kOut = Expr::input(2), kHeadCount = Expr::input(3);

Expr is_number(const Expr& x) { return 1.0 - apply(Fn::isnan, x); }

const std::vector<ReduceDef>& reductions() {
  static const std::vector<ReduceDef> table = {
      {"sum", "Sum over axes.", kX, Combine::add, kX, kHead, {"sum_axis"}},
      {"mean", "Mean over axes; of integers without its fraction.", kX, Combine::add, kX / kCount, kHead / kHeadCount},
      {"prod", "Product over axes.", kX, Combine::mul, kX, kHead * (kOut / kData)},
      {"nansum", "Sum over axes, NaN counted as zero.", apply(Fn::unless_nan, kX, 0.0), Combine::add, kX,
       kHead * is_number(kData)},
      {"nanprod", "Product over axes, NaN counted as one.", apply(Fn::unless_nan, kX, 1.0), Combine::mul, kX,
       apply(Fn::select, apply(Fn::isnan, kData), 0.0, kHead * (kOut / kData))},
      {"max",
       "Largest element over axes; NaN if there is one. All that are largest get the gradient.",
       kX,
       Combine::max,
       kX,
       kHead * apply(Fn::equal, kData, kOut),
       {"max_axis"}},
      {"min",
       "Smallest element over axes; NaN if there is one. All that are smallest get the gradient.",
       kX,
       Combine::min,
       kX,
       kHead * apply(Fn::equal, kData, kOut),
       {"min_axis"}},
      {"_square_sum", "Sum of squares over axes.", apply(Fn::square, kX), Combine::add, kX, kHead * (2.0 * kData)},
      {"norm1", "", apply(Fn::abs, kX), Combine::add, kX, kHead * apply(Fn::sign, kData)},
      {"norm2", "", apply(Fn::square, kX), Combine::add, apply(Fn::sqrt, kX),
       apply(Fn::select, kOut, kHead * (kData / kOut), 0.0)},
  };
  return table;
}

bool is_norm(const OpDef& op) { return op.name == "norm" || op.name == "_backward_norm"; }

// The record behind an operator or behind its gradient.
const ReduceDef& def_of(const OpDef& op, const Params& params) {
  std::string name = op.name;
  if (name.starts_with("_backward_")) name = name.substr(10);
  if (name == "norm") name = params.as<NormParams>().ord == 1 ? "norm1" : "norm2";
  for (const ReduceDef& def : reductions()) {
    if (name == def.name || str("_", name) == def.name) return def;
  }
  fail("no reduction is called ", name);
}

struct AxisArgs {
  std::optional<Shape> axis;
  bool keepdims, exclude;
};
AxisArgs axis_args(const OpDef& op, const Params& params) {
  if (is_norm(op)) {
    const NormParams& p = params.as<NormParams>();
    return {p.axis, p.keepdims, false};
  }
  const ReduceParams& p = params.as<ReduceParams>();
  return {p.axis, p.keepdims, p.exclude};
}

std::vector<bool> axes_of(const OpDef& op, const Params& params, int rank) {
  const AxisArgs args = axis_args(op, params);
  return reduced_axes(args.axis, args.exclude, rank, op.name.c_str());
}

void infer_reduce(InferContext& c) {
  if (!c.in[0].shape.rank_known()) return;
  const AxisArgs args = axis_args(c.op, c.params);
  c.merge_out(0, reduced_shape(c.in[0].shape, axes_of(c.op, c.params, c.in[0].shape.rank()), args.keepdims));
}

void infer_norm_dtype(InferContext& c) {
  const auto& dtype = c.as<NormParams>().out_dtype;
  if (dtype)
    c.merge_out_dtype(0, *dtype);
  else
    infer::same_dtype(c);
}

// ---- kernels ------------------------------------------------------------------------------------------------------
class ReduceOpKernel final : public Kernel {
 public:
  ReduceOpKernel(std::unique_ptr<ReduceKernel> reduce) : reduce_(std::move(reduce)) {
    cost_ns = reduce_->cost_ns;
    accepts_add = true;
  }
  void run(const KernelCall& call) const override { reduce_->run(call.in, call.out[0], nullptr); }

 private:
  std::unique_ptr<ReduceKernel> reduce_;
};

// The dtype that values of `type` are combined in.
DType combining_type(DType type, const Expr& value) {
  if (is_half(type)) return DType::f32;
  if (type == DType::boolean) return DType::i64;
  return is_float(type) || value.on_integers() ? type : DType::f64;
}

// The axes that are left lie in memory in their logical order.
bool keeps_order(const std::vector<bool>& reduced) {
  bool spatial = false;
  for (size_t i = 2; i < reduced.size(); ++i) spatial |= !reduced[i];
  return reduced.size() < 3 || reduced[1] || !spatial;
}

Prepared reduce_to(const Reduction& reduction, const PrepareArgs& args, std::vector<bool> reduced) {
  TensorSpec in = args.in[0];
  if (in.layout == Layout::channels_last && keeps_order(reduced)) {
    args.in_layout[0] = in.layout;
    in.shape = physical_shape(in);
    std::rotate(reduced.begin() + 1, reduced.begin() + 2, reduced.end());
  }
  in.layout = Layout::plain;
  auto reduce = ReduceKernel::prepare(reduction, {&in, 1}, in, reduced, args.out[0], args.req[0]);
  return std::unique_ptr<Kernel>(new ReduceOpKernel(std::move(reduce)));
}

Program value_program(const Expr& value, DType in, DType combined) {
  ProgramBuilder builder;
  const Operand x = builder.input(in);
  builder.output(value.is(Expr::Kind::input) ? x : builder.formula(value, combined, {&x, 1}, {}), combined);
  return builder.take();
}

Prepared prepare_reduce(const PrepareArgs& args) {
  const ReduceDef& def = def_of(args.op, args.params);
  const TensorSpec& in = args.in[0];
  const std::vector<bool> reduced = axes_of(args.op, args.params, in.shape.rank());
  int64_t count = 1;
  for (int i = 0; i < in.shape.rank(); ++i) count *= reduced[i] ? in.shape[i] : 1;
  Reduction reduction;
  reduction.values = value_program(def.value, in.dtype, combining_type(in.dtype, def.value));
  reduction.combine = def.combine;
  reduction.finish = def.finish.replace(nullptr, {}, {kX, Expr::constant(static_cast<double>(count))});
  return reduce_to(reduction, args, reduced);
}

class ProgramOpKernel final : public Kernel {
 public:
  ProgramOpKernel(std::unique_ptr<ProgramKernel> program) : program_(std::move(program)) {
    cost_ns = program_->cost_ns();
    accepts_add = true;
  }
  void run(const KernelCall& call) const override { program_->run(call.in, call.out, nullptr); }

 private:
  std::unique_ptr<ProgramKernel> program_;
};

// ---- gradients ----------------------------------------------------------------------------------------------------
// _backward_<name>(head, data, output), in data's shape.
void infer_reduce_backward(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_in(1, c.out[0].shape);
}
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }

Prepared prepare_reduce_backward(const PrepareArgs& args) {
  const ReduceDef& def = def_of(args.op, args.params);
  const Shape& shape = args.out[0].shape;
  const std::vector<bool> reduced = axes_of(args.op, args.params, shape.rank());
  const Shape kept = kept_shape(shape, reduced);
  int64_t count = 1;
  for (int i = 0; i < shape.rank(); ++i) count *= reduced[i] ? shape[i] : 1;
  std::vector<TensorSpec> in(args.in.begin(), args.in.end());
  for (size_t i = 0; i < in.size(); ++i) {
    in[i].layout = Layout::plain;
    if (i != 1) in[i].shape = kept;
  }
  ProgramBuilder builder;
  std::vector<Operand> operands;
  for (const TensorSpec& t : in) operands.push_back(builder.input(t.dtype));
  std::vector<Expr> terms = {kHead, kData, kOut, Expr::constant(static_cast<double>(count))};
  const DType type = args.out[0].dtype;
  builder.output(builder.formula(def.gradient.replace(nullptr, {}, terms), type, operands, {}), type);
  auto program = ProgramKernel::prepare(builder.take(), in, args.out, args.req);
  return std::unique_ptr<Kernel>(new ProgramOpKernel(std::move(program)));
}

std::string backward_name(const OpDef& op) { return str("_backward_", op.name.substr(op.name.front() == '_')); }

void reduce_gradient(GradientBuilder& g) {
  if (!g.needs(0)) return;
  const OpDef& backward = get_op(backward_name(g.op()));
  const bool reads_output = backward.inputs.names.size() > 2;
  std::vector<Value> in = {g.head(0), g.input(0)};
  if (reads_output) in.push_back(g.output(0));
  const AxisArgs axes = axis_args(g.op(), *g.params_ref());
  const bool one_axis = axes.axis && axes.axis->rank() == 1 && !axes.exclude;
  if (one_axis && g.op().name == "sum" && g.takes_spread(0)) {
    const ParamMap at{{"axis", (*axes.axis)[0]}};
    const Value small = axes.keepdims ? in[0] : g.call("expand_dims", {in[0]}, at);
    return g.give_spread(0, small, backward, g.params_ref(), in);
  }
  const int target = 0;
  g.give_all({&target, 1}, backward, g.params_ref(), in);
}

// The head of a reduction, or its result, spread over data's shape.
Value spread(GradientBuilder& g, const Value& v, const Value& data, const Ref<Params>& params) {
  return g.apply(get_op("_backward_sum"), params, std::array{v, data})[0];
}

Ref<Params> axis_params(const OpDef& op, const Ref<Params>& params) {
  const AxisArgs args = axis_args(op, *params);
  return make_params<ReduceParams>({args.axis, args.keepdims, args.exclude});
}

void reduce_backward_gradient(GradientBuilder& g) {
  const ReduceDef& def = def_of(g.op(), *g.params_ref());
  const Ref<Params> axes = axis_params(g.op(), g.params_ref());
  const Value head = g.head(0), data = g.input(1);
  // mean and sum are linear in the head and know nothing of data.
  if (def.gradient.get() == kHead.get()) return g.give(0, "sum", {head}, axes);
  if (std::string_view(def.name) == "mean") return g.give(0, "mean", {head}, axes);
  std::vector<Value> operands = {spread(g, g.input(0), data, axes), data};
  if (g.num_inputs() > 2) operands.push_back(spread(g, g.input(2), data, axes));
  const int inputs = static_cast<int>(operands.size());
  for (int i = 0; i < inputs; ++i) {
    const Expr slope = def.gradient.derivative(i);
    if (!slope || !g.needs(i)) continue;
    operands.resize(inputs);
    operands.push_back(head);
    const Value value = compose(g, Expr::input(inputs) * slope, operands, {}, false);
    if (i == 1)
      g.give(1, value);
    else
      g.give(i, "sum", {value}, axes);
  }
}

void register_reduction(const ReduceDef& def, const std::string& name, const ParamSchema& params, InferFn dtype,
                        bool reads_output) {
  Gradient gradient(reduce_gradient);
  gradient.reads_outputs = reads_output;
  RegisterOp({.name = name,
              .doc = str(def.doc, "\n\nShapes: data (any), output without the reduced axes, (1,) if none is left."),
              .aliases = def.aliases,
              .params = params,
              .inputs = {"data"},
              .infer = {infer_reduce, dtype},
              .gradient = gradient,
              .kernels = {{"reduce", prepare_reduce}},
              .flags = {.precision = selects(def) ? Precision::any : Precision::full}});
  Inputs inputs = reads_output ? Inputs{"head", "data", "output"} : Inputs{"head", "data"};
  RegisterOp({.name = str("_backward_", name.substr(name.front() == '_')),
              .doc = str("Gradient of ", name, "."),
              .params = params,
              .inputs = inputs,
              .infer = {infer_reduce_backward, infer_backward_dtype},
              .gradient = {reduce_backward_gradient},
              .kernels = {{"program", prepare_reduce_backward}},
              .flags = {.hidden = true}});
}

// ---- _reduce_like -------------------------------------------------------------------------------------------------
void infer_reduce_like(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_in(1, c.out[0].shape);
}

Prepared prepare_reduce_like(const PrepareArgs& args) { return prepare_sum_to(args, args.in[1].shape); }

const bool registered = [] {
  for (const ReduceDef& def : reductions()) {
    if (std::string_view(def.name).starts_with("norm")) continue;
    register_reduction(def, def.name, schema_of<ReduceParams>(), infer::same_dtype, def.gradient.reads_input(2));
  }
  ReduceDef norm = reductions().back();
  norm.doc = "Norm over axes: of order 2 the root of the sum of squares, of order 1 the sum of absolute values.";
  register_reduction(norm, "norm", schema_of<NormParams>(), infer_norm_dtype, true);
  RegisterOp({.name = "_reduce_like",
              .doc = "Sums over the axes along which the second array would broadcast to the first.",
              .inputs = {"lhs", "rhs"},
              .infer = {infer_reduce_like, infer::same_dtype},
              .gradient = {[](GradientBuilder& g) { g.give(0, "_spread_like", {g.head(0), g.input(0)}); }},
              .kernels = {{"reduce", prepare_reduce_like}},
              .flags = {.hidden = true}});
  return true;
}();

}  // namespace

void ReduceParams::declare(ParamSchemaOf<ReduceParams>& s) {
  s.field("axis", &ReduceParams::axis, "Axes to reduce; all if None or empty.");
  s.field("keepdims", &ReduceParams::keepdims, "Leaves reduced axes in the result as axes of size one.");
  s.field("exclude", &ReduceParams::exclude, "Reduces the axes that are not in `axis`.");
}

Prepared prepare_sum_to(const PrepareArgs& args, const Shape& to) {
  const Shape& from = args.in[0].shape;
  const int missing = from.rank() - to.rank();
  std::vector<bool> reduced(std::max(0, from.rank()));
  bool fits = missing >= 0;
  for (int i = 0; i < from.rank() && fits; ++i) {
    const dim_t target = i < missing ? 1 : to[i - missing];
    reduced[i] = target == 1 && (i < missing || from[i] != 1);
    fits = reduced[i] || target == from[i];
  }
  if (!fits) return str("shape ", from, " does not reduce to ", to);
  Reduction reduction;
  reduction.values = value_program(kX, args.in[0].dtype, combining_type(args.in[0].dtype, kX));
  return reduce_to(reduction, args, reduced);
}

std::vector<bool> reduced_axes(const std::optional<Shape>& axis, bool exclude, int rank, const char* op) {
  if (!axis || axis->rank() == 0) return std::vector<bool>(std::max(0, rank), true);
  std::vector<bool> reduced(std::max(0, rank), false);
  for (dim_t a : *axis) {
    const int i = normalize_axis(a, rank, op);
    if (reduced[i]) fail(ErrorKind::value, op, ": axis ", a, " is given twice in ", *axis);
    reduced[i] = true;
  }
  if (exclude) reduced.flip();
  return reduced;
}

Shape reduced_shape(const Shape& shape, const std::vector<bool>& reduced, bool keepdims) {
  Shape result;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!reduced[i])
      result.push_back(shape[i]);
    else if (keepdims)
      result.push_back(1);
  }
  return result.rank() == 0 ? Shape{1} : result;
}

Shape kept_shape(const Shape& shape, const std::vector<bool>& reduced) {
  Shape result = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    if (reduced[i]) result[i] = 1;
  }
  return result;
}

}  // namespace mxnet
