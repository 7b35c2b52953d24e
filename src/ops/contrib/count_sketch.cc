// SPDX-License-Identifier: Apache-2.0
// Count sketch (Charikar, Chen and Farach-Colton, 2002): a random projection by hashing.
#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "operator/through_float.h"
#include "ops/linalg/matrices.h"
#include "ops/tensor/index.h"

namespace mxnet::contrib {
namespace {

struct SketchParams {
  int64_t out_dim = 0;
  int processing_batch_size = 32;
  static void declare(ParamSchemaOf<SketchParams>& s) {
    s.field("out_dim", &SketchParams::out_dim, "Length of the result.").required().range(1, 1e15).type("int");
    s.field("processing_batch_size", &SketchParams::processing_batch_size,
            "Of no effect here: how many rows a GPU takes at once.");
  }
};

void infer_shape(InferContext& c) {
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 1) c.bad(str("data must have at least 1 dimension, got shape ", data));
  const dim_t n = data[data.rank() - 1];
  for (int i = 1; i < 3; ++i) {
    const Shape& s = c.in[i].shape;
    if (!s.rank_known()) {
      c.merge_in(i, Shape{1, n});
    } else if (s.known() && n >= 0 && (s.rank() < 1 || s.size() != n || s[s.rank() - 1] != n)) {
      c.bad(str(c.name_in(i), " must hold one number for each of the ", n, " columns of data, got shape ", s));
    }
  }
  c.merge_out(0, linalg::with_last(data, 1, {c.as<SketchParams>().out_dim}));
}

void infer_dtype(InferContext& c) {
  const DType t = c.in[0].dtype;
  if (t != DType::unknown && !is_float(t)) c.bad(str("data must be of a floating point dtype, got ", name_of(t)));
  for (int i = 1; i < 3; ++i) {
    if (c.in[i].dtype == DType::unknown) c.merge_in_dtype(i, t);
  }
  c.merge_in_dtype(2, t);
  c.merge_out_dtype(0, t);
  c.merge_in_dtype(0, c.out[0].dtype);
}

// Rows of `wide` (in columns) and of `narrow` (out_dim columns), of which one is made from the other.
template <bool Backward>
Prepared prepare(const PrepareArgs& args) {
  if (is_half(args.in[0].dtype)) return "half types go through float";
  const Shape &from = args.in[0].shape, &to = args.out[0].shape;
  const int64_t read = from[from.rank() - 1], written = to[to.rank() - 1], n = Backward ? written : read;
  const int64_t out_dim = Backward ? read : written, rows = to.size(0, to.rank() - 1);
  return linalg::dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=, h_type = args.in[1].dtype](const KernelCall& c) {
          Scratch scratch;
          int64_t* h = scratch.get<int64_t>(static_cast<size_t>(n));
          ops::load_indices(c.in[1], h_type, n, h);
          ops::place_indices(h, n, out_dim, ops::IndexMode::raise);
          const T* s = static_cast<const T*>(c.in[2]);
          linalg::each_matrix(rows, n, [&](int64_t r) {
            const T* x = static_cast<const T*>(c.in[0]) + r * read;
            T* y = static_cast<T*>(c.out[0]) + r * written;
            if (Backward) {
              for (int64_t i = 0; i < n; ++i) y[i] = s[i] * x[h[i]];
            } else {
              std::fill_n(y, written, T(0));
              for (int64_t i = 0; i < n; ++i) y[h[i]] += s[i] * x[i];
            }
          });
        },
        linalg::cost_of(rows, n * 8 + out_dim));
  });
}

// in: dy, h, s, data (for its shape).
void infer_backward(InferContext& c) { c.merge_out(0, c.in[3].shape); }

void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

const RegisterOp count_sketch{
    {.name = "_contrib_count_sketch",
     .doc = "Count sketch of rows: out[h[i]] is the sum of s[i] * data[i]. An h outside of [0, out_dim) raises "
            "IndexError when the result is waited for.\n\nShapes: data (..., n), h and s (1, n) or (n,), output (..., "
            "out_dim). 1.9.1 has it on GPUs only. Gradients flow to data alone.",
     .params = schema_of<SketchParams>(),
     .inputs = Inputs{"data", "h", "s"}.sets_apart({"h"}),
     .infer = {infer_shape, infer_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give(0, "_backward_count_sketch", {g.head(0), g.input(1), g.input(2), g.input(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"portable", prepare<false>}, {"through float", prepare_through_float<prepare<false>>}},
     .flags = {.precision = Precision::full}}};

const RegisterOp backward{
    {.name = "_backward_count_sketch",
     .doc = "Gradient of count_sketch.",
     .params = schema_of<SketchParams>(),
     .inputs = {"dy", "h", "s", "data"},
     .infer = {infer_backward, infer_backward_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give(0, "_contrib_count_sketch", {g.head(0), g.input(1), g.input(2)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"portable", prepare<true>}, {"through float", prepare_through_float<prepare<true>>}},
     .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::contrib
