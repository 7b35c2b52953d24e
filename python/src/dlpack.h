// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mxnet::python {

// DLPack both ways, and NumPy memory without a copy.
void bind_dlpack(nanobind::module_& module);

}  // namespace mxnet::python
