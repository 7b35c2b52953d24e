// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext: symbols. Every function here checks arguments and calls src/symbol; no logic of its own.
#include "symbol.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "executor/gradient_pass.h"
#include "executor/history.h"
#include "ndarray.h"
#include "symbol/control_flow.h"
#include "symbol/infer.h"
#include "symbol/symbol.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

using Known = std::unordered_map<const Node*, TensorSpec>;

using NamedSymbols = std::map<std::string, Symbol>;
using Given = std::map<std::string, nb::object>;

Symbol::Named to_named(const NamedSymbols& symbols) { return {symbols.begin(), symbols.end()}; }

Symbol create(const std::string& op, const AttrMap& attrs, const std::string& name, const std::vector<Symbol>& inputs,
              const NamedSymbols& named) {
  return Symbol::create(get_op(op), attrs, name, inputs, to_named(named));
}

// A node whose operator has subgraphs.
Symbol create_with_graphs(const std::string& op, const AttrMap& attrs, const std::string& name,
                          const std::vector<Symbol>& inputs, const std::vector<Symbol>& graphs) {
  Symbol symbol = Symbol::create(get_op(op), attrs, name, inputs);
  set_subgraphs(get_op(op), *symbol.entries()[0].node->params, graphs);
  return symbol;
}

// (graph, [what each of its inputs is: the number of one of `own`, or a symbol outside]).
nb::tuple cut(const Symbol& outputs, const std::string& scope, const std::vector<Symbol>& own) {
  const SubgraphCut cut = cut_subgraph(outputs, scope, own);
  nb::list inputs;
  for (const SubgraphCut::Input& input : cut.inputs) {
    if (input.own >= 0)
      inputs.append(input.own);
    else
      inputs.append(Symbol({input.outer}));
  }
  return nb::make_tuple(cut.graph, inputs);
}

// The older API writes 0 for an unknown dimension and () for an unknown rank; the np_shape API writes -1 and None.
Shape shape_in(nb::handle value, bool np_shape) {
  if (value.is_none()) return Shape::unknown();
  Shape shape;
  for (nb::handle dim : value) {
    const int64_t d = nb::cast<int64_t>(dim);
    shape.push_back(d < 0 || (d == 0 && !np_shape) ? -1 : d);
  }
  return shape.rank() == 0 && !np_shape ? Shape::unknown() : shape;
}

nb::object shape_out(const Shape& shape, bool np_shape) {
  if (!shape.rank_known() && np_shape) return nb::none();
  nb::list dims;
  if (shape.rank_known()) {
    for (const dim_t d : shape) dims.append(d < 0 && !np_shape ? 0 : d);
  }
  return nb::tuple(dims);
}

// For each variable that `value_of` accepts; raises for names that the graph does not have.
template <typename F>
Known known_of(const Symbol& symbol, const Given& given, const char* what, F&& value_of) {
  const auto inputs = graph_inputs(symbol.entries());
  Known known;
  for (const auto& [name, value] : given) {
    bool found = false;
    for (const Node* node : inputs.all) {
      if (node->name != name) continue;
      known[node] = value_of(value);
      found = true;
    }
    if (found) continue;
    std::string names;
    for (const Node* node : inputs.all) names += (names.empty() ? "" : ", ") + node->name;
    fail(ErrorKind::value, what, ": there is no argument named ", name, "; the arguments are ", names);
  }
  return known;
}

template <typename Print>
nb::tuple three_lists(const Symbol& symbol, const GraphSpecs& specs, Print&& print, auto&& known) {
  const auto inputs = graph_inputs(symbol.entries());
  bool complete = true;
  nb::list lists[3];
  const auto add = [&](nb::list& list, const TensorSpec& spec) {
    complete = complete && known(spec);
    list.append(print(spec));
  };
  for (const Node* node : inputs.arguments) add(lists[0], specs.of.at(node)[0]);
  for (const Entry& e : symbol.entries()) add(lists[1], specs.at(e));
  for (const Node* node : inputs.auxiliary) add(lists[2], specs.of.at(node)[0]);
  return nb::make_tuple(complete, lists[0], lists[1], lists[2]);
}

nb::tuple infer_shape(const Symbol& symbol, const Given& given, bool np_shape) {
  const Known known = known_of(symbol, given, "infer_shape", [&](nb::handle value) {
    return TensorSpec{shape_in(value, np_shape), DType::unknown, Layout::plain};
  });
  const GraphSpecs specs = infer_graph(symbol.entries(), known, np_shape);
  return three_lists(
      symbol, specs, [&](const TensorSpec& s) { return shape_out(s.shape, np_shape); },
      [](const TensorSpec& s) { return s.shape.known(); });
}

nb::tuple infer_type(const Symbol& symbol, const Given& given) {
  const Known known = known_of(symbol, given, "infer_type", [&](nb::handle value) {
    return TensorSpec{Shape::unknown(), dtype_from_name(nb::cast<std::string>(value)), Layout::plain};
  });
  const GraphSpecs specs = infer_graph(symbol.entries(), known);
  const auto print = [](const TensorSpec& s) -> nb::object {
    if (s.dtype == DType::unknown) return nb::none();
    return nb::str(name_of(s.dtype));
  };
  return three_lists(symbol, specs, print, [](const TensorSpec& s) { return s.dtype != DType::unknown; });
}

// The gradients of `names` for heads of ones, as a group.
Symbol gradient(const Symbol& symbol, const std::vector<std::string>& names) {
  std::vector<Entry> heads;
  for (const Entry& e : symbol.entries())
    heads.push_back({make_node(get_op("ones_like"), {}, "head_gradient", {e}), 0});
  std::vector<Node*> variables;
  for (const std::string& name : names) {
    for (Node* node : graph_inputs(symbol.entries()).arguments) {
      if (node->name == name) variables.push_back(node);
    }
  }
  if (variables.size() != names.size()) fail(ErrorKind::value, "gradient: not every name is that of one argument");
  std::vector<Entry> gradients = make_gradients({symbol.entries(), heads, variables, true});
  for (size_t i = 0; i < gradients.size(); ++i) {
    if (gradients[i].node) continue;
    gradients[i] = {make_node(get_op("zeros_like"), {}, names[i] + "_gradient", {{Ref<Node>(variables[i]), 0}}), 0};
  }
  return Symbol(std::move(gradients));
}

}  // namespace

void bind_symbol(nb::module_& m) {
  nb::class_<Symbol>(m, "SymbolHandle")
      .def_static("variable", &Symbol::variable)
      .def_static("group", [](const std::vector<Symbol>& symbols) { return Symbol::group(symbols); })
      .def_static("create", &create)
      .def_static("create_with_graphs", &create_with_graphs)
      .def("cut_subgraph", &cut)
      .def("same_entry", [](const Symbol& a, const Symbol& b) { return a.entries() == b.entries(); })
      .def_static("from_json", [](const std::string& text) { return Symbol::from_json(text); })
      .def("to_json", &Symbol::to_json)
      .def("compose", [](const Symbol& s, const std::string& name,
                         const NamedSymbols& arguments) { return s.compose(name, to_named(arguments)); })
      .def("deep_copy", &Symbol::deep_copy)
      .def("list_arguments", &Symbol::list_arguments)
      .def("list_auxiliary_states", &Symbol::list_auxiliary_states)
      .def("list_inputs", &Symbol::list_inputs)
      .def("list_outputs", &Symbol::list_outputs)
      .def("num_outputs", &Symbol::num_outputs)
      .def("name", &Symbol::name)
      .def("output", [](const Symbol& s, int i) { return s.output(i); })
      .def("output_named", [](const Symbol& s, const std::string& name) { return s.output(name); })
      .def("internals", &Symbol::internals)
      .def("children", &Symbol::children)
      .def("debug_text", &Symbol::debug_text)
      .def("attr", &Symbol::attr)
      .def("list_attr", &Symbol::list_attr)
      .def("attr_dict",
           [](const Symbol& s) {
             std::map<std::string, AttrMap> all;
             for (const auto& [name, attrs] : s.attr_dict()) all[name] = attrs;
             return all;
           })
      .def("set_attr", &Symbol::set_attr)
      .def("infer_shape", &infer_shape)
      .def("infer_type", &infer_type)
      .def("gradient", &gradient);
  m.def("recorded_symbol",
        [](nb::handle array) { return recorded_symbol(expect_ndarray(array.ptr(), "get_symbol: x")); });
}

}  // namespace mxnet::python
