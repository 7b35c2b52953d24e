// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/pooling.h"

#include <cstring>
#include <optional>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::nn {
namespace {

enum class Convention { valid, full, same };
enum class PoolLayout { none, ncw, nchw, ncdhw, nwc, nhwc, ndhwc };

struct PoolingParams {
  Shape kernel, stride, pad;
  PoolType pool_type = PoolType::max;
  bool global_pool = false;
  bool cudnn_off = false;
  Convention pooling_convention = Convention::valid;
  std::optional<int> p_value;
  std::optional<bool> count_include_pad;
  PoolLayout layout = PoolLayout::none;
  bool whole_window = false;  // the first version's averages

  int64_t at(const Shape& dims, int i, int64_t fallback) const { return dims.rank() > 0 ? dims[i] : fallback; }

  static void declare(ParamSchemaOf<PoolingParams>& s) {
    s.field("kernel", &PoolingParams::kernel, "Window: (w,), (h, w) or (d, h, w).");
    s.choice("pool_type", &PoolingParams::pool_type,
             {{"avg", PoolType::avg}, {"lp", PoolType::lp}, {"max", PoolType::max}, {"sum", PoolType::sum}},
             "What is taken of a window.");
    s.field("global_pool", &PoolingParams::global_pool, "Whether the window is all of the data; `kernel` is ignored.");
    s.field("cudnn_off", &PoolingParams::cudnn_off, "Has no effect on a CPU.");
    s.choice("pooling_convention", &PoolingParams::pooling_convention,
             {{"full", Convention::full}, {"same", Convention::same}, {"valid", Convention::valid}},
             "How the output size is rounded: down (valid), up (full), or size / stride rounded up (same).");
    s.field("stride", &PoolingParams::stride, "Step of the window per axis; 1 if empty.");
    s.field("pad", &PoolingParams::pad, "Padding at both ends of each axis; 0 if empty.");
    s.field("p_value", &PoolingParams::p_value,
            "The p of lp pooling, (sum of x^p)^(1/p): 1, 2 or 3; odd ones keep signs.");
    s.field("count_include_pad", &PoolingParams::count_include_pad, "Whether padding counts in averages; None is yes.");
    s.choice("layout", &PoolingParams::layout,
             {{"None", PoolLayout::none},
              {"NCDHW", PoolLayout::ncdhw},
              {"NCHW", PoolLayout::nchw},
              {"NCW", PoolLayout::ncw},
              {"NDHWC", PoolLayout::ndhwc},
              {"NHWC", PoolLayout::nhwc},
              {"NWC", PoolLayout::nwc}},
             "Meaning of the data's axes; None has channels second.");
    s.validate([](const PoolingParams& p) { p.check(); });
  }

  bool channels_last() const {
    return layout == PoolLayout::nwc || layout == PoolLayout::nhwc || layout == PoolLayout::ndhwc;
  }
  int first_axis() const { return channels_last() ? 1 : 2; }  // of the window

  void check() const {
    if (pool_type == PoolType::lp && (!p_value || *p_value < 1 || *p_value > 3)) {
      fail(ErrorKind::value, "p_value must be 1, 2 or 3 for lp pooling");
    }
    if (global_pool) return;
    if (kernel.rank() < 1 || kernel.rank() > 3)
      fail(ErrorKind::value, "kernel must have 1, 2 or 3 entries, got ", kernel);
    const auto check_dims = [&](const char* name, const Shape& dims, int64_t least) {
      if (dims.rank() == 0) return;
      if (dims.rank() != kernel.rank()) {
        fail(ErrorKind::value, name, " must have as many entries as kernel ", kernel, ", got ", dims);
      }
      for (dim_t d : dims) {
        if (d < least) fail(ErrorKind::value, name, " must be at least ", least, ", got ", dims);
      }
    };
    check_dims("kernel", kernel, 1);
    check_dims("stride", stride, 1);
    check_dims("pad", pad, 0);
    if (pooling_convention == Convention::same && pad.rank() > 0 && pad.size() != 0) {
      fail(ErrorKind::value, "pooling_convention 'same' takes no pad");
    }
  }
};

// The first version has fewer fields and no clipping of averages.
struct PoolingV1Params : PoolingParams {
  PoolingV1Params() { whole_window = true; }
  static void declare(ParamSchemaOf<PoolingV1Params>& s) {
    using P = PoolingV1Params;
    s.field<Shape>("kernel", &P::kernel, "Window: (h, w) or (d, h, w).");
    s.choice<PoolType>("pool_type", &P::pool_type,
                       {{"avg", PoolType::avg}, {"max", PoolType::max}, {"sum", PoolType::sum}},
                       "What is taken of a window.");
    s.field<bool>("global_pool", &P::global_pool, "Whether the window is all of the data.");
    s.choice<Convention>("pooling_convention", &P::pooling_convention,
                         {{"full", Convention::full}, {"valid", Convention::valid}}, "How the output size is rounded.");
    s.field<Shape>("stride", &P::stride, "Step of the window per axis; 1 if empty.");
    s.field<Shape>("pad", &P::pad, "Padding at both ends of each axis; 0 if empty.");
    s.validate([](const P& p) { p.check(); });
  }
};

int64_t output_size(const PoolingParams& p, int axis, int64_t in) {
  const int64_t stride = p.at(p.stride, axis, 1);
  if (p.pooling_convention == Convention::same) return (in + stride - 1) / stride;
  const int64_t room = in + 2 * p.at(p.pad, axis, 0) - p.kernel[axis];
  return (p.pooling_convention == Convention::full ? (room + stride - 1) / stride : room / stride) + 1;
}

bool has_wide_index(const PoolingParams& p) { return p.global_pool || p.kernel.size() > 256; }

template <typename P>
void infer_shape(InferContext& c) {
  const PoolingParams& p = c.as<P>();
  const Shape& data = c.in[0].shape;
  const size_t residual = c.out.size() - 1;
  if (!data.rank_known()) return;
  if (data.rank() < 3 || data.rank() > 5) c.bad(str("data must have 3, 4 or 5 dimensions, got shape ", data));
  if (!p.global_pool && p.kernel.rank() != data.rank() - 2) {
    c.bad(str("data must have ", p.kernel.rank() + 2, " dimensions for kernel ", p.kernel, ", got shape ", data));
  }
  Shape out = data;
  for (int i = 0; i < data.rank() - 2; ++i) {
    const int axis = p.first_axis() + i;
    if (p.global_pool) {
      out[axis] = 1;
    } else if (data[axis] >= 0) {
      const int64_t padded = data[axis] + 2 * p.at(p.pad, i, 0);
      if (p.pooling_convention != Convention::same && p.kernel[i] > padded) {
        c.bad(str("kernel ", p.kernel, " exceeds the padded data of shape ", data, " along axis ", axis));
      }
      out[axis] = output_size(p, i, data[axis]);
    }
  }
  c.merge_out(0, out);
  c.merge_out(static_cast<int>(residual), p.pool_type == PoolType::max ? c.out[0].shape : Shape{1});
}

template <typename P>
void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  c.merge_out_dtype(1, has_wide_index(c.as<P>()) ? DType::i32 : DType::u8);
}

PoolView view_of(const PoolingParams& p, const TensorSpec& x) {
  PoolView v;
  v.dtype = x.dtype;
  v.type = p.pool_type;
  v.layout = p.channels_last() ? Layout::channels_last : x.layout;
  v.batch = x.shape[0];
  v.channels = x.shape[p.channels_last() ? x.shape.rank() - 1 : 1];
  v.include_pad = p.count_include_pad.value_or(true);
  v.whole_window = p.whole_window;
  v.p = p.p_value.value_or(2);
  v.wide_index = has_wide_index(p);
  const int rank = x.shape.rank() - 2;
  for (int i = 0; i < rank; ++i) {
    const auto to = static_cast<size_t>(3 - rank + i);
    v.in[to] = x.shape[p.first_axis() + i];
    if (p.global_pool) {
      v.kernel[to] = v.stride[to] = v.in[to];
      continue;
    }
    v.kernel[to] = p.kernel[i];
    v.stride[to] = p.at(p.stride, i, 1);
    v.pad[to] = p.at(p.pad, i, 0);
    v.out[to] = output_size(p, i, v.in[to]);
    if (p.pooling_convention == Convention::same) {
      v.pad[to] = std::max<int64_t>(0, (v.out[to] - 1) * v.stride[to] + v.kernel[to] - v.in[to]) / 2;
    }
  }
  return v;
}

int64_t points_of(const PoolView& v) { return v.planes() * v.out_size() * v.kernel_size(); }

int64_t cost(const PoolView& v) {
  const int64_t moves = v.layout == Layout::plain ? v.planes() * (v.in_size() + v.out_size()) : 0;
  return 100 + (points_of(v) + moves) / 4;
}

// f(begin, end) over the units of a pass.
template <typename F>
void over_units(const PoolView& v, int64_t units, F&& f) {
  const int64_t each = std::max<int64_t>(1, points_of(v) / std::max<int64_t>(1, units));
  cpu::parallel_for(units, std::max<int64_t>(1, 16384 / each), f);
}

// Of the arrays: a shape that names the channels last says all about it.
Layout layout_of(const PoolingParams& p, const PoolView& v) { return p.channels_last() ? Layout::plain : v.layout; }

template <typename P>
Prepared prepare_forward(const PrepareArgs& a) {
  const PoolView v = view_of(a.as<P>(), a.in[0]);
  a.in_layout[0] = a.out[0].layout = layout_of(a.as<P>(), v);
  if (v.type == PoolType::max) a.out[1].layout = a.out[0].layout;
  return make_kernel(
      [v](const KernelCall& call) {
        void* index = v.type == PoolType::max ? call.out[1] : nullptr;
        if (v.type != PoolType::max && call.out[1]) std::memset(call.out[1], 0, v.wide_index ? 4 : 1);
        over_units(v, pool_kernels().forward_units(v), [&](int64_t begin, int64_t end) {
          pool_kernels().forward(v, call.in[0], call.out[0], index, begin, end);
        });
      },
      cost(v));
}

// in: dy, x, y, index.
template <typename P>
Prepared prepare_backward(const PrepareArgs& a) {
  const PoolView v = view_of(a.as<P>(), a.in[1]);
  a.in_layout[0] = a.in_layout[1] = a.in_layout[2] = a.out[0].layout = layout_of(a.as<P>(), v);
  if (v.type == PoolType::max) a.in_layout[3] = a.out[0].layout;
  return make_kernel(
      [v](const KernelCall& call) {
        const void* index = v.type == PoolType::max ? call.in[3] : nullptr;
        over_units(v, pool_kernels().backward_units(v), [&](int64_t begin, int64_t end) {
          pool_kernels().backward(v, call.in[0], call.in[1], call.in[2], index, call.out[0], begin, end);
        });
      },
      cost(v));
}

// What the winners of a maximum have in another array like the data. in: values, index.
template <typename P>
Prepared prepare_winners(const PrepareArgs& a) {
  TensorSpec plain = a.in[0];
  plain.layout = Layout::plain;
  const PoolView v = view_of(a.as<P>(), plain);
  return dispatch_float(v.dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [v](const KernelCall& call) {
      const auto* values = static_cast<const T*>(call.in[0]);
      auto* to = static_cast<T*>(call.out[0]);
      const bool last = v.layout == Layout::channels_last;
      const int64_t step_of_place = last ? v.channels : 1;  // from one place of a channel to the next
      cpu::parallel_for(v.batch * v.channels, 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin * v.out_size(); i < end * v.out_size(); ++i) {
          int64_t place =
              v.wide_index ? static_cast<const int32_t*>(call.in[1])[i] : static_cast<const uint8_t*>(call.in[1])[i];
          const int64_t channel = last ? i % v.channels : i / v.out_size() % v.channels;
          const int64_t image = i / (v.out_size() * v.channels);
          const int64_t from = image * v.in_size() * v.channels + (last ? channel : channel * v.in_size());
          int64_t rest = i / step_of_place % v.out_size(), offset = 0, step = step_of_place;
          bool inside = true;
          for (size_t d = 3; d-- > 0;) {
            const int64_t at = rest % v.out[d] * v.stride[d] - v.pad[d] + place % v.kernel[d];
            inside &= at >= 0 && at < v.in[d];
            offset += at * step;
            step *= v.in[d];
            rest /= v.out[d];
            place /= v.kernel[d];
          }
          to[i] = inside ? values[from + offset] : T(0);
        }
      });
    };
    return make_kernel(std::move(run), 100 + 10 * a.out[0].shape.size());
  });
}

void infer_winners_shape(InferContext& c) { c.merge_out(0, c.in[1].shape); }
void infer_winners_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

template <typename P>
constexpr const char* kWinners = std::is_same_v<P, PoolingParams> ? "_pooling_winners" : "_pooling_v1_winners";
template <typename P>
constexpr const char* kForward = std::is_same_v<P, PoolingParams> ? "Pooling" : "Pooling_v1";

// With P sum pooling and B its backward, y = P(x^p)^(1/p) and dx = x^(p-1) B(dy y^(1-p)).
template <typename P>
void lp_backward_gradient(GradientBuilder& g, P p) {
  const double n = *p.p_value;
  p.pool_type = PoolType::sum;
  const Ref<Params> sum = make_params<P>(p);
  const Value dy = g.input(0), x = g.input(1), y = g.input(2), head = g.head(0);
  const auto times = [&](const Value& a, const Value& b) { return g.call("elemwise_mul", {a, b}); };
  const auto scaled = [&](double factor, const Value& v, double exponent) {
    return g.call("_mul_scalar", {g.call("_power_scalar", {v}, ParamMap{{"scalar", exponent}})},
                  ParamMap{{"scalar", factor}});
  };
  const Value pooled = g.call(kForward<P>, {times(head, scaled(1, x, n - 1))}, sum);
  if (g.needs(0)) g.give(0, times(pooled, scaled(1, y, 1 - n)));
  if (g.needs(2)) g.give(2, times(times(pooled, dy), scaled(1 - n, y, -n)));
  if (!g.needs(1)) return;
  const Value spread = g.call(g.op().name, {times(dy, scaled(1, y, 1 - n)), x, y, g.input(3)}, sum);
  g.give(1, times(times(head, spread), scaled(n - 1, x, n - 2)));
}

// The backward operator is linear in dy; of lp it also depends on the data.
template <typename P>
void backward_gradient(GradientBuilder& g) {
  const P& p = g.params<P>();
  if (p.pool_type == PoolType::lp) return lp_backward_gradient(g, p);
  if (p.pool_type == PoolType::max)
    g.give(0, kWinners<P>, {g.head(0), g.input(3)}, g.params_ref());
  else
    g.give(0, kForward<P>, {g.head(0)}, g.params_ref());
}

template <typename P>
OpDef winners_op() {
  return {.name = kWinners<P>,
          .doc = "Of an array like the data of max pooling, the elements where the maxima were.",
          .params = schema_of<P>(),
          .inputs = {"values", "index"},
          .infer = {infer_winners_shape, infer_winners_dtype},
          .gradient = Gradient::none(),
          .kernels = {{"portable", prepare_winners<P>}},
          .flags = {.hidden = true}};
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[1].shape); }
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }

template <typename P>
OpDef forward_op(const char* name, std::vector<std::string> aliases, const char* doc, const char* backward_name) {
  static const char* backward = backward_name;
  return {.name = name,
          .doc = doc,
          .aliases = std::move(aliases),
          .params = schema_of<P>(),
          .inputs = {"data"},
          .outputs = Outputs(1).with_residuals(1),
          .infer = {infer_shape<P>, infer_dtype<P>},
          .gradient = Gradient([](GradientBuilder& g) {
            g.give(0, backward, {g.head(0), g.input(0), g.output(0), g.output(1)}, g.params_ref());
          }),
          .kernels = {{"windows", prepare_forward<P>}}};
}

template <typename P>
OpDef backward_op(const char* name) {
  return {.name = name,
          .doc = "Gradient of the operator after which it is named.",
          .params = schema_of<P>(),
          .inputs = {"dy", "data", "y", "index"},
          .infer = {infer_backward_shape, infer_backward_dtype},
          .gradient = Gradient(backward_gradient<P>).without_outputs(),
          .kernels = {{"windows", prepare_backward<P>}},
          .flags = {.hidden = true}};
}

const RegisterOp pooling(forward_op<PoolingParams>(
    "Pooling", {},
    "Maximum, average, sum or p-norm over a window that slides along the spatial axes.\n\n"
    "Shapes: data (n, c, w), (n, c, h, w) or (n, c, d, h, w); output (n, c, ...) with sizes floor((size + 2 pad - "
    "kernel) "
    "/ stride) + 1 ('valid'), the same rounded up ('full'), or ceil(size / stride) ('same').\n"
    "Raises if the window exceeds the padded data.",
    "_backward_Pooling"));
const RegisterOp pooling_v1(forward_op<PoolingV1Params>(
    "Pooling_v1", {}, "Pooling of old models: averages divide by the size of the kernel even where it leaves the data.",
    "_backward_Pooling_v1"));
const RegisterOp pooling_winners(winners_op<PoolingParams>());
const RegisterOp pooling_v1_winners(winners_op<PoolingV1Params>());
const RegisterOp backward_pooling(backward_op<PoolingParams>("_backward_Pooling"));
const RegisterOp backward_pooling_v1(backward_op<PoolingV1Params>("_backward_Pooling_v1"));

}  // namespace
}  // namespace mxnet::nn
