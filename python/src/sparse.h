// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mxnet::python {

void bind_sparse(nanobind::module_& module);

}  // namespace mxnet::python
