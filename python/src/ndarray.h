// SPDX-License-Identifier: Apache-2.0
// The C type behind mxnet.nd.NDArray: a Python object that holds an mxnet::NDArray by value.
#pragma once

#include <nanobind/nanobind.h>

#include "ndarray/ndarray.h"
#include "python.h"

namespace mxnet::python {

struct PyNDArray {
  PyObject_HEAD NDArray value;
  PyObject* weakrefs;
};

// The base type; mxnet.nd.NDArray derives from it without adding fields.
extern PyTypeObject* ndarray_base;

bool add_ndarray_type(PyObject* module);  // false with a Python error set
// The class that `wrap` makes instances of.
void set_ndarray_class(PyObject* cls);
// The classes of sparse arrays, whatever class was asked for.
void set_sparse_classes(PyObject* row_sparse, PyObject* csr);

inline bool is_ndarray(PyObject* object) {
  return Py_TYPE(object) == ndarray_base || PyType_IsSubtype(Py_TYPE(object), ndarray_base);
}
inline NDArray& unwrap(PyObject* object) { return reinterpret_cast<PyNDArray*>(object)->value; }
// A new reference; throws PythonError. `cls`: another subclass of the base (mx.np.ndarray); null = the default.
PyObject* wrap(NDArray array, PyTypeObject* cls = nullptr);
// For code that hands out the memory itself.
void require_dense(const NDArray& array, const char* what);
// The array, or Error(type) naming the argument.
NDArray& expect_ndarray(PyObject* object, const char* what);

// Arithmetic slots and indexing, filled in by their files.
void fill_number_slots(PyType_Slot* slots, size_t& count);
extern PyMethodDef ndarray_methods[];
extern PyGetSetDef ndarray_getset[];

// x[key] and x[key] = value for integers and plain slices of axis 0; the rest is Python's
// (NDArray._get_item/_set_item).
PyObject* ndarray_subscript(PyObject* self, PyObject* key);
int ndarray_assign_subscript(PyObject* self, PyObject* key, PyObject* value);
PyObject* ndarray_richcompare(PyObject* self, PyObject* other, int op);
int ndarray_getbuffer(PyObject* self, Py_buffer* view, int flags);
void ndarray_releasebuffer(PyObject* self, Py_buffer* view);
// Waits with the interpreter lock released.
void wait_to_read(const NDArray& array);
// The same before values leave for Python; refused while the thread traces a graph.
void wait_for_values(const NDArray& array);

// numpy.ndarray with a copy of the contents.
PyRef to_numpy(const NDArray& array);
// An array with a copy of whatever numpy.asarray accepts.
NDArray from_numpy_copy(PyObject* object, DType dtype, Device device);

}  // namespace mxnet::python

namespace nanobind::detail {

// mxnet::NDArray <-> mxnet.nd.NDArray in nanobind signatures; None is the none array.
template <>
struct type_caster<mxnet::NDArray> {
  NB_TYPE_CASTER(mxnet::NDArray, const_name("mxnet.ndarray.NDArray"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    if (source.is_none()) {
      value = mxnet::NDArray();
      return true;
    }
    if (!mxnet::python::is_ndarray(source.ptr())) return false;
    value = mxnet::python::unwrap(source.ptr());
    return true;
  }
  static handle from_cpp(const mxnet::NDArray& array, rv_policy, cleanup_list*) noexcept {
    if (array.is_none()) return none().release();
    try {
      return mxnet::python::wrap(array);
    } catch (...) {
      mxnet::python::translate_exception();
      return {};
    }
  }
};

}  // namespace nanobind::detail
