// SPDX-License-Identifier: Apache-2.0
// One number of a distribution from a position of a stream. Device-neutral: no state, no containers.
#pragma once

#include <cmath>
#include <cstdint>

#include "resource/random.h"

namespace mxnet::ops {

// The words that one output element may use: attempt after attempt at its own position. A uniform number takes half of
// an attempt's words.
class WordSource {
 public:
  WordSource(const random::Stream& stream, uint64_t position) : stream_(stream), position_(position) {}
  random::Words next() { return stream_.at(position_, attempt_++); }
  double uniform() {  // [0, 1)
    half_ = !half_;
    if (half_) words_ = next();
    return half_ ? random::uniform_double(words_.v[0], words_.v[1]) : random::uniform_double(words_.v[2], words_.v[3]);
  }

 private:
  random::Stream stream_;
  uint64_t position_;
  uint32_t attempt_ = 0;
  bool half_ = false;  // the second half of words_ is left
  random::Words words_{};
};

inline double draw_normal(WordSource& source) { return random::normal_double(source.next()).first; }

// Rate 1.
inline double exponential_of(double uniform) { return -std::log(1.0 - uniform); }

// Scale 1. Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; shapes below 1 by a power.
inline double draw_gamma(WordSource& source, double shape) {
  if (!std::isfinite(shape)) return shape;  // no comparison below would ever hold
  double boost = 1;
  if (shape < 1) {
    boost = std::pow(1.0 - source.uniform(), 1.0 / shape);
    shape += 1;
  }
  const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
  for (;;) {
    const double x = draw_normal(source), root = 1.0 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root, u = 1.0 - source.uniform();
    if (u < 1.0 - 0.0331 * (x * x) * (x * x)) return boost * d * v;  // most of the time, without logarithms
    if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return boost * d * v;
  }
}

// Small rates invert the distribution function, term by term; large ones use transformed rejection (Hoermann, "The
// transformed rejection method for generating Poisson random variables", 1993, algorithm PTRS).
inline constexpr double kSmallRate = 10;

// Below kSmallRate; `none` is exp(-rate), the probability of 0.
inline double draw_small_poisson(WordSource& source, double rate, double none) {
  // The sum of all terms may miss 1 by rounding: terms that no longer change it end the search.
  double term = none, sum = none, count = 0;
  const double u = source.uniform();
  while (u >= sum && (count < rate || term > 1e-17)) {
    ++count;
    term *= rate / count;
    sum += term;
  }
  return count;
}

inline double draw_poisson(WordSource& source, double rate) {
  if (rate <= 0) return 0;
  if (!std::isfinite(rate)) return rate;
  if (rate < kSmallRate) return draw_small_poisson(source, rate, std::exp(-rate));
  const double b = 0.931 + 2.53 * std::sqrt(rate), a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), v_r = 0.9277 - 3.6224 / (b - 2), log_rate = std::log(rate);
  for (;;) {
    const random::Words w = source.next();
    const double u = random::uniform_double(w.v[0], w.v[1]) - 0.5;
    const double v = 1.0 - random::uniform_double(w.v[2], w.v[3]), us = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / us + b) * u + rate + 0.43);
    if (us >= 0.07 && v <= v_r) return k;
    if (k < 0 || (us < 0.013 && v > us)) continue;
    if (std::log(v) + std::log(inverse_alpha) - std::log(a / (us * us) + b) <=
        k * log_rate - rate - std::lgamma(k + 1)) {
      return k;
    }
  }
}

// Failures before the k-th success of probability p: a Poisson number whose rate is gamma distributed.
inline double draw_negative_binomial(WordSource& source, double k, double p) {
  if (p >= 1 || k <= 0) return 0;
  return draw_poisson(source, draw_gamma(source, k) * (1 - p) / p);
}

// The same by mean and dispersion; no dispersion is Poisson.
inline double draw_generalized_negative_binomial(WordSource& source, double mu, double alpha) {
  if (alpha == 0) return draw_poisson(source, mu);
  return draw_poisson(source, draw_gamma(source, 1 / alpha) * mu * alpha);
}

}  // namespace mxnet::ops
