// SPDX-License-Identifier: Apache-2.0
#include "ops/tensor/moves.h"

#include <cstring>

namespace mxnet::ops {

Window Window::narrow(int axis, int64_t begin, int64_t count, int64_t step) const {
  Window w = *this;
  w.offset += begin * strides[axis];
  w.shape[axis] = count;
  w.strides[axis] = strides[axis] * step;
  return w;
}

Window Window::permute(const std::vector<int>& axes) const {
  Window w = *this;
  for (size_t i = 0; i < axes.size(); ++i) {
    w.shape[static_cast<int>(i)] = shape[axes[i]];
    w.strides[static_cast<int>(i)] = strides[axes[i]];
  }
  return w;
}

Window Window::insert_axis(int axis, int64_t extent, int64_t stride) const {
  Window w = *this;
  w.shape.insert(axis, extent);
  w.strides.insert(axis, stride);
  return w;
}

uint64_t element_bits(DType dtype, double value) {
  uint64_t bits = 0;
  dispatch(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T item = convert<T>(value);
    std::memcpy(&bits, &item, sizeof item);
  });
  return bits;
}

void MoveKernel::copy(int out, const Window& to, int in, const Window& from, DType dtype) {
  Step step;
  step.out = out;
  step.in = in;
  step.item = size_of(dtype);
  step.out_offset = to.offset * step.item;
  step.in_offset = from.offset * step.item;
  step.copy = cpu::StridedCopy(to.shape, to.strides, from.strides, step.item);
  count(step.copy.cost_ns());
  if (step.copy.size() > 0) steps_.push_back(std::move(step));
}

void MoveKernel::fill(int out, const Shape& shape, DType dtype, double value) {
  Step step;
  step.out = out;
  step.item = size_of(dtype);
  step.fill_items = shape.size();
  step.fill_bits = element_bits(dtype, value);
  count(20 + step.fill_items * step.item / 16);
  steps_.push_back(std::move(step));
}

void MoveKernel::run(const KernelCall& call) const {
  for (const Step& step : steps_) {
    char* out = static_cast<char*>(call.out[step.out]);
    if (!out) continue;
    if (step.in < 0) {
      cpu::fill_items(out, step.fill_items, &step.fill_bits, step.item);
    } else {
      step.copy.run(out + step.out_offset, static_cast<const char*>(call.in[step.in]) + step.in_offset);
    }
  }
}

Prepared prepare_copy(const PrepareArgs& args) {
  const int64_t bytes = args.in[0].shape.size() * size_of(args.in[0].dtype);
  return make_kernel(
      [bytes](const KernelCall& c) {
        if (c.out[0]) cpu::copy_bytes(c.out[0], c.in[0], bytes);
      },
      20 + bytes / 10);
}

}  // namespace mxnet::ops
