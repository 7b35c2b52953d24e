// SPDX-License-Identifier: Apache-2.0
// The formula of an elementwise operator as an expression: what its program, its gradient and the gradient of its
// gradient are made from.
//
//   Expr x = Expr::input(0);
//   Expr y = x * apply(Fn::sigmoid, x);        // silu
//   Expr dy = y.derivative(0);                 // with respect to input 0
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "simple_op/fn.h"

namespace mxnet {

class Expr {
 public:
  enum class Kind : uint8_t { input, scalar, constant, call };
  struct Node;

  Expr() = default;  // null
  Expr(double value) : Expr(constant(value)) {}
  static Expr input(int i);   // input array i
  static Expr scalar(int i);  // run-time scalar i
  static Expr constant(double value);
  // Computed in the dtype of input `type_of` rather than of the result (conditions, comparisons of other arrays).
  static Expr call(Fn fn, Expr a, Expr b = {}, Expr c = {}, int type_of = -1);

  explicit operator bool() const { return node_ != nullptr; }
  const Node* operator->() const { return node_.get(); }
  const Node* get() const { return node_.get(); }
  bool is_constant(double value) const;
  bool is(Kind kind) const;

  // The derivative with respect to input i; null where it is zero everywhere. Knows that the node itself is the value
  // of the function, so exp' is the same node.
  Expr derivative(int i) const;
  // Every occurrence of node `from` replaced by `to`; inputs renumbered by `inputs` (input i becomes inputs[i]).
  Expr replace(const Node* from, const Expr& to, const std::vector<Expr>& inputs) const;
  bool reads_input(int i) const;
  bool on_integers() const;  // every function of it is
  int calls() const;         // number of different call nodes

 private:
  explicit Expr(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
};

struct Expr::Node {
  Kind kind;
  Fn fn = Fn::copy;
  int index = 0;  // of an input or a scalar
  int type_of = -1;
  double value = 0;  // of a constant
  std::array<Expr, 3> args = {};
};

// These simplify: constants fold, zero and one disappear where they have no effect.
Expr apply(Fn fn, Expr a);
Expr apply(Fn fn, Expr a, Expr b);
Expr apply(Fn fn, Expr a, Expr b, Expr c);
Expr operator+(Expr a, Expr b);
Expr operator-(Expr a, Expr b);
Expr operator*(Expr a, Expr b);
Expr operator/(Expr a, Expr b);
Expr operator-(Expr a);

}  // namespace mxnet
