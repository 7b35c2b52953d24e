// SPDX-License-Identifier: Apache-2.0
// The queue behind Engine: private to this folder.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace mxnet::engine_detail {

// One variable of one operation.
struct Dep {
  Op* op = nullptr;  // null: a Waiter
  Var* var = nullptr;
  Dep* next = nullptr;  // in the variable's line
  bool write = false;
  bool read = false;     // also true for a variable that is read and written
  bool retired = false;  // given back (completed, or released early)
};

struct Op {
  UniqueFunction<void(RunContext&)> run;
  UniqueFunction<void(RunContext&, Done)> run_async;
  OpProps props;
  uint64_t sequence = 0;
  uint64_t parent = 0;             // the operation that pushed this one
  int waiting = 0;                 // variables that are not granted yet
  bool on_caller = false;          // runs on the pushing thread under claims, without the queue
  bool abandoned = false;          // its thread was lost in a fork
  std::atomic<int> unfinished{0};  // asynchronous: the call and its completion
  bool dropped = false;            // the completion was dropped, not called
  std::exception_ptr thrown, reported;
  Ref<ErrorRecord> inherited;  // why it did not run
  Op* outer = nullptr;         // the operation that this one interrupts on the same thread
  Op* previous = nullptr;      // all operations that are not finished, oldest first
  Op* next = nullptr;          // or the free list

  std::span<Dep> deps() { return {many_deps ? many_deps.get() : few_deps.data(), dep_count}; }
  std::array<Dep, 6> few_deps;
  std::unique_ptr<Dep[]> many_deps;
  size_t dep_count = 0;
};

// A thread that waits for a variable stands in its line like an operation, and is told when its turn comes.
struct Waiter : Dep {
  bool asleep = false;
  std::atomic<bool> told{false};
  std::condition_variable wake;
};

class Core {
 public:
  explicit Core(const Engine::Options& options) : options_(options) {}
  ~Core();

  // Queueing: fill in run or run_async of what make_op returns, then submit.
  Op* make_op(std::span<Var* const> reads, std::span<Var* const> writes, const OpProps& props);
  void submit(Op* op);
  void lift_bound(int by);
  void release_early(Op* op, Var& var);
  void finish_async(Op* op, std::exception_ptr error, bool dropped);

  void wait_for(Var& var, bool for_writing);
  void wait_until_empty(bool interruptible);
  void shutdown();
  int64_t pending();

  // Errors.
  void mark(std::span<Var* const> vars, std::exception_ptr error);
  void deliver(Var& var);  // throws the variable's error unless it was told before
  void deliver_oldest();
  bool forget_told_errors(Var* const* list, size_t n);

  void before_fork();
  void after_fork_in_parent();
  void after_fork_in_child();

  std::atomic<bool (*)()> wait_hook{nullptr};
  std::atomic<void* (*)()> enter_sleep{nullptr};
  std::atomic<void (*)(void*)> leave_sleep{nullptr};

 private:
  using Lock = std::unique_lock<std::mutex>;

  // Ready operations, the most urgent and oldest first.
  struct ReadyQueue {
    std::vector<Op*> heap;
    void push(Op* op);
    Op* pop();
  };
  // Which threads to wake once the lock is released.
  struct Wake {
    bool compute = false;
    int host = 0;
  };

  // The lines of the variables (core.cc); all with the lock held, except where a Lock is passed.
  Var* reserve(Op* op, bool* writing);
  void enter_lines(Op* op, Wake& wake);
  void retire(Dep& dep, Wake& wake);
  void advance(Var& var, Wake& wake);
  void leave_line(Dep& dep, Wake& wake);
  void ready(Op* op, Wake& wake);
  void wake_threads(const Wake& wake);
  void link(Op* op);
  void unlink(Op* op);
  void wait_for_room(Lock& lock, int64_t bytes);

  // Running (core.cc).
  void execute(Op* op, Lock& lock);
  void call(Op* op, RunContext& context);
  void complete(Op* op, std::exception_ptr error, Lock& lock);
  void recycle(Op* op);
  void run_on_caller(Op* op);
  RunContext context_of(Op* op, bool inline_run);

  // Errors (errors.cc).
  void settle_errors(Op* op, std::exception_ptr error);
  bool find_input_error(Op* op);
  bool clear_if_told(Var& var);
  void forget(Var& var);

  // Threads (threads.cc).
  void compute_main();
  void host_main();
  void start_threads(const Wake& wake);
  void start_host_if_needed();
  bool spin_for_work() const;
  static void check_not_own(const Var& var, bool for_writing);
  void abandon_all();
  bool has_room() const;
  template <typename Condition>
  bool sleep(Lock& lock, std::condition_variable& cv, bool interruptible, Condition condition);

  const Engine::Options options_;

  std::mutex mutex_;  // guards everything down to the error mutex, and the lines of all variables
  Op* oldest_ = nullptr;
  Op* newest_ = nullptr;
  Op* free_ops_ = nullptr;
  int64_t live_count_ = 0;
  int64_t live_bytes_ = 0;
  uint64_t sequence_ = 0;
  ReadyQueue compute_ready_;
  ReadyQueue host_ready_;
  std::unique_ptr<std::thread> compute_;
  std::vector<std::unique_ptr<std::thread>> hosts_;
  int host_idle_ = 0;
  int host_blocked_ = 0;
  bool stop_ = false;
  int room_waiters_ = 0;
  int bound_lifts_ = 0;
  int empty_waiters_ = 0;
  uint64_t empty_target_ = UINT64_MAX;  // they are woken when all operations up to this one are gone
  std::condition_variable compute_cv_, host_cv_, room_cv_, empty_cv_;

  std::mutex error_mutex_;  // guards Var::error_ and the records nobody was told of; taken last
  std::vector<Ref<ErrorRecord>> untold_;

  std::atomic<int> compute_waiting_{0};  // operations in compute_ready_, for the worker that spins
  std::atomic<bool> stopped_{false};
};

// What this thread is doing for an engine.
struct ThreadState {
  bool worker = false;  // a thread of an engine
  bool compute_worker = false;
  bool in_compute_op = false;  // also on a caller that runs one itself
  Op* op = nullptr;            // that it runs now
};
ThreadState& thread_state();

// Callers (not engine threads) tell when they push and while they wait.
void note_push();
bool caller_is_busy();
class CallerWaits {
 public:
  CallerWaits();
  ~CallerWaits();
  CallerWaits(const CallerWaits&) = delete;
  CallerWaits& operator=(const CallerWaits&) = delete;
};

}  // namespace mxnet::engine_detail
