// SPDX-License-Identifier: Apache-2.0
// Draws from given probabilities, and random permutations of rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "resource/scratch.h"

namespace mxnet::ops {
namespace {

// ---- _sample_multinomial -------------------------------------------------------------------------------------------

struct MultinomialParams {
  Shape shape;
  bool get_prob = false;
  DType dtype = DType::i32;
  static void declare(ParamSchemaOf<MultinomialParams>& s) {
    s.field("shape", &MultinomialParams::shape, "How many draws for each distribution.");
    s.field("get_prob", &MultinomialParams::get_prob, "Also return the logarithm of the probability of each draw.");
    s.field("dtype", &MultinomialParams::dtype, "Type of the draws.");
  }
};

void infer_multinomial(InferContext& c) {
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  if (out.rank() == 0) c.bad("data must have at least one dimension, got a scalar");
  out.resize(out.rank() - 1, 0);
  const Shape& each = c.as<MultinomialParams>().shape;
  for (dim_t d : each) out.push_back(d);
  if (out.rank() == 0) out.push_back(1);
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out(static_cast<int>(i), out);
}

void infer_multinomial_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be floating point, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.as<MultinomialParams>().dtype);
  if (c.out.size() > 1) c.merge_out_dtype(1, c.in[0].dtype);
}

// Sums of the probabilities up to each class; the last is the total.
template <typename T>
double accumulate_classes(const T* p, int64_t classes, double* sums) {
  double total = 0;
  for (int64_t k = 0; k < classes; ++k) {
    const double value = p[k];
    if (!(value >= 0)) fail(ErrorKind::value, "probabilities must not be negative or NaN, got ", value);
    sums[k] = total += value;
  }
  if (!(total > 0)) fail(ErrorKind::value, "probabilities of a distribution must have a positive sum, got ", total);
  return total;
}

template <typename P, typename T>
void draw_classes(const KernelCall& c, int64_t sets, int64_t classes, int64_t each, bool with_prob) {
  const P* data = static_cast<const P*>(c.in[0]);
  T* out = static_cast<T*>(c.out[0]);
  P* log_prob = with_prob ? static_cast<P*>(c.out[1]) : nullptr;
  cpu::parallel_for(sets, std::max<int64_t>(1, 4096 / (classes + each)), [=, &c](int64_t begin, int64_t end) {
    Scratch scratch;
    double* sums = scratch.get<double>(classes);
    for (int64_t set = begin; set < end; ++set) {
      const double total = accumulate_classes(data + set * classes, classes, sums);
      for (int64_t i = set * each; i < (set + 1) * each; ++i) {
        const random::Words w = c.random.at(static_cast<uint64_t>(i));
        const double u = random::uniform_double(w.v[0], w.v[1]) * total;
        const int64_t k = std::min(std::upper_bound(sums, sums + classes, u) - sums, classes - 1);
        if (out) out[i] = static_cast<T>(k);
        if (log_prob) log_prob[i] = static_cast<P>(std::log(static_cast<double>(data[set * classes + k])));
      }
    }
  });
}

Prepared prepare_multinomial(const PrepareArgs& args) {
  const int64_t classes = args.in[0].shape.back(), n = args.out[0].shape.size();
  const int64_t sets = classes ? args.in[0].shape.size() / classes : 0, each = sets ? n / sets : 0;
  if (classes == 0 && n > 0) fail(ErrorKind::value, args.op.name, ": data has no classes to draw from");
  auto kernel = make_kernel(
      [=, in = args.in[0].dtype, type = args.out[0].dtype, prob = args.out.size() > 1](const KernelCall& c) {
        dispatch_float(in, [&](auto in_tag) {
          dispatch(type, [&](auto tag) {
            draw_classes<typename decltype(in_tag)::type, typename decltype(tag)::type>(c, sets, classes, each, prob);
          });
        });
      },
      50 + sets * classes * 2 + n * 30);
  kernel->random_draws = static_cast<uint64_t>(n);
  return kernel;
}

// The gradient of log p[draw] is 1 / p[draw] there.
void multinomial_gradient(GradientBuilder& g) {
  if (!g.params<MultinomialParams>().get_prob) return;
  g.give_all({0}, "_backward_sample_multinomial", {g.input(0), g.output(0), g.head(1)}, g.params_ref());
}

const RegisterOp multinomial{
    {.name = "_sample_multinomial",
     .doc = "Draws class numbers with the given probabilities (scaled to a sum of 1).\n\n"
            "Shapes: data (..., classes), output (..., *shape). Negative probabilities, or a sum of zero, raise "
            "MXNetError "
            "when the result is waited for.",
     .aliases = {"sample_multinomial"},
     .params = schema_of<MultinomialParams>(),
     .inputs = {"data"},
     .outputs = Outputs([](const Params& p) { return p.as<MultinomialParams>().get_prob ? 2 : 1; }),
     .infer = {infer_multinomial, infer_multinomial_dtype},
     .gradient = multinomial_gradient,
     .kernels = {{"philox", prepare_multinomial}},
     .flags = {.random = true}}};

Prepared prepare_multinomial_backward(const PrepareArgs& args) {
  const int64_t size = args.in[0].shape.size(), classes = args.in[0].shape.back();
  const int64_t sets = classes ? size / classes : 0, each = sets ? args.in[1].shape.size() / sets : 0;
  return make_kernel(
      [=, type = args.in[0].dtype, draw_type = args.in[1].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch_float(type, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T *data = static_cast<const T*>(c.in[0]), *head = static_cast<const T*>(c.in[2]);
          T* out = static_cast<T*>(c.out[0]);
          std::fill(out, out + size, T(0));
          dispatch(draw_type, [&](auto draw_tag) {
            const auto* draws = static_cast<const typename decltype(draw_tag)::type*>(c.in[1]);
            for (int64_t i = 0; i < sets * each; ++i) {
              const int64_t k = std::clamp<int64_t>(convert<int64_t>(draws[i]), 0, classes - 1),
                            at = i / each * classes + k;
              out[at] = static_cast<T>(static_cast<double>(out[at]) +
                                       static_cast<double>(head[i]) / static_cast<double>(data[at]));
            }
          });
        });
      },
      50 + size + sets * each * 10);
}

const RegisterOp backward_multinomial{
    {.name = "_backward_sample_multinomial",
     .doc = "Gradient of the log probabilities of _sample_multinomial. Inputs: data, the draws, the head.",
     .params = schema_of<MultinomialParams>(),
     .inputs = {"data", "sample", "head"},
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); },
               [](InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }},
     .gradient = Gradient::none(),
     .kernels = {{"index", prepare_multinomial_backward}},
     .flags = {.hidden = true}}};

// ---- _shuffle ------------------------------------------------------------------------------------------------------

// Fisher and Yates: position i of the stream chooses what changes places with element i. The choices do not depend on
// the elements, so they are drawn first, by the team.
template <typename I>
void draw_choices(const random::Stream& stream, int64_t n, I* chosen) {
  cpu::parallel_for(n, 4096, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const random::Words w = stream.at(static_cast<uint64_t>(i));
      chosen[i] = static_cast<I>(random::below(static_cast<uint64_t>(i) + 1, w.v[0], w.v[1]));
    }
  });
}

template <typename E, typename I>
void exchange(E* elements, const I* chosen, int64_t n) {
  constexpr int64_t kAhead = 16;  // the places lie anywhere in memory
  for (int64_t i = n - 1; i > 0; --i) {
    if (i > kAhead) __builtin_prefetch(elements + chosen[i - kAhead], 1);
    std::swap(elements[i], elements[chosen[i]]);
  }
}

// Elements of the size of E change places themselves, other rows by their numbers.
template <typename E, typename I>
void shuffle_elements(const void* from, const I* chosen, int64_t n, void* to) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(E));
  exchange(static_cast<E*>(to), chosen, n);
}
template <typename I>
void shuffle_rows(const void* from, const I* chosen, int64_t rows, int64_t bytes, I* order, void* to) {
  std::iota(order, order + rows, I(0));
  exchange(order, chosen, rows);
  const char* src = static_cast<const char*>(from);
  char* dst = static_cast<char*>(to);
  cpu::parallel_for(rows, std::max<int64_t>(1, 65536 / bytes), [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(dst + i * bytes, src + static_cast<int64_t>(order[i]) * bytes, static_cast<size_t>(bytes));
    }
  });
}

Prepared prepare_shuffle(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t rows = shape.rank() > 0 ? shape[0] : 1,
                bytes = rows ? shape.size() / rows * size_of(args.in[0].dtype) : 0;
  const auto with_index = [&]<typename I>(TypeTag<I>) {
    return make_kernel(
        [=](const KernelCall& c) {
          if (!c.out[0] || bytes == 0) return;
          I* chosen = static_cast<I*>(c.scratch);
          draw_choices(c.random, rows, chosen);
          if (bytes == 4) return shuffle_elements<uint32_t>(c.in[0], chosen, rows, c.out[0]);
          if (bytes == 8) return shuffle_elements<uint64_t>(c.in[0], chosen, rows, c.out[0]);
          shuffle_rows(c.in[0], chosen, rows, bytes, chosen + rows, c.out[0]);
        },
        50 + rows * 20 + rows * bytes / 8, static_cast<size_t>(rows) * 2 * sizeof(I));
  };
  auto kernel = rows <= INT32_MAX ? with_index(TypeTag<int32_t>{}) : with_index(TypeTag<int64_t>{});
  kernel->random_draws = static_cast<uint64_t>(rows);
  return kernel;
}

const RegisterOp shuffle{{.name = "_shuffle",
                          .doc = "The rows (first dimension) of data in random order.",
                          .aliases = {"shuffle", "_npi_shuffle"},
                          .inputs = {"data"},
                          .infer = {infer::same_shape, infer::same_dtype},
                          .gradient = Gradient::zero(),
                          .kernels = {{"philox", prepare_shuffle}},
                          .flags = {.random = true}}};

}  // namespace
}  // namespace mxnet::ops
