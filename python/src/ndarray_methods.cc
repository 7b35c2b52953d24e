// SPDX-License-Identifier: Apache-2.0
// Properties and methods of the array type that are worth C++; the rest of the class is Python.
#include <algorithm>
#include <cstring>
#include <memory>

#include "autograd/tape.h"
#include "convert.h"
#include "ndarray.h"

namespace mxnet::python {
namespace {

const NDArray& self_array(PyObject* self) { return expect_ndarray(self, "the array"); }

PyObject* get_shape(PyObject* self, void*) {
  return guard<PyObject*>(nullptr, [&] { return shape_tuple(unwrap(self).shape()).take(); });
}
PyObject* get_size(PyObject* self, void*) {
  return guard<PyObject*>(nullptr, [&] { return PyLong_FromLongLong(unwrap(self).size()); });
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(unwrap(self).shape().rank()); }
PyObject* get_dtype(PyObject* self, void*) {
  return guard<PyObject*>(nullptr, [&] { return dtype_object(unwrap(self).dtype()).take(); });
}
PyObject* get_context(PyObject* self, void*) {
  return guard<PyObject*>(nullptr, [&] { return device_object(self_array(self).device()).take(); });
}
PyObject* get_grad(PyObject* self, void*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    NDArray gradient = autograd::gradient_of(unwrap(self));
    if (gradient.is_none()) Py_RETURN_NONE;
    return wrap(std::move(gradient), Py_TYPE(self));
  });
}
PyObject* get_fresh(PyObject* self, void*) { return PyBool_FromLong(autograd::fresh_gradient(unwrap(self))); }
int set_fresh(PyObject* self, PyObject* value, void*) {
  autograd::set_fresh_gradient(unwrap(self), value && PyObject_IsTrue(value) == 1);
  return 0;
}
PyObject* get_layout(PyObject* self, void*) {
  return PyUnicode_FromString(self_array(self).layout() == Layout::plain ? "plain" : "channels_last");
}
PyObject* get_version(PyObject* self, void*) {
  return PyLong_FromUnsignedLongLong(self_array(self).chunk()->version.load());
}

PyObject* asnumpy(PyObject* self, PyObject*) {
  return guard<PyObject*>(nullptr, [&] { return to_numpy(self_array(self)).take(); });
}

PyObject* method_wait_to_read(PyObject* self, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    wait_to_read(self_array(self));
    Py_RETURN_NONE;
  });
}
PyObject* method_wait_to_write(PyObject* self, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const NDArray& array = self_array(self);
    const ReleaseGil unlocked;
    array.wait_to_write();
    Py_RETURN_NONE;
  });
}

PyObject* detach(PyObject* self, PyObject*) {
  return guard<PyObject*>(nullptr, [&] { return wrap(self_array(self).detached(), Py_TYPE(self)); });
}

// _adopt(other): an empty array, as unpickling makes it, becomes one over the memory of `other`.
PyObject* adopt(PyObject* self, PyObject* other) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    unwrap(self) = expect_ndarray(other, "_adopt").detached();
    return Py_NewRef(Py_None);
  });
}

// _view(shape, element_offset=0): a window on the same chunk; sizes are checked here.
PyObject* view(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    if (n < 1 || n > 2) fail(ErrorKind::type, "_view takes a shape and an offset");
    const NDArray& array = self_array(self);
    const Shape shape = to_shape(args[0], "shape");
    const int64_t offset = n > 1 ? PyLong_AsLongLong(args[1]) : 0;
    const bool negative = std::any_of(shape.begin(), shape.end(), [](dim_t d) { return d < 0; });
    if (negative || offset < 0 || offset + shape.size() > array.size()) {
      fail(ErrorKind::value, "a view of shape ", shape, " at element ", offset, " does not fit in an array of shape ",
           array.shape());
    }
    return wrap(array.view(shape, offset), Py_TYPE(self));
  });
}

// _copy_from(source): queued; converts dtype. Recording is the caller's business.
PyObject* copy_from(PyObject* self, PyObject* source) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    self_array(self).copy_from(expect_ndarray(source, "the source"));
    Py_RETURN_NONE;
  });
}

// _copy_from_numpy(array): synchronous; `array` is contiguous, of this array's dtype and shape.
PyObject* copy_from_numpy(PyObject* self, PyObject* source) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const NDArray& array = self_array(self);
    autograd::check_writable(array, "array assignment");
    Py_buffer buffer;
    if (PyObject_GetBuffer(source, &buffer, PyBUF_C_CONTIGUOUS) != 0) throw PythonError{};
    const bool fits = static_cast<size_t>(buffer.len) == array.bytes();
    if (fits) {
      const ReleaseGil unlocked;
      array.copy_from_memory(buffer.buf);
    }
    PyBuffer_Release(&buffer);
    if (!fits) fail(ErrorKind::value, "the source has another size than the array");
    Py_RETURN_NONE;
  });
}

PyObject* fill(PyObject* self, PyObject* number) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const NDArray& array = self_array(self);
    autograd::check_writable(array, "array assignment");
    const double value = PyFloat_AsDouble(number);
    if (value == -1.0 && PyErr_Occurred()) throw PythonError{};
    array.fill(value);
    Py_RETURN_NONE;
  });
}

PyObject* pin(PyObject* self, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    self_array(self).make_plain(true);
    Py_RETURN_NONE;
  });
}

PyObject* in_graph(PyObject* self, PyObject*) { return PyBool_FromLong(autograd::in_graph(unwrap(self))); }

PyObject* mark(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    if (n != 2) fail(ErrorKind::type, "_mark_variable takes a gradient and a request");
    NDArray gradient = args[0] == Py_None ? NDArray() : expect_ndarray(args[0], "the gradient");
    autograd::mark_variable(expect_ndarray(self, "the variable"), gradient,
                            static_cast<autograd::GradReq>(PyLong_AsLong(args[1])));
    Py_RETURN_NONE;
  });
}

PyObject* grad_req(PyObject* self, PyObject*) {
  return PyLong_FromLong(static_cast<long>(autograd::grad_req_of(unwrap(self))));
}

// _same_memory(other): both are windows on one chunk.
PyObject* same_memory(PyObject* self, PyObject* other) {
  return guard<PyObject*>(nullptr, [&] {
    return PyBool_FromLong(self_array(self).chunk() == expect_ndarray(other, "the other array").chunk());
  });
}

template <typename F>
PyCFunction method(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

}  // namespace

PyMethodDef ndarray_methods[] = {
    {"asnumpy", asnumpy, METH_NOARGS, "A numpy.ndarray with a copy of the contents; waits for pending work."},
    {"wait_to_read", method_wait_to_read, METH_NOARGS,
     "Blocks until all writes to this array are done; raises their errors."},
    {"wait_to_write", method_wait_to_write, METH_NOARGS,
     "Blocks until all work on this array is done; raises its errors."},
    {"detach", detach, METH_NOARGS, "The same memory as an array that is outside the recorded graph."},
    {"_view", method(view), METH_FASTCALL, nullptr},
    {"_adopt", adopt, METH_O, nullptr},
    {"_copy_from", copy_from, METH_O, nullptr},
    {"_copy_from_numpy", copy_from_numpy, METH_O, nullptr},
    {"_fill", fill, METH_O, nullptr},
    {"_pin", pin, METH_NOARGS, nullptr},
    {"_in_graph", in_graph, METH_NOARGS, nullptr},
    {"_mark_variable", method(mark), METH_FASTCALL, nullptr},
    {"_grad_req", grad_req, METH_NOARGS, nullptr},
    {"_same_memory", same_memory, METH_O, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef ndarray_getset[] = {
    {"shape", get_shape, nullptr, "Tuple of dimensions.", nullptr},
    {"size", get_size, nullptr, "Number of elements.", nullptr},
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"dtype", get_dtype, nullptr, "The NumPy scalar class of the elements, such as numpy.float32.", nullptr},
    {"context", get_context, nullptr, "The device that holds the array.", nullptr},
    {"ctx", get_context, nullptr, "The device that holds the array.", nullptr},
    {"grad", get_grad, nullptr, "The gradient buffer made by attach_grad(), or None.", nullptr},
    {"_fresh_grad", get_fresh, set_fresh, "True after a backward has written the gradient.", nullptr},
    {"_layout", get_layout, nullptr, "How the elements lie in memory: 'plain' or 'channels_last'.", nullptr},
    {"_version", get_version, nullptr, "Counts writes to the memory.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

// ---- buffer protocol ------------------------------------------------------------------------------------------------

namespace {

const char* buffer_format(DType dtype) {
  switch (dtype) {
    case DType::f32: return "f";
    case DType::f64: return "d";
    case DType::f16: return "e";
    case DType::bf16: return "H";
    case DType::u8: return "B";
    case DType::i8: return "b";
    case DType::i32: return "i";
    case DType::i64: return "q";
    case DType::boolean: return "?";
    case DType::unknown: break;
  }
  return "B";
}

// What a view holds: the array, so that the memory lives, and the numbers that Py_buffer points to.
struct Export {
  NDArray array;
  Py_ssize_t shape[Shape::kMaxRank];
  Py_ssize_t strides[Shape::kMaxRank];
};

}  // namespace

int ndarray_getbuffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  return guard<int>(-1, [&] {
    const NDArray& array = self_array(self);
    require_dense(array, "the buffer protocol");
    array.make_plain(true);
    {
      const ReleaseGil unlocked;
      if (flags & PyBUF_WRITABLE)
        array.wait_to_write();
      else
        array.wait_to_read();
    }
    // The memory may be written behind the framework's back: whatever was derived from it is stale.
    if (flags & PyBUF_WRITABLE) array.chunk()->begin_writable_export();
    auto held = std::make_unique<Export>();
    held->array = array.detached();
    const int rank = array.shape().rank();
    Py_ssize_t stride = size_of(array.dtype());
    for (int i = rank - 1; i >= 0; --i) {
      held->shape[i] = array.shape()[i];
      held->strides[i] = stride;
      stride *= array.shape()[i];
    }
    view->buf = array.data();
    view->len = static_cast<Py_ssize_t>(array.bytes());
    view->itemsize = size_of(array.dtype());
    view->readonly = !(flags & PyBUF_WRITABLE);
    view->format = flags & PyBUF_FORMAT ? const_cast<char*>(buffer_format(array.dtype())) : nullptr;
    view->ndim = rank;
    view->shape = flags & PyBUF_ND ? held->shape : nullptr;
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? held->strides : nullptr;
    view->suboffsets = nullptr;
    view->internal = held.release();
    Py_INCREF(self);
    view->obj = self;
    return 0;
  });
}

void ndarray_releasebuffer(PyObject*, Py_buffer* view) {
  auto* held = static_cast<Export*>(view->internal);
  if (!view->readonly) held->array.chunk()->end_writable_export();
  delete held;
}

// ---- NumPy
// ------------------------------------------------------------------------------------------------------------

PyRef to_numpy(const NDArray& array) {
  static PyObject* empty = [] {
    const PyRef numpy = checked(PyImport_ImportModule("numpy"));
    return checked(PyObject_GetAttrString(numpy.get(), "empty")).take();
  }();
  const PyRef shape = shape_tuple(array.shape());
  const PyRef dtype = dtype_object(array.dtype());
  PyRef result = checked(PyObject_CallFunctionObjArgs(empty, shape.get(), dtype.get(), nullptr));
  wait_for_values(array);
  if (array.size() == 0) return result;
  Py_buffer buffer;
  // Fresh, contiguous and of the right size: no format is asked for, so structured dtypes pass too.
  if (PyObject_GetBuffer(result.get(), &buffer, PyBUF_WRITABLE) != 0) throw PythonError{};
  if (array.bytes() < (64u << 10)) {
    array.copy_to_memory(buffer.buf);
  } else {
    const ReleaseGil unlocked;
    array.copy_to_memory(buffer.buf);
  }
  PyBuffer_Release(&buffer);
  return result;
}

NDArray from_numpy_copy(PyObject* object, DType dtype, Device device) {
  static PyObject* convert = [] {
    const PyRef numpy = checked(PyImport_ImportModule("numpy"));
    return checked(PyObject_GetAttrString(numpy.get(), "ascontiguousarray")).take();
  }();
  const PyRef source_shape(PyObject_GetAttrString(object, "shape"));
  if (!source_shape) throw PythonError{};
  const Shape shape = to_shape(source_shape.get(), "shape");
  const PyRef type = dtype_object(dtype);
  const PyRef contiguous = checked(PyObject_CallFunctionObjArgs(convert, object, type.get(), nullptr));
  Py_buffer buffer;
  if (PyObject_GetBuffer(contiguous.get(), &buffer, PyBUF_C_CONTIGUOUS) != 0) throw PythonError{};
  NDArray array = NDArray::empty(shape, dtype, device);
  if (array.bytes()) std::memcpy(array.data(), buffer.buf, array.bytes());
  PyBuffer_Release(&buffer);
  return array;
}

}  // namespace mxnet::python
