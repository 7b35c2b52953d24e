// SPDX-License-Identifier: Apache-2.0
// Operators that old programs and symbol files name: _set_value, _onehot_encode, IdentityAttachKLSparseReg.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/tensor/index.h"
#include "resource/scratch.h"

namespace mxnet::contrib {
namespace {

// ---- _set_value ---------------------------------------------------------------------------------------------------

struct ValueParams {
  double src = 0;
  static void declare(ParamSchemaOf<ValueParams>& s) {
    s.field("src", &ValueParams::src, "The value of all elements.").runtime().type("real_t");
  }
};

Prepared prepare_set_value(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [n, type = args.out[0].dtype](const KernelCall& c) {
        const double value = c.params->as<ValueParams>().src;
        dispatch(type, [&]<typename T>(TypeTag<T>) {
          T* to = static_cast<T*>(c.out[0]);
          cpu::parallel_for(n, 65536,
                            [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, convert<T>(value)); });
        });
      },
      50 + n / 4);
}

const RegisterOp set_value{{.name = "_set_value",
                            .doc = "Sets all elements of `out`, which must be given.",
                            .params = schema_of<ValueParams>(),
                            .inputs = Inputs({}),
                            .infer = {[](InferContext&) {}, [](InferContext&) {}},
                            .gradient = Gradient::none(),
                            .kernels = {{"portable", prepare_set_value}}}};

// ---- _onehot_encode -----------------------------------------------------------------------------------------------

void infer_onehot(InferContext& c) {
  const Shape &indices = c.in[0].shape, &like = c.in[1].shape;
  c.merge_out(0, like);
  c.merge_in(1, c.out[0].shape);
  if (indices.rank_known() && indices.rank() != 1) c.bad(str("lhs must have 1 dimension, got shape ", indices));
  if (like.rank_known() && like.rank() != 2) c.bad(str("rhs must have 2 dimensions, got shape ", like));
  if (like.rank_known()) c.merge_in(0, Shape{like[0]});
}

void infer_onehot_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[1].dtype);
  c.merge_in_dtype(1, c.out[0].dtype);
}

Prepared prepare_onehot(const PrepareArgs& args) {
  const int64_t rows = args.out[0].shape[0], cols = args.out[0].shape[1];
  return make_kernel(
      [=, from = args.in[0].dtype, type = args.out[0].dtype](const KernelCall& c) {
        Scratch scratch;
        int64_t* at = scratch.get<int64_t>(static_cast<size_t>(rows));
        ops::load_indices(c.in[0], from, rows, at);
        dispatch(type, [&]<typename T>(TypeTag<T>) {
          T* to = static_cast<T*>(c.out[0]);
          std::fill_n(to, rows * cols, convert<T>(0.0));
          for (int64_t r = 0; r < rows; ++r) {
            if (at[r] >= 0 && at[r] < cols) to[r * cols + at[r]] = convert<T>(1.0);
          }
        });
      },
      50 + rows * cols);
}

const RegisterOp onehot{{.name = "_onehot_encode",
                         .doc =
                             "Rows of zeros with a one at the column that lhs names; an index outside of the columns "
                             "gives zeros.\n\nShapes: lhs (n,), rhs (n, classes), of which shape and dtype are used, "
                             "output the same.",
                         .inputs = Inputs{"lhs", "rhs"}.sets_apart({"lhs"}),
                         .infer = {infer_onehot, infer_onehot_dtype},
                         .gradient = Gradient::zero(),
                         .kernels = {{"portable", prepare_onehot}}}};

// ---- IdentityAttachKLSparseReg ------------------------------------------------------------------------------------

struct SparseRegParams {
  double sparseness_target = 0.1, penalty = 0.001, momentum = 0.9;
  static void declare(ParamSchemaOf<SparseRegParams>& s) {
    using P = SparseRegParams;
    s.field("sparseness_target", &P::sparseness_target, "The mean activation that is wanted.")
        .range(0, 1)
        .type("float");
    s.field("penalty", &P::penalty, "Strength of the penalty.").range(0, 1).type("float");
    s.field("momentum", &P::momentum, "Decay rate of the moving average.").range(0, 1).type("float");
  }
};

void infer_sparse_reg(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() != 2) c.bad(str("data must have 2 dimensions (batch, units), got shape ", data));
  c.merge_in(1, Shape{data[1]});
}

void infer_sparse_reg_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

Prepared prepare_sparse_reg(const PrepareArgs& args) {
  const int64_t rows = args.in[0].shape[0], units = args.in[0].shape[1];
  const double momentum = args.as<SparseRegParams>().momentum;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=, training = args.training](const KernelCall& c) {
          const T* x = static_cast<const T*>(c.in[0]);
          if (training && rows > 0) {
            T* average = static_cast<T*>(c.in[1]);
            for (int64_t j = 0; j < units; ++j) {
              double sum = 0;
              for (int64_t r = 0; r < rows; ++r) sum += static_cast<double>(x[r * units + j]);
              average[j] = static_cast<T>(momentum * static_cast<double>(average[j]) +
                                          (1 - momentum) * sum / static_cast<double>(rows));
            }
          }
          if (c.out[0] && c.out[0] != c.in[0]) std::copy_n(x, rows * units, static_cast<T*>(c.out[0]));
        },
        50 + rows * units);
  });
}

// The slope of the divergence of the average activation from the target, for every unit.
void sparse_reg_gradient(GradientBuilder& g) {
  const auto& p = g.params<SparseRegParams>();
  const auto scalar = [&](const char* op, const Value& v, double s) {
    return g.call(op, {v}, ParamMap{{"scalar", s}});
  };
  const Value average = g.call("Reshape", {g.input(1)}, ParamMap{{"shape", ParamList{int64_t{1}, int64_t{-1}}}});
  const Value active = scalar("_rdiv_scalar", average, p.penalty * p.sparseness_target);
  const Value passive =
      scalar("_rdiv_scalar", scalar("_rminus_scalar", average, 1), p.penalty * (1 - p.sparseness_target));
  g.give(0, "broadcast_add", {g.head(0), g.call("elemwise_sub", {passive, active})});
}

const RegisterOp sparse_reg{
    {.name = "IdentityAttachKLSparseReg",
     .doc =
         "The identity, whose gradient pulls the mean activation of every unit to a target: that of penalty times the "
         "divergence of Kullback and Leibler between the target and a moving average over batches, which is an "
         "auxiliary state. Activations should lie in (0, 1).\n\nShapes: data (batch, units), moving_avg (units,), "
         "output (batch, units). The average moves in each forward pass in training mode; 1.9.1 moves it in backward.",
     .params = schema_of<SparseRegParams>(),
     .inputs = Inputs{"data", "moving_avg"}.with_auxiliary({"moving_avg"}),
     .infer = {infer_sparse_reg, infer_sparse_reg_dtype},
     .gradient = Gradient(sparse_reg_gradient).without_outputs(),
     .kernels = {{"portable", prepare_sparse_reg}},
     .flags = {.training_mode = true, .mutates_in_training = true, .inplace = true, .precision = Precision::full}}};

}  // namespace
}  // namespace mxnet::contrib
