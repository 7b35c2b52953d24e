// SPDX-License-Identifier: Apache-2.0
// argmax, argmin, argmax_channel: positions of extremes along one axis.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "resource/scratch.h"
#include "simple_op/tile_table.h"

namespace mxnet {
namespace {

constexpr int64_t kGrain = 16 << 10;
constexpr int64_t kColumns = 256;

struct ArgParams {
  std::optional<int64_t> axis;
  bool keepdims = false;
  static void declare(ParamSchemaOf<ArgParams>& s) {
    s.field("axis", &ArgParams::axis, "The axis to search; None: the flattened array.").type("int or None");
    s.field("keepdims", &ArgParams::keepdims, "Leaves the axis in the result with size one.");
  }
};

// The array as (before, n, after), searched along n.
struct Extent {
  int64_t before = 1, n = 1, after = 1;
};
Extent extent_of(const Shape& shape, std::optional<int64_t> axis, const char* op) {
  if (!axis) return {1, shape.size(), 1};
  const int i = normalize_axis(*axis, shape.rank(), op);
  return {shape.size(0, i), shape[i], shape.size(i + 1, shape.rank())};
}

void infer_arg(InferContext& c) {
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  const ArgParams& p = c.as<ArgParams>();
  Shape out = p.axis ? in : Shape::of_rank(p.keepdims ? in.rank() : 1, 1);
  if (p.axis) {
    const int i = normalize_axis(*p.axis, in.rank(), c.op.name.c_str());
    if (p.keepdims)
      out[i] = 1;
    else
      out.erase(i);
    if (out.rank() == 0) out = Shape{1};
  }
  c.merge_out(0, out);
}

void infer_channel(InferContext& c) {
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (in.rank() < 2) c.bad(str("expected data with at least 2 axes, got shape ", in));
  Shape out = in;
  out.erase(1);
  c.merge_out(0, out);
}

// Rows that lie in one piece.
template <typename T, typename Out>
void search_rows(const T* x, Out* out, const Extent& e, bool largest) {
  using C = compute_t<T>;
  const auto find = tile_table().arg_fold[!largest][static_cast<int>(native_of(dtype_of<C>()))];
  cpu::parallel_for(e.before, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, e.n)),
                    [&](int64_t begin, int64_t end) {
                      Scratch scratch;
                      C* row = std::is_same_v<T, C> ? nullptr : scratch.get<C>(e.n);
                      for (int64_t i = begin; i < end; ++i) {
                        const void* values = x + i * e.n;
                        if (row) {
                          std::copy_n(x + i * e.n, e.n, row);
                          values = row;
                        }
                        out[i] = static_cast<Out>(static_cast<compute_t<Out>>(find(values, e.n)));
                      }
                    });
}

// Columns side by side: one pass over the rows keeps the best of each.
template <typename T, typename Out>
void search_columns(const T* x, Out* out, const Extent& e, bool largest) {
  using C = compute_t<T>;
  const int64_t blocks = (e.after + kColumns - 1) / kColumns;
  const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, e.n * std::min(e.after, kColumns)));
  cpu::parallel_for(e.before * blocks, grain, [&](int64_t begin, int64_t end) {
    C best[kColumns];
    int64_t index[kColumns];
    for (int64_t u = begin; u < end; ++u) {
      const int64_t column = u % blocks * kColumns, width = std::min(kColumns, e.after - column);
      const T* base = x + u / blocks * e.n * e.after + column;
      for (int64_t j = 0; j < width; ++j) best[j] = base[j], index[j] = 0;
      for (int64_t r = 1; r < e.n; ++r) {
        for (int64_t j = 0; j < width; ++j) {
          const C v = base[r * e.after + j];
          const bool wins = best[j] == best[j] && (v != v || (largest ? v > best[j] : v < best[j]));
          best[j] = wins ? v : best[j];
          index[j] = wins ? r : index[j];
        }
      }
      Out* to = out + u / blocks * e.after + column;
      for (int64_t j = 0; j < width; ++j) to[j] = static_cast<Out>(static_cast<compute_t<Out>>(index[j]));
    }
  });
}

Prepared prepare_search(const PrepareArgs& args, const Extent& extent, bool largest) {
  const DType type = args.in[0].dtype;
  if (extent.n == 0 && extent.before * extent.after > 0) {
    fail(ErrorKind::value, args.op.name, ": the searched axis of ", args.in[0].shape, " is empty");
  }
  const int64_t n = extent.before * extent.n * extent.after;
  return dispatch(type == DType::boolean ? DType::u8 : type, [&]<typename T>(TypeTag<T>) -> std::unique_ptr<Kernel> {
    return make_kernel(
        [extent, largest](const KernelCall& call) {
          const T* x = static_cast<const T*>(call.in[0]);
          T* out = static_cast<T*>(call.out[0]);
          if (extent.after == 1)
            search_rows(x, out, extent, largest);
          else
            search_columns(x, out, extent, largest);
        },
        20 + extent.before * 10 + n / 4);
  });
}

template <bool Largest>
Prepared prepare_arg(const PrepareArgs& args) {
  return prepare_search(args, extent_of(args.in[0].shape, args.as<ArgParams>().axis, args.op.name.c_str()), Largest);
}

Prepared prepare_channel(const PrepareArgs& args) {
  return prepare_search(args, extent_of(args.in[0].shape, 1, args.op.name.c_str()), true);
}

const RegisterOp argmax{
    {.name = "argmax",
     .doc =
         "Position of the largest element along an axis, the first of equals; NaN counts as largest.\n\nShapes: data "
         "(any), output without the axis. Dtype: that of data.",
     .params = schema_of<ArgParams>(),
     .inputs = {"data"},
     .infer = {infer_arg, infer::same_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"search", prepare_arg<true>}}}};

const RegisterOp argmin{
    {.name = "argmin",
     .doc = "Position of the smallest element along an axis, the first of equals; NaN counts as smallest.\n\nShapes: "
            "data (any), output without the axis. Dtype: that of data.",
     .params = schema_of<ArgParams>(),
     .inputs = {"data"},
     .infer = {infer_arg, infer::same_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"search", prepare_arg<false>}}}};

const RegisterOp argmax_channel{
    {.name = "argmax_channel",
     .doc =
         "Position of the largest element along axis 1.\n\nShapes: data (N, C, ...), output (N, ...). Dtype: that of "
         "data.",
     .inputs = {"data"},
     .infer = {infer_channel, infer::same_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"search", prepare_channel}}}};

}  // namespace
}  // namespace mxnet
