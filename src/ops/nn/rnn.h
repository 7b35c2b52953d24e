// SPDX-License-Identifier: Apache-2.0
// Recurrent layers: parameters, sizes and where things lie. rnn.cc is the operator, rnn_forward.cc and rnn_backward.cc
// are its kernels, rnn_cell.h is what happens between the matrix products.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "operator/op.h"
#include "ops/nn/rnn_cell.h"
#include "ops/nn/rnn_product.h"

namespace mxnet::nn {

struct RnnParams {
  int64_t state_size = 0;
  int64_t num_layers = 0;
  bool bidirectional = false;
  RnnMode mode = RnnMode::lstm;
  float p = 0;
  bool state_outputs = false;
  std::optional<int64_t> projection_size;
  std::optional<double> lstm_state_clip_min, lstm_state_clip_max;
  bool lstm_state_clip_nan = false;
  bool use_sequence_length = false;

  static void declare(ParamSchemaOf<RnnParams>& s);

  bool has_cell() const { return mode == RnnMode::lstm; }
  // Whether outputs of layers are dropped on their way to the next one.
  bool drops() const { return p > 0 && num_layers > 1; }
  RnnClip clip() const;
};

// Parts of the parameter vector. All weights come first, layer by layer and direction by direction, then all biases.
enum class RnnPart { input_weight, state_weight, projection, input_bias, state_bias };

struct RnnShape {
  RnnMode mode = RnnMode::lstm;
  int64_t steps = 0, batch = 0, inputs = 0;
  int64_t units = 0;  // hidden units
  int64_t state = 0;  // what goes on to the next step: the projection, or the units
  bool projects = false;
  int64_t layers = 1, directions = 1;

  RnnShape() = default;
  RnnShape(const Shape& data, const RnnParams& p);

  int64_t gates() const { return gates_of(mode) * units; }  // length of a row of gates
  int64_t rows() const { return steps * batch; }
  int64_t width() const { return directions * state; }  // of a layer's output
  int64_t layer_inputs(int64_t layer) const { return layer == 0 ? inputs : width(); }
  int64_t offset(int64_t layer, int64_t direction, RnnPart part) const;
  int64_t size_of(int64_t layer, RnnPart part) const;
  int64_t parameter_count() const { return offset(layers, 0, RnnPart::input_bias); }

  // The parts as arrays of their own, in the order of the vector.
  int64_t parts() const { return layers * directions * (weights() + 2); }
  int64_t part_index(int64_t layer, int64_t direction, RnnPart part) const;
  Shape part_shape(int64_t layer, RnnPart part) const;
  // f(index, layer, direction, part) for all parts, in their order.
  template <typename F>
  void for_each_part(F&& f) const {
    constexpr RnnPart kWeights[] = {RnnPart::input_weight, RnnPart::state_weight, RnnPart::projection};
    constexpr RnnPart kBiases[] = {RnnPart::input_bias, RnnPart::state_bias};
    int64_t index = 0;
    const auto all = [&](const RnnPart* kinds, int64_t count) {
      for (int64_t i = 0; i < layers * directions * count; ++i) {
        f(index++, i / count / directions, i / count % directions, kinds[i % count]);
      }
    };
    all(kWeights, weights());
    all(kBiases, 2);
  }

 private:
  int64_t weights() const { return projects ? 3 : 2; }  // of one layer and direction
};

// What the gradient needs of one layer and direction, as offsets into the reserve (in elements). State and cell hold
// steps + 1 slots of `batch` rows: the one before the first step, then one after each, in the order of time.
struct RnnReserve {
  int64_t gates, state, cell, share, hidden;

  explicit RnnReserve(const RnnShape& s);
  int64_t direction_size() const { return size_; }
  int64_t at(int64_t layer, int64_t direction) const { return layer * layer_size_ + direction * size_; }
  // The input of layers after the first, where it is not the state of the layer below.
  int64_t input(int64_t layer) const { return (layer + 1) * layer_size_ - input_size_; }
  int64_t size(int64_t layers) const { return layers * layer_size_; }

 private:
  int64_t size_, layer_size_, input_size_;
};

// Reads lengths of any numeric dtype, clipped to [0, steps].
void read_lengths(const void* from, DType dtype, int64_t batch, int64_t steps, int64_t* to);

Prepared prepare_rnn_forward(const PrepareArgs& args);
Prepared prepare_rnn_backward(const PrepareArgs& args);

// Positions of inputs and outputs. RNN takes its parameters as one vector, `_rnn_parts` as one array for each part,
// after all other inputs. -1: there is none. The backward operators take a head for each output (positions 0...), then
// what `head_*` says; their outputs are the gradients of data, parameters (RNN), state, cell, and parts (_rnn_parts).
struct RnnSlots {
  RnnSlots(const RnnParams& p, bool parts);
  int data = 0, parameters = -1, state, cell = -1, lengths = -1, first_part = -1, inputs;
  int outputs, reserve, mask;
  int head_state = -1, head_cell = -1, head_data, head_parameters = -1, head_lengths = -1, head_reserve, head_mask;
  int head_first_part = -1, head_inputs;
  int grad_parameters = -1, grad_state, grad_cell = -1, grad_first_part = -1, grads;
};
bool takes_parts(const OpDef& op);

}  // namespace mxnet::nn
