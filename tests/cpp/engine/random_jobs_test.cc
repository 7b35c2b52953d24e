// SPDX-License-Identifier: Apache-2.0
// Random programs of reads and writes against a serial loop: exact equality.
#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace mxnet {
namespace {

struct Cell {
  Var var;
  uint64_t value = 0;
};

struct Job {
  std::vector<int> reads, writes;
  uint64_t salt = 0;
  Lane lane = Lane::compute;
  bool try_inline = false;
  bool async = false;
  bool early = false;
  int priority = 0;
};

uint64_t mix(uint64_t a, uint64_t b) { return (a ^ b) * 0x9E3779B97F4A7C15u + (a >> 29); }

// The result depends on the order of everything that touched the same cells.
template <typename Get, typename Set>
void run_job(const Job& job, Get get, Set set) {
  uint64_t sum = job.salt;
  for (int r : job.reads) sum = mix(sum, get(r));
  for (int w : job.writes) set(w, mix(mix(sum, get(w)), static_cast<uint64_t>(w)));
}

std::vector<Job> random_jobs(int count, int cells, std::mt19937_64& rng) {
  const auto below = [&](int n) { return static_cast<int>(rng() % static_cast<uint64_t>(n)); };
  std::vector<Job> jobs(static_cast<size_t>(count));
  for (Job& job : jobs) {
    const int wide = below(50) == 0 ? 20 : 4;
    for (int i = below(wide); i > 0; --i) job.reads.push_back(below(cells));
    for (int i = 1 + below(3); i > 0; --i) {
      const int w = below(cells);
      if (std::find(job.writes.begin(), job.writes.end(), w) == job.writes.end()) job.writes.push_back(w);
    }
    job.salt = rng();
    job.lane = below(3) == 0 ? Lane::host : Lane::compute;
    job.try_inline = below(2) == 0;
    job.async = below(5) == 0;
    job.early = below(8) == 0;
    job.priority = below(3);
  }
  return jobs;
}

std::vector<Var*> vars_of(std::vector<Cell>& cells, const std::vector<int>& which) {
  std::vector<Var*> vars;
  for (int i : which) vars.push_back(&cells[static_cast<size_t>(i)].var);
  return vars;
}

class Runner {
 public:
  Runner(Engine& engine, std::vector<Cell>& cells) : engine_(engine), cells_(cells) {}
  ~Runner() {
    for (std::thread& thread : threads_) thread.join();
  }

  void operator()(const Job& job) {
    const std::vector<Var*> reads = vars_of(cells_, job.reads);
    std::vector<Var*> writes = vars_of(cells_, job.writes);
    if (job.salt % 7 == 0) writes.push_back(writes[0]);  // repeated on purpose
    if (job.try_inline && engine_.try_begin_inline(reads.data(), reads.size(), writes.data(), writes.size())) {
      work(job);
      engine_.end_inline(reads.data(), reads.size(), writes.data(), writes.size());
      ++inlined;
      return;
    }
    const OpProps props{.name = "job", .lane = job.lane, .priority = job.priority};
    if (job.async) return push_async(job, reads, writes, props);
    engine_.push(
        [this, &job, writes](RunContext& context) {
          work(job);
          if (job.early) context.release(*writes.back());
        },
        reads, writes, props);
  }

  int inlined = 0;

 private:
  void work(const Job& job) {
    run_job(
        job, [this](int i) { return cells_[static_cast<size_t>(i)].value; },
        [this](int i, uint64_t v) { cells_[static_cast<size_t>(i)].value = v; });
  }
  void push_async(const Job& job, const std::vector<Var*>& reads, const std::vector<Var*>& writes,
                  const OpProps& props) {
    engine_.push_async(
        [this, &job](RunContext&, Done done) {
          if (job.salt % 2) {
            work(job);
            return done();
          }
          std::lock_guard lock(mutex_);
          threads_.emplace_back([this, &job, done = std::move(done)]() mutable {
            work(job);
            done();
          });
        },
        reads, writes, props);
  }

  Engine& engine_;
  std::vector<Cell>& cells_;
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

void check_random_program(const Engine::Options& options, int count) {
  const uint64_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 rng(seed);
  constexpr int kCells = 24;
  const std::vector<Job> jobs = random_jobs(count, kCells, rng);

  std::vector<uint64_t> expected(kCells);
  for (const Job& job : jobs) {
    run_job(
        job, [&](int i) { return expected[static_cast<size_t>(i)]; },
        [&](int i, uint64_t v) { expected[static_cast<size_t>(i)] = v; });
  }

  std::vector<Cell> cells(kCells);
  {
    Engine engine(options);
    Runner runner(engine, cells);
    for (const Job& job : jobs) {
      runner(job);
      if (rng() % 64 == 0) {
        Cell& cell = cells[rng() % kCells];
        rng() % 2 ? engine.wait_to_read(cell.var) : engine.wait_to_write(cell.var);
      }
    }
    engine.wait_all();
    CHECK(engine.pending() == 0);
    if (!options.force_queue)
      CHECK(runner.inlined > 0);
    else
      CHECK(runner.inlined == 0);
  }
  for (int i = 0; i < kCells; ++i) {
    CHECK(cells[static_cast<size_t>(i)].value == expected[static_cast<size_t>(i)]);
    CHECK(cells[static_cast<size_t>(i)].var.idle());
  }
}

}  // namespace

TEST_CASE("engine: 10,000 random jobs equal a serial loop") { check_random_program({}, 10'000); }
TEST_CASE("engine: 10,000 random jobs, all queued") { check_random_program({.force_queue = true}, 10'000); }
TEST_CASE("engine: 10,000 random jobs, naive") { check_random_program({.naive = true}, 10'000); }
TEST_CASE("engine: random jobs with a run-ahead of one") { check_random_program({.run_ahead_ops = 1}, 1'000); }

TEST_CASE("engine: several threads mix inline and queued work on shared variables") {
  for (const bool naive : {false, true}) {
    CAPTURE(naive);
    constexpr int kThreads = 4, kRounds = 3'000, kCells = 6;
    std::vector<Cell> cells(kCells);
    Engine engine({.naive = naive});
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        std::mt19937_64 rng(static_cast<uint64_t>(t) + 1);
        for (int i = 0; i < kRounds; ++i) {
          Cell& to = cells[rng() % kCells];
          Cell& from = cells[rng() % kCells];
          Var* reads[] = {&from.var};
          Var* writes[] = {&to.var};
          const auto work = [&to, &from] {
            const uint64_t ignored = from.value;
            asm volatile("" ::"r"(ignored));
            ++to.value;
          };
          if (rng() % 4 != 0 && engine.try_begin_inline(reads, 1, writes, 1)) {
            work();
            engine.end_inline(reads, 1, writes, 1);
          } else {
            engine.push([work](RunContext&) { work(); }, reads, writes,
                        {.lane = rng() % 2 ? Lane::host : Lane::compute});
          }
          if (rng() % 100 == 0) engine.wait_to_read(to.var);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    engine.wait_all();
    uint64_t total = 0;
    for (const Cell& cell : cells) total += cell.value;
    CHECK(total == uint64_t{kThreads} * kRounds);
  }
}

}  // namespace mxnet
