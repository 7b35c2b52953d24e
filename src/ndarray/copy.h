// SPDX-License-Identifier: Apache-2.0
// Moving elements: conversion, physical layout, fill, accumulation. Run from engine operations; no waiting inside.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "base/shape.h"

namespace mxnet::copy {

// Rough single-thread time of streaming this many bytes.
inline int64_t cost_ns(int64_t bytes) { return 20 + bytes / 8; }

void convert(void* target, DType target_dtype, const void* source, DType source_dtype, int64_t count);
// Source in layout `from`, target in layout `to`; `shape` is logical.
void reorder(void* target, const void* source, const Shape& shape, DType dtype, Layout from, Layout to);
void accumulate(void* target, const void* source, DType dtype, int64_t count);  // target += source
void fill(void* target, DType dtype, int64_t count, double value);

// True if an array of this shape can lie channels-last (3 to 5 dimensions).
inline bool can_be_channels_last(const Shape& shape) { return shape.rank() >= 3 && shape.rank() <= 5; }

}  // namespace mxnet::copy
