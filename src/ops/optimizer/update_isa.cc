// SPDX-License-Identifier: Apache-2.0
// The formulas of the optimizers for one element, and the loops over them that the compiler vectorizes.
#include <algorithm>
#include <cmath>
#include <type_traits>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "base/dtype.h"
#include "ops/optimizer/update.h"

namespace mxnet::MX_ISA {

extern const ops::UpdateTable update_table;

namespace {

using ops::UpdateArrays;
using ops::UpdateFn;
using ops::UpdateScalars;

template <typename C>
struct Numbers {
  C lr, wd, rescale, clip, a, b, c, d, e;
  explicit Numbers(const UpdateScalars& s)
      : lr(C(s.lr)),
        wd(C(s.wd)),
        rescale(C(s.rescale)),
        clip(s.clip < 0 ? C(INFINITY) : C(s.clip)),
        a(C(s.a)),
        b(C(s.b)),
        c(C(s.c)),
        d(C(s.d)),
        e(C(s.e)) {}
  // NaN passes through.
  C clipped(C g) const {
    g = g < -clip ? -clip : g;
    return g > clip ? clip : g;
  }
  C scaled(C g) const { return clipped(rescale * g); }
  C decayed(C w, C g) const { return clipped(rescale * g + wd * w); }
};

template <typename C>
C sign(C x) {
  return x > 0 ? C(1) : x < 0 ? C(-1) : C(0);
}

// Each rule: the number of states, and the new weight; states are updated in place.
struct Sgd {
  static constexpr int kStates = 0;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C*) {
    return (C(1) - p.lr * p.wd) * w - p.lr * p.scaled(g);
  }
};
struct SgdMom {  // a: momentum
  static constexpr int kStates = 1;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    s[0] = p.a * s[0] - p.lr * p.wd * w - p.lr * p.scaled(g);
    return w + s[0];
  }
};
struct NagMom {  // a: momentum
  static constexpr int kStates = 1;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    const C move = p.lr * (p.scaled(g) + p.wd * w);
    s[0] = p.a * s[0] - move;
    return w + p.a * s[0] - move;
  }
};
struct SignSgd {
  static constexpr int kStates = 0;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C*) {
    return (C(1) - p.lr * p.wd) * w - p.lr * sign(g);
  }
};
struct Signum {  // a: momentum, b: decoupled decay
  static constexpr int kStates = 1;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    s[0] = p.a * s[0] - (C(1) - p.a) * (p.wd * w + p.scaled(g));
    return (C(1) - p.lr * p.b) * w + p.lr * sign(s[0]);
  }
};
struct Adam {  // a, b: decay rates, c: epsilon
  static constexpr int kStates = 2;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.decayed(w, g);
    s[0] = p.a * s[0] + (C(1) - p.a) * g;
    s[1] = p.b * s[1] + (C(1) - p.b) * g * g;
    return w - p.lr * s[0] / (std::sqrt(s[1]) + p.c);
  }
};
struct AdamW {  // a, b: decay rates, c: epsilon, d: schedule factor
  static constexpr int kStates = 2;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.scaled(g);
    s[0] = p.a * s[0] + (C(1) - p.a) * g;
    s[1] = p.b * s[1] + (C(1) - p.b) * g * g;
    return w - p.d * (p.lr * s[0] / (std::sqrt(s[1]) + p.c) + p.wd * w);
  }
};
struct RmsProp {  // a: decay rate, c: epsilon, d: bound of the weights
  static constexpr int kStates = 1;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.decayed(w, g);
    s[0] = p.a * s[0] + (C(1) - p.a) * g * g;
    w -= p.lr * g / std::sqrt(s[0] + p.c);
    w = w < -p.d ? -p.d : w;
    return w > p.d ? p.d : w;
  }
};
struct RmsPropAlex {  // a: decay rate, b: momentum, c: epsilon, d: bound of the weights
  static constexpr int kStates = 3;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.decayed(w, g);
    s[0] = p.a * s[0] + (C(1) - p.a) * g * g;
    s[1] = p.a * s[1] + (C(1) - p.a) * g;
    s[2] = p.b * s[2] - p.lr * g / std::sqrt(s[0] - s[1] * s[1] + p.c);
    w += s[2];
    w = w < -p.d ? -p.d : w;
    return w > p.d ? p.d : w;
  }
};
struct Ftrl {  // a: L1 strength, b: beta
  static constexpr int kStates = 2;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.scaled(g);
    const C before = std::sqrt(s[1]);
    s[1] += g * g;
    const C after = std::sqrt(s[1]);
    s[0] += g - (after - before) * w / p.lr;
    const C moved = (sign(s[0]) * p.a - s[0]) / ((p.b + after) / p.lr + p.wd);
    return std::abs(s[0]) > p.a ? moved : C(0);
  }
};
struct Ftml {  // a, b: decay rates, c: epsilon, d: 1 - a^t, e: 1 - b^t; states: d, v, z
  static constexpr int kStates = 3;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.decayed(w, g);
    s[1] = p.b * s[1] + (C(1) - p.b) * g * g;
    const C now = p.d / p.lr * (std::sqrt(s[1] / p.e) + p.c);
    s[2] = p.a * s[2] + (C(1) - p.a) * g - (now - p.a * s[0]) * w;
    s[0] = now;
    return -s[2] / now;
  }
};
struct LambDirection {  // a, b: decay rates, c: epsilon, d, e: bias corrections of the states
  static constexpr int kStates = 2;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.scaled(g);
    s[0] = p.a * s[0] + (C(1) - p.a) * g;
    s[1] = p.b * s[1] + (C(1) - p.b) * g * g;
    return s[0] / p.d / (std::sqrt(s[1] / p.e) + p.c) + p.wd * w;
  }
};
struct AdaGrad {  // c: epsilon
  static constexpr int kStates = 1;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C* s) {
    g = p.scaled(g);
    s[0] += g * g;
    return w - p.lr * g / std::sqrt(s[0] + p.c);
  }
};
struct LambStep {  // lr holds the trust ratio as well
  static constexpr int kStates = 0;
  template <typename C>
  static C step(const Numbers<C>& p, C w, C g, C*) {
    return w - p.lr * g;
  }
};

// Half types are converted in short runs around the float loop.
constexpr int64_t kRun = 256;

void widen(const half_t* from, float* to, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
  }
#endif
  for (; i < n; ++i) to[i] = half_t::decode(from[i].bits);
}
void narrow(const float* from, half_t* to, int64_t n) {
  int64_t i = 0;
#if defined(__F16C__)
  for (; i + 8 <= n; i += 8) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#endif
  for (; i < n; ++i) to[i].bits = half_t::encode(from[i]);
}
void widen(const bfloat16_t* from, float* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
}
void narrow(const float* from, bfloat16_t* to, int64_t n) {
  for (int64_t i = 0; i < n; ++i) to[i].bits = bfloat16_t::encode(from[i]);
}

void widen(const float* from, float* to, int64_t n) { std::copy_n(from, n, to); }
void narrow(const float* from, float* to, int64_t n) { std::copy_n(from, n, to); }

// Output and states may be the memory that was read: each element is read before it is written.
template <class R, typename C>
void loop(const Numbers<C>& p, C* out, const C* weight, const C* grad, C* const* state, int64_t n) {
  C* const s0 = state[0];
  C* const s1 = state[1];
  C* const s2 = state[2];
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    C s[ops::kMaxStates] = {};
    if constexpr (R::kStates > 0) s[0] = s0[i];
    if constexpr (R::kStates > 1) s[1] = s1[i];
    if constexpr (R::kStates > 2) s[2] = s2[i];
    out[i] = R::step(p, weight[i], grad[i], s);
    if constexpr (R::kStates > 0) s0[i] = s[0];
    if constexpr (R::kStates > 1) s1[i] = s[1];
    if constexpr (R::kStates > 2) s2[i] = s[2];
  }
}

template <class R, typename C>
void update_plain(const UpdateArrays& a, const UpdateScalars& scalars, int64_t begin, int64_t end) {
  C* state[ops::kMaxStates] = {};
  for (int s = 0; s < R::kStates; ++s) state[s] = static_cast<C*>(a.state[s]) + begin;
  loop<R, C>(Numbers<C>(scalars), static_cast<C*>(a.out) + begin, static_cast<const C*>(a.weight) + begin,
             static_cast<const C*>(a.grad) + begin, state, end - begin);
}

template <class R, typename T>
void update_half(const UpdateArrays& a, const UpdateScalars& scalars, int64_t begin, int64_t end) {
  const Numbers<float> p(scalars);
  alignas(64) float weight[kRun], grad[kRun], buffer[ops::kMaxStates][kRun];
  float* state[ops::kMaxStates] = {buffer[0], buffer[1], buffer[2]};
  for (int64_t at = begin; at < end; at += kRun) {
    const int64_t n = std::min(kRun, end - at);
    widen(static_cast<const T*>(a.weight) + at, weight, n);
    widen(static_cast<const T*>(a.grad) + at, grad, n);
    for (int s = 0; s < R::kStates; ++s) widen(static_cast<const T*>(a.state[s]) + at, buffer[s], n);
    loop<R, float>(p, weight, weight, grad, state, n);
    narrow(weight, static_cast<T*>(a.out) + at, n);
    for (int s = 0; s < R::kStates; ++s) narrow(buffer[s], static_cast<T*>(a.state[s]) + at, n);
  }
}

template <class R, typename T>
void update_master(const UpdateArrays& a, const UpdateScalars& scalars, int64_t begin, int64_t end) {
  const Numbers<float> p(scalars);
  alignas(64) float grad[kRun];
  for (int64_t at = begin; at < end; at += kRun) {
    const int64_t n = std::min(kRun, end - at);
    widen(static_cast<const T*>(a.grad) + at, grad, n);
    float* state[ops::kMaxStates] = {};
    for (int s = 0; s < R::kStates; ++s) state[s] = static_cast<float*>(a.state[s]) + at;
    loop<R, float>(p, a.master + at, a.master + at, grad, state, n);
    narrow(a.master + at, static_cast<T*>(a.out) + at, n);
  }
}

// Rows to come whose memory is asked for. The rows lie anywhere: the hardware cannot foresee them.
constexpr int64_t kAhead = 12;

template <typename T>
T* moved(T* p, int64_t elements) {
  return p ? p + elements : nullptr;
}
template <typename T>
void* moved(const void* p, int64_t elements) {
  return p ? static_cast<T*>(const_cast<void*>(p)) + elements : nullptr;
}

template <typename T>
void fetch(const void* base, int64_t row, int64_t width) {
  if (!base) return;
  const char* p = static_cast<const char*>(base) + row * width * static_cast<int64_t>(sizeof(T));
  const int64_t bytes = std::min<int64_t>(width * static_cast<int64_t>(sizeof(T)), 1024);
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + at, 1);
}

// T: weight and gradient; S: states.
template <typename T, typename S, UpdateFn Update>
void update_rows(const UpdateArrays& a, const UpdateScalars& scalars, const int64_t* rows, const int64_t* grad_rows,
                 int64_t count, int64_t width) {
  for (int64_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      const int64_t next = rows[i + kAhead];
      fetch<T>(a.out, next, width);
      fetch<float>(a.master, next, width);
      for (const void* state : a.state) fetch<S>(state, next, width);
    }
    const int64_t at = rows[i] * width;
    UpdateArrays row;
    row.out = moved<T>(a.out, at);
    row.weight = moved<T>(a.weight, at);
    row.grad = moved<T>(a.grad, (grad_rows ? grad_rows[i] : i) * width);
    for (int s = 0; s < ops::kMaxStates; ++s) row.state[s] = moved<S>(a.state[s], at);
    row.master = moved(a.master, at);
    Update(row, scalars, 0, width);
  }
}

template <typename T, typename S, UpdateFn Update>
constexpr ops::UpdateTable::Entry entry() {
  return {Update, update_rows<T, S, Update>};
}

#define MXNET_RULE_ROW(R)                                                                                         \
  {entry<float, float, update_plain<R, float>>(),    entry<double, double, update_plain<R, double>>(),            \
   entry<half_t, half_t, update_half<R, half_t>>(),  entry<bfloat16_t, bfloat16_t, update_half<R, bfloat16_t>>(), \
   entry<half_t, float, update_master<R, half_t>>(), entry<bfloat16_t, float, update_master<R, bfloat16_t>>(),    \
   entry<float, float, update_master<R, float>>()}

}  // namespace

// In the order of ops::Rule.
const ops::UpdateTable update_table = {{MXNET_RULE_ROW(Sgd), MXNET_RULE_ROW(SgdMom), MXNET_RULE_ROW(NagMom),
                                        MXNET_RULE_ROW(SignSgd), MXNET_RULE_ROW(Signum), MXNET_RULE_ROW(Adam),
                                        MXNET_RULE_ROW(AdamW), MXNET_RULE_ROW(RmsProp), MXNET_RULE_ROW(RmsPropAlex),
                                        MXNET_RULE_ROW(Ftrl), MXNET_RULE_ROW(Ftml), MXNET_RULE_ROW(LambDirection),
                                        MXNET_RULE_ROW(LambStep), MXNET_RULE_ROW(AdaGrad)}};

}  // namespace mxnet::MX_ISA
