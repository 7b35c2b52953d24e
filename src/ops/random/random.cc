// SPDX-License-Identifier: Apache-2.0
// Operators that draw from a distribution. Each distribution is one struct; from it come three operators: parameters as
// numbers (_random_x), with the shape of an array (_random_x_like), and one parameter set per element (_sample_x).
#include <algorithm>
#include <optional>
#include <string>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/random/distributions.h"
#include "ops/random/fill.h"

namespace mxnet::ops {
namespace {

// ---- distributions -------------------------------------------------------------------------------------------------
// a and b are the parameters in the order of the signature. check() throws Error(value); draw() gives one number.

void need(bool ok, const char* what, double value) {
  if (!ok) fail(ErrorKind::value, what, ", got ", value);
}

struct Uniform {
  static constexpr const char* kName = "uniform";
  static constexpr const char* kDoc = "Numbers drawn uniformly from [low, high).";
  static constexpr const char* kParams[] = {"low", "high"};
  static constexpr const char* kParamDocs[] = {"Lower bound, included.", "Upper bound, left out."};
  static constexpr double kDefaults[] = {0, 1};
  static constexpr int kCount = 2;
  static constexpr int kCost = 6;
  static void check(double low, double high) {
    if (!(low <= high)) fail(ErrorKind::value, "low must not be greater than high, got low ", low, " and high ", high);
  }
  static double of_uniform(double u, double low, double high) { return low + (high - low) * u; }
};

struct Normal {
  static constexpr const char* kName = "normal";
  static constexpr const char* kDoc = "Numbers drawn from a normal distribution.";
  static constexpr const char* kParams[] = {"loc", "scale"};
  static constexpr const char* kParamDocs[] = {"Mean.", "Standard deviation, positive."};
  static constexpr const char* kArrays[] = {"mu", "sigma"};
  static constexpr double kDefaults[] = {0, 1};
  static constexpr int kCount = 2;
  static constexpr int kCost = 25;
  static void check(double, double scale) { need(scale > 0, "scale (standard deviation) must be positive", scale); }
};

struct Gamma {
  static constexpr const char* kName = "gamma";
  static constexpr const char* kDoc = "Numbers drawn from a gamma distribution.";
  static constexpr const char* kParams[] = {"alpha", "beta"};
  static constexpr const char* kParamDocs[] = {"Shape, positive.", "Scale, positive."};
  static constexpr double kDefaults[] = {1, 1};
  static constexpr int kCount = 2;
  static constexpr int kCost = 120;
  static void check(double alpha, double beta) {
    need(alpha > 0, "alpha (shape) must be positive", alpha);
    need(beta > 0, "beta (scale) must be positive", beta);
  }
  static double draw(WordSource& s, double alpha, double beta) { return beta * draw_gamma(s, alpha); }
};

struct Exponential {
  static constexpr const char* kName = "exponential";
  static constexpr const char* kDoc = "Numbers drawn from an exponential distribution.";
  static constexpr const char* kParams[] = {"lam"};
  static constexpr const char* kParamDocs[] = {"Rate, positive: the inverse of the mean."};
  static constexpr double kDefaults[] = {1, 0};
  static constexpr int kCount = 1;
  static constexpr int kCost = 30;
  static void check(double lam, double) { need(lam > 0, "lam (rate) must be positive", lam); }
  static double of_uniform(double u, double lam, double) { return exponential_of(u) / lam; }
};

struct Poisson {
  static constexpr const char* kName = "poisson";
  static constexpr const char* kDoc = "Numbers drawn from a Poisson distribution, as floating point.";
  static constexpr const char* kParams[] = {"lam"};
  static constexpr const char* kParamDocs[] = {"Mean, not negative."};
  static constexpr double kDefaults[] = {1, 0};
  static constexpr int kCount = 1;
  static constexpr int kCost = 100;
  static void check(double lam, double) { need(lam >= 0, "lam (mean) must not be negative", lam); }
  static double draw(WordSource& s, double lam, double) { return draw_poisson(s, lam); }
};

struct NegativeBinomial {
  static constexpr const char* kName = "negative_binomial";
  static constexpr const char* kDoc = "Failures before the k-th success, as floating point.";
  static constexpr const char* kParams[] = {"k", "p"};
  static constexpr const char* kParamDocs[] = {"Successes to wait for, not negative.",
                                               "Probability of a success, in (0, 1]."};
  static constexpr double kDefaults[] = {1, 1};
  static constexpr int kCount = 2;
  static constexpr int kCost = 250;
  static void check(double k, double p) {
    need(k >= 0, "k must not be negative", k);
    need(p > 0 && p <= 1, "p must lie in (0, 1]", p);
  }
  static double draw(WordSource& s, double k, double p) { return draw_negative_binomial(s, k, p); }
};

struct GeneralizedNegativeBinomial {
  static constexpr const char* kName = "generalized_negative_binomial";
  static constexpr const char* kDoc = "Numbers of a negative binomial distribution by mean and dispersion.";
  static constexpr const char* kParams[] = {"mu", "alpha"};
  static constexpr const char* kParamDocs[] = {"Mean, not negative.", "Dispersion, not negative; 0 is Poisson."};
  static constexpr double kDefaults[] = {1, 1};
  static constexpr int kCount = 2;
  static constexpr int kCost = 250;
  static void check(double mu, double alpha) {
    need(mu >= 0, "mu must not be negative", mu);
    need(alpha >= 0, "alpha must not be negative", alpha);
  }
  static double draw(WordSource& s, double mu, double alpha) {
    return draw_generalized_negative_binomial(s, mu, alpha);
  }
};

// ---- parameters ----------------------------------------------------------------------------------------------------

template <class D>
struct Numbers {
  double a = D::kDefaults[0], b = D::kDefaults[1];
  template <class P>
  static void declare_numbers(ParamSchemaOf<P>& s) {
    s.field(D::kParams[0], static_cast<double P::*>(&P::a), D::kParamDocs[0]).runtime().type("float");
    if constexpr (D::kCount == 2) {
      s.field(D::kParams[1], static_cast<double P::*>(&P::b), D::kParamDocs[1]).runtime().type("float");
    }
  }
};

template <class D>
struct FixedParams : Numbers<D> {
  std::optional<Shape> shape;
  std::string ctx;
  std::optional<DType> dtype;
  static void declare(ParamSchemaOf<FixedParams>& s) {
    Numbers<D>::declare_numbers(s);
    s.field("shape", &FixedParams::shape, "Shape of the result; None is (1,).");
    s.field("ctx", &FixedParams::ctx, "Where the array is made, as text; empty is the current context.");
    s.field("dtype", &FixedParams::dtype, "float16, bfloat16, float32 or float64; None is float32.");
  }
};

template <class D>
struct LikeParams : Numbers<D> {
  static void declare(ParamSchemaOf<LikeParams>& s) { Numbers<D>::declare_numbers(s); }
};

struct SampleParams {
  Shape shape;
  std::optional<DType> dtype;
  static void declare(ParamSchemaOf<SampleParams>& s) {
    s.field("shape", &SampleParams::shape, "How many numbers to draw for each element of the parameters.");
    s.field("dtype", &SampleParams::dtype,
            "float16, bfloat16, float32 or float64; None is the type of the parameters.");
  }
};

void set_float_dtype(InferContext& c, DType dtype) {
  if (!is_float(dtype)) c.bad(str("dtype must be a floating point type, got ", name_of(dtype)));
  c.merge_out_dtype(0, dtype);
}

// ---- kernels -------------------------------------------------------------------------------------------------------

// Uniform and normal floats come in blocks of the stream.
template <class D>
constexpr bool kHasFill = std::is_same_v<D, Uniform> || std::is_same_v<D, Normal>;

template <class D>
void fill_blocks(const random::Stream& stream, int64_t first, int64_t blocks, double a, double b, float* out) {
  const random_fill::Table& table = random_fill::table();
  if constexpr (std::is_same_v<D, Uniform>) {
    table.uniform(stream, first, blocks, static_cast<float>(a), static_cast<float>(b - a), out);
  } else {
    table.normal(stream, first, blocks, static_cast<float>(a), static_cast<float>(b), out);
  }
}

// Half types and the last block go through a small buffer.
template <class D, typename T>
void fill_range(const random::Stream& stream, int64_t begin, int64_t end, double a, double b, T* out) {
  constexpr int64_t kBlock = random_fill::kBlock;
  int64_t block = begin / kBlock;
  if constexpr (std::is_same_v<T, float>) {
    const int64_t whole = (end - begin) / kBlock;
    fill_blocks<D>(stream, block, whole, a, b, out + begin);
    block += whole;
  }
  float buffer[kBlock];
  for (int64_t i = block * kBlock; i < end; i += kBlock, ++block) {
    fill_blocks<D>(stream, block, 1, a, b, buffer);
    std::copy_n(buffer, std::min(kBlock, end - i), out + i);
  }
}

// Numbers [begin, end) of type T with one set of parameters. What takes half of a position's words, or comes in pairs
// (normal numbers), shares it with a neighbour.
template <class D, typename T>
void draw_range(const random::Stream& stream, int64_t begin, int64_t end, double a, double b, T* out) {
  if constexpr (std::is_same_v<D, Normal>) {
    for (int64_t i = begin; i < end;) {
      const auto [first, second] = random::normal_double(stream.at(static_cast<uint64_t>(i / 2)));
      if (i % 2 == 0) out[i++] = static_cast<T>(a + b * first);
      if (i < end) out[i++] = static_cast<T>(a + b * second);
    }
  } else if constexpr (requires { D::of_uniform(0.0, a, b); }) {
    for (int64_t i = begin; i < end;) {
      const random::Words w = stream.at(static_cast<uint64_t>(i / 2));
      if (i % 2 == 0) out[i++] = static_cast<T>(D::of_uniform(random::uniform_double(w.v[0], w.v[1]), a, b));
      if (i < end) out[i++] = static_cast<T>(D::of_uniform(random::uniform_double(w.v[2], w.v[3]), a, b));
    }
  } else if (std::is_same_v<D, Poisson> && a > 0 && a < kSmallRate) {
    const double none = std::exp(-a);
    for (int64_t i = begin; i < end; ++i) {
      WordSource source(stream, static_cast<uint64_t>(i));
      out[i] = static_cast<T>(draw_small_poisson(source, a, none));
    }
  } else {
    for (int64_t i = begin; i < end; ++i) {
      WordSource source(stream, static_cast<uint64_t>(i));
      out[i] = static_cast<T>(D::draw(source, a, b));
    }
  }
}

template <class D>
void draw_all(const random::Stream& stream, DType dtype, int64_t n, double a, double b, void* out) {
  dispatch_float(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* target = static_cast<T*>(out);
    if constexpr (kHasFill<D> && !std::is_same_v<T, double>) {
      cpu::parallel_for((n + 63) / 64, 256, [=](int64_t begin, int64_t end) {
        fill_range<D>(stream, begin * 64, std::min(end * 64, n), a, b, target);
      });
    } else {
      cpu::parallel_for(n, 1024, [=](int64_t begin, int64_t end) { draw_range<D>(stream, begin, end, a, b, target); });
    }
  });
}

template <class D, class P>
Prepared prepare_numbers(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  const DType dtype = args.out[0].dtype;
  auto kernel = make_kernel(
      [n, dtype](const KernelCall& c) {
        const P& p = c.params->as<P>();
        D::check(p.a, p.b);
        if (c.out[0]) draw_all<D>(c.random, dtype, n, p.a, p.b, c.out[0]);
      },
      50 + n * (kHasFill<D> ? D::kCost / 5 : D::kCost));
  // Enough positions for either way of drawing.
  kernel->random_draws = static_cast<uint64_t>(n + random_fill::kBlock);
  return kernel;
}

template <class D>
Prepared prepare_sample(const PrepareArgs& args) {
  const int64_t sets = args.in[0].shape.size(), each = args.as<SampleParams>().shape.size(), n = sets * each;
  auto kernel = make_kernel(
      [=, in = args.in[0].dtype, out = args.out[0].dtype](const KernelCall& c) {
        dispatch_float(in, [&](auto in_tag) {
          using In = typename decltype(in_tag)::type;
          const In* a = static_cast<const In*>(c.in[0]);
          const In* b = D::kCount == 2 ? static_cast<const In*>(c.in[1]) : a;
          for (int64_t i = 0; i < sets; ++i) D::check(a[i], b[i]);
          if (!c.out[0]) return;
          dispatch_float(out, [&](auto out_tag) {
            using T = typename decltype(out_tag)::type;
            T* target = static_cast<T*>(c.out[0]);
            cpu::parallel_for(n, 1024, [=, &c](int64_t begin, int64_t end) {
              while (begin < end) {
                const int64_t set = begin / each, stop = std::min(end, (set + 1) * each);
                draw_range<D>(c.random, begin, stop, a[set], b[set], target);
                begin = stop;
              }
            });
          });
        });
      },
      50 + n * D::kCost + sets);
  kernel->random_draws = static_cast<uint64_t>(n);
  return kernel;
}

// ---- the three operators -------------------------------------------------------------------------------------------

// What the call asks for, else what a given output has, else one float32.
template <class P>
void infer_asked_shape(InferContext& c) {
  if (c.as<P>().shape || !c.out[0].shape.rank_known()) c.merge_out(0, c.as<P>().shape.value_or(Shape{1}));
}
template <class P>
void infer_asked_dtype(InferContext& c) {
  const DType given = c.out[0].dtype == DType::unknown ? DType::f32 : c.out[0].dtype;
  set_float_dtype(c, c.as<P>().dtype.value_or(given));
}

template <class D>
OpDef fixed_op(std::vector<std::string> aliases) {
  using P = FixedParams<D>;
  return {
      .name = std::string("_random_") + D::kName,
      .doc = std::string(D::kDoc) + "\n\nParameters out of their range raise MXNetError when the result is waited for.",
      .aliases = std::move(aliases),
      .params = schema_of<P>(),
      .inputs = Inputs(std::initializer_list<const char*>{}),
      .infer = {infer_asked_shape<P>, infer_asked_dtype<P>},
      .gradient = Gradient::zero(),
      .kernels = {{"philox", prepare_numbers<D, P>}},
      .flags = {.random = true}};
}

template <class D>
OpDef like_op() {
  using P = LikeParams<D>;
  return {.name = std::string("_random_") + D::kName + "_like",
          .doc = std::string(D::kDoc) + "\n\nThe result has the shape and type of data.",
          .params = schema_of<P>(),
          .inputs = {"data"},
          .infer = {infer::same_shape, infer::same_dtype},
          .gradient = Gradient::zero(),
          .kernels = {{"philox", prepare_numbers<D, P>}},
          .flags = {.random = true}};
}

template <class D>
constexpr const char* const* array_names() {
  if constexpr (requires { D::kArrays; })
    return D::kArrays;
  else
    return D::kParams;
}

void infer_sample(InferContext& c) {
  for (size_t i = 1; i < c.in.size(); ++i) {
    c.merge_in(static_cast<int>(i), c.in[0].shape);
    c.merge_in(0, c.in[i].shape);
  }
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  for (dim_t d : c.as<SampleParams>().shape) out.push_back(d);
  c.merge_out(0, out);
}

void infer_sample_dtype(InferContext& c) {
  for (size_t i = 1; i < c.in.size(); ++i) {
    c.merge_in_dtype(static_cast<int>(i), c.in[0].dtype);
    c.merge_in_dtype(0, c.in[i].dtype);
  }
  const DType in = c.in[0].dtype, asked = c.as<SampleParams>().dtype.value_or(in);
  if (in != DType::unknown && !is_float(in)) c.bad(str("parameters must be floating point, got ", name_of(in)));
  if (asked != DType::unknown) set_float_dtype(c, asked);
}

template <class D>
OpDef sample_op() {
  std::vector<std::string> names(array_names<D>(), array_names<D>() + D::kCount);
  return {.name = std::string("_sample_") + D::kName,
          .doc = std::string(D::kDoc) +
                 "\n\nOne set of parameters per element; shapes: parameters (...), output (..., *shape).",
          .aliases = {std::string("sample_") + D::kName},
          .params = schema_of<SampleParams>(),
          .inputs = Inputs(std::move(names)),
          .infer = {infer_sample, infer_sample_dtype},
          .gradient = Gradient::zero(),
          .kernels = {{"philox", prepare_sample<D>}},
          .flags = {.random = true}};
}

template <class D>
struct Family {
  RegisterOp fixed, like, sample;
  explicit Family(std::vector<std::string> aliases)
      : fixed(fixed_op<D>(std::move(aliases))), like(like_op<D>()), sample(sample_op<D>()) {}
};

const Family<Uniform> uniform({"random_uniform", "uniform"});
const Family<Normal> normal({"random_normal", "normal"});
const Family<Gamma> gamma({"random_gamma"});
const Family<Exponential> exponential({"random_exponential"});
const Family<Poisson> poisson({"random_poisson"});
const Family<NegativeBinomial> negative_binomial({"random_negative_binomial"});
const Family<GeneralizedNegativeBinomial> generalized({"random_generalized_negative_binomial"});

// ---- randint -------------------------------------------------------------------------------------------------------

struct RandintParams {
  int64_t low = 0, high = 0;
  std::optional<Shape> shape;
  std::string ctx;
  std::optional<DType> dtype;
  static void declare(ParamSchemaOf<RandintParams>& s) {
    s.field("low", &RandintParams::low, "Lower bound, included.").required().runtime();
    s.field("high", &RandintParams::high, "Upper bound, left out.").required().runtime();
    s.field("shape", &RandintParams::shape, "Shape of the result; None is (1,).");
    s.field("ctx", &RandintParams::ctx, "Where the array is made, as text; empty is the current context.");
    s.field("dtype", &RandintParams::dtype, "int32 or int64; None is int32.");
  }
};

void infer_randint_dtype(InferContext& c) {
  const DType dtype = c.as<RandintParams>().dtype.value_or(DType::i32);
  if (dtype != DType::i32 && dtype != DType::i64) c.bad(str("dtype must be int32 or int64, got ", name_of(dtype)));
  c.merge_out_dtype(0, dtype);
}

Prepared prepare_randint(const PrepareArgs& args) {
  const int64_t n = args.out[0].shape.size();
  auto kernel = make_kernel(
      [n, dtype = args.out[0].dtype](const KernelCall& c) {
        const auto& p = c.params->as<RandintParams>();
        if (p.low >= p.high) {
          fail(ErrorKind::value, "low must be less than high, got low ", p.low, " and high ", p.high);
        }
        if (!c.out[0]) return;
        const uint64_t span = static_cast<uint64_t>(p.high) - static_cast<uint64_t>(p.low);
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          T* out = static_cast<T*>(c.out[0]);
          cpu::parallel_for(n, 4096, [=, low = p.low, &c](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end;) {  // two neighbours share a position
              const random::Words w = c.random.at(static_cast<uint64_t>(i / 2));
              const auto put = [&](uint32_t lo, uint32_t hi) {
                out[i++] = convert<T>(static_cast<int64_t>(static_cast<uint64_t>(low) + random::below(span, lo, hi)));
              };
              if (i % 2 == 0) put(w.v[0], w.v[1]);
              if (i < end) put(w.v[2], w.v[3]);
            }
          });
        });
      },
      50 + n * 10);
  kernel->random_draws = static_cast<uint64_t>(n);
  return kernel;
}

const RegisterOp randint{{.name = "_random_randint",
                          .doc = "Integers drawn uniformly from [low, high).\n\nAn empty range raises MXNetError when "
                                 "the result is waited for.",
                          .aliases = {"random_randint", "_npi_random_randint"},
                          .params = schema_of<RandintParams>(),
                          .inputs = Inputs(std::initializer_list<const char*>{}),
                          .infer = {infer_asked_shape<RandintParams>, infer_randint_dtype},
                          .gradient = Gradient::zero(),
                          .kernels = {{"philox", prepare_randint}},
                          .flags = {.random = true}}};

}  // namespace
}  // namespace mxnet::ops
