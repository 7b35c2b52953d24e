// SPDX-License-Identifier: Apache-2.0
// Sums along dimensions that are no plain reduction: cumsum, moments; and _contrib_div_sqrt_dim.
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

// ---- cumsum --------------------------------------------------------------------------------------------------------

struct CumsumParams {
  std::optional<int64_t> axis;
  std::optional<DType> dtype;
  static void declare(ParamSchemaOf<CumsumParams>& s) {
    s.field("axis", &CumsumParams::axis, "The dimension; None sums over the flattened array.");
    s.field("dtype", &CumsumParams::dtype, "Type of the result and of the sums; None is that of the input.");
  }
};

void infer_cumsum(InferContext& c) {
  const auto& axis = c.as<CumsumParams>().axis;
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  if (axis) normalize_axis(*axis, in.rank(), "cumsum");
  c.merge_out(0, axis ? in : Shape{in.known() ? in.size() : -1});
}

void infer_cumsum_dtype(InferContext& c) { c.merge_out_dtype(0, c.as<CumsumParams>().dtype.value_or(c.in[0].dtype)); }

// Adds from one end to the other; integers wrap at the width of the result.
template <bool Backward>
Prepared prepare_cumsum(const PrepareArgs& args) {
  const auto& axis = args.as<CumsumParams>().axis;
  const Shape& shape = Backward ? args.out[0].shape : args.in[0].shape;
  const int a = axis ? normalize_axis(*axis, shape.rank(), "cumsum") : 0;
  const int64_t outer = axis ? shape.size(0, a) : 1, n = axis ? shape[a] : shape.size();
  const int64_t inner = axis ? shape.size(a + 1, shape.rank()) : 1;
  return make_kernel(
      [=, in_type = args.in.back().dtype, out_type = args.out[0].dtype](const KernelCall& c) {
        if (!c.out[0] || outer * n * inner == 0) return;
        dispatch(in_type, [&](auto in_tag) {
          dispatch(out_type, [&](auto out_tag) {
            using In = typename decltype(in_tag)::type;
            using Out = typename decltype(out_tag)::type;
            const In* in = static_cast<const In*>(c.in[Backward ? 1 : 0]);
            Out* out = static_cast<Out*>(c.out[0]);
            cpu::parallel_for(outer * inner, std::max<int64_t>(1, 16384 / n), [=](int64_t begin, int64_t end) {
              for (int64_t row = begin; row < end; ++row) {
                const int64_t base = row / inner * n * inner + row % inner;
                accumulate_t<Out> sum = 0;
                for (int64_t i = 0; i < n; ++i) {
                  const int64_t at = base + (Backward ? n - 1 - i : i) * inner;
                  sum += static_cast<accumulate_t<Out>>(convert<Out>(in[at]));
                  out[at] = convert<Out>(sum);
                }
              }
            });
          });
        });
      },
      50 + outer * n * inner * 2);
}

const RegisterOp cumsum{{.name = "_np_cumsum",
                         .doc = "Sums of the elements up to each one, along a dimension or over the flattened array.",
                         .aliases = {"cumsum"},
                         .params = schema_of<CumsumParams>(),
                         .inputs = {"a"},
                         .infer = {infer_cumsum, infer_cumsum_dtype},
                         .gradient = Gradient([](GradientBuilder& g) {
                                       g.give_all({0}, "_backward_cumsum", {g.input(0), g.head(0)}, g.params_ref());
                                     }).without_outputs(),
                         .kernels = {{"index", prepare_cumsum<false>}}}};

const RegisterOp backward_cumsum{
    {.name = "_backward_cumsum",
     .doc = "Gradient of cumsum: sums of the heads from each one on. Inputs: the array (its shape is read), the head.",
     .params = schema_of<CumsumParams>(),
     .inputs = {"a", "head"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); },
               [](InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give_all({1}, "_np_cumsum", {g.head(0)}, g.params_ref()); }).only_heads(),
     .kernels = {{"index", prepare_cumsum<true>}},
     .flags = {.hidden = true}}};

// ---- moments -------------------------------------------------------------------------------------------------------

struct MomentsParams {
  std::optional<Shape> axes;
  bool keepdims = false;
  static void declare(ParamSchemaOf<MomentsParams>& s) {
    s.field("axes", &MomentsParams::axes, "Dimensions that are averaged over.");
    s.field("keepdims", &MomentsParams::keepdims, "Keep them with size 1.");
  }
};

std::vector<bool> reduced_axes(const Shape& axes, int rank) {
  std::vector<bool> reduced(static_cast<size_t>(rank), false);
  for (dim_t a : axes) reduced[static_cast<size_t>(normalize_axis(a, rank, "moments", "axes entry"))] = true;
  return reduced;
}

void infer_moments(InferContext& c) {
  const auto& p = c.as<MomentsParams>();
  if (!p.axes || p.axes->rank() == 0) c.bad("axes must name at least one dimension");
  const Shape& in = c.in[0].shape;
  if (!in.rank_known()) return;
  const std::vector<bool> reduced = reduced_axes(*p.axes, in.rank());
  Shape out;
  for (int d = 0; d < in.rank(); ++d) {
    if (!reduced[d])
      out.push_back(in[d]);
    else if (p.keepdims)
      out.push_back(1);
  }
  if (out.rank() == 0) out.push_back(1);
  c.merge_out(0, out);
  c.merge_out(1, out);
}

// Offsets of all index tuples of the dimensions chosen, in order.
std::vector<int64_t> offsets(const Shape& shape, const std::vector<bool>& reduced, bool chosen) {
  const Shape strides = strides_of(shape);
  std::vector<int64_t> list{0};
  for (int d = 0; d < shape.rank(); ++d) {
    if (reduced[d] != chosen) continue;
    std::vector<int64_t> next;
    for (int64_t base : list) {
      for (int64_t i = 0; i < shape[d]; ++i) next.push_back(base + i * strides[d]);
    }
    list = std::move(next);
  }
  return list;
}

Prepared prepare_moments(const PrepareArgs& args) {
  const std::vector<bool> reduced = reduced_axes(*args.as<MomentsParams>().axes, args.in[0].shape.rank());
  return make_kernel(
      [outer = offsets(args.in[0].shape, reduced, false), inner = offsets(args.in[0].shape, reduced, true),
       dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch_float(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* x = static_cast<const T*>(c.in[0]);
          T *mean = static_cast<T*>(c.out[0]), *var = static_cast<T*>(c.out[1]);
          const double n = static_cast<double>(inner.size());
          cpu::parallel_for(static_cast<int64_t>(outer.size()), 64, [&](int64_t begin, int64_t end) {
            for (int64_t o = begin; o < end; ++o) {
              double sum = 0, squares = 0;
              for (int64_t i : inner) sum += static_cast<double>(x[outer[o] + i]);
              for (int64_t i : inner) squares += std::pow(static_cast<double>(x[outer[o] + i]) - sum / n, 2);
              if (mean) mean[o] = static_cast<T>(sum / n);
              if (var) var[o] = static_cast<T>(squares / n);
            }
          });
        });
      },
      50 + args.in[0].shape.size() * 4);
}

// d mean / dx = 1 / n, d var / dx = 2 (x - mean) / n.
Prepared prepare_moments_backward(const PrepareArgs& args) {
  const std::vector<bool> reduced = reduced_axes(*args.as<MomentsParams>().axes, args.in[0].shape.rank());
  return make_kernel(
      [outer = offsets(args.in[0].shape, reduced, false), inner = offsets(args.in[0].shape, reduced, true),
       dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch_float(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const auto in = [&](int k) { return static_cast<const T*>(c.in[k]); };
          T* dx = static_cast<T*>(c.out[0]);
          const double n = static_cast<double>(inner.size());
          for (size_t o = 0; o < outer.size(); ++o) {
            const double mean = in(1)[o], head_mean = in(2)[o], head_var = in(3)[o];
            for (int64_t i : inner) {
              const double x = in(0)[outer[o] + i];
              dx[outer[o] + i] = static_cast<T>((head_mean + 2 * head_var * (x - mean)) / n);
            }
          }
        });
      },
      50 + args.in[0].shape.size() * 4);
}

void infer_float_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be floating point, got ", name_of(c.in[0].dtype)));
  }
}

std::vector<Term> compose_moments(const Composing& c) {
  const auto& p = c.as<MomentsParams>();
  const ParamValue axes = tuple_of(*p.axes);
  const Term centred = c[0] - c[0].then("mean", {{"axis", axes}, {"keepdims", true}});
  const ParamMap over{{"axis", axes}, {"keepdims", p.keepdims}};
  return {c[0].then("mean", over), square(centred).then("mean", over)};
}
const RegisterComposition moments_composition{"moments", compose_moments};

const RegisterOp moments{{.name = "moments",
                          .doc = "Mean and variance over dimensions.",
                          .params = schema_of<MomentsParams>(),
                          .inputs = {"data"},
                          .outputs = 2,
                          .infer = {infer_moments, infer_float_dtype},
                          .gradient = Gradient([](GradientBuilder& g) {
                            g.give_all({0}, "_backward_moments", {g.input(0), g.output(0), g.head(0), g.head(1)},
                                       g.params_ref());
                          }),
                          .kernels = {{"index", prepare_moments}},
                          .flags = {.precision = Precision::full}}};

const RegisterOp backward_moments{{.name = "_backward_moments",
                                   .doc = "Gradient of moments. Inputs: data, the mean, the two heads.",
                                   .params = schema_of<MomentsParams>(),
                                   .inputs = {"data", "mean", "head_mean", "head_var"},
                                   .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); }, infer::same_dtype},
                                   .gradient = Gradient::none(),
                                   .kernels = {{"index", prepare_moments_backward}},
                                   .flags = {.hidden = true}}};

// ---- _contrib_div_sqrt_dim -----------------------------------------------------------------------------------------

Prepared prepare_div_sqrt(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t n = shape.size();
  const double scale = 1 / std::sqrt(static_cast<double>(shape.rank() > 0 ? std::max<int64_t>(shape.back(), 1) : 1));
  return make_kernel(
      [=, dtype = args.in[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch_float(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          using C = compute_t<T>;
          const T* in = static_cast<const T*>(c.in[0]);
          T* out = static_cast<T*>(c.out[0]);
          cpu::parallel_for(n, 16384, [=](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end; ++i)
              out[i] = static_cast<T>(static_cast<C>(in[i]) * static_cast<C>(scale));
          });
        });
      },
      30 + n);
}

const RegisterOp div_sqrt_dim{{.name = "_contrib_div_sqrt_dim",
                               .doc = "data divided by the square root of the size of its last dimension.",
                               .inputs = {"data"},
                               .infer = {infer::same_shape, infer_float_dtype},
                               .gradient = Gradient([](GradientBuilder& g) {
                                             g.give_all({0}, "_contrib_div_sqrt_dim", {g.head(0)});
                                           }).only_heads(),
                               .kernels = {{"index", prepare_div_sqrt}},
                               .flags = {.inplace = true}}};

}  // namespace
}  // namespace mxnet::ops
