// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/parallel.h"
#include "resource/scratch.h"
#include "simple_op/plan.h"
#include "simple_op/walker.h"

namespace mxnet {

ProgramKernel::ProgramKernel(std::unique_ptr<const Plan> plan) : plan_(std::move(plan)) {}
ProgramKernel::~ProgramKernel() = default;
int64_t ProgramKernel::cost_ns() const { return plan_->cost_ns; }

std::unique_ptr<ProgramKernel> ProgramKernel::prepare(const Program& program, std::span<const TensorSpec> in,
                                                      std::span<const TensorSpec> out, std::span<const Req> req) {
  return std::make_unique<ProgramKernel>(make_plan(program, in, out, req, false));
}

void ProgramKernel::run(void* const* in, void* const* out, const Scalar* scalars) const {
  const Plan& plan = *plan_;
  if (plan.walk.size == 0 || plan.outputs.empty()) return;
  Scratch scratch;
  ScalarCell* cells = scratch.get<ScalarCell>(plan.cells.size());
  fill_cells(plan, scalars, cells);
  cpu::parallel_for(plan.units, plan.grain,
                    [&](int64_t begin, int64_t end) { ProgramWalker(plan, in, out, cells).run(begin, end); });
}

}  // namespace mxnet
