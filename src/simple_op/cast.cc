// SPDX-License-Identifier: Apache-2.0
// Conversions of the element type.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

struct CastParams {
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<CastParams>& s) {
    s.field("dtype", &CastParams::dtype, "The dtype of the output.").required();
  }
};

void given_dtype(InferContext& c) { c.merge_out_dtype(0, c.as<CastParams>().dtype); }

void float_dtype(InferContext& c) {
  // Integers are no business of mixed precision: they pass unchanged.
  const DType in = c.in[0].dtype;
  if (in == DType::unknown) return;
  c.merge_out_dtype(0, is_float(in) ? c.as<CastParams>().dtype : in);
}

// The gradient has the dtype of the input. The tape knows it without the values; a graph finds it by inference.
void cast_gradient(GradientBuilder& g) {
  const Value in = g.input(0);
  if (in.node)
    g.give(0, "_cast_like", {g.head(0), in});
  else
    g.give(0, "Cast", {g.head(0)}, make_params<CastParams>({.dtype = in.array.dtype()}));
}
void cast_like_gradient(GradientBuilder& g) { g.give(0, "_cast_like", {g.head(0), g.input(0)}); }

void dtype_of_second(InferContext& c) {
  c.merge_out_dtype(0, c.in[1].dtype);
  c.merge_in_dtype(1, c.out[0].dtype);
}

const bool registered = [] {
  const auto formula = [](int, int) { return Expr::input(0); };
  register_elementwise({.name = "Cast",
                        .doc = "The same values in another dtype. A float becomes an integer without its fraction, and "
                               "wraps.\n\nShapes: data (any), output the same.",
                        .aliases = {"cast"},
                        .inputs = {"data"},
                        .info = {.formula = formula},
                        .params = schema_of<CastParams>(),
                        .dtype = given_dtype,
                        .gradient = Gradient(cast_gradient).without_inputs().without_outputs()});
  register_elementwise({.name = "amp_cast",
                        .doc = "Floats in another dtype; integers unchanged.\n\nShapes: data (any), output the same.",
                        .inputs = {"data"},
                        .info = {.formula = formula},
                        .params = schema_of<CastParams>(),
                        .dtype = float_dtype,
                        .gradient = Gradient(cast_gradient).without_inputs().without_outputs()});
  register_elementwise({.name = "_cast_like",
                        .doc = "The values of the first array in the dtype of the second.\n\nShapes: all the same.",
                        .inputs = {"lhs", "rhs"},
                        .info = {.formula = formula},
                        .dtype = dtype_of_second,
                        .gradient = Gradient(cast_like_gradient).without_outputs(),
                        .hidden = true});
  return true;
}();

}  // namespace
}  // namespace mxnet
