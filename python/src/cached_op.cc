// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext.CachedOp: a compiled graph as a C callable.
#include "executor/cached_op.h"
#include "base/small_array.h"
#include "cached_op.h"
#include "convert.h"
#include "ndarray.h"
#include "symbol.h"
#include "symbol/symbol.h"

#include <nanobind/stl/string.h>
#include <structmember.h>

namespace nb = nanobind;

namespace mxnet::python {
namespace {

struct PyCachedOp {
  PyObject_HEAD vectorcallfunc call;
  CachedOp* op;  // owns one count
};

PyTypeObject* cached_op_type = nullptr;

PyCachedOp* self_of(PyObject* object) { return reinterpret_cast<PyCachedOp*>(object); }

// out=array or out=[arrays]: the arrays to write to.
PyObject* keyword_out(PyObject* const* values, PyObject* names) {
  PyObject* out = nullptr;
  for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    if (PyUnicode_CompareWithASCIIString(name, "out") == 0) {
      out = values[i] == Py_None ? nullptr : values[i];
    } else if (PyUnicode_CompareWithASCIIString(name, "default_ctx") != 0) {
      fail(ErrorKind::type, "CachedOp: there is no argument ", to_string(name, "keyword"), "; it takes arrays and out");
    }
  }
  return out;
}

PyObject* call_graph(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* names) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    Engine::drain_deferred();
    CachedOp& op = *self_of(object)->op;
    const size_t n = static_cast<size_t>(PyVectorcall_NARGS(nargsf));
    SmallArray<const NDArray*, 32> in(n);
    for (size_t i = 0; i < n; ++i) {
      if (!is_ndarray(args[i])) {
        fail(ErrorKind::type, "CachedOp ", op.name(), ": input ", i, " must be an NDArray, got ",
             Py_TYPE(args[i])->tp_name);
      }
      in[i] = &unwrap(args[i]);
    }
    const size_t n_out = op.num_outputs();
    SmallArray<NDArray, 4> out(n_out);
    PyObject* given = names ? keyword_out(args + n, names) : nullptr;
    const bool list = given && (PyList_Check(given) || PyTuple_Check(given));
    const auto item = [&](size_t i) {
      return list ? PySequence_Fast_GET_ITEM(given, static_cast<Py_ssize_t>(i)) : given;
    };
    if (given) {
      const size_t count = list ? static_cast<size_t>(PySequence_Fast_GET_SIZE(given)) : 1;
      if (count != n_out)
        fail(ErrorKind::value, "CachedOp: out holds ", count, " arrays, the graph has ", n_out, " outputs");
      for (size_t i = 0; i < n_out; ++i) out[i] = expect_ndarray(item(i), "out");
    }
    op.call(in, out);
    if (given) {
      for (size_t i = 0; i < n_out; ++i) unwrap(item(i)).attach(out[i].attachment());
      Py_INCREF(given);
      return given;
    }
    return wrap_outputs(out, n ? Py_TYPE(args[0]) : nullptr);
  });
}

// CachedOp(symbol, flags=())
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    PyObject* symbol = nullptr;
    PyObject* flags = nullptr;
    if (!PyArg_ParseTuple(args, "O|O", &symbol, &flags)) throw PythonError{};
    const PyRef handle = checked(PyObject_GetAttrString(symbol, "_handle"));
    CachedOp::Flags list;
    if (flags && flags != Py_None) {
      const PyRef pairs = PyDict_Check(flags) ? checked(PyDict_Items(flags)) : PyRef::borrow(flags);
      for (nb::handle pair : nb::handle(pairs.get())) {
        const nb::object key = pair[0], value = pair[1];
        list.emplace_back(to_string(nb::str(nb::handle(key)).ptr(), "flag"),
                          to_string(nb::str(nb::handle(value)).ptr(), "flag"));
      }
    }
    Ref<CachedOp> op = make_ref<CachedOp>(nb::cast<Symbol>(nb::handle(handle.get())), list);
    PyObject* object = type->tp_alloc(type, 0);
    if (!object) throw PythonError{};
    self_of(object)->call = call_graph;
    self_of(object)->op = op.get();
    self_of(object)->op->retain();
    return object;
  });
}

void dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  self_of(object)->op->release();
  type->tp_free(object);
  Py_DECREF(type);
}

// _register_op_hook(callback, monitor_all=False): callback(name, operator, array) for every output of every node.
PyObject* register_hook(PyObject* object, PyObject* args) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    PyObject* callback = nullptr;
    int inputs = 0;
    if (!PyArg_ParseTuple(args, "O|p", &callback, &inputs)) throw PythonError{};
    const nb::object held = nb::borrow(callback);
    Watch watch;
    watch.inputs = inputs != 0;
    watch.variables = false;
    watch.see = [held](const std::string& name, const std::string& op, const NDArray& array) { held(name, op, array); };
    self_of(object)->op->set_watch(std::move(watch));
    Py_RETURN_NONE;
  });
}

PyMethodDef methods[] = {
    {"_register_op_hook", register_hook, METH_VARARGS,
     "Calls callback(name, operator, array) for every node's outputs."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyCachedOp, call), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

}  // namespace

CachedOp& expect_cached_op(PyObject* object) {
  if (Py_TYPE(object) != cached_op_type) fail(ErrorKind::type, "expected a CachedOp, got ", Py_TYPE(object)->tp_name);
  return *self_of(object)->op;
}

PyObject* wrap_outputs(std::span<NDArray> outputs, PyTypeObject* like) {
  if (outputs.size() == 1) return wrap(std::move(outputs[0]), like);
  PyRef result = checked(PyList_New(static_cast<Py_ssize_t>(outputs.size())));
  for (size_t i = 0; i < outputs.size(); ++i) {
    PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(i), wrap(std::move(outputs[i]), like));
  }
  return result.take();
}

bool add_cached_op_type(PyObject* module) {
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(create)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {Py_tp_doc, const_cast<char*>("CachedOp(symbol, flags=()): a graph compiled once per signature of its inputs.")},
      {0, nullptr},
  };
  static PyType_Spec spec = {"mxnet._core._ext.CachedOp", sizeof(PyCachedOp), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, slots};
  const PyRef type(PyType_FromSpec(&spec));
  cached_op_type = reinterpret_cast<PyTypeObject*>(type.get());
  return type && PyModule_AddObjectRef(module, "CachedOp", type.get()) == 0;
}

}  // namespace mxnet::python
