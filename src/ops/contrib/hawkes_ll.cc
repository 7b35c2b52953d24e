// SPDX-License-Identifier: Apache-2.0
// Log-likelihood of marked Hawkes processes with exponential decay. The intensity of mark k is
//   lda[k] + alpha[k] beta[k] S[k](t),  S[k](t) = state[k] exp(-beta[k] t) + sum of exp(-beta[k] (t - t_i)), t_i < t.
#include <cmath>

#include "operator/composition.h"
#include "operator/op.h"
#include "operator/through_float.h"
#include "ops/linalg/matrices.h"
#include "ops/tensor/index.h"

namespace mxnet::contrib {
namespace {

enum Input { kLda, kAlpha, kBeta, kState, kLags, kMarks, kLength, kMaxTime };

void infer_shape(InferContext& c) {
  const Shape& lda = c.in[kLda].shape;
  if (!lda.rank_known()) return;
  if (lda.rank() != 2) c.bad(str("lda must have shape (sequences, marks), got ", lda));
  const dim_t n = lda[0], k = lda[1];
  c.merge_in(kAlpha, Shape{k});
  c.merge_in(kBeta, Shape{k});
  c.merge_in(kState, Shape{n, k});
  for (const int i : {kLags, kMarks}) {
    const Shape& s = c.in[i].shape;
    if (s.rank_known() && s.rank() != 2) c.bad(str(c.name_in(i), " must have shape (sequences, events), got ", s));
  }
  c.merge_in(kLags, Shape{n, -1});
  c.merge_in(kMarks, c.in[kLags].shape);
  c.merge_in(kLags, c.in[kMarks].shape);
  c.merge_in(kLength, Shape{n});
  c.merge_in(kMaxTime, Shape{n});
  c.merge_out(0, Shape{n});
  c.merge_out(1, Shape{n, k});
}

void infer_dtype(InferContext& c) {
  DType t = DType::unknown;
  for (size_t i = 0; i < c.in.size(); ++i) {
    if (i != kMarks && c.in[i].dtype != DType::unknown) t = c.in[i].dtype;
  }
  if (t != DType::unknown && !is_float(t)) c.bad(str("lda must be of a floating point dtype, got ", name_of(t)));
  for (size_t i = 0; i < c.in.size(); ++i) c.merge_in_dtype(static_cast<int>(i), i == kMarks ? DType::i32 : t);
  c.merge_out_dtype(0, t);
  c.merge_out_dtype(1, t);
}

template <typename T>
struct Arrays {
  const T *lda, *alpha, *beta, *state, *lags, *length, *max_time;
  const int32_t* marks;
  int64_t k, events;

  Arrays(void* const* in, int64_t k, int64_t events)
      : lda(at(in, kLda)),
        alpha(at(in, kAlpha)),
        beta(at(in, kBeta)),
        state(at(in, kState)),
        lags(at(in, kLags)),
        length(at(in, kLength)),
        max_time(at(in, kMaxTime)),
        marks(static_cast<const int32_t*>(in[kMarks])),
        k(k),
        events(events) {}
  static const T* at(void* const* in, int i) { return static_cast<const T*>(in[i]); }
};

// What is known of one mark while time goes on. The d... are derivatives of `sum`.
struct Mark {
  double sum, by_beta = 0, by_state = 1;  // at time `last`
  double last = 0, events = 0;

  void advance(double time, double beta) {
    const double passed = time - last, decay = std::exp(-beta * passed);
    by_beta = (by_beta - passed * sum) * decay;
    by_state *= decay;
    sum *= decay;
    last = time;
  }
};

// Walks through sequence n. at_event(k, mark, intensity) sees each event before it counts, at_end(k, mark) each mark.
template <typename T, typename Event, typename End>
void walk(const Arrays<T>& a, int64_t n, Event&& at_event, End&& at_end) {
  Scratch scratch;
  Mark* marks = scratch.get<Mark>(static_cast<size_t>(a.k));
  for (int64_t k = 0; k < a.k; ++k) marks[k] = Mark{.sum = static_cast<double>(a.state[n * a.k + k])};
  const double length = static_cast<double>(a.length[n]);
  if (!(length >= 0 && length <= static_cast<double>(a.events))) {
    fail(ErrorKind::value, "valid_length of sequence ", n, " must lie in [0, ", a.events, "], got ", length);
  }
  double time = 0;
  for (int64_t i = 0; i < static_cast<int64_t>(length); ++i) {
    const int64_t k = a.marks[n * a.events + i];
    if (k < 0 || k >= a.k) {
      fail(ErrorKind::index, "mark ", k, " of sequence ", n, " is outside of the ", a.k, " marks");
    }
    time += static_cast<double>(a.lags[n * a.events + i]);
    const double beta = static_cast<double>(a.beta[k]);
    marks[k].advance(time, beta);
    at_event(k, marks[k],
             static_cast<double>(a.lda[n * a.k + k]) + static_cast<double>(a.alpha[k]) * beta * marks[k].sum);
    marks[k].sum += 1;
    marks[k].events += 1;
  }
  for (int64_t k = 0; k < a.k; ++k) {
    marks[k].advance(static_cast<double>(a.max_time[n]), static_cast<double>(a.beta[k]));
    at_end(k, marks[k]);
  }
}

Prepared prepare(const PrepareArgs& args) {
  if (is_half(args.in[0].dtype)) return "half types go through float";
  const int64_t n = args.in[0].shape[0], marks = args.in[0].shape[1], events = args.in[kLags].shape[1];
  const int64_t work = (events + marks) * 100;
  return linalg::dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          const Arrays<T> a(c.in, marks, events);
          linalg::each_matrix(n, work, [&](int64_t i) {
            double sum = 0;
            const auto end = [&](int64_t k, const Mark& m) {
              // The integral of the intensity from 0 to max_time.
              sum -= static_cast<double>(a.lda[i * marks + k]) * m.last +
                     static_cast<double>(a.alpha[k]) * (static_cast<double>(a.state[i * marks + k]) + m.events - m.sum);
              if (c.out[1]) static_cast<T*>(c.out[1])[i * marks + k] = static_cast<T>(m.sum);
            };
            walk(a, i, [&](int64_t, const Mark&, double intensity) { sum += std::log(intensity); }, end);
            if (c.out[0]) static_cast<T*>(c.out[0])[i] = static_cast<T>(sum);
          });
        },
        linalg::cost_of(n, work));
  });
}

// in: heads of both outputs, then the eight inputs; out: gradients of lda, alpha, beta, state.
Prepared prepare_backward(const PrepareArgs& args) {
  if (is_half(args.in[0].dtype)) return "half types go through float";
  const int64_t n = args.in[2].shape[0], marks = args.in[2].shape[1], events = args.in[2 + kLags].shape[1];
  const int64_t work = (events + marks) * 150;
  return linalg::dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          const Arrays<T> a(c.in + 2, marks, events);
          Scratch scratch;
          // Gradients of lda, alpha, beta and state, each (n, marks); those of alpha and beta are then summed over n.
          double* grads[4];
          for (double*& g : grads) {
            g = scratch.get<double>(static_cast<size_t>(n * marks));
            std::fill_n(g, n * marks, 0.0);
          }
          linalg::each_matrix(n, work, [&](int64_t i) {
            const double head = static_cast<double>(static_cast<const T*>(c.in[0])[i]);
            const T* state_head = static_cast<const T*>(c.in[1]) + i * marks;
            double* by[4];
            for (int k = 0; k < 4; ++k) by[k] = grads[k] + i * marks;
            const auto event = [&](int64_t k, const Mark& m, double intensity) {
              const double slope = head / intensity, alpha = static_cast<double>(a.alpha[k]);
              const double beta = static_cast<double>(a.beta[k]);
              by[kLda][k] += slope;
              by[kAlpha][k] += slope * beta * m.sum;
              by[kBeta][k] += slope * alpha * (m.sum + beta * m.by_beta);
              by[kState][k] += slope * alpha * beta * m.by_state;
            };
            const auto end = [&](int64_t k, const Mark& m) {
              const double alpha = static_cast<double>(a.alpha[k]), other = static_cast<double>(state_head[k]);
              by[kLda][k] -= head * m.last;
              by[kAlpha][k] -= head * (static_cast<double>(a.state[i * marks + k]) + m.events - m.sum);
              by[kBeta][k] += (head * alpha + other) * m.by_beta;
              by[kState][k] += head * alpha * (m.by_state - 1) + other * m.by_state;
            };
            walk(a, i, event, end);
          });
          for (const int out : {kLda, kState}) {
            if (!c.out[out]) continue;
            for (int64_t i = 0; i < n * marks; ++i) static_cast<T*>(c.out[out])[i] = static_cast<T>(grads[out][i]);
          }
          for (const int out : {kAlpha, kBeta}) {
            for (int64_t k = 0; c.out[out] && k < marks; ++k) {
              double sum = 0;
              for (int64_t i = 0; i < n; ++i) sum += grads[out][i * marks + k];
              static_cast<T*>(c.out[out])[k] = static_cast<T>(sum);
            }
          }
        },
        linalg::cost_of(n, work));
  });
}

void infer_backward(InferContext& c) {
  for (int i = 0; i < 4; ++i) c.merge_out(i, c.in[i + 2].shape);
}
void infer_backward_dtype(InferContext& c) {
  for (int i = 0; i < 4; ++i) c.merge_out_dtype(i, c.in[i + 2].dtype);
}

const std::vector<std::string> kInputs{"lda", "alpha", "beta", "state", "lags", "marks", "valid_length", "max_time"};

// All sequences at once, event by event. `counts` tells which mark an event has, if it counts.
std::vector<Term> compose(const Composing& c) {
  const int64_t n = c[kLda].shape()[0], k = c[kLda].shape()[1], events = c[kLags].shape()[1];
  const auto column = [n](const Term& t) { return t.then("BlockGrad").reshaped({n, 1}); };
  const Term &lda = c[kLda], &alpha = c[kAlpha], &beta = c[kBeta], end = column(c[kMaxTime]);
  Term memory = c[kState], last = lda.then("zeros_like"), time = end.then("zeros_like"), seen = last;
  Term value;
  const auto plus = [](Term& sum, const Term& term) { sum = sum.is_none() ? term : sum + term; };
  for (int64_t i = 0; i < events; ++i) {
    const Term valid = column(c[kLength]).then("_greater_scalar", static_cast<double>(i));
    const Term counts = c[kMarks].at(1, i).then("one_hot", {{"depth", k}}).cast(valid.array().dtype()) * valid;
    time = time + column(c[kLags].slice(1, i, i + 1)) * valid;
    const Term now = memory * exp(-(beta * (time - last)));
    const Term intensity = lda + alpha * beta * now;
    plus(value, log(counts * intensity + (1 - counts)).sum({1}));
    memory = memory + counts * (now + 1 - memory);
    last = last + counts * (time - last);
    seen = seen + counts;
  }
  const Term state = memory * exp(-(beta * (end - last)));
  plus(value, -(lda * end + alpha * (c[kState] + seen - state)).sum({1}));
  return {value, state};
}
const RegisterComposition composition{"_contrib_hawkesll", compose};

const RegisterOp hawkes{
    {.name = "_contrib_hawkesll",
     .doc =
         "Log-likelihood of marked self-exciting Hawkes processes with exponential decay, observed from 0 to max_time, "
         "and the decayed memory at max_time.\n\nShapes: lda (n, k) the background intensities, alpha (k,) the "
         "branching ratios, beta (k,) the decay rates, state (n, k) the memory at time 0; lags (n, events) the times "
         "between events, marks (n, events) of int32, valid_length (n,), max_time (n,); outputs loglike (n,) and "
         "out_state (n, k). A mark outside of [0, k) raises IndexError when the result is waited for.\n\nGradients "
         "flow to lda, alpha, beta and state, from both outputs; 1.9.1 leaves out those of state and from out_state. "
         "Hawkes, Spectra of some self-exciting and mutually exciting point processes, 1971.",
     .inputs = Inputs(kInputs).sets_apart({"marks"}),
     .outputs = Outputs(2),
     .infer = {infer_shape, infer_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({kLda, kAlpha, kBeta, kState}, "_backward_hawkesll",
                              {g.head(0), g.head(1), g.input(0), g.input(1), g.input(2), g.input(3), g.input(4),
                               g.input(5), g.input(6), g.input(7)});
                 }).without_outputs(),
     .kernels = {{"portable", prepare}, {"through float", prepare_through_float<prepare>}},
     .flags = {.precision = Precision::full}}};

const RegisterOp backward{
    {.name = "_backward_hawkesll",
     .doc = "Gradients of hawkesll.",
     .inputs = {"dy", "dstate", "lda", "alpha", "beta", "state", "lags", "marks", "valid_length", "max_time"},
     .outputs = 4,
     .infer = {infer_backward, infer_backward_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"portable", prepare_backward}, {"through float", prepare_through_float<prepare_backward>}},
     .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::contrib
