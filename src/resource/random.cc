// SPDX-License-Identifier: Apache-2.0
#include "resource/random.h"

#include <map>
#include <mutex>
#include <random>

#include "base/fork.h"

namespace mxnet::random {
namespace {

// Mixes a seed and a device into a key (the finalizer of SplitMix64, twice).
uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

Key key_of(uint64_t seed, Device device) {
  // Pinned and shared memory belong to the CPU of the same number.
  const uint64_t type = device.is_cpu() ? static_cast<uint64_t>(DeviceType::cpu) : static_cast<uint64_t>(device.type);
  const uint64_t k = mix(mix(seed) ^ (type << 32 | static_cast<uint32_t>(device.id)));
  return {static_cast<uint32_t>(k), static_cast<uint32_t>(k >> 32)};
}

using Place = std::pair<bool, int32_t>;
Place place_of(Device device) { return {device.is_cpu(), device.id}; }

struct Generators {
  std::mutex mutex;
  uint64_t seed = std::random_device{}();
  std::map<Place, Stream> streams;
};

Generators& generators() {
  static auto* instance = [] {
    auto* made = new Generators;
    register_fork_handlers({kForkOther, [] { generators().mutex.lock(); }, [] { generators().mutex.unlock(); },
                            [] { generators().mutex.unlock(); }});
    return made;
  }();
  return *instance;
}

}  // namespace

void seed(uint64_t seed) {
  Generators& g = generators();
  std::lock_guard lock(g.mutex);
  g.seed = seed;
  g.streams.clear();
}

void seed(uint64_t seed, Device device) {
  Generators& g = generators();
  std::lock_guard lock(g.mutex);
  g.streams[place_of(device)] = {key_of(seed, device), 0};
}

Stream reserve(Device device, uint64_t n) {
  Generators& g = generators();
  std::lock_guard lock(g.mutex);
  const auto [at, fresh] = g.streams.try_emplace(place_of(device));
  if (fresh) at->second = {key_of(g.seed, device), 0};
  const Stream reserved = at->second;
  at->second.base += n;
  return reserved;
}

}  // namespace mxnet::random
