// SPDX-License-Identifier: Apache-2.0
#include "simple_op/elementwise_gradient.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace mxnet {
namespace {

constexpr int kVariadicSample = 2;  // number of inputs for which a variadic operator's gradient is worked out

int inputs_of(const ElementwiseOp& op) {
  return op.inputs.is_variadic() ? kVariadicSample : static_cast<int>(op.inputs.names.size());
}

std::string helper_name(const std::string& op, int inputs, int input) {
  std::string name = "_backward_" + op.substr(op.front() == '_' ? 1 : 0);
  return inputs == 1 ? name : str(name, "_", input);
}

// How the gradient of one input is computed.
struct Recipe {
  enum class Kind { zero, head, call };
  Kind kind = Kind::zero;
  const OpDef* op = nullptr;
  bool with_params = false;   // the operator takes the forward's parameters
  std::vector<int> operands;  // -1: head; else an input; the number of inputs: the output
};

// The public operator that is all of `b`: a function of two arrays.
bool as_public_call(const BackwardFormula& b, bool broadcasts, Recipe& recipe) {
  if (!b.expr.is(Expr::Kind::call)) return false;
  const int arity = arity_of(b.expr->fn);
  if (arity == 3) return false;
  for (int k = 0; k < arity; ++k) {
    if (!b.expr->args[k].is(Expr::Kind::input)) return false;
  }
  const FnInfo& fn = info(b.expr->fn);
  recipe.op = &get_op(broadcasts ? fn.broadcast_op ? fn.broadcast_op : fn.op : fn.op);
  for (int k = 0; k < arity; ++k) {
    const int i = b.expr->args[k]->index;
    recipe.operands.push_back(i == 0 ? -1 : b.sources[i - 1]);
  }
  return true;
}

Recipe make_recipe(const OpDef& op, const ElementwiseInfo& info, int variant, int inputs, int input) {
  const BackwardFormula b = backward_formula(info.formula(variant, inputs), inputs, input);
  Recipe recipe;
  if (!b.expr) return recipe;
  if (b.expr.is(Expr::Kind::input)) {
    recipe.kind = Recipe::Kind::head;
    return recipe;
  }
  recipe.kind = Recipe::Kind::call;
  if (as_public_call(b, info.broadcasts, recipe)) return recipe;
  recipe.op = &get_op(helper_name(op.name, inputs, input));
  recipe.with_params = true;
  recipe.operands = {-1};
  recipe.operands.insert(recipe.operands.end(), b.sources.begin(), b.sources.end());
  return recipe;
}

// What the gradient of one operator does, for the variants and numbers of inputs that were met.
struct RecipeBook {
  struct Page {
    int variant, inputs;
    std::unique_ptr<const std::vector<Recipe>> recipes;
  };
  const ElementwiseInfo* info = nullptr;
  std::vector<Page> pages;
};

RecipeBook& book_of(const OpDef& op) {
  thread_local std::vector<RecipeBook> books;
  if (static_cast<size_t>(op.id) >= books.size()) books.resize(op.id + 1);
  RecipeBook& book = books[op.id];
  if (!book.info) book.info = elementwise_info(op);
  return book;
}

const std::vector<Recipe>& recipes_of(const OpDef& op, RecipeBook& book, const Params& params, int inputs) {
  const int variant = book.info->variant ? book.info->variant(params) : 0;
  for (const RecipeBook::Page& page : book.pages) {
    if (page.variant == variant && page.inputs == inputs) return *page.recipes;
  }
  auto recipes = std::make_unique<std::vector<Recipe>>();
  for (int i = 0; i < inputs; ++i) recipes->push_back(make_recipe(op, *book.info, variant, inputs, i));
  book.pages.push_back({variant, inputs, std::move(recipes)});
  return *book.pages.back().recipes;
}

// Writes a formula as calls of public operators.
class Composer {
 public:
  Composer(GradientBuilder& g, bool broadcasts, std::vector<Value> inputs, std::vector<Scalar> scalars)
      : g_(g), broadcasts_(broadcasts), inputs_(std::move(inputs)), scalars_(std::move(scalars)) {}

  Value write(const Expr& e) {
    switch (e->kind) {
      case Expr::Kind::input: return inputs_[e->index];
      case Expr::Kind::scalar:
      case Expr::Kind::constant: return full(scalar(e));
      default: break;
    }
    if (auto it = done_.find(e.get()); it != done_.end()) return it->second;
    return done_[e.get()] = write_call(e);
  }

 private:
  static bool is_scalar(const Expr& e) { return e.is(Expr::Kind::scalar) || e.is(Expr::Kind::constant); }
  Scalar scalar(const Expr& e) const { return e.is(Expr::Kind::scalar) ? scalars_[e->index] : Scalar(e->value); }

  Value full(const Scalar& s) {
    return g_.call("_plus_scalar", {g_.call("zeros_like", {inputs_[0]})}, make_params<ScalarParams>({.scalar = s}));
  }

  Value write_call(const Expr& e) {
    const FnInfo& fn = info(e->fn);
    const int arity = arity_of(e->fn);
    const Expr &a = e->args[0], &b = e->args[1];
    if (arity == 1) return g_.call(fn.op, {write(a)});
    if (arity == 2 && is_scalar(b) && !is_scalar(a) && fn.scalar_op) {
      return g_.call(fn.scalar_op, {write(a)}, make_params<ScalarParams>({.scalar = scalar(b)}));
    }
    if (arity == 2 && is_scalar(a) && !is_scalar(b) && fn.rscalar_op) {
      return g_.call(fn.rscalar_op, {write(b)}, make_params<ScalarParams>({.scalar = scalar(a)}));
    }
    const char* name = broadcasts_ && fn.broadcast_op ? fn.broadcast_op : fn.op;
    if (arity == 2) return g_.call(name, {write(a), write(b)});
    return g_.call(name, {write(a), write(b), write(e->args[2])});
  }

  GradientBuilder& g_;
  bool broadcasts_;
  std::vector<Value> inputs_;
  std::vector<Scalar> scalars_;
  std::unordered_map<const Expr::Node*, Value> done_;
};

void give(GradientBuilder& g, const ElementwiseInfo& info, int input, Value value) {
  if (info.broadcasts)
    g.give_reduced(input, std::move(value));
  else
    g.give(input, std::move(value));
}

}  // namespace

Value compose(GradientBuilder& g, const Expr& formula, std::vector<Value> inputs, std::vector<Scalar> scalars,
              bool broadcasts) {
  return Composer(g, broadcasts, std::move(inputs), std::move(scalars)).write(formula);
}

BackwardFormula backward_formula(const Expr& formula, int inputs, int input) {
  const Expr slope = formula.derivative(input);
  if (!slope) return {};
  std::vector<Expr> same;
  for (int i = 0; i <= inputs; ++i) same.push_back(Expr::input(i));
  const Expr by_output = slope.replace(formula.is(Expr::Kind::call) ? formula.get() : nullptr, same[inputs], same);
  BackwardFormula result;
  std::vector<Expr> renumbered(inputs + 1, Expr::input(0));
  for (int i = 0; i <= inputs; ++i) {
    if (!by_output.reads_input(i)) continue;
    result.sources.push_back(i);
    renumbered[i] = Expr::input(static_cast<int>(result.sources.size()));
  }
  result.expr = Expr::input(0) * by_output.replace(nullptr, {}, renumbered);
  return result;
}

GradientReads gradient_reads(const ElementwiseOp& op) {
  GradientReads reads{false, false};
  const int inputs = inputs_of(op);
  for (int variant = 0; variant < op.variants; ++variant) {
    const Expr formula = op.info.formula(variant, inputs);
    for (int i = 0; i < inputs; ++i) {
      for (int source : backward_formula(formula, inputs, i).sources) {
        (source == inputs ? reads.outputs : reads.inputs) = true;
      }
    }
  }
  return reads;
}

std::vector<ElementwiseOp> gradient_operators(const ElementwiseOp& op) {
  std::vector<ElementwiseOp> helpers;
  const int inputs = inputs_of(op);
  for (int i = 0; i < inputs; ++i) {
    size_t most = 0;
    bool needed = false;
    for (int variant = 0; variant < op.variants; ++variant) {
      const BackwardFormula b = backward_formula(op.info.formula(variant, inputs), inputs, i);
      needed |= b.expr && !b.expr.is(Expr::Kind::input);
      most = std::max(most, b.sources.size());
    }
    if (!needed) continue;
    std::vector<std::string> names = {"head"};
    for (size_t k = 0; k < most; ++k) names.push_back(str("value", k));
    const auto source = [formula = op.info.formula, inputs, i](int variant) {
      return backward_formula(formula(variant, inputs), inputs, i);
    };
    ElementwiseOp helper{.name = helper_name(op.name, inputs, i),
                         .doc = str("Gradient of ", op.name, " with respect to input ", i, "."),
                         .inputs = Inputs(names),
                         .info = op.info,
                         .params = op.params,
                         .dtype = op.dtype,
                         .hidden = true};
    helper.info.formula = [source](int variant, int) { return source(variant).expr; };
    helper.info.first_order = true;
    helper.info.adjust = nullptr;
    if (op.info.variant) {
      helper.inputs = Inputs(names, [source, variant = op.info.variant](const Params& p) {
        return 1 + static_cast<int>(source(variant(p)).sources.size());
      });
    }
    helpers.push_back(std::move(helper));
  }
  return helpers;
}

void elementwise_gradient(GradientBuilder& g) { elementwise_gradient_of(g, g.op()); }

void elementwise_gradient_of(GradientBuilder& g, const OpDef& op) {
  RecipeBook& book = book_of(op);
  const ElementwiseInfo& info = *book.info;
  const int inputs = g.num_inputs();
  const std::vector<Recipe>& recipes = recipes_of(op, book, *g.params_ref(), inputs);
  for (int i = 0; i < inputs; ++i) {
    const Recipe& recipe = recipes[i];
    if (recipe.kind == Recipe::Kind::zero || !g.needs(i)) continue;
    if (recipe.kind == Recipe::Kind::head) {
      give(g, info, i, g.head(0));
      continue;
    }
    std::vector<Value> operands;
    for (int k : recipe.operands) operands.push_back(k < 0 ? g.head(0) : k == inputs ? g.output(0) : g.input(k));
    const Ref<Params>& params = recipe.with_params ? g.params_ref() : recipe.op->params.defaults();
    if (info.broadcasts) {
      g.give_reduced(i, g.apply(*recipe.op, params, operands)[0]);
    } else {
      g.give_all(std::span<const int>(&i, 1), *recipe.op, params, operands);
    }
  }
}

void composed_gradient(GradientBuilder& g) {
  const ElementwiseInfo& info = *elementwise_info(g.op());
  const int inputs = g.num_inputs();
  const Expr formula = info.expr(*g.params_ref(), inputs);
  std::vector<Scalar> scalars(info.scalars);
  if (info.read_scalars) info.read_scalars(*g.params_ref(), scalars.data());
  for (int i = 0; i < inputs; ++i) {
    if (!g.needs(i)) continue;
    const BackwardFormula b = backward_formula(formula, inputs, i);
    if (!b.expr) continue;
    std::vector<Value> operands = {g.head(0)};
    for (int k : b.sources) operands.push_back(k == inputs ? g.output(0) : g.input(k));
    give(g, info, i, compose(g, b.expr, std::move(operands), scalars, info.broadcasts));
  }
}

}  // namespace mxnet
