// SPDX-License-Identifier: Apache-2.0
// Runs the steps of a prepared program over tiles.
#pragma once

#include <algorithm>

#include "resource/scratch.h"
#include "simple_op/plan.h"

namespace mxnet {

// The scalars and constants of one run, as registers hold them.
inline void fill_cells(const ProgramKernel::Plan& plan, const Scalar* scalars, ScalarCell* cells) {
  for (size_t i = 0; i < plan.cells.size(); ++i) {
    const ProgramKernel::Plan::Cell& cell = plan.cells[i];
    cells[i] = cell.scalar < 0 ? cell.value : scalar_cell(scalars[cell.scalar], cell.first, cell.type);
  }
}

// One thread's walk. Not for sharing between threads; `cells` must outlive it.
class ProgramWalker {
 public:
  using Plan = ProgramKernel::Plan;

  ProgramWalker(const Plan& plan, void* const* in, void* const* out, const ScalarCell* cells)
      : plan_(plan), in_(in), out_(out) {
    slots_ = scratch_.get<char*>(plan.slots());
    for (size_t i = 0; i < plan.cells.size(); ++i) {
      slots_[plan.cell_slot(static_cast<int>(i))] = const_cast<char*>(reinterpret_cast<const char*>(&cells[i]));
    }
    char* buffers = plan.buffers ? static_cast<char*>(scratch_.bytes(plan.buffers * plan.buffer_bytes)) : nullptr;
    for (int b = 0; b < plan.buffers; ++b) slots_[plan.buffer_slot(b)] = buffers + b * plan.buffer_bytes;
  }

  // Tiles [begin, end).
  void run(int64_t begin, int64_t end) {
    if (plan_.walk.walk == Iteration::Walk::rows) return run_rows(begin, end);
    for (int64_t u = begin; u < end; ++u) {
      run_range(u * plan_.tile, std::min(plan_.tile, plan_.walk.size - u * plan_.tile));
    }
  }

  // Elements [first, first + n), n <= the tile, of a plan that does not go by rows. Arrays are addressed from their
  // first element, so a caller that has only a part of one passes the address where the whole would begin.
  void run_range(int64_t first, int64_t n) {
    for (size_t i = 0; i < plan_.inputs.size(); ++i) {
      const Plan::Input& input = plan_.inputs[i];
      const int operand = static_cast<int>(i);
      if (input.expanded) {
        expand(slots_[input.buffer], base(input), input.element_bytes, plan_.walk, operand, first, n);
      } else {
        slots_[i] = base(input) + (plan_.walk.is_scalar(operand) ? 0 : first * input.element_bytes);
      }
    }
    run_tile(first, n);
  }

 private:
  void run_rows(int64_t begin, int64_t end) {
    const int64_t row = plan_.walk.row();
    for (int64_t u = begin; u < end; ++u) {
      const int64_t r = u / plan_.segments, first = u % plan_.segments * plan_.tile;
      const int64_t n = std::min(plan_.tile, row - first);
      for (size_t i = 0; i < plan_.inputs.size(); ++i) {
        const Plan::Input& input = plan_.inputs[i];
        const int operand = static_cast<int>(i);
        const int64_t offset = plan_.walk.row_offset(operand, r) + first * plan_.walk.strides[i].back();
        slots_[i] = base(input) + offset * input.element_bytes;
      }
      run_tile(r * row + first, n);
    }
  }

  char* base(const Plan::Input& input) const {
    return static_cast<char*>(input.is_output ? out_[input.array] : in_[input.array]);
  }

  void run_tile(int64_t first, int64_t n) {
    for (size_t k = 0; k < plan_.outputs.size(); ++k) {
      const Plan::Output& output = plan_.outputs[k];
      slots_[plan_.output_slot(static_cast<int>(k))] =
          static_cast<char*>(out_[output.array]) + first * output.element_bytes;
    }
    for (const Step& s : plan_.steps) {
      if (!s.fn)
        run_chain(s, n);
      else
        s.fn(slots_[s.out], slots_[s.args[0]], slots_[s.args[1]], slots_[s.args[2]], s.once ? 1 : n, s.scalars);
    }
  }

  void run_chain(const Step& s, int64_t n) {
    ChainLink links[kMaxLinks];
    for (int k = 0; k < s.links; ++k) {
      const StepLink& link = plan_.links[s.first_link + k];
      links[k] = {link.op, link.scalar, link.reads ? slots_[link.slot] : nullptr};
    }
    tile_table().chain(slots_[s.out], slots_[s.args[0]], s.scalars & 1, links, s.links, n);
  }

  const Plan& plan_;
  void* const* in_;
  void* const* out_;
  Scratch scratch_;
  char** slots_;
};

}  // namespace mxnet
