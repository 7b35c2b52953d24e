// SPDX-License-Identifier: Apache-2.0
// Ordering along a dimension: topk, sort, argsort.
#include <cstring>
#include <optional>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"
#include "ops/tensor/sort_keys.h"
#include "resource/scratch.h"

namespace mxnet::ops {
namespace {

// The dimension that is ordered, seen as (outer, n, inner); without an axis the whole array.
struct Line {
  int axis = 0;
  int64_t outer = 1, n = 1, inner = 1;
  Line(const Shape& shape, const std::optional<int64_t>& given, const OpDef& op) {
    if (!given) {
      n = shape.size();
      return;
    }
    axis = normalize_axis(*given, shape.rank(), op.name.c_str());
    outer = shape.size(0, axis);
    n = shape[axis];
    inner = shape.size(axis + 1, shape.rank());
  }
  int64_t rows() const { return outer * inner; }
  // Position of element `i` of row `row` in an array whose dimension has `extent` elements.
  int64_t at(int64_t row, int64_t i, int64_t extent) const { return (row / inner * extent + i) * inner + row % inner; }
};

// What a kernel is asked to write for each row; a null pointer is left out.
struct Wanted {
  void* values = nullptr;
  void* indices = nullptr;
  DType index_type = DType::f32;
  int32_t* residual = nullptr;
  void* mask = nullptr;  // of the data's type, zeroed before
};

template <typename T>
void write_row(const Line& line, const Wanted& w, const T* data, int64_t row, const Keyed<sort_key_t<T>>* items,
               int64_t k) {
  for (int64_t i = 0; i < k; ++i) {
    const int64_t from = line.at(row, items[i].index, line.n), to = line.at(row, i, k);
    if (w.values) static_cast<T*>(w.values)[to] = data[from];
    if (w.residual) w.residual[to] = static_cast<int32_t>(items[i].index);
    if (w.mask) static_cast<T*>(w.mask)[from] = T(1);
  }
  if (!w.indices) return;
  dispatch(w.index_type, [&](auto tag) {
    using I = typename decltype(tag)::type;
    for (int64_t i = 0; i < k; ++i)
      static_cast<I*>(w.indices)[line.at(row, i, k)] = convert<I>(static_cast<int64_t>(items[i].index));
  });
}

void order(const Line& line, const Wanted& w, const void* data, DType dtype, int64_t k, bool ascending) {
  if (line.n == 0) return;
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Item = Keyed<sort_key_t<T>>;
    const T* in = static_cast<const T*>(data);
    cpu::parallel_for(line.rows(), std::max<int64_t>(1, 2048 / line.n), [&](int64_t begin, int64_t end) {
      Scratch scratch;
      Item* items = scratch.get<Item>(line.n);
      Item* other = scratch.get<Item>(line.n);
      for (int64_t row = begin; row < end; ++row) {
        const T* from = in + line.at(row, 0, line.n);
        const auto key_of = [&](int64_t i) { return sort_key(from[i * line.inner], ascending); };
        if (k > 0 && k <= kFew && k * 8 < line.n) {
          if (line.inner == 1)  // next to each other: vectors
            select_keyed([&](int64_t i) { return sort_key(from[i], ascending); }, line.n, k, items);
          else
            select_keyed(key_of, line.n, k, items);
        } else {
          for (int64_t i = 0; i < line.n; ++i) items[i] = {key_of(i), static_cast<uint32_t>(i)};
          sort_keyed(items, other, line.n, k);
        }
        write_row(line, w, in, row, items, k);
      }
    });
  });
}

int64_t order_cost(const Line& line) {
  int64_t log = 1;
  while ((int64_t{1} << log) < line.n) ++log;
  return 100 + line.rows() * line.n * (2 + std::min<int64_t>(2 * log, 30));
}

void check_length(const OpDef& op, const Line& line) {
  if (line.n > UINT32_MAX) fail(ErrorKind::not_supported, op.name, ": more than 2^32 elements along the axis");
}

Shape ordered_shape(const Shape& in, const std::optional<int64_t>& axis, int64_t k, const OpDef& op) {
  if (!axis) return Shape{k};
  Shape out = in;
  out[normalize_axis(*axis, in.rank(), op.name.c_str())] = k;
  return out;
}

// ---- topk ----------------------------------------------------------------------------------------------------------

enum class Return { value, indices, mask, both };

struct TopKParams {
  std::optional<int64_t> axis = -1;
  int64_t k = 1;
  Return ret_typ = Return::indices;
  bool is_ascend = false;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<TopKParams>& s) {
    s.field("axis", &TopKParams::axis, "The dimension; None orders the flattened array.");
    s.field("k", &TopKParams::k, "How many; less than 1 is all.");
    s.choice("ret_typ", &TopKParams::ret_typ,
             {{"both", Return::both}, {"indices", Return::indices}, {"mask", Return::mask}, {"value", Return::value}},
             "What is returned: values, their indices, both, or an array like data with 1 at the chosen elements.");
    s.field("is_ascend", &TopKParams::is_ascend, "Take the smallest instead of the largest.");
    s.field("dtype", &TopKParams::dtype, "Type of the indices.");
  }
  bool has_values() const { return ret_typ == Return::value || ret_typ == Return::both; }
};

// Outputs: those that ret_typ names, then the indices as a residual.
void infer_topk(InferContext& c) {
  const auto& p = c.as<TopKParams>();
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  const Line line(in, p.axis, c.op);
  const int64_t k = p.k < 1 ? line.n : p.k;
  if (k > line.n) c.bad(str("k = ", p.k, " is more than the ", line.n, " elements along the axis of data ", in));
  const Shape shape = ordered_shape(in, p.axis, k, c.op);
  for (size_t i = 0; i < c.out.size(); ++i) {
    const bool is_mask = p.ret_typ == Return::mask && i == 0;
    c.merge_out(static_cast<int>(i), is_mask ? in : shape);
  }
}

void infer_topk_dtype(InferContext& c) {
  const auto& p = c.as<TopKParams>();
  const int last = static_cast<int>(c.out.size()) - 1;
  c.merge_out_dtype(last, DType::i32);
  c.merge_out_dtype(0, p.ret_typ == Return::indices ? p.dtype : c.in[0].dtype);
  if (p.ret_typ == Return::both) c.merge_out_dtype(1, p.dtype);
}

Prepared prepare_topk(const PrepareArgs& args) {
  const auto& p = args.as<TopKParams>();
  const Line line(args.in[0].shape, p.axis, args.op);
  check_length(args.op, line);
  const int64_t k = p.k < 1 ? line.n : p.k;
  return make_kernel(
      [=, p = p, dtype = args.in[0].dtype, last = args.out.size() - 1](const KernelCall& c) {
        Wanted w;
        w.index_type = p.dtype;
        if (p.has_values()) w.values = c.out[0];
        if (p.ret_typ == Return::indices) w.indices = c.out[0];
        if (p.ret_typ == Return::both) w.indices = c.out[1];
        if (p.ret_typ == Return::mask) w.mask = c.out[0];
        w.residual = static_cast<int32_t*>(c.out[last]);
        if (w.mask) cpu::zero_bytes(w.mask, line.rows() * line.n * size_of(dtype));
        order(line, w, c.in[0], dtype, k, p.is_ascend);
      },
      order_cost(line));
}

// Both gradients put the head of a value where the value came from.
struct OrderParams {
  std::optional<int64_t> axis;
  static void declare(ParamSchemaOf<OrderParams>& s) {
    s.field("axis", &OrderParams::axis, "The dimension that was ordered.");
  }
};

void give_ordered(GradientBuilder& g, const std::optional<int64_t>& axis, int residual) {
  g.give_all({0}, "_backward_order", {g.input(0), g.output(residual), g.head(0)},
             make_params<OrderParams>({.axis = axis}));
}

const RegisterOp topk{{.name = "topk",
                       .doc = "The k largest (or smallest) elements along a dimension, in order. NaN counts as the "
                              "largest; of equal elements "
                              "the first comes first.\n\nRaises an error if k is more than the dimension has.",
                       .aliases = {"_npx_topk"},
                       .params = schema_of<TopKParams>(),
                       .inputs = {"data"},
                       .outputs = Outputs([](const Params& p) {
                                    return p.as<TopKParams>().ret_typ == Return::both ? 2 : 1;
                                  }).with_residuals(1),
                       .infer = {infer_topk, infer_topk_dtype},
                       .gradient = Gradient([](GradientBuilder& g) {
                         const auto& p = g.params<TopKParams>();
                         if (p.has_values()) give_ordered(g, p.axis, p.ret_typ == Return::both ? 2 : 1);
                       }),
                       .kernels = {{"index", prepare_topk}}}};

// ---- sort, argsort -------------------------------------------------------------------------------------------------

struct SortParams {
  std::optional<int64_t> axis = -1;
  bool is_ascend = true;
  static void declare(ParamSchemaOf<SortParams>& s) {
    s.field("axis", &SortParams::axis, "The dimension; None sorts the flattened array.");
    s.field("is_ascend", &SortParams::is_ascend, "From the smallest to the largest.");
  }
};

void infer_sort(InferContext& c) {
  const auto& axis = c.as<SortParams>().axis;
  const Shape& in = c.in[0].shape;
  if (!in.known()) return;
  const Line line(in, axis, c.op);
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), ordered_shape(in, axis, line.n, c.op));
}

Prepared prepare_sort(const PrepareArgs& args) {
  const auto& p = args.as<SortParams>();
  const Line line(args.in[0].shape, p.axis, args.op);
  check_length(args.op, line);
  return make_kernel(
      [=, ascending = p.is_ascend, dtype = args.in[0].dtype](const KernelCall& c) {
        Wanted w;
        w.values = c.out[0];
        w.residual = static_cast<int32_t*>(c.out[1]);
        order(line, w, c.in[0], dtype, line.n, ascending);
      },
      order_cost(line));
}

const RegisterOp sort{
    {.name = "sort",
     .doc = "The elements in order along a dimension. NaN counts as the largest.",
     .aliases = {"_npi_sort"},
     .params = schema_of<SortParams>(),
     .inputs = {"data"},
     .outputs = Outputs(1).with_residuals(1),
     .infer = {infer_sort,
               [](InferContext& c) {
                 c.merge_out_dtype(0, c.in[0].dtype);
                 c.merge_in_dtype(0, c.out[0].dtype);
                 c.merge_out_dtype(1, DType::i32);
               }},
     .gradient = Gradient([](GradientBuilder& g) { give_ordered(g, g.params<SortParams>().axis, 1); }),
     .kernels = {{"index", prepare_sort}}}};

struct ArgsortParams {
  std::optional<int64_t> axis = -1;
  bool is_ascend = true;
  DType dtype = DType::f32;
  static void declare(ParamSchemaOf<ArgsortParams>& s) {
    s.field("axis", &ArgsortParams::axis, "The dimension; None sorts the flattened array.");
    s.field("is_ascend", &ArgsortParams::is_ascend, "From the smallest to the largest.");
    s.field("dtype", &ArgsortParams::dtype, "Type of the indices.");
  }
};

void infer_argsort(InferContext& c) {
  const auto& axis = c.as<ArgsortParams>().axis;
  const Shape& in = c.in[0].shape;
  if (in.known()) c.merge_out(0, ordered_shape(in, axis, Line(in, axis, c.op).n, c.op));
}

Prepared prepare_argsort(const PrepareArgs& args) {
  const auto& p = args.as<ArgsortParams>();
  const Line line(args.in[0].shape, p.axis, args.op);
  check_length(args.op, line);
  return make_kernel(
      [=, p = p, dtype = args.in[0].dtype](const KernelCall& c) {
        Wanted w;
        w.indices = c.out[0];
        w.index_type = p.dtype;
        order(line, w, c.in[0], dtype, line.n, p.is_ascend);
      },
      order_cost(line));
}

const RegisterOp argsort{
    {.name = "argsort",
     .doc = "The indices that put the elements in order along a dimension; equal elements keep their order.",
     .aliases = {"_npi_argsort"},
     .params = schema_of<ArgsortParams>(),
     .inputs = {"data"},
     .infer = {infer_argsort, [](InferContext& c) { c.merge_out_dtype(0, c.as<ArgsortParams>().dtype); }},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_argsort}}}};

// ---- the gradient --------------------------------------------------------------------------------------------------

template <typename F>
void for_each_ordered(const Line& line, int64_t k, const int32_t* indices, F&& f) {
  cpu::parallel_for(line.rows(), std::max<int64_t>(1, 8192 / std::max<int64_t>(k, 1)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t i = 0; i < k; ++i) {
        const int64_t at = line.at(row, i, k);
        f(line.at(row, indices[at], line.n), at);
      }
    }
  });
}

// Scatter (gradient of topk and sort) and gather (its own gradient) differ in the direction of the copy.
template <bool Gather>
Prepared prepare_order_copy(const PrepareArgs& args) {
  const Line line(args.in[0].shape, args.as<OrderParams>().axis, args.op);
  const int64_t k = line.rows() ? args.in[1].shape.size() / line.rows() : 0;
  const DType dtype = args.in[2].dtype;
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        if (!Gather) cpu::zero_bytes(c.out[0], line.rows() * line.n * size_of(dtype));
        dispatch_bits(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* src = static_cast<const T*>(c.in[2]);
          T* dst = static_cast<T*>(c.out[0]);
          for_each_ordered(line, k, static_cast<const int32_t*>(c.in[1]), [=](int64_t whole, int64_t ordered) {
            if (Gather)
              dst[ordered] = src[whole];
            else
              dst[whole] = src[ordered];
          });
        });
      },
      50 + line.rows() * (line.n + 4 * k));
}

void infer_third_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[2].dtype); }

const RegisterOp backward_order{
    {.name = "_backward_order",
     .doc = "Gradient of topk and sort. Inputs: data (its shape is read), the indices, the head.",
     .params = schema_of<OrderParams>(),
     .inputs = {"data", "indices", "head"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); }, infer_third_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({2}, "_gather_order", {g.input(0), g.input(1), g.head(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"index", prepare_order_copy<false>}},
     .flags = {.hidden = true}}};

const RegisterOp gather_order{{.name = "_gather_order",
                               .doc = "Elements by indices along a dimension: the gradient of _backward_order.",
                               .params = schema_of<OrderParams>(),
                               .inputs = {"data", "indices", "head"},
                               .infer = {[](InferContext& c) { c.merge_out(0, c.in[1].shape); }, infer_third_dtype},
                               .gradient = Gradient([](GradientBuilder& g) {
                                             g.give_all({2}, "_backward_order", {g.input(0), g.input(1), g.head(0)},
                                                        g.params_ref());
                                           }).without_outputs(),
                               .kernels = {{"index", prepare_order_copy<true>}},
                               .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::ops
