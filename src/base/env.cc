// SPDX-License-Identifier: Apache-2.0
#include "base/env.h"

#include <sched.h>

#include <algorithm>
#include <cstdlib>

namespace mxnet::env {
namespace {

std::string text(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

int64_t integer(const char* name, int64_t otherwise) {
  const char* value = std::getenv(name);
  if (!value || !*value) return otherwise;
  char* end = nullptr;
  const long long parsed = std::strtoll(value, &end, 10);
  return end == value ? otherwise : parsed;
}

bool flag(const char* name) { return integer(name, 0) != 0; }

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;
}

Settings read() {
  Settings s;
  s.naive_engine = text("MXNET_ENGINE_TYPE") == "NaiveEngine";
  const int64_t omp = integer("OMP_NUM_THREADS", usable_cores());
  s.threads = static_cast<int>(std::clamp<int64_t>(integer("MXNET_CPU_WORKER_NTHREADS", omp), 1, 1024));
  s.inline_ns = integer("MXNET_ENGINE_INLINE_NS", 20'000);
  s.run_ahead_ops = std::max<int64_t>(1, integer("MXNET_ENGINE_RUN_AHEAD", 256));
  s.run_ahead_bytes = std::max<int64_t>(1, integer("MXNET_ENGINE_RUN_AHEAD_BYTES", int64_t{16} << 20));
  s.sync_timeout_s = std::max<int64_t>(1, integer("MXNET_SYNC_TIMEOUT", 120));
  s.memory_limit = integer("MXNET_MEMORY_LIMIT", 0);
  s.cache_limit = integer("MXNET_MEMORY_CACHE", 0);
  s.kernel_cache = std::max<int64_t>(16, integer("MXNET_KERNEL_CACHE", 4096));
  s.explain_kernels = flag("MXNET_VERBOSE_KERNELS");
  s.storage_fallback_log = integer("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", 1) != 0;
  s.fuse_inference = integer("MXNET_FUSE_INFERENCE", 1) != 0;
  s.isa = text("MXNET_CPU_ISA");
  s.debug = {flag("MXNET_DEBUG_POISON"), flag("MXNET_DEBUG_RELAYOUT"), flag("MXNET_DEBUG_INLINE"),
             flag("MXNET_DEBUG_QUEUE"), flag("MXNET_DEBUG_FRAMES")};
  return s;
}

}  // namespace

const Settings& settings() {
  static const Settings instance = read();
  return instance;
}

}  // namespace mxnet::env
