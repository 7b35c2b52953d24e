// SPDX-License-Identifier: Apache-2.0
// Reading and writing by index tuples: gather_nd, scatter_nd, _scatter_set_nd; flat and tuple indices; index_copy.
#include <cstring>
#include <numeric>
#include <optional>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"
#include "ops/tensor/index.h"

namespace mxnet::ops {
namespace {

// An array of `shape` addressed by the columns of indices (depth, n): each names a row of `row` elements.
struct NdIndex {
  Shape shape;
  int depth;
  int64_t n, rows, row;
  DType dtype;

  NdIndex(const Shape& array, const TensorSpec& indices)
      : shape(array), depth(static_cast<int>(indices.shape[0])), dtype(indices.dtype) {
    n = indices.shape.size(1, indices.shape.rank());
    rows = shape.size(0, depth);
    row = shape.size(depth, shape.rank());
  }
  size_t scratch() const { return static_cast<size_t>(2 * n) * sizeof(int64_t); }

  // Row numbers of all columns; indices count from the end when negative, others outside throw Error(index).
  int64_t* resolve(const void* indices, void* scratch) const {
    int64_t* flat = static_cast<int64_t*>(scratch);
    int64_t* column = flat + n;
    std::fill(flat, flat + n, int64_t{0});
    for (int d = 0; d < depth; ++d) {
      load_indices(static_cast<const char*>(indices) + d * n * size_of(dtype), dtype, n, column);
      for (int64_t k = 0; k < n; ++k) {
        const int64_t i = column[k] < 0 ? column[k] + shape[d] : column[k];
        if (i < 0 || i >= shape[d]) {
          fail(ErrorKind::index, "index ", column[k], " is out of bounds for axis ", d, " with size ", shape[d]);
        }
        flat[k] = flat[k] * shape[d] + i;
      }
    }
    return flat;
  }
};

void check_depth(const InferContext& c, const Shape& array, const Shape& indices) {
  if (indices.rank() == 0) c.bad("indices must have at least one dimension");
  if (indices[0] > array.rank()) {
    c.bad(str("indices ", indices, " name ", indices[0], " dimensions, the array ", array, " has ", array.rank()));
  }
}

Shape rows_shape(const Shape& array, const Shape& indices) {
  Shape out;
  for (int d = 1; d < indices.rank(); ++d) out.push_back(indices[d]);
  for (int d = static_cast<int>(indices[0]); d < array.rank(); ++d) out.push_back(array[d]);
  return out;
}

void copy_rows(void* dst, const int64_t* dst_rows, const void* src, const int64_t* src_rows, int64_t n, int64_t bytes) {
  if (bytes == 0) return;
  cpu::parallel_for(n, std::max<int64_t>(1, 65536 / bytes), [=](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      std::memcpy(static_cast<char*>(dst) + (dst_rows ? dst_rows[k] : k) * bytes,
                  static_cast<const char*>(src) + (src_rows ? src_rows[k] : k) * bytes, bytes);
    }
  });
}

// Rows may repeat, then the last one stays: written in order by one thread.
void put_rows(void* dst, const int64_t* dst_rows, const void* src, int64_t n, int64_t bytes) {
  for (int64_t k = 0; k < n && bytes > 0; ++k) {
    std::memcpy(static_cast<char*>(dst) + dst_rows[k] * bytes, static_cast<const char*>(src) + k * bytes, bytes);
  }
}

template <int Data, int Index>
void infer_dtypes(InferContext& c) {
  c.merge_out_dtype(0, c.in[Data].dtype);
  if (c.in[Index].dtype == DType::unknown) c.merge_in_dtype(Index, c.in[Data].dtype);
}

// ---- gather_nd -----------------------------------------------------------------------------------------------------

void infer_gather(InferContext& c) {
  const Shape &data = c.in[0].shape, &indices = c.in[1].shape;
  if (!data.rank_known() || !indices.rank_known() || (indices.rank() > 0 && indices[0] < 0)) return;
  check_depth(c, data, indices);
  c.merge_out(0, rows_shape(data, indices));
}

Prepared prepare_gather(const PrepareArgs& args) {
  const NdIndex at(args.in[0].shape, args.in[1]);
  const int64_t bytes = at.row * size_of(args.in[0].dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (c.out[0]) copy_rows(c.out[0], nullptr, c.in[0], at.resolve(c.in[1], c.scratch), at.n, bytes);
      },
      50 + at.n * (5 * at.depth + 5 + bytes / 8), at.scratch());
}

Prepared prepare_gather_backward(const PrepareArgs& args) {
  const NdIndex at(args.in[0].shape, args.in[1]);
  return make_kernel(
      [at, dtype = args.in[2].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        sum_rows(c.out[0], c.in[2], dtype, at.resolve(c.in[1], c.scratch), at.n, 1, at.rows, at.row);
      },
      100 + at.n * 10 * at.depth + (at.rows + at.n) * (at.row + 4) / 2, at.scratch());
}

const RegisterOp gather_nd{{.name = "gather_nd",
                            .doc =
                                "Rows of data by index tuples: indices[:, k] names the leading dimensions of row k.\n\n"
                                "Shapes: data (d0, ..., dk), indices (m, i...), output (i..., dm, ..., dk).\n\n"
                                "An index outside raises IndexError when the result is waited for.",
                            .aliases = {"_npi_gather_nd", "_npx_gather_nd"},
                            .inputs = {"data", "indices"},
                            .infer = {infer_gather, infer_dtypes<0, 1>},
                            .gradient = Gradient([](GradientBuilder& g) {
                                          g.give_all({0}, "_backward_gather_nd", {g.input(0), g.input(1), g.head(0)});
                                        }).without_outputs(),
                            .kernels = {{"index", prepare_gather}}}};

const RegisterOp backward_gather_nd{
    {.name = "_backward_gather_nd",
     .doc = "Gradient of gather_nd with respect to data: heads of equal indices are added in their order.",
     .inputs = {"data", "indices", "head"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); }, infer_dtypes<2, 1>},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give_all({2}, "gather_nd", {g.head(0), g.input(1)}); }).without_outputs(),
     .kernels = {{"index", prepare_gather_backward}},
     .flags = {.hidden = true}}};

// ---- scatter_nd ----------------------------------------------------------------------------------------------------

struct ScatterParams {
  Shape shape;
  static void declare(ParamSchemaOf<ScatterParams>& s) {
    s.field("shape", &ScatterParams::shape, "Shape of the result.").required();
  }
};

void infer_scatter(InferContext& c) {
  const auto& p = c.as<ScatterParams>();
  const Shape &data = c.in[0].shape, &indices = c.in[1].shape;
  c.merge_out(0, p.shape);
  if (!indices.known()) return;
  check_depth(c, p.shape, indices);
  const Shape expected = rows_shape(p.shape, indices);
  if (data.known() && data != expected) {
    c.bad(str("data has shape ", data, ", indices ", indices, " into ", p.shape, " need ", expected));
  }
  c.merge_in(0, expected);
}

Prepared prepare_scatter(const PrepareArgs& args) {
  const NdIndex at(args.out[0].shape, args.in[1]);
  const int64_t item = size_of(args.in[0].dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        const int64_t* rows = at.resolve(c.in[1], c.scratch);
        cpu::zero_bytes(c.out[0], at.rows * at.row * item);
        put_rows(c.out[0], rows, c.in[0], at.n, at.row * item);
      },
      50 + at.rows * at.row * item / 16 + at.n * (5 * at.depth + 5 + at.row * item / 8), at.scratch());
}

const RegisterOp scatter_nd{
    {.name = "scatter_nd",
     .doc =
         "An array of zeros with the rows of data at index tuples: the inverse of gather_nd. Of equal indices the last "
         "one stays.\n\nAn index outside raises IndexError when the result is waited for.",
     .params = schema_of<ScatterParams>(),
     .inputs = {"data", "indices"},
     .infer = {infer_scatter, infer_dtypes<0, 1>},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give_all({0}, "gather_nd", {g.head(0), g.input(1)}); }).without_outputs(),
     .kernels = {{"index", prepare_scatter}}}};

void infer_scatter_set(InferContext& c) {
  c.merge_in(0, c.as<ScatterParams>().shape);
  c.merge_out(0, c.in[0].shape);
  const Shape &lhs = c.in[0].shape, &indices = c.in[2].shape;
  if (!lhs.known() || !indices.known()) return;
  check_depth(c, lhs, indices);
  c.merge_in(1, rows_shape(lhs, indices));
}

Prepared prepare_scatter_set(const PrepareArgs& args) {
  const NdIndex at(args.in[0].shape, args.in[2]);
  const int64_t item = size_of(args.in[0].dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        const int64_t* rows = at.resolve(c.in[2], c.scratch);
        cpu::copy_bytes(c.out[0], c.in[0], at.rows * at.row * item);
        put_rows(c.out[0], rows, c.in[1], at.n, at.row * item);
      },
      50 + at.rows * at.row * item / 10 + at.n * (5 * at.depth + 5 + at.row * item / 8), at.scratch());
}

const RegisterOp scatter_set_nd{
    {.name = "_scatter_set_nd",
     .doc = "lhs with the rows of rhs written at index tuples; of equal indices the last one stays.\n\n"
            "An index outside raises IndexError when the result is waited for.",
     .aliases = {"_npi_scatter_set_nd"},
     .params = schema_of<ScatterParams>(),
     .inputs = {"lhs", "rhs", "indices"},
     .infer = {infer_scatter_set,
               [](InferContext& c) {
                 c.merge_out_dtype(0, c.in[0].dtype);
                 c.merge_in_dtype(1, c.in[0].dtype);
                 if (c.in[2].dtype == DType::unknown) c.merge_in_dtype(2, c.in[0].dtype);
               }},
     .gradient = Gradient([](GradientBuilder& g) {
                   const Value none = g.call("zeros_like", {g.input(1)});
                   g.give_all({0}, "_scatter_set_nd", {g.head(0), none, g.input(2)}, g.params_ref());
                   g.give_all({1}, "gather_nd", {g.head(0), g.input(2)});
                 }).without_outputs(),
     .kernels = {{"index", prepare_scatter_set}},
     .flags = {.inplace = true}}};

// ---- ravel, unravel ------------------------------------------------------------------------------------------------

struct RavelParams {
  std::optional<Shape> shape;
  static void declare(ParamSchemaOf<RavelParams>& s) {
    s.field("shape", &RavelParams::shape, "Shape that the indices point into; the first dimension may be -1.");
  }
};

void need_shape(const InferContext& c) {
  if (!c.as<RavelParams>().shape) c.bad("shape must be given");
}

void infer_ravel(InferContext& c) {
  need_shape(c);
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  const int depth = c.as<RavelParams>().shape->rank();
  if (in.rank() == 0 || in[0] != depth)
    c.bad(str("data ", in, " must have ", depth, " rows, one per dimension of shape"));
  Shape out = in;
  out.erase(0);
  c.merge_out(0, out);
}

Prepared prepare_ravel(const PrepareArgs& args) {
  const Shape shape = *args.as<RavelParams>().shape;
  const int64_t n = args.out[0].shape.size();
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* in = static_cast<const T*>(c.in[0]);
          T* out = static_cast<T*>(c.out[0]);
          for (int64_t k = 0; k < n; ++k) {
            int64_t flat = 0;
            for (int d = 0; d < shape.rank(); ++d) flat = flat * shape[d] + convert<int64_t>(in[d * n + k]);
            out[k] = convert<T>(flat);
          }
        });
      },
      30 + n * shape.rank() * 2);
}

const RegisterOp ravel{{.name = "_ravel_multi_index",
                        .doc = "Flat indices of index tuples.\n\nShapes: data (dimensions, i...), output (i...).",
                        .aliases = {"ravel_multi_index"},
                        .params = schema_of<RavelParams>(),
                        .inputs = {"data"},
                        .infer = {infer_ravel, infer::same_dtype},
                        .gradient = Gradient::zero(),
                        .kernels = {{"index", prepare_ravel}}}};

void infer_unravel(InferContext& c) {
  need_shape(c);
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  out.insert(0, c.as<RavelParams>().shape->rank());
  c.merge_out(0, out);
}

// Indices outside give a first component outside of its dimension.
Prepared prepare_unravel(const PrepareArgs& args) {
  const Shape shape = *args.as<RavelParams>().shape;
  const int64_t n = args.in[0].shape.size();
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* in = static_cast<const T*>(c.in[0]);
          T* out = static_cast<T*>(c.out[0]);
          for (int64_t k = 0; k < n; ++k) {
            int64_t flat = convert<int64_t>(in[k]);
            for (int d = shape.rank() - 1; d > 0; --d) {
              const int64_t extent = std::max<int64_t>(shape[d], 1), rest = flat % extent;
              out[d * n + k] = convert<T>(rest);
              flat = (flat - rest) / extent;
            }
            if (shape.rank() > 0) out[k] = convert<T>(flat);
          }
        });
      },
      30 + n * shape.rank() * 8);
}

const RegisterOp unravel{{.name = "_unravel_index",
                          .doc = "Index tuples of flat indices.\n\nShapes: data (i...), output (dimensions, i...).",
                          .aliases = {"unravel_index"},
                          .params = schema_of<RavelParams>(),
                          .inputs = {"data"},
                          .infer = {infer_unravel, infer::same_dtype},
                          .gradient = Gradient::zero(),
                          .kernels = {{"index", prepare_unravel}}}};

// ---- index_copy ----------------------------------------------------------------------------------------------------

void infer_index_copy(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  const Shape &old_shape = c.in[0].shape, &index = c.in[1].shape;
  if (!old_shape.rank_known() || !index.known()) return;
  if (index.rank() != 1) c.bad(str("index_vector must have one dimension, got ", index));
  if (old_shape.rank() == 0) c.bad("old_tensor must have at least one dimension");
  Shape rows = old_shape;
  rows[0] = index[0];
  c.merge_in(2, rows);
}

Prepared prepare_index_copy(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t n = args.in[1].shape.size(), extent = shape[0], item = size_of(args.in[0].dtype);
  const int64_t bytes = shape.size(1, shape.rank()) * item;
  return make_kernel(
      [=, dtype = args.in[1].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        int64_t* rows = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[1], dtype, n, rows);
        place_indices(rows, n, extent, IndexMode::raise);
        cpu::copy_bytes(c.out[0], c.in[0], extent * bytes);
        put_rows(c.out[0], rows, c.in[2], n, bytes);
      },
      50 + (extent + n) * bytes / 8 + n * 5, static_cast<size_t>(n) * sizeof(int64_t));
}

const RegisterOp index_copy{{.name = "_contrib_index_copy",
                             .doc =
                                 "old_tensor with the rows named by index_vector replaced by those of new_tensor.\n\n"
                                 "An index outside raises IndexError when the result is waited for.",
                             .inputs = {"old_tensor", "index_vector", "new_tensor"},
                             .infer = {infer_index_copy,
                                       [](InferContext& c) {
                                         c.merge_out_dtype(0, c.in[0].dtype);
                                         c.merge_in_dtype(2, c.in[0].dtype);
                                         if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, DType::i32);
                                       }},
                             .gradient = Gradient([](GradientBuilder& g) {
                                           const Value none = g.call("zeros_like", {g.input(2)});
                                           g.give_all({0}, "_contrib_index_copy", {g.head(0), g.input(1), none});
                                           g.give_all({2}, "take", {g.head(0), g.input(1)});
                                         }).without_outputs(),
                             .kernels = {{"index", prepare_index_copy}},
                             .flags = {.inplace = true}}};

// ---- boolean_mask --------------------------------------------------------------------------------------------------

struct MaskParams {
  int64_t axis = 0;
  static void declare(ParamSchemaOf<MaskParams>& s) {
    s.field("axis", &MaskParams::axis, "The dimension that is masked; only 0.").range(0, 0);
  }
};

// Calls f(k-th kept, row) for every row whose index is not zero; returns their number.
template <typename F>
int64_t for_each_kept(const void* index, DType dtype, int64_t rows, F&& f) {
  int64_t kept = 0;
  dispatch(dtype, [&](auto tag) {
    const auto* mask = static_cast<const typename decltype(tag)::type*>(index);
    for (int64_t i = 0; i < rows; ++i) {
      if (convert<bool>(mask[i])) f(kept++, i);
    }
  });
  return kept;
}

void infer_mask(InferContext& c) {
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  if (out.rank() == 0) c.bad("data must have at least one dimension");
  c.merge_in(1, Shape{out[0]});
  out[0] = -1;
  c.merge_out(0, out);
}

void mask_shape(const Params&, std::span<const TensorSpec> in, void* const* data, std::span<TensorSpec> out) {
  out[0].shape = in[0].shape;
  out[0].shape[0] = for_each_kept(data[1], in[1].dtype, in[0].shape[0], [](int64_t, int64_t) {});
}

Prepared prepare_mask(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t rows = shape[0], bytes = shape.size(1, shape.rank()) * size_of(args.in[0].dtype);
  return make_kernel(
      [=, dtype = args.in[1].dtype](const KernelCall& c) {
        if (!c.out[0] || bytes == 0) return;
        for_each_kept(c.in[1], dtype, rows, [&](int64_t k, int64_t i) {
          std::memcpy(static_cast<char*>(c.out[0]) + k * bytes, static_cast<const char*>(c.in[0]) + i * bytes, bytes);
        });
      },
      50 + rows * (2 + bytes / 8));
}

Prepared prepare_mask_backward(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t rows = shape[0], bytes = shape.size(1, shape.rank()) * size_of(args.in[2].dtype);
  return make_kernel(
      [=, dtype = args.in[1].dtype](const KernelCall& c) {
        if (!c.out[0] || bytes == 0) return;
        cpu::zero_bytes(c.out[0], rows * bytes);
        for_each_kept(c.in[1], dtype, rows, [&](int64_t k, int64_t i) {
          std::memcpy(static_cast<char*>(c.out[0]) + i * bytes, static_cast<const char*>(c.in[2]) + k * bytes, bytes);
        });
      },
      50 + rows * (2 + bytes / 6));
}

const RegisterOp boolean_mask{
    {.name = "_contrib_boolean_mask",
     .doc = "The rows of data whose index is not zero.\n\n"
            "Shapes: data (n, ...), index (n,), output (number of kept rows, ...). The call waits for index.",
     .aliases = {"_npi_boolean_mask"},
     .params = schema_of<MaskParams>(),
     .inputs = {"data", "index"},
     .infer = {infer_mask, infer_dtypes<0, 1>},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_boolean_mask", {g.input(0), g.input(1), g.head(0)});
                 }).without_outputs(),
     .kernels = {{"index", prepare_mask}},
     .data_shape = mask_shape}};

const RegisterOp backward_boolean_mask{
    {.name = "_backward_boolean_mask",
     .doc = "Gradient of boolean_mask with respect to data.",
     .inputs = {"data", "index", "head"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); }, infer_dtypes<2, 1>},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({2}, "_contrib_boolean_mask", {g.head(0), g.input(1)});
                 }).without_outputs(),
     .kernels = {{"index", prepare_mask_backward}},
     .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::ops
