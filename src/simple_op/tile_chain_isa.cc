// SPDX-License-Identifier: Apache-2.0
// Chains of cheap functions of floats. A load from the first cache costs as much as an addition, and a store twice
// that: so the value of a chain stays in registers, a block of vectors at a time.
#include "simple_op/tile_fill.h"
#include "simple_op/tile_formulas.h"

namespace mxnet::MX_ISA {
namespace {

// A link and its operand: a run, or a vector of copies of one element.
struct Run {
  ChainOp op;
  bool copies;
  const float* p;
};

constexpr int code_of(ChainOp op, bool copies) { return 2 * static_cast<int>(op) + copies; }

template <int Vectors, typename F>
MX_INLINE void each(F32 (&v)[Vectors], F f) {
#pragma GCC unroll 8
  for (int k = 0; k < Vectors; ++k) v[k] = f(v[k], k);
}

// `Vectors` vectors of the value at element i. A case for each kind of operand: offsets are constants, and a loop is
// eight instructions and little else.
template <int Vectors>
MX_INLINE void apply_links(F32 (&v)[Vectors], const Run* runs, int count, int64_t i) {
#define MX_UNARY(name, formula) \
  case code_of(ChainOp::name, false): each(v, [](F32 a, int) MX_LAMBDA_INLINE { return formula; }); break;
#define MX_BINARY(name, formula)                                   \
  case code_of(ChainOp::name, false): {                            \
    each(v, [&](F32 a, int k) MX_LAMBDA_INLINE {                   \
      const F32 b = load(p + i + k * kLanes<float>);               \
      return formula;                                              \
    });                                                            \
    break;                                                         \
  }                                                                \
  case code_of(ChainOp::name, true): {                             \
    const F32 b = load(p);                                         \
    each(v, [&](F32 a, int) MX_LAMBDA_INLINE { return formula; }); \
    break;                                                         \
  }
  for (const Run* r = runs; r != runs + count; ++r) {
    const float* const p = r->p;
    switch (code_of(r->op, r->copies)) {
      MX_BINARY(add, a + b)
      MX_BINARY(sub, a - b)
      MX_BINARY(rsub, b - a)
      MX_BINARY(mul, a * b)
      MX_BINARY(div, a / b)
      MX_BINARY(rdiv, b / a)
      MX_BINARY(maximum, maximum(a, b))
      MX_BINARY(minimum, minimum(a, b))
      MX_UNARY(relu, Formula<Fn::relu>::of(a, a, a))
      MX_UNARY(negative, -a)
      MX_UNARY(square, a * a)
      MX_UNARY(abs, vabs(a))
      MX_UNARY(round_f16, rounded<half_t>(a))
      MX_UNARY(round_bf16, rounded<bfloat16_t>(a))
    }
  }
#undef MX_UNARY
#undef MX_BINARY
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
    const bool scalar = links[r].operand && links[r].scalar;
    runs[r] = {links[r].op, scalar, links[r].operand ? run_of(links[r].operand, scalar, r) : nullptr};
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
  const auto tail_of = [&](const float* p, bool whole, int slot) MX_LAMBDA_INLINE -> const float* {
    if (whole || !p) return p;
    __builtin_memcpy(tails[slot], p + i, (n - i) * sizeof(float));
    return tails[slot];
  };
  F32 v[1] = {load(tail_of(x, a_scalar, kMaxLinks))};
  for (int r = 0; r < count; ++r) runs[r].p = tail_of(runs[r].p, runs[r].copies, r);
  apply_links(v, runs, count, 0);
  store_part(o + i, v[0], n - i);
}

}  // namespace

void fill_chain(TileTable& table) { table.chain = chain; }

}  // namespace mxnet::MX_ISA
