// SPDX-License-Identifier: Apache-2.0
// Loops without a binding: a symbol file with a subgraph, bound, run forwards and backwards.
#include <doctest.h>

#include <vector>

#include "autograd/custom.h"
#include "base/error.h"
#include "executor/executor.h"
#include "symbol/control_flow.h"
#include "symbol/symbol.h"

using namespace mxnet;

namespace {

// For each row x: output x * s, then s = s + x.
constexpr const char* kLoop = R"({
  "nodes": [
    {"op": "null", "name": "x", "inputs": []},
    {"op": "null", "name": "s", "inputs": []},
    {"op": "_foreach", "name": "loop",
     "attrs": {"in_data_locs": "[0]", "in_state_locs": "[1]", "num_args": "3", "num_out_data": "1",
               "num_outputs": "2", "remain_locs": "[]"},
     "inputs": [[0, 0, 0], [1, 0, 0]],
     "subgraphs": [{
       "nodes": [
         {"op": "null", "name": "x0", "inputs": []},
         {"op": "null", "name": "s0", "inputs": []},
         {"op": "elemwise_mul", "name": "mul", "inputs": [[0, 0, 0], [1, 0, 0]]},
         {"op": "elemwise_add", "name": "add", "inputs": [[1, 0, 0], [0, 0, 0]]}],
       "arg_nodes": [0, 1], "heads": [[2, 0, 0], [3, 0, 0]]}]}],
  "arg_nodes": [0, 1], "heads": [[2, 0, 0], [2, 1, 0]], "attrs": {"mxnet_version": ["int", 10901]}})";

std::vector<float> values(const NDArray& array) {
  std::vector<float> out(static_cast<size_t>(array.size()));
  array.copy_to_memory(out.data());
  return out;
}

NDArray array(const std::vector<float>& v, const Shape& shape) {
  return NDArray::from_memory(v.data(), shape, DType::f32);
}

}  // namespace

TEST_CASE("control flow: a loop of a symbol file runs and is differentiated") {
  const Symbol symbol = Symbol::from_json(kLoop);
  CHECK(symbol.list_arguments() == std::vector<std::string>{"x", "s"});
  std::vector<NDArray> gradients = {NDArray::zeros({3, 1}, DType::f32), NDArray::zeros({1}, DType::f32)};
  Executor executor(symbol, {Device{}}, {array({1, 2, 3}, {3, 1}), array({10}, {1})}, gradients,
                    {Req::write, Req::add});
  executor.forward(true);
  CHECK(values(executor.outputs()[0]) == std::vector<float>{10, 22, 39});
  CHECK(values(executor.outputs()[1]) == std::vector<float>{16});
  for (int pass = 1; pass <= 2; ++pass) {
    executor.backward(std::vector<NDArray>{array({1, 1, 1}, {3, 1}), array({1}, {1})});
    CHECK(values(gradients[0]) == std::vector<float>{10 + 2 + 3 + 1, 11 + 3 + 1, 13 + 1});
    CHECK(values(gradients[1]) == std::vector<float>{static_cast<float>(pass * (1 + 2 + 3 + 1))});
  }
}

TEST_CASE("control flow: subgraphs are kept by copies and files") {
  const Symbol symbol = Symbol::from_json(kLoop);
  CHECK(Symbol::from_json(symbol.to_json()).to_json() == symbol.to_json());
  CHECK(symbol.deep_copy().to_json() == symbol.to_json());
  Symbol changed = symbol.deep_copy();
  changed.set_attr("__lr_mult__", "2");
  CHECK(changed.to_json().find("subgraphs") != std::string::npos);
  const Node& node = *symbol.entries()[0].node;
  REQUIRE(subgraphs_of(*node.op, *node.params));
  CHECK(subgraphs_of(*node.op, *node.params)->graphs.size() == 1);
}

TEST_CASE("control flow: graphs that do not fit the parameters are refused") {
  const std::string text = kLoop;
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  for (const std::string& bad : {with(R"("num_outputs": "2")", R"("num_outputs": "3")"),
                                 with(R"("in_state_locs": "[1]")", R"("in_state_locs": "[5]")"),
                                 with(R"("in_state_locs": "[1]")", R"("in_state_locs": "[0]")"),
                                 with(R"("num_args": "3")", R"("num_args": "-1")"),
                                 with(R"("heads": [[2, 0, 0], [3, 0, 0]])", R"("heads": [[2, 0, 0]])")}) {
    CHECK_THROWS_AS(Symbol::from_json(bad), Error);
  }
}

TEST_CASE("custom operators: without a language there are none") {
  autograd::set_custom_factory(nullptr);
  CHECK_THROWS_AS(Symbol::create(get_op("Custom"), {{"op_type", "x"}}, "c", {}), Error);
}
