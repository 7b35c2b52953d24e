// SPDX-License-Identifier: Apache-2.0
// The replay of a schedule.
#include <cstring>

#include "backend/cpu/parallel.h"
#include "base/env.h"
#include "base/observe.h"
#include "base/small_array.h"
#include "executor/schedule.h"
#include "resource/scratch.h"

namespace mxnet {

namespace {

void* address(std::span<void* const> bases, const Location& at) {
  return at.base < 0 ? nullptr : static_cast<char*>(bases[static_cast<size_t>(at.base)]) + at.offset;
}

constexpr int kNaNByte = 0xFF;

// What nobody described is still told by something.
observe::Label named(observe::Label about, const std::string& nodes) {
  if (about.name.empty()) about = {"graph", "preparation", nodes, "", "", ""};
  return about;
}

void run_step(const PlanStep& step, std::span<void* const> bases, const random::Stream& stream) {
  const observe::Span span(observe::kPlans, [&]() -> const observe::Label& {
    return step.label.get([&] { return named(step.about, step.name); });
  });
  SmallArray<void*, 24> pointers(step.in.size() + step.out.size());
  size_t n = 0;
  for (const Location& at : step.in) pointers[n++] = address(bases, at);
  for (const Location& at : step.out) pointers[n++] = address(bases, at);
  random::Stream own = stream;
  own.base += step.random_offset;
  void* scratch = static_cast<char*>(bases[kArenaBase]) + step.scratch_offset;
  const KernelCall call{pointers.data(), pointers.data() + step.in.size(), step.params.get(), own, scratch};
  if (step.alone && cpu::team_size() > 1) {
    const cpu::TeamScope one(1);
    step.kernel->run(call);
  } else {
    step.kernel->run(call);
  }
  for (size_t i = 0; i < step.dead.size(); ++i) std::memset(address(bases, step.dead[i]), kNaNByte, step.dead_bytes[i]);
}

}  // namespace

void Schedule::run(std::span<void*> bases, const random::Stream& stream) const {
  const auto get_label = [this]() -> const observe::Label& { return label.get([this] { return named(about, {}); }); };
  const observe::Span span(observe::kPlans, get_label);
  Scratch scratch;
  bases[kArenaBase] = scratch.bytes(arena_bytes);
  if (env::settings().debug.poison) std::memset(bases[kArenaBase], kNaNByte, arena_bytes);
  const PlanStep* current = nullptr;
  try {
    for (const PlanStep& step : steps) {
      current = &step;
      run_step(step, bases, stream);
    }
  } catch (const Error& e) {
    fail(e.kind(), "node ", current->name, current->op ? " (" + current->op->name + ")" : "", ": ", e.what());
  }
}

}  // namespace mxnet
