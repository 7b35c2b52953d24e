// SPDX-License-Identifier: Apache-2.0
// Operators whose output holds the bytes of the input in the same order, and those that return a shape.
#include <algorithm>
#include <cstring>
#include <optional>

#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

constexpr OpFlags kViewFlags{.inplace = true, .view_like = true};

// The gradient of every operator of this file that keeps the bytes: the head in the shape of the input.
void like_input_gradient(GradientBuilder& g) { g.give(0, "reshape_like", {g.head(0), g.input(0)}); }

// ---- Reshape -------------------------------------------------------------------------------------------------------

struct ReshapeParams {
  Shape shape;
  bool reverse = false;
  Shape target_shape;
  bool keep_highest = false;
  static void declare(ParamSchemaOf<ReshapeParams>& s) {
    s.field(
        "shape", &ReshapeParams::shape,
        "The new shape. 0 keeps the dimension, -1 is inferred from the size, -2 keeps all that remain, -3 joins two, "
        "-4 splits one into the next two numbers.");
    s.field("reverse", &ReshapeParams::reverse, "Match the codes from the last dimension on.");
    s.field("target_shape", &ReshapeParams::target_shape, "Older form of shape, where 0 is inferred.");
    s.field("keep_highest", &ReshapeParams::keep_highest, "With target_shape: keep the first dimension.");
  }
};

// Expands the codes against an input shape; dimensions of -1 stay unknown.
class ReshapeCodes {
 public:
  ReshapeCodes(const InferContext& c, std::vector<int64_t> codes, std::vector<int64_t> dims)
      : c_(c), codes_(std::move(codes)), dims_(std::move(dims)) {}

  std::vector<int64_t> expand() {
    for (size_t i = 0; i < codes_.size(); ++i) {
      const int64_t code = codes_[i];
      if (code == 0) {
        out_.push_back(take(code));
      } else if (code == -1) {
        infer_here();
        ++next_;
      } else if (code == -2) {
        while (next_ < dims_.size()) out_.push_back(dims_[next_++]);
      } else if (code == -3) {
        const int64_t a = take(code), b = take(code);
        out_.push_back(a < 0 || b < 0 ? -1 : a * b);
      } else if (code == -4) {
        i = split(i);
      } else if (code > 0) {
        out_.push_back(code);
        ++next_;
      } else {
        c_.bad(str("shape has the code ", code, ": only -4 to -1, 0 and sizes are allowed"));
      }
    }
    return std::move(out_);
  }
  int inferred() const { return inferred_; }  // -1: none

 private:
  int64_t take(int64_t code) {
    if (next_ >= dims_.size()) c_.bad(str("the code ", code, " in shape has no dimension of the input left to read"));
    return dims_[next_++];
  }
  void infer_here() {
    if (inferred_ >= 0) c_.bad("only one dimension of shape may be -1");
    inferred_ = static_cast<int>(out_.size());
    out_.push_back(-1);
  }
  size_t split(size_t i) {
    if (i + 2 >= codes_.size()) c_.bad("the code -4 in shape needs two sizes after it");
    int64_t a = codes_[i + 1], b = codes_[i + 2];
    if (a == -1 && b == -1) c_.bad("the code -4 in shape: only one of the two sizes may be -1");
    const int64_t whole = take(-4);
    if (whole >= 0) {
      if (a == -1) a = b ? whole / b : 0;
      if (b == -1) b = a ? whole / a : 0;
      if (a * b != whole)
        c_.bad(str("the code -4 in shape cannot split a dimension of ", whole, " into ", a, " x ", b));
    }
    out_.push_back(a);
    out_.push_back(b);
    return i + 2;
  }

  const InferContext& c_;
  std::vector<int64_t> codes_, dims_, out_;
  size_t next_ = 0;
  int inferred_ = -1;
};

// Fills the one dimension that follows from the number of elements.
void solve_dimension(const InferContext& c, Shape& shape, int at, int64_t size) {
  int64_t rest = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i == at) continue;
    if (shape[i] < 0) return;
    if (__builtin_mul_overflow(rest, shape[i], &rest)) c.bad(str("the shape ", shape, " is too large"));
  }
  if (rest == 0 ? size != 0 : size % rest != 0) {
    c.bad(str("cannot infer the -1 in shape: ", size, " elements do not divide into ", shape));
  }
  shape[at] = rest == 0 ? 0 : size / rest;
}

Shape reshaped(const InferContext& c, const ReshapeParams& p, const Shape& in) {
  std::vector<int64_t> codes(p.shape.begin(), p.shape.end()), dims(in.begin(), in.end());
  if (codes.empty() && p.target_shape.rank() > 0) {
    codes.assign(p.target_shape.begin(), p.target_shape.end());
    std::replace(codes.begin(), codes.end(), int64_t{0}, int64_t{-1});
    if (p.keep_highest && !dims.empty()) codes[0] = dims[0];
  }
  if (p.reverse) {
    std::reverse(dims.begin(), dims.end());
    std::reverse(codes.begin(), codes.end());
    // The reversal put a -4 behind its two sizes: move it in front of them again.
    for (size_t i = 2; i < codes.size(); ++i) {
      if (codes[i] == -4) std::rotate(codes.begin() + i - 2, codes.begin() + i, codes.begin() + i + 1);
    }
  }
  ReshapeCodes expansion(c, std::move(codes), std::move(dims));
  std::vector<int64_t> out = expansion.expand();
  int at = expansion.inferred();
  if (p.reverse) {
    std::reverse(out.begin(), out.end());
    if (at >= 0) at = static_cast<int>(out.size()) - 1 - at;
  }
  Shape shape{std::span<const dim_t>(out)};
  if (at >= 0 && in.known()) solve_dimension(c, shape, at, in.size());
  return shape;
}

void infer_reshape(InferContext& c) {
  const auto& p = c.as<ReshapeParams>();
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) {
    const bool plain = std::all_of(p.shape.begin(), p.shape.end(), [](dim_t d) { return d > 0; });
    if (plain && p.shape.rank() > 0) c.merge_out(0, p.shape);
    return;
  }
  const Shape out = reshaped(c, p, in);
  c.merge_out(0, out);
  const Shape& known_out = c.out[0].shape;
  if (in.known() && known_out.known() && in.size() != known_out.size()) {
    c.bad(
        str("cannot reshape ", in, " (", in.size(), " elements) to ", known_out, " (", known_out.size(), " elements)"));
  }
  const auto unknown = std::count_if(in.begin(), in.end(), [](dim_t d) { return d < 0; });
  if (unknown == 1 && known_out.known()) {
    Shape solved = in;
    solve_dimension(c, solved, static_cast<int>(std::find(in.begin(), in.end(), -1) - in.begin()), known_out.size());
    c.merge_in(0, solved);
  }
}

const RegisterOp reshape{{.name = "Reshape",
                          .doc = "Gives the elements another shape, in the same order.\n\n"
                                 "Codes in shape: 0 keeps a dimension of the input, -1 (once) is inferred from the "
                                 "number of elements, -2 keeps all "
                                 "remaining dimensions, -3 joins the next two, -4 splits the next one into the two "
                                 "sizes that follow (one may be -1). "
                                 "With reverse=True the codes are matched from the right.\n\n"
                                 "Raises an error if the numbers of elements differ.",
                          .aliases = {"reshape"},
                          .params = schema_of<ReshapeParams>(),
                          .inputs = {"data"},
                          .infer = {infer_reshape, infer::same_dtype},
                          .gradient = Gradient(like_input_gradient).without_outputs(),
                          .kernels = {{"copy", prepare_copy}},
                          .flags = kViewFlags}};

// ---- Flatten -------------------------------------------------------------------------------------------------------

void infer_flatten(InferContext& c) {
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (in.rank() == 0) c.bad("data must have at least one dimension, got a scalar");
  int64_t rest = 1;
  for (int i = 1; i < in.rank(); ++i) rest = rest < 0 || in[i] < 0 ? -1 : rest * in[i];
  c.merge_out(0, Shape{in[0], rest});
  const Shape& out = c.out[0].shape;
  if (in[0] < 0 && out[0] >= 0) {
    Shape better = in;
    better[0] = out[0];
    c.merge_in(0, better);
  }
}

const RegisterOp flatten{
    {.name = "Flatten",
     .doc = "Joins all dimensions after the first.\n\nShapes: data (d0, d1, ..., dk), output (d0, d1 * ... * dk).",
     .aliases = {"flatten", "_npx_batch_flatten"},
     .inputs = {"data"},
     .infer = {infer_flatten, infer::same_dtype},
     .gradient = Gradient(like_input_gradient).without_outputs(),
     .kernels = {{"copy", prepare_copy}},
     .flags = kViewFlags}};

// ---- reshape_like --------------------------------------------------------------------------------------------------

struct ReshapeLikeParams {
  std::optional<int64_t> lhs_begin, lhs_end, rhs_begin, rhs_end;
  static void declare(ParamSchemaOf<ReshapeLikeParams>& s) {
    s.field("lhs_begin", &ReshapeLikeParams::lhs_begin, "First dimension of lhs to replace; None is 0.");
    s.field("lhs_end", &ReshapeLikeParams::lhs_end, "End of the dimensions of lhs to replace; None is all.");
    s.field("rhs_begin", &ReshapeLikeParams::rhs_begin, "First dimension of rhs to take; None is 0.");
    s.field("rhs_end", &ReshapeLikeParams::rhs_end, "End of the dimensions of rhs to take; None is all.");
  }
};

std::pair<int, int> axis_range(const InferContext& c, std::optional<int64_t> begin, std::optional<int64_t> end,
                               int rank, const char* side) {
  int64_t b = begin.value_or(0), e = end.value_or(rank);
  if (b < 0) b += rank;
  if (e < 0) e += rank;
  if (b < 0 || e > rank || b > e) {
    c.bad(str(side, "_begin and ", side, "_end give [", b, ", ", e, "), which is no range of ", rank, " dimensions"));
  }
  return {static_cast<int>(b), static_cast<int>(e)};
}

void infer_reshape_like(InferContext& c) {
  const Shape &lhs = c.in[0].shape, &rhs = c.in[1].shape;
  const auto& p = c.as<ReshapeLikeParams>();
  const bool whole = !p.lhs_begin && !p.lhs_end && !p.rhs_begin && !p.rhs_end;
  if (!rhs.rank_known() || (!whole && !lhs.rank_known())) return;
  Shape out = rhs;
  if (!whole) {
    const auto [lb, le] = axis_range(c, p.lhs_begin, p.lhs_end, lhs.rank(), "lhs");
    const auto [rb, re] = axis_range(c, p.rhs_begin, p.rhs_end, rhs.rank(), "rhs");
    out = Shape();
    for (int i = 0; i < lb; ++i) out.push_back(lhs[i]);
    for (int i = rb; i < re; ++i) out.push_back(rhs[i]);
    for (int i = le; i < lhs.rank(); ++i) out.push_back(lhs[i]);
  }
  c.merge_out(0, out);
  if (lhs.known() && out.known() && lhs.size() != out.size()) {
    c.bad(str("cannot reshape lhs ", lhs, " (", lhs.size(), " elements) to ", out, " (", out.size(), " elements)"));
  }
}

void infer_first_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

const RegisterOp reshape_like{{.name = "reshape_like",
                               .doc =
                                   "Gives lhs the shape of rhs, or replaces dimensions [lhs_begin, lhs_end) of lhs by "
                                   "[rhs_begin, rhs_end) of rhs.\n\n"
                                   "Only the shape of rhs is read. Raises an error if the numbers of elements differ.",
                               .aliases = {"_npx_reshape_like"},
                               .params = schema_of<ReshapeLikeParams>(),
                               .inputs = {"lhs", "rhs"},
                               .infer = {infer_reshape_like, infer_first_dtype},
                               .gradient = Gradient(like_input_gradient).without_outputs(),
                               .kernels = {{"copy", prepare_copy}},
                               .flags = kViewFlags}};

// ---- expand_dims, squeeze ------------------------------------------------------------------------------------------

struct ExpandDimsParams {
  int64_t axis = 0;
  static void declare(ParamSchemaOf<ExpandDimsParams>& s) {
    s.field("axis", &ExpandDimsParams::axis, "Where the new dimension goes; from the end when negative.").required();
  }
};

void infer_expand_dims(InferContext& c) {
  const int64_t axis = c.as<ExpandDimsParams>().axis;
  const Shape &in = c.in[0].shape, &out = c.out[0].shape;
  if (in.rank_known()) {
    Shape wider = in;
    wider.insert(normalize_axis(axis, in.rank() + 1, "expand_dims"), 1);
    c.merge_out(0, wider);
  }
  if (out.rank() > 0) {
    Shape narrower = out;
    narrower.erase(normalize_axis(axis, out.rank(), "expand_dims"));
    c.merge_in(0, narrower);
  }
}

const RegisterOp expand_dims{
    {.name = "expand_dims",
     .doc = "Inserts a dimension of size 1 before `axis`.\n\nShapes: data (d0, ..., dk), output one dimension more.",
     .aliases = {"_npi_expand_dims"},
     .params = schema_of<ExpandDimsParams>(),
     .inputs = {"data"},
     .infer = {infer_expand_dims, infer::same_dtype},
     .gradient = Gradient(like_input_gradient).without_outputs(),
     .kernels = {{"copy", prepare_copy}},
     .flags = kViewFlags}};

struct SqueezeParams {
  std::optional<Shape> axis;
  static void declare(ParamSchemaOf<SqueezeParams>& s) {
    s.field("axis", &SqueezeParams::axis, "Dimensions to drop; None drops all of size 1.");
  }
};

void infer_squeeze(InferContext& c) {
  const auto& p = c.as<SqueezeParams>();
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (!p.axis && !in.known()) return;
  std::vector<bool> drop(in.rank(), false);
  if (p.axis) {
    for (dim_t a : *p.axis) {
      const int axis = normalize_axis(a, in.rank(), "squeeze");
      if (in[axis] >= 0 && in[axis] != 1) c.bad(str("axis ", a, " of ", in, " has size ", in[axis], ", expected 1"));
      if (drop[axis]) c.bad(str("axis ", a, " is given twice"));
      drop[axis] = true;
    }
  } else {
    for (int i = 0; i < in.rank(); ++i) drop[i] = in[i] == 1;
  }
  Shape out;
  for (int i = 0; i < in.rank(); ++i) {
    if (!drop[i]) out.push_back(in[i]);
  }
  if (out.rank() == 0 && in.rank() > 0) out.push_back(1);
  c.merge_out(0, out);
}

const RegisterOp squeeze{{.name = "squeeze",
                          .doc = "Drops dimensions of size 1; at least one dimension stays.\n\n"
                                 "Raises an error if a dimension named by axis has another size.",
                          .params = schema_of<SqueezeParams>(),
                          .inputs = {"data"},
                          .infer = {infer_squeeze, infer::same_dtype},
                          .gradient = Gradient(like_input_gradient).without_outputs(),
                          .kernels = {{"copy", prepare_copy}},
                          .flags = kViewFlags}};

// ---- _copyto -------------------------------------------------------------------------------------------------------

const RegisterOp copyto{{.name = "_copyto",
                         .doc = "Copies an array.",
                         .aliases = {"_npi_copyto"},
                         .inputs = {"data"},
                         .infer = {infer::same_shape, infer::same_dtype},
                         .gradient = Gradient([](GradientBuilder& g) { g.give(0, g.head(0)); }).only_heads(),
                         .kernels = {{"copy", prepare_copy}},
                         .flags = kViewFlags}};

// ---- shape_array, size_array ---------------------------------------------------------------------------------------

void infer_shape_array(InferContext& c) {
  if (c.in[0].shape.rank_known()) c.merge_out(0, Shape{c.in[0].shape.rank()});
}

Prepared prepare_shape_array(const PrepareArgs& args) {
  return make_kernel(
      [shape = args.in[0].shape](const KernelCall& c) {
        if (c.out[0]) std::memcpy(c.out[0], shape.data(), sizeof(dim_t) * static_cast<size_t>(shape.rank()));
      },
      20);
}

const RegisterOp shape_array{{.name = "shape_array",
                              .doc = "The shape of data as a 1-d int64 array.",
                              .aliases = {"_npx_shape_array"},
                              .inputs = {"data"},
                              .infer = {infer_shape_array, infer::out_dtype<DType::i64>},
                              .gradient = Gradient::zero(),
                              .kernels = {{"index", prepare_shape_array}}}};

Prepared prepare_size_array(const PrepareArgs& args) {
  return make_kernel(
      [size = args.in[0].shape.size()](const KernelCall& c) {
        if (c.out[0]) *static_cast<int64_t*>(c.out[0]) = size;
      },
      20);
}

const RegisterOp size_array{{.name = "size_array",
                             .doc = "The number of elements of data as an int64 array of shape (1,).",
                             .inputs = {"data"},
                             .infer = {[](InferContext& c) { c.merge_out(0, Shape{1}); }, infer::out_dtype<DType::i64>},
                             .gradient = Gradient::zero(),
                             .kernels = {{"index", prepare_size_array}}}};

}  // namespace
}  // namespace mxnet::ops
