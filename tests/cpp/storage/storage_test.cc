// SPDX-License-Identifier: Apache-2.0
#include "storage/storage.h"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "storage/pool.h"

namespace mxnet::storage {
namespace {

// A device of the test's own: nobody else's memory disturbs the counts.
Device fresh_device() {
  static int next = 1000;
  return {DeviceType::cpu, next++};
}

std::string message_of(UniqueFunction<void()> f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

struct Held {
  Block block;
  unsigned char mark = 0;
};

// Writes its mark at both ends; a block that is handed out twice loses it.
Held hold(size_t bytes, Device device, unsigned char mark) {
  Held held{allocate(bytes, device), mark};
  CHECK(held.block.capacity >= bytes);
  CHECK(reinterpret_cast<uintptr_t>(held.block.data) % kAlignment == 0);
  auto* data = static_cast<unsigned char*>(held.block.data);
  data[0] = data[held.block.capacity - 1] = mark;
  return held;
}

void drop(const Held& held) {
  const auto* data = static_cast<const unsigned char*>(held.block.data);
  CHECK(data[0] == held.mark);
  CHECK(data[held.block.capacity - 1] == held.mark);
  release(held.block);
}

size_t random_size(std::mt19937_64& rng) {
  return static_cast<size_t>(rng() % (uint64_t{1} << (3 + rng() % 19)));  // up to 4 MiB, small ones often
}

}  // namespace

TEST_CASE("storage: size classes") {
  CHECK(class_bytes(0) == 64);
  for (int i = 0; i + 1 < kClasses; ++i) {
    CHECK(class_of(class_bytes(i)) == i);
    CHECK(class_of(class_bytes(i) + 1) == i + 1);
    CHECK(class_bytes(i) % kAlignment == 0);
    if (i >= 4) CHECK(class_bytes(i + 1) * 4 <= class_bytes(i) * 5);  // at most a quarter is wasted
  }
  CHECK(class_of(0) == 0);
}

TEST_CASE("storage: counts of one thread are exact") {
  for (const Device device : {fresh_device(), Device{DeviceType::cpu_pinned, 7}, Device{}}) {
    CAPTURE(device.str());
    trim();
    const uint64_t seed = std::random_device{}();
    CAPTURE(seed);
    std::mt19937_64 rng(seed);
    std::vector<Held> held;
    const Stats before = stats(device);
    int64_t in_use = before.in_use, calls = before.allocations;
    for (int i = 0; i < 5000; ++i) {
      if (held.empty() || rng() % 2) {
        held.push_back(hold(random_size(rng), device, static_cast<unsigned char>(rng())));
        in_use += static_cast<int64_t>(held.back().block.capacity);
        ++calls;
      } else {
        std::swap(held[rng() % held.size()], held.back());
        in_use -= static_cast<int64_t>(held.back().block.capacity);
        drop(held.back());
        held.pop_back();
      }
      if (i % 50 == 0) {
        const Stats now = stats(device);
        CHECK(now.in_use == in_use);
        CHECK(now.allocations == calls);
        CHECK(now.peak >= now.in_use);
      }
    }
    for (const Held& h : held) drop(h);
    CHECK(stats(device).in_use == before.in_use);
    CHECK(stats(device).cached > 0);
    trim();
    CHECK(stats(device).cached == before.cached);  // what threads of other tests still keep
  }
}

TEST_CASE("storage: blocks are made on one thread and released on another") {
  const int64_t before = stats(Device{}).in_use;
  std::mutex mutex;
  std::vector<Held> shared;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937_64 rng(t);
      for (int i = 0; i < 5000; ++i) {
        Held mine = hold(rng() % 20'000, Device{}, static_cast<unsigned char>(rng()));
        {
          std::lock_guard lock(mutex);
          shared.push_back(mine);
          std::swap(shared[rng() % shared.size()], shared.back());
          mine = shared.back();
          shared.pop_back();
        }
        if (rng() % 4 == 0) {
          std::lock_guard lock(mutex);
          shared.push_back(mine);
        } else {
          drop(mine);
        }
        if (i % 1000 == 0) trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Held& held : shared) drop(held);
  CHECK(stats(Device{}).in_use == before);
}

TEST_CASE("storage: in steady state no call goes to the system and no page is touched first") {
  const Device device = fresh_device();
  const auto step = [&] {
    std::vector<Block> blocks;
    for (const size_t bytes : {100u, 5000u, 70'000u, 300'000u, 3'000'000u, 9'000'000u}) {
      blocks.push_back(allocate(bytes, device));
      std::memset(blocks.back().data, 1, bytes);
    }
    for (const Block& block : blocks) release(block);
  };
  step();
  step();
  const int64_t calls = stats(device).system_allocations;
  rusage before, after;
  getrusage(RUSAGE_THREAD, &before);
  for (int i = 0; i < 10; ++i) step();
  getrusage(RUSAGE_THREAD, &after);
  CHECK(stats(device).system_allocations == calls);
  CHECK(after.ru_minflt - before.ru_minflt <= 10);
}

TEST_CASE("storage: the limit holds, the cache is tried first, and the error names the numbers") {
  const Device device = fresh_device();
  set_limit(device, 1 << 20);
  const Block a = allocate(512 << 10, device);
  release(a);  // half of the limit is cached now
  const Block b = allocate(1 << 20, device);
  CHECK(stats(device).in_use == 1 << 20);
  const std::string message = message_of([&] { allocate(100, device); });
  CHECK(message == device.str() +
                       ": out of memory: asked for 100 bytes; 1048576 bytes are in use, 0 are cached, "
                       "the limit is 1048576 bytes");
  try {
    allocate(100, device);
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::memory);
  }
  release(b);
  CHECK_NOTHROW(release(allocate(100, device)));
  set_limit(device, 0);
  CHECK(message_of([&] { allocate(SIZE_MAX, device); }).find("no limit is set") != std::string::npos);
  CHECK(message_of([&] { allocate(size_t{1} << 47, device); }).find("out of memory") != std::string::npos);
  CHECK(stats(device).in_use == 0);
  CHECK_THROWS_AS(set_limit(device, -1), Error);
}

TEST_CASE("storage: at the limit, queued work is waited for") {
  const Device device = fresh_device();
  set_limit(device, 1 << 20);
  Var var;
  Var* list[] = {&var};
  Engine::get().push(
      [block = allocate(1 << 20, device)](RunContext&) {
        usleep(20'000);
        release(block);
      },
      {}, list, {});
  Block block;
  CHECK_NOTHROW(block = allocate(1 << 20, device));
  release(block);
  Engine::get().wait_all();
}

TEST_CASE("storage: the peak can be read and restarted") {
  const Device device = fresh_device();
  const Block a = allocate(1 << 20, device), b = allocate(1 << 20, device);
  release(a);
  CHECK(stats(device).peak == 2 << 20);
  reset_peak(device);
  CHECK(stats(device).peak == 1 << 20);
  release(b);
}

TEST_CASE("storage: a device that is not there is an error") {
  CHECK(message_of([] { allocate(4, {DeviceType::gpu, 1}); }).find("gpu(1): no CUDA device") == 0);
  CHECK_THROWS_AS(stats({DeviceType::gpu, 0}), Error);
}

#if !defined(__SANITIZE_THREAD__)
TEST_CASE("storage: shared memory goes from a child to its parent") {
  const Device device{DeviceType::cpu_shared, 0};
  int channel[2];
  REQUIRE(pipe(channel) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    const Block block = allocate(100'000, device);
    std::memset(block.data, 42, 100'000);
    const std::string name = share(block);
    release(block);  // before anybody attached: the receiver's reference keeps it
    const ssize_t sent = write(channel[1], name.c_str(), name.size() + 1);
    _exit(sent > 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  char name[128] = {};
  REQUIRE(read(channel[0], name, sizeof name - 1) > 0);
  close(channel[0]);
  close(channel[1]);
  CHECK(status == 0);
  const int64_t before = stats(device).in_use;
  CHECK_THROWS_AS(attach(name, 1'000'000, device), Error);
  const Block block = attach(name, 100'000, device);
  const auto* data = static_cast<const unsigned char*>(block.data);
  CHECK(std::all_of(data, data + 100'000, [](unsigned char c) { return c == 42; }));
  CHECK(stats(device).in_use == before + 100'000);
  const Block again = attach(share(block), 100'000, device);
  static_cast<unsigned char*>(again.data)[5] = 1;
  CHECK(data[5] == 1);
  release(again);
  release(block);
  CHECK(stats(device).in_use == before);
  CHECK_THROWS_AS(attach(name, 1, device), Error);  // the last reference took the name away
}
#endif

TEST_CASE("storage: names of a dead process are removed") {
  const Device device{DeviceType::cpu_shared, 0};
  const Block block = allocate(10, device);
  const std::string name = share(block);
  remove_shared_of(getpid());
  CHECK_THROWS_AS(attach(name, 10, device), Error);
  release(block);
}

TEST_CASE("storage: wrong use of shared memory is an error") {
  const Block block = allocate(10, Device{});
  CHECK_THROWS_AS(share(block), Error);
  release(block);
  CHECK_THROWS_AS(attach("/etc/passwd", 1, {DeviceType::cpu_shared, 0}), Error);
  CHECK_THROWS_AS(attach("/mxnet-1-1-1", 1, Device{}), Error);
}

}  // namespace mxnet::storage
