// SPDX-License-Identifier: Apache-2.0
// Loops over 16 lanes that the compiler turns into vector code; the arithmetic per lane is that of resource/random.h.
#include <cmath>
#include <cstring>

#include "ops/random/fill.h"

namespace mxnet::MX_ISA {

extern const ops::random_fill::Table random_table;

namespace {

using ops::random_fill::kBlock;
using ops::random_fill::kPositions;
constexpr int kLanes = static_cast<int>(kPositions);

struct alignas(64) Block {
  uint32_t v[4][kLanes];
};

// Not inlined: the compiler vectorizes the loops of this function alone, not those of a larger one.
[[gnu::noinline]] void philox_block(const random::Stream& s, int64_t block, Block& c) {
  const uint64_t first = s.base + static_cast<uint64_t>(block) * kPositions;
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t position = first + static_cast<uint64_t>(i);
    c.v[0][i] = static_cast<uint32_t>(position);
    c.v[1][i] = static_cast<uint32_t>(position >> 32);
    c.v[2][i] = c.v[3][i] = 0;
  }
  uint32_t lo = s.key.lo, hi = s.key.hi;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t a = uint64_t{0xD2511F53u} * c.v[0][i];
      const uint64_t b = uint64_t{0xCD9E8D57u} * c.v[2][i];
      c.v[0][i] = static_cast<uint32_t>(b >> 32) ^ c.v[1][i] ^ lo;
      c.v[1][i] = static_cast<uint32_t>(b);
      c.v[2][i] = static_cast<uint32_t>(a >> 32) ^ c.v[3][i] ^ hi;
      c.v[3][i] = static_cast<uint32_t>(a);
    }
    lo += 0x9E3779B9u;
    hi += 0xBB67AE85u;
  }
}

inline float unit(uint32_t w) { return static_cast<float>(static_cast<int32_t>(w >> 8)) * 0x1p-24f; }

void uniform(const random::Stream& s, int64_t first, int64_t blocks, float low, float span, float* out) {
  Block c;
  for (int64_t b = 0; b < blocks; ++b, out += kBlock) {
    philox_block(s, first + b, c);
    for (int w = 0; w < 4; ++w) {
      for (int i = 0; i < kLanes; ++i) out[w * kLanes + i] = low + span * unit(c.v[w][i]);
    }
  }
}

inline uint32_t bits_of(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}
inline float float_of(uint32_t u) {
  float x;
  std::memcpy(&x, &u, sizeof x);
  return x;
}

// log(u), u in [2^-24, 1]: u = m * 2^e with m in [2/3, 4/3), log(m) = 2 atanh((m - 1) / (m + 1)).
inline float log_unit(float u) {
  const uint32_t shifted = bits_of(u) - 0x3f2aaaabu;  // 2/3
  const int32_t e = static_cast<int32_t>(shifted) >> 23;
  const float m = float_of((shifted & 0x007fffffu) + 0x3f2aaaabu);
  const float r = (m - 1.0f) / (m + 1.0f), r2 = r * r;
  const float tail = r2 * (0.6666666269f + r2 * (0.4000097152f + r2 * (0.2847190793f + r2 * 0.2372160664f)));
  return static_cast<float>(e) * 0.6931471806f + (2.0f * r + r * tail);
}

void normal(const random::Stream& s, int64_t first, int64_t blocks, float loc, float scale, float* out) {
  Block c;
  for (int64_t b = 0; b < blocks; ++b, out += kBlock) {
    philox_block(s, first + b, c);
    for (int pair = 0; pair < 2; ++pair) {
      float* cosine = out + 2 * pair * kLanes;
      float* sine = cosine + kLanes;
      for (int i = 0; i < kLanes; ++i) {
        const float radius = scale * std::sqrt(-2.0f * log_unit(1.0f - unit(c.v[2 * pair][i])));
        // The angle in quarter turns: the nearest whole number and what is left, within 1/2.
        const float turns = unit(c.v[2 * pair + 1][i]) * 4.0f;
        const int32_t quarter = static_cast<int32_t>(turns + 0.5f);
        const float x = (turns - static_cast<float>(quarter)) * 1.5707963268f, x2 = x * x;
        const float sx = x * (1.0f + x2 * (-0.1666666546f + x2 * (0.8332160873e-2f + x2 * -0.1951529589e-3f)));
        const float cx =
            1.0f + x2 * (-0.5f + x2 * (0.4166664568e-1f + x2 * (-0.1388731625e-2f + x2 * 0.2443315711e-4f)));
        const float c_abs = quarter & 1 ? sx : cx, s_abs = quarter & 1 ? cx : sx;
        cosine[i] = loc + radius * ((quarter + 1) & 2 ? -c_abs : c_abs);
        sine[i] = loc + radius * (quarter & 2 ? -s_abs : s_abs);
      }
    }
  }
}

}  // namespace

const ops::random_fill::Table random_table = {uniform, normal};

}  // namespace mxnet::MX_ISA
