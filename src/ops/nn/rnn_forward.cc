// SPDX-License-Identifier: Apache-2.0
// One big product per layer and direction for the inputs of all time steps, then step by step: the product with the
// state and the cell, a panel of units at a time.
#include <cmath>
#include <cstring>

#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "ops/nn/dropout.h"
#include "ops/nn/rnn.h"

namespace mxnet::nn {
namespace {

template <typename T>
class RnnForward final : public Kernel {
 public:
  explicit RnnForward(const PrepareArgs& a)
      : shape_(a.in[0].shape, a.as<RnnParams>()),
        slot_(a.as<RnnParams>(), takes_parts(a.op)),
        reserve_(shape_),
        clip_(a.as<RnnParams>().clip()),
        dtype_(a.in[0].dtype) {
    const auto& p = a.as<RnnParams>();
    const auto& s = shape_;
    if (slot_.lengths >= 0) lengths_dtype_ = a.in[slot_.lengths].dtype;
    wants_output_ = a.req[0] != Req::null;
    keeps_ = a.req[slot_.reserve] != Req::null;
    drops_ = a.training && p.drops();
    drop_ = p.p;
    for (int64_t l = 0; l < std::min<int64_t>(2, s.layers); ++l) {
      input_[l] = RnnProduct({.dtype = dtype_of<T>(),
                              .m = s.rows(),
                              .n = s.gates(),
                              .k = s.layer_inputs(l),
                              .trans_b = true,
                              .bias = true},
                             dtype_, a.team);
    }
    state_ = StepProduct<T>({s.batch, s.units, s.state, gates_of(s.mode), true}, s.steps, a.team);
    if (s.projects) project_ = StepProduct<T>({s.batch, s.state, s.units, 1, true}, s.steps, a.team);
    grain_ =
        std::max<int64_t>(1, 200'000 / std::max<int64_t>(1, s.batch * s.state * gates_of(s.mode) * state_.width()));
    plan_scratch();
    estimate();
  }

  void run(const KernelCall& c) const override {
    const auto& s = shape_;
    const auto in = [&](int i, int64_t n, size_t at) { return as_float(c.in[i], n, part(c, at)); };
    Arrays r;
    r.call = &c;
    if (!same_type())
      r.params = widened_parts(c);
    else if (slot_.parameters >= 0)
      r.params = static_cast<const T*>(c.in[slot_.parameters]);
    r.state = in(slot_.state, s.layers * s.directions * s.batch * s.state, h0_at_);
    if (slot_.cell >= 0) r.cell = in(slot_.cell, s.layers * s.directions * s.batch * s.units, c0_at_);
    if (slot_.lengths >= 0) {
      r.lengths = static_cast<int64_t*>(onednn::at(c.scratch, lengths_at_));
      read_lengths(c.in[slot_.lengths], lengths_dtype_, s.batch, s.steps, r.lengths);
    }
    r.reserve = keeps_ ? static_cast<T*>(c.out[slot_.reserve]) : part(c, reserve_at_);
    r.output = same_type() && c.out[0] ? static_cast<T*>(c.out[0]) : part(c, output_at_);
    draw_mask(r);
    const void* x = c.in[0];
    for (int64_t l = 0; l < s.layers; ++l) x = run_layer(r, l, x);
    if (c.out[0]) give(r.output, s.rows() * s.width(), c.out[0]);
  }

 private:
  struct Arrays {
    const KernelCall* call = nullptr;
    const T* params = nullptr;  // the vector; null where parts are read in place
    const T *state = nullptr, *cell = nullptr;
    int64_t* lengths = nullptr;
    T *reserve = nullptr, *output = nullptr;
    uint8_t* mask = nullptr;
  };
  const T* weight(const Arrays& r, int64_t l, int64_t d, RnnPart part) const {
    if (r.params) return r.params + shape_.offset(l, d, part);
    return static_cast<const T*>(r.call->in[slot_.first_part + shape_.part_index(l, d, part)]);
  }
  // A part as it was given.
  const void* given(const KernelCall& c, int64_t l, int64_t d, RnnPart part) const {
    if (slot_.parameters < 0) return c.in[slot_.first_part + shape_.part_index(l, d, part)];
    return static_cast<const char*>(c.in[slot_.parameters]) + shape_.offset(l, d, part) * mxnet::size_of(dtype_);
  }
  const void* input_weight(const Arrays& r, int64_t l, int64_t d) const {
    return given(*r.call, l, d, RnnPart::input_weight);
  }
  // All but the weights of the inputs, which are multiplied as they are.
  const T* widened_parts(const KernelCall& c) const {
    T* to = part(c, params_at_);
    shape_.for_each_part([&](int64_t, int64_t l, int64_t d, RnnPart kind) {
      if (kind == RnnPart::input_weight) return;
      as_float(given(c, l, d, kind), shape_.size_of(l, kind), to + shape_.offset(l, d, kind));
    });
    return to;
  }

  bool same_type() const { return dtype_ == dtype_of<T>(); }
  T* part(const KernelCall& c, size_t at) const { return static_cast<T*>(onednn::at(c.scratch, at)); }

  void plan_scratch() {
    const auto& s = shape_;
    onednn::ScratchPlan plan;
    const auto take = [&](int64_t n) { return plan.add(sizeof(T) * static_cast<size_t>(n)); };
    const int64_t states = s.layers * s.directions * s.batch;
    if (!same_type()) {
      data_at_ = take(s.rows() * s.width());
      params_at_ = take(s.parameter_count());
      h0_at_ = take(states * s.state);
      c0_at_ = take(states * s.units);
    }
    if (!same_type() || !wants_output_) output_at_ = take(s.rows() * s.width());
    lengths_at_ = plan.add(sizeof(int64_t) * static_cast<size_t>(s.batch));
    bias_at_ = take(s.gates());
    product_at_ = take(s.batch * s.gates());
    packed_at_ = plan.add(state_.packed_bytes());
    if (s.projects) packed_projection_at_ = plan.add(project_.packed_bytes());
    // Without a gradient to come, two layers share the room of one in turn.
    if (!keeps_) reserve_at_ = take(reserve_.size(std::min<int64_t>(2, s.layers)));
    mask_size_ = drops_ ? (s.layers - 1) * s.rows() * s.width() : 0;
    mask_at_ = plan.add(static_cast<size_t>(mask_size_));
    size_t gemm = std::max(state_.scratch_bytes(), s.projects ? project_.scratch_bytes() : 0);
    for (const RnnProduct& g : input_) gemm = std::max(gemm, g.scratch_bytes);
    gemm_at_ = plan.add(gemm);
    scratch = plan.size();
    random_draws = static_cast<uint64_t>((mask_size_ + kMaskGroup - 1) / kMaskGroup * kMaskGroup / 4);
  }

  void estimate() {
    const auto& s = shape_;
    team_matters = state_.team_matters() || (s.projects && project_.team_matters());
    const int64_t cells = s.rows() * s.units * gates_of(s.mode);
    int64_t each = state_.cost_ns(s.steps) + cells + (s.projects ? project_.cost_ns(s.steps) : 0);
    cost_ns = 500 + s.layers * s.directions * each;
    for (int64_t l = 0; l < s.layers; ++l) cost_ns += s.directions * input_[std::min<int64_t>(l, 1)].cost_ns;
    for (const RnnProduct& g : input_) team_matters |= g.team_matters;
    if (!same_type()) cost_ns += 2 * s.parameter_count();
  }

  const T* as_float(const void* from, int64_t n, T* room) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) {
        widen(dtype_, from, n, room);
        return room;
      }
    }
    return static_cast<const T*>(from);
  }
  void give(const T* from, int64_t n, void* to) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) return narrow(dtype_, from, n, to);
    }
    if (from != to) std::copy_n(from, n, static_cast<T*>(to));
  }

  void draw_mask(Arrays& r) const {
    if (!drops_) return;
    void* kept = r.call->out[slot_.mask];
    r.mask = static_cast<uint8_t*>(kept ? kept : onednn::at(r.call->scratch, mask_at_));
    const auto threshold = static_cast<uint32_t>(std::lround(static_cast<double>(drop_) * 0x1p24));
    cpu::parallel_for((mask_size_ + kMaskGroup - 1) / kMaskGroup, 64, [&](int64_t begin, int64_t end) {
      dropout_kernels().mask(r.call->random, threshold, r.mask, begin * kMaskGroup,
                             std::min(mask_size_, end * kMaskGroup));
    });
  }

  // Which layer's room in the reserve `layer` has.
  int64_t room(int64_t layer) const { return keeps_ ? layer : layer % 2; }
  bool is_last(int64_t layer) const { return layer + 1 == shape_.layers; }

  // Returns where the layer's output lies, that is the next one's input.
  const void* run_layer(const Arrays& r, int64_t l, const void* x) const {
    const auto& s = shape_;
    // The states of the only direction are the output already, if nothing happens to it.
    const bool own = !is_last(l) && s.directions == 1 && !drops_ && !r.lengths;
    T* out = is_last(l) ? r.output : r.reserve + reserve_.input(room(l + 1));
    for (int64_t d = 0; d < s.directions; ++d) run_direction(r, l, d, x, own ? nullptr : out + d * s.state);
    if (own) out = r.reserve + reserve_.at(room(l), 0) + reserve_.state + s.batch * s.state;
    if (drops_ && !is_last(l)) drop(r.mask + l * s.rows() * s.width(), out);
    return is_last(l) ? nullptr : as_operand(*r.call, out);
  }

  // The output of a layer in the dtype of the weights that the next one multiplies it with.
  const void* as_operand(const KernelCall& c, const T* x) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) {
        narrow(dtype_, x, shape_.rows() * shape_.width(), part(c, data_at_));
        return part(c, data_at_);
      }
    }
    return x;
  }

  void drop(const uint8_t* mask, T* values) const {
    const float scale = drop_ < 1 ? 1.0f / (1.0f - drop_) : 0.0f;
    cpu::parallel_for(shape_.rows() * shape_.width(), 64 * kMaskGroup, [&](int64_t begin, int64_t end) {
      dropout_kernels().scale_kept(dtype_of<T>(), values, mask, values, scale, begin, end);
    });
  }

  void run_direction(const Arrays& r, int64_t l, int64_t d, const void* x, T* out) const {
    const auto& s = shape_;
    T* kept = r.reserve + reserve_.at(room(l), d);
    T* gates = kept + reserve_.gates;
    const T* input_bias = weight(r, l, d, RnnPart::input_bias);
    const T* state_bias = weight(r, l, d, RnnPart::state_bias);
    T* bias = part(*r.call, bias_at_);
    // gru multiplies the state's share of n, bias included.
    const int64_t shared = s.mode == RnnMode::gru ? 2 * s.units : s.gates();
    for (int64_t i = 0; i < s.gates(); ++i) bias[i] = input_bias[i] + (i < shared ? state_bias[i] : T(0));
    void* gemm_scratch = onednn::at(r.call->scratch, gemm_at_);
    input_[std::min<int64_t>(l, 1)].run(x, input_weight(r, l, d), bias, gates, gemm_scratch);

    const int64_t first = d == 0 ? 0 : s.steps, layer = l * s.directions + d;
    std::copy_n(r.state + layer * s.batch * s.state, s.batch * s.state,
                kept + reserve_.state + first * s.batch * s.state);
    if (r.cell) {
      std::copy_n(r.cell + layer * s.batch * s.units, s.batch * s.units,
                  kept + reserve_.cell + first * s.batch * s.units);
    }
    const T* state_weight = weight(r, l, d, RnnPart::state_weight);
    const T* projection = s.projects ? weight(r, l, d, RnnPart::projection) : nullptr;
    if (state_.packed()) state_.pack(state_weight, part(*r.call, packed_at_));
    if (s.projects && project_.packed()) project_.pack(projection, part(*r.call, packed_projection_at_));

    RnnForwardStep<T> step{};
    step.mode = s.mode;
    step.clip = clip_;
    step.rows = s.batch;
    step.units = s.units;
    step.lengths = r.lengths;
    step.product = part(*r.call, product_at_);
    step.new_bias = state_bias + 2 * s.units;
    step.out_step = s.width();
    for (int64_t i = 0; i < s.steps; ++i) {
      const int64_t t = d == 0 ? i : s.steps - 1 - i;
      const int64_t before = d == 0 ? t : t + 1, after = d == 0 ? t + 1 : t;
      const T* h_prev = kept + reserve_.state + before * s.batch * s.state;
      T* h = kept + reserve_.state + after * s.batch * s.state;
      T* out_t = out ? out + t * s.batch * s.width() : nullptr;
      step.t = t;
      step.gates = gates + t * s.batch * s.gates();
      step.new_product = kept + reserve_.share + t * s.batch * s.units;
      step.c_prev = kept + reserve_.cell + before * s.batch * s.units;
      step.c = kept + reserve_.cell + after * s.batch * s.units;
      step.h_prev = s.projects ? nullptr : h_prev;
      step.h = s.projects ? kept + reserve_.hidden + t * s.batch * s.units : h;
      step.out = s.projects ? nullptr : out_t;
      run_step(*r.call, step, h_prev, state_weight);
      if (s.projects) project(*r.call, step, projection, h_prev, h, out_t);
    }
    const int64_t last = d == 0 ? s.steps : 0;
    if (slot_.outputs > 1) {
      write_state(*r.call, 1, layer, kept + reserve_.state + last * s.batch * s.state, s.state);
    }
    if (slot_.outputs > 2) {
      write_state(*r.call, 2, layer, kept + reserve_.cell + last * s.batch * s.units, s.units);
    }
  }

  void run_step(const KernelCall& c, const RnnForwardStep<T>& step, const T* h_prev, const T* weight) const {
    T* product = part(c, product_at_);
    if (!state_.packed()) state_.all(h_prev, weight, product, onednn::at(c.scratch, gemm_at_));
    const T* packed = part(c, packed_at_);
    const int64_t width = state_.width();
    cpu::parallel_for(state_.panels(), grain_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (state_.packed()) state_.panel(h_prev, packed, i, product);
        rnn_cells<T>().forward(step, i * width, std::min(shape_.units, (i + 1) * width));
      }
    });
  }

  // The new state from the hidden units, for rows that have not ended.
  void project(const KernelCall& c, const RnnForwardStep<T>& step, const T* weight, const T* h_prev, T* h,
               T* out) const {
    const auto& s = shape_;
    if (!project_.packed()) project_.all(step.h, weight, h, onednn::at(c.scratch, gemm_at_));
    const T* packed = part(c, packed_projection_at_);
    const int64_t width = project_.width();
    cpu::parallel_for(project_.panels(), grain_, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * width, n = std::min(s.state, end * width) - first;
      for (int64_t i = begin; i < end && project_.packed(); ++i) project_.panel(step.h, packed, i, h);
      for (int64_t i = 0; i < s.batch; ++i) {
        const bool ended = step.lengths && step.t >= step.lengths[i];
        if (ended) std::copy_n(h_prev + i * s.state + first, n, h + i * s.state + first);
        if (!out) continue;
        T* to = out + i * s.width() + first;
        ended ? std::fill_n(to, n, T(0)) : std::copy_n(h + i * s.state + first, n, to);
      }
    });
  }

  // The state after the last step of output `slot`, for one layer and direction.
  void write_state(const KernelCall& c, int slot, int64_t layer, const T* from, int64_t width) const {
    if (!c.out[slot]) return;
    const int64_t n = shape_.batch * width;
    give(from, n, static_cast<char*>(c.out[slot]) + layer * n * mxnet::size_of(dtype_));
  }

  RnnShape shape_;
  RnnSlots slot_;
  RnnReserve reserve_;
  RnnClip clip_;
  DType dtype_, lengths_dtype_ = DType::f32;
  bool wants_output_, keeps_, drops_;
  float drop_;
  RnnProduct input_[2];  // of the first layer and of the others
  StepProduct<T> state_, project_;
  int64_t grain_, mask_size_ = 0;
  size_t data_at_ = 0, params_at_ = 0, h0_at_ = 0, c0_at_ = 0, output_at_ = 0, lengths_at_ = 0, bias_at_ = 0;
  size_t product_at_ = 0, packed_at_ = 0, packed_projection_at_ = 0, reserve_at_ = 0, mask_at_ = 0, gemm_at_ = 0;
};

}  // namespace

Prepared prepare_rnn_forward(const PrepareArgs& a) {
  if (a.in[0].dtype == DType::f64) return std::unique_ptr<Kernel>(std::make_unique<RnnForward<double>>(a));
  return std::unique_ptr<Kernel>(std::make_unique<RnnForward<float>>(a));
}

}  // namespace mxnet::nn
