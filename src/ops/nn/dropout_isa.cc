// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/dropout.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kLanes = 16;  // Philox counters that advance together

// Four words for each of kLanes consecutive positions, word w of position i at words[w * kLanes + i].
void draw(const random::Stream& stream, uint64_t position, uint32_t* words) {
  uint32_t a[kLanes], b[kLanes], c[kLanes] = {}, d[kLanes] = {};
  const uint64_t first = stream.base + position;
  for (int i = 0; i < kLanes; ++i) {
    a[i] = static_cast<uint32_t>(first + static_cast<uint64_t>(i));
    b[i] = static_cast<uint32_t>((first + static_cast<uint64_t>(i)) >> 32);
  }
  uint32_t lo = stream.key.lo, hi = stream.key.hi;
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 1
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t p = uint64_t{0xD2511F53u} * a[i], q = uint64_t{0xCD9E8D57u} * c[i];
      const uint32_t na = static_cast<uint32_t>(q >> 32) ^ b[i] ^ lo, nc = static_cast<uint32_t>(p >> 32) ^ d[i] ^ hi;
      b[i] = static_cast<uint32_t>(q);
      d[i] = static_cast<uint32_t>(p);
      a[i] = na;
      c[i] = nc;
    }
    lo += 0x9E3779B9u;
    hi += 0xBB67AE85u;
  }
  for (int i = 0; i < kLanes; ++i) {
    words[i] = a[i];
    words[kLanes + i] = b[i];
    words[2 * kLanes + i] = c[i];
    words[3 * kLanes + i] = d[i];
  }
}

// Element e of the stream uses word e % 4 ... of position e / 4, laid out so that a group of 64 elements takes 16
// positions: element g * 64 + j uses word j / 16 of position g * 16 + j % 16.
void mask(const random::Stream& stream, uint32_t threshold, uint8_t* to, int64_t begin, int64_t end) {
  uint32_t words[4 * kLanes];
  for (int64_t group = begin; group < end; group += 4 * kLanes) {
    draw(stream, static_cast<uint64_t>(group / 4), words);
    const int64_t count = end - group < 4 * kLanes ? end - group : 4 * kLanes;
    for (int64_t j = 0; j < count; ++j) to[group + j] = (words[j] >> 8) >= threshold;
  }
}

template <typename T>
void apply(const void* in, const uint8_t* keep, void* out, float scale, int64_t begin, int64_t end) {
  using C = compute_t<T>;
  const T* x = static_cast<const T*>(in);
  T* y = static_cast<T*>(out);
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) y[i] = keep[i] ? static_cast<T>(C(x[i]) * C(scale)) : static_cast<T>(C(0));
}

void scale_kept(DType dtype, const void* x, const uint8_t* keep, void* y, float scale, int64_t begin, int64_t end) {
  switch (dtype) {
    case DType::f32: return apply<float>(x, keep, y, scale, begin, end);
    case DType::f64: return apply<double>(x, keep, y, scale, begin, end);
    case DType::f16: return apply<half_t>(x, keep, y, scale, begin, end);
    case DType::bf16: return apply<bfloat16_t>(x, keep, y, scale, begin, end);
    default: return;
  }
}

}  // namespace

const DropoutKernels dropout_kernels_table = {mask, scale_kept};

}  // namespace mxnet::MX_ISA
