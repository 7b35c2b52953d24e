// SPDX-License-Identifier: Apache-2.0
#include "executor/constants.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

namespace mxnet {

namespace {

constexpr size_t kWords = 3;

void write_words(const NDArray& array, uint64_t* words) {
  Chunk& chunk = *array.chunk();
  words[0] = chunk.identity();
  words[1] = chunk.version.load(std::memory_order_acquire);
  words[2] = static_cast<uint64_t>(array.byte_offset());
}

char* mark_of(const NDArray& memory) { return static_cast<char*>(memory.data()) + memory.bytes() - kMarkBytes; }

bool is_made(const NDArray& memory) {
  return std::atomic_ref<char>(*mark_of(memory)).load(std::memory_order_acquire) != 0;
}

// Made, or queued to be. Raises the error of a prologue that failed, unless somebody was told.
bool is_usable(const NDArray& memory) {
  if (is_made(memory)) return true;
  Engine::get().throw_if_error(memory.var());
  const bool queued = !memory.var().readable_now();
  return queued || is_made(memory);
}

}  // namespace

void mark_constants_made(void* memory, size_t bytes) {
  std::atomic_ref<char>(static_cast<char*>(memory)[bytes]).store(1, std::memory_order_release);
}

bool Constants::matches(std::span<const NDArray* const> inputs) const {
  if (key_.empty() && !slots_.empty()) return false;
  for (size_t k = 0; k < slots_.size(); ++k) {
    uint64_t words[kWords];
    write_words(*inputs[slots_[k]], words);
    if (!std::equal(words, words + kWords, key_.data() + k * kWords)) return false;
  }
  return true;
}

Constants::Lookup Constants::find(std::span<const NDArray* const> inputs, Device device) {
  Lookup result;
  result.keep =
      std::all_of(slots_.begin(), slots_.end(), [&](size_t slot) { return inputs[slot]->chunk()->sees_all_writes(); });
  {
    const std::lock_guard lock(mutex_);
    if (!kept_.is_none() && result.keep && kept_.device() == device && matches(inputs) && is_usable(kept_)) {
      result.memory = kept_;
      result.valid = true;
      return result;
    }
    result.memory = std::exchange(kept_, NDArray());
  }
  result.key.resize(kWords * slots_.size());
  for (size_t k = 0; k < slots_.size(); ++k) write_words(*inputs[slots_[k]], result.key.data() + k * kWords);
  const bool own = !result.memory.is_none() && result.memory.chunk()->unique() && result.memory.device() == device;
  if (!own) result.memory = NDArray::empty(Shape{static_cast<dim_t>(bytes_ + kMarkBytes)}, DType::u8, device);
  *mark_of(result.memory) = 0;
  return result;
}

void Constants::store(Lookup made) {
  if (!made.keep) return;
  const std::lock_guard lock(mutex_);
  kept_ = std::move(made.memory);
  key_ = std::move(made.key);
}

}  // namespace mxnet
