// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mxnet::python {

void bind_custom(nanobind::module_& module);
// Gives up all Python objects that graphs hold; called when all work is done and the interpreter ends.
void release_custom();

}  // namespace mxnet::python
