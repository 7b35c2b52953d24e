// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "python.h"

namespace mxnet::python {

// The type of mx.nd.<operator>: a callable with a vectorcall that parses straight into the parameter struct.
bool add_op_function_type(PyObject* module);
// The object that stands for "not given" among parameters (mxnet.base._Null).
void set_null(PyObject* null);

}  // namespace mxnet::python
