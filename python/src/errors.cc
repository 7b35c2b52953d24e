// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <memory>
#include <new>
#include <stdexcept>

#include "python.h"

namespace mxnet::python {
namespace {

std::array<PyObject*, 8> classes{};

PyObject* class_of(ErrorKind kind) {
  PyObject* found = classes[static_cast<size_t>(kind)];
  return found ? found : PyExc_RuntimeError;
}

// A Python exception on its way through core threads. It may be thrown several times and die on any thread.
class CarriedError : public std::exception {
 public:
  CarriedError() {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    if (trace) PyException_SetTraceback(value, trace);
    Py_XDECREF(type);
    Py_XDECREF(trace);
    value_ = std::shared_ptr<PyObject>(
        value, [](PyObject* object) { Engine::defer_release([object] { Py_XDECREF(object); }); });
  }
  const char* what() const noexcept override { return "an exception in a Python callback"; }
  void restore() const {
    PyObject* value = value_.get();
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(value)), value);
  }

 private:
  std::shared_ptr<PyObject> value_;
};

}  // namespace

void set_error_classes(PyObject* tuple) {
  if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != static_cast<Py_ssize_t>(classes.size())) {
    fail(ErrorKind::type, "set_error_classes takes a tuple of ", classes.size(), " classes");
  }
  for (size_t i = 0; i < classes.size(); ++i) {
    classes[i] = PyTuple_GET_ITEM(tuple, static_cast<Py_ssize_t>(i));
    Py_INCREF(classes[i]);
  }
}

void translate_exception() {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (const WaitInterrupted&) {
    if (!PyErr_Occurred()) PyErr_SetNone(PyExc_KeyboardInterrupt);
  } catch (const CarriedError& e) {
    e.restore();
  } catch (const Error& e) {
    PyErr_SetString(class_of(e.kind()), e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(class_of(ErrorKind::memory), "out of memory");
  } catch (const std::exception& e) {
    PyErr_SetString(class_of(ErrorKind::generic), e.what());
  } catch (...) {
    PyErr_SetString(class_of(ErrorKind::generic), "an unknown C++ exception");
  }
}

std::exception_ptr capture_python_error() { return std::make_exception_ptr(CarriedError()); }

}  // namespace mxnet::python
