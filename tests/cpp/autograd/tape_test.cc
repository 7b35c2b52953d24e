// SPDX-License-Identifier: Apache-2.0
#include "autograd/tape.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/error.h"

namespace mxnet::autograd {
namespace {

NDArray scalar(float v) { return NDArray::from_memory(&v, {1}, DType::f32); }
float value(const NDArray& a) {
  float v;
  a.copy_to_memory(&v);
  return v;
}
NDArray leaf(float v, GradReq req = GradReq::write) {
  NDArray x = scalar(v);
  mark_variable(x, NDArray::zeros({1}, DType::f32), req);
  return x;
}
NDArray op(const char* name, std::vector<NDArray> in) {
  return call(get_op(name), get_op(name).params.defaults(), in)[0];
}

struct Recording {
  Recording() { set_recording(true); }
  ~Recording() { set_recording(false); }
};

// y = 3 x, by hand.
struct Triple final : CustomStep {
  std::string name() const override { return "Triple"; }
  void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    CHECK(req[0] != Req::null);
    const NDArray g = scalar(3 * value(heads[0]));
    if (grads[0].is_none())
      grads[0] = g;
    else if (req[0] == Req::write)
      grads[0].copy_from(g);
    else
      grads[0].copy_from(scalar(value(grads[0]) + value(g)));
  }
};

}  // namespace

TEST_CASE("tape: sums contributions and respects requests") {
  const NDArray x = leaf(3), a = leaf(2, GradReq::add);
  for (int i = 0; i < 2; ++i) {
    NDArray y;
    {
      const Recording on;
      y = op("elemwise_add", {op("elemwise_mul", {x, x}), op("elemwise_mul", {x, a})});
    }
    backward(std::vector<NDArray>{y}, {}, {});
  }
  CHECK(value(gradient_of(x)) == 8);
  CHECK(value(gradient_of(a)) == 6);
  CHECK(fresh_gradient(x));
}

TEST_CASE("tape: custom steps, alone and among operators") {
  const NDArray x = leaf(5);
  NDArray out = scalar(15);
  {
    const Recording on;
    const NDArray* in[] = {&x};
    CHECK(would_record(in));
    record_custom(make_ref<Triple>(), in, std::span<NDArray>(&out, 1));
    out = op("elemwise_mul", {out, out});
  }
  backward(std::vector<NDArray>{out}, {}, {});
  CHECK(value(gradient_of(x)) == 90);
}

TEST_CASE("tape: errors") {
  const NDArray x = leaf(1);
  CHECK_THROWS_AS(backward(std::vector<NDArray>{scalar(1)}, {}, {}), Error);
  NDArray y;
  {
    const Recording on;
    y = op("elemwise_mul", {x, x});
    CHECK_THROWS_AS(check_writable(x, "test"), Error);
    check_writable(scalar(2), "test");
  }
  CHECK_THROWS_AS(backward(std::vector<NDArray>{y}, std::vector<NDArray>{NDArray::zeros({2}, DType::f32)}, {}), Error);
  backward(std::vector<NDArray>{y}, {}, {.retain_graph = true});
  backward(std::vector<NDArray>{y}, {}, {});
  CHECK(!in_graph(y));
  CHECK_THROWS_AS(backward(std::vector<NDArray>{y}, {}, {}), Error);
  NDArray bad = scalar(1);
  CHECK_THROWS_AS(mark_variable(bad, NDArray::zeros({2}, DType::f32), GradReq::write), Error);
}

TEST_CASE("tape: 200,000 nodes are taken apart without recursion") {
  const NDArray x = leaf(1);
  NDArray y = x;
  {
    const Recording on;
    for (int i = 0; i < 200'000; ++i) y = op("_copy", {y});
  }
  CHECK(in_graph(y));
  y = NDArray();
}

TEST_CASE("tape: gradients of gradients") {
  const NDArray x = leaf(2);
  NDArray y;
  std::vector<NDArray> g;
  {
    const Recording on;
    y = op("elemwise_mul", {x, op("elemwise_mul", {x, x})});
    g = gradients(std::vector<NDArray>{y}, {}, std::vector<NDArray>{x}, {.retain_graph = true, .create_graph = true});
  }
  CHECK(value(g[0]) == 12);
  backward(g, {}, {});
  CHECK(value(gradient_of(x)) == 12);
}

}  // namespace mxnet::autograd
