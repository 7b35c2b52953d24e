// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext.BoundGraph: a CachedOp with its parameters in place, called with the data arrays alone. This is what
// a hybridized block runs in a loop; whatever is not the usual call is left to Python.
#include <vector>

#include "base/small_array.h"
#include "cached_op.h"
#include "executor/trace.h"
#include "ndarray.h"

#include <structmember.h>

namespace mxnet::python {
namespace {

// Counted up whenever a parameter somewhere gets new arrays: what was bound before is looked up again.
int64_t current_epoch = 0;

struct Bound {
  PyRef op;
  std::vector<Py_ssize_t> slots;  // of each data array
  PyRef inputs;                   // a list with the parameters' arrays in place
  Device device;                  // of the parameters
  int64_t epoch = -1;
};

struct PyBoundGraph {
  PyObject_HEAD vectorcallfunc call;
  Bound* bound;
};

Bound& bound_of(PyObject* object) { return *reinterpret_cast<PyBoundGraph*>(object)->bound; }

bool is_usual_call(const Bound& bound, PyObject* const* args, size_t n, PyObject* names) {
  if (names || n != bound.slots.size() || bound.epoch != current_epoch || trace::is_tracing()) return false;
  for (size_t i = 0; i < n; ++i) {
    if (!is_ndarray(args[i]) || Py_TYPE(args[i]) != Py_TYPE(args[0]) || unwrap(args[i]).is_none()) return false;
  }
  return unwrap(args[0]).device() == bound.device;
}

// The outputs, or None if the call must take the long way.
PyObject* call_bound(PyObject* object, PyObject* const* args, size_t nargsf, PyObject* names) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const Bound& bound = bound_of(object);
    const size_t n = static_cast<size_t>(PyVectorcall_NARGS(nargsf));
    if (!is_usual_call(bound, args, n, names)) Py_RETURN_NONE;
    Engine::drain_deferred();
    const PyRef inputs = bound.inputs, op = bound.op;  // callbacks may bind again
    const size_t size = static_cast<size_t>(PyList_GET_SIZE(inputs.get()));
    SmallArray<const NDArray*, 32> in(size);
    for (size_t i = 0; i < size; ++i) {
      PyObject* parameter = PyList_GET_ITEM(inputs.get(), static_cast<Py_ssize_t>(i));
      in[i] = parameter == Py_None ? nullptr : &unwrap(parameter);
    }
    for (size_t i = 0; i < n; ++i) in[static_cast<size_t>(bound.slots[i])] = &unwrap(args[i]);
    CachedOp& graph = expect_cached_op(op.get());
    SmallArray<NDArray, 4> out(graph.num_outputs());
    graph.call(in, out);
    return wrap_outputs(out, Py_TYPE(args[0]));
  });
}

// BoundGraph(op, slots): `slots` are the positions of the data arrays among the graph's inputs.
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    PyObject *op = nullptr, *slots = nullptr;
    if (!PyArg_ParseTuple(args, "OO!", &op, &PyList_Type, &slots)) throw PythonError{};
    const size_t count = expect_cached_op(op).num_inputs();
    auto bound = std::make_unique<Bound>();
    bound->op = PyRef::borrow(op);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(slots); ++i) {
      const Py_ssize_t slot = PyLong_AsSsize_t(PyList_GET_ITEM(slots, i));
      if (slot == -1 && PyErr_Occurred()) throw PythonError{};
      if (slot < 0 || static_cast<size_t>(slot) >= count)
        fail(ErrorKind::index, "BoundGraph: there is no input ", slot);
      bound->slots.push_back(slot);
    }
    PyObject* object = type->tp_alloc(type, 0);
    if (!object) throw PythonError{};
    reinterpret_cast<PyBoundGraph*>(object)->call = call_bound;
    reinterpret_cast<PyBoundGraph*>(object)->bound = bound.release();
    return object;
  });
}

void dealloc(PyObject* object) {
  PyTypeObject* type = Py_TYPE(object);
  delete &bound_of(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// bind(inputs, like): a list of all inputs, None for data; calls with data on the device of the array `like` use it.
PyObject* bind(PyObject* object, PyObject* args) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    PyObject *inputs = nullptr, *like = nullptr;
    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &inputs, &like)) throw PythonError{};
    Bound& bound = bound_of(object);
    if (static_cast<size_t>(PyList_GET_SIZE(inputs)) != expect_cached_op(bound.op.get()).num_inputs())
      fail(ErrorKind::value, "BoundGraph: one entry is needed for each input of the graph");
    PyRef copy = checked(PyList_GetSlice(inputs, 0, PyList_GET_SIZE(inputs)));
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(copy.get()); ++i) {
      PyObject* item = PyList_GET_ITEM(copy.get(), i);
      if (item != Py_None) expect_ndarray(item, "inputs");
    }
    bound.device = expect_ndarray(like, "like").device();
    bound.inputs = std::move(copy);
    bound.epoch = current_epoch;
    Py_RETURN_NONE;
  });
}

PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS, "bind(inputs, like): use these parameters until some parameter gets new arrays."},
    {nullptr, nullptr, 0, nullptr},
};

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(PyBoundGraph, call), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

PyObject* forget(PyObject*, PyObject*) {
  ++current_epoch;
  Py_RETURN_NONE;
}

PyMethodDef forget_bindings = {"forget_bindings", forget, METH_NOARGS, "No BoundGraph may use what it was bound to."};

}  // namespace

bool add_bound_graph_type(PyObject* module) {
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(create)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
      {Py_tp_members, members},
      {Py_tp_methods, methods},
      {Py_tp_doc, const_cast<char*>("BoundGraph(op, slots): a CachedOp called with its data arrays alone; returns None "
                                    "where the call must take the long way.")},
      {0, nullptr},
  };
  static PyType_Spec spec = {"mxnet._core._ext.BoundGraph", sizeof(PyBoundGraph), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL, slots};
  const PyRef type(PyType_FromSpec(&spec));
  const PyRef function(PyCFunction_New(&forget_bindings, nullptr));
  return type && function && PyModule_AddObjectRef(module, "BoundGraph", type.get()) == 0 &&
         PyModule_AddObjectRef(module, "forget_bindings", function.get()) == 0;
}

}  // namespace mxnet::python
