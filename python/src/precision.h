// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace mxnet::python {

void bind_precision(nanobind::module_& m);

}  // namespace mxnet::python
