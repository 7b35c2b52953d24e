// SPDX-License-Identifier: Apache-2.0
#include "ndarray.h"

#include <structmember.h>

#include <array>
#include <new>

#include "autograd/tape.h"

namespace mxnet::python {

PyTypeObject* ndarray_base = nullptr;

namespace {

PyTypeObject* ndarray_class = nullptr;
PyTypeObject* row_sparse_class = nullptr;
PyTypeObject* csr_class = nullptr;

// Dead objects of the default class, for the next call's result.
constexpr size_t kFree = 128;
std::array<PyObject*, kFree> free_objects;
size_t free_count = 0;

void dealloc(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  auto* array = reinterpret_cast<PyNDArray*>(self);
  if (array->weakrefs) PyObject_ClearWeakRefs(self);
  array->value.~NDArray();
  if (type == ndarray_class && free_count < kFree)
    free_objects[free_count++] = self;
  else
    type->tp_free(self);
  Py_DECREF(type);
}

PyObject* create(PyTypeObject* type, PyObject*, PyObject*) {
  PyObject* self = type->tp_alloc(type, 0);
  if (self) ::new (&reinterpret_cast<PyNDArray*>(self)->value) NDArray();
  return self;
}

Py_ssize_t length(PyObject* self) {
  return guard<Py_ssize_t>(-1, [&]() -> Py_ssize_t {
    const Shape& shape = unwrap(self).shape();
    if (shape.rank() == 0) fail(ErrorKind::type, "len() of a scalar array");
    return shape[0];
  });
}

Py_hash_t hash(PyObject* self) { return _Py_HashPointer(self); }

PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(PyNDArray, weakrefs), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

}  // namespace

void wait_to_read(const NDArray& array) {
  Engine::drain_deferred();
  if (array.var().readable_now()) return;
  const ReleaseGil unlocked;
  array.wait_to_read();
}

void wait_for_values(const NDArray& array) {
  if (autograd::is_tracing()) {
    fail(ErrorKind::not_supported,
         "the value of an array was read while the program is traced into a graph, which "
         "cannot depend on values");
  }
  wait_to_read(array);
}

bool add_ndarray_type(PyObject* module) {
  static PyType_Slot slots[96];
  size_t n = 0;
  const auto add = [&](int slot, void* function) { slots[n++] = {slot, function}; };
  add(Py_tp_new, reinterpret_cast<void*>(create));
  add(Py_tp_dealloc, reinterpret_cast<void*>(dealloc));
  add(Py_tp_hash, reinterpret_cast<void*>(hash));
  add(Py_tp_richcompare, reinterpret_cast<void*>(ndarray_richcompare));
  add(Py_tp_members, members);
  add(Py_tp_methods, ndarray_methods);
  add(Py_tp_getset, ndarray_getset);
  add(Py_mp_length, reinterpret_cast<void*>(length));
  add(Py_sq_length, reinterpret_cast<void*>(length));
  add(Py_mp_subscript, reinterpret_cast<void*>(ndarray_subscript));
  add(Py_mp_ass_subscript, reinterpret_cast<void*>(ndarray_assign_subscript));
  add(Py_bf_getbuffer, reinterpret_cast<void*>(ndarray_getbuffer));
  add(Py_bf_releasebuffer, reinterpret_cast<void*>(ndarray_releasebuffer));
  fill_number_slots(slots, n);
  slots[n] = {0, nullptr};
  static PyType_Spec spec = {"mxnet._core._ext.NDArrayBase", sizeof(PyNDArray), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  ndarray_base = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  return ndarray_base && PyModule_AddObjectRef(module, "NDArrayBase", reinterpret_cast<PyObject*>(ndarray_base)) == 0;
}

void set_ndarray_class(PyObject* cls) {
  auto* type = reinterpret_cast<PyTypeObject*>(cls);
  if (!PyType_Check(cls) || !PyType_IsSubtype(type, ndarray_base) || type->tp_basicsize != sizeof(PyNDArray)) {
    fail(ErrorKind::type, "set_ndarray_class needs a subclass of NDArrayBase with __slots__ = ()");
  }
  Py_INCREF(cls);
  ndarray_class = type;
  // Python makes every class a collected one. An array refers to no Python object, so it needs neither the collector's
  // header nor its bookkeeping, and its objects can be recycled.
  type->tp_flags &= ~Py_TPFLAGS_HAVE_GC;
  type->tp_traverse = nullptr;
  type->tp_clear = nullptr;
  type->tp_free = PyObject_Free;
  type->tp_dealloc = dealloc;
  PyType_Modified(type);
}

void set_sparse_classes(PyObject* row_sparse, PyObject* csr) {
  row_sparse_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(row_sparse));
  csr_class = reinterpret_cast<PyTypeObject*>(Py_NewRef(csr));
}

void require_dense(const NDArray& array, const char* what) {
  if (!array.is_none() && array.is_sparse()) {
    fail(ErrorKind::not_supported, what, " is not possible for a ", name_of(array.storage()),
         " array; use tostype('default')");
  }
}

PyObject* wrap(NDArray array, PyTypeObject* cls) {
  PyTypeObject* type = cls ? cls : ndarray_class ? ndarray_class : ndarray_base;
  if (!array.is_none() && array.is_sparse() && row_sparse_class)
    type = array.storage() == StorageType::csr ? csr_class : row_sparse_class;
  else if (cls && (cls == row_sparse_class || cls == csr_class))
    type = ndarray_class;
  PyObject* self;
  if (type == ndarray_class && free_count > 0) {
    self = free_objects[--free_count];
    PyObject_Init(self, type);
  } else {
    self = type->tp_alloc(type, 0);
    if (!self) throw PythonError{};
  }
  auto* object = reinterpret_cast<PyNDArray*>(self);
  ::new (&object->value) NDArray(std::move(array));
  object->weakrefs = nullptr;
  return self;
}

NDArray& expect_ndarray(PyObject* object, const char* what) {
  if (!is_ndarray(object)) fail(ErrorKind::type, what, " must be an NDArray, got ", Py_TYPE(object)->tp_name);
  NDArray& array = unwrap(object);
  if (array.is_none()) fail(ErrorKind::value, what, " is an empty array handle");
  return array;
}

}  // namespace mxnet::python
