// SPDX-License-Identifier: Apache-2.0
// What ProgramKernel::prepare works out: which loop runs on which slot, tile by tile.
#pragma once

#include <vector>

#include "simple_op/iteration.h"
#include "simple_op/program.h"
#include "simple_op/tile_table.h"

namespace mxnet {

// A slot is an address that a step reads or writes: the current tile of an input or output, a scalar, a buffer. They
// are numbered in this order: inputs, outputs, cells, buffers.
struct Step {
  TileFn fn;  // null: a chain, from args[0]
  uint16_t out, args[3];
  uint8_t scalars;  // operands that are one element
  bool once;        // the loop runs over one element
  uint16_t first_link, links;
};
struct StepLink {
  ChainOp op;
  bool scalar;
  bool reads;  // has an operand
  uint16_t slot;
};

struct ProgramKernel::Plan {
  struct Input {
    int array;       // position among the kernel's inputs, or outputs if `is_output`
    bool is_output;  // an output that is added to
    bool expanded;   // written to a buffer first
    int element_bytes;
    int buffer = -1;  // slot of that buffer
  };
  struct Output {
    int array;
    int element_bytes;
  };
  struct Cell {
    int scalar;  // run-time scalar, or -1: `value` is final
    DType first, type;
    ScalarCell value;
  };

  Iteration walk;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::vector<Cell> cells;
  std::vector<Step> steps;
  std::vector<StepLink> links;
  int buffers = 0;
  int64_t buffer_bytes = 0;
  int64_t tile = 0;      // elements
  int64_t segments = 1;  // tiles in a row (walk: rows)
  int64_t units = 0;     // tiles in all
  int64_t grain = 1;     // tiles that one thread takes at least
  int64_t cost_ns = 0;

  int output_slot(int i) const { return static_cast<int>(inputs.size()) + i; }
  int cell_slot(int i) const { return output_slot(static_cast<int>(outputs.size())) + i; }
  int buffer_slot(int i) const { return cell_slot(static_cast<int>(cells.size())) + i; }
  int slots() const { return buffer_slot(buffers); }
};

// `any_range`: the program will be run over arbitrary ranges of elements rather than tile by tile.
std::unique_ptr<const ProgramKernel::Plan> make_plan(const Program& program, std::span<const TensorSpec> in,
                                                     std::span<const TensorSpec> out, std::span<const Req> req,
                                                     bool any_range);

// Estimated time of one thread for `steps` over n elements and `bytes` of memory traffic.
int64_t estimate_ns(double step_ns_per_element, int64_t n, int64_t bytes);
double function_ns(Fn fn, Native type);

}  // namespace mxnet
