// SPDX-License-Identifier: Apache-2.0
// Arithmetic, comparison and truth of arrays: type slots that call operators without any Python between.
#include <array>
#include <cmath>
#include <cstring>

#include "autograd/tape.h"
#include "convert.h"
#include "ndarray.h"
#include "operator/op.h"

namespace mxnet::python {
namespace {

// The operators behind one Python operator. Looked up at first use.
struct Binary {
  const char* same;  // equal shapes
  const char* broadcast;
  const char* scalar;    // array op number
  const char* reversed;  // number op array
  const OpDef* ops[4] = {};

  const OpDef& get(int i) {
    if (!ops[i]) ops[i] = &get_op(i == 0 ? same : i == 1 ? broadcast : i == 2 ? scalar : reversed);
    return *ops[i];
  }
};

Binary add_ops{"elemwise_add", "broadcast_add", "_plus_scalar", "_plus_scalar"};
Binary sub_ops{"elemwise_sub", "broadcast_sub", "_minus_scalar", "_rminus_scalar"};
Binary mul_ops{"elemwise_mul", "broadcast_mul", "_mul_scalar", "_mul_scalar"};
Binary div_ops{"elemwise_div", "broadcast_div", "_div_scalar", "_rdiv_scalar"};
Binary mod_ops{"_mod", "broadcast_mod", "_mod_scalar", "_rmod_scalar"};
Binary pow_ops{"_power", "broadcast_power", "_power_scalar", "_rpower_scalar"};
Binary eq_ops{"_equal", "broadcast_equal", "_equal_scalar", "_equal_scalar"};
Binary ne_ops{"_not_equal", "broadcast_not_equal", "_not_equal_scalar", "_not_equal_scalar"};
Binary gt_ops{"_greater", "broadcast_greater", "_greater_scalar", "_lesser_scalar"};
Binary ge_ops{"_greater_equal", "broadcast_greater_equal", "_greater_equal_scalar", "_lesser_equal_scalar"};
Binary lt_ops{"_lesser", "broadcast_lesser", "_lesser_scalar", "_greater_scalar"};
Binary le_ops{"_lesser_equal", "broadcast_lesser_equal", "_lesser_equal_scalar", "_greater_equal_scalar"};

bool is_number(PyObject* object) {
  if (PyFloat_Check(object) || PyLong_Check(object)) return true;
  const PyNumberMethods* number = Py_TYPE(object)->tp_as_number;
  if (!number || !(number->nb_index || number->nb_float) || is_ndarray(object)) return false;
  // NumPy scalars are numbers; NumPy arrays and other containers are not.
  return !PySequence_Check(object);
}

// Parameters of a scalar operator. The value is read at run time, so one call's object may serve the next equal one.
Ref<Params> scalar_params(const OpDef& op, PyObject* number) {
  struct Last {
    const OpDef* op;
    PyObject* number;  // strong: the address identifies the value while it lives
    Ref<Params> params;
  };
  static std::array<Last, 64> recent{};
  Last& slot = recent[(reinterpret_cast<uintptr_t>(number) >> 4 ^ static_cast<uintptr_t>(op.id) * 7) % recent.size()];
  if (slot.number == number && slot.op == &op) return slot.params;
  Ref<Params> params = op.params.create();
  op.params.set(op.name, *params, 0, to_param(number));
  op.params.finish(op.name, *params);
  Py_INCREF(number);
  Py_XDECREF(slot.number);
  slot = {&op, number, params};
  return params;
}

PyObject* apply(Binary& ops, PyObject* a, PyObject* b, NDArray out = {}) {
  const bool a_array = is_ndarray(a), b_array = is_ndarray(b);
  if (a_array && b_array) {
    const NDArray &x = unwrap(a), &y = unwrap(b);
    if (x.is_none() || y.is_none()) fail(ErrorKind::value, "an operand is an empty array handle");
    const OpDef& op = ops.get(x.shape() == y.shape() ? 0 : 1);
    const NDArray* in[] = {&x, &y};
    autograd::call(op, op.params.defaults(), in, std::span<NDArray>(&out, 1));
  } else {
    PyObject* number = a_array ? b : a;
    if (!is_number(number)) {
      // Left to itself, NumPy would compute on a copy: an array outside of every graph and device.
      if (PyObject_HasAttrString(number, "__array_interface__")) {
        fail(ErrorKind::type, "an NDArray and a ", Py_TYPE(number)->tp_name,
             " do not mix; make an array of it with mx.nd.array() first");
      }
      Py_RETURN_NOTIMPLEMENTED;
    }
    const NDArray& x = unwrap(a_array ? a : b);
    if (x.is_none()) fail(ErrorKind::value, "an operand is an empty array handle");
    const OpDef& op = ops.get(a_array ? 2 : 3);
    const NDArray* in[] = {&x};
    autograd::call(op, scalar_params(op, number), in, std::span<NDArray>(&out, 1));
  }
  PyTypeObject* cls = Py_TYPE(a_array ? a : b);
  return wrap(std::move(out), cls == ndarray_base ? nullptr : cls);
}

template <Binary& ops>
PyObject* binary(PyObject* a, PyObject* b) {
  return guard<PyObject*>(nullptr, [&] { return apply(ops, a, b); });
}

// In place: the array object stays, its contents (and its place in a recorded graph) change.
template <Binary& ops>
PyObject* inplace(PyObject* a, PyObject* b) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    if (!is_ndarray(a) || (!is_ndarray(b) && !is_number(b))) Py_RETURN_NOTIMPLEMENTED;
    NDArray& target = expect_ndarray(a, "the left operand");
    const PyRef result = checked(apply(ops, a, b, target));
    if (result.get() == Py_NotImplemented) Py_RETURN_NOTIMPLEMENTED;
    target.attach(unwrap(result.get()).attachment());
    Py_INCREF(a);
    return a;
  });
}

PyObject* power(PyObject* a, PyObject* b, PyObject* modulo) {
  if (modulo != Py_None) Py_RETURN_NOTIMPLEMENTED;
  return binary<pow_ops>(a, b);
}
PyObject* inplace_power(PyObject* a, PyObject* b, PyObject*) { return inplace<pow_ops>(a, b); }

PyObject* unary(const char* name, PyObject* self) {
  return guard<PyObject*>(nullptr, [&] {
    const OpDef& op = get_op(name);
    const NDArray* in[] = {&expect_ndarray(self, "the operand")};
    NDArray out;
    autograd::call(op, op.params.defaults(), in, std::span<NDArray>(&out, 1));
    return wrap(std::move(out), Py_TYPE(self));
  });
}
PyObject* negative(PyObject* self) { return unary("negative", self); }
PyObject* absolute(PyObject* self) { return unary("abs", self); }
PyObject* positive(PyObject* self) {
  Py_INCREF(self);
  return self;
}

// The only element, as a Python number.
PyRef single(PyObject* self) {
  const NDArray& array = expect_ndarray(self, "the array");
  if (array.size() != 1) {
    fail(ErrorKind::value, "only an array of one element can become a Python number, this one has shape ",
         array.shape());
  }
  wait_for_values(array);
  return dispatch(array.dtype(), [&]<typename T>(TypeTag<T>) {
    const T value = *static_cast<const T*>(array.data());
    if constexpr (std::is_same_v<T, bool>)
      return PyRef::borrow(value ? Py_True : Py_False);
    else if constexpr (std::is_integral_v<T>)
      return checked(PyLong_FromLongLong(value));
    else
      return checked(PyFloat_FromDouble(static_cast<double>(static_cast<compute_t<T>>(value))));
  });
}

int truth(PyObject* self) {
  return guard<int>(-1, [&] {
    const NDArray& array = expect_ndarray(self, "the array");
    if (array.size() == 0) return 0;
    if (array.size() > 1) {
      fail(ErrorKind::value,
           "the truth value of an array with more than one element is ambiguous; compare elements or "
           "reduce it first");
    }
    return PyObject_IsTrue(single(self).get());
  });
}
PyObject* to_int(PyObject* self) {
  return guard<PyObject*>(nullptr, [&] { return PyNumber_Long(single(self).get()); });
}
PyObject* to_float(PyObject* self) {
  return guard<PyObject*>(nullptr, [&] { return PyNumber_Float(single(self).get()); });
}
PyObject* to_index(PyObject* self) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const NDArray& array = expect_ndarray(self, "the array");
    if (!is_integer(array.dtype()) && array.dtype() != DType::boolean) {
      fail(ErrorKind::type, "only an integer array of one element can be an index, this one is ",
           name_of(array.dtype()));
    }
    return PyNumber_Long(single(self).get());
  });
}

}  // namespace

void fill_number_slots(PyType_Slot* slots, size_t& n) {
  const auto add = [&](int slot, auto* function) { slots[n++] = {slot, reinterpret_cast<void*>(function)}; };
  add(Py_nb_add, binary<add_ops>);
  add(Py_nb_subtract, binary<sub_ops>);
  add(Py_nb_multiply, binary<mul_ops>);
  add(Py_nb_true_divide, binary<div_ops>);
  add(Py_nb_remainder, binary<mod_ops>);
  add(Py_nb_power, power);
  add(Py_nb_inplace_add, inplace<add_ops>);
  add(Py_nb_inplace_subtract, inplace<sub_ops>);
  add(Py_nb_inplace_multiply, inplace<mul_ops>);
  add(Py_nb_inplace_true_divide, inplace<div_ops>);
  add(Py_nb_inplace_remainder, inplace<mod_ops>);
  add(Py_nb_inplace_power, inplace_power);
  add(Py_nb_negative, negative);
  add(Py_nb_positive, positive);
  add(Py_nb_absolute, absolute);
  add(Py_nb_bool, truth);
  add(Py_nb_int, to_int);
  add(Py_nb_float, to_float);
  add(Py_nb_index, to_index);
}

PyObject* ndarray_richcompare(PyObject* self, PyObject* other, int op) {
  switch (op) {
    case Py_EQ: return binary<eq_ops>(self, other);
    case Py_NE: return binary<ne_ops>(self, other);
    case Py_GT: return binary<gt_ops>(self, other);
    case Py_GE: return binary<ge_ops>(self, other);
    case Py_LT: return binary<lt_ops>(self, other);
    case Py_LE: return binary<le_ops>(self, other);
    default: Py_RETURN_NOTIMPLEMENTED;
  }
}

}  // namespace mxnet::python
