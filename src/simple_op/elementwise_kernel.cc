// SPDX-License-Identifier: Apache-2.0
// Kernels of elementwise operators: one loop where that is all there is to do, else a program.
#include "backend/cpu/parallel.h"
#include "simple_op/elementwise.h"
#include "simple_op/plan.h"

namespace mxnet {
namespace {

constexpr int64_t kDirectGrain = 32 << 10;

// One loop over whole arrays.
class DirectKernel final : public Kernel {
 public:
  DirectKernel(TileFn fn, int64_t n, int element_bytes) : fn_(fn), n_(n), element_bytes_(element_bytes) {}

  void set(int k, int input, bool scalar) {
    input_[k] = input;
    if (scalar) scalars_ |= 1u << k;
  }

  void run(const KernelCall& call) const override {
    const void* const a = call.in[input_[0]];
    const void* const b = call.in[input_[1]];
    const void* const c = call.in[input_[2]];
    if (n_ <= kDirectGrain) return fn_(call.out[0], a, b, c, n_, scalars_);
    cpu::parallel_for(n_, kDirectGrain, [&](int64_t begin, int64_t end) {
      const int64_t offset = begin * element_bytes_;
      const auto at = [&](const void* p, unsigned bit) {
        return static_cast<const char*>(p) + (scalars_ & bit ? 0 : offset);
      };
      fn_(static_cast<char*>(call.out[0]) + offset, at(a, 1), at(b, 2), at(c, 4), end - begin, scalars_);
    });
  }

 private:
  TileFn fn_;
  int64_t n_;
  int element_bytes_;
  int input_[3] = {};
  unsigned scalars_ = 0;
};

// One loop over an array and scalars.
class DirectScalarKernel final : public Kernel {
 public:
  struct Argument {
    int input = -1;
    int scalar = -1;  // run-time scalar; neither: `cell`
    ScalarCell cell = {};
  };

  DirectScalarKernel(TileFn fn, int64_t n, DType type, const ElementwiseInfo& info)
      : fn_(fn), n_(n), type_(type), info_(info) {}

  void set(int k, const Argument& argument, bool scalar) {
    args_[k] = argument;
    if (scalar) scalars_ |= 1u << k;
  }

  void run(const KernelCall& call) const override {
    Scalar values[4];
    if (info_.read_scalars) info_.read_scalars(*call.params, values);
    ScalarCell cells[3];
    const char* p[3];
    for (int k = 0; k < 3; ++k) {
      const Argument& arg = args_[k];
      if (arg.input >= 0) {
        p[k] = static_cast<const char*>(call.in[arg.input]);
        continue;
      }
      cells[k] = arg.scalar >= 0 ? scalar_cell(values[arg.scalar], DType::unknown, type_) : arg.cell;
      p[k] = reinterpret_cast<const char*>(cells[k].bytes);
    }
    if (n_ <= kDirectGrain) return fn_(call.out[0], p[0], p[1], p[2], n_, scalars_);
    cpu::parallel_for(n_, kDirectGrain, [&](int64_t begin, int64_t end) {
      const int64_t offset = begin * size_of(type_);
      const auto at = [&](int k) { return p[k] + (scalars_ >> k & 1 ? 0 : offset); };
      fn_(static_cast<char*>(call.out[0]) + offset, at(0), at(1), at(2), end - begin, scalars_);
    });
  }

 private:
  TileFn fn_;
  int64_t n_;
  DType type_;
  const ElementwiseInfo& info_;
  Argument args_[3];
  unsigned scalars_ = 0;
};

class ElementwiseKernel final : public Kernel {
 public:
  ElementwiseKernel(std::unique_ptr<ProgramKernel> program, const ElementwiseInfo& info)
      : program_(std::move(program)), info_(info) {}
  void run(const KernelCall& call) const override {
    Scalar scalars[4];
    if (info_.read_scalars) info_.read_scalars(*call.params, scalars);
    program_->run(call.in, call.out, scalars);
  }

 private:
  std::unique_ptr<ProgramKernel> program_;
  const ElementwiseInfo& info_;
};

// The single loop that the program is, or null.
std::unique_ptr<Kernel> direct_kernel(const Program& program, const ElementwiseInfo& info,
                                      std::span<const TensorSpec> in, const TensorSpec& out) {
  const DType type = out.dtype;
  if (!is_native(type) || program.code.size() > 1) return nullptr;
  for (const TensorSpec& t : in) {
    if (t.dtype != type) return nullptr;
  }
  Instruction code{Fn::copy, type, {program.outputs[0].value}};
  if (!program.code.empty()) code = program.code[0];
  if (code.type != type) return nullptr;
  const TileFn fn = tile_table().fn[static_cast<int>(code.fn)][static_cast<int>(native_of(type))];
  const Iteration walk = make_iteration(in, out);
  if (!fn || walk.walk != Iteration::Walk::flat || walk.size == 0) return nullptr;
  bool all_inputs = true;
  for (int k = 0; k < arity_of(code.fn); ++k) all_inputs &= code.args[k].kind == Operand::Kind::input;
  const int64_t n = walk.size;
  if (all_inputs) {
    auto kernel = std::make_unique<DirectKernel>(fn, n, size_of(type));
    for (int k = 0; k < arity_of(code.fn); ++k) {
      kernel->set(k, code.args[k].index, walk.is_scalar(code.args[k].index));
    }
    return kernel;
  }
  auto kernel = std::make_unique<DirectScalarKernel>(fn, n, type, info);
  for (int k = 0; k < 3; ++k) {
    const Operand& operand = code.args[k < arity_of(code.fn) ? k : 0];
    switch (operand.kind) {
      case Operand::Kind::input: kernel->set(k, {operand.index}, walk.is_scalar(operand.index)); break;
      case Operand::Kind::scalar: kernel->set(k, {-1, operand.index}, true); break;
      default: kernel->set(k, {-1, -1, scalar_cell(program.constants[operand.index], DType::unknown, type)}, true);
    }
  }
  return kernel;
}

// Arrays of the output's shape stay as they lie in memory; smaller ones are read in plain order.
void choose_layouts(const PrepareArgs& args, std::span<TensorSpec> in) {
  const Shape& shape = args.out[0].shape;
  Layout layout = Layout::plain;
  for (size_t i = args.in.size(); i-- > 0;) {
    if (in[i].shape == shape) layout = args.in[i].layout;
  }
  for (size_t i = 0; i < args.in.size(); ++i) {
    in[i].layout = args.in_layout[i] = in[i].shape == shape ? layout : Layout::plain;
  }
  for (TensorSpec& out : args.out) out.layout = layout;
}

}  // namespace

Prepared prepare_elementwise(const PrepareArgs& args) {
  const ElementwiseInfo& info = *elementwise_info(args.op);
  std::vector<TensorSpec> in(args.in.begin(), args.in.end());
  if (info.adjust) info.adjust(args.params, in);
  choose_layouts(args, in);
  ProgramBuilder builder;
  std::vector<Operand> operands;
  for (const TensorSpec& t : in) operands.push_back(builder.input(t.dtype));
  const DType type = args.out[0].dtype;
  builder.output(info.append(builder, args.params, operands, type), type);
  const Program program = builder.take();
  auto planned = ProgramKernel::prepare(program, in, args.out, args.req);
  const int64_t cost = planned->cost_ns();
  std::unique_ptr<Kernel> kernel;
  if (args.req[0] == Req::write) kernel = direct_kernel(program, info, in, args.out[0]);
  if (!kernel) kernel = std::make_unique<ElementwiseKernel>(std::move(planned), info);
  kernel->cost_ns = cost;
  kernel->accepts_add = true;
  return kernel;
}

}  // namespace mxnet
