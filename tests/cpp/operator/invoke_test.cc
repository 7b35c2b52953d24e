// SPDX-License-Identifier: Apache-2.0
// The runtime's part of every call: requests, overlap, layouts, mutation, errors. The operators here exist for the
// test.
#include "operator/invoke.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/error.h"
#include "ndarray/copy.h"

namespace mxnet {
namespace {

int64_t elements(const PrepareArgs& a) { return a.out[0].shape.size(); }

// out = in + 1, element by element from the back: wrong unless in and out are the same or apart.
Prepared prepare_increment(const PrepareArgs& a) {
  a.keep_layout();
  return make_kernel(
      [n = elements(a)](const KernelCall& c) {
        const float* x = static_cast<const float*>(c.in[0]);
        float* y = static_cast<float*>(c.out[0]);
        for (int64_t i = 0; i < n; ++i) y[i] = x[i] + 1;
      },
      100);
}
const RegisterOp increment{{.name = "_test_increment",
                            .doc = "",
                            .inputs = {"x"},
                            .infer = {infer::same_shape, infer::same_dtype},
                            .gradient = Gradient::none(),
                            .kernels = {{"plain", prepare_increment}},
                            .flags = {.elementwise = true, .hidden = true}}};

// Insists on channels-last input and produces it: out = in, with the first element of the memory order marked.
Prepared prepare_last(const PrepareArgs& a) {
  a.in_layout[0] = Layout::channels_last;
  a.out[0].layout = Layout::channels_last;
  return make_kernel(
      [n = elements(a)](const KernelCall& c) {
        std::copy_n(static_cast<const float*>(c.in[0]), n, static_cast<float*>(c.out[0]));
      },
      1'000'000'000);  // queued
}
const RegisterOp last{{.name = "_test_last",
                       .doc = "",
                       .inputs = {"x"},
                       .infer = {infer::same_shape, infer::same_dtype},
                       .gradient = Gradient::none(),
                       .kernels = {{"plain", prepare_last}},
                       .flags = {.hidden = true}}};

// Adds x to the state and returns the new state.
Prepared prepare_accumulate(const PrepareArgs& a) {
  return make_kernel(
      [n = elements(a)](const KernelCall& c) {
        float* state = static_cast<float*>(c.in[1]);
        for (int64_t i = 0; i < n; ++i)
          static_cast<float*>(c.out[0])[i] = state[i] += static_cast<const float*>(c.in[0])[i];
      },
      100);
}
const RegisterOp accumulate{{.name = "_test_accumulate",
                             .doc = "",
                             .inputs = Inputs{"x", "state"}.mutates({"state"}),
                             .infer = {infer::same_shape, infer::same_dtype},
                             .gradient = Gradient::none(),
                             .kernels = {{"plain", prepare_accumulate}},
                             .flags = {.hidden = true}}};

Prepared prepare_failing(const PrepareArgs&) {
  return make_kernel([](const KernelCall&) { fail(ErrorKind::index, "index 7 is out of range"); }, 100);
}
Prepared refuse(const PrepareArgs&) { return "needs something else"; }
const RegisterOp failing{{.name = "_test_failing",
                          .doc = "",
                          .inputs = {"x"},
                          .infer = {infer::same_shape, infer::same_dtype},
                          .gradient = Gradient::none(),
                          .kernels = {{"refuses", refuse}, {"fails", prepare_failing}},
                          .flags = {.hidden = true}}};
const RegisterOp refusing{{.name = "_test_refusing",
                           .doc = "",
                           .inputs = {"x"},
                           .infer = {infer::same_shape, infer::same_dtype},
                           .gradient = Gradient::none(),
                           .kernels = {{"first", refuse}},
                           .flags = {.hidden = true}}};

NDArray numbers(const Shape& shape, float start = 0) {
  std::vector<float> v(static_cast<size_t>(shape.size()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = start + static_cast<float>(i);
  return NDArray::from_memory(v.data(), shape, DType::f32);
}

std::vector<float> read(const NDArray& a) {
  std::vector<float> v(static_cast<size_t>(a.size()));
  a.copy_to_memory(v.data());
  return v;
}

NDArray run(const char* name, std::vector<NDArray> in, NDArray out = {}, Req req = Req::write) {
  const OpDef& op = get_op(name);
  std::vector<const NDArray*> pointers;
  for (const NDArray& a : in) pointers.push_back(&a);
  InvokeOptions options;
  options.req = std::span<const Req>(&req, 1);
  invoke(op, op.params.defaults(), pointers, std::span<NDArray>(&out, 1), options);
  return out;
}

}  // namespace

TEST_CASE("invoke: write, add, in place") {
  const NDArray x = numbers({4});
  CHECK(read(run("_test_increment", {x})) == std::vector<float>{1, 2, 3, 4});
  const NDArray y = numbers({4}, 10);
  run("_test_increment", {x}, y, Req::add);
  CHECK(read(y) == std::vector<float>{11, 13, 15, 17});
  run("_test_increment", {x}, x);
  CHECK(read(x) == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("invoke: overlapping windows give the result as if inputs were read first") {
  NDArray x = numbers({5});
  run("_test_increment", {x.slice(0, 4)}, x.slice(1, 5));
  CHECK(read(x) == std::vector<float>{0, 1, 2, 3, 4});
  x = numbers({5});
  run("_test_increment", {x.slice(1, 5)}, x.slice(0, 4), Req::add);
  CHECK(read(x) == std::vector<float>{2, 4, 6, 8, 4});
}

TEST_CASE("invoke: an output of the wrong shape or dtype is refused") {
  CHECK_THROWS_WITH(run("_test_increment", {numbers({4})}, numbers({5})),
                    doctest::Contains("_test_increment: the array given for output 0 has shape (5,)"));
  CHECK_THROWS_AS(run("_test_increment", {numbers({4})}, NDArray::zeros({4}, DType::f64)), Error);
  CHECK_THROWS_AS(run("_test_increment", {}), Error);
  CHECK_THROWS_AS(run("_test_increment", {NDArray()}), Error);
}

TEST_CASE("invoke: hidden layouts never show") {
  const NDArray x = numbers({2, 3, 2, 2});
  const NDArray y = run("_test_last", {x});
  CHECK(y.layout() == Layout::channels_last);
  CHECK(read(y) == read(x));
  const NDArray z = run("_test_increment", {y});  // keeps the layout
  CHECK(z.layout() == Layout::channels_last);
  CHECK(read(z) == read(run("_test_increment", {x})));
  CHECK(read(y.slice(1, 2)) == read(x.slice(1, 2)));
  CHECK(y.layout() == Layout::channels_last);  // whole images are still a view
  const NDArray row = y.at(1);
  CHECK(y.layout() == Layout::plain);
  CHECK(y.chunk()->pinned);
  CHECK(read(row) == read(x.at(1)));
  const NDArray given = numbers({2, 3, 2, 2}, 100);
  run("_test_last", {x}, given);
  CHECK(given.layout() == Layout::plain);
  CHECK(read(given) == read(x));
  run("_test_last", {x}, given, Req::add);
  CHECK(read(given)[5] == 10);
}

TEST_CASE("invoke: in place on a channels-last array") {
  const NDArray x = numbers({1, 2, 2, 2});
  const NDArray y = run("_test_last", {x});
  run("_test_increment", {y}, y);
  CHECK(read(y) == read(run("_test_increment", {x})));
  const NDArray other = numbers({1, 2, 2, 2});
  run("_test_increment", {other}, y);
  CHECK(read(y) == read(run("_test_increment", {other})));
}

TEST_CASE("invoke: mutated inputs are written once per call and count as a new version") {
  const NDArray state = NDArray::zeros({3}, DType::f32);
  const uint64_t version = state.chunk()->version;
  const NDArray one = numbers({3}, 1);
  run("_test_accumulate", {one, state});
  run("_test_accumulate", {one, state});
  CHECK(read(state) == std::vector<float>{2, 4, 6});
  CHECK(state.chunk()->version > version);
}

TEST_CASE("invoke: what fails while running is raised at the wait, with operator and shapes, once") {
  const NDArray y = run("_test_failing", {numbers({2, 3})});
  const NDArray z = run("_test_increment", {y});
  CHECK_THROWS_WITH(z.wait_to_read(), doctest::Contains("_test_failing(float32(2, 3)): index 7 is out of range"));
  y.wait_to_read();
  z.wait_to_read();
}

TEST_CASE("invoke: when every kernel refuses, the error says why") {
  CHECK_THROWS_WITH(run("_test_refusing", {numbers({2})}), doctest::Contains("first: needs something else"));
}

TEST_CASE("registry: unknown names suggest near ones; names are unique") {
  CHECK_THROWS_WITH(get_op("_test_incremen"), doctest::Contains("there is no operator _test_incremen"));
  CHECK_THROWS_AS(register_alias("_test_last", "_test_increment"), Error);
  register_alias("_test_last", "_test_last");
  CHECK(find_op("none such") == nullptr);
}

TEST_CASE("infer: broadcasting") {
  const OpDef& op = get_op("_test_increment");
  std::vector<TensorSpec> in{{{3, 1}, DType::f32, {}}, {{1, 4}, DType::f32, {}}},
      out{{Shape::unknown(), DType::unknown, {}}};
  InferContext c(op, *op.params.defaults(), in, out);
  infer::broadcast(c);
  CHECK(out[0].shape == Shape{3, 4});
  in[1].shape = {2, 4};
  out[0].shape = Shape::unknown();
  CHECK_THROWS_WITH(infer::broadcast(c), doctest::Contains("(3, 1) and (2, 4) do not broadcast"));
  in[1].shape = {0};
  in[0].shape = {3, 1};
  infer::broadcast(c);
  CHECK(out[0].shape == Shape{3, 0});
}

TEST_CASE("copy: reorder is its own inverse") {
  const Shape shape{2, 5, 3, 4};
  const NDArray x = numbers(shape);
  std::vector<float> turned(120), back(120);
  copy::reorder(turned.data(), x.data(), shape, DType::f32, Layout::plain, Layout::channels_last);
  CHECK(turned[1] == 12.0f);  // second channel of the first pixel
  copy::reorder(back.data(), turned.data(), shape, DType::f32, Layout::channels_last, Layout::plain);
  CHECK(back == read(x));
}

}  // namespace mxnet
