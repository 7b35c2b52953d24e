// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/parallel.h"

#include <omp.h>

#include <chrono>

#include "base/env.h"
#include "engine/engine.h"

namespace mxnet::cpu {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto kLate = 300us;   // after it, a thread of the team must have had no core
constexpr int kLossShare = 16;  // at most one part in so many of the time goes into waiting for such threads

thread_local constinit int team = 0;                   // 0: not asked yet on this thread
thread_local constinit Clock::time_point alone_until;  // no regions from this thread before it

// Takes pieces until none is left. After a failure the rest is skipped.
struct Chunks {
  const int64_t n;
  const int64_t chunk;
  const detail::Body body;
  void* const context;
  std::atomic<int64_t> next{0};
  std::atomic<int> ended{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error{};

  bool left() const {
    const int64_t at = next.load(std::memory_order_acquire);
    return at < n && !failed.load(std::memory_order_relaxed);
  }

  void take_one() {
    const int64_t begin = next.fetch_add(chunk, std::memory_order_acq_rel);
    if (begin >= n) return;
    try {
      body(context, begin, std::min(n, begin + chunk));
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  // The owner's before and after a region. Neither does anything that libgomp's barriers do not; ThreadSanitizer, which
  // does not see those, learns from them what owner and threads hand to each other.
  [[gnu::noinline]] void hand_out() { next.fetch_add(0, std::memory_order_release); }
  [[gnu::noinline]] void take_back() { ended.fetch_add(0, std::memory_order_acquire); }
  // Returns how many pieces it took.
  template <typename While>
  int work(While more) {
    const int saved = std::exchange(team, 1);
    int taken = 0;
    for (; left() && more(); ++taken) take_one();
    ended.fetch_add(1, std::memory_order_release);
    team = saved;
    return taken;
  }
};

// The whole team is started even for few pieces: libgomp ends threads that a smaller region does not want.
//
// A region ends when its last thread does, and on a busy machine that thread may not even have begun: it waits for a
// core, for milliseconds. After such an end the owner works alone for a while.
[[gnu::no_sanitize_thread]] void run_region(Chunks& chunks, int threads) {
  const Clock::time_point begin = Clock::now();
  chunks.hand_out();
  Clock::time_point own_end;
  int own_pieces = 0;
#pragma omp parallel num_threads(threads)
  {
    const int taken = chunks.work([] { return true; });
    if (omp_get_thread_num() == 0) {
      own_end = Clock::now();
      own_pieces = taken;
    }
  }
  chunks.take_back();
  const Clock::time_point end = Clock::now();
  const Clock::duration late = end - own_end;
  if (late > kLate && own_pieces > 0 && late > kLate + 2 * (own_end - begin) / own_pieces) {
    alone_until = end + late * kLossShare / (threads - 1);
  }
}

// Two threads on two cores, and a caller that is about to push more: with a team there would be three. So the owner
// goes on alone until the caller waits.
bool should_stay_alone(int threads) {
  return (threads == 2 && Engine::caller_is_busy()) ||
         (alone_until != Clock::time_point() && Clock::now() < alone_until);
}

}  // namespace

// The team is also what OpenMP is told, for libraries that open regions of their own.
int team_size() {
  if (team == 0) {
    team = 1;
    if (Engine::on_compute_worker()) {
      team = env::settings().threads;
      omp_set_num_threads(team);
    }
  }
  return team;
}

TeamScope::TeamScope(int size) : saved_(team_size()), saved_omp_(omp_get_max_threads()) {
  team = std::max(1, size);
  if (team != saved_omp_) omp_set_num_threads(team);
}

TeamScope::~TeamScope() {
  if (team != saved_omp_) omp_set_num_threads(saved_omp_);
  team = saved_;
}

void detail::run_chunks(int64_t n, int64_t chunk, int threads, Body body, void* context, bool heavy) {
  Chunks chunks{n, chunk, body, context};
  if (!heavy) chunks.work([threads] { return should_stay_alone(threads); });
  if (chunks.left()) run_region(chunks, threads);
  if (chunks.error) std::rethrow_exception(chunks.error);
}

}  // namespace mxnet::cpu
