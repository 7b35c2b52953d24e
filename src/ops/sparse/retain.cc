// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "operator/op.h"

namespace mxnet::ops {
namespace {

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  if (c.in[1].shape.rank_known() && c.in[1].shape.rank() != 1) {
    c.bad(str("indices must have one axis, got shape ", c.in[1].shape));
  }
}

// The distinct row numbers that are asked for, ascending.
std::vector<int64_t> wanted_rows(const void* indices, DType dtype, int64_t n, int64_t rows) {
  return dispatch(dtype, [&]<typename Index>(TypeTag<Index>) {
    std::vector<int64_t> wanted(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const int64_t row = convert<int64_t>(static_cast<const Index*>(indices)[i]);
      if (row < 0 || row >= rows) {
        fail(ErrorKind::index, "_sparse_retain: row ", row, " at position ", i, " of indices is out of range for ",
             rows, " rows");
      }
      wanted[static_cast<size_t>(i)] = row;
    }
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    return wanted;
  });
}

Prepared prepare_dense(const PrepareArgs& args) {
  const int64_t rows = args.in[0].shape[0], n = args.in[1].shape.size();
  const size_t bytes =
      static_cast<size_t>(args.in[0].shape.size(1, args.in[0].shape.rank())) * size_of(args.in[0].dtype);
  return make_kernel(
      [=, dtype = args.in[1].dtype](const KernelCall& c) {
        std::memset(c.out[0], 0, static_cast<size_t>(rows) * bytes);
        for (const int64_t row : wanted_rows(c.in[1], dtype, n, rows)) {
          const size_t at = static_cast<size_t>(row) * bytes;
          std::memcpy(static_cast<char*>(c.out[0]) + at, static_cast<const char*>(c.in[0]) + at, bytes);
        }
      },
      50 + n * 20 + rows * static_cast<int64_t>(bytes) / 8);
}

Prepared prepare_rows(const PrepareArgs& args) {
  return make_kernel(
      [n = args.in[1].shape.size(), dtype = args.in[1].dtype](const KernelCall& c) {
        const auto& data = *static_cast<const SparseParts*>(c.in[0]);
        auto& out = *static_cast<SparseParts*>(c.out[0]);
        const int64_t* stored = data.indices();
        std::vector<int64_t> from;  // positions in data
        for (const int64_t row : wanted_rows(c.in[1], dtype, n, data.rows())) {
          const int64_t* at = std::lower_bound(stored, stored + data.count(), row);
          if (at != stored + data.count() && *at == row) from.push_back(at - stored);
        }
        out.resize(static_cast<int64_t>(from.size()));
        const size_t bytes = static_cast<size_t>(data.width()) * size_of(data.dtype());
        cpu::parallel_for(out.count(), std::max<int64_t>(1, static_cast<int64_t>(65536 / (bytes + 1))),
                          [&](int64_t begin, int64_t end) {
                            for (int64_t k = begin; k < end; ++k) {
                              const int64_t source = from[static_cast<size_t>(k)];
                              out.indices()[k] = stored[source];
                              std::memcpy(static_cast<char*>(out.values()) + static_cast<size_t>(k) * bytes,
                                          static_cast<const char*>(data.values()) + static_cast<size_t>(source) * bytes,
                                          bytes);
                            }
                          });
      },
      Kernel::kUnknownCost);
}

bool infer_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (in[0].storage != StorageType::row_sparse || is_sparse(in[1].storage)) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = StorageType::row_sparse;
  return out[0].storage == StorageType::row_sparse;
}

const RegisterOp retain{{
    .name = "_sparse_retain",
    .doc = "The rows of data whose numbers are given; all others are zero. A row_sparse array stays one.\n\n"
           "Shapes: data (rows, ...), indices (n), output as data.",
    .inputs = {"data", "indices"},
    .infer = {infer_shape, infer::float_like_input},
    .gradient =
        Gradient([](GradientBuilder& g) { g.give(0, "_sparse_retain", {g.head(0), g.input(1)}); }).without_outputs(),
    .kernels = {{"rows", prepare_dense}},
}};
const RegisterSparse retain_form{"_sparse_retain", {infer_storage, {{"rows", prepare_rows}}}};

}  // namespace
}  // namespace mxnet::ops
