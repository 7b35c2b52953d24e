// SPDX-License-Identifier: Apache-2.0
#include "profiler/profiler.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "base/fork.h"
#include "base/observe.h"
#include "engine/engine.h"
#include "profiler/json.h"
#include "storage/storage.h"

namespace mxnet::profiler {
namespace {

struct Sum {
  int64_t count = 0, total = 0, min = INT64_MAX, max = INT64_MIN;
  bool is_counter = false;

  void add(int64_t value) {
    ++count;
    total += value;
    min = std::min(min, value);
    max = std::max(max, value);
  }
  void merge(const Sum& other) {
    count += other.count;
    total += other.total;
    min = std::min(min, other.min);
    max = std::max(max, other.max);
    is_counter |= other.is_counter;
  }
};

// What one thread has recorded. Its lock is taken by others only while they collect.
struct Log {
  explicit Log(std::string thread) : tid(gettid()), thread_name(std::move(thread)) {}
  std::mutex mutex;
  const pid_t tid;
  const std::string thread_name;
  bool introduced = false;
  std::vector<Event> events;
  std::unordered_map<const observe::Label*, Sum> sums;
};

struct State {
  std::mutex mutex;  // guards what follows; taken before a log's
  Config config;
  std::vector<std::shared_ptr<Log>> logs;
  bool introduced = false;  // the process, in the trace

  std::atomic<bool> running{false};
  std::atomic<int64_t> max_events{Config{}.max_events};
  std::atomic<int64_t> held{0};
  std::atomic<int64_t> dropped{0};
  std::atomic<bool> memory{false};
  std::atomic<int64_t> last_in_use{-1}, last_peak{-1};

  static State& get();
};

std::string thread_name() {
  if (Engine::on_compute_worker()) return "compute worker";
  if (Engine::on_worker()) return "host worker";
  return gettid() == getpid() ? "main" : "caller";
}

Log& own_log() {
  thread_local std::shared_ptr<Log> log;
  if (!log || log->tid != gettid()) [[unlikely]] {  // another id: the main thread of a child
    log = std::make_shared<Log>(thread_name());
    State& state = State::get();
    const std::lock_guard lock(state.mutex);
    state.logs.push_back(log);
  }
  return *log;
}

void keep(const Event& event) {
  State& state = State::get();
  Log& log = own_log();
  const bool fits = state.held.load(std::memory_order_relaxed) < state.max_events.load(std::memory_order_relaxed);
  const std::lock_guard lock(log.mutex);
  Sum& sum = log.sums[event.label];
  sum.is_counter = event.kind == Kind::counter;
  sum.add(event.kind == Kind::counter ? event.end : event.kind == Kind::instant ? 0 : event.end - event.begin);
  if (!fits) {
    state.dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  state.held.fetch_add(1, std::memory_order_relaxed);
  log.events.push_back(event);
}

// ---- memory ---------------------------------------------------------------------------------------------------------

void sample(std::atomic<int64_t>& last, int64_t value, const observe::Label& label, int64_t now) {
  if (last.exchange(value, std::memory_order_relaxed) != value) keep({&label, nullptr, now, value, Kind::counter});
}

void sample_memory(int64_t now) {
  static const observe::Label& in_use = observe::intern({"Device Storage", "Memory: cpu/0", "", "", "", ""});
  static const observe::Label& peak = observe::intern({"Device Storage", "Peak memory: cpu/0", "", "", "", ""});
  const storage::Stats stats = storage::stats({});
  State& state = State::get();
  sample(state.last_in_use, stats.in_use, in_use, now);
  sample(state.last_peak, stats.peak, peak, now);
}

// ---- listening ------------------------------------------------------------------------------------------------------

thread_local int64_t heard = 0;  // spans of this thread, so that the engine's own name for work is a last resort

void on_span(const observe::Label& label, const char* scope, int64_t begin, int64_t end) {
  ++heard;
  if (!running()) return;
  keep({&label, scope, begin, end, Kind::span});
  if (State::get().memory.load(std::memory_order_relaxed)) sample_memory(end);
}

// Work of the engine that is neither an operator's nor a plan's: copies, fills, callbacks, input and output.
struct EngineRun {
  int64_t begin;
  int64_t heard_before;
};
thread_local std::vector<EngineRun> engine_runs;

void on_engine_begin(const char*, Lane, bool) { engine_runs.push_back({observe::now_ns(), heard}); }

void on_engine_end(const char* name, Lane, bool) {
  if (engine_runs.empty()) return;  // began before anybody listened
  const EngineRun run = engine_runs.back();
  engine_runs.pop_back();
  if (heard != run.heard_before || !running()) return;
  const std::string text = name;
  const bool reorder = text == "relayout";
  on_span(observe::intern({reorder ? "reorder" : "operator", reorder ? "reorder" : text, "", "", "", ""}),
          observe::scope(), run.begin, observe::now_ns());
}

const Observer engine_listener{on_engine_begin, on_engine_end};

// With the state's lock held.
void listen(const State& state, bool on) {
  observe::listen(on_span, on ? state.config.channels : 0);
  const bool engine = on && (state.config.channels & observe::kOperators);
  engine_observer.store(engine ? &engine_listener : nullptr, std::memory_order_release);
}

// ---- fork -----------------------------------------------------------------------------------------------------------

void introduce_again(State& state) {
  state.introduced = false;
  for (const auto& log : state.logs) log->introduced = false;
}

void clear(State& state) {
  introduce_again(state);
  for (const auto& log : state.logs) {
    log->events.clear();
    log->sums.clear();
  }
  state.held = state.dropped = 0;
  state.last_in_use = state.last_peak = -1;
}

void lock_all() {
  State& state = State::get();
  state.mutex.lock();
  for (const auto& log : state.logs) log->mutex.lock();
}

void unlock_all() {
  State& state = State::get();
  for (const auto& log : state.logs) log->mutex.unlock();
  state.mutex.unlock();
}

void start_child() {
  State& state = State::get();
  state.running = false;
  listen(state, false);
  clear(state);
  for (const auto& log : state.logs) log->mutex.unlock();
  state.logs.clear();  // of threads that do not exist here
  state.mutex.unlock();
}

State& State::get() {
  static State* instance = [] {  // never destroyed: workers outlive static objects
    auto* state = new State;
    register_fork_handlers({kForkOther, lock_all, unlock_all, start_child});
    return state;
  }();
  return *instance;
}

void set_running(bool on) {
  Engine::get().quiesce();
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  state.running = on;
  listen(state, on);
}

}  // namespace

void configure(const Config& config) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  state.config = config;
  state.max_events = config.max_events;
  state.memory = config.memory;
  if (state.running) listen(state, true);
}

void start() { set_running(true); }
void stop() { set_running(false); }
bool running() { return State::get().running.load(std::memory_order_relaxed); }

void record(Kind kind, const std::string& category, const std::string& name, int64_t begin, int64_t end) {
  if (!running()) return;
  const observe::Label& label = observe::intern({category, name, "", "", "", ""});
  keep({&label, observe::scope(), begin, end, kind});
}

std::string take_events(bool anew) {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  if (anew) introduce_again(state);
  EventWriter writer(getpid());
  if (!std::exchange(state.introduced, true)) writer.introduce_process();
  std::vector<std::pair<Event, pid_t>> all;
  for (const auto& log : state.logs) {
    const std::lock_guard log_lock(log->mutex);
    if (log->events.empty()) continue;
    if (!std::exchange(log->introduced, true)) writer.introduce_thread(log->tid, log->thread_name);
    for (const Event& event : log->events) all.emplace_back(event, log->tid);
    state.held -= static_cast<int64_t>(log->events.size());
    log->events.clear();
  }
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    if (a.first.begin != b.first.begin) return a.first.begin < b.first.begin;
    const bool spans = a.first.kind == Kind::span && b.first.kind == Kind::span;
    return spans && a.first.end > b.first.end;
  });
  for (const auto& [event, tid] : all) writer.write(event, tid);
  return writer.take();
}

std::vector<Row> sums() {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  std::unordered_map<const observe::Label*, Sum> all;
  for (const auto& log : state.logs) {
    const std::lock_guard log_lock(log->mutex);
    for (const auto& [label, sum] : log->sums) all[label].merge(sum);
  }
  std::vector<Row> rows;
  for (const auto& [label, s] : all) rows.push_back({label, s.is_counter, s.count, s.total, s.min, s.max});
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.label->id < b.label->id; });
  return rows;
}

int64_t dropped() { return State::get().dropped.load(std::memory_order_relaxed); }

void reset_sums() {
  State& state = State::get();
  const std::lock_guard lock(state.mutex);
  for (const auto& log : state.logs) {
    const std::lock_guard log_lock(log->mutex);
    log->sums.clear();
  }
}

void reset() {
  lock_all();
  clear(State::get());
  unlock_all();
}

}  // namespace mxnet::profiler
