// SPDX-License-Identifier: Apache-2.0
// Every environment variable that the core reads, in one table (documented in docs/guide/env.md).
#pragma once

#include <cstdint>
#include <string>

namespace mxnet::env {

// What the debug modes force; see docs/design/debug.md.
struct Debug {
  bool poison = false;    // MXNET_DEBUG_POISON: freed and fresh memory is filled with NaN
  bool relayout = false;  // MXNET_DEBUG_RELAYOUT: 4-d outputs of eager calls are stored channels-last where possible
  bool force_inline = false;  // MXNET_DEBUG_INLINE: everything runs on the calling thread
  bool force_queue = false;   // MXNET_DEBUG_QUEUE: nothing runs on the calling thread
  bool reuse_frames = false;  // MXNET_DEBUG_FRAMES: a returned frame is leased again at once, poisoned
};

struct Settings {
  bool naive_engine;      // MXNET_ENGINE_TYPE=NaiveEngine
  int threads;            // MXNET_CPU_WORKER_NTHREADS, else OMP_NUM_THREADS, else the cores this process may use
  int64_t inline_ns;      // MXNET_ENGINE_INLINE_NS: work estimated below this runs on the caller when its data is ready
  int64_t run_ahead_ops;  // MXNET_ENGINE_RUN_AHEAD: queued operations before a caller sleeps
  int64_t run_ahead_bytes;    // MXNET_ENGINE_RUN_AHEAD_BYTES: memory held by queued operations before a caller sleeps
  int64_t sync_timeout_s;     // MXNET_SYNC_TIMEOUT: how long devices of a group wait for each other
  int64_t memory_limit;       // MXNET_MEMORY_LIMIT: bytes of the CPU pool; 0 = none
  int64_t cache_limit;        // MXNET_MEMORY_CACHE: bytes the pool may keep cached; 0 = a share of the machine's memory
  int64_t kernel_cache;       // MXNET_KERNEL_CACHE: prepared kernels kept per thread
  bool explain_kernels;       // MXNET_VERBOSE_KERNELS: print the kernel chosen for each new signature, and the refusals
  bool storage_fallback_log;  // MXNET_STORAGE_FALLBACK_LOG_VERBOSE: tell when an operator runs on dense copies of
                              // sparse arrays
  bool fuse_inference;        // MXNET_FUSE_INFERENCE: plans without gradients fold and fuse layers; 0 keeps them apart
  std::string isa;            // MXNET_CPU_ISA: caps the instruction set ("sse42", "avx2", "avx512")
  Debug debug;
};

// Read once, at the first call.
const Settings& settings();

}  // namespace mxnet::env
