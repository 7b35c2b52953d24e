// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "backend/cpu/parallel.h"

namespace mxnet::cpu {
namespace {

struct Operands {
  std::vector<float> a, b, bias, residual, c;

  explicit Operands(const GemmSpec& s) {
    std::mt19937 random(static_cast<unsigned>(s.m * 31 + s.n * 7 + s.k));
    std::uniform_real_distribution<float> uniform(-1, 1);
    const auto fill = [&](std::vector<float>& v, int64_t n) {
      v.resize(static_cast<size_t>(n));
      for (float& x : v) x = uniform(random);
    };
    fill(a, s.m * s.k);
    fill(b, s.k * s.n);
    fill(bias, s.n);
    fill(residual, s.m * s.n);
    fill(c, s.m * s.n);
  }
};

double activate(const GemmSpec& s, double x) {
  switch (s.activation) {
    case Activation::clip: return std::clamp<double>(x, s.low, s.high);
    case Activation::relu: return std::max(x, 0.0);
    case Activation::gelu: return x * 0.5 * std::erfc(-x / std::sqrt(2.0));
    case Activation::tanh: return std::tanh(x);
    case Activation::sigmoid: return 1 / (1 + std::exp(-x));
    default: return x;
  }
}

double expected(const GemmSpec& s, const Operands& o, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t p = 0; p < s.k; ++p) {
    sum += double(o.a[static_cast<size_t>(s.trans_a ? p * s.m + i : i * s.k + p)]) *
           o.b[static_cast<size_t>(s.trans_b ? j * s.k + p : p * s.n + j)];
  }
  const auto at = static_cast<size_t>(i * s.n + j);
  sum *= s.alpha;
  if (s.bias) sum += o.bias[static_cast<size_t>(j)];
  if (s.accumulate) sum += o.c[at];
  return activate(s, sum) + (s.residual ? o.residual[at] : 0);
}

std::vector<float> run(const GemmSpec& s, const Operands& o, int team) {
  const TeamScope scope(team);
  const auto gemm = Gemm::prepare(s, team);
  std::vector<float> c = o.c;
  std::vector<char> memory(gemm->scratch_bytes + 64);
  void* scratch = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  std::vector<char> packed(gemm->packed_b_bytes + 64);
  void* b = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64;
  if (gemm->packed_b_bytes) gemm->pack(o.b.data(), b);
  gemm->run(o.a.data(), gemm->packed_b_bytes ? b : o.b.data(), s.bias ? o.bias.data() : nullptr, c.data(), scratch,
            s.residual ? o.residual.data() : nullptr);
  return c;
}

void check(const GemmSpec& s) {
  CAPTURE(s.m);
  CAPTURE(s.n);
  CAPTURE(s.k);
  const Operands o(s);
  const std::vector<float> c = run(s, o, 1);
  double worst = 0;
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      worst = std::max(worst, std::abs(c[static_cast<size_t>(i * s.n + j)] - expected(s, o, i, j)));
    }
  }
  CHECK(worst < 1e-6 + 2e-6 * std::sqrt(double(s.k)));
  CHECK(std::memcmp(c.data(), run(s, o, 2).data(), c.size() * sizeof(float)) == 0);
}

TEST_CASE("matrix products in every orientation and size") {
  struct Size {
    int64_t m, n, k;
  };
  for (const Size size : {Size{1, 1, 1}, {5, 7, 3}, {96, 48, 64}, {97, 33, 130}, {128, 100, 833}, {203, 65, 1024}}) {
    for (const bool trans_a : {false, true}) {
      for (const bool trans_b : {false, true}) {
        check({.m = size.m, .n = size.n, .k = size.k, .trans_a = trans_a, .trans_b = trans_b});
      }
    }
  }
}

TEST_CASE("what is done with a product") {
  for (const int64_t rows : {10, 150}) {
    GemmSpec s{.m = rows, .n = 70, .k = 90, .trans_b = true};
    check([&] {
      auto t = s;
      t.alpha = 0.25;
      return t;
    }());
    check([&] {
      auto t = s;
      t.alpha = -2, t.accumulate = true;
      return t;
    }());
    check([&] {
      auto t = s;
      t.bias = true, t.accumulate = true;
      return t;
    }());
    for (const auto a : {Activation::relu, Activation::gelu, Activation::tanh, Activation::sigmoid}) {
      check([&] {
        auto t = s;
        t.bias = true, t.activation = a;
        return t;
      }());
      check([&] {
        auto t = s;
        t.bias = true, t.activation = a, t.residual = true, t.pack_b = true;
        return t;
      }());
    }
    check([&] {
      auto t = s;
      t.k = 900, t.residual = true;
      return t;
    }());
  }
  for (const int64_t rows : {33, 49, 196}) {
    for (const int64_t columns : {16, 24, 70}) {
      for (const int64_t depth : {16, 90, 900}) {
        check({.m = rows,
               .n = columns,
               .k = depth,
               .trans_b = true,
               .bias = true,
               .accumulate = true,
               .activation = Activation::clip,
               .low = -0.5,
               .high = 0.75,
               .pack_b = true});
      }
    }
  }
}

TEST_CASE("limits keep NaN") {
  const GemmSpec s{
      .m = 100, .n = 40, .k = 50, .trans_b = true, .activation = Activation::clip, .high = 6, .pack_b = true};
  Operands o(s);
  o.a[0] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> c = run(s, o, 1);
  CHECK(std::all_of(c.begin(), c.begin() + s.n, [](float x) { return std::isnan(x); }));
  CHECK(std::all_of(c.begin() + s.n, c.end(), [](float x) { return x >= 0 && x <= 6; }));
}

TEST_CASE("an empty product with what follows it") {
  check({.m = 3, .n = 5, .k = 0, .activation = Activation::relu, .residual = true});
  check({.m = 0, .n = 5, .k = 4, .activation = Activation::relu});
}

}  // namespace
}  // namespace mxnet::cpu
