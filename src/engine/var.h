// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>

#include "base/intrusive.h"

namespace mxnet {

// What a failed operation left: one record, shared by everything that the operation and its dependents would have
// written. Whoever is told first tells for all: a delivered record means "no error".
struct ErrorRecord : Counted<ErrorRecord> {
  explicit ErrorRecord(std::exception_ptr e) : exception(std::move(e)) {}
  const std::exception_ptr exception;
  std::atomic<bool> delivered{false};
};

namespace engine_detail {
struct Dep;
class Core;
}  // namespace engine_detail

// A variable: the thing that operations read and write. It lives in a chunk of storage; views share it.
// Whoever pushes keeps it alive until its operations are complete (by capturing the chunk).
class Var {
 public:
  Var() = default;
  ~Var();
  Var(const Var&) = delete;
  Var& operator=(const Var&) = delete;

  // Nobody reads or writes it, nothing is queued on it and it bears no error. A look, not a claim.
  bool idle() const { return word_.load(std::memory_order_acquire) == 0; }
  // No queued operation and no error, although inline work may be reading.
  bool readable_now() const { return word_.load(std::memory_order_acquire) < kWriter; }

 private:
  friend class Engine;
  friend class engine_detail::Core;

  // The word: inline readers in the low bits, then one bit each.
  static constexpr uint32_t kReaders = (1u << 16) - 1;
  static constexpr uint32_t kWriter = 1u << 16;  // claimed by inline work for writing; nobody else changes the word
  static constexpr uint32_t kQueued = 1u << 17;  // the queue state below is in use
  static constexpr uint32_t kError = 1u << 18;   // `error_` may be set

  // Claims of inline work.
  bool try_claim_read() {
    uint32_t seen = word_.load(std::memory_order_relaxed);
    return seen < kReaders && swap_word(seen, seen + 1);
  }
  bool try_claim_write() {
    uint32_t seen = word_.load(std::memory_order_relaxed);
    return seen == 0 && swap_word(seen, kWriter);
  }
  // For work on the caller that looks at errors itself.
  bool try_claim_despite_error(bool writing) {
    uint32_t seen = word_.load(std::memory_order_relaxed);
    if ((seen & (kWriter | kQueued)) || (seen & kReaders) == kReaders || (writing && (seen & kReaders))) return false;
    return swap_word(seen, writing ? seen | kWriter : seen + 1);
  }
  void unclaim_read() { word_.fetch_sub(1, std::memory_order_release); }
  void unclaim_write() {
    const uint32_t seen = word_.load(std::memory_order_relaxed);
    word_.store(seen & ~kWriter, std::memory_order_release);  // only the holder changes a word with kWriter
  }
  bool claimed_for_writing() const { return word_.load(std::memory_order_relaxed) & kWriter; }
  // Inline work is in the way of a queued write (or read).
  bool claimed(bool writing) const {
    return word_.load(std::memory_order_relaxed) & (writing ? kWriter | kReaders : kWriter);
  }
  bool bears_error() const { return word_.load(std::memory_order_acquire) & kError; }

  // Closes the variable to inline work for a queued operation; false while inline work is in the way.
  bool close(bool writing) {
    uint32_t seen = word_.load(std::memory_order_relaxed);
    do {
      if (seen & (writing ? kWriter | kReaders : kWriter)) return false;
    } while (!word_.compare_exchange_weak(seen, seen | kQueued, std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
  }
  void open_if_unused() {
    if (head_ || running_reads_ > 0 || running_write_) return;
    word_.fetch_and(~kQueued, std::memory_order_release);
  }
  bool closed() const { return word_.load(std::memory_order_acquire) & kQueued; }
  // Forgets all queued operations (they were lost in a fork).
  void reset_line() {
    head_ = tail_ = nullptr;
    running_reads_ = 0;
    running_write_ = false;
    open_if_unused();
  }

  bool swap_word(uint32_t seen, uint32_t wanted) {
    return word_.compare_exchange_strong(seen, wanted, std::memory_order_acquire, std::memory_order_relaxed);
  }

  std::atomic<uint32_t> word_{0};
  int32_t running_reads_ = 0;  // the rest belongs to the queue and is guarded by its mutex
  bool running_write_ = false;
  engine_detail::Dep* head_ = nullptr;  // operations that wait for this variable, in program order
  engine_detail::Dep* tail_ = nullptr;
  Ref<ErrorRecord> error_;  // guarded by the error mutex
};

static_assert(sizeof(Var) <= 48);

}  // namespace mxnet
