// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mxnet::python {

void bind_symbol(nanobind::module_& module);
// Executors and deferred compute.
void bind_executor(nanobind::module_& module);
void bind_profiler(nanobind::module_& module);

}  // namespace mxnet::python
