// SPDX-License-Identifier: Apache-2.0
// The engine's threads, and the threads that wait for them.
#include <algorithm>
#include <chrono>

#include "base/env.h"
#include "base/error.h"
#include "engine/core.h"

namespace mxnet::engine_detail {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kWorkerSpin = std::chrono::microseconds(100);  // an eager caller pushes the next operation within it
constexpr auto kWaiterSpin = std::chrono::microseconds(100);  // a sleeping core takes some 20 us to wake up
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr size_t kMaxHosts = 128;

inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Looks again and again for a while; in between, whoever else wants the core may have it.
template <typename Condition>
bool spin_until(Clock::duration limit, Condition condition) {
  const auto end = Clock::now() + limit;
  do {
    for (int i = 0; i < 32; ++i) {
      if (condition()) return true;
      relax();
    }
    std::this_thread::yield();
  } while (Clock::now() < end);
  return false;
}

constexpr int64_t kBusyNs = 50'000;  // after a push; an eager program pushes again within it
std::atomic<int64_t> last_push_ns{0};
std::atomic<int> waiting_callers{0};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now().time_since_epoch()).count();
}

// Host threads that may run at once; those that wait do not count.
size_t host_limit() { return static_cast<size_t>(std::clamp(env::settings().threads, 2, 4)); }

}  // namespace

ThreadState& thread_state() {
  static thread_local constinit ThreadState state;
  return state;
}

void note_push() {
  if (!thread_state().worker) last_push_ns.store(now_ns(), std::memory_order_relaxed);
}

bool caller_is_busy() {
  return waiting_callers.load(std::memory_order_relaxed) == 0 &&
         now_ns() - last_push_ns.load(std::memory_order_relaxed) < kBusyNs;
}

CallerWaits::CallerWaits() { waiting_callers.fetch_add(!thread_state().worker, std::memory_order_relaxed); }
CallerWaits::~CallerWaits() { waiting_callers.fetch_sub(!thread_state().worker, std::memory_order_relaxed); }

Core::~Core() {
  shutdown();
  while (free_ops_) delete std::exchange(free_ops_, free_ops_->next);
}

// ---- workers
// ----------------------------------------------------------------------------------------------------------

// Threads start with the first work for them; the lock is held.
void Core::start_threads(const Wake& wake) {
  if (wake.compute && !compute_) compute_ = std::make_unique<std::thread>([this] { compute_main(); });
  if (wake.host > 0) start_host_if_needed();
}

void Core::start_host_if_needed() {
  while (static_cast<size_t>(host_idle_) < host_ready_.heap.size() && hosts_.size() < kMaxHosts &&
         hosts_.size() - static_cast<size_t>(host_blocked_) < host_limit()) {
    hosts_.push_back(std::make_unique<std::thread>([this] { host_main(); }));
    ++host_idle_;
  }
}

void Core::wake_threads(const Wake& wake) {
  if (wake.compute && compute_waiting_.load(std::memory_order_relaxed) > 0) compute_cv_.notify_one();
  for (int i = 0; i < wake.host; ++i) host_cv_.notify_one();
}

bool Core::spin_for_work() const {
  return spin_until(kWorkerSpin, [this] { return compute_waiting_.load(std::memory_order_acquire) > 0; });
}

void Core::compute_main() {
  ThreadState& state = thread_state();
  state.worker = state.compute_worker = true;
  Lock lock(mutex_);
  while (true) {
    if (Op* op = compute_ready_.pop()) {
      compute_waiting_.fetch_sub(1, std::memory_order_relaxed);
      lock.unlock();
      execute(op, lock);
      continue;
    }
    if (stop_) return;
    lock.unlock();
    spin_for_work();
    lock.lock();
    compute_cv_.wait(lock, [this] { return stop_ || !compute_ready_.heap.empty(); });
  }
}

void Core::host_main() {
  thread_state().worker = true;
  Lock lock(mutex_);
  while (true) {
    host_cv_.wait(lock, [this] { return stop_ || !host_ready_.heap.empty(); });
    Op* op = host_ready_.pop();
    if (!op) return;
    --host_idle_;
    lock.unlock();
    execute(op, lock);
    ++host_idle_;
  }
}

// ---- waiting
// ----------------------------------------------------------------------------------------------------------

// Sleeps until the condition holds; false if the hook ended the wait first. The lock is held at the call and after.
template <typename Condition>
bool Core::sleep(Lock& lock, std::condition_variable& cv, bool interruptible, Condition condition) {
  if (condition()) return true;
  const CallerWaits noted;
  const bool on_host = thread_state().worker;
  if (on_host) {  // another thread takes over, or those that wait could fill the pool
    ++host_blocked_;
    start_host_if_needed();
  }
  const auto enter = enter_sleep.load();
  const auto leave = leave_sleep.load();
  const auto hook = interruptible && !on_host ? wait_hook.load() : nullptr;
  void* state = enter && leave ? enter() : nullptr;
  bool interrupted = false;
  while (!interrupted && !condition()) {
    if (!hook) {
      cv.wait(lock);
    } else if (cv.wait_for(lock, kPoll) == std::cv_status::timeout && !condition()) {
      lock.unlock();
      interrupted = hook();
      lock.lock();
    }
  }
  if (on_host) --host_blocked_;
  if (enter && leave) {
    lock.unlock();
    leave(state);
    lock.lock();
  }
  return !interrupted;
}

void Core::lift_bound(int by) {
  const Lock lock(mutex_);
  bound_lifts_ += by;
  if (bound_lifts_ > 0 && room_waiters_ > 0) room_cv_.notify_all();
}

bool Core::has_room() const {
  if (bound_lifts_ > 0) return true;
  if (live_count_ <= 1) return live_count_ < options_.run_ahead_ops;  // the worker never runs dry
  return live_count_ <= options_.run_ahead_ops / 2 && live_bytes_ <= options_.run_ahead_bytes / 2;
}

void Core::wait_for_room(Lock& lock, int64_t bytes) {
  const bool full =
      live_count_ >= options_.run_ahead_ops || (live_count_ >= 2 && live_bytes_ + bytes > options_.run_ahead_bytes);
  if (!full || bound_lifts_ > 0 || thread_state().worker) return;
  ++room_waiters_;  // until half is done: one wake-up for many operations
  sleep(lock, room_cv_, false, [this] { return has_room(); });
  --room_waiters_;
}

// An operation that waits for what it holds itself would wait forever.
void Core::check_not_own(const Var& var, bool for_writing) {
  for (Op* op = thread_state().op; op; op = op->outer) {
    for (const Dep& dep : op->deps()) {
      if (dep.var != &var || dep.retired || !(dep.write || for_writing)) continue;
      fail("operation '", op->props.name, "' waited for an array that it ", dep.write ? "writes" : "reads", " itself");
    }
  }
}

void Core::wait_for(Var& var, bool for_writing) {
  check_not_own(var, for_writing);
  while (var.claimed(for_writing)) std::this_thread::yield();  // inline work elsewhere: short
  if (var.closed()) {
    Wake wake;
    bool done = true;
    Waiter waiter;
    waiter.var = &var;
    waiter.write = for_writing;
    Lock lock(mutex_);
    (var.head_ ? var.tail_->next : var.head_) = &waiter;
    var.tail_ = &waiter;
    if (var.head_ == &waiter) advance(var, wake);
    if (!waiter.retired && thread_state().in_compute_op) {
      leave_line(waiter, wake);
      fail("an operation on the compute lane waited for an array: it would wait for itself");
    }
    if (!waiter.retired) {
      const CallerWaits noted;
      lock.unlock();
      const bool told = spin_until(kWaiterSpin, [&] { return waiter.told.load(std::memory_order_acquire); });
      lock.lock();
      if (!told) {
        waiter.asleep = true;
        done = sleep(lock, waiter.wake, true, [&] { return waiter.retired; });
        if (!done) leave_line(waiter, wake);
        start_threads(wake);
      }
    }
    lock.unlock();
    wake_threads(wake);
    if (!done) throw WaitInterrupted();
  }
  deliver(var);
}

void Core::wait_until_empty(bool interruptible) {
  Lock lock(mutex_);
  const ThreadState& state = thread_state();
  const uint64_t last = sequence_;
  const auto empty = [&] {
    if (!state.op) {
      if (!oldest_ || oldest_->sequence > last) return true;
      empty_target_ = std::min(empty_target_, last);
      return false;
    }
    // Inside an operation: what that operation pushed. The rest may depend on it.
    for (const Op* op = oldest_; op; op = op->next) {
      if (op->parent != state.op->sequence || op->sequence > last) continue;
      empty_target_ = 0;
      return false;
    }
    return true;
  };
  if (empty()) return;
  if (state.in_compute_op) fail("an operation on the compute lane waited for all work: it would wait for itself");
  ++empty_waiters_;
  const bool done = sleep(lock, empty_cv_, interruptible, empty);
  --empty_waiters_;
  if (!done) throw WaitInterrupted();
}

void Core::shutdown() {
  if (thread_state().worker) return;  // exit() inside an operation: the process ends with it
  wait_until_empty(false);
  std::unique_ptr<std::thread> compute;
  std::vector<std::unique_ptr<std::thread>> hosts;
  {
    Lock lock(mutex_);
    stop_ = true;
    stopped_.store(true, std::memory_order_release);
    compute.swap(compute_);
    hosts.swap(hosts_);
  }
  compute_cv_.notify_all();
  host_cv_.notify_all();
  if (compute) compute->join();
  for (auto& host : hosts) host->join();
}

// ---- fork
// -------------------------------------------------------------------------------------------------------------

// Work is finished and the locks are held while the process is copied. An engine thread that forks (a callback that
// starts a program) cannot wait for its own operation.
void Core::before_fork() {
  while (true) {
    if (!thread_state().worker && !thread_state().in_compute_op) wait_until_empty(false);
    mutex_.lock();
    if (thread_state().worker || !oldest_) break;
    mutex_.unlock();
  }
  error_mutex_.lock();
}

void Core::after_fork_in_parent() {
  error_mutex_.unlock();
  mutex_.unlock();
}

// The other threads do not exist here. Their objects are left alone, not joined; new ones start with the next work.
void Core::after_fork_in_child() {
  compute_.release();
  for (auto& host : hosts_) host.release();
  hosts_.clear();
  host_idle_ = host_blocked_ = room_waiters_ = bound_lifts_ = empty_waiters_ = 0;
  waiting_callers.store(0);
  for (std::condition_variable* cv : {&compute_cv_, &host_cv_, &room_cv_, &empty_cv_}) {
    ::new (cv) std::condition_variable;  // whoever slept on the old one is gone
  }
  error_mutex_.unlock();
  abandon_all();
  if (thread_state().worker) thread_state() = {};  // the operation that forked was given up above
  mutex_.unlock();
}

// Operations that were under way in threads that this process does not have: what they would have written is lost.
void Core::abandon_all() {
  compute_ready_.heap.clear();
  host_ready_.heap.clear();
  compute_waiting_.store(0);
  while (Op* op = oldest_) {
    op->abandoned = true;
    op->inherited.reset();
    settle_errors(op, std::make_exception_ptr(Error(ErrorKind::generic, str("operation '", op->props.name,
                                                                            "' was lost when the process forked"))));
    for (Dep& dep : op->deps()) dep.var->reset_line();
    unlink(op);
  }
}

}  // namespace mxnet::engine_detail
