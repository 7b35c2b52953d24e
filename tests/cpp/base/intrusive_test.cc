// SPDX-License-Identifier: Apache-2.0
#include "base/intrusive.h"

#include <doctest.h>

#include "base/error.h"

namespace mxnet {
namespace {

struct Node : Counted<Node> {
  explicit Node(int* alive) : alive_(alive) { ++*alive_; }
  ~Node() { --*alive_; }
  int* alive_;
};

TEST_CASE("a counted object lives as long as its last reference") {
  int alive = 0;
  {
    Ref<Node> first = make_ref<Node>(&alive);
    CHECK(first->unique());
    Ref<Node> second = first;
    CHECK_FALSE(first->unique());
    CHECK(first == second);
    Ref<Node> moved = std::move(first);
    CHECK_FALSE(first);
    second.reset();
    CHECK(moved->unique());
    CHECK(alive == 1);
  }
  CHECK(alive == 0);
}

TEST_CASE("assigning a reference to itself keeps the object") {
  int alive = 0;
  Ref<Node> node = make_ref<Node>(&alive);
  const Ref<Node>& same = node;
  node = same;
  CHECK(alive == 1);
  CHECK(node->unique());
}

TEST_CASE("an error that crosses the library's border keeps its kind") {
  try {
    fail(ErrorKind::value, "clip: a_min ", 2, " is above a_max ", 1);
    FAIL("fail returned");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::value);
    CHECK(std::string(error.what()) == "clip: a_min 2 is above a_max 1");
  }
}

}  // namespace
}  // namespace mxnet
