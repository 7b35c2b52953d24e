// SPDX-License-Identifier: Apache-2.0
#include "executor/launch.h"

#include <vector>

#include "base/env.h"
#include "base/observe.h"
#include "executor/plan.h"

namespace mxnet {

// Each base is bound once, as something read, written, or both.
Launch::Launch(Plan& owner, const Schedule& schedule, int num_bases)
    : owner_(owner),
      schedule_(schedule),
      bases_(static_cast<size_t>(num_bases)),
      chunks_(static_cast<size_t>(num_bases)),
      reads_(static_cast<size_t>(num_bases)),
      writes_(static_cast<size_t>(num_bases)),
      written_(static_cast<size_t>(num_bases)) {}

void Launch::bind(int base, const NDArray& array) {
  bases_[static_cast<size_t>(base)] = array.data();
  chunks_[num_chunks_++] = array.chunk().get();
}

void Launch::read(int base, const NDArray& array) {
  bind(base, array);
  add_read(array);
}

void Launch::write(int base, const NDArray& array) {
  // A part of a chunk: errors in the rest stay.
  if (!array.covers_chunk()) return update(base, array);
  bind(base, array);
  written_[num_written_++] = array.chunk().get();
  writes_[num_writes_++] = &array.var();
}

void Launch::update(int base, const NDArray& array) {
  bind(base, array);
  written_[num_written_++] = array.chunk().get();
  writes_[num_writes_++] = &array.var();
  add_read(array);
}

// Versions move after the push: whoever sees the new one, on any thread, also reads after the write.
void Launch::go(const random::Stream& stream, Device device) {
  if (schedule_.cost_ns >= env::settings().inline_ns || !run_inline(stream)) queue(stream, device);
  for (size_t i = 0; i < num_written_; ++i) written_[i]->bump_version();
}

bool Launch::run_inline(const random::Stream& stream) {
  Engine& engine = Engine::get();
  if (!engine.try_begin_inline(reads_.data(), num_reads_, writes_.data(), num_writes_)) return false;
  try {
    schedule_.run(bases_, stream);
  } catch (...) {
    engine.mark_error(writes_.data(), num_writes_, std::current_exception());
  }
  engine.end_inline(reads_.data(), num_reads_, writes_.data(), num_writes_);
  return true;
}

void Launch::queue(const random::Stream& stream, Device device) {
  OpProps props;
  props.name = "graph";
  props.cost_ns = schedule_.cost_ns;
  props.device = device;
  std::vector<Ref<Chunk>> keep;
  keep.reserve(num_chunks_);
  for (size_t i = 0; i < num_chunks_; ++i) {
    keep.emplace_back(chunks_[i]);
    props.bytes += static_cast<int64_t>(chunks_[i]->bytes);
  }
  auto body = [owner = Ref<Plan>(&owner_), &schedule = schedule_,
               bases = std::vector<void*>(bases_.begin(), bases_.end()), keep = std::move(keep),
               scope = observe::on(observe::kPlans) ? observe::scope() : nullptr, stream](RunContext&) mutable {
    const observe::InScope in_scope(scope);
    schedule.run(bases, stream);
  };
  Engine::get().push(std::move(body), reads(), writes(), props);
}

}  // namespace mxnet
