// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/parallel.h"

#include <omp.h>

#include "base/env.h"
#include "engine/engine.h"

namespace mxnet::cpu {
namespace {

thread_local constinit int team = 0;  // 0: not asked yet on this thread

// Takes pieces until none is left. After a failure the rest is skipped.
struct Chunks {
  const int64_t n;
  const int64_t chunk;
  const detail::Body body;
  void* const context;
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error{};

  bool left() const { return next.load(std::memory_order_relaxed) < n && !failed.load(std::memory_order_relaxed); }

  void take_one() {
    const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
    if (begin >= n) return;
    try {
      body(context, begin, std::min(n, begin + chunk));
    } catch (...) {
      if (!failed.exchange(true)) error = std::current_exception();
    }
  }
  template <typename While>
  void work(While more) {
    const int saved = std::exchange(team, 1);
    while (left() && more()) take_one();
    team = saved;
  }
};

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

// Two threads on two cores, and a caller that is about to push more: with a team there would be three, and each end of
// a region would wait for the one that has no core. So this thread goes on alone until the caller waits.
//
// The whole team is started even for few pieces: libgomp ends threads that a smaller region does not want.
void detail::run_chunks(int64_t n, int64_t chunk, int threads, Body body, void* context) {
  Chunks chunks{n, chunk, body, context};
  if (threads == 2) chunks.work([] { return Engine::caller_is_busy(); });
  if (chunks.left()) {
#pragma omp parallel num_threads(threads)
    chunks.work([] { return true; });
  }
  if (chunks.error) std::rethrow_exception(chunks.error);
}

}  // namespace mxnet::cpu
