// SPDX-License-Identifier: Apache-2.0
#include "simple_op/expr.h"

#include <unordered_map>
#include <unordered_set>

namespace mxnet {
namespace {

// Visits every node once, arguments first.
template <typename F>
void visit(const Expr& e, std::unordered_set<const Expr::Node*>& seen, F&& f) {
  if (!e || !seen.insert(e.get()).second) return;
  for (const Expr& arg : e->args) visit(arg, seen, f);
  f(*e.get());
}
template <typename F>
void visit(const Expr& e, F&& f) {
  std::unordered_set<const Expr::Node*> seen;
  visit(e, seen, f);
}

Expr truth(Fn comparison, const Expr& a, const Expr& b) { return Expr::call(comparison, a, b); }

// ---- derivatives: d fn(a) / da, where y is the node fn(a) -----------------------------------------------------------
constexpr double kLn2 = 0.69314718055994531, kLn10 = 2.3025850929940457;

Expr normal_density(const Expr& a) { return 0.39894228040143268 * apply(Fn::exp, apply(Fn::square, a) * -0.5); }

Expr unary_slope(Fn fn, const Expr& a, const Expr& y) {
  switch (fn) {
    case Fn::copy: return 1.0;
    case Fn::negative: return -1.0;
    case Fn::abs: return apply(Fn::sign, a);
    case Fn::square: return 2.0 * a;
    case Fn::sqrt: return 0.5 / y;
    case Fn::rsqrt: return -0.5 * (y / a);
    case Fn::cbrt: return 1.0 / (3.0 * apply(Fn::square, y));
    case Fn::rcbrt: return (-1.0 / 3) * (y / a);
    case Fn::reciprocal: return -apply(Fn::square, y);
    case Fn::exp: return y;
    case Fn::log: return apply(Fn::reciprocal, a);
    case Fn::log10: return 1.0 / (a * kLn10);
    case Fn::log2: return 1.0 / (a * kLn2);
    case Fn::log1p: return apply(Fn::reciprocal, a + 1.0);
    case Fn::expm1: return y + 1.0;
    case Fn::sin: return apply(Fn::cos, a);
    case Fn::cos: return -apply(Fn::sin, a);
    case Fn::tan: return apply(Fn::square, y) + 1.0;
    case Fn::arcsin: return apply(Fn::rsqrt, 1.0 - apply(Fn::square, a));
    case Fn::arccos: return -apply(Fn::rsqrt, 1.0 - apply(Fn::square, a));
    case Fn::arctan: return apply(Fn::reciprocal, apply(Fn::square, a) + 1.0);
    case Fn::sinh: return apply(Fn::cosh, a);
    case Fn::cosh: return apply(Fn::sinh, a);
    case Fn::tanh: return 1.0 - apply(Fn::square, y);
    case Fn::arcsinh: return apply(Fn::rsqrt, apply(Fn::square, a) + 1.0);
    case Fn::arccosh: return apply(Fn::rsqrt, apply(Fn::square, a) - 1.0);
    case Fn::arctanh: return apply(Fn::reciprocal, 1.0 - apply(Fn::square, a));
    case Fn::degrees: return 57.295779513082321;
    case Fn::radians: return 0.017453292519943296;
    case Fn::gamma: return y * apply(Fn::digamma, a);
    case Fn::gammaln: return apply(Fn::digamma, a);
    case Fn::digamma: return apply(Fn::trigamma, a);
    case Fn::erf: return 1.1283791670955126 * apply(Fn::exp, -apply(Fn::square, a));
    case Fn::erfinv: return 0.88622692545275801 * apply(Fn::exp, apply(Fn::square, y));
    case Fn::sigmoid: return y * (1.0 - y);
    case Fn::softsign: return apply(Fn::square, 1.0 - apply(Fn::abs, y));
    case Fn::relu: return truth(Fn::greater, y, 0.0);
    case Fn::softrelu: return 1.0 - apply(Fn::exp, -y);
    case Fn::mish: {
      const Expr t = apply(Fn::tanh, apply(Fn::softrelu, a));
      return t + a * (apply(Fn::sigmoid, a) * (1.0 - apply(Fn::square, t)));
    }
    case Fn::gelu: return apply(Fn::normal_cdf, a) + a * normal_density(a);
    case Fn::normal_cdf: return normal_density(a);
    default: return {};
  }
}

// With respect to argument k of fn(a, b).
Expr binary_slope(Fn fn, int k, const Expr& a, const Expr& b, const Expr& y) {
  switch (fn) {
    case Fn::add: return 1.0;
    case Fn::sub: return k == 0 ? 1.0 : -1.0;
    case Fn::mul: return k == 0 ? b : a;
    case Fn::div: return k == 0 ? apply(Fn::reciprocal, b) : -(y / b);
    case Fn::mod: return k == 0 ? Expr(1.0) : -apply(Fn::floor, a / b);
    case Fn::power: return k == 0 ? b * apply(Fn::power, a, b - 1.0) : y * apply(Fn::log, a);
    case Fn::maximum: return truth(k == 0 ? Fn::greater_equal : Fn::lesser, a, b);
    case Fn::minimum: return truth(k == 0 ? Fn::lesser_equal : Fn::greater, a, b);
    case Fn::hypot: return (k == 0 ? a : b) / y;
    case Fn::arctan2: {
      const Expr r2 = apply(Fn::square, a) + apply(Fn::square, b);
      return k == 0 ? b / r2 : -(a / r2);
    }
    case Fn::leaky: {
      const Expr positive = truth(Fn::greater, a, 0.0);
      return k == 0 ? apply(Fn::select, positive, 1.0, b) : apply(Fn::select, positive, 0.0, a);
    }
    case Fn::unless_nan: return k == 0 ? 1.0 - apply(Fn::isnan, a) : apply(Fn::isnan, a);
    default: return {};
  }
}

Expr ternary_slope(Fn fn, int k, const Expr& a, const Expr& b, const Expr& c) {
  if (fn == Fn::select) {
    const Expr one = 1.0, zero = 0.0;
    return k == 0 ? Expr() : k == 1 ? apply(Fn::select, a, one, zero) : apply(Fn::select, a, zero, one);
  }
  // clip: the edges, and NaN, belong to the inside.
  switch (k) {
    case 0: return (1.0 - truth(Fn::lesser, a, b)) - truth(Fn::greater, a, c);
    case 1: return truth(Fn::lesser, a, b);
    default: return truth(Fn::greater, a, c);
  }
}

Expr slope(const Expr& y, int k) {
  switch (arity_of(y->fn)) {
    case 1: return unary_slope(y->fn, y->args[0], y);
    case 2: return binary_slope(y->fn, k, y->args[0], y->args[1], y);
    default: return ternary_slope(y->fn, k, y->args[0], y->args[1], y->args[2]);
  }
}

using Memo = std::unordered_map<const Expr::Node*, Expr>;

Expr add_terms(const Expr& a, const Expr& b) { return !a ? b : !b ? a : a + b; }

Expr differentiate(const Expr& e, int input, Memo& memo) {
  if (e.is(Expr::Kind::input)) return e->index == input ? Expr(1.0) : Expr();
  if (!e.is(Expr::Kind::call)) return {};
  if (auto it = memo.find(e.get()); it != memo.end()) return it->second;
  Expr sum;
  for (int k = 0; k < arity_of(e->fn); ++k) {
    const Expr inner = differentiate(e->args[k], input, memo);
    if (!inner) continue;
    if (e->fn == Fn::select && k > 0) {  // no product with a branch that may be infinite
      const Expr zero = 0.0;
      sum = add_terms(sum,
                      k == 1 ? apply(Fn::select, e->args[0], inner, zero) : apply(Fn::select, e->args[0], zero, inner));
    } else if (const Expr outer = slope(e, k)) {
      sum = add_terms(sum, outer * inner);
    }
  }
  return memo[e.get()] = sum;
}

Expr substitute(const Expr& e, const Expr::Node* from, const Expr& to, const std::vector<Expr>& inputs, Memo& memo) {
  if (!e) return e;
  if (e.get() == from) return to;
  if (e.is(Expr::Kind::input)) return inputs[e->index];
  if (!e.is(Expr::Kind::call)) return e;
  if (auto it = memo.find(e.get()); it != memo.end()) return it->second;
  std::array<Expr, 3> args;
  for (int k = 0; k < 3; ++k) args[k] = substitute(e->args[k], from, to, inputs, memo);
  int type_of = e->type_of;
  if (type_of >= 0) type_of = inputs[type_of].is(Expr::Kind::input) ? inputs[type_of]->index : -1;
  return memo[e.get()] = Expr::call(e->fn, args[0], args[1], args[2], type_of);
}

}  // namespace

Expr Expr::input(int i) { return Expr(std::make_shared<const Node>(Node{.kind = Kind::input, .index = i})); }
Expr Expr::scalar(int i) { return Expr(std::make_shared<const Node>(Node{.kind = Kind::scalar, .index = i})); }
Expr Expr::constant(double value) {
  return Expr(std::make_shared<const Node>(Node{.kind = Kind::constant, .value = value}));
}
Expr Expr::call(Fn fn, Expr a, Expr b, Expr c, int type_of) {
  return Expr(std::make_shared<const Node>(
      Node{.kind = Kind::call, .fn = fn, .type_of = type_of, .args = {std::move(a), std::move(b), std::move(c)}}));
}

bool Expr::is(Kind kind) const { return node_ && node_->kind == kind; }
bool Expr::is_constant(double value) const { return is(Kind::constant) && node_->value == value; }

Expr Expr::derivative(int i) const {
  Memo memo;
  return differentiate(*this, i, memo);
}

Expr Expr::replace(const Node* from, const Expr& to, const std::vector<Expr>& inputs) const {
  Memo memo;
  return substitute(*this, from, to, inputs, memo);
}

bool Expr::reads_input(int i) const {
  bool found = false;
  visit(*this, [&](const Node& n) { found |= n.kind == Kind::input && n.index == i; });
  return found;
}

bool Expr::on_integers() const {
  bool all = true;
  visit(*this, [&](const Node& n) { all &= n.kind != Kind::call || mxnet::on_integers(n.fn); });
  return all;
}

int Expr::calls() const {
  int n = 0;
  visit(*this, [&](const Node& node) { n += node.kind == Kind::call; });
  return n;
}

Expr apply(Fn fn, Expr a) { return Expr::call(fn, std::move(a)); }
Expr apply(Fn fn, Expr a, Expr b) { return Expr::call(fn, std::move(a), std::move(b)); }
Expr apply(Fn fn, Expr a, Expr b, Expr c) {
  if (fn == Fn::select && b.is(Expr::Kind::constant) && c.is(Expr::Kind::constant) && b->value == c->value) return b;
  return Expr::call(fn, std::move(a), std::move(b), std::move(c));
}

namespace {
bool both_constant(const Expr& a, const Expr& b) { return a.is(Expr::Kind::constant) && b.is(Expr::Kind::constant); }
}  // namespace

Expr operator+(Expr a, Expr b) {
  if (both_constant(a, b)) return a->value + b->value;
  if (a.is_constant(0)) return b;
  if (b.is_constant(0)) return a;
  return Expr::call(Fn::add, std::move(a), std::move(b));
}
Expr operator-(Expr a, Expr b) {
  if (both_constant(a, b)) return a->value - b->value;
  if (b.is_constant(0)) return a;
  return Expr::call(Fn::sub, std::move(a), std::move(b));
}
Expr operator*(Expr a, Expr b) {
  if (both_constant(a, b)) return a->value * b->value;
  if (a.is_constant(1)) return b;
  if (b.is_constant(1)) return a;
  if (a.is_constant(-1)) return -b;
  if (b.is_constant(-1)) return -a;
  return Expr::call(Fn::mul, std::move(a), std::move(b));
}
Expr operator/(Expr a, Expr b) {
  if (both_constant(a, b)) return a->value / b->value;
  if (b.is_constant(1)) return a;
  return Expr::call(Fn::div, std::move(a), std::move(b));
}
Expr operator-(Expr a) {
  if (a.is(Expr::Kind::constant)) return -a->value;
  return Expr::call(Fn::negative, std::move(a));
}

}  // namespace mxnet
