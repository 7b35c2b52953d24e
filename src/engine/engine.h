// SPDX-License-Identifier: Apache-2.0
// The dependency engine. It knows functions and variables, nothing else.
//
//   An operation runs after every earlier writer of what it reads, and after every earlier reader and writer of what
//   it writes; "earlier" is the order of the pushes. Operations that do not depend on each other may overlap.
//   A failure is stored with the variables that would have been written, and thrown by the next wait for one of them.
//
// Any function may be called from any thread, unless it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>

#include "base/device.h"
#include "base/function.h"
#include "engine/observer.h"
#include "engine/var.h"

namespace mxnet {

// Where queued work runs. compute: the one thread that owns the OpenMP team. copy and host: a small pool of threads
// for copies, I/O and callbacks, which may block; it grows while its threads wait.
enum class Lane : unsigned char { compute, copy, host };

inline constexpr int64_t kUnknownCost = INT64_MAX;

struct OpProps {
  const char* name = "";  // for the profiler and messages; must live as long as the process
  Lane lane = Lane::compute;
  int priority = 0;                // among operations that are ready on one lane, larger runs first
  int64_t cost_ns = kUnknownCost;  // estimated time on one thread
  int64_t bytes = 0;               // memory that the operation holds while it is queued, for the run-ahead bound
  Device device = {};
};

namespace engine_detail {
struct Op;
}

// What a running operation knows about its run.
class RunContext {
 public:
  Device device;
  Lane lane = Lane::compute;
  bool inline_run = false;  // on a caller's thread: no parallel region may be opened (team of 1)

  // Tells the engine that `var`, which this operation writes, has its final value: whoever waits for it may go on.
  // The operation must not touch it afterwards. Ignored for a variable that the operation does not write.
  void release(Var& var);

 private:
  friend class engine_detail::Core;
  engine_detail::Core* core_ = nullptr;
  engine_detail::Op* op_ = nullptr;
};

// The completion of an asynchronous operation. Call it once, from any thread; dropped without a call, it completes
// the operation with an error.
class Done {
 public:
  Done(Done&& other) noexcept : core_(other.core_), op_(std::exchange(other.op_, nullptr)) {}
  Done& operator=(Done&&) = delete;
  ~Done();
  void operator()(std::exception_ptr error = nullptr);

 private:
  friend class engine_detail::Core;
  Done(engine_detail::Core* core, engine_detail::Op* op) : core_(core), op_(op) {}
  engine_detail::Core* core_;
  engine_detail::Op* op_;
};

// Thrown by a wait that the hook of set_wait_hook ended. The work goes on.
class WaitInterrupted : public std::exception {
 public:
  const char* what() const noexcept override { return "the wait was interrupted"; }
};

class Engine {
 public:
  struct Options {
    bool naive = false;        // everything runs on the caller before push returns
    bool force_queue = false;  // try_begin_inline always refuses
    int64_t run_ahead_ops = 256;
    int64_t run_ahead_bytes = int64_t{16} << 20;  // two operations may always be queued
    static Options from_settings();
  };

  // The engine of the process; never destroyed, stopped at exit.
  static Engine& get();

  explicit Engine(const Options& options);  // for tests: an engine of its own; its destructor finishes all work
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // ---- inline: no allocation, no lock -----------------------------------------------------------------------------
  // Claims all variables (reads shared, writes exclusive) or none. False if any is in use by other work or bears an
  // error, or if inline work is switched off: push instead. A variable may appear several times and on both sides.
  // Between begin and end the caller must be quick, must not push or wait, and calls end_inline with the same lists.
  bool try_begin_inline(Var* const* reads, size_t nr, Var* const* writes, size_t nw) {
    if (!inline_allowed_ || nw > kMaxInlineWrites) [[unlikely]]
      return false;
    size_t w = 0;
    for (; w < nw; ++w) {
      if (!writes[w]->try_claim_write() && !repeated(writes, w)) [[unlikely]]
        break;
    }
    if (w < nw) [[unlikely]] {
      if (!retry_after_error(writes, nw)) return cancel_inline(reads, 0, writes, w);
      return cancel_inline(reads, 0, writes, w) || try_begin_inline(reads, nr, writes, nw);
    }
    for (size_t r = 0; r < nr; ++r) {
      if (reads[r]->try_claim_read()) [[likely]]
        continue;
      if (reads[r]->claimed_for_writing() && contains(writes, nw, reads[r])) continue;
      cancel_inline(reads, r, writes, nw);
      return retry_after_error(reads, nr) && try_begin_inline(reads, nr, writes, nw);
    }
    return true;
  }

  void end_inline(Var* const* reads, size_t nr, Var* const* writes, size_t nw) { cancel_inline(reads, nr, writes, nw); }

  // Inline work failed: called between begin and end. The error is stored as that of a queued operation would be.
  // Variables whose old contents are still whole need not be given.
  void mark_error(Var* const* writes, size_t nw, std::exception_ptr error);

  // ---- queued -------------------------------------------------------------------------------------------------------
  // Repeated variables count once; one that is read and written counts as written, and an error on it is passed on. A
  // write that leaves old contents in place (a part, a sum) must also list the variable among the reads: a variable
  // that is only written loses its error. `fn` must keep the variables alive. It is destroyed after the operation is
  // complete, on the thread that completed it. May sleep until earlier work is done (run-ahead bound); never throws
  // what `fn` throws.
  void push(UniqueFunction<void(RunContext&)> fn, std::span<Var* const> reads, std::span<Var* const> writes,
            const OpProps& props);
  // Complete when `done` is called. What `fn` captured lives until then; an exception from `fn` counts as done(error)
  // if `done` was not called.
  void push_async(UniqueFunction<void(RunContext&, Done)> fn, std::span<Var* const> reads, std::span<Var* const> writes,
                  const OpProps& props);

  // Between lift_bound(1) and lift_bound(-1) pushes do not wait for room: queued work waits for work to be pushed.
  void lift_bound(int by);

  // ---- waiting ------------------------------------------------------------------------------------------------------
  // Block until earlier writers (wait_to_write: and readers) are done, then throw the variable's error if nobody was
  // told yet. On the compute worker they throw an Error instead of waiting.
  void wait_to_read(Var& var) {
    if (!var.readable_now()) wait_slow(var, false);
  }
  void wait_to_write(Var& var) {
    if (!var.idle()) wait_slow(var, true);
  }
  // All work pushed before is complete and its memory released. Throws the oldest error that nobody was told of, and
  // forgets the others.
  void wait_all();
  // As wait_all, without throwing or clearing errors.
  void quiesce();
  // Throws the variable's error, if any, without waiting.
  void throw_if_error(Var& var);

  // Polled about every 50 ms by waits outside of engine threads; true ends the wait with WaitInterrupted.
  void set_wait_hook(bool (*hook)());
  // Called around every sleep of a thread in the engine (waits, the run-ahead bound, fork, shutdown), so that the
  // binding can give the interpreter lock away if this thread holds it. `enter`'s result is given to `leave`.
  void set_sleep_hooks(void* (*enter)(), void (*leave)(void*));

  // ---- threads ------------------------------------------------------------------------------------------------------
  static bool on_worker();          // this thread belongs to an engine
  static bool on_compute_worker();  // this thread owns the OpenMP team
  // A caller pushed a moment ago and is not waiting: it probably needs a core of its own right now. For compute lane
  // code that decides how many threads to use.
  static bool caller_is_busy();
  int64_t pending() const;  // operations pushed and not complete
  bool naive() const { return naive_; }
  bool inline_allowed() const { return inline_allowed_; }

  // Finishes all work and joins the threads; later pushes run on the caller. May be called twice.
  void shutdown();

  // ---- release of foreign memory --------------------------------------------------------------------------------
  // Core threads hand over what needs the interpreter to be released; the binding runs it at its next entry.
  // drain_deferred is one load when there is nothing to do.
  static void defer_release(UniqueFunction<void()> fn);
  static void drain_deferred() {
    if (deferred_count_.load(std::memory_order_acquire) != 0) [[unlikely]]
      run_deferred();
  }

 private:
  static constexpr size_t kMaxInlineWrites = 32;

  static bool contains(Var* const* list, size_t n, const Var* var) {
    for (size_t i = 0; i < n; ++i) {
      if (list[i] == var) return true;
    }
    return false;
  }
  static bool repeated(Var* const* list, size_t i) { return contains(list, i, list[i]); }

  // Releases the claims on the first `nr` reads and `nw` writes; returns false.
  static bool cancel_inline(Var* const* reads, size_t nr, Var* const* writes, size_t nw) {
    for (size_t r = 0; r < nr; ++r) {
      if (!reads[r]->claimed_for_writing()) reads[r]->unclaim_read();
    }
    for (size_t w = 0; w < nw; ++w) {
      if (w == 0 || !repeated(writes, w)) writes[w]->unclaim_write();
    }
    return false;
  }

  bool retry_after_error(Var* const* list, size_t n);  // true if an error told elsewhere was in the way, and is gone
  void wait_slow(Var& var, bool for_writing);
  static void run_deferred();

  static std::atomic<int64_t> deferred_count_;
  bool inline_allowed_ = true;
  bool naive_ = false;
  std::unique_ptr<engine_detail::Core> core_;
};

}  // namespace mxnet
