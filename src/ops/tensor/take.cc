// SPDX-License-Identifier: Apache-2.0
// Reading along one dimension by index: take, pick, batch_take, one_hot.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"
#include "ops/tensor/index.h"

namespace mxnet::ops {
namespace {

// An array seen as (outer, extent, inner) around one dimension.
struct AxisView {
  int64_t outer, extent, inner;
  AxisView(const Shape& shape, int axis)
      : outer(shape.size(0, axis)), extent(shape[axis]), inner(shape.size(axis + 1, shape.rank())) {}
};

void infer_data_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}
// Gradients that read (data, index, head) and have the shape of data.
void infer_like_data(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_head_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[2].dtype); }

// ---- take ----------------------------------------------------------------------------------------------------------

struct TakeParams {
  int64_t axis = 0;
  IndexMode mode = IndexMode::clip;
  static void declare(ParamSchemaOf<TakeParams>& s) {
    s.field("axis", &TakeParams::axis, "The dimension that is indexed.");
    s.choice("mode", &TakeParams::mode,
             {{"clip", IndexMode::clip}, {"raise", IndexMode::raise}, {"wrap", IndexMode::wrap}},
             "Indices outside: moved to the nearest end, counted around, or an error.");
  }
};

void infer_take(InferContext& c) {
  const Shape &a = c.in[0].shape, &indices = c.in[1].shape;
  if (!a.rank_known() || !indices.rank_known()) return;
  const int axis = normalize_axis(c.as<TakeParams>().axis, a.rank(), c.op.name.c_str());
  Shape out;
  for (int d = 0; d < axis; ++d) out.push_back(a[d]);
  for (dim_t d : indices) out.push_back(d);
  for (int d = axis + 1; d < a.rank(); ++d) out.push_back(a[d]);
  c.merge_out(0, out);
}

// The rows that a call of take reads from each outer part.
struct Gather {
  const int64_t* rows;
  int64_t n, extent, bytes;
};

// Copies rows [begin, end) of the result. T: an element that is as long as a row, or char for rows of any length.
template <typename T>
void gather_as(char* dst, const char* src, const Gather& g, int64_t begin, int64_t end) {
  const int64_t bytes = sizeof(T) == 1 ? g.bytes : static_cast<int64_t>(sizeof(T));
  int64_t outer = begin / g.n, j = begin % g.n;
  while (begin < end) {
    const char* part = src + outer * g.extent * bytes;
    const int64_t stop = std::min(g.n, j + end - begin);
    begin += stop - j;
    for (; j < stop; ++j, dst += bytes) {
      if constexpr (sizeof(T) == 1)
        std::memcpy(dst, part + g.rows[j] * bytes, static_cast<size_t>(bytes));
      else
        std::memcpy(dst, part + g.rows[j] * bytes, sizeof(T));
    }
    ++outer, j = 0;
  }
}
void gather_rows(char* dst, const char* src, const Gather& g, int64_t begin, int64_t end) {
  dst += begin * g.bytes;
  switch (g.bytes) {
    case 2: return gather_as<uint16_t>(dst, src, g, begin, end);
    case 4: return gather_as<uint32_t>(dst, src, g, begin, end);
    case 8: return gather_as<uint64_t>(dst, src, g, begin, end);
    default: return gather_as<char>(dst, src, g, begin, end);
  }
}

Prepared prepare_take(const PrepareArgs& args) {
  const auto& p = args.as<TakeParams>();
  const TensorSpec &a = args.in[0], &index = args.in[1];
  const AxisView v(a.shape, normalize_axis(p.axis, a.shape.rank(), "take"));
  const int64_t n = index.shape.size(), row_bytes = v.inner * size_of(a.dtype);
  return make_kernel(
      [=, mode = p.mode, index_type = index.dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        int64_t* rows = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[1], index_type, n, rows);
        place_indices(rows, n, v.extent, mode);
        const char* src = static_cast<const char*>(c.in[0]);
        char* dst = static_cast<char*>(c.out[0]);
        if (row_bytes == 0) return;
        cpu::parallel_for(v.outer * n, std::max<int64_t>(1, 65536 / row_bytes), [&](int64_t begin, int64_t end) {
          gather_rows(dst, src, {rows, n, v.extent, row_bytes}, begin, end);
        });
      },
      50 + n * 3 + v.outer * n * (10 + row_bytes / 8), n * sizeof(int64_t));
}

Prepared prepare_take_backward(const PrepareArgs& args) {
  const auto& p = args.as<TakeParams>();
  const TensorSpec &a = args.in[0], &index = args.in[1];
  const AxisView v(a.shape, normalize_axis(p.axis, a.shape.rank(), "take"));
  const int64_t n = index.shape.size();
  return make_kernel(
      [=, mode = p.mode, index_type = index.dtype, dtype = args.in[2].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        int64_t* rows = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[1], index_type, n, rows);
        place_indices(rows, n, v.extent, mode);
        sum_rows(c.out[0], c.in[2], dtype, rows, n, v.outer, v.extent, v.inner);
      },
      100 + n * 5 + v.outer * (v.extent + n) * (v.inner + 4) / 2, n * sizeof(int64_t));
}

const RegisterOp take{{.name = "take",
                       .doc = "Elements of `a` along a dimension, by index.\n\n"
                              "Shapes: the dimension is replaced by the shape of indices. Indices of any dtype are "
                              "truncated to integers.\n\n"
                              "With mode='raise' an index outside raises IndexError when the result is waited for.",
                       .aliases = {"_npi_take"},
                       .params = schema_of<TakeParams>(),
                       .inputs = {"a", "indices"},
                       .infer = {infer_take, infer_data_dtype},
                       .gradient = Gradient([](GradientBuilder& g) {
                                     g.give_all({0}, "_backward_take", {g.input(0), g.input(1), g.head(0)},
                                                g.params_ref());
                                   }).without_outputs(),
                       .kernels = {{"index", prepare_take}}}};

const RegisterOp backward_take{
    {.name = "_backward_take",
     .doc = "Gradient of take with respect to `a`: heads with equal indices are added in their order.",
     .params = schema_of<TakeParams>(),
     .inputs = {"a", "indices", "head"},
     .infer = {infer_like_data, infer_head_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({2}, "take", {g.head(0), g.input(1)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"index", prepare_take_backward}},
     .flags = {.hidden = true}}};

// ---- pick ----------------------------------------------------------------------------------------------------------

struct PickParams {
  std::optional<int64_t> axis = -1;
  bool keepdims = false;
  IndexMode mode = IndexMode::clip;
  static void declare(ParamSchemaOf<PickParams>& s) {
    s.field("axis", &PickParams::axis, "The dimension that is indexed.");
    s.field("keepdims", &PickParams::keepdims, "Keep the dimension with size 1.");
    s.choice("mode", &PickParams::mode, {{"clip", IndexMode::clip}, {"wrap", IndexMode::wrap}},
             "Indices outside: moved to the nearest end, or counted around.");
    s.validate([](const PickParams& p) {
      if (!p.axis) fail(ErrorKind::value, "axis must be given, got None");
    });
  }
};

void infer_pick(InferContext& c) {
  const auto& p = c.as<PickParams>();
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  const int axis = normalize_axis(*p.axis, data.rank(), c.op.name.c_str());
  Shape kept = data, dropped = data;
  kept[axis] = 1;
  dropped.erase(axis);
  if (dropped.rank() == 0 && !p.keepdims)
    c.merge_out(0, Shape{1});
  else
    c.merge_out(0, p.keepdims ? kept : dropped);
  if (c.in[1].shape.rank() == data.rank())
    c.merge_in(1, kept);
  else
    c.merge_in(1, dropped.rank() == 0 && c.in[1].shape.rank() != 0 ? Shape{1} : dropped);
}

// Calls f(position of the picked element in data, position in the output).
template <typename F>
void for_each_pick(const AxisView& v, const int64_t* indices, F&& f) {
  cpu::parallel_for(v.outer * v.inner, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f((i / v.inner * v.extent + indices[i]) * v.inner + i % v.inner, i);
  });
}

Prepared prepare_pick(const PrepareArgs& args) {
  const auto& p = args.as<PickParams>();
  const AxisView v(args.in[0].shape, normalize_axis(*p.axis, args.in[0].shape.rank(), "pick"));
  const int64_t n = v.outer * v.inner;
  return make_kernel(
      [=, mode = p.mode, index_type = args.in[1].dtype, dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        int64_t* indices = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[1], index_type, n, indices);
        place_indices(indices, n, v.extent, mode);
        dispatch_bits(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* src = static_cast<const T*>(c.in[0]);
          T* dst = static_cast<T*>(c.out[0]);
          for_each_pick(v, indices, [=](int64_t from, int64_t to) { dst[to] = src[from]; });
        });
      },
      50 + n * 6, n * sizeof(int64_t));
}

Prepared prepare_pick_backward(const PrepareArgs& args) {
  const auto& p = args.as<PickParams>();
  const AxisView v(args.in[0].shape, normalize_axis(*p.axis, args.in[0].shape.rank(), "pick"));
  const int64_t n = v.outer * v.inner, bytes = args.in[0].shape.size() * size_of(args.in[2].dtype);
  return make_kernel(
      [=, mode = p.mode, index_type = args.in[1].dtype, dtype = args.in[2].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        cpu::zero_bytes(c.out[0], bytes);
        int64_t* indices = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[1], index_type, n, indices);
        place_indices(indices, n, v.extent, mode);
        dispatch_bits(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* head = static_cast<const T*>(c.in[2]);
          T* dst = static_cast<T*>(c.out[0]);
          for_each_pick(v, indices, [=](int64_t to, int64_t from) { dst[to] = head[from]; });
        });
      },
      50 + n * 6 + bytes / 16, n * sizeof(int64_t));
}

const RegisterOp pick{
    {.name = "pick",
     .doc =
         "One element along a dimension for every position of the others.\n\n"
         "Shapes: data (.., n, ..), index the other dimensions (or with the dimension of size 1), output like index.",
     .aliases = {"choose_element_0index", "_npx_pick"},
     .params = schema_of<PickParams>(),
     .inputs = {"data", "index"},
     .infer = {infer_pick, infer_data_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_pick", {g.input(0), g.input(1), g.head(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"index", prepare_pick}}}};

const RegisterOp backward_pick{{.name = "_backward_pick",
                                .doc = "Gradient of pick with respect to data.",
                                .params = schema_of<PickParams>(),
                                .inputs = {"data", "index", "head"},
                                .infer = {infer_like_data, infer_head_dtype},
                                .gradient = Gradient([](GradientBuilder& g) {
                                              g.give_all({2}, "pick", {g.head(0), g.input(1)}, g.params_ref());
                                            }).without_outputs(),
                                .kernels = {{"index", prepare_pick_backward}},
                                .flags = {.hidden = true}}};

// ---- batch_take ----------------------------------------------------------------------------------------------------

void infer_batch_take(InferContext& c) {
  const Shape& a = c.in[0].shape;
  if (!a.rank_known()) return;
  if (a.rank() != 2) c.bad(str("a must have 2 dimensions, got ", a));
  c.merge_in(1, Shape{a[0]});
  c.merge_out(0, Shape{a[0]});
}

void batch_take_gradient(GradientBuilder& g) {
  g.give_all({0}, "_backward_pick", {g.input(0), g.input(1), g.head(0)}, make_params<PickParams>({.axis = 1}));
}

Prepared prepare_batch_take(const PrepareArgs& args) {
  const Ref<Params> params = make_params<PickParams>({.axis = 1});
  return prepare_pick({.op = args.op,
                       .params = *params,
                       .in = args.in,
                       .in_layout = args.in_layout,
                       .out = args.out,
                       .req = args.req,
                       .training = args.training,
                       .team = args.team});
}

const RegisterOp batch_take{{.name = "batch_take",
                             .doc = "a[i, indices[i]] for every row i; indices outside are clipped.\n\nShapes: a (n, "
                                    "m), indices (n,), output (n,).",
                             .inputs = {"a", "indices"},
                             .infer = {infer_batch_take, infer_data_dtype},
                             .gradient = Gradient(batch_take_gradient).without_outputs(),
                             .kernels = {{"index", prepare_batch_take}}}};

// ---- one_hot -------------------------------------------------------------------------------------------------------

struct OneHotParams {
  int64_t depth = 0;
  double on_value = 1, off_value = 0;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<OneHotParams>& s) {
    s.field("depth", &OneHotParams::depth, "Size of the new last dimension.").required().range(0, 1e15);
    s.field("on_value", &OneHotParams::on_value, "Value at the index.");
    s.field("off_value", &OneHotParams::off_value, "Value elsewhere.");
    s.field("dtype", &OneHotParams::dtype, "Type of the output.");
  }
};

void infer_one_hot(InferContext& c) {
  Shape shape = c.in[0].shape;
  if (!shape.rank_known()) return;
  shape.push_back(c.as<OneHotParams>().depth);
  c.merge_out(0, shape);
}

void infer_one_hot_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.as<OneHotParams>().dtype);
  if (c.in[0].dtype == DType::unknown) c.merge_in_dtype(0, DType::f32);
}

Prepared prepare_one_hot(const PrepareArgs& args) {
  const auto& p = args.as<OneHotParams>();
  const int64_t n = args.in[0].shape.size();
  return make_kernel(
      [n, p, index_type = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        int64_t* indices = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[0], index_type, n, indices);
        dispatch(p.dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T on = convert<T>(p.on_value), off = convert<T>(p.off_value);
          T* out = static_cast<T*>(c.out[0]);
          cpu::parallel_for(n, std::max<int64_t>(1, 16384 / (p.depth + 1)), [&](int64_t begin, int64_t end) {
            std::fill(out + begin * p.depth, out + end * p.depth, off);
            for (int64_t i = begin; i < end; ++i) {
              if (indices[i] >= 0 && indices[i] < p.depth) out[i * p.depth + indices[i]] = on;
            }
          });
        });
      },
      50 + n * (4 + p.depth / 4), n * sizeof(int64_t));
}

const RegisterOp one_hot{{.name = "one_hot",
                          .doc = "A row for every index, with on_value at the index and off_value elsewhere; indices "
                                 "outside give no on_value.\n\n"
                                 "Shapes: indices (...), output (..., depth).",
                          .aliases = {"_npx_one_hot"},
                          .params = schema_of<OneHotParams>(),
                          .inputs = {"indices"},
                          .infer = {infer_one_hot, infer_one_hot_dtype},
                          .gradient = Gradient::zero(),
                          .kernels = {{"index", prepare_one_hot}}}};

}  // namespace
}  // namespace mxnet::ops
