// SPDX-License-Identifier: Apache-2.0
#include "resource/random.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace mxnet::random {
namespace {

void check_words(const Words& got, const Words& expected) {
  for (int i = 0; i < 4; ++i) CHECK(got.v[i] == expected.v[i]);
}

bool same(const Words& a, const Words& b) { return std::equal(a.v, a.v + 4, b.v); }

}  // namespace

TEST_CASE("philox: the published known answers") {
  check_words(philox({{0, 0, 0, 0}}, {0, 0}), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  check_words(philox({{~0u, ~0u, ~0u, ~0u}}, {~0u, ~0u}), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check_words(philox({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {0xa4093822, 0x299f31d0}),
              {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("random: the same seed gives the same stream, another device another one") {
  const Device cpu0{}, cpu1{DeviceType::cpu, 1}, pinned{DeviceType::cpu_pinned, 0};
  seed(42);
  const Words sixteenth = reserve(cpu0, 16).at(15);
  seed(42);
  const Words first = reserve(cpu0, 10).at(3);
  const Words other = reserve(cpu1, 10).at(3);
  const Words second = reserve(cpu0, 5).at(3);
  CHECK_FALSE(same(first, other));
  CHECK_FALSE(same(first, second));
  seed(42);
  CHECK(same(reserve(pinned, 10).at(3), first));  // pinned memory belongs to cpu(0)
  CHECK(same(reserve(cpu0, 5).at(3), second));
  CHECK(same(reserve(cpu1, 10).at(3), other));
  seed(7, cpu1);  // leaves the others alone
  CHECK(same(reserve(cpu0, 1).at(0), sixteenth));
  seed(43);
  CHECK_FALSE(same(reserve(cpu0, 10).at(3), first));
}

TEST_CASE("random: reservations do not overlap, from any thread") {
  seed(1);
  std::vector<uint64_t> bases[4];
  std::vector<std::thread> threads;
  for (auto& own : bases) {
    threads.emplace_back([&own] {
      for (int i = 0; i < 1000; ++i) own.push_back(reserve(Device{}, 3).base);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> all;
  for (const auto& own : bases) all.insert(all.end(), own.begin(), own.end());
  std::sort(all.begin(), all.end());
  for (size_t i = 0; i < all.size(); ++i) CHECK(all[i] == 3 * i);
}

TEST_CASE("random: ranges and moments") {
  seed(5);
  constexpr int kCount = 100'000;
  const Stream stream = reserve(Device{}, kCount);
  double sum = 0, sum_squares = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < kCount; ++i) {
    const Words w = stream.at(static_cast<uint64_t>(i));
    const float u = uniform_float(w.v[0]);
    const double d = uniform_double(w.v[1], w.v[2]);
    const auto [a, b] = normal_float(w.v[2], w.v[3]);
    const auto [c, e] = normal_double(w);
    const bool in_range = u >= 0 && u < 1 && d >= 0 && d < 1 && std::isfinite(a + b) && std::isfinite(c + e) &&
                          below(10, w.v[0], w.v[1]) < 10;
    REQUIRE(in_range);
    sum += u;
    sum_squares += d * d;
    normal_sum += a + c;
    normal_squares += static_cast<double>(b) * b + e * e;
  }
  CHECK(sum / kCount == doctest::Approx(0.5).epsilon(0.01));
  CHECK(sum_squares / kCount == doctest::Approx(1.0 / 3).epsilon(0.01));
  CHECK(normal_sum / (2 * kCount) == doctest::Approx(0.0).epsilon(0.01));
  CHECK(normal_squares / (2 * kCount) == doctest::Approx(1.0).epsilon(0.02));
  CHECK(uniform_float(~0u) < 1.0f);
  CHECK(uniform_double(~0u, ~0u) < 1.0);
  CHECK(std::isfinite(normal_float(~0u, 0).first));
}

}  // namespace mxnet::random
