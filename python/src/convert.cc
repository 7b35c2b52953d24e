// SPDX-License-Identifier: Apache-2.0
#include "convert.h"

#include <array>
#include <cstdio>
#include <cstring>
#include <unordered_map>

namespace mxnet::python {
namespace {

PyObject* numpy_module() {
  static PyObject* module = checked(PyImport_ImportModule("numpy")).take();
  return module;
}

PyObject* context_class = nullptr;
PyObject* current_context = nullptr;

// A name such as "float32" for whatever numpy.dtype accepts; empty if it does not.
std::string dtype_name(PyObject* object) {
  const PyRef made(PyObject_CallMethod(numpy_module(), "dtype", "O", object));
  if (!made) {
    PyErr_Clear();
    return {};
  }
  const PyRef names = checked(PyObject_GetAttrString(made.get(), "names"));
  if (names.get() != Py_None) {
    const PyRef first = checked(PySequence_GetItem(names.get(), 0));
    return to_string(first.get(), "dtype");
  }
  const PyRef name = checked(PyObject_GetAttrString(made.get(), "name"));
  return to_string(name.get(), "dtype");
}

bool is_dtype_like(PyObject* object) {
  if (PyType_Check(object)) return true;
  static PyObject* dtype_class = checked(PyObject_GetAttrString(numpy_module(), "dtype")).take();
  return PyObject_IsInstance(object, dtype_class) == 1;
}

}  // namespace

std::string to_string(PyObject* text, const char* what) {
  if (!PyUnicode_Check(text)) fail(ErrorKind::type, what, " must be a string, got ", Py_TYPE(text)->tp_name);
  Py_ssize_t size;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);
  if (!data) throw PythonError{};
  return {data, static_cast<size_t>(size)};
}

ParamValue to_param(PyObject* object) {
  if (object == Py_None) return {};
  if (PyBool_Check(object)) return object == Py_True;
  if (PyLong_Check(object)) {
    int overflow;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow) fail(ErrorKind::value, "an integer parameter does not fit in 64 bits");
    return static_cast<int64_t>(value);
  }
  if (PyFloat_Check(object)) return PyFloat_AS_DOUBLE(object);
  if (PyUnicode_Check(object)) return to_string(object, "parameter");
  if (PyTuple_Check(object) || PyList_Check(object)) {
    ParamList list;
    const Py_ssize_t n = PySequence_Fast_GET_SIZE(object);
    for (Py_ssize_t i = 0; i < n; ++i) list.push_back(to_param(PySequence_Fast_GET_ITEM(object, i)));
    return list;
  }
  if (is_dtype_like(object)) {
    const DType dtype = dtype_from_name(dtype_name(object));
    if (dtype != DType::unknown) return dtype;
  }
  if (PyIndex_Check(object)) {
    const PyRef index = checked(PyNumber_Index(object));
    return to_param(index.get());
  }
  if (Py_TYPE(object)->tp_as_number && Py_TYPE(object)->tp_as_number->nb_float) {
    const PyRef number = checked(PyNumber_Float(object));
    return PyFloat_AS_DOUBLE(number.get());
  }
  if (PySequence_Check(object)) {
    const PyRef tuple = checked(PySequence_Tuple(object));
    return to_param(tuple.get());
  }
  const PyRef text = checked(PyObject_Str(object));
  return to_string(text.get(), "parameter");
}

PyRef from_param(const ParamValue& value) {
  struct Maker {
    PyRef operator()(std::monostate) const { return PyRef::borrow(Py_None); }
    PyRef operator()(bool b) const { return PyRef::borrow(b ? Py_True : Py_False); }
    PyRef operator()(int64_t i) const { return checked(PyLong_FromLongLong(i)); }
    PyRef operator()(double d) const { return checked(PyFloat_FromDouble(d)); }
    PyRef operator()(const std::string& s) const {
      return checked(PyUnicode_FromStringAndSize(s.data(), static_cast<Py_ssize_t>(s.size())));
    }
    PyRef operator()(DType t) const { return checked(PyUnicode_FromString(name_of(t))); }
    PyRef operator()(const ParamList& list) const {
      PyRef tuple = checked(PyTuple_New(static_cast<Py_ssize_t>(list.size())));
      for (size_t i = 0; i < list.size(); ++i) {
        PyTuple_SET_ITEM(tuple.get(), static_cast<Py_ssize_t>(i), from_param(list[i]).take());
      }
      return tuple;
    }
  };
  return std::visit(Maker{}, static_cast<const ParamValue::variant&>(value));
}

DType to_dtype(PyObject* object, const char* what) {
  if (object == Py_None) return DType::f32;
  if (PyUnicode_Check(object)) {
    const DType dtype = dtype_from_name(to_string(object, what));
    if (dtype != DType::unknown) return dtype;
  }
  // Classes and dtype objects are few and live long: remember them by address.
  static std::unordered_map<PyObject*, DType> known;
  if (const auto it = known.find(object); it != known.end()) return it->second;
  const std::string name = dtype_name(object);
  const DType dtype = dtype_from_name(name);
  if (dtype == DType::unknown) {
    const PyRef text = checked(PyObject_Repr(object));
    fail(ErrorKind::type, what, ": ", to_string(text.get(), "dtype"),
         " is not supported; use float16, float32, float64, bfloat16, int8, int32, int64, uint8 or bool");
  }
  if (PyType_Check(object)) {
    Py_INCREF(object);
    known.emplace(object, dtype);
  }
  return dtype;
}

PyRef dtype_object(DType dtype) {
  static std::array<PyObject*, 16> cache{};
  PyObject*& slot = cache[static_cast<size_t>(dtype)];
  if (!slot) {
    if (dtype == DType::bf16) {
      const PyRef u16 = checked(PyObject_GetAttrString(numpy_module(), "uint16"));
      const PyRef fields = checked(Py_BuildValue("[(sO)]", "bfloat16", u16.get()));
      slot = checked(PyObject_CallMethod(numpy_module(), "dtype", "O", fields.get())).take();
    } else {
      const char* name = dtype == DType::boolean ? "bool_" : name_of(dtype);
      slot = checked(PyObject_GetAttrString(numpy_module(), name)).take();
    }
  }
  return PyRef::borrow(slot);
}

Shape to_shape(PyObject* object, const char* what) {
  Shape shape;
  const auto dimension = [&](PyObject* item) {
    const PyRef index(PyNumber_Index(item));
    if (!index) {
      PyErr_Clear();
      fail(ErrorKind::type, what, " must be an integer or a tuple of integers, got ", Py_TYPE(item)->tp_name);
    }
    const long long value = PyLong_AsLongLong(index.get());
    if (value == -1 && PyErr_Occurred()) throw PythonError{};
    shape.push_back(value);
  };
  if (PyIndex_Check(object)) {
    dimension(object);
    return shape;
  }
  const PyRef sequence(PySequence_Fast(object, "shape"));
  if (!sequence) {
    PyErr_Clear();
    fail(ErrorKind::type, what, " must be an integer or a tuple of integers, got ", Py_TYPE(object)->tp_name);
  }
  const Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence.get());
  for (Py_ssize_t i = 0; i < n; ++i) dimension(PySequence_Fast_GET_ITEM(sequence.get(), i));
  return shape;
}

PyRef shape_tuple(const Shape& shape) {
  PyRef tuple = checked(PyTuple_New(shape.rank()));
  for (int i = 0; i < shape.rank(); ++i) PyTuple_SET_ITEM(tuple.get(), i, PyLong_FromLongLong(shape[i]));
  return tuple;
}

Device to_device(PyObject* object) {
  if (object == Py_None) return current_device();
  std::string text;
  if (PyUnicode_Check(object)) {
    text = to_string(object, "ctx");
  } else {
    const PyRef type_id(PyObject_GetAttrString(object, "device_typeid"));
    const PyRef id(type_id ? PyObject_GetAttrString(object, "device_id") : nullptr);
    if (!id) {
      PyErr_Clear();
      fail(ErrorKind::type, "ctx must be a Context such as mx.cpu(), got ", Py_TYPE(object)->tp_name);
    }
    return {static_cast<DeviceType>(PyLong_AsLong(type_id.get())), static_cast<int32_t>(PyLong_AsLong(id.get()))};
  }
  int id = 0;
  char name[16] = {};
  if (std::sscanf(text.c_str(), "%15[a-z_](%d)", name, &id) >= 1) {
    if (!std::strcmp(name, "cpu")) return {DeviceType::cpu, id};
    if (!std::strcmp(name, "gpu")) return {DeviceType::gpu, id};
    if (!std::strcmp(name, "cpu_pinned")) return {DeviceType::cpu_pinned, id};
    if (!std::strcmp(name, "cpu_shared")) return {DeviceType::cpu_shared, id};
  }
  fail(ErrorKind::value, "ctx: there is no device ", text);
}

void set_context(PyObject* cls, PyObject* current) {
  Py_INCREF(cls);
  Py_INCREF(current);
  context_class = cls;
  current_context = current;
}

PyRef device_object(Device device) {
  // Contexts are values: the common ones are made once, so that `x.context is y.context` is a cheap first look.
  constexpr int kept = 16;
  static PyObject* contexts[static_cast<int>(DeviceType::cpu_shared) + 1][kept] = {};
  PyObject** slot = device.id >= 0 && device.id < kept ? &contexts[static_cast<int>(device.type)][device.id] : nullptr;
  if (slot && *slot) {
    Py_INCREF(*slot);
    return PyRef(*slot);
  }
  const char* name = "cpu";
  switch (device.type) {
    case DeviceType::cpu: name = "cpu"; break;
    case DeviceType::gpu: name = "gpu"; break;
    case DeviceType::cpu_pinned: name = "cpu_pinned"; break;
    case DeviceType::cpu_shared: name = "cpu_shared"; break;
  }
  if (!context_class) fail("mxnet.context is not loaded");
  PyRef context = checked(PyObject_CallFunction(context_class, "si", name, static_cast<int>(device.id)));
  if (slot) {
    *slot = context.get();
    Py_INCREF(*slot);
  }
  return context;
}

Device current_device() {
  if (!current_context) return {};
  const PyRef context = checked(PyObject_CallNoArgs(current_context));
  return to_device(context.get());
}

}  // namespace mxnet::python
