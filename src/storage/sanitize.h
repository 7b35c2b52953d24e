// SPDX-License-Identifier: Apache-2.0
// How much of a block may be touched, for AddressSanitizer, which does not see into pools on its own.
#pragma once

#include "storage/storage.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace mxnet::storage {

// The first `bytes` of the block are in use, the rest is not. Nothing happens in builds without that sanitizer.
inline void limit_use([[maybe_unused]] const Block& block, [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(block.data, bytes);
  __asan_poison_memory_region(static_cast<char*>(block.data) + bytes, block.capacity - bytes);
#endif
}

}  // namespace mxnet::storage
