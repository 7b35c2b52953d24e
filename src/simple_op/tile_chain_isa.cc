// SPDX-License-Identifier: Apache-2.0
// Chains of cheap functions of floats. A load from the first cache costs as much as an addition, and a store twice
// that: so the value of a chain stays in registers, a block of vectors at a time.
#include "simple_op/tile_fill.h"
#include "simple_op/tile_formulas.h"

namespace mxnet::MX_ISA {
namespace {

// A link with its operand as a run, or as a vector of copies that is not stepped over.
struct Run {
  ChainOp op;
  const float* p;
  int64_t step;
};

template <int Vectors, typename F>
MX_INLINE void each(F32 (&v)[Vectors], F f) {
#pragma GCC unroll 8
  for (int k = 0; k < Vectors; ++k) v[k] = f(v[k], k);
}

// `Vectors` vectors of the value at element i.
template <int Vectors>
MX_INLINE void apply_links(F32 (&v)[Vectors], const Run* runs, int count, int64_t i) {
  constexpr int64_t L = kLanes<float>;
  for (int r = 0; r < count; ++r) {
    const float* p = runs[r].p + i * runs[r].step;
    const int64_t next = L * runs[r].step;
#define MX_LINK(name, formula)                                                               \
  case ChainOp::name:                                                                        \
    each(v, [&](F32 a, int k) MX_LAMBDA_INLINE {                                             \
      [[maybe_unused]] const auto b = [&]() MX_LAMBDA_INLINE { return load(p + k * next); }; \
      return formula;                                                                        \
    });                                                                                      \
    break;
    switch (runs[r].op) {
      MX_LINK(add, a + b())
      MX_LINK(sub, a - b())
      MX_LINK(rsub, b() - a)
      MX_LINK(mul, a * b())
      MX_LINK(div, a / b())
      MX_LINK(rdiv, b() / a)
      MX_LINK(maximum, maximum(a, b()))
      MX_LINK(minimum, minimum(a, b()))
      MX_LINK(relu, Formula<Fn::relu>::of(a, a, a))
      MX_LINK(negative, -a)
      MX_LINK(square, a * a)
      MX_LINK(abs, vabs(a))
    }
#undef MX_LINK
  }
}

void chain(void* out, const void* a, bool a_scalar, const ChainLink* links, int count, int64_t n) {
  constexpr int64_t L = kLanes<float>, kBlock = 8;
  F32 copies[kMaxLinks + 1];
  Run runs[kMaxLinks];
  const auto run_of = [&](const void* address, bool scalar, int slot) MX_LAMBDA_INLINE -> const float* {
    if (!scalar) return static_cast<const float*>(address);
    copies[slot] = splat(*static_cast<const float*>(address));
    return reinterpret_cast<const float*>(&copies[slot]);
  };
  const float* x = run_of(a, a_scalar, kMaxLinks);
  const int64_t x_step = a_scalar ? 0 : 1;
  for (int r = 0; r < count; ++r) {
    const bool scalar = links[r].scalar;
    runs[r] = {links[r].op, links[r].operand ? run_of(links[r].operand, scalar, r) : nullptr,
               links[r].operand && !scalar ? 1 : 0};
  }
  float* o = static_cast<float*>(out);
  int64_t i = 0;
  for (; i + kBlock * L <= n; i += kBlock * L) {
    F32 v[kBlock];
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) v[k] = load(x + (i + k * L) * x_step);
    apply_links(v, runs, count, i);
#pragma GCC unroll 8
    for (int k = 0; k < kBlock; ++k) store(o + i + k * L, v[k]);
  }
  for (; i + L <= n; i += L) {
    F32 v[1] = {load(x + i * x_step)};
    apply_links(v, runs, count, i);
    store(o + i, v[0]);
  }
  if (i == n) return;
  // The rest, from copies that are a whole vector long.
  alignas(kVectorBytes) float tails[kMaxLinks + 1][L] = {};
  const auto tail_of = [&](const float* p, int64_t step, int slot) MX_LAMBDA_INLINE -> const float* {
    if (!step || !p) return p;
    __builtin_memcpy(tails[slot], p + i, (n - i) * sizeof(float));
    return tails[slot];
  };
  F32 v[1] = {load(tail_of(x, x_step, kMaxLinks))};
  for (int r = 0; r < count; ++r) runs[r] = {runs[r].op, tail_of(runs[r].p, runs[r].step, r), 0};
  apply_links(v, runs, count, 0);
  store_part(o + i, v[0], n - i);
}

}  // namespace

void fill_chain(TileTable& table) { table.chain = chain; }

}  // namespace mxnet::MX_ISA
