// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "executor/cached_op.h"
#include "python.h"

namespace mxnet::python {

// The types CachedOp and BoundGraph; false with a Python error set.
bool add_cached_op_type(PyObject* module);
bool add_bound_graph_type(PyObject* module);

// The graph behind a CachedOp object; Error(type) for other objects.
CachedOp& expect_cached_op(PyObject* object);
// An array, or a list of them, as a call of a graph returns. Throws PythonError.
PyObject* wrap_outputs(std::span<NDArray> outputs, PyTypeObject* like);

}  // namespace mxnet::python
