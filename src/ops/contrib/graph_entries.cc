// SPDX-License-Identifier: Apache-2.0
// What csr matrices hold: getnnz, edge_id. They have no dense form.
#include <algorithm>

#include "ndarray/sparse.h"
#include "operator/op.h"
#include "ops/tensor/index.h"
#include "resource/scratch.h"

namespace mxnet::contrib {
namespace {

void need_matrix(InferContext& c) {
  const Shape& s = c.in[0].shape;
  if (s.rank_known() && s.rank() != 2) c.bad(str("data must be a csr matrix, got shape ", s));
}

bool infer_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  out[0].storage = StorageType::dense;
  return in[0].storage == StorageType::csr &&
         std::all_of(in.begin() + 1, in.end(), [](const TensorSpec& t) { return t.storage == StorageType::dense; });
}

Prepared refuse_dense(const PrepareArgs& args) {
  fail(ErrorKind::value, args.op.name, ": data must be a csr array; it has another storage type");
}

// ---- getnnz -------------------------------------------------------------------------------------------------------

struct CountParams {
  std::optional<int> axis;
  static void declare(ParamSchemaOf<CountParams>& s) {
    s.field("axis", &CountParams::axis, "1: elements of each row; 0: of each column; None: all.").range(0, 1);
  }
};

void infer_count(InferContext& c) {
  need_matrix(c);
  const Shape& s = c.in[0].shape;
  const auto axis = c.as<CountParams>().axis;
  if (!axis)
    c.merge_out(0, Shape{1});
  else if (s.rank_known())
    c.merge_out(0, Shape{s[1 - *axis]});
}

Prepared prepare_count(const PrepareArgs& args) {
  const auto axis = args.as<CountParams>().axis;
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [=](const KernelCall& c) {
        const auto& data = *static_cast<const SparseParts*>(c.in[0]);
        auto* out = static_cast<int64_t*>(c.out[0]);
        if (!out) return;
        if (!axis) {
          out[0] = data.count();
        } else if (*axis == 1) {
          for (int64_t r = 0; r < n; ++r) out[r] = data.count() ? data.indptr()[r + 1] - data.indptr()[r] : 0;
        } else {
          std::fill_n(out, n, 0);
          for (int64_t i = 0; i < data.count(); ++i) ++out[data.indices()[i]];
        }
      },
      Kernel::kUnknownCost);
}

// ---- edge_id ------------------------------------------------------------------------------------------------------

void infer_edges(InferContext& c) {
  need_matrix(c);
  for (const int i : {1, 2}) {
    const Shape& s = c.in[i].shape;
    if (s.rank_known() && s.rank() != 1) c.bad(str(c.name_in(i), " must have 1 dimension, got shape ", s));
  }
  c.merge_in(2, c.in[1].shape);
  c.merge_in(1, c.in[2].shape);
  c.merge_out(0, c.in[1].shape);
}

void infer_edges_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
}

// The element in a row and column, found in the row's ascending columns.
template <typename T>
T element(const SparseParts& data, int64_t row, int64_t col) {
  if (row < 0 || row >= data.rows() || data.count() == 0) return static_cast<T>(-1.0f);
  const int64_t* begin = data.indices() + data.indptr()[row];
  const int64_t* end = data.indices() + data.indptr()[row + 1];
  const int64_t* at = std::lower_bound(begin, end, col);
  if (at == end || *at != col) return static_cast<T>(-1.0f);
  return static_cast<const T*>(data.values())[at - data.indices()];
}

Prepared prepare_edges(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [=, u_type = args.in[1].dtype, v_type = args.in[2].dtype, type = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        Scratch scratch;
        int64_t* u = scratch.get<int64_t>(static_cast<size_t>(n));
        int64_t* v = scratch.get<int64_t>(static_cast<size_t>(n));
        ops::load_indices(c.in[1], u_type, n, u);
        ops::load_indices(c.in[2], v_type, n, v);
        const auto& data = *static_cast<const SparseParts*>(c.in[0]);
        dispatch(type, [&]<typename T>(TypeTag<T>) {
          for (int64_t i = 0; i < n; ++i) static_cast<T*>(c.out[0])[i] = element<T>(data, u[i], v[i]);
        });
      },
      Kernel::kUnknownCost);
}

const RegisterOp getnnz{{.name = "_contrib_getnnz",
                         .doc = "How many elements a csr matrix stores: all, or those of each row (axis 1) or column "
                                "(axis 0, which 1.9.1 lacks).\n\nShapes: data (rows, cols) of storage type csr; output "
                                "int64 of (1,), (rows,) or (cols,).",
                         .params = schema_of<CountParams>(),
                         .inputs = {"data"},
                         .infer = {infer_count, infer::out_dtype<DType::i64>},
                         .gradient = Gradient::zero(),
                         .kernels = {{"dense", refuse_dense}}}};
const RegisterSparse getnnz_csr{"_contrib_getnnz", {infer_storage, {{"csr", prepare_count}}}};

const RegisterOp edge_id{{.name = "_contrib_edge_id",
                          .doc =
                              "Elements (u[i], v[i]) of a csr matrix, -1 where it stores none.\n\nShapes: data (rows, "
                              "cols) of storage type csr, u and v (n,); output (n,) of data's dtype.",
                          .inputs = Inputs{"data", "u", "v"}.sets_apart({"u", "v"}),
                          .infer = {infer_edges, infer_edges_dtype},
                          .gradient = Gradient::zero(),
                          .kernels = {{"dense", refuse_dense}}}};
const RegisterSparse edge_id_csr{"_contrib_edge_id", {infer_storage, {{"csr", prepare_edges}}}};

}  // namespace
}  // namespace mxnet::contrib
