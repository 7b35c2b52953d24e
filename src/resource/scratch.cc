// SPDX-License-Identifier: Apache-2.0
#include "resource/scratch.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "storage/sanitize.h"

namespace mxnet {
namespace {

constexpr size_t kSmallest = 64 << 10;

// Blocks are filled one after the other. When the outermost scope ends and more than one was needed, one block of
// their joint size takes their place: the next run of the same kernel finds room for all.
struct Arena {
  std::vector<storage::Block> blocks;
  size_t current = 0;  // the block that is being filled
  size_t used = 0;     // of that block
  int scopes = 0;

  ~Arena() { clear(); }

  void* take(size_t n) {
    n = std::min(n, SIZE_MAX - storage::kAlignment);  // rounding must not wrap: storage refuses such a size
    n = std::max(storage::kAlignment, (n + storage::kAlignment - 1) / storage::kAlignment * storage::kAlignment);
    if (current == blocks.size() || blocks[current].capacity - used < n) next_block(n);
    void* data = static_cast<char*>(blocks[current].data) + used;
    used += n;
    storage::limit_use(blocks[current], used);
    return data;
  }
  void next_block(size_t n) {
    const size_t next = std::min(current + (used > 0 ? 1 : 0), blocks.size());
    if (next < blocks.size() && blocks[next].capacity < n) drop_from(next);
    if (next == blocks.size()) blocks.push_back(storage::allocate(std::max(n, kSmallest), Device{}));
    current = next;
    used = 0;
  }
  void join() {
    const size_t total = capacity();
    clear();
    blocks.push_back(storage::allocate(total, Device{}));
  }
  size_t capacity() const {
    size_t total = 0;
    for (const storage::Block& block : blocks) total += block.capacity;
    return total;
  }
  void drop_from(size_t first) {
    for (size_t i = first; i < blocks.size(); ++i) storage::release(blocks[i]);
    blocks.resize(first);
  }
  void clear() {
    drop_from(0);
    current = used = 0;
  }
};

Arena& arena() {
  static thread_local Arena instance;
  return instance;
}

}  // namespace

Scratch::Scratch() {
  Arena& a = arena();
  saved_block_ = a.current;
  saved_used_ = a.used;
  ++a.scopes;
}

Scratch::~Scratch() {
  Arena& a = arena();
  a.current = saved_block_;
  a.used = saved_used_;
  if (--a.scopes > 0 || a.blocks.size() < 2) return;
  try {
    a.join();
  } catch (const Error&) {  // no room for it now: start from nothing next time
    a.clear();
  }
}

void* Scratch::bytes(size_t n) { return arena().take(n); }

size_t scratch_capacity() { return arena().capacity(); }

void release_scratch() {
  if (arena().scopes > 0) fail("release_scratch: scratch memory is in use on this thread");
  arena().clear();
}

}  // namespace mxnet
