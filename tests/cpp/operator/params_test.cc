// SPDX-License-Identifier: Apache-2.0
#include "operator/params.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"

namespace mxnet {
namespace {

enum class Kind { one, none };

struct Sample {
  Shape kernel;
  int count = 3;
  float rate = 0.1f;
  bool flag = false;
  Kind kind = Kind::one;
  std::optional<int64_t> axis;
  OptionalTuple begin;
  DType dtype = DType::f32;
  Scalar scalar = int64_t{0};
  double lr = 0;
  static void declare(ParamSchemaOf<Sample>& s) {
    s.field("kernel", &Sample::kernel, "window").required();
    s.field("count", &Sample::count, "how many").range(1, 10);
    s.field("rate", &Sample::rate, "rate");
    s.field("flag", &Sample::flag, "flag");
    s.choice("kind", &Sample::kind, {{"one", Kind::one}, {"None", Kind::none}}, "kind");
    s.field("axis", &Sample::axis, "axis");
    s.field("begin", &Sample::begin, "begin");
    s.field("dtype", &Sample::dtype, "dtype");
    s.field("scalar", &Sample::scalar, "scalar");
    s.field("lr", &Sample::lr, "learning rate").runtime();
    s.ignore("workspace");
    s.validate([](const Sample& p) {
      if (p.flag && p.count == 7) fail(ErrorKind::value, "count must not be 7 with flag");
    });
  }
};

Ref<Params> parse(ParamMap given) {
  given.insert(given.begin(), {"kernel", std::string("(3, 3)")});
  return schema_of<Sample>().parse("Op", given);
}

std::string error_of(ParamMap given) {
  try {
    parse(std::move(given));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("params: typed values and text forms mean the same") {
  const auto typed = parse({{"count", int64_t{4}},
                            {"rate", 0.5},
                            {"flag", true},
                            {"axis", int64_t{-1}},
                            {"begin", ParamList{int64_t{1}, ParamValue()}},
                            {"dtype", DType::f16}});
  const auto text = parse({{"count", std::string("4")},
                           {"rate", std::string("0.5")},
                           {"flag", std::string("True")},
                           {"axis", std::string("-1")},
                           {"begin", std::string("(1, None)")},
                           {"dtype", std::string("float16")}});
  CHECK(typed->key() == text->key());
  const auto& p = text->as<Sample>();
  CHECK(p.kernel == Shape{3, 3});
  CHECK(p.count == 4);
  CHECK(p.rate == 0.5f);
  CHECK(p.flag);
  CHECK(p.axis == -1);
  CHECK(p.begin == OptionalTuple{1, std::nullopt});
  CHECK(p.dtype == DType::f16);
}

TEST_CASE("params: forms of tuples") {
  for (const char* text : {"(3, 3)", "[3,3]", "(3L, 3L)", " (3 ,3) "}) {
    CHECK(schema_of<Sample>().parse("Op", {{"kernel", std::string(text)}})->as<Sample>().kernel == Shape{3, 3});
  }
  CHECK(schema_of<Sample>().parse("Op", {{"kernel", int64_t{5}}})->as<Sample>().kernel == Shape{5});
  CHECK(schema_of<Sample>().parse("Op", {{"kernel", std::string("()")}})->as<Sample>().kernel == Shape{});
}

TEST_CASE("params: None, infinities, scalars keep their kind") {
  CHECK(parse({{"kind", ParamValue()}})->as<Sample>().kind == Kind::none);
  CHECK(!parse({{"axis", std::string("None")}})->as<Sample>().axis);
  CHECK(std::isinf(parse({{"rate", std::string("inf")}})->as<Sample>().rate));
  CHECK(std::get<int64_t>(parse({{"scalar", int64_t{3}}})->as<Sample>().scalar) == 3);
  CHECK(std::get<double>(parse({{"scalar", std::string("1.5")}})->as<Sample>().scalar) == 1.5);
}

TEST_CASE("params: run-time fields are no part of the key, others are") {
  CHECK(parse({{"lr", 0.1}})->key() == parse({{"lr", 0.2}})->key());
  CHECK(parse({{"rate", 0.1}})->key() != parse({{"rate", 0.2}})->key());
}

TEST_CASE("params: text as in files, and back") {
  const auto params = parse({{"rate", 1e-5}, {"flag", true}});
  ParamMap texts;
  for (auto& [name, text] : schema_of<Sample>().to_text(*params)) {
    if (name == "rate") CHECK(text == "1e-05");
    if (name == "flag") CHECK(text == "True");
    if (name == "kernel") CHECK(text == "(3, 3)");
    if (name == "axis") CHECK(text == "None");
    texts.emplace_back(name, text);
  }
  CHECK(schema_of<Sample>().parse("Op", texts)->key() == params->key());
}

TEST_CASE("params: errors name operator, parameter and value") {
  CHECK(error_of({{"count", std::string("many")}}) == "Op: parameter count (int): expected an integer, got many");
  CHECK(error_of({{"count", int64_t{11}}}).find("count must be in [1.0, 10.0], got 11") != std::string::npos);
  CHECK(error_of({{"kind", std::string("two")}}).find("{'one', None}") != std::string::npos);
  CHECK(error_of({{"nothing", int64_t{1}}}).find("there is no parameter nothing") != std::string::npos);
  CHECK(error_of({{"flag", true}, {"count", int64_t{7}}}) == "Op: count must not be 7 with flag");
  CHECK(error_of({{"count", 2.5}}).find("expected an integer") != std::string::npos);
  CHECK(error_of({{"workspace", int64_t{1}}, {"__lr_mult__", std::string("2")}}).empty());
  CHECK_THROWS_AS(schema_of<Sample>().parse("Op", {}), Error);
}

TEST_CASE("params: nesting in text is bounded") {
  std::string deep;
  for (int i = 0; i < 10000; ++i) deep += "(";
  for (int i = 0; i < 10000; ++i) deep += ")";
  CHECK_THROWS_AS(schema_of<Sample>().parse("Op", {{"kernel", deep}}), Error);
}

}  // namespace mxnet
