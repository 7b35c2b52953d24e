// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"

namespace mxnet::nn {
namespace {

enum class SampleType { nearest, bilinear };
enum class MultiInput { concat, sum };

struct UpSamplingParams {
  int64_t scale = 1;
  int64_t num_filter = 0;
  SampleType sample_type = SampleType::nearest;
  MultiInput multi_input_mode = MultiInput::concat;
  int64_t num_args = 1;
  int64_t workspace = 512;

  static void declare(ParamSchemaOf<UpSamplingParams>& s) {
    using P = UpSamplingParams;
    s.field("scale", &P::scale, "Factor of height and width.").required().range(1, 1000);
    s.field("num_filter", &P::num_filter, "Number of channels, for bilinear sampling.").range(0, 1e15);
    s.choice("sample_type", &P::sample_type, {{"bilinear", SampleType::bilinear}, {"nearest", SampleType::nearest}},
             "Repeats elements, or applies the given weights as a transposed convolution.")
        .required();
    s.choice("multi_input_mode", &P::multi_input_mode, {{"concat", MultiInput::concat}, {"sum", MultiInput::sum}},
             "What becomes of several inputs of nearest sampling.");
    s.field("num_args", &P::num_args, "Number of inputs.").required().range(1, 1e6);
    s.field("workspace", &P::workspace, "Has no effect; kept for old programs.");
  }
  bool bilinear() const { return sample_type == SampleType::bilinear; }
};

std::vector<std::string> names_of(const Params& params) {
  const auto& p = params.as<UpSamplingParams>();
  if (p.bilinear()) return {"data", "weight"};
  std::vector<std::string> names;
  for (int64_t i = 0; i < p.num_args; ++i) names.push_back("arg" + std::to_string(i));
  return names;
}

Inputs make_inputs() {
  Inputs inputs = Inputs::variadic("num_args");
  inputs.names_of = names_of;
  return inputs;
}

int64_t window(const UpSamplingParams& p) { return 2 * p.scale - p.scale % 2; }

void check_rank(InferContext& c, const Shape& data) {
  if (data.rank() != 4) c.bad(str("data must have 4 dimensions, got shape ", data));
}

void infer_bilinear(InferContext& c) {
  const auto& p = c.as<UpSamplingParams>();
  if (c.in.size() != 2) c.bad("bilinear sampling takes two inputs, data and weight");
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  check_rank(c, data);
  if (p.num_filter > 0) c.merge_in(0, {-1, p.num_filter, -1, -1});
  c.merge_in(1, {data[1], 1, window(p), window(p)});
  const auto scaled = [&](int64_t d) { return d < 0 ? -1 : d * p.scale; };
  c.merge_out(0, {data[0], data[1], scaled(data[2]), scaled(data[3])});
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<UpSamplingParams>();
  if (p.bilinear()) return infer_bilinear(c);
  if (static_cast<int64_t>(c.in.size()) != p.num_args) {
    c.bad(str("num_args is ", p.num_args, " with ", c.in.size(), " arrays"));
  }
  const Shape& first = c.in[0].shape;
  if (!first.rank_known()) return;
  check_rank(c, first);
  int64_t channels = 0;
  for (size_t i = 0; i < c.in.size(); ++i) {
    const Shape& s = c.in[i].shape;
    if (!s.known()) return;
    check_rank(c, s);
    const bool fits = s[0] == first[0] && s[2] > 0 && s[3] > 0 && first[2] * p.scale % s[2] == 0 &&
                      first[3] * p.scale % s[3] == 0 && (p.multi_input_mode == MultiInput::concat || s[1] == first[1]);
    if (!fits && first.size() != 0)
      c.bad(str("input ", i, " of shape ", s, " does not fit the first, of shape ", first));
    channels += s[1];
  }
  if (p.multi_input_mode == MultiInput::sum) channels = first[1];
  c.merge_out(0, {first[0], channels, first[2] * p.scale, first[3] * p.scale});
}

// One input of nearest sampling: its place in the output.
struct Part {
  int64_t batch, channels, height, width, factor_y, factor_x, first_channel, out_channels;

  int64_t out_width() const { return width * factor_x; }
  int64_t in_plane(int64_t i) const { return i * height * width; }
  int64_t out_plane(int64_t i) const {
    return ((i / channels) * out_channels + first_channel + i % channels) * height * factor_y * out_width();
  }
};

std::vector<Part> parts_of(std::span<const TensorSpec> in, const Shape& out, const UpSamplingParams& p) {
  std::vector<Part> parts;
  int64_t channel = 0;
  for (const TensorSpec& t : in) {
    const Shape& s = t.shape;
    if (t.shape.size() == 0) continue;
    parts.push_back({s[0], s[1], s[2], s[3], out[2] / s[2], out[3] / s[3], channel, out[1]});
    if (p.multi_input_mode == MultiInput::concat) channel += s[1];
  }
  return parts;
}

template <typename T>
void spread(const Part& part, const T* x, T* y, bool add) {
  using C = compute_t<T>;
  cpu::parallel_for(part.batch * part.channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = x + part.in_plane(i);
      T* to = y + part.out_plane(i);
      for (int64_t row = 0; row < part.height * part.factor_y; ++row) {
        const T* line = from + row / part.factor_y * part.width;
        for (int64_t col = 0; col < part.out_width(); ++col, ++to) {
          const T value = line[col / part.factor_x];
          *to = add ? static_cast<T>(C(*to) + C(value)) : value;
        }
      }
    }
  });
}

template <typename T>
void gather(const Part& part, const T* dy, T* dx) {
  using A = accumulate_t<T>;
  cpu::parallel_for(part.batch * part.channels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* from = dy + part.out_plane(i);
      T* to = dx + part.in_plane(i);
      for (int64_t row = 0; row < part.height; ++row) {
        for (int64_t col = 0; col < part.width; ++col) {
          A sum = 0;
          for (int64_t a = 0; a < part.factor_y; ++a) {
            const T* line = from + (row * part.factor_y + a) * part.out_width() + col * part.factor_x;
            for (int64_t b = 0; b < part.factor_x; ++b) sum += A(line[b]);
          }
          *to++ = static_cast<T>(sum);
        }
      }
    }
  });
}

ConvProblem problem_of(const UpSamplingParams& p, const TensorSpec& data) {
  ConvProblem q;
  q.dtype = data.dtype;
  q.batch = data.shape[0];
  q.in_channels = q.out_channels = q.groups = data.shape[1];
  q.out = {1, data.shape[2], data.shape[3]};
  q.in = {1, data.shape[2] * p.scale, data.shape[3] * p.scale};
  q.kernel = {1, window(p), window(p)};
  q.stride = {1, p.scale, p.scale};
  q.pad = {0, p.scale / 2, p.scale / 2};
  return q;
}

Prepared prepare_forward(const PrepareArgs& a) {
  const auto& p = a.as<UpSamplingParams>();
  if (p.bilinear()) {
    std::shared_ptr<ConvKernel> conv = prepare_conv(problem_of(p, a.in[0]), ConvPass::data, false, a.team);
    a.in_layout[0] = a.out[0].layout = conv->layout;
    auto kernel =
        make_kernel([conv](const KernelCall& c) { conv->run(c.out[0], c.in[1], c.in[0], nullptr, c.scratch); },
                    conv->cost_ns, conv->scratch_bytes);
    kernel->team_matters = conv->team_matters;
    return std::unique_ptr<Kernel>(std::move(kernel));
  }
  const auto parts = parts_of(a.in, a.out[0].shape, p);
  const bool add = p.multi_input_mode == MultiInput::sum;
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [parts, add](const KernelCall& c) {
      for (size_t i = 0; i < parts.size(); ++i) {
        spread(parts[i], static_cast<const T*>(c.in[i]), static_cast<T*>(c.out[0]), add && i > 0);
      }
    };
    return make_kernel(std::move(run), 100 + 2 * a.out[0].shape.size());
  });
}

// in: dy, then the forward's inputs; out: one gradient per input.
class BilinearBackward final : public Kernel {
 public:
  explicit BilinearBackward(const PrepareArgs& a) {
    const ConvProblem q = problem_of(a.as<UpSamplingParams>(), a.in[1]);
    cost_ns = 100;
    if (a.req[0] != Req::null) data_ = account(prepare_conv(q, ConvPass::forward, false, a.team));
    if (a.req[1] != Req::null) weights_ = account(prepare_conv(q, ConvPass::weights, false, a.team));
    if (data_ && weights_ && data_->layout != weights_->layout) {
      data_ = prepare_conv_portable(q, ConvPass::forward, false);
      weights_ = prepare_conv_portable(q, ConvPass::weights, false);
    }
    const Layout layout = data_ ? data_->layout : weights_ ? weights_->layout : Layout::plain;
    a.in_layout[0] = a.in_layout[1] = a.out[0].layout = layout;
  }
  void run(const KernelCall& c) const override {
    if (data_) data_->run(c.in[0], c.in[2], c.out[0], nullptr, c.scratch);
    if (weights_) weights_->run(c.in[0], c.out[1], c.in[1], nullptr, c.scratch);
  }

 private:
  std::unique_ptr<ConvKernel> account(std::unique_ptr<ConvKernel> kernel) {
    cost_ns += kernel->cost_ns;
    scratch = std::max(scratch, kernel->scratch_bytes);
    team_matters |= kernel->team_matters;
    return kernel;
  }
  std::unique_ptr<ConvKernel> data_, weights_;
};

Prepared prepare_backward(const PrepareArgs& a) {
  const auto& p = a.as<UpSamplingParams>();
  if (p.bilinear()) return std::unique_ptr<Kernel>(new BilinearBackward(a));
  const auto parts = parts_of(a.in.subspan(1), a.in[0].shape, p);
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [parts](const KernelCall& c) {
      for (size_t i = 0; i < parts.size(); ++i) {
        if (c.out[i]) gather(parts[i], static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[i]));
      }
    };
    return make_kernel(std::move(run), 100 + 2 * a.in[0].shape.size());
  });
}

void infer_backward_shape(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[i + 1].shape);
}

void gradient(GradientBuilder& g) {
  std::vector<Value> in{g.head(0)};
  std::vector<int> targets;
  for (int i = 0; i < g.num_inputs(); ++i) {
    in.push_back(g.input(i));
    targets.push_back(i);
  }
  g.give_all(targets, get_op("_backward_UpSampling"), g.params_ref(), in);
}

// The backward operator is linear in the head and, bilinear, in data (gradient of the weight) and in the weight.
void backward_gradient(GradientBuilder& g) {
  const OpDef &forward = get_op("UpSampling"), &backward = get_op("_backward_UpSampling");
  const auto run = [&](const OpDef& op, std::initializer_list<Value> in) {
    return g.apply(op, g.params_ref(), std::span<const Value>(in.begin(), in.size()));
  };
  if (g.params<UpSamplingParams>().bilinear()) {
    const Value dy = g.input(0), data = g.input(1), weight = g.input(2), a = g.head(0), b = g.head(1);
    if (g.needs(0)) g.give(0, g.call("elemwise_add", {run(forward, {a, weight})[0], run(forward, {data, b})[0]}));
    if (g.needs(1)) g.give(1, run(backward, {dy, data, b})[0]);
    if (g.needs(2)) g.give(2, run(backward, {dy, a, weight})[1]);
    return;
  }
  std::vector<Value> heads;
  for (int i = 1; i < g.num_inputs(); ++i) heads.push_back(g.head(i - 1));
  if (g.needs(0)) g.give(0, g.apply(forward, g.params_ref(), heads)[0]);
}

const RegisterOp up_sampling{{
    .name = "UpSampling",
    .doc =
        "Enlarges height and width by an integer factor, by repetition ('nearest') or with given weights "
        "('bilinear').\n\n"
        "Shapes: data (n, c, h, w), output (n, c, scale h, scale w). Several inputs of nearest sampling are brought to "
        "the "
        "size of the first one's result and joined along channels or added. For 'bilinear' weight is (c, 1, k, k) with "
        "k = 2 scale - scale % 2.",
    .params = schema_of<UpSamplingParams>(),
    .inputs = make_inputs(),
    .infer = {infer_shape, infer::same_dtype},
    .gradient = Gradient(gradient).without_outputs(),
    .kernels = {{"portable", prepare_forward}},
}};

const RegisterOp backward_up_sampling{{
    .name = "_backward_UpSampling",
    .doc = "Gradients of UpSampling with respect to its inputs.",
    .params = schema_of<UpSamplingParams>(),
    .inputs = Inputs::variadic("num_args"),
    .outputs = Outputs([](const Params& p) {
      const auto& u = p.as<UpSamplingParams>();
      return u.bilinear() ? 2 : static_cast<int>(u.num_args);
    }),
    .infer = {infer_backward_shape, infer::same_dtype},
    .gradient = Gradient(backward_gradient).without_outputs(),
    .kernels = {{"portable", prepare_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
