// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/rnn_cell.h"

#include <algorithm>

#include "backend/cpu/simd_math.h"

namespace mxnet::MX_ISA {
namespace {

// Loads and stores of one vector of units; in the last one of a row only the first `n` lanes exist.
template <typename T, bool Whole>
struct Lanes {
  int64_t n;
  MX_INLINE Vec<T> get(const T* p) const {
    if constexpr (Whole)
      return load(p);
    else
      return load_part(p, n);
  }
  MX_INLINE void put(T* p, Vec<T> v) const {
    if constexpr (Whole)
      store(p, v);
    else
      store_part(p, v, n);
  }
  MX_INLINE void add(T* p, Vec<T> v) const { put(p, get(p) + v); }
};

template <typename T>
MX_INLINE Vec<T> clipped(const RnnClip& clip, Vec<T> c) {
  const Vec<T> low = splat(static_cast<T>(clip.min)), high = splat(static_cast<T>(clip.max));
  if (clip.stop_nan) c = c != c ? high : c;
  return vmax(low, vmin(high, c));
}

template <typename T, RnnMode Mode>
struct Forward {
  using V = Vec<T>;
  using Step = RnnForwardStep<T>;
  static constexpr int64_t kGates = gates_of(Mode);

  // The new state of row i, units u...; `gate(k)` is where gate k of these units lies in a row of gates.
  template <bool Whole>
  MX_INLINE static V state(const Step& s, int64_t i, int64_t u, Lanes<T, Whole> lanes) {
    T* gates = s.gates + i * kGates * s.units + u;
    const T* product = s.product + i * kGates * s.units + u;
    const int64_t at = i * s.units + u;
    const auto sum = [&](int64_t k) { return lanes.get(gates + k * s.units) + lanes.get(product + k * s.units); };
    if constexpr (Mode == RnnMode::relu) {
      const V x = sum(0);
      return x < T(0) ? V{} : x;
    } else if constexpr (Mode == RnnMode::tanh) {
      return vtanh(sum(0));
    } else if constexpr (Mode == RnnMode::lstm) {
      const V in = vsigmoid(sum(0)), forget = vsigmoid(sum(1)), candidate = vtanh(sum(2)), out = vsigmoid(sum(3));
      V c = forget * lanes.get(s.c_prev + at) + in * candidate;
      if (s.clip.on) c = clipped<T>(s.clip, c);
      lanes.put(gates, in);
      lanes.put(gates + s.units, forget);
      lanes.put(gates + 2 * s.units, candidate);
      lanes.put(gates + 3 * s.units, out);
      lanes.put(s.c + at, c);
      return out * vtanh(c);
    } else {
      const V reset = vsigmoid(sum(0)), update = vsigmoid(sum(1));
      const V share = lanes.get(product + 2 * s.units) + lanes.get(s.new_bias + u);
      const V fresh = vtanh(lanes.get(gates + 2 * s.units) + reset * share);
      lanes.put(gates, reset);
      lanes.put(gates + s.units, update);
      lanes.put(gates + 2 * s.units, fresh);
      lanes.put(s.new_product + at, share);
      return fresh + update * (lanes.get(s.h_prev + at) - fresh);
    }
  }

  template <bool Whole>
  MX_INLINE static void units(const Step& s, int64_t i, int64_t u, Lanes<T, Whole> lanes) {
    const V h = state(s, i, u, lanes);
    lanes.put(s.h + i * s.units + u, h);
    if (s.out) lanes.put(s.out + i * s.out_step + u, h);
  }

  static void keep(const Step& s, int64_t i, int64_t begin, int64_t end) {
    const int64_t at = i * s.units + begin, n = end - begin;
    if (s.h_prev)
      std::copy_n(s.h_prev + at, n, s.h + at);
    else
      std::fill_n(s.h + at, n, T(0));
    if (Mode == RnnMode::lstm) std::copy_n(s.c_prev + at, n, s.c + at);
    if (s.out) std::fill_n(s.out + i * s.out_step + begin, n, T(0));
  }

  static void run(const Step& s, int64_t begin, int64_t end) {
    for (int64_t i = 0; i < s.rows; ++i) {
      if (s.lengths && s.t >= s.lengths[i]) {
        keep(s, i, begin, end);
        continue;
      }
      int64_t u = begin;
      for (; u + kLanes<T> <= end; u += kLanes<T>) units(s, i, u, Lanes<T, true>{});
      if (u < end) units(s, i, u, Lanes<T, false>{end - u});
    }
  }
};

template <typename T, RnnMode Mode>
struct Backward {
  using V = Vec<T>;
  using Step = RnnBackwardStep<T>;
  static constexpr int64_t kGates = gates_of(Mode);

  struct Gradients {
    V gate[kGates];  // of the input's share
    V share;         // gru: of the state's share of n
    V past;          // what goes on to the state before, beside the gates
  };

  template <bool Whole>
  MX_INLINE static Gradients cell(const Step& s, int64_t i, int64_t u, Lanes<T, Whole> lanes, V dh) {
    const T* gates = s.gates + i * kGates * s.units + u;
    const int64_t at = i * s.units + u;
    const auto gate = [&](int64_t k) { return lanes.get(gates + k * s.units); };
    Gradients d{};
    if constexpr (Mode == RnnMode::relu) {
      d.gate[0] = lanes.get(s.h + at) > T(0) ? dh : V{};
    } else if constexpr (Mode == RnnMode::tanh) {
      const V h = lanes.get(s.h + at);
      d.gate[0] = dh * (T(1) - h * h);
    } else if constexpr (Mode == RnnMode::lstm) {
      const V in = gate(0), forget = gate(1), candidate = gate(2), out = gate(3), c = lanes.get(s.c + at);
      const V squashed = vtanh(c);
      V dc = lanes.get(s.dc + at) + dh * out * (T(1) - squashed * squashed);
      if (s.clip.on) {
        const auto free = (c > splat(static_cast<T>(s.clip.min))) & (c < splat(static_cast<T>(s.clip.max)));
        dc = free ? dc : V{};
      }
      d.gate[0] = dc * candidate * in * (T(1) - in);
      d.gate[1] = dc * lanes.get(s.c_prev + at) * forget * (T(1) - forget);
      d.gate[2] = dc * in * (T(1) - candidate * candidate);
      d.gate[3] = dh * squashed * out * (T(1) - out);
      lanes.put(s.dc + at, dc * forget);
    } else {
      const V reset = gate(0), update = gate(1), fresh = gate(2), share = lanes.get(s.new_product + at);
      const V dfresh = dh * (T(1) - update) * (T(1) - fresh * fresh);
      d.gate[0] = dfresh * share * reset * (T(1) - reset);
      d.gate[1] = dh * (lanes.get(s.h_prev + at) - fresh) * update * (T(1) - update);
      d.gate[2] = dfresh;
      d.share = dfresh * reset;
      d.past = dh * update;
    }
    return d;
  }

  // All rows of one vector of units, so that the biases' gradients stay in registers.
  template <bool Whole>
  static void units(const Step& s, int64_t u, Lanes<T, Whole> lanes) {
    V dbias[kGates] = {}, dshare{};
    for (int64_t i = 0; i < s.rows; ++i) {
      const int64_t at = i * s.units + u;
      T* to = s.dgates + i * kGates * s.units + u;
      T* to_state = s.dstate_gates + i * kGates * s.units + u;
      V past = lanes.get(s.dh + at);
      if (s.product) past += lanes.get(s.product + at);
      Gradients d{};
      if (s.lengths && s.t >= s.lengths[i]) {
        d.past = past;
      } else {
        d = cell(s, i, u, lanes, s.dy ? past + lanes.get(s.dy + i * s.dy_step + u) : past);
      }
      for (int64_t k = 0; k < kGates; ++k) {
        dbias[k] += d.gate[k];
        lanes.put(to + k * s.units, d.gate[k]);
        if (Mode == RnnMode::gru) lanes.put(to_state + k * s.units, k == 2 ? d.share : d.gate[k]);
      }
      dshare += d.share;
      lanes.put(s.dh + at, d.past);
    }
    for (int64_t k = 0; k < kGates; ++k) lanes.add(s.dbias + k * s.units + u, dbias[k]);
    if (Mode == RnnMode::gru) lanes.add(s.dnew_bias + u, dshare);
  }

  static void run(const Step& s, int64_t begin, int64_t end) {
    int64_t u = begin;
    for (; u + kLanes<T> <= end; u += kLanes<T>) units(s, u, Lanes<T, true>{});
    if (u < end) units(s, u, Lanes<T, false>{end - u});
  }
};

template <typename T, template <typename, RnnMode> class Pass, typename Step>
void run(const Step& s, int64_t begin, int64_t end) {
  switch (s.mode) {
    case RnnMode::relu: return Pass<T, RnnMode::relu>::run(s, begin, end);
    case RnnMode::tanh: return Pass<T, RnnMode::tanh>::run(s, begin, end);
    case RnnMode::lstm: return Pass<T, RnnMode::lstm>::run(s, begin, end);
    case RnnMode::gru: return Pass<T, RnnMode::gru>::run(s, begin, end);
  }
}

}  // namespace

const RnnCells<float> rnn_cells_f32_table = {run<float, Forward, RnnForwardStep<float>>,
                                             run<float, Backward, RnnBackwardStep<float>>};
const RnnCells<double> rnn_cells_f64_table = {run<double, Forward, RnnForwardStep<double>>,
                                              run<double, Backward, RnnBackwardStep<double>>};

}  // namespace mxnet::MX_ISA
