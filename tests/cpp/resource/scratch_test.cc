// SPDX-License-Identifier: Apache-2.0
#include "resource/scratch.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "storage/storage.h"

namespace mxnet {

TEST_CASE("scratch: aligned, disjoint, nested; grows once") {
  std::thread([] {  // an arena of its own
    const auto kernel = [] {
      Scratch outer;
      auto* a = outer.get<unsigned char>(100'000);
      std::memset(a, 1, 100'000);
      {
        Scratch inner;
        auto* b = inner.get<unsigned char>(300'000);
        std::memset(b, 2, 300'000);
        CHECK(reinterpret_cast<uintptr_t>(b) % 64 == 0);
      }
      auto* c = outer.get<unsigned char>(300'000);
      std::memset(c, 3, 300'000);
      CHECK(a[0] == 1);
      CHECK(a[99'999] == 1);
      CHECK(outer.get<char>(0) != nullptr);
    };
    kernel();
    const size_t grown = scratch_capacity();
    const int64_t before = storage::stats(Device{}).allocations;
    for (int i = 0; i < 5; ++i) kernel();
    CHECK(scratch_capacity() == grown);
    CHECK(storage::stats(Device{}).allocations == before);
    {
      Scratch scope;
      CHECK_THROWS_AS(release_scratch(), Error);
      CHECK_THROWS_AS(scope.bytes(SIZE_MAX), Error);
      CHECK_THROWS_AS(scope.bytes(SIZE_MAX / 2), Error);
    }
    release_scratch();
    CHECK(scratch_capacity() == 0);
  })
      .join();
}

}  // namespace mxnet
