// SPDX-License-Identifier: Apache-2.0
// Parallel loops for kernels. Only the engine's compute worker has a team; everywhere else a loop is serial.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <type_traits>

namespace mxnet::cpu {

// Threads that a kernel may use on this thread: env::Settings::threads on the compute worker, 1 elsewhere.
int team_size();

// Sets the team of this thread for a scope, for our loops and for libraries that use OpenMP. Inline runs of such a
// library need a scope of 1. Not below 1.
class TeamScope {
 public:
  explicit TeamScope(int size);
  ~TeamScope();
  TeamScope(const TeamScope&) = delete;
  TeamScope& operator=(const TeamScope&) = delete;

 private:
  int saved_;
  int saved_omp_;
};

// A loop over n items is cut in pieces of chunk_size(n, grain) items, the last one shorter. The cut depends on n and
// grain alone, so that results do not depend on the number of threads.
inline constexpr int64_t kMaxChunks = 256;
inline int64_t chunk_size(int64_t n, int64_t grain) {
  return std::max({int64_t{1}, grain, (n + kMaxChunks - 1) / kMaxChunks});
}
inline int64_t chunk_count(int64_t n, int64_t grain) {
  const int64_t size = chunk_size(n, grain);
  return (n + size - 1) / size;
}

namespace detail {
using Body = void (*)(void* context, int64_t begin, int64_t end);
void run_chunks(int64_t n, int64_t chunk, int team, Body body, void* context, bool heavy);
}  // namespace detail

// Calls f(begin, end) once for each piece, in any order, each on one thread of the team; the pieces are the same
// whatever the team. Within a call that `f` makes, team_size() is 1. The first exception is thrown again at the end.
//
// Heavy: pieces of arithmetic that take tens of microseconds or more, as of matrix products. The whole team takes part
// at once, as in libraries' regions; else the owner goes on alone where a region would cost more than it gives.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f, bool heavy = false) {
  if (n <= 0) return;
  const int64_t chunk = chunk_size(n, grain);
  if (n <= chunk) {
    f(int64_t{0}, n);
    return;
  }
  const int team = team_size();
  if (team == 1) {
    for (int64_t begin = 0; begin < n; begin += chunk) f(begin, std::min(n, begin + chunk));
    return;
  }
  using Fn = std::remove_reference_t<F>;
  detail::run_chunks(
      n, chunk, team, [](void* context, int64_t begin, int64_t end) { (*static_cast<Fn*>(context))(begin, end); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))), heavy);
}

}  // namespace mxnet::cpu
