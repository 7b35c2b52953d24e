// SPDX-License-Identifier: Apache-2.0
#include "simple_op/program.h"

#include <unordered_map>

namespace mxnet {

DType Program::type_of(const Operand& operand) const {
  switch (operand.kind) {
    case Operand::Kind::input: return inputs[operand.index];
    case Operand::Kind::result: return code[operand.index].type;
    case Operand::Kind::scalar: return scalars[operand.index];
    default: return DType::unknown;
  }
}

Operand ProgramBuilder::input(DType type) {
  program_.inputs.push_back(type);
  return {Operand::Kind::input, static_cast<int>(program_.inputs.size()) - 1};
}

Operand ProgramBuilder::scalar(DType type) {
  program_.scalars.push_back(type);
  return {Operand::Kind::scalar, static_cast<int>(program_.scalars.size()) - 1};
}

Operand ProgramBuilder::constant(double value) {
  program_.constants.push_back(value);
  return {Operand::Kind::constant, static_cast<int>(program_.constants.size()) - 1};
}

Operand ProgramBuilder::call(Fn fn, DType type, Operand a, Operand b, Operand c) {
  program_.code.push_back({fn, type, {a, b, c}});
  return {Operand::Kind::result, static_cast<int>(program_.code.size()) - 1};
}

void ProgramBuilder::output(Operand value, DType type) { program_.outputs.push_back({value, type}); }

namespace {

// The type that a formula with result dtype `type` computes in.
DType computing_type(const Expr& expr, DType type) {
  if (is_half(type)) return DType::f32;
  return is_float(type) || expr.on_integers() ? type : DType::f64;
}

class FormulaWriter {
 public:
  FormulaWriter(ProgramBuilder& builder, DType type, std::span<const Operand> inputs, std::span<const Operand> scalars)
      : builder_(builder), type_(type), inputs_(inputs), scalars_(scalars) {}

  Operand write(const Expr& e) {
    switch (e->kind) {
      case Expr::Kind::input: return inputs_[e->index];
      case Expr::Kind::scalar: return scalars_[e->index];
      case Expr::Kind::constant: return builder_.constant(e->value);
      case Expr::Kind::call: break;
    }
    if (auto it = done_.find(e.get()); it != done_.end()) return it->second;
    Operand args[3];
    for (int k = 0; k < arity_of(e->fn); ++k) args[k] = write(e->args[k]);
    DType type = type_;
    if (e->type_of >= 0) {
      type = builder_.program().type_of(inputs_[e->type_of]);
      if (is_half(type)) type = DType::f32;
    }
    return done_[e.get()] = builder_.call(e->fn, type, args[0], args[1], args[2]);
  }

 private:
  ProgramBuilder& builder_;
  DType type_;
  std::span<const Operand> inputs_, scalars_;
  std::unordered_map<const Expr::Node*, Operand> done_;
};

}  // namespace

Operand ProgramBuilder::formula(const Expr& expr, DType type, std::span<const Operand> inputs,
                                std::span<const Operand> scalars) {
  const DType computing = computing_type(expr, type);
  const Operand value = FormulaWriter(*this, computing, inputs, scalars).write(expr);
  return program_.type_of(value) == type ? value : call(Fn::copy, type, value);
}

ScalarCell scalar_cell(const Scalar& value, DType first, DType type) {
  ScalarCell cell;
  const auto put = [&](auto v) {
    dispatch(type, [&]<typename T>(TypeTag<T>) {
      const compute_t<T> converted = static_cast<compute_t<T>>(convert<T>(v));
      std::memcpy(cell.bytes, &converted, sizeof converted);
    });
  };
  std::visit(
      [&](auto v) {
        if (first == DType::unknown || first == type) return put(v);
        dispatch(first, [&]<typename T>(TypeTag<T>) { put(static_cast<compute_t<T>>(convert<T>(v))); });
      },
      value);
  return cell;
}

}  // namespace mxnet
