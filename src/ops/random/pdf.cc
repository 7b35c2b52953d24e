// SPDX-License-Identifier: Apache-2.0
// Densities of the distributions in random.cc, with gradients. A distribution is one struct: names, the logarithm of
// its density, and the slopes of that with respect to the sample and each parameter.
#include <algorithm>
#include <cmath>

#include "operator/composition.h"
#include "operator/through_float.h"
#include "ops/linalg/matrices.h"
#include "simple_op/special.h"

namespace mxnet::ops {
namespace {

using special::digamma;
using special::gammaln;

struct PdfParams {
  bool is_log = false;
  static void declare(ParamSchemaOf<PdfParams>& s) {
    s.field("is_log", &PdfParams::is_log, "Whether to give the logarithm of the density.");
  }
};

// slopes: of the logarithm; [0] by the sample, then by each parameter. `density` stands where it is simpler than exp of
// its logarithm. `constants` computes what depends on the parameters alone, once for each set of them: c.
constexpr int kConstants = 6;
constexpr double kRootTwoPi = 2.506628274631000502416, kLogRootTwoPi = 0.918938533204672741780;

struct Uniform {
  static constexpr const char* kName = "uniform";
  static constexpr const char* kDoc = "1 / (high - low), whether or not the sample lies between";
  static constexpr const char* kParams[] = {"low", "high"};
  static void constants(const double* p, double* c) {
    c[0] = 1 / (p[1] - p[0]);
    c[1] = -std::log(p[1] - p[0]);
  }
  static double density(double, const double*, const double* c) { return c[0]; }
  static double log_density(double, const double*, const double* c) { return c[1]; }
  static void slopes(double, const double*, const double* c, double* by) {
    by[0] = 0;
    by[1] = c[0];
    by[2] = -c[0];
  }
};

struct Normal {
  static constexpr const char* kName = "normal";
  static constexpr const char* kDoc = "that of the normal distribution";
  static constexpr const char* kParams[] = {"mu", "sigma"};
  static void constants(const double* p, double* c) {
    c[0] = 1 / p[1];
    c[1] = 1 / (p[1] * kRootTwoPi);
    c[2] = std::log(p[1]) + kLogRootTwoPi;
  }
  static double density(double x, const double* p, const double* c) {
    const double z = (x - p[0]) * c[0];
    return std::exp(-0.5 * z * z) * c[1];
  }
  static double log_density(double x, const double* p, const double* c) {
    const double z = (x - p[0]) * c[0];
    return -0.5 * z * z - c[2];
  }
  static void slopes(double x, const double* p, const double* c, double* by) {
    const double z = (x - p[0]) * c[0];
    by[0] = -z * c[0];
    by[1] = z * c[0];
    by[2] = (z * z - 1) * c[0];
  }
};

struct Gamma {
  static constexpr const char* kName = "gamma";
  static constexpr const char* kDoc = "that of the gamma distribution with shape alpha and rate beta";
  static constexpr const char* kParams[] = {"alpha", "beta"};
  static void constants(const double* p, double* c) {
    c[0] = p[0] * std::log(p[1]) - gammaln(p[0]);
    c[1] = std::log(p[1]) - digamma(p[0]);
    c[2] = p[0] / p[1];
  }
  static double log_density(double x, const double* p, const double* c) {
    return c[0] + (p[0] - 1) * std::log(x) - p[1] * x;
  }
  static void slopes(double x, const double* p, const double* c, double* by) {
    by[0] = (p[0] - 1) / x - p[1];
    by[1] = c[1] + std::log(x);
    by[2] = c[2] - x;
  }
};

struct Exponential {
  static constexpr const char* kName = "exponential";
  static constexpr const char* kDoc = "that of the exponential distribution with rate lam";
  static constexpr const char* kParams[] = {"lam"};
  static void constants(const double* p, double* c) {
    c[0] = std::log(p[0]);
    c[1] = 1 / p[0];
  }
  static double density(double x, const double* p, const double*) { return p[0] * std::exp(-p[0] * x); }
  static double log_density(double x, const double* p, const double* c) { return c[0] - p[0] * x; }
  static void slopes(double x, const double* p, const double* c, double* by) {
    by[0] = -p[0];
    by[1] = c[1] - x;
  }
};

struct Poisson {
  static constexpr const char* kName = "poisson";
  static constexpr const char* kDoc = "the probability under a Poisson distribution with mean lam";
  static constexpr const char* kParams[] = {"lam"};
  static void constants(const double* p, double* c) {
    c[0] = std::log(p[0]);
    c[1] = 1 / p[0];
  }
  static double log_density(double x, const double* p, const double* c) { return x * c[0] - gammaln(x + 1) - p[0]; }
  static void slopes(double x, const double*, const double* c, double* by) {
    by[0] = 0;
    by[1] = x * c[1] - 1;
  }
};

// Failures before success number k. c: what of it does not depend on x, and the logarithm of a failure's probability.
void negative_binomial_constants(double k, double success, double failure, double* c) {
  c[0] = k * std::log(success) - gammaln(k);
  c[1] = std::log(failure);
}
double log_negative_binomial(double x, double k, const double* c) {
  return gammaln(x + k) - gammaln(x + 1) + c[0] + x * c[1];
}

struct NegativeBinomial {
  static constexpr const char* kName = "negative_binomial";
  static constexpr const char* kDoc =
      "the probability of so many failures before success number k, each try succeeding with probability p";
  static constexpr const char* kParams[] = {"k", "p"};
  static void constants(const double* p, double* c) {
    negative_binomial_constants(p[0], p[1], 1 - p[1], c);
    c[2] = std::log(p[1]) - digamma(p[0]);
  }
  static double log_density(double x, const double* p, const double* c) { return log_negative_binomial(x, p[0], c); }
  static void slopes(double x, const double* p, const double* c, double* by) {
    by[0] = 0;
    by[1] = digamma(x + p[0]) + c[2];
    by[2] = p[0] / p[1] - x / (1 - p[1]);
  }
};

// k = 1 / alpha, p = 1 / (1 + mu alpha)
struct GeneralizedNegativeBinomial {
  static constexpr const char* kName = "generalized_negative_binomial";
  static constexpr const char* kDoc =
      "the probability under a negative binomial distribution with mean mu and dispersion "
      "alpha";
  static constexpr const char* kParams[] = {"mu", "alpha"};
  static void constants(const double* p, double* c) {
    const double k = 1 / p[1], scaled = p[0] * p[1];
    negative_binomial_constants(k, 1 / (1 + scaled), scaled / (1 + scaled), c);
    c[2] = k;
    c[3] = digamma(k) + std::log(1 + scaled);
  }
  static double log_density(double x, const double*, const double* c) { return log_negative_binomial(x, c[2], c); }
  static void slopes(double x, const double* p, const double* c, double* by) {
    const double mu = p[0], alpha = p[1], k = c[2], spread = 1 + mu * alpha;
    by[0] = 0;
    by[1] = x / mu - (x * alpha + 1) / spread;
    const double by_k = digamma(x + k) - c[3];
    by[2] = -by_k * k * k + x / alpha - (x + k) * mu / spread;
  }
};

template <class D>
constexpr int kCount = static_cast<int>(std::size(D::kParams));

template <class D>
double density(double x, const double* p, const double* c) {
  if constexpr (requires { D::density(x, p, c); }) return D::density(x, p, c);
  return std::exp(D::log_density(x, p, c));
}

// Parameters have one number for each leading index of the samples.
template <class D>
void infer_shape(InferContext& c) {
  for (int i = 1; i <= kCount<D>; ++i) {
    c.merge_in(1, c.in[i].shape);
    c.merge_in(i, c.in[1].shape);
  }
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape &sample = c.in[0].shape, &parameter = c.in[1].shape;
  if (!sample.known() || !parameter.known()) return;
  bool fits = parameter.rank() <= sample.rank();
  for (int i = 0; fits && i < parameter.rank(); ++i) fits = parameter[i] == sample[i];
  if (!fits) {
    c.bad(str(D::kParams[0], " has shape ", parameter, ", which must begin the shape of sample, ", sample));
  }
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("sample must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

template <int N, typename T>
void gather(const KernelCall& c, int first, int64_t set, double* to) {
  for (int k = 0; k < N; ++k) to[k] = static_cast<double>(static_cast<const T*>(c.in[first + k])[set]);
}

// Of n samples with the same parameters.
template <class D, typename T>
void densities(const T* x, int64_t n, bool log, const double* p, const double* c, T* out) {
  if constexpr (std::is_same_v<D, Uniform>) {
    std::fill_n(out, n, static_cast<T>(log ? D::log_density(0, p, c) : D::density(0, p, c)));
  } else if (log) {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(D::log_density(static_cast<double>(x[i]), p, c));
  } else {
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(density<D>(static_cast<double>(x[i]), p, c));
  }
}

template <class D>
Prepared prepare(const PrepareArgs& args) {
  const int64_t sets = args.in[1].shape.size(), each = sets ? args.in[0].shape.size() / sets : 0;
  const bool log = args.as<PdfParams>().is_log;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          cpu::parallel_for(sets * each, 1024, [&](int64_t begin, int64_t end) {
            double p[kCount<D>], constants[kConstants] = {};
            for (int64_t i = begin, stop; i < end; i = stop) {
              stop = std::min(end, (i / each + 1) * each);
              gather<kCount<D>, T>(c, 1, i / each, p);
              D::constants(p, constants);
              densities<D>(static_cast<const T*>(c.in[0]) + i, stop - i, log, p, constants,
                           static_cast<T*>(c.out[0]) + i);
            }
          });
        },
        linalg::cost_of(sets * each, 300));
  });
}

// in: head, sample, parameters; out: their gradients.
template <class D>
Prepared prepare_backward(const PrepareArgs& args) {
  const int64_t sets = args.in[2].shape.size(), each = sets ? args.in[1].shape.size() / sets : 0;
  const bool log = args.as<PdfParams>().is_log;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          linalg::each_matrix(sets, each * 100, [&](int64_t set) {
            double p[kCount<D>], constants[kConstants] = {}, by[kCount<D> + 1], sum[kCount<D>] = {};
            gather<kCount<D>, T>(c, 2, set, p);
            D::constants(p, constants);
            for (int64_t i = set * each; i < (set + 1) * each; ++i) {
              const double x = static_cast<double>(static_cast<const T*>(c.in[1])[i]);
              const double head = static_cast<double>(static_cast<const T*>(c.in[0])[i]);
              D::slopes(x, p, constants, by);
              const double factor = log ? head : head * density<D>(x, p, constants);
              if (c.out[0]) static_cast<T*>(c.out[0])[i] = static_cast<T>(factor * by[0]);
              for (int k = 0; k < kCount<D>; ++k) sum[k] += factor * by[k + 1];
            }
            for (int k = 0; k < kCount<D>; ++k) {
              if (c.out[k + 1]) static_cast<T*>(c.out[k + 1])[set] = static_cast<T>(sum[k]);
            }
          });
        },
        linalg::cost_of(sets * each, 600));
  });
}

void infer_backward(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), c.in[i + 1].shape);
}

template <int Inputs>
void density_gradient(GradientBuilder& g) {
  const OpDef& backward = get_op(str("_backward", g.op().name.substr(7)));  // behind "_random"
  std::vector<Value> in{g.head(0)};
  std::vector<int> targets;
  for (int i = 0; i < Inputs; ++i) {
    in.push_back(g.input(i));
    targets.push_back(i);
  }
  g.give_all(targets, backward, g.params_ref(), in);
}

void add(const std::string& name, const std::string& doc, std::vector<std::string> inputs, InferFn shape,
         PrepareFn forward, PrepareFn backward, Gradient::Fn gradient) {
  RegisterOp({.name = "_random_pdf_" + name,
              .doc = doc,
              .aliases = {"random_pdf_" + name},
              .params = schema_of<PdfParams>(),
              .inputs = inputs,
              .infer = {shape, infer_dtype},
              .gradient = Gradient(gradient).without_outputs(),
              .kernels = {{"portable", forward}},
              .flags = {.precision = Precision::full}});
  const int outputs = static_cast<int>(inputs.size());
  inputs.insert(inputs.begin(), "dy");
  RegisterOp({.name = "_backward_pdf_" + name,
              .doc = str("Gradients of _random_pdf_", name, "."),
              .params = schema_of<PdfParams>(),
              .inputs = inputs,
              .outputs = outputs,
              .infer = {infer_backward, infer_dtype},
              .gradient = Gradient::none(),
              .kernels = {{"portable", backward}},
              .flags = {.hidden = true}});
}

template <class D>
void add() {
  std::vector<std::string> inputs{"sample"};
  inputs.insert(inputs.end(), std::begin(D::kParams), std::end(D::kParams));
  add(D::kName,
      str("Density of samples: ", D::kDoc,
          ".\n\nShapes: the parameters (...), sample (..., *), that is with any further axes; output like sample."),
      inputs, infer_shape<D>, prepare<D>, prepare_backward<D>, density_gradient<kCount<D> + 1>);
}

// ---- Dirichlet ----------------------------------------------------------------------------------------------------

void infer_dirichlet(InferContext& c) {
  const Shape &sample = c.in[0].shape, &alpha = c.in[1].shape;
  if (!sample.known() || !alpha.known()) return;
  const int r = alpha.rank();
  bool fits = r >= 1 && sample.rank() >= r && sample[sample.rank() - 1] == alpha[r - 1];
  for (int i = 0; fits && i < r - 1; ++i) fits = alpha[i] == sample[i];
  if (!fits) {
    c.bad(str("alpha has shape ", alpha, ", which does not fit that of sample, ", sample,
              ": the same last axis, and the others first"));
  }
  c.merge_out(0, linalg::with_last(sample, 1, {}));
}

struct Simplex {
  int64_t sets, each, k;
  static Simplex of(const Shape& sample, const Shape& alpha) {
    const int64_t k = alpha[alpha.rank() - 1], sets = alpha.size(0, alpha.rank() - 1);
    const int64_t rows = sample.size(0, sample.rank() - 1);
    return {sets, sets ? rows / sets : 0, k};
  }
};

template <typename T>
double log_dirichlet(const T* x, const T* alpha, int64_t k) {
  double sum = 0, total = 0;
  for (int64_t i = 0; i < k; ++i) {
    const double a = static_cast<double>(alpha[i]);
    sum += (a - 1) * std::log(static_cast<double>(x[i])) - gammaln(a);
    total += a;
  }
  return sum + gammaln(total);
}

Prepared prepare_dirichlet(const PrepareArgs& args) {
  const Simplex s = Simplex::of(args.in[0].shape, args.in[1].shape);
  const bool log = args.as<PdfParams>().is_log;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          linalg::each_matrix(s.sets * s.each, s.k * 100, [&](int64_t i) {
            const double value = log_dirichlet(static_cast<const T*>(c.in[0]) + i * s.k,
                                               static_cast<const T*>(c.in[1]) + i / s.each * s.k, s.k);
            static_cast<T*>(c.out[0])[i] = static_cast<T>(log ? value : std::exp(value));
          });
        },
        linalg::cost_of(s.sets * s.each, s.k * 500));
  });
}

Prepared prepare_dirichlet_backward(const PrepareArgs& args) {
  const Simplex s = Simplex::of(args.in[1].shape, args.in[2].shape);
  const bool log = args.as<PdfParams>().is_log;
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          linalg::each_matrix(s.sets, s.each * s.k * 100, [&](int64_t set) {
            Scratch scratch;
            double* sum = scratch.get<double>(static_cast<size_t>(s.k));
            std::fill_n(sum, s.k, 0.0);
            const T* alpha = static_cast<const T*>(c.in[2]) + set * s.k;
            double total = 0;
            for (int64_t j = 0; j < s.k; ++j) total += static_cast<double>(alpha[j]);
            for (int64_t i = set * s.each; i < (set + 1) * s.each; ++i) {
              const T* x = static_cast<const T*>(c.in[1]) + i * s.k;
              double factor = static_cast<double>(static_cast<const T*>(c.in[0])[i]);
              if (!log) factor *= std::exp(log_dirichlet(x, alpha, s.k));
              for (int64_t j = 0; j < s.k; ++j) {
                const double value = static_cast<double>(x[j]), a = static_cast<double>(alpha[j]);
                if (c.out[0]) static_cast<T*>(c.out[0])[i * s.k + j] = static_cast<T>(factor * (a - 1) / value);
                sum[j] += factor * (std::log(value) - digamma(a) + digamma(total));
              }
            }
            for (int64_t j = 0; c.out[1] && j < s.k; ++j) {
              static_cast<T*>(c.out[1])[set * s.k + j] = static_cast<T>(sum[j]);
            }
          });
        },
        linalg::cost_of(s.sets * s.each, s.k * 1000));
  });
}

// ---- higher order
// ----------------------------------------------------------------------------------------------------

// The logarithms of the densities once more, of arrays.
Term log_normal(const Term& x, const Term* p) { return -0.5 * square((x - p[0]) / p[1]) - log(p[1]) - kLogRootTwoPi; }
Term log_uniform(const Term&, const Term* p) { return -log(p[1] - p[0]); }
Term log_gamma(const Term& x, const Term* p) {
  return p[0] * log(p[1]) + (p[0] - 1) * log(x) - p[1] * x - gammaln(p[0]);
}
Term log_exponential(const Term& x, const Term* p) { return log(p[0]) - p[0] * x; }
Term log_poisson(const Term& x, const Term* p) { return x * log(p[0]) - gammaln(x + 1) - p[0]; }
Term log_failures(const Term& x, const Term& k, const Term& success, const Term& failure) {
  return gammaln(x + k) - gammaln(x + 1) - gammaln(k) + k * log(success) + x * log(failure);
}
Term log_negative_binomial(const Term& x, const Term* p) { return log_failures(x, p[0], p[1], 1 - p[1]); }
Term log_generalized(const Term& x, const Term* p) {
  const Term scaled = p[0] * p[1];
  return log_failures(x, 1 / p[1], 1 / (1 + scaled), scaled / (1 + scaled));
}

// kCounts: samples are whole numbers, without a gradient.
template <Term (*kLogDensity)(const Term&, const Term*), bool kCounts>
std::vector<Term> compose(const Composing& c) {
  Term p[2];
  for (size_t k = 1; k < c.size(); ++k) {
    const Term& parameter = c[static_cast<int>(k)];
    Shape shape = parameter.shape();
    while (shape.rank() < c[0].shape().rank()) shape.push_back(1);
    p[k - 1] = parameter.reshaped(shape);
  }
  const Term value = kLogDensity(kCounts ? c[0].then("BlockGrad") : c[0], p);
  return {apply("broadcast_like", {c.as<PdfParams>().is_log ? value : exp(value), c[0]})};
}

std::vector<Term> compose_dirichlet(const Composing& c) {
  const Term& x = c[0];
  const Shape& given = c[1].shape();
  const int last = x.shape().rank() - 1;
  Shape shape = Shape::of_rank(last + 1, 1);
  for (int i = 0; i < given.rank() - 1; ++i) shape[i] = given[i];
  shape[last] = given[given.rank() - 1];
  const Term alpha = c[1].reshaped(shape);
  const Term value = ((alpha - 1) * log(x) - gammaln(alpha)).sum({last}, true) + gammaln(alpha.sum({last}, true));
  const Term density = c.as<PdfParams>().is_log ? value : exp(value);
  return {density.reshaped(linalg::with_last(x.shape(), 1, {}))};
}

const RegisterComposition compositions[] = {
    {"_random_pdf_normal", compose<log_normal, false>},
    {"_random_pdf_uniform", compose<log_uniform, false>},
    {"_random_pdf_gamma", compose<log_gamma, false>},
    {"_random_pdf_exponential", compose<log_exponential, false>},
    {"_random_pdf_poisson", compose<log_poisson, true>},
    {"_random_pdf_negative_binomial", compose<log_negative_binomial, true>},
    {"_random_pdf_generalized_negative_binomial", compose<log_generalized, true>},
    {"_random_pdf_dirichlet", compose_dirichlet}};

const bool registered = [] {
  add<Uniform>();
  add<Normal>();
  add<Gamma>();
  add<Exponential>();
  add<Poisson>();
  add<NegativeBinomial>();
  add<GeneralizedNegativeBinomial>();
  add("dirichlet",
      "Density of samples: that of the Dirichlet distribution.\n\nShapes: alpha (..., k), sample (..., *, k), that is "
      "with any further axes before the last; output like sample without its last axis.",
      {"sample", "alpha"}, infer_dirichlet, prepare_dirichlet, prepare_dirichlet_backward, density_gradient<2>);
  return true;
}();

}  // namespace
}  // namespace mxnet::ops
