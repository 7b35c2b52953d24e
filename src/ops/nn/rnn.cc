// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/rnn.h"

namespace mxnet::nn {

void RnnParams::declare(ParamSchemaOf<RnnParams>& s) {
  using P = RnnParams;
  s.field("state_size", &P::state_size, "Number of hidden units of each layer.").required().range(1, 1e9);
  s.field("num_layers", &P::num_layers, "Number of layers.").required().range(1, 1e6);
  s.field("bidirectional", &P::bidirectional, "Whether each layer also runs backwards in time.");
  s.choice("mode", &P::mode,
           {{"gru", RnnMode::gru}, {"lstm", RnnMode::lstm}, {"rnn_relu", RnnMode::relu}, {"rnn_tanh", RnnMode::tanh}},
           "The cell.")
      .required();
  s.field("p", &P::p, "Part of the outputs of every layer but the last that training sets to 0.").range(0, 1);
  s.field("state_outputs", &P::state_outputs, "Whether the states after the last step are outputs.");
  s.field("projection_size", &P::projection_size, "Size that lstm's hidden state is projected to.").range(1, 1e9);
  s.field("lstm_state_clip_min", &P::lstm_state_clip_min, "Lower bound of lstm's cell state; needs the upper one.");
  s.field("lstm_state_clip_max", &P::lstm_state_clip_max, "Upper bound of lstm's cell state; needs the lower one.");
  s.field("lstm_state_clip_nan", &P::lstm_state_clip_nan, "Whether clipping replaces NaN by the upper bound.");
  s.field("use_sequence_length", &P::use_sequence_length, "Whether `sequence_length` is an input.");
  s.validate([](const P& p) {
    if (p.projection_size && p.mode != RnnMode::lstm) {
      fail(ErrorKind::value, "RNN: projection_size is for mode lstm only");
    }
    if (p.lstm_state_clip_min && p.lstm_state_clip_max && *p.lstm_state_clip_min > *p.lstm_state_clip_max) {
      fail(ErrorKind::value, "RNN: lstm_state_clip_min ", *p.lstm_state_clip_min, " is above lstm_state_clip_max ",
           *p.lstm_state_clip_max);
    }
  });
}

RnnClip RnnParams::clip() const {
  if (mode != RnnMode::lstm || !lstm_state_clip_min || !lstm_state_clip_max) return {};
  return {true, lstm_state_clip_nan, *lstm_state_clip_min, *lstm_state_clip_max};
}

RnnShape::RnnShape(const Shape& data, const RnnParams& p)
    : mode(p.mode),
      steps(data[0]),
      batch(data[1]),
      inputs(data[2]),
      units(p.state_size),
      state(p.projection_size.value_or(p.state_size)),
      projects(p.projection_size.has_value()),
      layers(p.num_layers),
      directions(p.bidirectional ? 2 : 1) {}

int64_t RnnShape::size_of(int64_t layer, RnnPart part) const {
  switch (part) {
    case RnnPart::input_weight: return gates() * layer_inputs(layer);
    case RnnPart::state_weight: return gates() * state;
    case RnnPart::projection: return projects ? state * units : 0;
    case RnnPart::input_bias:
    case RnnPart::state_bias: return gates();
  }
  return 0;
}

int64_t RnnShape::offset(int64_t layer, int64_t direction, RnnPart part) const {
  const auto weights = [&](int64_t l) {
    return size_of(l, RnnPart::input_weight) + size_of(l, RnnPart::state_weight) + size_of(l, RnnPart::projection);
  };
  const auto weights_before = [&](int64_t l) { return l == 0 ? 0 : directions * (weights(0) + (l - 1) * weights(1)); };
  int64_t at = weights_before(layer) + direction * weights(layer);
  switch (part) {
    case RnnPart::input_weight: return at;
    case RnnPart::state_weight: return at + size_of(layer, RnnPart::input_weight);
    case RnnPart::projection: return at + size_of(layer, RnnPart::input_weight) + size_of(layer, RnnPart::state_weight);
    case RnnPart::input_bias:
    case RnnPart::state_bias: break;
  }
  const int64_t biases = 2 * (layer * directions + direction) + (part == RnnPart::state_bias ? 1 : 0);
  return weights_before(layers) + biases * gates();
}

int64_t RnnShape::part_index(int64_t layer, int64_t direction, RnnPart part) const {
  const int64_t at = layer * directions + direction, biases = layers * directions * weights();
  switch (part) {
    case RnnPart::input_weight: return at * weights();
    case RnnPart::state_weight: return at * weights() + 1;
    case RnnPart::projection: return at * weights() + 2;
    case RnnPart::input_bias: return biases + 2 * at;
    case RnnPart::state_bias: return biases + 2 * at + 1;
  }
  return 0;
}

Shape RnnShape::part_shape(int64_t layer, RnnPart part) const {
  switch (part) {
    case RnnPart::input_weight: return {gates(), layer_inputs(layer)};
    case RnnPart::state_weight: return {gates(), state};
    case RnnPart::projection: return {state, units};
    case RnnPart::input_bias:
    case RnnPart::state_bias: break;
  }
  return {gates()};
}

RnnReserve::RnnReserve(const RnnShape& s) {
  const auto take = [this](int64_t n) {
    const int64_t at = size_;
    size_ += (n + 15) / 16 * 16;
    return at;
  };
  size_ = 0;
  gates = take(s.rows() * s.gates());
  state = take((s.rows() + s.batch) * s.state);
  cell = take(s.mode == RnnMode::lstm ? (s.rows() + s.batch) * s.units : 0);
  share = take(s.mode == RnnMode::gru ? s.rows() * s.units : 0);
  hidden = take(s.projects ? s.rows() * s.units : 0);
  input_size_ = s.layers > 1 ? (s.rows() * s.width() + 15) / 16 * 16 : 0;
  layer_size_ = s.directions * size_ + input_size_;
}

void read_lengths(const void* from, DType dtype, int64_t batch, int64_t steps, int64_t* to) {
  dispatch(dtype, [&]<typename I>(TypeTag<I>) {
    const auto* lengths = static_cast<const I*>(from);
    for (int64_t i = 0; i < batch; ++i) to[i] = std::clamp<int64_t>(convert<int64_t>(lengths[i]), 0, steps);
  });
}

RnnSlots::RnnSlots(const RnnParams& p, bool parts) {
  const int count = static_cast<int>(RnnShape({-1, -1, -1}, p).parts());
  int next = 1;
  if (!parts) parameters = next++;
  state = next++;
  if (p.has_cell()) cell = next++;
  if (p.use_sequence_length) lengths = next++;
  if (parts) first_part = next;
  inputs = next + (parts ? count : 0);
  outputs = !p.state_outputs ? 1 : p.has_cell() ? 3 : 2;
  reserve = outputs;
  mask = outputs + 1;

  int at = 1;
  if (p.state_outputs) head_state = at++;
  if (p.state_outputs && p.has_cell()) head_cell = at++;
  head_data = at++;
  if (!parts) head_parameters = at++;
  if (p.use_sequence_length) head_lengths = at++;
  head_reserve = at++;
  head_mask = at++;
  if (parts) head_first_part = at;
  head_inputs = at + (parts ? count : 0);

  int grad = 1;
  if (!parts) grad_parameters = grad++;
  grad_state = grad++;
  if (p.has_cell()) grad_cell = grad++;
  if (parts) grad_first_part = grad;
  grads = grad + (parts ? count : 0);
}

bool takes_parts(const OpDef& op) { return op.name == "_rnn_parts" || op.name == "_backward_rnn_parts"; }

namespace {

std::vector<std::string> names_of(const Params& params) {
  const auto& p = params.as<RnnParams>();
  std::vector<std::string> names{"data", "parameters", "state"};
  if (p.has_cell()) names.push_back("state_cell");
  if (p.use_sequence_length) names.push_back("sequence_length");
  return names;
}

Inputs inputs() {
  Inputs inputs({"data", "parameters", "state", "state_cell", "sequence_length"},
                [](const Params& p) { return RnnSlots(p.as<RnnParams>(), false).inputs; });
  inputs.names_of = names_of;
  inputs.apart = {"sequence_length"};
  return inputs;
}

Inputs parts_inputs(std::function<int(const Params&)> count) {
  Inputs inputs = Inputs::variadic("num_args");
  inputs.count = std::move(count);
  return inputs;
}

Inputs forward_parts_inputs() {
  Inputs inputs = parts_inputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), true).inputs; });
  inputs.names_of = [](const Params& p) {
    auto names = names_of(p);
    std::erase(names, "parameters");
    return names;
  };
  inputs.apart = {"sequence_length"};
  return inputs;
}

// The size of the input that a parameter vector of this length belongs to; -1 if that is unknown.
int64_t inputs_from(const Shape& parameters, RnnShape s) {
  if (!parameters.rank_known() || parameters.rank() != 1 || parameters[0] < 0) return -1;
  s.inputs = 0;
  const int64_t rest = parameters[0] - s.parameter_count(), each = s.directions * s.gates();
  return rest >= 0 && rest % each == 0 ? rest / each : -1;
}

RnnSlots slots_of(const InferContext& c) {
  const RnnSlots slot(c.as<RnnParams>(), takes_parts(c.op));
  if (static_cast<int>(c.in.size()) != slot.inputs) {
    c.bad(str("takes ", slot.inputs, " inputs, got ", c.in.size()));
  }
  return slot;
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<RnnParams>();
  const RnnSlots slot = slots_of(c);
  const RnnShape sizes({-1, -1, -1}, p);
  const int64_t states = sizes.layers * sizes.directions;
  if (c.in[0].shape.rank_known() && c.in[0].shape.rank() != 3) {
    c.bad(str("data must have the dimensions (time, batch, features), got ", c.in[0].shape));
  }
  c.merge_in(slot.state, {states, -1, sizes.state});
  if (p.has_cell()) c.merge_in(slot.cell, {states, -1, sizes.units});
  c.merge_out(0, {-1, -1, sizes.width()});
  int64_t batch = -1;
  const auto meet = [&](int64_t known) { batch = batch < 0 ? known : batch; };
  if (c.in[0].shape.rank_known()) meet(c.in[0].shape[1]);
  meet(c.in[slot.state].shape[1]);
  if (p.has_cell()) meet(c.in[slot.cell].shape[1]);
  if (p.use_sequence_length && c.in[slot.lengths].shape.rank() == 1) meet(c.in[slot.lengths].shape[0]);
  meet(c.out[0].shape[1]);
  const int64_t features = slot.parameters >= 0 ? inputs_from(c.in[slot.parameters].shape, sizes) : -1;
  c.merge_in(0, {c.out[0].shape[0], batch, features});
  const Shape data = c.in[0].shape;
  const RnnShape s(data, p);
  if (slot.parameters >= 0) {
    c.merge_in(slot.parameters, {data[2] < 0 ? -1 : s.parameter_count()});
  } else {
    s.for_each_part([&](int64_t i, int64_t layer, int64_t, RnnPart part) {
      c.merge_in(slot.first_part + static_cast<int>(i), s.part_shape(layer, part));
    });
  }
  c.merge_in(slot.state, {states, batch, sizes.state});
  if (p.has_cell()) c.merge_in(slot.cell, {states, batch, sizes.units});
  if (p.use_sequence_length) c.merge_in(slot.lengths, {batch});
  c.merge_out(0, {data[0], batch, sizes.width()});
  if (p.state_outputs) c.merge_out(1, {states, batch, sizes.state});
  if (p.state_outputs && p.has_cell()) c.merge_out(2, {states, batch, sizes.units});
  const bool known = data[0] >= 0 && batch >= 0 && data[2] >= 0;
  c.merge_out(slot.reserve, {known ? RnnReserve(s).size(s.layers) : -1});
  if (p.drops())
    c.merge_out(slot.mask, {s.layers - 1, data[0], batch, s.width()});
  else
    c.merge_out(slot.mask, {0});
}

void infer_dtype(InferContext& c) {
  const RnnSlots slot = slots_of(c);
  DType dtype = DType::unknown;
  for (int i = 0; i < slot.inputs; ++i) {
    if (i != slot.lengths && dtype == DType::unknown) dtype = c.in[i].dtype;
  }
  for (int i = 0; i < slot.outputs && dtype == DType::unknown; ++i) dtype = c.out[i].dtype;
  if (dtype == DType::unknown) return;
  if (!is_float(dtype)) c.bad(str("data must be of a floating point dtype, got ", name_of(dtype)));
  for (int i = 0; i < slot.inputs; ++i) {
    if (i != slot.lengths) c.merge_in_dtype(i, dtype);
  }
  if (slot.lengths >= 0) {
    if (c.in[slot.lengths].dtype == DType::unknown) c.merge_in_dtype(slot.lengths, dtype);
    if (c.in[slot.lengths].dtype == DType::boolean) c.bad("sequence_length must hold numbers, got dtype bool");
  }
  for (int i = 0; i < slot.outputs; ++i) c.merge_out_dtype(i, dtype);
  c.merge_out_dtype(slot.reserve, dtype == DType::f64 ? DType::f64 : DType::f32);
  c.merge_out_dtype(slot.mask, DType::u8);
}

void gradient(GradientBuilder& g) {
  RnnParams p = g.params<RnnParams>();
  const bool parts = takes_parts(g.op());
  const RnnSlots slot(p, parts);
  if (!g.training()) p.p = 0;  // nothing was dropped
  std::vector<Value> in;
  for (int i = 0; i < slot.outputs; ++i) in.push_back(g.head(i));
  in.push_back(g.input(slot.data));
  if (!parts) in.push_back(g.input(slot.parameters));
  if (slot.lengths >= 0) in.push_back(g.input(slot.lengths));
  in.push_back(g.output(slot.reserve));
  in.push_back(g.output(slot.mask));
  std::vector<int> targets{slot.data};
  if (!parts) targets.push_back(slot.parameters);
  targets.push_back(slot.state);
  if (p.has_cell()) targets.push_back(slot.cell);
  for (int i = slot.first_part; parts && i < slot.inputs; ++i) {
    in.push_back(g.input(i));
    targets.push_back(i);
  }
  g.give_all(targets, get_op(parts ? "_backward_rnn_parts" : "_backward_RNN"), make_params<RnnParams>(p), in);
}

const RegisterOp rnn{{
    .name = "RNN",
    .doc =
        "Recurrent layers over sequences. With s = tanh or relu, x the input (or the output of the layer below):\n\n"
        "  rnn_tanh, rnn_relu: h' = s(W x + b + R h + d)\n"
        "  lstm: i, f, o = sigmoid(...), g = tanh(...) of W x + b + R h + d; c' = f c + i g; h' = o tanh(c')\n"
        "  gru: r, z = sigmoid(W x + b + R h + d), n = tanh(W x + b + r (R h + d)); h' = (1 - z) n + z h\n\n"
        "With `projection_size`, lstm's state is P h'. `parameters` holds W, R (and P) of every layer and direction, "
        "then b, d of every layer and direction; gates in the order i f g o, or r z n.\n\n"
        "Shapes: data (time, batch, features), state and state_cell (layers * directions, batch, units), "
        "sequence_length (batch,), output (time, batch, directions * units), states as they came. A row past its "
        "length has output 0 and keeps its state; the backward direction starts at its end.",
    .params = schema_of<RnnParams>(),
    .inputs = inputs(),
    .outputs = Outputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), false).outputs; })
                   .with_residuals(2)
                   .named({"output", "state_output", "statecell_output"}),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_outputs(),
    .kernels = {{"steps", prepare_rnn_forward}},
    .flags = {.random = true, .training_mode = true, .precision = Precision::low},
}};

// RNN with its parameters as they are, so that none are copied together: what gluon's layers call, and what plans put
// in the place of RNN behind _rnn_param_concat.
const RegisterOp rnn_parts{{
    .name = "_rnn_parts",
    .doc = "RNN with the parts of its parameters as inputs of their own, after all other inputs.",
    .params = schema_of<RnnParams>(),
    .inputs = forward_parts_inputs(),
    .outputs = Outputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), true).outputs; })
                   .with_residuals(2)
                   .named({"output", "state_output", "statecell_output"}),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient(gradient).without_outputs(),
    .kernels = {{"steps", prepare_rnn_forward}},
    .flags = {.random = true, .training_mode = true, .hidden = true, .precision = Precision::low},
}};

void infer_backward_shape(InferContext& c) {
  const auto& p = c.as<RnnParams>();
  const RnnSlots slot(p, takes_parts(c.op));
  const Shape data = c.in[slot.head_data].shape;
  c.merge_out(0, data);
  if (data.rank() != 3) return;
  const RnnShape s(data, p);
  if (slot.grad_parameters >= 0) c.merge_out(slot.grad_parameters, {s.parameter_count()});
  c.merge_out(slot.grad_state, {s.layers * s.directions, s.batch, s.state});
  if (p.has_cell()) c.merge_out(slot.grad_cell, {s.layers * s.directions, s.batch, s.units});
  if (slot.grad_first_part < 0) return;
  s.for_each_part([&](int64_t i, int64_t layer, int64_t, RnnPart part) {
    c.merge_out(slot.grad_first_part + static_cast<int>(i), s.part_shape(layer, part));
  });
}

void infer_backward_dtype(InferContext& c) {
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), c.in[0].dtype);
}

std::vector<std::string> backward_names(const Params& params) {
  const auto& p = params.as<RnnParams>();
  std::vector<std::string> names{"dy"};
  if (p.state_outputs) names.push_back("dstate");
  if (p.state_outputs && p.has_cell()) names.push_back("dstate_cell");
  names.insert(names.end(), {"data", "parameters"});
  if (p.use_sequence_length) names.push_back("sequence_length");
  names.insert(names.end(), {"reserve", "mask"});
  return names;
}

Inputs backward_inputs() {
  Inputs inputs({"dy", "dstate", "dstate_cell", "data", "parameters", "sequence_length", "reserve", "mask"},
                [](const Params& p) { return RnnSlots(p.as<RnnParams>(), false).head_inputs; });
  inputs.names_of = backward_names;
  return inputs;
}

void no_higher_order(GradientBuilder&) {
  fail(ErrorKind::not_supported,
       "RNN: there are no gradients of higher order with dropout; unroll a gluon.rnn cell to have them");
}

const RegisterOp backward_rnn{{
    .name = "_backward_RNN",
    .doc = "Gradients of RNN with respect to data, parameters, state and state_cell.",
    .params = schema_of<RnnParams>(),
    .inputs = backward_inputs(),
    .outputs = Outputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), false).grads; }),
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient(no_higher_order),
    .kernels = {{"steps", prepare_rnn_backward}},
    .flags = {.hidden = true},
}};

const RegisterOp backward_rnn_parts{{
    .name = "_backward_rnn_parts",
    .doc = "Gradients of _rnn_parts with respect to data, state, state_cell and parts.",
    .params = schema_of<RnnParams>(),
    .inputs = parts_inputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), true).head_inputs; }),
    .outputs = Outputs([](const Params& p) { return RnnSlots(p.as<RnnParams>(), true).grads; }),
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient(no_higher_order),
    .kernels = {{"steps", prepare_rnn_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
