// SPDX-License-Identifier: Apache-2.0
// What every file of the binding needs: owned references, the guard around C slots, the interpreter lock.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <exception>
#include <utility>

#include "base/error.h"
#include "engine/engine.h"

namespace mxnet::python {

// An owned reference.
class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(PyObject* owned) : object_(owned) {}
  static PyRef borrow(PyObject* object) {
    Py_XINCREF(object);
    return PyRef(object);
  }
  PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef(const PyRef& other) : object_(other.object_) { Py_XINCREF(object_); }
  PyRef& operator=(PyRef other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* take() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// Thrown when a Python exception is already set.
struct PythonError {};

// Throws PythonError if a C API call failed.
inline PyRef checked(PyObject* owned) {
  if (!owned) throw PythonError{};
  return PyRef(owned);
}

// Sets the Python exception for the C++ exception in flight.
void translate_exception();
// Called once by mxnet/_core/errors.py: a tuple of classes in the order of ErrorKind.
void set_error_classes(PyObject* classes);

// No C++ exception may leave a C slot: `guard` turns it into a Python one and returns `failed`.
template <typename R, typename F>
R guard(R failed, F&& body) {
  try {
    return body();
  } catch (...) {
    translate_exception();
    return failed;
  }
}

// Releases the interpreter lock for a scope (waits).
class ReleaseGil {
 public:
  ReleaseGil() : state_(PyEval_SaveThread()) {}
  ~ReleaseGil() { PyEval_RestoreThread(state_); }
  ReleaseGil(const ReleaseGil&) = delete;
  ReleaseGil& operator=(const ReleaseGil&) = delete;

 private:
  PyThreadState* state_;
};

class AcquireGil {
 public:
  AcquireGil() : state_(PyGILState_Ensure()) {}
  ~AcquireGil() { PyGILState_Release(state_); }
  AcquireGil(const AcquireGil&) = delete;
  AcquireGil& operator=(const AcquireGil&) = delete;

 private:
  PyGILState_STATE state_;
};

// An error raised by a Python callback, carried through the core.
std::exception_ptr capture_python_error();

}  // namespace mxnet::python
