// SPDX-License-Identifier: Apache-2.0
// Recording scopes as a C type, and the functions of mx.autograd that are worth C++.
#include "autograd/tape.h"

#include <nanobind/stl/string.h>

#include <vector>

#include "autograd.h"
#include "ndarray.h"
#include "operator/invoke.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

// `with scope:` sets the thread's flags and puts the old ones back. Entering the same object again nests.
struct Scope {
  PyObject_HEAD signed char recording, training;  // -1: left as it is
  std::vector<std::pair<bool, bool>>* saved;
};

PyObject* scope_enter(PyObject* object, PyObject*) {
  auto* self = reinterpret_cast<Scope*>(object);
  self->saved->emplace_back(autograd::is_recording(), autograd::is_training());
  if (self->recording >= 0) autograd::set_recording(self->recording);
  if (self->training >= 0) autograd::set_training(self->training);
  Py_INCREF(object);
  return object;
}

PyObject* scope_exit(PyObject* object, PyObject* const*, Py_ssize_t) {
  auto* self = reinterpret_cast<Scope*>(object);
  if (!self->saved->empty()) {
    autograd::set_recording(self->saved->back().first);
    autograd::set_training(self->saved->back().second);
    self->saved->pop_back();
  }
  Py_RETURN_FALSE;
}

void scope_dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  delete reinterpret_cast<Scope*>(object)->saved;
  type->tp_free(object);
  Py_DECREF(type);
}

// Scope(recording, training): True, False or None.
PyObject* scope_new(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *recording, *training;
  if (!PyArg_ParseTuple(args, "OO", &recording, &training)) return nullptr;
  auto* self = reinterpret_cast<Scope*>(type->tp_alloc(type, 0));
  if (!self) return nullptr;
  self->recording = recording == Py_None ? -1 : PyObject_IsTrue(recording) == 1;
  self->training = training == Py_None ? -1 : PyObject_IsTrue(training) == 1;
  self->saved = new std::vector<std::pair<bool, bool>>();
  return reinterpret_cast<PyObject*>(self);
}

// A scope is also a decorator: `@autograd.pause()`.
PyObject* scope_call(PyObject* self, PyObject* args, PyObject*) {
  PyObject* function;
  if (!PyArg_ParseTuple(args, "O", &function)) return nullptr;
  const PyRef module(PyImport_ImportModule("mxnet._core.scopes"));
  if (!module) return nullptr;
  return PyObject_CallMethod(module.get(), "decorate", "OO", self, function);
}

PyTypeObject* scope_type = nullptr;

PyObject* make_scope(int recording, int training) {
  auto* self = reinterpret_cast<Scope*>(scope_type->tp_alloc(scope_type, 0));
  if (!self) return nullptr;
  self->recording = static_cast<signed char>(recording);
  self->training = static_cast<signed char>(training);
  self->saved = new std::vector<std::pair<bool, bool>>();
  return reinterpret_cast<PyObject*>(self);
}

// One optional boolean argument, positional or by name; false with an error set if there is anything else.
bool parse_flag(const char* function, PyObject* const* args, Py_ssize_t n, PyObject* names, int& flag) {
  const Py_ssize_t n_names = names ? PyTuple_GET_SIZE(names) : 0;
  if (n + n_names == 0) return true;
  const bool named = n_names == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "train_mode") == 0;
  if (n + n_names > 1 || (n_names == 1 && !named)) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most one argument, train_mode", function);
    return false;
  }
  flag = PyObject_IsTrue(args[0]);
  return flag >= 0;
}

PyObject* record(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  int training = 1;
  return parse_flag("record", args, n, names, training) ? make_scope(1, training) : nullptr;
}
PyObject* pause(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* names) {
  int training = 0;
  return parse_flag("pause", args, n, names, training) ? make_scope(0, training) : nullptr;
}
PyObject* train_mode(PyObject*, PyObject*) { return make_scope(-1, 1); }
PyObject* predict_mode(PyObject*, PyObject*) { return make_scope(-1, 0); }

template <typename F>
PyCFunction function(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

PyMethodDef functions[] = {
    {"record", function(record), METH_FASTCALL | METH_KEYWORDS,
     "record(train_mode=True)\n--\n\nA scope in which operators are recorded for a later backward().\n\n"
     "train_mode: whether layers such as Dropout and BatchNorm behave as in training."},
    {"pause", function(pause), METH_FASTCALL | METH_KEYWORDS,
     "pause(train_mode=False)\n--\n\nA scope in which operators are not recorded."},
    {"train_mode", train_mode, METH_NOARGS,
     "train_mode()\n--\n\nA scope in which layers behave as in training; recording stays as it is."},
    {"predict_mode", predict_mode, METH_NOARGS,
     "predict_mode()\n--\n\nA scope in which layers behave as in inference; recording stays as it is."},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef scope_methods[] = {
    {"__enter__", scope_enter, METH_NOARGS, nullptr},
    {"__exit__", function(scope_exit), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

std::vector<NDArray> arrays_of(nb::handle list) {
  std::vector<NDArray> arrays;
  for (nb::handle item : list) {
    arrays.push_back(item.is_none() ? NDArray() : expect_ndarray(item.ptr(), "an element of the list"));
  }
  return arrays;
}

// mx.autograd.Function: a Python object with forward and backward methods.
struct PythonStep final : autograd::CustomStep {
  explicit PythonStep(nb::object object) : object_(std::move(object)) {}
  ~PythonStep() override {
    PyObject* object = object_.release().ptr();
    if (PyGILState_Check())
      Py_DECREF(object);
    else
      Engine::defer_release([object] { Py_DECREF(object); });
  }
  std::string name() const override { return nb::cast<std::string>(nb::str(object_.type().attr("__name__"))); }

  void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    nb::list given;
    for (const NDArray& head : heads) given.append(head);
    nb::list results;
    try {
      results = nb::cast<nb::list>(object_.attr("_backward_list")(given, grads.size()));
    } catch (nb::python_error& e) {
      e.restore();
      throw PythonError{};
    }
    for (size_t i = 0; i < grads.size(); ++i) {
      if (req[i] == Req::null || results[i].is_none()) continue;
      const NDArray& value = expect_ndarray(results[i].ptr(), "a gradient");
      if (grads[i].is_none()) {
        grads[i] = value;
      } else {
        const OpDef& copy = get_op("_copy");
        const NDArray* in[] = {&value};
        const Req how = req[i];
        InvokeOptions options;
        options.req = std::span<const Req>(&how, 1);
        invoke(copy, copy.params.defaults(), in, std::span<NDArray>(&grads[i], 1), options);
      }
    }
  }
  void backward_recorded(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    backward(heads, grads, req);
  }

 private:
  nb::object object_;
};

}  // namespace

void bind_autograd(nb::module_& module) {
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(scope_new)},
      {Py_tp_dealloc, reinterpret_cast<void*>(scope_dealloc)},
      {Py_tp_call, reinterpret_cast<void*>(scope_call)},
      {Py_tp_methods, scope_methods},
      {0, nullptr},
  };
  static PyType_Spec spec = {"mxnet._core._ext.Scope", sizeof(Scope), 0, Py_TPFLAGS_DEFAULT, slots};
  scope_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!scope_type || PyModule_AddObjectRef(module.ptr(), "Scope", reinterpret_cast<PyObject*>(scope_type)) != 0 ||
      PyModule_AddFunctions(module.ptr(), functions) != 0) {
    throw nb::python_error();
  }
  module.def("is_recording", &autograd::is_recording);
  module.def("is_training", &autograd::is_training);
  module.def("set_recording", &autograd::set_recording);
  module.def("set_training", &autograd::set_training);
  module.def("is_tracing", &autograd::is_tracing);
  module.def(
      "backward",
      [](nb::handle heads, nb::handle head_grads, bool retain, bool train) {
        autograd::BackwardOptions options;
        options.retain_graph = retain;
        options.training = train;
        const std::vector<NDArray> h = arrays_of(heads);
        autograd::backward(h, head_grads.is_none() ? std::vector<NDArray>{} : arrays_of(head_grads), options);
      },
      nb::arg("heads"), nb::arg("head_grads").none(), nb::arg("retain_graph"), nb::arg("train_mode"));
  module.def(
      "grad",
      [](nb::handle heads, nb::handle variables, nb::handle head_grads, bool retain, bool create, bool train) {
        const autograd::BackwardOptions options{retain, create, train};
        const std::vector<NDArray> h = arrays_of(heads), v = arrays_of(variables);
        nb::list out;
        for (NDArray& g : autograd::gradients(h, head_grads.is_none() ? std::vector<NDArray>{} : arrays_of(head_grads),
                                              v, options)) {
          out.append(std::move(g));
        }
        return out;
      },
      nb::arg("heads"), nb::arg("variables"), nb::arg("head_grads").none(), nb::arg("retain_graph"),
      nb::arg("create_graph"), nb::arg("train_mode"));
  // Connects `outputs` to `inputs` through `function._backward_list`; False if nothing is recorded.
  module.def("record_function", [](nb::object function, nb::handle inputs, nb::handle outputs) {
    const std::vector<NDArray> in = arrays_of(inputs);
    std::vector<const NDArray*> pointers;
    for (const NDArray& a : in) pointers.push_back(&a);
    if (!autograd::would_record(pointers)) return false;
    std::vector<NDArray> out = arrays_of(outputs);
    autograd::record_custom(make_ref<PythonStep>(std::move(function)), pointers, out);
    size_t i = 0;
    for (nb::handle item : outputs) unwrap(item.ptr()).attach(out[i++].attachment());
    return true;
  });
}

}  // namespace mxnet::python
