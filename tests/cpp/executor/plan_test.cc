// SPDX-License-Identifier: Apache-2.0
// Plans against the tape: random graphs give the same outputs and gradients, whatever memory they share.
#include "executor/plan.h"

#include <doctest.h>

#include <cmath>
#include <random>

#include "autograd/tape.h"
#include "executor/cached_op.h"
#include "executor/executor.h"
#include "executor/gradient_pass.h"
#include "executor/passes.h"
#include "symbol/symbol.h"

using namespace mxnet;

namespace {

Symbol call(const char* op, const AttrMap& attrs, std::vector<Symbol> in) {
  static int counter = 0;
  return Symbol::create(get_op(op), attrs, std::string(op) + std::to_string(counter++), in);
}

std::vector<float> values(const NDArray& array) {
  std::vector<float> out(static_cast<size_t>(array.size()));
  array.copy_to_memory(out.data());
  return out;
}

NDArray uniform(std::mt19937& rng, const Shape& shape) {
  std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
  std::vector<float> data(static_cast<size_t>(shape.size()));
  for (float& v : data) v = draw(rng);
  return NDArray::from_memory(data.data(), shape, DType::f32);
}

void check_close(const NDArray& a, const NDArray& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = values(a), y = values(b);
  for (size_t i = 0; i < x.size(); ++i) {
    REQUIRE_MESSAGE(std::abs(x[i] - y[i]) <= 1e-4f * (1.0f + std::abs(y[i])), x[i] << " and " << y[i] << " at " << i);
  }
}

// A graph over (4, 6) arrays: chains, sharing, views, matrix products, several outputs of one node.
Symbol random_graph(std::mt19937& rng, int nodes, int num_outputs) {
  std::vector<Symbol> pool = {Symbol::variable("a"), Symbol::variable("b"), Symbol::variable("c")};
  const auto pick = [&] {
    return pool[rng() % 3 == 0 ? rng() % pool.size() : pool.size() - 1 - rng() % std::min<size_t>(4, pool.size())];
  };
  for (int i = 0; i < nodes; ++i) {
    switch (rng() % 9) {
      case 0: pool.push_back(call("elemwise_add", {}, {pick(), pick()})); break;
      case 1: pool.push_back(call("elemwise_mul", {}, {pick(), pick()})); break;
      case 2: pool.push_back(call("elemwise_sub", {}, {pick(), pick()})); break;
      case 3: pool.push_back(call("tanh", {}, {pick()})); break;
      case 4: pool.push_back(call("_mul_scalar", {{"scalar", "0.5"}}, {pick()})); break;
      case 5: {
        const Symbol flat = call("Reshape", {{"shape", "(24,)"}}, {pick()});
        pool.push_back(call("Reshape", {{"shape", "(4, 6)"}}, {call("sigmoid", {}, {flat})}));
        break;
      }
      case 6: {
        const Symbol parts = call("SliceChannel", {{"num_outputs", "2"}, {"axis", "1"}}, {pick()});
        pool.push_back(call("Concat", {{"dim", "1"}}, {parts.output(1), parts.output(0)}));
        break;
      }
      case 7:
        pool.push_back(
            call("FullyConnected", {{"num_hidden", "6"}, {"no_bias", "True"}}, {pick(), Symbol::variable("w")}));
        break;
      default: pool.push_back(call("BlockGrad", {}, {pick()}));
    }
  }
  std::vector<Symbol> outputs{pool.back()};
  for (int i = 1; i < num_outputs; ++i) outputs.push_back(pool[rng() % pool.size()]);
  return Symbol::group(outputs);
}

struct Recording {
  Recording() : recording(autograd::set_recording(true)), training(autograd::set_training(true)) {}
  ~Recording() {
    autograd::set_recording(recording);
    autograd::set_training(training);
  }
  bool recording, training;
};

struct GraphArrays {
  std::vector<NDArray> arrays, gradients;
  std::vector<const NDArray*> pointers;
};

GraphArrays make_inputs(std::mt19937& rng, const Symbol& graph, autograd::GradReq req) {
  GraphArrays in;
  for (const Node* node : graph_inputs(graph.entries()).all) {
    in.arrays.push_back(uniform(rng, node->name == "w" ? Shape{6, 6} : Shape{4, 6}));
    in.gradients.push_back(NDArray::zeros(in.arrays.back().shape(), DType::f32));
    in.gradients.back().fill(0.25);
    autograd::mark_variable(in.arrays.back(), in.gradients.back(), req);
  }
  for (const NDArray& a : in.arrays) in.pointers.push_back(&a);
  return in;
}

// Runs and differentiates; the gradients of the inputs.
template <typename Run>
std::pair<std::vector<NDArray>, std::vector<NDArray>> outputs_and_gradients(GraphArrays& in, Run&& run) {
  for (NDArray& g : in.gradients) g.fill(0.25);
  std::vector<NDArray> out;
  {
    const Recording scope;
    out = run();
  }
  std::vector<NDArray> heads, head_gradients;
  for (const NDArray& o : out) {
    if (!autograd::in_graph(o)) continue;
    heads.push_back(o);
    head_gradients.push_back(NDArray::empty(o.shape(), o.dtype()));
    head_gradients.back().fill(0.5 + static_cast<double>(heads.size()));
  }
  if (!heads.empty()) autograd::backward(heads, head_gradients, {});
  std::vector<NDArray> gradients;
  for (const NDArray& g : in.gradients) gradients.push_back(g.copy({}));
  return {out, gradients};
}

}  // namespace

TEST_CASE("plan: random graphs compute what single operators compute") {
  std::mt19937 rng(11);
  for (int round = 0; round < 120; ++round) {
    const Symbol graph = random_graph(rng, 1 + static_cast<int>(rng() % 25), 1 + static_cast<int>(rng() % 3));
    const auto req = rng() % 2 ? autograd::GradReq::write : autograd::GradReq::add;
    GraphArrays in = make_inputs(rng, graph, req);
    if (in.arrays.empty()) continue;
    std::unordered_map<const Node*, NDArray> feed;
    const auto nodes = graph_inputs(graph.entries()).all;
    for (size_t i = 0; i < nodes.size(); ++i) feed[nodes[i]] = in.arrays[i];
    CachedOp op(graph);
    const auto eager = outputs_and_gradients(in, [&] { return interpret(graph.entries(), feed, {}); });
    for (int again = 0; again < 2; ++again) {
      const auto planned = outputs_and_gradients(in, [&] {
        std::vector<NDArray> out(op.num_outputs());
        op.call(in.pointers, out);
        return out;
      });
      for (size_t i = 0; i < eager.first.size(); ++i) check_close(planned.first[i], eager.first[i]);
      for (size_t i = 0; i < eager.second.size(); ++i) check_close(planned.second[i], eager.second[i]);
    }
    std::vector<NDArray> out(op.num_outputs());
    op.call(in.pointers, out);  // inference
    for (size_t i = 0; i < out.size(); ++i) check_close(out[i], eager.first[i]);
  }
}

TEST_CASE("plan: several forwards before a backward, and a retained graph") {
  std::mt19937 rng(5);
  const Symbol x = Symbol::variable("x");
  const Symbol graph = call("tanh", {}, {call("elemwise_mul", {}, {call("tanh", {}, {x}), call("sigmoid", {}, {x})})});
  CachedOp op(graph);
  GraphArrays in = make_inputs(rng, graph, autograd::GradReq::write);
  GraphArrays other = make_inputs(rng, graph, autograd::GradReq::write);
  const auto run = [&](GraphArrays& inputs) {
    std::vector<NDArray> out(1);
    op.call(inputs.pointers, out);
    return out;
  };
  const auto alone = outputs_and_gradients(in, [&] { return run(in); });
  std::vector<NDArray> first, second;
  {
    const Recording scope;
    first = run(in);
    second = run(other);
  }
  const NDArray head = NDArray::empty(first[0].shape(), DType::f32);
  head.fill(1.5);
  autograd::BackwardOptions keep;
  keep.retain_graph = true;
  for (int i = 0; i < 2; ++i) {
    in.gradients[0].fill(0);
    autograd::backward(first, std::span<const NDArray>(&head, 1), keep);
    check_close(in.gradients[0], alone.second[0]);
  }
}

TEST_CASE("plan: a graph that returns its input returns an alias, and outputs are fresh") {
  const Symbol x = Symbol::variable("x");
  CachedOp op(Symbol::group(std::vector<Symbol>{x, call("_mul_scalar", {{"scalar", "2"}}, {x})}));
  const NDArray in = NDArray::zeros({3}, DType::f32);
  const NDArray* pointers[] = {&in};
  std::vector<NDArray> one(2), two(2);
  op.call(pointers, one);
  op.call(pointers, two);
  CHECK(one[0].same_window(in));
  CHECK_FALSE(one[1].chunk() == two[1].chunk());
}

TEST_CASE("executor: bound outputs, requests, and backward after a forward without training") {
  std::mt19937 rng(2);
  const Symbol x = Symbol::variable("x"), y = Symbol::variable("y");
  const Symbol graph = call("elemwise_mul", {}, {x, y});
  std::vector<NDArray> args{uniform(rng, {2, 3}), uniform(rng, {2, 3})};
  std::vector<NDArray> grads{NDArray::zeros({2, 3}, DType::f32), NDArray::zeros({2, 3}, DType::f32)};
  grads[1].fill(1.0);
  Executor executor(graph, {Device{}}, args, grads, {Req::write, Req::add});
  const NDArray held = executor.outputs()[0];
  const NDArray head = NDArray::empty({2, 3}, DType::f32);
  head.fill(1.0);
  for (const bool training : {true, false}) {
    grads[1].fill(1.0);
    executor.forward(training);
    executor.backward(std::span<const NDArray>(&head, 1));
    check_close(grads[0], args[1]);
    for (size_t i = 0; i < 6; ++i) CHECK(values(grads[1])[i] == doctest::Approx(values(args[0])[i] + 1.0f));
    CHECK(held.same_window(executor.outputs()[0]));
    CHECK(values(held)[0] == doctest::Approx(values(args[0])[0] * values(args[1])[0]));
  }
  CHECK_THROWS_AS(executor.backward({}), Error);
}

TEST_CASE("passes: equal expressions become one, random ones stay") {
  const Symbol x = Symbol::variable("x");
  const auto twice = [&] { return call("tanh", {}, {call("_mul_scalar", {{"scalar", "2"}}, {x})}); };
  const Symbol sum = call("elemwise_add", {}, {twice(), twice()});
  CHECK(topological_order(sum.entries()).size() == 6);
  CHECK(topological_order(merge_common_subexpressions(sum.entries())).size() == 4);
  const Symbol drop = call("elemwise_add", {}, {call("Dropout", {}, {x}), call("Dropout", {}, {x})});
  CHECK(topological_order(merge_common_subexpressions(drop.entries())).size() == 4);
}

TEST_CASE("gradient pass: contributions are summed, and nothing passes BlockGrad") {
  const Symbol x = Symbol::variable("x");
  const Symbol y = call("elemwise_add", {}, {x, x});
  const Symbol blocked = call("BlockGrad", {}, {y});
  const Entry head{make_variable("head"), 0};
  Node* const wanted[] = {x.entries()[0].node.get()};
  const auto grads = make_gradients({y.entries(), std::span<const Entry>(&head, 1), wanted, true});
  CHECK(grads[0].node);
  const auto none = make_gradients({blocked.entries(), std::span<const Entry>(&head, 1), wanted, true});
  CHECK_FALSE(none[0].node);
}
