// SPDX-License-Identifier: Apache-2.0
#include "executor/launch.h"

#include <mutex>

#include "base/env.h"
#include "executor/plan.h"

namespace mxnet {

namespace {

// Records of finished runs; their vectors keep their memory. Never destroyed: workers may outlive static objects.
class RecordPool {
 public:
  static RecordPool& get() {
    static auto* pool = new RecordPool;
    return *pool;
  }
  std::unique_ptr<LaunchRecord> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<LaunchRecord>();
    auto record = std::move(free_.back());
    free_.pop_back();
    return record;
  }
  void give(std::unique_ptr<LaunchRecord> record) {
    record->keep.clear();
    record->reads.clear();
    record->writes.clear();
    record->owner.reset();
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(record));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<LaunchRecord>> free_;
};

// Gives the record back when the engine drops the operation, whether it ran or not.
struct Returned {
  explicit Returned(std::unique_ptr<LaunchRecord> r) : record(std::move(r)) {}
  Returned(Returned&&) noexcept = default;
  ~Returned() {
    if (record) RecordPool::get().give(std::move(record));
  }
  std::unique_ptr<LaunchRecord> record;
};

}  // namespace

Launch::Launch(Ref<Plan> owner, const Schedule& schedule, int num_bases) : record_(RecordPool::get().take()) {
  record_->owner = std::move(owner);
  record_->schedule = &schedule;
  record_->bases.assign(static_cast<size_t>(num_bases), nullptr);
}

Launch::~Launch() {
  if (record_) RecordPool::get().give(std::move(record_));
}

void Launch::bind(int base, const NDArray& array) {
  record_->bases[static_cast<size_t>(base)] = array.data();
  record_->keep.push_back(array.chunk());
}

void Launch::read(int base, const NDArray& array) {
  bind(base, array);
  record_->reads.push_back(&array.var());
}

void Launch::write(int base, const NDArray& array) {
  bind(base, array);
  array.chunk()->bump_version();
  record_->writes.push_back(&array.var());
  // A part of a chunk: errors in the rest stay.
  if (array.bytes() != array.chunk()->bytes) record_->reads.push_back(&array.var());
}

void Launch::update(int base, const NDArray& array) {
  write(base, array);
  record_->reads.push_back(&array.var());
}

void Launch::go(const random::Stream& stream, Device device) {
  LaunchRecord& r = *record_;
  r.stream = stream;
  Engine& engine = Engine::get();
  const bool small = r.schedule->cost_ns < env::settings().inline_ns;
  if (small && engine.try_begin_inline(r.reads.data(), r.reads.size(), r.writes.data(), r.writes.size())) {
    try {
      r.schedule->run(r.bases, r.stream);
    } catch (...) {
      engine.mark_error(r.writes.data(), r.writes.size(), std::current_exception());
    }
    engine.end_inline(r.reads.data(), r.reads.size(), r.writes.data(), r.writes.size());
    return;
  }
  OpProps props;
  props.name = "graph";
  props.cost_ns = r.schedule->cost_ns;
  props.device = device;
  for (const Ref<Chunk>& chunk : r.keep) props.bytes += static_cast<int64_t>(chunk->bytes);
  const std::span<Var* const> reads(r.reads), writes(r.writes);
  auto body = [held = Returned(std::move(record_))](RunContext&) {
    LaunchRecord& record = *held.record;
    record.schedule->run(record.bases, record.stream);
  };
  engine.push(std::move(body), reads, writes, props);
}

}  // namespace mxnet
