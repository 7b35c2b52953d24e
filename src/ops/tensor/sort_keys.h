// SPDX-License-Identifier: Apache-2.0
// Stable ordering of one row: every value becomes an unsigned key whose order is the wanted one, so that no comparison
// depends on the type. NaN is the largest value; equal values keep the order of their indices.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/dtype.h"

namespace mxnet::ops {

template <typename T>
using sort_key_t = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <typename T>
sort_key_t<T> sort_key(T value, bool ascending) {
  using Key = sort_key_t<T>;
  Key key;
  if constexpr (std::is_same_v<T, half_t> || std::is_same_v<T, bfloat16_t>) {
    return sort_key<float>(static_cast<float>(value), ascending);
  } else if constexpr (std::is_floating_point_v<T>) {
    // No branches, so that vectors can do it: both zeros are one key, negative numbers are turned around.
    constexpr Key kTop = Key{1} << (8 * sizeof(T) - 1);
    constexpr Key kInfinity = std::bit_cast<Key>(std::numeric_limits<T>::infinity());
    const Key bits = std::bit_cast<Key>(value), magnitude = bits & ~kTop;
    const Key one_zero = magnitude == 0 ? 0 : bits;
    const Key negative = Key{0} - (one_zero >> (8 * sizeof(T) - 1));
    key = magnitude > kInfinity ? ~Key{0} : one_zero ^ (negative | kTop);
  } else if constexpr (std::is_signed_v<T>) {
    key = static_cast<Key>(static_cast<int64_t>(value)) ^ (Key{1} << (8 * sizeof(Key) - 1));
  } else {
    key = static_cast<Key>(value);
  }
  return ascending ? key : ~key;
}

template <typename Key>
struct Keyed {
  Key key;
  uint32_t index;
  bool operator<(const Keyed& other) const { return key != other.key ? key < other.key : index < other.index; }
};

constexpr int64_t kFew = 32;  // so many first items are kept sorted while a row is read, in place of ordering the row

// The first k of n items, at most kFew, sorted; key_of(i) is the key of item i.
template <typename Key, typename KeyOf>
void select_keyed(const KeyOf& key_of, int64_t n, int64_t k, Keyed<Key>* first) {
  int64_t held = 0;
  const auto insert = [&](Key key, int64_t i) {
    if (held == k && key >= first[k - 1].key) return;  // of equal keys the earlier stays
    int64_t at = held < k ? held++ : k - 1;
    for (; at > 0 && key < first[at - 1].key; --at) first[at] = first[at - 1];
    first[at] = {key, static_cast<uint32_t>(i)};
  };
  constexpr int kBlock = 32;
  int64_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    Key keys[kBlock], least = ~Key{0};
#pragma omp simd reduction(min : least)
    for (int j = 0; j < kBlock; ++j) {
      keys[j] = key_of(i + j);
      least = keys[j] < least ? keys[j] : least;
    }
    if (held == k && least >= first[k - 1].key) continue;
    for (int j = 0; j < kBlock; ++j) insert(keys[j], i + j);
  }
  for (; i < n; ++i) insert(key_of(i), i);
}

// Sorts the first `k` of n items to their places; the rest is in no order. `other` holds n items of work space.
template <typename Key>
void sort_keyed(Keyed<Key>* items, Keyed<Key>* other, int64_t n, int64_t k) {
  constexpr int64_t kRadixFrom = 4096;
  if (k * 8 < n) {
    std::nth_element(items, items + k, items + n);
    std::sort(items, items + k);
    return;
  }
  if (n < kRadixFrom) {
    std::sort(items, items + n);
    return;
  }
  // Least significant digit first: each pass is stable, so equal keys keep the order of their indices.
  constexpr int kBits = 11, kBuckets = 1 << kBits;
  for (int shift = 0; shift < static_cast<int>(8 * sizeof(Key)); shift += kBits) {
    int64_t count[kBuckets + 1] = {};
    for (int64_t i = 0; i < n; ++i) ++count[((items[i].key >> shift) & (kBuckets - 1)) + 1];
    for (int b = 0; b < kBuckets; ++b) count[b + 1] += count[b];
    for (int64_t i = 0; i < n; ++i) other[count[(items[i].key >> shift) & (kBuckets - 1)]++] = items[i];
    std::swap(items, other);
  }
  // 32-bit keys take 3 passes and 64-bit ones 6: after an odd number the result lies in the other buffer.
  if constexpr (sizeof(Key) == 4) std::copy(items, items + n, other);
}

}  // namespace mxnet::ops
