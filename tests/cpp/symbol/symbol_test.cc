// SPDX-License-Identifier: Apache-2.0
#include "symbol/symbol.h"

#include <doctest.h>

#include <random>

#include "symbol/infer.h"
#include "symbol/json.h"

using namespace mxnet;

namespace {

using Names = std::vector<std::string>;

Symbol call(const char* op, const AttrMap& attrs, const std::string& name, std::vector<Symbol> in) {
  return Symbol::create(get_op(op), attrs, name, in);
}

// A network with most of what files hold: defaults, auxiliary states, several outputs, user attributes, variadic
// inputs.
Symbol network() {
  const Symbol data = Symbol::variable("data", {{"__shape__", "(0, 3, 8, 8)"}, {"lr_mult", "2.0"}});
  const Symbol conv =
      call("Convolution", {{"kernel", "(3, 3)"}, {"num_filter", "4"}, {"ctx_group", "a"}}, "conv", {data});
  const Symbol bn = call("BatchNorm", {{"fix_gamma", "False"}}, "bn", {conv});
  const Symbol pool = call("Pooling", {{"kernel", "(2, 2)"}, {"stride", "(2, 2)"}, {"pool_type", "max"}}, "pool", {bn});
  const Symbol parts = call("SliceChannel", {{"num_outputs", "2"}}, "parts", {pool});
  const Symbol joined = call("Concat", {{"dim", "1"}}, "joined", {parts.output(1), parts.output(0), pool});
  const Symbol fc = call("FullyConnected", {{"num_hidden", "5"}}, "fc", {joined});
  return call("Dropout", {{"p", "0.25"}}, "out", {fc});
}

}  // namespace

TEST_CASE("symbol: inputs that are not given become variables, in MXNet's order") {
  const Symbol net = network();
  CHECK(net.list_arguments() ==
        Names{"data", "conv_weight", "conv_bias", "bn_gamma", "bn_beta", "fc_weight", "fc_bias"});
  CHECK(net.list_auxiliary_states() == Names{"bn_moving_mean", "bn_moving_var"});
  CHECK(net.list_outputs() == Names{"out_output"});
  CHECK(net.internals().list_outputs()[3] == "conv_output");
  CHECK(net.internals().output("parts_output1").list_outputs() == Names{"parts_output1"});
}

TEST_CASE("symbol: attributes are kept under canonical keys and shown under both") {
  const Symbol net = network();
  const Symbol conv = net.internals().output("conv_output");
  CHECK(conv.attr("num_filter") == "4");
  CHECK(conv.attr("ctx_group") == "a");
  CHECK(conv.attr("__ctx_group__") == "a");
  CHECK(conv.list_attr().at("ctx_group") == "a");
  CHECK_FALSE(conv.attr("nothing"));
  const Symbol mean = net.internals().output("bn_moving_mean");
  CHECK(mean.attr("__init__") == "[\"zero\", {}]");
}

TEST_CASE("symbol: composition replaces variables in a copy") {
  const Symbol fc = call("FullyConnected", {{"num_hidden", "2"}}, "a", {Symbol::variable("x")});
  const Symbol top = call("FullyConnected", {{"num_hidden", "3"}}, "b", {Symbol::variable("y")});
  const Symbol both = top.compose("c", {{"y", fc}});
  CHECK(both.list_arguments() == Names{"x", "a_weight", "a_bias", "b_weight", "b_bias"});
  CHECK(both.name() == "c");
  CHECK(top.name() == "b");
  CHECK(top.list_arguments()[0] == "y");
  CHECK_THROWS_WITH_AS(top.compose("", {{"z", fc}}),
                       "composition: there is no argument named z; the arguments are y, "
                       "b_weight, b_bias",
                       Error);
}

TEST_CASE("symbol: bad calls name operator and argument") {
  const Symbol x = Symbol::variable("x");
  const Symbol two = call("SliceChannel", {{"num_outputs", "2"}}, "s", {x});
  CHECK_THROWS_AS(call("FullyConnected", {}, "f", {x}), Error);
  CHECK_THROWS_AS(call("FullyConnected", {{"num_hidden", "2"}, {"nothing", "1"}}, "f", {x}), Error);
  CHECK_THROWS_AS(call("FullyConnected", {{"num_hidden", "2"}}, "f", {two}), Error);
  CHECK_THROWS_AS(call("FullyConnected", {{"num_hidden", "2"}}, "f", {x, x, x, x}), Error);
  CHECK_THROWS_AS(Symbol::create(get_op("FullyConnected"), {{"num_hidden", "2"}}, "f", {}, {{"wrong", x}}), Error);
}

TEST_CASE("symbol: JSON round trip keeps the graph and the text") {
  const Symbol net = network();
  const std::string text = net.to_json();
  const Symbol again = Symbol::from_json(text);
  CHECK(again.to_json() == text);
  CHECK(again.list_arguments() == net.list_arguments());
  CHECK(again.list_auxiliary_states() == net.list_auxiliary_states());
  CHECK(again.attr_dict() == net.attr_dict());
}

TEST_CASE("symbol: files of 0.8 load") {
  const char* text = R"({"nodes":[
    {"op":"null","param":{},"name":"data","inputs":[],"backward_source_id":-1,"attr":{"ctx_group":"a"}},
    {"op":"null","param":{},"name":"bn_gamma","inputs":[],"backward_source_id":-1},
    {"op":"null","param":{},"name":"bn_beta","inputs":[],"backward_source_id":-1},
    {"op":"BatchNorm","param":{"eps":"0.001","momentum":"0.9"},"name":"bn","inputs":[[0,0],[1,0],[2,0]],
     "backward_source_id":-1,"attr":{"gamma_lr_mult":"7","mood":"good"}},
    {"op":"Concat","param":{"dim":"1"},"name":"cc","inputs":[[3,0],[0,0]],"backward_source_id":-1}],
    "arg_nodes":[0,1,2],"heads":[[4,0]]})";
  const Symbol net = Symbol::from_json(text);
  CHECK(net.list_arguments() == Names{"data", "bn_gamma", "bn_beta"});
  CHECK(net.list_auxiliary_states() == Names{"bn_moving_mean", "bn_moving_var"});
  CHECK(net.internals().output("bn_gamma").attr("lr_mult") == "7");
  CHECK(net.internals().output("data").attr("ctx_group") == "a");
  CHECK(net.attr("num_args") == "2");
}

TEST_CASE("symbol: errors in files say where") {
  const auto message = [](const char* text) -> std::string {
    try {
      Symbol::from_json(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "no error";
  };
  CHECK(message("{") == "symbol file is not valid JSON: line 1, column 2: expected a member's name in quotation marks");
  CHECK(message("{}") == "symbol file: the file has no list \"nodes\"");
  CHECK(message(R"({"nodes":[{"op":"null","name":"x","inputs":[]}],"heads":[[1,0]]})") ==
        "symbol file, heads: refers to node 1, which does not come before it");
  CHECK(message(R"({"nodes":[{"op":"Nope","name":"x","inputs":[]}],"heads":[[0,0]]})") ==
        "symbol file, node 0 (x): there is no operator named Nope");
  CHECK(message(R"({"nodes":[{"op":"Flatten","name":"f","inputs":[]}],"heads":[[0,0]]})") ==
        "symbol file, node 0 (f): Flatten takes 1 inputs, the file has 0");
}

TEST_CASE("symbol: mutated files load or raise, and never crash") {
  const std::string text = network().to_json();
  std::mt19937 rng(7);
  const std::string bytes = "{}[],:\"0123456789-eE.ntf\\u \n";
  int loaded = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string changed = text;
    for (int k = static_cast<int>(rng() % 4); k >= 0; --k) {
      const size_t at = rng() % changed.size();
      switch (rng() % 4) {
        case 0: changed[at] = bytes[rng() % bytes.size()]; break;
        case 1: changed.erase(at, 1 + rng() % 12); break;
        case 2: changed.insert(at, changed.substr(rng() % changed.size(), rng() % 20)); break;
        default: changed[at] = static_cast<char>(rng());
      }
    }
    try {
      Symbol::from_json(changed).list_arguments();
      ++loaded;
    } catch (const Error&) {}
  }
  CHECK(loaded > 0);
}

TEST_CASE("symbol: shapes flow both ways") {
  const Symbol x = Symbol::variable("x");
  const Symbol fc = call("FullyConnected", {{"num_hidden", "3"}}, "fc", {x});
  const auto inputs = graph_inputs(fc.entries());
  const auto specs = infer_graph(fc.entries(), {{inputs.all[0], {Shape{2, 5}, DType::f16, Layout::plain}}});
  CHECK(specs.of.at(inputs.all[1])[0].shape == Shape{3, 5});
  CHECK(specs.of.at(inputs.all[2])[0].dtype == DType::f16);
  CHECK(specs.at(fc.entries()[0]).shape == Shape{2, 3});
  CHECK_THROWS_AS(infer_graph(fc.entries(), {{inputs.all[0], {Shape{2, 5}, DType::f32, Layout::plain}},
                                             {inputs.all[1], {Shape{3, 4}, DType::f32, Layout::plain}}}),
                  Error);
  CHECK_FALSE(is_known(infer_graph(fc.entries(), {}).at(fc.entries()[0])));
}

TEST_CASE("symbol: a very long chain is walked, copied and dropped without recursion") {
  Symbol chain = Symbol::variable("x");
  for (int i = 0; i < 200000; ++i) chain = Symbol({{make_node(get_op("Flatten"), {}, "f", {chain.entries()[0]}), 0}});
  CHECK(chain.list_arguments() == Names{"x"});
  CHECK(chain.deep_copy().list_outputs() == Names{"f_output"});
}

TEST_CASE("json: values, escapes and errors") {
  const json::Value v = json::parse(R"( {"a": [1, -2.5, true, null], "b": "\u00e9\ud83d\ude00\n"} )");
  CHECK(*(*v.find("a")->array())[0].integer() == 1);
  CHECK(std::get<double>((*v.find("a")->array())[1]) == -2.5);
  CHECK(*v.find("b")->string() == "\xC3\xA9\xF0\x9F\x98\x80\n");
  CHECK(json::parse(json::quoted("a\"\\\n\x01")).string()->size() == 5);
  for (const char* bad : {"", "[1,]", "{\"a\"}", "\"abc", "[1 2]", "nul", "{\"a\":1}x", "\"\\ud800\"", "1e999999"}) {
    CHECK_THROWS_AS(json::parse(bad), Error);
  }
  CHECK_THROWS_AS(json::parse(std::string(100000, '[')), Error);
}
