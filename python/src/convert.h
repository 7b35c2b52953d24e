// SPDX-License-Identifier: Apache-2.0
// Python values to the core's and back.
#pragma once

#include <string>

#include "base/device.h"
#include "operator/params.h"
#include "python.h"

namespace mxnet::python {

// None, bool, int, float, str, tuples and lists of these, NumPy scalars, dtypes and scalar classes.
ParamValue to_param(PyObject* object);
PyRef from_param(const ParamValue& value);

// A name, a NumPy dtype or scalar class, the structured bfloat16 dtype. `what` names the argument in errors.
DType to_dtype(PyObject* object, const char* what = "dtype");
// The class np.float32, np.int64, ...; bfloat16 is the structured dtype [('bfloat16', uint16)].
PyRef dtype_object(DType dtype);

Shape to_shape(PyObject* object, const char* what);
PyRef shape_tuple(const Shape& shape);

std::string to_string(PyObject* text, const char* what);
// A Context object or its text form "cpu(0)".
Device to_device(PyObject* object);
// mxnet.context.Context(device).
PyRef device_object(Device device);
// Called once by mxnet.context's user: the class and the function current_context.
void set_context(PyObject* cls, PyObject* current);
// The calling thread's default device.
Device current_device();

}  // namespace mxnet::python
