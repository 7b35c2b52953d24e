// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/parallel.h"

#include <doctest/doctest.h>

#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "backend/cpu/isa.h"
#include "base/env.h"
#include "base/error.h"
#include "engine/engine.h"

namespace mxnet::cpu {
namespace {

using Pieces = std::set<std::pair<int64_t, int64_t>>;

Pieces pieces_of(int64_t n, int64_t grain, int team) {
  const TeamScope scope(team);
  std::mutex mutex;
  Pieces pieces;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    std::lock_guard lock(mutex);
    CHECK(team_size() == (chunk_count(n, grain) > 1 && team > 1 ? 1 : team));
    CHECK(pieces.emplace(begin, end).second);
  });
  return pieces;
}

}  // namespace

TEST_CASE("parallel_for: every item once, and the same pieces for every team") {
  for (const int64_t n : {0, 1, 2, 63, 64, 65, 1000, 100'000}) {
    for (const int64_t grain : {0, 1, 7, 64, 5000}) {
      CAPTURE(n);
      CAPTURE(grain);
      const Pieces serial = pieces_of(n, grain, 1);
      CHECK(static_cast<int64_t>(serial.size()) == chunk_count(n, grain));
      CHECK(chunk_count(n, grain) <= kMaxChunks);
      int64_t at = 0;
      for (const auto& [begin, end] : serial) {
        CHECK(begin == at);
        CHECK(end > begin);
        at = end;
      }
      CHECK(at == n);
#if !defined(__SANITIZE_THREAD__)  // it does not see libgomp's barriers
      CHECK(pieces_of(n, grain, 3) == serial);
#endif
    }
  }
}

TEST_CASE("parallel_for: only the compute worker has a team") {
  CHECK(team_size() == 1);
  std::thread([] { CHECK(team_size() == 1); }).join();
  Engine engine({});
  Var var;
  Var* list[] = {&var};
  int compute = 0, host = 0;
  engine.push([&](RunContext&) { compute = team_size(); }, {}, list, {});
  engine.push([&](RunContext&) { host = team_size(); }, {}, list, {.lane = Lane::host});
  engine.wait_to_read(var);
  CHECK(compute == env::settings().threads);
  CHECK(host == 1);
  {
    const TeamScope scope(5);
    CHECK(team_size() == 5);
    const TeamScope inner(0);
    CHECK(team_size() == 1);
  }
  CHECK(team_size() == 1);
}

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("parallel_for: an exception reaches the caller") {
  for (const int team : {1, 3}) {
    const TeamScope scope(team);
    CHECK_THROWS_AS(parallel_for(100, 1,
                                 [](int64_t begin, int64_t) {
                                   if (begin == 40) fail(ErrorKind::index, "out of range");
                                 }),
                    Error);
  }
}
#endif

TEST_CASE("isa: known, and named") {
  CHECK(isa() >= Isa::generic);
  CHECK(isa() == isa());
  CHECK(std::string(name(Isa::avx2)) == "avx2");
}

}  // namespace mxnet::cpu
