// SPDX-License-Identifier: Apache-2.0
// Layer by layer from the top: the gates' gradients step by step, from the last to the first; then the gradients of
// weights and inputs as one product each over all steps.
#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"
#include "ops/nn/dropout.h"
#include "ops/nn/rnn.h"

namespace mxnet::nn {
namespace {

template <typename T>
class RnnBackward final : public Kernel {
 public:
  explicit RnnBackward(const PrepareArgs& a)
      : shape_(a.in[RnnSlots(a.as<RnnParams>(), takes_parts(a.op)).head_data].shape, a.as<RnnParams>()),
        slot_(a.as<RnnParams>(), takes_parts(a.op)),
        reserve_(shape_),
        clip_(a.as<RnnParams>().clip()),
        dtype_(a.in[0].dtype),
        drops_(a.as<RnnParams>().drops()),
        drop_(a.as<RnnParams>().p) {
    if (slot_.lengths >= 0) lengths_dtype_ = a.in[slot_.head_lengths].dtype;
    accepts_add = same_type();
    read_requests(a.req);
    prepare_products(a.team);
    plan_scratch();
    estimate();
  }

  void run(const KernelCall& c) const override {
    const auto& s = shape_;
    Arrays r;
    r.call = &c;
    if (!same_type())
      r.params = widened_parts(c);
    else if (slot_.head_parameters >= 0)
      r.params = static_cast<const T*>(c.in[slot_.head_parameters]);
    r.reserve = static_cast<const T*>(c.in[slot_.head_reserve]);
    if (slot_.lengths >= 0) {
      r.lengths = static_cast<int64_t*>(at(c, lengths_at_));
      read_lengths(c.in[slot_.head_lengths], lengths_dtype_, s.batch, s.steps, r.lengths);
    }
    if (!in_place_)
      r.dparams = part(c, dparams_at_);
    else if (slot_.grad_parameters >= 0)
      r.dparams = static_cast<T*>(c.out[slot_.grad_parameters]);
    const T* dy = as_float(c, 0, s.rows() * s.width(), dy_at_);
    for (int64_t l = s.layers - 1; l >= 0; --l) {
      T* dx = l > 0 ? part(c, dx_at_[l % 2]) : data_.wanted ? target(c, 0, ddata_at_) : nullptr;
      for (int64_t d = 0; d < s.directions; ++d) run_direction(r, l, d, dy + d * s.state, dx);
      if (l > 0 && drops_)
        drop(static_cast<const uint8_t*>(c.in[slot_.head_mask]) + (l - 1) * s.rows() * s.width(), dx);
      dy = dx;
    }
    if (data_.wanted && !same_type()) give(part(c, ddata_at_), s.rows() * s.inputs, c.out[0], false);
    if (params_.wanted && !in_place_) give_parameters(c);
  }

 private:
  struct Arrays {
    const KernelCall* call = nullptr;
    const T *params = nullptr, *reserve = nullptr;
    int64_t* lengths = nullptr;
    T* dparams = nullptr;
  };

  bool same_type() const { return dtype_ == dtype_of<T>(); }
  static void* at(const KernelCall& c, size_t offset) { return onednn::at(c.scratch, offset); }
  static T* part(const KernelCall& c, size_t offset) { return static_cast<T*>(at(c, offset)); }
  // Where output `i` is computed: in place, or beside it in float.
  T* target(const KernelCall& c, int i, size_t offset) const {
    return same_type() ? static_cast<T*>(c.out[i]) : part(c, offset);
  }
  const T* as_float(const KernelCall& c, int i, int64_t n, size_t offset) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) {
        widen(dtype_, c.in[i], n, part(c, offset));
        return part(c, offset);
      }
    }
    return static_cast<const T*>(c.in[i]);
  }
  void give(const T* from, int64_t n, void* to, bool add) const {
    dispatch_float(dtype_, [&]<typename U>(TypeTag<U>) {
      auto* out = static_cast<U*>(to);
      cpu::parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) out[i] = static_cast<U>(add ? from[i] + static_cast<T>(out[i]) : from[i]);
      });
    });
  }
  void give_parameters(const KernelCall& c) const {
    const T* from = part(c, dparams_at_);
    if (slot_.grad_parameters >= 0) {
      return give(from, shape_.parameter_count(), c.out[slot_.grad_parameters], params_.add);
    }
    shape_.for_each_part([&](int64_t i, int64_t l, int64_t d, RnnPart kind) {
      void* to = c.out[slot_.grad_first_part + i];
      if (to) give(from + shape_.offset(l, d, kind), shape_.size_of(l, kind), to, part_adds_[static_cast<size_t>(i)]);
    });
  }

  const T* weight(const Arrays& r, int64_t l, int64_t d, RnnPart part) const {
    if (r.params) return r.params + shape_.offset(l, d, part);
    return static_cast<const T*>(r.call->in[slot_.head_first_part + shape_.part_index(l, d, part)]);
  }
  T* gradient(const Arrays& r, int64_t l, int64_t d, RnnPart part) const {
    if (r.dparams) return r.dparams + shape_.offset(l, d, part);
    return static_cast<T*>(r.call->out[slot_.grad_first_part + shape_.part_index(l, d, part)]);
  }
  // A part as it was given.
  const void* given(const KernelCall& c, int64_t l, int64_t d, RnnPart part) const {
    if (slot_.head_parameters < 0) return c.in[slot_.head_first_part + shape_.part_index(l, d, part)];
    return static_cast<const char*>(c.in[slot_.head_parameters]) + shape_.offset(l, d, part) * mxnet::size_of(dtype_);
  }
  // All but the weights of the inputs, which are multiplied as they are, and the biases.
  const T* widened_parts(const KernelCall& c) const {
    T* to = part(c, params_at_);
    if constexpr (std::is_same_v<T, float>) {
      shape_.for_each_part([&](int64_t, int64_t l, int64_t d, RnnPart kind) {
        if (kind != RnnPart::state_weight && kind != RnnPart::projection) return;
        widen(dtype_, given(c, l, d, kind), shape_.size_of(l, kind), to + shape_.offset(l, d, kind));
      });
    }
    return to;
  }
  // Rows in the dtype of what they are multiplied with.
  const void* as_operand(const KernelCall& c, const T* x, int64_t n, size_t room) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) {
        narrow(dtype_, x, n, at(c, room));
        return at(c, room);
      }
    }
    return x;
  }

  // Parameters are computed in place if all are asked for in one way; else beside, and handed out at the end.
  void read_requests(std::span<const Req> req) {
    const auto read = [&](int i) {
      return i < 0 ? Request{} : Request{req[i] != Req::null, accepts_add && req[i] == Req::add};
    };
    data_ = read(0);
    state_request_ = read(slot_.grad_state);
    cell_request_ = read(slot_.grad_cell);
    in_place_ = same_type();
    params_ = read(slot_.grad_parameters >= 0 ? slot_.grad_parameters : slot_.grad_first_part);
    for (int i = slot_.grad_first_part; i >= 0 && i < slot_.grads; ++i) {
      const Request r = read(i);
      in_place_ &= r.wanted == params_.wanted && r.add == params_.add;
      part_adds_.push_back(r.add);
    }
    if (in_place_) return;
    params_.add = false;
    for (int i = slot_.grad_first_part; i >= 0 && i < slot_.grads; ++i) params_.wanted |= read(i).wanted;
  }

  static int64_t kind(int64_t layer) { return std::min<int64_t>(layer, 1); }

  void prepare_products(int team) {
    const auto& s = shape_;
    const auto gemm = [&](cpu::GemmSpec spec) {
      spec.dtype = dtype_of<T>();
      RnnProduct g(spec, dtype_, team);
      gemm_bytes_ = std::max(gemm_bytes_, g.scratch_bytes);
      team_matters |= g.team_matters;
      return g;
    };
    for (int64_t l = 0; l < std::min<int64_t>(2, s.layers); ++l) {
      const int64_t n = s.layer_inputs(l);
      if (params_.wanted)
        dinput_weight_[l] = gemm({.m = s.gates(), .n = n, .k = s.rows(), .trans_a = true, .accumulate = params_.add});
      if (l == 0 && !data_.wanted) continue;
      for (int64_t d = 0; d < s.directions; ++d) {
        dx_[l][d] = gemm({.m = s.rows(), .n = n, .k = s.gates(), .accumulate = d > 0 || (l == 0 && data_.add)});
      }
    }
    if (params_.wanted) {
      dstate_weight_ = gemm({.m = s.gates(), .n = s.state, .k = s.rows(), .trans_a = true, .accumulate = params_.add});
      if (s.projects)
        dprojection_ = gemm({.m = s.state, .n = s.units, .k = s.rows(), .trans_a = true, .accumulate = params_.add});
    }
    state_ = StepProduct<T>({s.batch, s.state, s.gates()}, s.steps, team);
    gemm_bytes_ = std::max(gemm_bytes_, state_.scratch_bytes());
    if (s.projects) {
      project_ = StepProduct<T>({s.batch, s.units, s.state}, s.steps, team);
      gemm_bytes_ = std::max(gemm_bytes_, project_.scratch_bytes());
    }
    team_matters |= state_.team_matters() || (s.projects && project_.team_matters());
    grain_ = std::max<int64_t>(1, 200'000 / std::max<int64_t>(1, s.batch * s.gates() * state_.width()));
  }

  void plan_scratch() {
    const auto& s = shape_;
    onednn::ScratchPlan plan;
    const auto take = [&](int64_t n) { return plan.add(sizeof(T) * static_cast<size_t>(n)); };
    if (!same_type()) {
      left_at_ = plan.add(sizeof(half_t) * static_cast<size_t>(s.rows() * s.gates()));
      right_at_ = plan.add(sizeof(half_t) * static_cast<size_t>(s.rows() * std::max(s.units, s.width())));
      params_at_ = take(s.parameter_count());
      dy_at_ = take(s.rows() * s.width());
      ddata_at_ = take(s.rows() * s.inputs);
    }
    if (!in_place_) dparams_at_ = take(s.parameter_count());
    lengths_at_ = plan.add(sizeof(int64_t) * static_cast<size_t>(s.batch));
    dgates_at_ = take(s.rows() * s.gates());
    dstate_gates_at_ = s.mode == RnnMode::gru ? take(s.rows() * s.gates()) : dgates_at_;
    for (int64_t i = 0; i < std::min<int64_t>(2, s.layers - 1); ++i) dx_at_[(i + 1) % 2] = take(s.rows() * s.width());
    dbias_at_ = take(s.gates() + s.units);
    dh_at_ = take(s.batch * s.units);
    dc_at_ = take(s.batch * s.units);
    product_at_ = take(s.batch * std::max(s.units, s.state));
    packed_at_ = plan.add(state_.packed_bytes());
    if (s.projects) {
      packed_projection_at_ = plan.add(project_.packed_bytes());
      dstate_at_ = take(s.batch * s.state);
      dprojected_at_ = take(s.rows() * s.state);
    }
    gemm_at_ = plan.add(gemm_bytes_);
    scratch = plan.size();
  }

  void estimate() {
    const auto& s = shape_;
    const auto cost = [](const RnnProduct& g) { return g.cost_ns; };
    const int64_t each = state_.cost_ns(s.steps) + 2 * s.rows() * s.gates() + cost(dstate_weight_) +
                         cost(dprojection_) + (s.projects ? project_.cost_ns(s.steps) : 0);
    cost_ns = 500 + s.layers * s.directions * each;
    for (int64_t l = 0; l < s.layers; ++l) {
      cost_ns += s.directions * (cost(dinput_weight_[kind(l)]) + cost(dx_[kind(l)][0]));
    }
    if (!same_type()) cost_ns += 4 * s.parameter_count();
  }

  void drop(const uint8_t* mask, T* values) const {
    const float scale = drop_ < 1 ? 1.0f / (1.0f - drop_) : 0.0f;
    cpu::parallel_for(shape_.rows() * shape_.width(), 64 * kMaskGroup, [&](int64_t begin, int64_t end) {
      dropout_kernels().scale_kept(dtype_of<T>(), values, mask, values, scale, begin, end);
    });
  }

  // The gradient of a state after the last step, or zeros.
  void start(const Arrays& r, int head, int64_t layer, int64_t width, T* to) const {
    const int64_t n = shape_.batch * width;
    if (head < 0) {
      std::fill_n(to, n, T(0));
      return;
    }
    const char* from = static_cast<const char*>(r.call->in[head]) + layer * n * mxnet::size_of(dtype_);
    if constexpr (std::is_same_v<T, float>) {
      if (!same_type()) return widen(dtype_, from, n, to);
    }
    std::copy_n(reinterpret_cast<const T*>(from), n, to);
  }

  void finish(const Arrays& r, int output, bool add, int64_t layer, int64_t width, const T* from, const T* more) const {
    const int64_t n = shape_.batch * width;
    char* to = static_cast<char*>(r.call->out[output]) + layer * n * mxnet::size_of(dtype_);
    dispatch_float(dtype_, [&]<typename U>(TypeTag<U>) {
      auto* out = reinterpret_cast<U*>(to);
      for (int64_t i = 0; i < n; ++i) {
        const T value = (more ? from[i] + more[i] : from[i]) + (add ? static_cast<T>(out[i]) : T(0));
        out[i] = static_cast<U>(value);
      }
    });
  }

  void run_direction(const Arrays& r, int64_t l, int64_t d, const T* dy, T* dx) const {
    const auto& s = shape_;
    const KernelCall& c = *r.call;
    const int64_t layer = l * s.directions + d;
    const T* kept = r.reserve + reserve_.at(l, d);
    const T* state_weight = weight(r, l, d, RnnPart::state_weight);
    const T* projection = s.projects ? weight(r, l, d, RnnPart::projection) : nullptr;
    T* dh = part(c, dh_at_);
    T* dstate = s.projects ? part(c, dstate_at_) : dh;
    start(r, slot_.head_state, layer, s.state, dstate);
    if (s.projects) std::fill_n(dh, s.batch * s.units, T(0));
    if (slot_.cell >= 0) start(r, slot_.head_cell, layer, s.units, part(c, dc_at_));
    std::fill_n(part(c, dbias_at_), s.gates() + s.units, T(0));
    if (state_.packed()) state_.pack(state_weight, part(c, packed_at_));
    if (s.projects && project_.packed()) project_.pack(projection, part(c, packed_projection_at_));

    RnnBackwardStep<T> step{};
    step.mode = s.mode;
    step.clip = clip_;
    step.rows = s.batch;
    step.units = s.units;
    step.lengths = r.lengths;
    step.dy_step = s.width();
    step.dh = dh;
    step.dc = part(c, dc_at_);
    step.dbias = part(c, dbias_at_);
    step.dnew_bias = step.dbias + s.gates();
    const T* dnext = nullptr;  // gradients of the state's gates one step later
    for (int64_t i = 0; i < s.steps; ++i) {
      const int64_t t = d == 0 ? s.steps - 1 - i : i;
      const int64_t before = d == 0 ? t : t + 1, after = d == 0 ? t + 1 : t;
      const T* dy_t = dy + t * s.batch * s.width();
      step.t = t;
      step.gates = kept + reserve_.gates + t * s.batch * s.gates();
      step.new_product = kept + reserve_.share + t * s.batch * s.units;
      step.c_prev = kept + reserve_.cell + before * s.batch * s.units;
      step.c = kept + reserve_.cell + after * s.batch * s.units;
      step.h_prev = kept + reserve_.state + before * s.batch * s.state;
      step.h = kept + reserve_.state + after * s.batch * s.state;
      step.dgates = part(c, dgates_at_) + t * s.batch * s.gates();
      step.dstate_gates = part(c, dstate_gates_at_) + t * s.batch * s.gates();
      if (s.projects)
        run_projected_step(r, step, dy_t, dnext, state_weight, projection);
      else
        run_step(c, step, dy_t, dnext, state_weight);
      dnext = step.dstate_gates;
    }
    finish_states(r, layer, dnext, state_weight, dstate);
    const void* dgates = as_operand(c, part(c, dgates_at_), s.rows() * s.gates(), left_at_);
    if (dx) dx_[kind(l)][d].run(dgates, given(c, l, d, RnnPart::input_weight), nullptr, dx, at(c, gemm_at_));
    if (params_.wanted) weight_gradients(r, l, d, dgates);
  }

  void run_step(const KernelCall& c, RnnBackwardStep<T> step, const T* dy, const T* dnext, const T* weight) const {
    T* product = part(c, product_at_);
    const T* packed = part(c, packed_at_);
    step.dy = dy;
    step.product = dnext ? product : nullptr;
    if (dnext && !state_.packed()) state_.all(dnext, weight, product, at(c, gemm_at_));
    const int64_t width = state_.width();
    cpu::parallel_for(state_.panels(), grain_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        if (dnext && state_.packed()) state_.panel(dnext, packed, i, product);
        rnn_cells<T>().backward(step, i * width, std::min(shape_.units, (i + 1) * width));
      }
    });
  }

  // First back through the projection of all rows that have not ended, then through the cell.
  void run_projected_step(const Arrays& r, RnnBackwardStep<T> step, const T* dy, const T* dnext, const T* weight,
                          const T* projection) const {
    const auto& s = shape_;
    const KernelCall& c = *r.call;
    T* product = part(c, product_at_);
    T* dstate = part(c, dstate_at_);
    T* dprojected = part(c, dprojected_at_) + step.t * s.batch * s.state;
    if (dnext) all_columns(c, state_, dnext, weight, packed_at_, product);
    for (int64_t i = 0; i < s.batch; ++i) {
      const bool ended = step.lengths && step.t >= step.lengths[i];
      for (int64_t j = 0; j < s.state; ++j) {
        const int64_t k = i * s.state + j;
        const T sum = dnext ? dstate[k] + product[k] : dstate[k];
        dprojected[k] = ended ? T(0) : sum + dy[i * s.width() + j];
        dstate[k] = ended ? sum : T(0);
      }
    }
    all_columns(c, project_, dprojected, projection, packed_projection_at_, product);
    step.dy = nullptr;
    step.product = product;
    const int64_t grain = std::max<int64_t>(16, 4096 / std::max<int64_t>(1, s.batch));
    cpu::parallel_for(s.units, grain, [&](int64_t begin, int64_t end) { rnn_cells<T>().backward(step, begin, end); });
  }

  void all_columns(const KernelCall& c, const StepProduct<T>& p, const T* a, const T* weight, size_t packed_at,
                   T* to) const {
    if (!p.packed()) return p.all(a, weight, to, at(c, gemm_at_));
    const T* packed = part(c, packed_at);
    cpu::parallel_for(p.panels(), grain_, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) p.panel(a, packed, i, to);
    });
  }

  void finish_states(const Arrays& r, int64_t layer, const T* dfirst, const T* weight, const T* dstate) const {
    const auto& s = shape_;
    const KernelCall& c = *r.call;
    T* product = part(c, product_at_);
    if (state_request_.wanted) {
      if (dfirst) all_columns(c, state_, dfirst, weight, packed_at_, product);
      finish(r, slot_.grad_state, state_request_.add, layer, s.state, dstate, dfirst ? product : nullptr);
    }
    if (cell_request_.wanted) {
      finish(r, slot_.grad_cell, cell_request_.add, layer, s.units, part(c, dc_at_), nullptr);
    }
  }

  void weight_gradients(const Arrays& r, int64_t l, int64_t d, const void* dgates) const {
    const auto& s = shape_;
    const KernelCall& c = *r.call;
    const T* kept = r.reserve + reserve_.at(l, d);
    const T* before = kept + reserve_.state + (d == 0 ? 0 : s.batch * s.state);
    const auto to = [&](RnnPart p) { return gradient(r, l, d, p); };
    const auto right = [&](const T* x, int64_t width) { return as_operand(c, x, s.rows() * width, right_at_); };
    const void* x = l == 0 ? c.in[slot_.head_data] : right(layer_input(r, l), s.width());
    dinput_weight_[kind(l)].run(dgates, x, nullptr, to(RnnPart::input_weight), at(c, gemm_at_));
    if (s.mode == RnnMode::gru) dgates = as_operand(c, part(c, dstate_gates_at_), s.rows() * s.gates(), left_at_);
    dstate_weight_.run(dgates, right(before, s.state), nullptr, to(RnnPart::state_weight), at(c, gemm_at_));
    if (s.projects) {
      const void* left = as_operand(c, part(c, dprojected_at_), s.rows() * s.state, left_at_);
      dprojection_.run(left, right(kept + reserve_.hidden, s.units), nullptr, to(RnnPart::projection), at(c, gemm_at_));
    }
    const T* dbias = part(c, dbias_at_);
    T* input_bias = to(RnnPart::input_bias);
    T* state_bias = to(RnnPart::state_bias);
    for (int64_t i = 0; i < s.gates(); ++i) {
      const bool own = s.mode == RnnMode::gru && i >= 2 * s.units;  // n's share of the state has a gradient of its own
      const T of_state = own ? dbias[s.gates() + i - 2 * s.units] : dbias[i];
      input_bias[i] = params_.add ? input_bias[i] + dbias[i] : dbias[i];
      state_bias[i] = params_.add ? state_bias[i] + of_state : of_state;
    }
  }

  // What layer l > 0 read.
  const T* layer_input(const Arrays& r, int64_t l) const {
    const bool is_state_below = shape_.directions == 1 && !drops_ && !r.lengths;
    if (!is_state_below) return r.reserve + reserve_.input(l);
    return r.reserve + reserve_.at(l - 1, 0) + reserve_.state + shape_.batch * shape_.state;
  }

  RnnShape shape_;
  RnnSlots slot_;
  RnnReserve reserve_;
  RnnClip clip_;
  DType dtype_, lengths_dtype_ = DType::f32;
  bool drops_;
  float drop_;
  struct Request {
    bool wanted = false, add = false;
  };
  Request data_, params_, state_request_, cell_request_;
  bool in_place_ = true;  // gradients of parameters are computed where they belong
  std::vector<bool> part_adds_;
  // [0] is the first layer, [1] the others; the second direction adds to the first.
  RnnProduct dinput_weight_[2], dx_[2][2], dstate_weight_, dprojection_;
  StepProduct<T> state_, project_;
  int64_t grain_ = 1;
  size_t gemm_bytes_ = 0;
  size_t params_at_ = 0, dparams_at_ = 0, dy_at_ = 0, ddata_at_ = 0, lengths_at_ = 0, dgates_at_ = 0;
  size_t dstate_gates_at_ = 0, dx_at_[2] = {}, dbias_at_ = 0, dh_at_ = 0, dc_at_ = 0, product_at_ = 0, packed_at_ = 0;
  size_t packed_projection_at_ = 0, dstate_at_ = 0, dprojected_at_ = 0, gemm_at_ = 0, left_at_ = 0, right_at_ = 0;
};

}  // namespace

Prepared prepare_rnn_backward(const PrepareArgs& a) {
  if (a.in[0].dtype == DType::f64) return std::unique_ptr<Kernel>(std::make_unique<RnnBackward<double>>(a));
  return std::unique_ptr<Kernel>(std::make_unique<RnnBackward<float>>(a));
}

}  // namespace mxnet::nn
