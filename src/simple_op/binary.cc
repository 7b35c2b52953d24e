// SPDX-License-Identifier: Apache-2.0
// Functions of two arrays: of one shape, broadcasting, and of an array and a scalar on either side.
#include "simple_op/elementwise.h"

namespace mxnet {
namespace {

// The forms of one function; an empty name: there is no such operator.
struct BinaryDef {
  Fn fn;
  const char* what;       // completes "... of two arrays"
  std::string same = "";  // both arrays have one shape
  std::string broadcast = "";
  std::string scalar = "";   // array op scalar
  std::string rscalar = "";  // scalar op array
  bool zero_gradient = false;
  std::vector<std::string> same_aliases = {};
  std::vector<std::string> broadcast_aliases = {};
};

// Powers and hypotenuses leave the range of half types.
bool needs_range(Fn fn) { return fn == Fn::power || fn == Fn::hypot; }

void read_scalar(const Params& params, Scalar* to) { *to = params.as<ScalarParams>().scalar; }

// A bool array with a whole number becomes int64; without a floating point dtype, one with another number float64.
void scalar_dtype(InferContext& c) {
  const DType dtype = c.in[0].dtype;
  const bool is_int = c.as<ScalarParams>().is_int;
  if (dtype == DType::boolean || (is_integer(dtype) && !is_int)) {
    c.merge_out_dtype(0, is_int ? DType::i64 : DType::f64);
  } else {
    infer::same_dtype(c);
  }
}

// "_plus_scalar" is also "_PlusScalar".
std::string camel_case(const std::string& name) {
  std::string result = "_";
  bool start = true;
  for (char c : name.substr(1)) {
    if (c == '_') {
      start = true;
    } else {
      result += start ? static_cast<char>(c - 'a' + 'A') : c;
      start = false;
    }
  }
  // The reversed ones keep two capitals: _RMinusScalar.
  for (const char* word : {"minus", "div", "mod", "power"}) {
    if (name == str("_r", word, "_scalar")) result[2] = static_cast<char>(result[2] - 'a' + 'A');
  }
  return result;
}

void add_arrays(const BinaryDef& def, const std::string& name, bool broadcasts, bool hidden) {
  const char* shapes =
      broadcasts ? "Shapes: lhs and rhs broadcast to the output's." : "Shapes: lhs, rhs and output the same.";
  register_elementwise(
      {.name = name,
       .doc = str(def.what, " of two arrays.\n\n", shapes, " Dtypes: all the same."),
       .aliases = broadcasts ? def.broadcast_aliases : def.same_aliases,
       .inputs = {"lhs", "rhs"},
       .info = {.formula = [fn = def.fn](int, int) { return apply(fn, Expr::input(0), Expr::input(1)); },
                .broadcasts = broadcasts},
       .zero_gradient = def.zero_gradient,
       .hidden = hidden,
       .precision = needs_range(def.fn) ? Precision::full : Precision::widest});
}

void add_scalar(const BinaryDef& def, const std::string& name, bool reversed) {
  const auto formula = [fn = def.fn, reversed](int, int) {
    const Expr array = Expr::input(0), scalar = Expr::scalar(0);
    return reversed ? apply(fn, scalar, array) : apply(fn, array, scalar);
  };
  std::vector<std::string> aliases = {camel_case(name)};
  if (name == "_plus_scalar" || name == "_minus_scalar") aliases.push_back("_scatter" + name);
  register_elementwise(
      {.name = name,
       .doc = str(def.what, reversed ? " of a scalar and an array." : " of an array and a scalar.",
                  "\n\nShapes: data (any), output the same. Dtype: that of data."),
       .aliases = aliases,
       .inputs = {"data"},
       .info = {.formula = formula, .scalars = 1, .read_scalars = read_scalar},
       .params = schema_of<ScalarParams>(),
       .dtype = scalar_dtype,
       .zero_gradient = def.zero_gradient,
       .precision = needs_range(def.fn) || (reversed && def.fn == Fn::div) ? Precision::full : Precision::any});
}

void add_binary(const BinaryDef& def, bool hidden = false) {
  if (!def.same.empty()) add_arrays(def, def.same, false, hidden);
  if (!def.broadcast.empty()) add_arrays(def, def.broadcast, true, hidden);
  if (!def.scalar.empty()) add_scalar(def, def.scalar, false);
  if (!def.rscalar.empty()) add_scalar(def, def.rscalar, true);
}

const bool registered = [] {
  constexpr bool zero = true;
  const BinaryDef functions[] = {
      {Fn::add,
       "Sum",
       "elemwise_add",
       "broadcast_add",
       "_plus_scalar",
       "",
       false,
       {"_plus", "_Plus", "_add"},
       {"broadcast_plus"}},
      {Fn::add, "Sum", "_grad_add"},
      {Fn::sub,
       "Difference",
       "elemwise_sub",
       "broadcast_sub",
       "_minus_scalar",
       "_rminus_scalar",
       false,
       {"_minus", "_Minus", "_sub"},
       {"broadcast_minus"}},
      {Fn::mul, "Product", "elemwise_mul", "broadcast_mul", "_mul_scalar", "", false, {"_mul", "_Mul"}},
      {Fn::div,
       "Quotient",
       "elemwise_div",
       "broadcast_div",
       "_div_scalar",
       "_rdiv_scalar",
       false,
       {"_div", "_Div", "_scatter_elemwise_div"}},
      {Fn::mod,
       "Remainder, with the sign of the divisor,",
       "_mod",
       "broadcast_mod",
       "_mod_scalar",
       "_rmod_scalar",
       false,
       {"_Mod"}},
      {Fn::power, "Power", "_power", "broadcast_power", "_power_scalar", "_rpower_scalar", false, {"_Power"}},
      {Fn::maximum, "Larger element", "_maximum", "broadcast_maximum", "_maximum_scalar", "", false, {"_Maximum"}},
      {Fn::minimum, "Smaller element", "_minimum", "broadcast_minimum", "_minimum_scalar", "", false, {"_Minimum"}},
      {Fn::hypot, "Hypotenuse", "_hypot", "broadcast_hypot", "_hypot_scalar", "", false, {"_Hypot"}},
      {Fn::equal, "1 where equal, else 0,", "_equal", "broadcast_equal", "_equal_scalar", "", zero, {"_Equal"}},
      {Fn::not_equal,
       "1 where different, else 0,",
       "_not_equal",
       "broadcast_not_equal",
       "_not_equal_scalar",
       "",
       zero,
       {"_Not_Equal"}},
      {Fn::greater,
       "1 where the left is greater, else 0,",
       "_greater",
       "broadcast_greater",
       "_greater_scalar",
       "",
       zero,
       {"_Greater"}},
      {Fn::greater_equal,
       "1 where the left is not less, else 0,",
       "_greater_equal",
       "broadcast_greater_equal",
       "_greater_equal_scalar",
       "",
       zero,
       {"_Greater_Equal"}},
      {Fn::lesser,
       "1 where the left is less, else 0,",
       "_lesser",
       "broadcast_lesser",
       "_lesser_scalar",
       "",
       zero,
       {"_Lesser"}},
      {Fn::lesser_equal,
       "1 where the left is not greater, else 0,",
       "_lesser_equal",
       "broadcast_lesser_equal",
       "_lesser_equal_scalar",
       "",
       zero,
       {"_Lesser_Equal"}},
      {Fn::logical_and,
       "1 where both are not zero, else 0,",
       "_logical_and",
       "broadcast_logical_and",
       "_logical_and_scalar",
       "",
       zero,
       {"_Logical_And"}},
      {Fn::logical_or,
       "1 where one is not zero, else 0,",
       "_logical_or",
       "broadcast_logical_or",
       "_logical_or_scalar",
       "",
       zero,
       {"_Logical_Or"}},
      {Fn::logical_xor,
       "1 where exactly one is not zero, else 0,",
       "_logical_xor",
       "broadcast_logical_xor",
       "_logical_xor_scalar",
       "",
       zero,
       {"_Logical_Xor"}},
  };
  for (const BinaryDef& def : functions) add_binary(def);
  const BinaryDef helpers[] = {
      {Fn::arctan2, "Angle of the point (rhs, lhs)", "_arctan2", "_broadcast_arctan2"},
      {Fn::leaky, "lhs where it is positive, else lhs times rhs,", "_leaky", "_broadcast_leaky"},
      {Fn::unless_nan, "lhs where it is a number, else rhs,", "_unless_nan", "_broadcast_unless_nan"},
  };
  for (const BinaryDef& def : helpers) add_binary(def, true);
  return true;
}();

}  // namespace
}  // namespace mxnet
