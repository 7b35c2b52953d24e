// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext: mixed precision. What stands behind mx.amp.
#include "precision.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/set.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <set>
#include <tuple>

#include "executor/precision_pass.h"
#include "operator/precision.h"
#include "symbol/symbol.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

using Names = std::vector<std::string>;
using Conditions = std::vector<std::tuple<std::string, std::string, Names>>;

PrecisionPolicy make_policy(const std::string& low, bool emulated, const Names& low_ops, const Names& full_ops,
                            const Conditions& conditions) {
  PrecisionPolicy policy(dtype_from_name(low), emulated);
  for (const std::string& name : low_ops) policy.set(get_op(name), Precision::low);
  for (const std::string& name : full_ops) policy.set(get_op(name), Precision::full);
  for (const auto& [name, param, values] : conditions) policy.add_condition(get_op(name), {param, values});
  return policy;
}

const char* text_of(Precision precision) {
  switch (precision) {
    case Precision::low: return "low";
    case Precision::full: return "full";
    case Precision::widest: return "widest";
    case Precision::any: break;
  }
  return "any";
}

// (name, class, makes its own gradient) of every operator and alias that users see.
nb::list classes() {
  nb::list all;
  for (const OpDef* op : all_ops()) {
    if (op->flags.hidden) continue;
    const bool loss = op->gradient.fn && !op->gradient.reads_heads;
    const auto add = [&](const std::string& name) {
      all.append(nb::make_tuple(name, text_of(op->flags.precision), loss));
    };
    add(op->name);
    for (const std::string& alias : op->aliases) add(alias);
  }
  return all;
}

// The words of a parameter whose type reads {'a', 'b'}.
Names choices_of(const ParamField& field) {
  Names words;
  size_t at = field.type.starts_with('{') ? field.type.find('\'') : std::string::npos;
  while (at != std::string::npos) {
    const size_t end = field.type.find('\'', at + 1);
    words.push_back(field.type.substr(at + 1, end - at - 1));
    at = field.type.find('\'', end + 1);
  }
  return words;
}

// (name, parameter, values) of the calls that are in float32 whatever their operator's class.
nb::list conditional() {
  nb::list all;
  for (const OpDef* op : all_ops()) {
    if (op->flags.hidden || !op->full_precision) continue;
    for (const ParamField& field : op->params.fields()) {
      nb::list values;
      for (const std::string& choice : choices_of(field)) {
        if (op->full_precision(*op->params.parse(op->name, {{field.name, choice}}))) values.append(choice);
      }
      if (nb::len(values)) all.append(nb::make_tuple(op->name, field.name, values));
    }
  }
  return all;
}

Symbol convert(const Symbol& symbol, const std::string& low, const Names& low_ops, const Names& full_ops,
               const Conditions& conditions, const std::set<std::string>& excluded,
               const std::set<std::string>& low_variables) {
  const Symbol own = symbol.deep_copy();
  return Symbol(place_symbolic_casts(own.entries(), make_policy(low, false, low_ops, full_ops, conditions),
                                     {excluded, low_variables}));
}

}  // namespace

void bind_precision(nb::module_& m) {
  m.def("set_precision", [](const std::string& low, bool emulated, const Names& low_ops, const Names& full_ops,
                            const Conditions& conditions) {
    activate_precision(make_policy(low, emulated, low_ops, full_ops, conditions));
  });
  m.def("computes_in", [](const std::string& dtype) { return has_arithmetic(dtype_from_name(dtype)); });
  m.def("clear_precision", &deactivate_precision);
  m.def("precision_classes", &classes);
  m.def("conditional_precision", &conditional);
  m.def("convert_precision", &convert);
  m.def("remove_amp_casts", [](const Symbol& symbol) {
    return has_casts(symbol.entries()) ? Symbol(remove_amp_casts(symbol.entries())) : symbol;
  });
}

}  // namespace mxnet::python
