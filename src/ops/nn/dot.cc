// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/dot.h"

namespace mxnet::nn {
namespace {

// ---- dot: contracts one axis of each operand ------------------------------------------------------------------------

void infer_dot(InferContext& c) {
  const auto& p = c.as<DotParams>();
  const Shape &a = c.in[0].shape, &b = c.in[1].shape;
  if (!a.rank_known() || !b.rank_known()) return;
  if (a.rank() == 0 || b.rank() == 0) c.bad("operands must have at least one dimension");
  const int axis_a = contracted_a(a, p), axis_b = contracted_b(b, p);
  const int64_t ka = a[axis_a], kb = b[axis_b];
  if (ka >= 0 && kb >= 0 && ka != kb) {
    c.bad(str("lhs of shape ", a, p.transpose_a ? " (transposed)" : "", " and rhs of shape ", b,
              p.transpose_b ? " (transposed)" : "", " do not fit: ", ka, " and ", kb, " elements are to be paired"));
  }
  Shape out;
  for (int i = 0; i < a.rank(); ++i) {
    if (i != axis_a) out.push_back(a[i]);
  }
  for (int i = 0; i < b.rank(); ++i) {
    if (i != axis_b) out.push_back(b[i]);
  }
  if (out.rank() == 0) out.push_back(1);
  c.merge_out(0, out);
  Shape known_a = a, known_b = b;
  known_a[axis_a] = kb;
  known_b[axis_b] = ka;
  c.merge_in(0, known_a);
  c.merge_in(1, known_b);
}

// ---- batch_dot: the last two axes are matrices ----------------------------------------------------------------------

ProductDims batch_dims(const Shape& a, const Shape& b, const DotParams& p) {
  const int r = a.rank();
  return {.batch = a.size(0, r - 2),
          .m = a[p.transpose_a ? r - 1 : r - 2],
          .n = b[p.transpose_b ? r - 2 : r - 1],
          .k = a[p.transpose_a ? r - 2 : r - 1],
          .trans_a = p.transpose_a,
          .trans_b = p.transpose_b};
}

void infer_batch_dot(InferContext& c) {
  const auto& p = c.as<DotParams>();
  const Shape &a = c.in[0].shape, &b = c.in[1].shape;
  if (!a.rank_known() || !b.rank_known()) return;
  const int r = a.rank();
  if (r < 3 || b.rank() != r) {
    c.bad(str("operands must have the same number of dimensions, at least 3; got shapes ", a, " and ", b));
  }
  Shape known_a = a, known_b = b, out = Shape::of_rank(r);
  for (int i = 0; i < r - 2; ++i) {
    if (a[i] >= 0 && b[i] >= 0 && a[i] != b[i]) {
      c.bad(str("lhs of shape ", a, " and rhs of shape ", b, " differ in batch dimension ", i));
    }
    out[i] = known_a[i] = known_b[i] = std::max(a[i], b[i]);
  }
  const int row_a = p.transpose_a ? r - 1 : r - 2, col_a = p.transpose_a ? r - 2 : r - 1;
  const int row_b = p.transpose_b ? r - 1 : r - 2, col_b = p.transpose_b ? r - 2 : r - 1;
  if (a[col_a] >= 0 && b[row_b] >= 0 && a[col_a] != b[row_b]) {
    c.bad(str("matrices of shapes ", a, p.transpose_a ? " (transposed)" : "", " and ", b,
              p.transpose_b ? " (transposed)" : "", " do not fit: ", a[col_a], " columns and ", b[row_b], " rows"));
  }
  known_a[col_a] = known_b[row_b] = std::max(a[col_a], b[row_b]);
  out[r - 2] = a[row_a];
  out[r - 1] = b[col_b];
  c.merge_in(0, known_a);
  c.merge_in(1, known_b);
  c.merge_out(0, out);
}

// ---- both
// ------------------------------------------------------------------------------------------------------------

using DimsFn = ProductDims (*)(const Shape&, const Shape&, const DotParams&);

template <DimsFn kDims>
Prepared prepare(const PrepareArgs& a) {
  return product_kernel(a, kDims(a.in[0].shape, a.in[1].shape, a.as<DotParams>()));
}
template <DimsFn kDims>
Prepared prepare_backward(const PrepareArgs& a) {
  return product_backward_kernel(a, kDims(a.in[1].shape, a.in[2].shape, a.as<DotParams>()));
}

void infer_backward(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
}

const RegisterOp dot{{
    .name = "dot",
    .doc = "Contracts the last axis of lhs with the first axis of rhs.\n\n"
           "Shapes: lhs (..., k), rhs (k, ...), output lhs without k, then rhs without k; two vectors give (1,). A "
           "transposed lhs is contracted along its first axis, a transposed rhs along its last.",
    .params = schema_of<DotParams>(),
    .inputs = {"lhs", "rhs"},
    .infer = {infer_dot, infer::same_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_dot", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"gemm", prepare<dot_dims>}},
    .flags = {.precision = Precision::widest},
}};

const RegisterOp backward_dot{{
    .name = "_backward_dot",
    .doc = "Gradients of dot with respect to both operands.",
    .params = schema_of<DotParams>(),
    .inputs = {"dy", "lhs", "rhs"},
    .outputs = 2,
    .infer = {infer_backward, infer::same_dtype},
    .gradient =
        Gradient([](GradientBuilder& g) { product_backward_gradient(g, "dot", "_backward_dot"); }).without_outputs(),
    .kernels = {{"gemm", prepare_backward<dot_dims>}},
    .flags = {.hidden = true},
}};

const RegisterOp batch_dot{{
    .name = "batch_dot",
    .doc = "Multiplies matrices that lie in the last two axes, one pair per batch entry.\n\n"
           "Shapes: lhs (..., m, k), rhs (..., k, n) with equal leading axes (at least one), output (..., m, n); "
           "transposed operands are (..., k, m) and (..., n, k).",
    .params = schema_of<DotParams>(),
    .inputs = {"lhs", "rhs"},
    .infer = {infer_batch_dot, infer::same_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_batch_dot", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"gemm", prepare<batch_dims>}},
    .flags = {.precision = Precision::widest},
}};

const RegisterOp backward_batch_dot{{
    .name = "_backward_batch_dot",
    .doc = "Gradients of batch_dot with respect to both operands.",
    .params = schema_of<DotParams>(),
    .inputs = {"dy", "lhs", "rhs"},
    .outputs = 2,
    .infer = {infer_backward, infer::same_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  product_backward_gradient(g, "batch_dot", "_backward_batch_dot");
                }).without_outputs(),
    .kernels = {{"gemm", prepare_backward<batch_dims>}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
