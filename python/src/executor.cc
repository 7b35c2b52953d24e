// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext: executors and deferred compute.
#include "executor/executor.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "convert.h"
#include "executor/trace.h"
#include "ndarray.h"
#include "symbol.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

std::vector<NDArray> to_arrays(nb::handle list) {
  std::vector<NDArray> arrays;
  for (nb::handle item : list) {
    arrays.push_back(item.is_none() ? NDArray() : expect_ndarray(item.ptr(), "executor"));
  }
  return arrays;
}

Req to_req(const std::string& text) {
  if (text == "null") return Req::null;
  if (text == "write") return Req::write;
  if (text == "add") return Req::add;
  fail(ErrorKind::value, "grad_req must be 'write', 'add' or 'null', got '", text, "'");
}

// `contexts`: the executor's device, then those of the outputs where they differ.
Executor* bind(const Symbol& symbol, nb::handle contexts, nb::handle inputs, nb::handle gradients,
               const std::vector<std::string>& req) {
  std::vector<Req> requests;
  for (const std::string& text : req) requests.push_back(to_req(text));
  std::vector<Device> devices;
  for (nb::handle ctx : contexts) devices.push_back(to_device(ctx.ptr()));
  return new Executor(symbol, std::move(devices), to_arrays(inputs), to_arrays(gradients), std::move(requests));
}

void set_monitor(Executor& executor, nb::handle callback, bool inputs) {
  if (callback.is_none()) return executor.clear_monitor();
  Watch watch;
  watch.inputs = inputs;
  watch.see = [held = nb::borrow(callback)](const std::string& name, const std::string&, const NDArray& array) {
    held(name, array);
  };
  executor.set_monitor(std::move(watch));
}

Symbol deferred_symbol(nb::handle outputs, const std::map<std::string, nb::object>& known) {
  std::vector<std::pair<std::string, NDArray>> named;
  for (const auto& [name, array] : known) {
    named.emplace_back(name, expect_ndarray(array.ptr(), "get_deferred_symbol").detached());
  }
  return trace::symbol_of(to_arrays(outputs), named);
}

}  // namespace

void bind_executor(nb::module_& m) {
  nb::class_<Executor>(m, "ExecutorHandle")
      .def("forward", &Executor::forward)
      .def("backward", [](Executor& e, nb::handle heads) { e.backward(to_arrays(heads)); })
      .def("outputs", [](const Executor& e) { return e.outputs(); })
      .def("planned_memory",
           [](Executor& e) {
             const Plan::Memory memory = e.planned_memory();
             nb::dict bytes;
             bytes["values"] = memory.values;
             bytes["arena"] = memory.arena;
             bytes["frame"] = memory.frame;
             bytes["constants"] = memory.constants;
             return bytes;
           })
      .def("set_monitor", &set_monitor, nb::arg("callback").none(), nb::arg("inputs"));
  m.def("bind", &bind, nb::rv_policy::take_ownership);
  m.def("set_tracing", &trace::set_tracing);
  m.def("set_traced_variable", [](nb::handle array, const Symbol& symbol) {
    trace::set_variable(expect_ndarray(array.ptr(), "set_variable"), symbol);
  });
  m.def("traced_symbol", &deferred_symbol);
}

}  // namespace mxnet::python
