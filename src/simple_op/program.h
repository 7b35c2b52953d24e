// SPDX-License-Identifier: Apache-2.0
// A program: a short list of elementwise instructions over arrays that broadcast to one shape. An eager operator is a
// program of a few instructions; fusion appends the instructions of several operators to one builder.
//
//   ProgramBuilder b;
//   Operand x = b.input(DType::f32), w = b.input(DType::f32);
//   Operand y = b.call(Fn::mul, DType::f32, x, w);
//   b.output(b.call(Fn::relu, DType::f32, y), DType::f32);
//   auto kernel = ProgramKernel::prepare(b.take(), in, out, req);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "operator/kernel.h"
#include "simple_op/expr.h"
#include "simple_op/fn.h"

namespace mxnet {

struct Operand {
  enum class Kind : uint8_t { none, input, result, scalar, constant };
  Kind kind = Kind::none;
  int index = 0;
  bool operator==(const Operand&) const = default;
};

// Operands are converted to `type`, the function is computed in it, the result wraps or rounds to it. Halves are no
// type to compute in, except for Fn::copy, which converts: a half operator computes in float32 and copies to its half.
struct Instruction {
  Fn fn;
  DType type;
  Operand args[3];
};

struct Program {
  struct Output {
    Operand value;
    DType type;
  };
  std::vector<DType> inputs;
  std::vector<DType> scalars;  // a run-time scalar is converted to this dtype before all else
  std::vector<double> constants;
  std::vector<Instruction> code;
  std::vector<Output> outputs;

  DType type_of(const Operand& operand) const;  // unknown for constants
};

class ProgramBuilder {
 public:
  Operand input(DType type);
  Operand scalar(DType type);
  Operand constant(double value);
  Operand call(Fn fn, DType type, Operand a, Operand b = {}, Operand c = {});
  void output(Operand value, DType type);

  // The instructions of a formula whose result has dtype `type`. `inputs` and `scalars` are what Expr::input(i) and
  // Expr::scalar(i) stand for.
  Operand formula(const Expr& expr, DType type, std::span<const Operand> inputs, std::span<const Operand> scalars);

  const Program& program() const { return program_; }
  Program take() { return std::move(program_); }

 private:
  Program program_;
};

// A program prepared for shapes. Immutable; may run on several threads at once.
class ProgramKernel {
 public:
  struct Plan;

  // Inputs broadcast to the shape of the outputs (all have the same). Specs are logical; an input whose layout is
  // channels_last must have the outputs' shape and layout. An output may be exactly an input's memory.
  static std::unique_ptr<ProgramKernel> prepare(const Program& program, std::span<const TensorSpec> in,
                                                std::span<const TensorSpec> out, std::span<const Req> req);
  explicit ProgramKernel(std::unique_ptr<const Plan> plan);
  ~ProgramKernel();

  // `scalars`: one per Program::scalars.
  void run(void* const* in, void* const* out, const Scalar* scalars) const;
  int64_t cost_ns() const;
  const Plan& plan() const { return *plan_; }

 private:
  std::unique_ptr<const Plan> plan_;
};

// A scalar or constant as a register holds it: converted to `first` (unless unknown), then to `type`.
struct ScalarCell {
  alignas(8) unsigned char bytes[8] = {};
};
ScalarCell scalar_cell(const Scalar& value, DType first, DType type);

}  // namespace mxnet
