// SPDX-License-Identifier: Apache-2.0
// Places blocks with known lifetimes in one arena, so that blocks which live at the same time never overlap.
#pragma once

#include <cstddef>
#include <span>

namespace mxnet {

struct PlannedBlock {
  size_t bytes = 0;
  int first = 0, last = 0;  // steps, inclusive
  size_t offset = 0;        // the result, 64-byte aligned
};

// Sets the offsets; returns the size of the arena. Large blocks first, each at the lowest place that is free.
size_t plan_memory(std::span<PlannedBlock> blocks);

}  // namespace mxnet
