// SPDX-License-Identifier: Apache-2.0
// One time step of a recurrent cell for a range of hidden units: all that is not a matrix product.
#pragma once

#include <cstdint>

#include "backend/cpu/isa_table.h"

namespace mxnet {

enum class RnnMode { relu, tanh, lstm, gru };

constexpr int gates_of(RnnMode mode) { return mode == RnnMode::lstm ? 4 : mode == RnnMode::gru ? 3 : 1; }

// The cell state stays within [min, max]; NaN becomes max where it may not spread.
struct RnnClip {
  bool on = false, stop_nan = false;
  double min = 0, max = 0;
};

// Gates lie beside each other in a row: lstm i, f, g, o; gru r, z, n. Rows are those of the batch. `lengths` (may be
// null): row i is past its end where t >= lengths[i]; it then keeps its state, its output is 0 and it has no gradient.
template <typename T>
struct RnnForwardStep {
  RnnMode mode;
  RnnClip clip;
  int64_t rows, units;
  int64_t t;
  const int64_t* lengths;
  T* gates;           // in: the input's share with the biases; out: activations. rows x gates * units
  const T* product;   // the state's share, of the same shape
  const T* new_bias;  // gru: the bias of n's share of the state, units
  T* new_product;     // gru: that share with its bias, for the gradient
  const T* c_prev;    // lstm: rows x units
  T* c;
  const T* h_prev;   // rows x units; null where h is yet to be projected: h of an ended row is 0 then
  T* h;              // rows x units
  T* out;            // the layer's output, may be null
  int64_t out_step;  // between rows of out
};

template <typename T>
struct RnnBackwardStep {
  RnnMode mode;
  RnnClip clip;
  int64_t rows, units;
  int64_t t;
  const int64_t* lengths;
  const T* gates;        // activations
  const T* new_product;  // gru
  const T *c_prev, *c;   // lstm
  const T *h_prev, *h;   // rows x units
  const T* dy;           // gradient of the output at this step, may be null
  int64_t dy_step;
  const T* product;  // rows x units: gradient of the state through the next step's gates; null at the last step
  T* dh;             // in: what reaches the state past the gates; out: the same for the step before. rows x units
  T* dc;             // lstm: in and out, rows x units
  T* dgates;         // of the input's share, rows x gates * units
  T* dstate_gates;   // gru: of the state's share; otherwise the same as dgates
  T* dbias;          // += sums over rows of dgates, gates * units
  T* dnew_bias;      // gru: += those of the state's share of n, units
};

template <typename T>
struct RnnCells {
  void (*forward)(const RnnForwardStep<T>& step, int64_t begin, int64_t end);
  void (*backward)(const RnnBackwardStep<T>& step, int64_t begin, int64_t end);
};
MX_ISA_TABLE(RnnCells<float>, rnn_cells_f32)
MX_ISA_TABLE(RnnCells<double>, rnn_cells_f64)

template <typename T>
const RnnCells<T>& rnn_cells();
template <>
inline const RnnCells<float>& rnn_cells<float>() {
  return rnn_cells_f32();
}
template <>
inline const RnnCells<double>& rnn_cells<double>() {
  return rnn_cells_f64();
}

}  // namespace mxnet
