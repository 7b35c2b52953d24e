// SPDX-License-Identifier: Apache-2.0
// A schedule: prepared kernels in order, over one arena. Immutable once built; all pointers are found from a table of
// bases that each run brings, so parameters and buffers may move between runs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/observe.h"
#include "operator/kernel.h"
#include "symbol/infer.h"
#include "symbol/node.h"

namespace mxnet {

// Address = bases[base] + offset.
struct Location {
  int base = -1;
  int64_t offset = 0;
};
inline constexpr int kArenaBase = 0;     // memory of one run
inline constexpr int kFrameBase = 1;     // memory that lives from a forward to its backward
inline constexpr int kConstantBase = 2;  // what the prologue made
inline constexpr int kFirstSlot = 3;     // arrays

struct PlanStep {
  std::unique_ptr<Kernel> kernel;
  Ref<Params> params;
  std::string name;      // of the node, for errors
  observe::Label about;  // for who watches
  observe::LabelSlot label;
  const OpDef* op = nullptr;  // null: a copy, fill, sum or reorder of the plan's own
  std::vector<Location> in, out;
  int64_t scratch_offset = 0;  // in the arena
  bool alone = false;          // too small for a team
  uint64_t random_offset = 0;
  std::vector<Location> dead;  // arena blocks whose last use this is, and ...
  std::vector<size_t> dead_bytes;
};

struct SavedEntry {
  Entry entry;
  int64_t offset = 0;  // in the frame
  TensorSpec spec;
};

class Schedule {
 public:
  // bases[kArenaBase] is set by the run itself.
  void run(std::span<void*> bases, const random::Stream& stream) const;

  observe::Label about;  // the whole, for who watches
  observe::LabelSlot label;
  std::vector<PlanStep> steps;
  size_t arena_bytes = 0;
  size_t value_bytes = 0;  // that the arena would have without the kernels' scratch memory
  size_t frame_bytes = 0;
  int64_t cost_ns = 0;
  uint64_t random_draws = 0;
  bool team_matters = false;
  std::vector<SavedEntry> saved;
  std::vector<bool> uses_base;  // which bases are read or written
  // Steps that read unchanging sources alone, taken out: their results, in kConstantBase, serve many runs. Null if
  // there are none.
  std::unique_ptr<Schedule> prologue;
  size_t constant_bytes = 0;
};

struct ScheduleSource {
  Entry entry;
  Location at;
  TensorSpec spec;          // layout: as it lies in memory
  bool unchanging = false;  // the same contents at many runs
};

struct ScheduleTarget {
  Entry entry;
  Location at;
  Req req = Req::write;
  bool any_layout = false;  // the result may be channels-last; `layout` says so afterwards
  Layout layout = Layout::plain;
  StorageType storage = StorageType::dense;
};

struct ScheduleRequest {
  std::span<const ScheduleSource> sources;
  std::span<ScheduleTarget> targets;
  std::span<const Entry> save;  // keep these in the frame
  const GraphSpecs& specs;      // shapes and dtypes of everything
  int num_bases = kFirstSlot;
  bool training = false;
  int team = 1;
  int64_t team_cost = Kernel::kTeamCost;  // steps below it run on one thread
  bool fuse = true;
};

// Schedules what the targets and saved entries need and the sources do not give.
Schedule build_schedule(const ScheduleRequest& request);

}  // namespace mxnet
