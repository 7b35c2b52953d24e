// SPDX-License-Identifier: Apache-2.0
// Copies between storage types.
#include <cstring>

#include "ndarray/copy.h"
#include "ndarray/sparse.h"
#include "operator/op.h"

namespace mxnet::ops {
namespace {

struct CastStorageParams {
  StorageType stype = StorageType::dense;
  static void declare(ParamSchemaOf<CastStorageParams>& s) {
    s.choice("stype", &CastStorageParams::stype,
             {{"default", StorageType::dense}, {"row_sparse", StorageType::row_sparse}, {"csr", StorageType::csr}},
             "Storage type of the result.")
        .required();
  }
};

// One array in any storage type to another of the same dtype; adds where that is asked.
class CopyKernel final : public Kernel {
 public:
  explicit CopyKernel(const PrepareArgs& args) : in_(args.in[0]), out_(args.out[0]), add_(args.req[0] == Req::add) {
    accepts_add = true;
  }

  void run(const KernelCall& c) const override {
    const auto* from = static_cast<const SparseParts*>(c.in[0]);
    auto* to = static_cast<SparseParts*>(c.out[0]);
    if (is_sparse(in_.storage) && is_sparse(out_.storage))
      add_ ? sparse::accumulate(*to, *from) : sparse::copy(*to, *from);
    else if (is_sparse(in_.storage))
      add_ ? sparse::accumulate_into_dense(c.out[0], *from) : sparse::to_dense(c.out[0], out_.dtype, *from);
    else if (is_sparse(out_.storage))
      from_dense(*to, c.in[0]);
    else
      copy_dense(c.out[0], c.in[0]);
  }

 private:
  void from_dense(SparseParts& to, const void* from) const {
    if (!add_) return sparse::from_dense(to, from, in_.dtype);
    SparseParts rows(to.storage(), to.shape(), to.dtype(), to.device());
    sparse::from_dense(rows, from, in_.dtype);
    sparse::accumulate(to, rows);
  }
  void copy_dense(void* to, const void* from) const {
    const int64_t n = in_.shape.size();
    if (add_)
      copy::accumulate(to, from, in_.dtype, n);
    else
      std::memcpy(to, from, static_cast<size_t>(n) * size_of(in_.dtype));
  }

  TensorSpec in_, out_;
  bool add_;
};

Prepared prepare_copy(const PrepareArgs& args) {
  const StorageType from = args.in[0].storage, to = args.out[0].storage;
  if (is_sparse(from) && is_sparse(to) && from != to) {
    return str("a copy from ", name_of(from), " to ", name_of(to), " is not supported; go through tostype('default')");
  }
  if (to == StorageType::csr && args.out[0].shape.rank() != 2) {
    return str("a csr array has two axes, got shape ", args.out[0].shape);
  }
  if (args.req[0] == Req::add && to == StorageType::csr) return "csr arrays cannot be added to";
  return std::unique_ptr<Kernel>(new CopyKernel(args));
}

bool infer_cast(const Params& params, std::span<const TensorSpec>, std::span<TensorSpec> out) {
  out[0].storage = params.as<CastStorageParams>().stype;
  return true;
}

// A copy keeps the storage type unless the target has its own.
bool infer_copy(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (out[0].storage == StorageType::unset) out[0].storage = in[0].storage;
  return true;
}

const RegisterOp cast_storage{{
    .name = "cast_storage",
    .doc = "The array in another storage type. Rows (row_sparse) or elements (csr) that are zero are not stored.\n\n"
           "Shapes: data (any), output the same; csr needs two axes.",
    .aliases = {"_sparse_cast_storage"},
    .params = schema_of<CastStorageParams>(),
    .inputs = {"data"},
    .infer = {infer::same_shape, infer::same_dtype},
    .gradient = Gradient([](GradientBuilder& g) { g.give(0, g.head(0)); }).only_heads(),
    .kernels = {{"copy", prepare_copy}},
}};

const RegisterSparse cast_storage_form{"cast_storage", {infer_cast, {{"copy", prepare_copy}}, true}};
const RegisterSparse copy_form{"_copy", {infer_copy, {{"copy", prepare_copy}}}};

}  // namespace
}  // namespace mxnet::ops
