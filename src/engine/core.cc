// SPDX-License-Identifier: Apache-2.0
// Lines of operations in front of variables, and the running of what comes to the front.
#include "engine/core.h"

#include <algorithm>

#include "base/error.h"

namespace mxnet::engine_detail {
namespace {

constexpr size_t kPairwiseLimit = 16;  // below it repeated variables are found by comparing all pairs

bool more_urgent(const Op* a, const Op* b) {
  if (a->props.priority != b->props.priority) return a->props.priority > b->props.priority;
  return a->sequence < b->sequence;
}
bool less_urgent(const Op* a, const Op* b) { return more_urgent(b, a); }

// Joins the entries of one variable. Returns the new count.
size_t merge_repeated(std::span<Dep> deps) {
  size_t n = 0;
  if (deps.size() > kPairwiseLimit) {
    std::sort(deps.begin(), deps.end(), [](const Dep& a, const Dep& b) { return std::less<>()(a.var, b.var); });
  }
  for (Dep& dep : deps) {
    const size_t first = deps.size() > kPairwiseLimit && n > 0 ? n - 1 : 0;
    Dep* same = std::find_if(deps.data() + first, deps.data() + n, [&](const Dep& d) { return d.var == dep.var; });
    if (same == deps.data() + n) {
      deps[n++] = dep;
    } else {
      same->write |= dep.write;
      same->read |= dep.read;
    }
  }
  return n;
}

}  // namespace

void Core::ReadyQueue::push(Op* op) {
  heap.push_back(op);
  std::push_heap(heap.begin(), heap.end(), less_urgent);
}

Op* Core::ReadyQueue::pop() {
  if (heap.empty()) return nullptr;
  std::pop_heap(heap.begin(), heap.end(), less_urgent);
  Op* op = heap.back();
  heap.pop_back();
  return op;
}

// ---- pushing --------------------------------------------------------------------------------------------------------

Op* Core::make_op(std::span<Var* const> reads, std::span<Var* const> writes, const OpProps& props) {
  Op* op = nullptr;
  {
    Lock lock(mutex_);
    if (free_ops_) op = std::exchange(free_ops_, free_ops_->next);
  }
  if (!op) op = new Op;
  op->props = props;
  const size_t n = reads.size() + writes.size();
  if (n > op->few_deps.size()) op->many_deps = std::make_unique<Dep[]>(n);
  op->dep_count = n;
  Dep* dep = op->deps().data();
  for (Var* var : writes) *dep++ = {.op = op, .var = var, .write = true};
  for (Var* var : reads) *dep++ = {.op = op, .var = var, .read = true};
  op->dep_count = merge_repeated(op->deps());
  return op;
}

void Core::submit(Op* op) {
  if (options_.naive || stopped_.load(std::memory_order_acquire)) return run_on_caller(op);
  note_push();
  Wake wake;
  {
    Lock lock(mutex_);
    wait_for_room(lock, op->props.bytes);
    bool writing = false;
    while (Var* busy = reserve(op, &writing)) {  // inline work is short: look again until it is done
      lock.unlock();
      while (busy->claimed(writing)) std::this_thread::yield();
      lock.lock();
    }
    op->sequence = ++sequence_;
    op->parent = thread_state().op ? thread_state().op->sequence : 0;
    link(op);
    enter_lines(op, wake);
    start_threads(wake);
  }
  wake_threads(wake);
}

// Closes the variables to new inline work. Returns the variable that inline work is using, or null.
Var* Core::reserve(Op* op, bool* writing) {
  const std::span<Dep> deps = op->deps();
  for (size_t i = 0; i < deps.size(); ++i) {
    *writing = deps[i].write;
    if (deps[i].var->close(deps[i].write)) continue;
    for (size_t j = 0; j < i; ++j) deps[j].var->open_if_unused();
    return deps[i].var;
  }
  return nullptr;
}

void Core::enter_lines(Op* op, Wake& wake) {
  op->waiting = 1;
  for (Dep& dep : op->deps()) {
    Var& var = *dep.var;
    ++op->waiting;
    (var.head_ ? var.tail_->next : var.head_) = &dep;
    var.tail_ = &dep;
    if (var.head_ == &dep) advance(var, wake);
  }
  if (--op->waiting == 0) ready(op, wake);
}

// Lets in all those at the head of the line that may go together.
void Core::advance(Var& var, Wake& wake) {
  while (Dep* dep = var.head_) {
    if (var.running_write_ || (dep->write && var.running_reads_ > 0)) return;
    var.head_ = dep->next;
    dep->next = nullptr;
    if (!dep->op) {
      auto* waiter = static_cast<Waiter*>(dep);
      waiter->retired = true;
      if (waiter->asleep) waiter->wake.notify_one();
      waiter->told.store(true, std::memory_order_release);  // last: it may be gone afterwards
      continue;
    }
    if (dep->write)
      var.running_write_ = true;
    else
      ++var.running_reads_;
    if (--dep->op->waiting == 0) ready(dep->op, wake);
  }
  var.open_if_unused();
}

void Core::retire(Dep& dep, Wake& wake) {
  if (std::exchange(dep.retired, true)) return;
  if (dep.write)
    dep.var->running_write_ = false;
  else
    --dep.var->running_reads_;
  advance(*dep.var, wake);
}

// Takes out one that gave up waiting.
void Core::leave_line(Dep& dep, Wake& wake) {
  if (dep.retired) return;
  Var& var = *dep.var;
  Dep* before = nullptr;
  for (Dep* at = var.head_; at != &dep; at = at->next) before = at;
  (before ? before->next : var.head_) = dep.next;
  if (var.tail_ == &dep) var.tail_ = before;
  advance(var, wake);
}

void Core::ready(Op* op, Wake& wake) {
  if (op->props.lane == Lane::compute) {
    compute_ready_.push(op);
    compute_waiting_.fetch_add(1, std::memory_order_release);
    wake.compute = true;
  } else {
    host_ready_.push(op);
    ++wake.host;
  }
}

void Core::link(Op* op) {
  op->previous = newest_;
  op->next = nullptr;
  (newest_ ? newest_->next : oldest_) = op;
  newest_ = op;
  ++live_count_;
  live_bytes_ += op->props.bytes;
}

void Core::unlink(Op* op) {
  (op->previous ? op->previous->next : oldest_) = op->next;
  (op->next ? op->next->previous : newest_) = op->previous;
  --live_count_;
  live_bytes_ -= op->props.bytes;
  if (room_waiters_ > 0 && has_room()) room_cv_.notify_all();
  if (empty_waiters_ > 0 && (!oldest_ || oldest_->sequence > empty_target_)) {
    empty_target_ = UINT64_MAX;
    empty_cv_.notify_all();
  }
}

int64_t Core::pending() {
  Lock lock(mutex_);
  return live_count_;
}

// ---- running --------------------------------------------------------------------------------------------------------

RunContext Core::context_of(Op* op, bool inline_run) {
  RunContext context;
  context.device = op->props.device;
  context.lane = op->props.lane;
  context.inline_run = inline_run;
  context.core_ = this;
  context.op_ = op;
  return context;
}

void Core::call(Op* op, RunContext& context) {
  ObservedRun observed(op->props.name, op->props.lane, context.inline_run);
  if (op->run_async)
    op->run_async(context, Done(this, op));
  else
    op->run(context);
}

// Runs a ready operation on this thread. The lock is free at the call and held afterwards.
void Core::execute(Op* op, Lock& lock) {
  if (find_input_error(op)) return complete(op, nullptr, lock);
  ThreadState& state = thread_state();
  const ThreadState saved = state;
  op->outer = std::exchange(state.op, op);
  state.in_compute_op = op->props.lane == Lane::compute;
  const bool async = static_cast<bool>(op->run_async);
  op->unfinished.store(2, std::memory_order_relaxed);
  RunContext context = context_of(op, false);
  std::exception_ptr error;
  try {
    call(op, context);
  } catch (...) {
    error = std::current_exception();
  }
  state = saved;
  if (!async) return complete(op, std::move(error), lock);
  op->thrown = std::move(error);
  if (op->unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    complete(op, nullptr, lock);
  } else {
    lock.lock();
  }
}

void Core::finish_async(Op* op, std::exception_ptr error, bool dropped) {
  op->reported = std::move(error);
  op->dropped = dropped;
  const bool on_caller = op->on_caller;
  if (op->unfinished.fetch_sub(1, std::memory_order_acq_rel) != 1) {
    return;
  }
  if (on_caller) {
    op->unfinished.notify_all();
    return;
  }
  Lock lock(mutex_, std::defer_lock);
  complete(op, nullptr, lock);
}

// The lock is free at the call and held afterwards. What `op` captured is released before `op` stops counting as live.
void Core::complete(Op* op, std::exception_ptr error, Lock& lock) {
  if (op->abandoned) return lock.lock();
  settle_errors(op, std::move(error));
  Wake wake;
  lock.lock();
  for (Dep& dep : op->deps()) retire(dep, wake);
  start_threads(wake);
  lock.unlock();
  wake_threads(wake);
  op->run.reset();
  op->run_async.reset();
  op->inherited.reset();
  lock.lock();
  unlink(op);
  recycle(op);
}

void Core::recycle(Op* op) {
  op->many_deps.reset();
  op->thrown = op->reported = nullptr;
  op->dropped = false;
  op->on_caller = false;
  op->next = free_ops_;
  free_ops_ = op;
}

void Core::release_early(Op* op, Var& var) {
  const std::span<Dep> deps = op->deps();
  const auto dep = std::find_if(deps.begin(), deps.end(), [&](const Dep& d) { return d.var == &var && d.write; });
  if (dep == deps.end()) return;
  if (op->on_caller) {
    if (!std::exchange(dep->retired, true)) var.unclaim_write();
    return;
  }
  Wake wake;
  {
    Lock lock(mutex_);
    retire(*dep, wake);
    start_threads(wake);
  }
  wake_threads(wake);
}

// ---- without the queue
// ------------------------------------------------------------------------------------------------

// The variables are claimed in the order of their addresses, so that two callers never wait for each other in a circle.
void Core::run_on_caller(Op* op) {
  const std::span<Dep> deps = op->deps();
  std::sort(deps.begin(), deps.end(), [](const Dep& a, const Dep& b) { return std::less<>()(a.var, b.var); });
  for (const Dep& dep : deps) {
    while (!dep.var->try_claim_despite_error(dep.write)) std::this_thread::yield();
  }
  std::exception_ptr error;
  if (!find_input_error(op)) {
    ThreadState& state = thread_state();
    const ThreadState saved = state;
    op->outer = std::exchange(state.op, op);
    state.in_compute_op = op->props.lane == Lane::compute;
    op->on_caller = true;
    const bool async = static_cast<bool>(op->run_async);
    op->unfinished.store(2, std::memory_order_relaxed);
    RunContext context = context_of(op, true);
    try {
      call(op, context);
    } catch (...) {
      error = std::current_exception();
    }
    state = saved;
    if (async) {
      op->thrown = std::move(error);
      for (int left = op->unfinished.fetch_sub(1, std::memory_order_acq_rel) - 1; left != 0;) {
        op->unfinished.wait(left, std::memory_order_acquire);
        left = op->unfinished.load(std::memory_order_acquire);
      }
    }
  }
  settle_errors(op, std::move(error));
  for (const Dep& dep : deps) {
    if (dep.retired) continue;
    if (dep.write)
      dep.var->unclaim_write();
    else
      dep.var->unclaim_read();
  }
  op->run.reset();
  op->run_async.reset();
  op->inherited.reset();
  Lock lock(mutex_);
  recycle(op);
}

}  // namespace mxnet::engine_detail
