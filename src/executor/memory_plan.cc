// SPDX-License-Identifier: Apache-2.0
#include "executor/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace mxnet {

size_t plan_memory(std::span<PlannedBlock> blocks) {
  constexpr size_t kAlign = 64;
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });

  const auto rounded = [](size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; };
  std::vector<size_t> placed;  // by offset
  size_t arena = 0;
  for (const size_t index : order) {
    PlannedBlock& block = blocks[index];
    size_t offset = 0;
    for (const size_t other_index : placed) {
      const PlannedBlock& other = blocks[other_index];
      if (other.last < block.first || block.last < other.first) continue;
      if (offset + rounded(block.bytes) <= other.offset) break;
      offset = std::max(offset, other.offset + rounded(other.bytes));
    }
    block.offset = offset;
    arena = std::max(arena, offset + rounded(block.bytes));
    const auto at = std::upper_bound(placed.begin(), placed.end(), offset,
                                     [&](size_t value, size_t p) { return value < blocks[p].offset; });
    placed.insert(at, index);
  }
  return arena;
}

}  // namespace mxnet
