// SPDX-License-Identifier: Apache-2.0
#include "simple_op/special.h"

#include <cmath>
#include <limits>

namespace mxnet::special {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kPi = 3.14159265358979323846;

bool is_pole(double x) { return x <= 0 && x == std::floor(x); }

}  // namespace

double gamma(double x) { return x == 0 ? kInfinity : std::tgamma(x); }

double gammaln(double x) {
#if defined(__GLIBC__)
  int sign = 0;  // lgamma would write a global
  return lgamma_r(x, &sign);
#else
  return std::lgamma(x);
#endif
}

// The asymptotic series needs x >= 10; recurrence brings x there, reflection brings negative x to positive.
double digamma(double x) {
  if (std::isnan(x) || x == -kInfinity || is_pole(x)) return kNaN;
  if (x < 0) return digamma(1 - x) - kPi / std::tan(kPi * x);
  double shift = 0;
  for (; x < 10; ++x) shift -= 1 / x;
  const double z = 1 / (x * x);
  const double series =
      z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * 691.0 / 32760)))));
  return shift + std::log(x) - 0.5 / x - series;
}

double trigamma(double x) {
  if (std::isnan(x) || x == -kInfinity || is_pole(x)) return kNaN;
  if (x < 0) {
    const double s = std::sin(kPi * x);
    return kPi * kPi / (s * s) - trigamma(1 - x);
  }
  double shift = 0;
  for (; x < 10; ++x) shift += 1 / (x * x);
  const double z = 1 / (x * x);
  const double series = z * (1.0 / 6 - z * (1.0 / 30 - z * (1.0 / 42 - z * (1.0 / 30 - z * 5.0 / 66))));
  return shift + (1 + 0.5 / x + series) / x;
}

// A rough inverse (Winitzki's formula), then Halley's steps on erf, or on erfc in the tails; each triples the digits.
double erfinv(double x) {
  if (!(x >= -1 && x <= 1)) return kNaN;
  if (x == 1 || x == -1) return x * kInfinity;
  if (x == 0) return x;
  const double a = 0.147, t = std::fabs(x);
  const double l = std::log1p(-t * t), h = 2 / (kPi * a) + l / 2;
  double y = std::sqrt(std::sqrt(h * h - l / a) - h);
  for (int i = 0; i < 4; ++i) {
    const double slope = 2 / std::sqrt(kPi) * std::exp(-y * y);
    const double error = t < 0.5 ? std::erf(y) - t : (1 - t) - std::erfc(y);
    const double step = error / slope, change = step / (1 + y * step);  // the second derivative of erf is -2 y slope
    y -= change;
    if (std::fabs(change) < 1e-6 * y) break;  // the next one would be below the last digit
  }
  return std::copysign(y, x);
}

}  // namespace mxnet::special
