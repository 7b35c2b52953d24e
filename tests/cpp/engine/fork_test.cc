// SPDX-License-Identifier: Apache-2.0
// The engine of the process around fork(): work, teams and waits go on in parent and child.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <numeric>
#include <vector>

#include "backend/cpu/parallel.h"
#include "engine/engine.h"
#include "resource/random.h"
#include "storage/storage.h"

#if !defined(__SANITIZE_THREAD__)  // its runtime does not allow threads in a forked child

namespace mxnet {
namespace {

// Sums on the compute worker, with a team of two.
int64_t sum_on_worker(int64_t n) {
  Var var;
  Var* list[] = {&var};
  int64_t total = 0;
  Engine::get().push(
      [&](RunContext&) {
        const cpu::TeamScope two(Engine::on_compute_worker() ? 2 : 1);
        std::vector<int64_t> partial(static_cast<size_t>(cpu::chunk_count(n, 100)));
        cpu::parallel_for(n, 100, [&](int64_t begin, int64_t end) {
          int64_t sum = 0;
          for (int64_t i = begin; i < end; ++i) sum += i;
          partial[static_cast<size_t>(begin / cpu::chunk_size(n, 100))] = sum;
        });
        total = std::accumulate(partial.begin(), partial.end(), int64_t{0});
      },
      {}, list, {.name = "sum"});
  Engine::get().wait_to_read(var);
  return total;
}

int exit_code_of_child(UniqueFunction<bool()> child) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(20);  // a hang is a failure
    bool good = false;
    try {
      good = child();
    } catch (...) {}
    _exit(good ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  return status;
}

bool work_everywhere() {
  if (sum_on_worker(100'000) != 4'999'950'000) return false;
  Var var;
  Var* list[] = {&var};
  int value = 0;
  Engine::get().push([&](RunContext&) { value = 3; }, {}, list, {.lane = Lane::host});
  Engine::get().wait_all();
  const storage::Block large = storage::allocate(4 << 20, Device{});
  const storage::Block small = storage::allocate(100, Device{});
  storage::release(large);
  storage::release(small);
  random::reserve(Device{}, 1);
  return value == 3;
}

}  // namespace

TEST_CASE("fork: work before, in the child, in its child, and after") {
  REQUIRE(work_everywhere());
  for (int i = 0; i < 3; ++i) {
    CHECK(exit_code_of_child(
              [] { return work_everywhere() && exit_code_of_child([] { return work_everywhere(); }) == 0; }) == 0);
    CHECK(work_everywhere());
  }
}

TEST_CASE("fork: work under way is finished first") {
  std::vector<Var> vars(20);
  std::atomic<int> done{0};
  for (Var& var : vars) {
    Var* list[] = {&var};
    Engine::get().push(
        [&](RunContext&) {
          usleep(1000);
          ++done;
        },
        {}, list, {.name = "slow"});
  }
  CHECK(exit_code_of_child([&] { return done == 20 && Engine::get().pending() == 0 && work_everywhere(); }) == 0);
  Engine::get().wait_all();
}

TEST_CASE("fork: from a callback, the child has an error where the operation would have written") {
  Var outer;
  Var* list[] = {&outer};
  int status = -1;
  Engine::get().push(
      [&](RunContext&) {
        status = exit_code_of_child([&] {
          if (Engine::get().pending() != 0) return false;
          try {
            Engine::get().wait_to_read(outer);
          } catch (const std::exception&) {
            return work_everywhere();
          }
          return false;
        });
      },
      {}, list, {.name = "callback", .lane = Lane::host});
  Engine::get().wait_to_read(outer);
  CHECK(status == 0);
  CHECK(work_everywhere());
}

}  // namespace mxnet

#endif
