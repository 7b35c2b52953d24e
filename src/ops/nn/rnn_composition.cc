// SPDX-License-Identifier: Apache-2.0
// RNN, step by step, as a composition of operators: its gradients of higher order.
#include "operator/composition.h"
#include "ops/nn/rnn.h"

namespace mxnet::nn {
namespace {

class Unrolled {
 public:
  explicit Unrolled(const Composing& c)
      : c_(c), p_(c.as<RnnParams>()), slot_(p_, takes_parts(c.op)), s_(c[0].shape(), p_), clip_(p_.clip()) {}

  std::vector<Term> outputs() {
    Term x = c_[slot_.data];
    for (int64_t layer = 0; layer < s_.layers; ++layer) {
      std::vector<Term> directions;
      for (int64_t d = 0; d < s_.directions; ++d) directions.push_back(run(x, layer, d));
      x = join("Concat", 2, directions);
    }
    std::vector<Term> out{x};
    if (p_.state_outputs) out.push_back(join("stack", 0, states_));
    if (p_.state_outputs && p_.has_cell()) out.push_back(join("stack", 0, cells_));
    return out;
  }

 private:
  Term part(int64_t layer, int64_t direction, RnnPart kind) const {
    if (slot_.parameters < 0) return c_[slot_.first_part + static_cast<int>(s_.part_index(layer, direction, kind))];
    const int64_t begin = s_.offset(layer, direction, kind);
    const Shape shape = s_.part_shape(layer, kind);
    if (shape.size() == 0) return c_[slot_.parameters].slice(0, 0, 1).reshaped(shape);
    return c_[slot_.parameters].slice(0, begin, begin + shape.size()).reshaped(shape);
  }

  static Term product(const Term& rows, const Term& weight) {
    return apply("dot", {rows, weight}, {{"transpose_b", true}});
  }

  // 1 for the rows that reach step t: (batch, 1).
  Term reaches(int64_t t) const {
    const Term lengths = c_[slot_.lengths].cast(c_[0].array().dtype()).reshaped({s_.batch, 1});
    return lengths.then("BlockGrad").then("_greater_scalar", static_cast<double>(t));
  }

  struct State {
    Term hidden, cell;
  };

  // One layer in one direction: its outputs in the order of time.
  Term run(const Term& x, int64_t layer, int64_t direction) {
    const int64_t at = layer * s_.directions + direction;
    State state{c_[slot_.state].at(0, at), p_.has_cell() ? c_[slot_.cell].at(0, at) : Term()};
    const Term inputs = product(x.reshaped({s_.rows(), s_.layer_inputs(layer)}), part(layer, direction, kInput)) +
                        part(layer, direction, RnnPart::input_bias);
    const Term gates = inputs.reshaped({s_.steps, s_.batch, s_.gates()});
    const Term weight = part(layer, direction, RnnPart::state_weight);
    const Term bias = part(layer, direction, RnnPart::state_bias);
    std::vector<Term> out(static_cast<size_t>(s_.steps));
    for (int64_t i = 0; i < s_.steps; ++i) {
      const int64_t t = direction ? s_.steps - 1 - i : i;
      State next = step(gates.at(0, t), product(state.hidden, weight) + bias, state);
      if (s_.projects) next.hidden = product(next.hidden, part(layer, direction, RnnPart::projection));
      Term& shown = out[static_cast<size_t>(t)];
      if (slot_.lengths >= 0) {
        const Term runs = reaches(t);
        shown = runs * next.hidden;
        next.hidden = shown + (1 - runs) * state.hidden;
        if (p_.has_cell()) next.cell = runs * next.cell + (1 - runs) * state.cell;
      } else {
        shown = next.hidden;
      }
      state = next;
    }
    states_.push_back(state.hidden);
    cells_.push_back(state.cell);
    if (out.empty()) return constant(x, {0, s_.batch, s_.state}, {});
    return join("stack", 0, out);
  }

  // x: what the input brings to all gates, h: what the state brings.
  State step(const Term& x, const Term& h, const State& before) const {
    const auto gate = [&](const Term& v, int64_t k) { return v.slice(1, k * s_.units, (k + 1) * s_.units); };
    const auto sigmoid = [&](int64_t k) { return (gate(x, k) + gate(h, k)).then("sigmoid"); };
    switch (s_.mode) {
      case RnnMode::relu: return {(x + h).then("relu"), {}};
      case RnnMode::tanh: return {(x + h).then("tanh"), {}};
      case RnnMode::gru: {
        const Term reset = sigmoid(0), keep = sigmoid(1);
        const Term fresh = (gate(x, 2) + reset * gate(h, 2)).then("tanh");
        return {(1 - keep) * fresh + keep * before.hidden, {}};
      }
      case RnnMode::lstm: break;
    }
    const Term fresh = (gate(x, 2) + gate(h, 2)).then("tanh");
    Term cell = sigmoid(1) * before.cell + sigmoid(0) * fresh;
    if (clip_.on) cell = cell.then("_maximum_scalar", clip_.min).then("_minimum_scalar", clip_.max);
    return {sigmoid(3) * cell.then("tanh"), cell};
  }

  static constexpr RnnPart kInput = RnnPart::input_weight;
  const Composing& c_;
  const RnnParams& p_;
  const RnnSlots slot_;
  const RnnShape s_;
  const RnnClip clip_;
  std::vector<Term> states_, cells_;
};

std::vector<Term> compose(const Composing& c) { return Unrolled(c).outputs(); }

// What dropout takes out is known to the kernel alone.
bool applies(const Params& params, bool training) { return !training || !params.as<RnnParams>().drops(); }

const RegisterComposition composition{"RNN", compose, applies};
const RegisterComposition parts_composition{"_rnn_parts", compose, applies};

}  // namespace
}  // namespace mxnet::nn
