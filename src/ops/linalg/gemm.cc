// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "ops/nn/matrix_product.h"

namespace mxnet::linalg {
namespace {

using nn::ProductDims;

struct Gemm2Params {
  bool transpose_a = false;
  bool transpose_b = false;
  double alpha = 1;
  int axis = -2;
  static void declare(ParamSchemaOf<Gemm2Params>& s) {
    s.field("transpose_a", &Gemm2Params::transpose_a, "Whether the first matrices are transposed.");
    s.field("transpose_b", &Gemm2Params::transpose_b, "Whether the second matrices are transposed.");
    s.field("alpha", &Gemm2Params::alpha, "Multiplies the product.");
    s.field("axis", &Gemm2Params::axis, "The axis of matrix rows; columns are the last.");
  }
};

struct GemmParams : Gemm2Params {
  double beta = 1;
  static void declare(ParamSchemaOf<GemmParams>& s) {
    using P = GemmParams;
    s.field("transpose_a", static_cast<bool P::*>(&P::transpose_a), "Whether the first matrices are transposed.");
    s.field("transpose_b", static_cast<bool P::*>(&P::transpose_b), "Whether the second matrices are transposed.");
    s.field("alpha", static_cast<double P::*>(&P::alpha), "Multiplies the product.");
    s.field("beta", &P::beta, "Multiplies C.");
    s.field("axis", static_cast<int P::*>(&P::axis), "The axis of matrix rows; columns are the last.");
  }
};

int row_axis(const Shape& s, const Gemm2Params& p) { return normalize_axis(p.axis, s.rank(), "axis"); }

void infer_product(InferContext& c, const Gemm2Params& p) {
  const Shape &a = c.in[0].shape, &b = c.in[1].shape;
  if (!a.rank_known() || !b.rank_known()) return;
  const int r = a.rank();
  if (r < 2 || b.rank() != r) {
    c.bad(str("A and B must have the same number of dimensions, at least 2; got shapes ", a, " and ", b));
  }
  const int row = row_axis(a, p), col = r - 1;
  if (row == col) c.bad("axis must not be the last one");
  Shape out = a;
  for (int i = 0; i < r - 1; ++i) {
    if (i == row) continue;
    if (a[i] >= 0 && b[i] >= 0 && a[i] != b[i])
      c.bad(str("A of shape ", a, " and B of shape ", b, " differ in axis ", i));
    out[i] = std::max(a[i], b[i]);
  }
  const int64_t inner_a = p.transpose_a ? a[row] : a[col], inner_b = p.transpose_b ? b[col] : b[row];
  if (inner_a >= 0 && inner_b >= 0 && inner_a != inner_b) {
    c.bad(str("matrices of shapes ", a, p.transpose_a ? " (transposed)" : "", " and ", b,
              p.transpose_b ? " (transposed)" : "", " do not fit: ", inner_a, " columns and ", inner_b, " rows"));
  }
  out[row] = p.transpose_a ? a[col] : a[row];
  out[col] = p.transpose_b ? b[row] : b[col];
  c.merge_out(0, out);
}

void infer_gemm2(InferContext& c) { infer_product(c, c.as<Gemm2Params>()); }

void infer_gemm(InferContext& c) {
  infer_product(c, c.as<GemmParams>());
  c.merge_in(2, c.out[0].shape);
  c.merge_out(0, c.in[2].shape);
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("A must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

ProductDims dims_of(const Shape& a, const Shape& b, const Gemm2Params& p) {
  const int row = row_axis(a, p), col = a.rank() - 1;
  int64_t batch = 1;
  for (int i = 0; i < col; ++i) batch *= i == row ? 1 : a[i];
  return {.batch = batch,
          .m = p.transpose_a ? a[col] : a[row],
          .n = p.transpose_b ? b[row] : b[col],
          .k = p.transpose_a ? a[row] : a[col],
          .trans_a = p.transpose_a,
          .trans_b = p.transpose_b,
          .alpha = p.alpha};
}

// The rows' axis moved next to the columns, or back: (outer, rows, middle, cols) <-> (outer, middle, rows, cols).
struct RowMove {
  int64_t outer, rows, middle, cols;
  DType dtype;

  static RowMove of(const TensorSpec& t, int row) {
    const int r = t.shape.rank();
    return {t.shape.size(0, row), t.shape[row], t.shape.size(row + 1, r - 1), t.shape[r - 1], t.dtype};
  }
  size_t bytes() const {
    return static_cast<size_t>(outer * rows * middle * cols) * static_cast<size_t>(size_of(dtype));
  }
  void run(const void* from, void* to, bool back) const {
    const size_t line = static_cast<size_t>(cols) * static_cast<size_t>(size_of(dtype));
    cpu::parallel_for(outer * middle * rows, 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t o = i / (middle * rows), m = i / rows % middle, r = i % rows;
        const size_t apart = static_cast<size_t>((o * rows + r) * middle + m) * line;
        const size_t packed = static_cast<size_t>(i) * line;
        std::memcpy(static_cast<char*>(to) + (back ? apart : packed),
                    static_cast<const char*>(from) + (back ? packed : apart), line);
      }
    });
  }
};

// Wraps the kernel of packed matrices: inputs are packed before it, outputs spread after it.
class MovedKernel final : public Kernel {
 public:
  MovedKernel(const PrepareArgs& a, int row, std::unique_ptr<Kernel> inner) : inner_(std::move(inner)) {
    onednn::ScratchPlan plan;
    for (const TensorSpec& t : a.in) add(plan, t, row, in_, in_at_);
    for (const TensorSpec& t : a.out) add(plan, t, row, out_, out_at_);
    inner_at_ = plan.add(inner_->scratch);
    scratch = plan.size();
    cost_ns = inner_->cost_ns + static_cast<int64_t>(inner_at_ / 4);
    team_matters = inner_->team_matters;
  }

  void run(const KernelCall& c) const override {
    std::vector<void*> in, out;
    for (size_t i = 0; i < in_.size(); ++i) {
      in.push_back(onednn::at(c.scratch, in_at_[i]));
      in_[i].run(c.in[i], in.back(), false);
    }
    for (size_t i = 0; i < out_.size(); ++i) out.push_back(c.out[i] ? onednn::at(c.scratch, out_at_[i]) : nullptr);
    KernelCall call = c;
    call.in = in.data();
    call.out = out.data();
    call.scratch = onednn::at(c.scratch, inner_at_);
    inner_->run(call);
    for (size_t i = 0; i < out_.size(); ++i) {
      if (c.out[i]) out_[i].run(out[i], c.out[i], true);
    }
  }

 private:
  static void add(onednn::ScratchPlan& plan, const TensorSpec& t, int row, std::vector<RowMove>& moves,
                  std::vector<size_t>& at) {
    moves.push_back(RowMove::of(t, row));
    at.push_back(plan.add(moves.back().bytes()));
  }

  std::unique_ptr<Kernel> inner_;
  std::vector<RowMove> in_, out_;
  std::vector<size_t> in_at_, out_at_;
  size_t inner_at_;
};

// The inner kernel never adds where its outputs are temporaries.
template <typename Make>
Prepared with_moves(const PrepareArgs& a, const Shape& like, Make&& make) {
  const int row = row_axis(like, a.as<Gemm2Params>());
  if (row == like.rank() - 2) return make(a);
  std::vector<Req> writes(a.req.begin(), a.req.end());
  for (Req& r : writes) r = r == Req::null ? Req::null : Req::write;
  PrepareArgs inner{a.op, a.params, a.in, a.in_layout, a.out, writes, a.training, a.team};
  return std::unique_ptr<Kernel>(new MovedKernel(a, row, make(inner)));
}

Prepared prepare(const PrepareArgs& a) {
  const ProductDims dims = dims_of(a.in[0].shape, a.in[1].shape, a.as<Gemm2Params>());
  return with_moves(a, a.in[0].shape, [&](const PrepareArgs& args) { return nn::product_kernel(args, dims); });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const ProductDims dims = dims_of(a.in[1].shape, a.in[2].shape, a.as<Gemm2Params>());
  return with_moves(a, a.in[1].shape, [&](const PrepareArgs& args) { return nn::product_backward_kernel(args, dims); });
}

// The product, then C.
class GemmKernel final : public Kernel {
 public:
  GemmKernel(const PrepareArgs& a, std::unique_ptr<Kernel> product)
      : product_(std::move(product)), size_(a.out[0].shape.size()), dtype_(a.out[0].dtype) {
    scratch = product_->scratch;
    cost_ns = product_->cost_ns + size_;
    team_matters = product_->team_matters;
  }

  void run(const KernelCall& c) const override {
    product_->run(c);
    const double beta = c.params->as<GemmParams>().beta;
    if (beta == 0) return;
    dispatch_float(dtype_, [&]<typename T>(TypeTag<T>) {
      using A = accumulate_t<T>;
      const T* from = static_cast<const T*>(c.in[2]);
      T* to = static_cast<T*>(c.out[0]);
      cpu::parallel_for(size_, 65536, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(A(to[i]) + static_cast<A>(beta) * A(from[i]));
      });
    });
  }

 private:
  std::unique_ptr<Kernel> product_;
  int64_t size_;
  DType dtype_;
};

Prepared prepare_gemm(const PrepareArgs& a) {
  const ProductDims dims = dims_of(a.in[0].shape, a.in[1].shape, a.as<GemmParams>());
  const Req write[] = {Req::write};
  const PrepareArgs product{a.op, a.params, a.in.first(2), a.in_layout.first(2), a.out, write, a.training, a.team};
  Prepared made =
      with_moves(product, a.in[0].shape, [&](const PrepareArgs& args) { return nn::product_kernel(args, dims); });
  return std::unique_ptr<Kernel>(new GemmKernel(a, std::move(made.kernel)));
}

void gemm_gradient(GradientBuilder& g) {
  const auto& p = g.params<GemmParams>();
  g.give_all({0, 1}, "_backward_linalg_gemm2", {g.head(0), g.input(0), g.input(1)},
             make_params<Gemm2Params>(static_cast<const Gemm2Params&>(p)));
  if (g.needs(2)) g.give(2, g.call("_mul_scalar", {g.head(0)}, ParamMap{{"scalar", p.beta}}));
}

void infer_backward(InferContext& c) {
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
}

const RegisterOp linalg_gemm2{{
    .name = "_linalg_gemm2",
    .doc = "alpha times the product of matrices that lie in the last two axes (or in `axis` and the last one).\n\n"
           "Shapes: A (..., m, k), B (..., k, n) with equal leading axes, output (..., m, n); transposed operands are "
           "(..., k, "
           "m) and (..., n, k).",
    .aliases = {"linalg_gemm2"},
    .params = schema_of<Gemm2Params>(),
    .inputs = {"A", "B"},
    .infer = {infer_gemm2, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_linalg_gemm2", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
                }).without_outputs(),
    .kernels = {{"gemm", prepare}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp linalg_gemm{{
    .name = "_linalg_gemm",
    .doc = "alpha times the product of matrices that lie in the last two axes (or in `axis` and the last one), plus "
           "beta times C.\n\nShapes: A (..., m, k), B (..., k, n) with equal leading axes, C and output (..., m, n); "
           "transposed operands are (..., k, m) and (..., n, k).",
    .aliases = {"linalg_gemm"},
    .params = schema_of<GemmParams>(),
    .inputs = {"A", "B", "C"},
    .infer = {infer_gemm, infer_dtype},
    .gradient = Gradient(gemm_gradient).without_outputs(),
    .kernels = {{"gemm", prepare_gemm}},
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_linalg_gemm2{{
    .name = "_backward_linalg_gemm2",
    .doc = "Gradients of linalg_gemm2 with respect to both operands.",
    .params = schema_of<Gemm2Params>(),
    .inputs = {"dy", "A", "B"},
    .outputs = 2,
    .infer = {infer_backward, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  nn::product_backward_gradient(g, "_linalg_gemm2", "_backward_linalg_gemm2");
                }).without_outputs(),
    .kernels = {{"gemm", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::linalg
