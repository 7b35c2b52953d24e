// SPDX-License-Identifier: Apache-2.0
// Deferred compute: while a thread traces, every operator called on arrays also leaves a node of a graph, so that a
// program over arrays becomes a symbol.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ndarray/ndarray.h"
#include "symbol/symbol.h"

namespace mxnet::trace {

// Starts or ends tracing on the calling thread; returns whether it traced before. Tracing replaces what hangs on array
// handles, so the thread must not record at the same time.
bool set_tracing(bool on);
bool is_tracing();

// `array` stands for output 0 of `symbol` from now on.
void set_variable(NDArray& array, const Symbol& symbol);

// The graph of what was computed. Arrays that were neither marked nor computed became variables; those that show the
// same memory as one of `known` get its name. Raises for an output that was not computed while tracing, and for an
// array that nobody knows.
Symbol symbol_of(std::span<const NDArray> outputs, std::span<const std::pair<std::string, NDArray>> known);

}  // namespace mxnet::trace
