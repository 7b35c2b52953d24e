// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.h"

#include <cstdlib>

#include "base/env.h"
#include "base/fork.h"
#include "base/observe.h"
#include "engine/core.h"

namespace mxnet {

using engine_detail::Core;
using engine_detail::Op;
using engine_detail::thread_state;

std::atomic<const Observer*> engine_observer{nullptr};
std::atomic<int64_t> Engine::deferred_count_{0};

namespace {

struct Deferred {
  std::mutex mutex;
  std::vector<UniqueFunction<void()>> list;
};

Deferred& deferred() {
  static auto* instance = new Deferred;  // never destroyed: arrays may die during exit
  return *instance;
}

Core* global_core = nullptr;  // for the fork handlers, which take no argument

}  // namespace

Var::~Var() = default;

void RunContext::release(Var& var) {
  if (core_) core_->release_early(op_, var);
}

Done::~Done() {
  if (op_) core_->finish_async(op_, nullptr, true);
}

void Done::operator()(std::exception_ptr error) {
  if (op_) core_->finish_async(std::exchange(op_, nullptr), std::move(error), false);
}

Engine::Options Engine::Options::from_settings() {
  const env::Settings& s = env::settings();
  Options options;
  options.naive = s.naive_engine || s.debug.force_inline;
  options.force_queue = s.debug.force_queue;
  options.run_ahead_ops = s.run_ahead_ops;
  options.run_ahead_bytes = s.run_ahead_bytes;
  return options;
}

Engine& Engine::get() {
  static Engine* instance = [] {
    auto* engine = new Engine(Options::from_settings());
    global_core = engine->core_.get();
    register_fork_handlers({kForkEngine, [] { global_core->before_fork(); },
                            [] { global_core->after_fork_in_parent(); }, [] { global_core->after_fork_in_child(); }});
    register_fork_handlers({kForkOther, [] { deferred().mutex.lock(); }, [] { deferred().mutex.unlock(); },
                            [] { deferred().mutex.unlock(); }});
    std::atexit([] { get().shutdown(); });
    return engine;
  }();
  return *instance;
}

Engine::Engine(const Options& options)
    : inline_allowed_(!options.force_queue), naive_(options.naive), core_(std::make_unique<Core>(options)) {}

Engine::~Engine() = default;

void Engine::lift_bound(int by) { core_->lift_bound(by); }

void Engine::push(UniqueFunction<void(RunContext&)> fn, std::span<Var* const> reads, std::span<Var* const> writes,
                  const OpProps& props) {
  Op* op = core_->make_op(reads, writes, props);
  op->run = std::move(fn);
  core_->submit(op);
}

void Engine::push_async(UniqueFunction<void(RunContext&, Done)> fn, std::span<Var* const> reads,
                        std::span<Var* const> writes, const OpProps& props) {
  Op* op = core_->make_op(reads, writes, props);
  op->run_async = std::move(fn);
  core_->submit(op);
}

void Engine::mark_error(Var* const* writes, size_t nw, std::exception_ptr error) {
  core_->mark({writes, nw}, std::move(error));
}

bool Engine::retry_after_error(Var* const* list, size_t n) { return core_->forget_told_errors(list, n); }

void Engine::wait_slow(Var& var, bool for_writing) {
  const observe::Span span(observe::kCalls, [] { return observe::call("wait_to_read"); });
  core_->wait_for(var, for_writing);
}

void Engine::wait_all() {
  const observe::Span span(observe::kCalls, [] { return observe::call("waitall"); });
  core_->wait_until_empty(true);
  core_->deliver_oldest();
}

void Engine::quiesce() { core_->wait_until_empty(false); }

void Engine::throw_if_error(Var& var) { core_->deliver(var); }

void Engine::set_wait_hook(bool (*hook)()) { core_->wait_hook = hook; }

void Engine::set_sleep_hooks(void* (*enter)(), void (*leave)(void*)) {
  core_->enter_sleep = enter;
  core_->leave_sleep = leave;
}

bool Engine::on_worker() { return thread_state().worker; }
bool Engine::on_compute_worker() { return thread_state().compute_worker; }
bool Engine::caller_is_busy() { return engine_detail::caller_is_busy(); }
int64_t Engine::pending() const { return core_->pending(); }
void Engine::shutdown() { core_->shutdown(); }

void Engine::defer_release(UniqueFunction<void()> fn) {
  Deferred& d = deferred();
  std::lock_guard lock(d.mutex);
  d.list.push_back(std::move(fn));
  deferred_count_.store(static_cast<int64_t>(d.list.size()), std::memory_order_release);
}

void Engine::run_deferred() {
  std::vector<UniqueFunction<void()>> list;
  {
    Deferred& d = deferred();
    std::lock_guard lock(d.mutex);
    list.swap(d.list);
    deferred_count_.store(0, std::memory_order_release);
  }
  for (UniqueFunction<void()>& release : list) release();
}

}  // namespace mxnet
