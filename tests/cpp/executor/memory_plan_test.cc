// SPDX-License-Identifier: Apache-2.0
#include "executor/memory_plan.h"

#include <doctest.h>

#include <random>
#include <vector>

using namespace mxnet;

TEST_CASE("memory plan: blocks that live together never overlap, and the arena holds all") {
  std::mt19937 rng(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<PlannedBlock> blocks(1 + rng() % 60);
    for (PlannedBlock& b : blocks) {
      b.bytes = rng() % 5 == 0 ? 0 : rng() % 5000;
      b.first = static_cast<int>(rng() % 40);
      b.last = b.first + static_cast<int>(rng() % 10);
    }
    const size_t arena = plan_memory(blocks);
    for (size_t i = 0; i < blocks.size(); ++i) {
      const PlannedBlock& a = blocks[i];
      REQUIRE(a.offset % 64 == 0);
      REQUIRE(a.offset + a.bytes <= arena);
      for (size_t j = 0; j < i; ++j) {
        const PlannedBlock& b = blocks[j];
        const bool together = a.first <= b.last && b.first <= a.last && a.bytes && b.bytes;
        const bool overlap = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
        REQUIRE_FALSE((together && overlap));
      }
    }
  }
}

TEST_CASE("memory plan: a chain needs room for two blocks") {
  std::vector<PlannedBlock> blocks;
  for (int i = 0; i < 100; ++i) blocks.push_back({1024, i, i + 1, 0});
  CHECK(plan_memory(blocks) == 2048);
}
