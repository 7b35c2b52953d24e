// SPDX-License-Identifier: Apache-2.0
// x[i], x[a:b] and their assignment without Python between; every other form goes to NDArray._get_item/_set_item.
#include "autograd/tape.h"
#include "convert.h"
#include "ndarray.h"
#include "operator/op.h"

namespace mxnet::python {
namespace {

// The window on axis 0 that a simple key names; `found` is false for any other key, or where the tape must see it.
struct Simple {
  bool found = false;
  NDArray window;
};

Simple simple_window(const NDArray& array, PyObject* key) {
  if (array.is_none() || array.shape().rank() == 0) return {};
  if (PyLong_CheckExact(key)) {
    const long long index = PyLong_AsLongLong(key);
    if (index == -1 && PyErr_Occurred()) throw PythonError{};
    if (array.shape().rank() > 1) return {true, array.at(index)};
    return {true, array.at(index).view({1})};  // mx.nd has no scalars here: one element is an array of shape (1,)
  }
  if (PySlice_Check(key)) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(key, &start, &stop, &step) < 0) throw PythonError{};
    if (step != 1) return {};
    PySlice_AdjustIndices(array.shape()[0], &start, &stop, step);
    return {true, array.slice(start, std::max(start, stop))};
  }
  return {};
}

PyObject* call_method(PyObject* self, const char* name, PyObject* key, PyObject* value) {
  const PyRef method = checked(PyUnicode_FromString(name));
  return PyObject_CallMethodObjArgs(self, method.get(), key, value, nullptr);
}

}  // namespace

PyObject* ndarray_subscript(PyObject* self, PyObject* key) {
  return guard<PyObject*>(nullptr, [&] {
    const NDArray& array = unwrap(self);
    if (!autograd::is_tracing() && !(autograd::is_recording() && autograd::in_graph(array))) {
      Simple simple = simple_window(array, key);
      if (simple.found) return wrap(simple.window.detached(), Py_TYPE(self));
    }
    return call_method(self, "_get_item", key, nullptr);
  });
}

int ndarray_assign_subscript(PyObject* self, PyObject* key, PyObject* value) {
  return guard<int>(-1, [&] {
    if (!value) fail(ErrorKind::type, "elements of an array cannot be deleted");
    const NDArray& array = unwrap(self);
    const bool number = PyFloat_CheckExact(value) || PyLong_CheckExact(value);
    if (number && !autograd::is_recording()) {
      const Simple simple = simple_window(array, key);
      const double fill = simple.found ? PyFloat_AsDouble(value) : 0.0;
      if (PyErr_Occurred()) throw PythonError{};
      // A double holds every value of every dtype but large int64.
      if (simple.found && (fill > -9e15 && fill < 9e15)) {
        simple.window.fill(fill);
        return 0;
      }
    }
    const PyRef done(call_method(self, "_set_item", key, value));
    return done ? 0 : -1;
  });
}

}  // namespace mxnet::python
