// SPDX-License-Identifier: Apache-2.0
#include "simple_op/iteration.h"

#include <algorithm>

namespace mxnet {
namespace {

constexpr int64_t kShortRow = 256;  // below, a call per row costs more than writing the operand out

// Moves axis 1 behind the spatial axes.
void to_physical(std::vector<int64_t>& dims, Layout layout) {
  if (layout == Layout::channels_last && dims.size() > 2) std::rotate(dims.begin() + 1, dims.begin() + 2, dims.end());
}

// Strides of an operand of logical shape `shape` along the logical axes of `out`.
std::vector<int64_t> broadcast_strides(const TensorSpec& in, const Shape& out) {
  const int rank = out.rank(), missing = rank - in.shape.rank();
  std::vector<int64_t> order(in.shape.rank());  // logical axes of `in` as they lie in memory
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  to_physical(order, in.layout);
  std::vector<int64_t> strides(rank, 0);
  int64_t step = 1;
  for (auto axis = order.rbegin(); axis != order.rend(); ++axis) {
    const int64_t d = in.shape[static_cast<int>(*axis)];
    strides[missing + *axis] = d == 1 ? 0 : step;
    step *= d;
  }
  return strides;
}

}  // namespace

Shape physical_shape(const TensorSpec& spec) {
  std::vector<int64_t> dims(spec.shape.begin(), spec.shape.end());
  to_physical(dims, spec.layout);
  return Shape(std::span<const dim_t>(dims));
}

bool Iteration::is_expanded(int operand) const {
  if (walk != Walk::expand) return false;
  int64_t step = 1;
  for (int axis = rank() - 1; axis >= 0; step *= dims[axis--]) {
    if (strides[operand][axis] != step) return true;
  }
  return false;
}

int64_t Iteration::row_offset(int operand, int64_t r) const {
  int64_t offset = 0;
  for (int axis = rank() - 2; axis >= 0; --axis) {
    offset += r % dims[axis] * strides[operand][axis];
    r /= dims[axis];
  }
  return offset;
}

Iteration make_iteration(std::span<const TensorSpec> in, const TensorSpec& out) {
  Iteration it;
  it.size = out.shape.size();
  const size_t operands = in.size();
  std::vector<int64_t> dims(out.shape.begin(), out.shape.end());
  to_physical(dims, out.layout);
  std::vector<std::vector<int64_t>> strides;
  for (const TensorSpec& spec : in) {
    strides.push_back(broadcast_strides(spec, out.shape));
    to_physical(strides.back(), out.layout);
  }
  it.strides.resize(operands);
  for (size_t axis = 0; axis < dims.size(); ++axis) {
    if (dims[axis] == 1) continue;
    bool merges = !it.dims.empty();
    for (size_t k = 0; k < operands && merges; ++k) merges = it.strides[k].back() == strides[k][axis] * dims[axis];
    if (merges)
      it.dims.back() *= dims[axis];
    else
      it.dims.push_back(dims[axis]);
    for (size_t k = 0; k < operands; ++k) {
      if (merges)
        it.strides[k].back() = strides[k][axis];
      else
        it.strides[k].push_back(strides[k][axis]);
    }
  }
  if (it.dims.empty()) {
    it.dims.push_back(1);
    for (size_t k = 0; k < operands; ++k) it.strides[k].push_back(1);
  }
  if (it.rank() == 1)
    it.walk = Iteration::Walk::flat;
  else
    it.walk = it.row() >= kShortRow ? Iteration::Walk::rows : Iteration::Walk::expand;
  return it;
}

namespace {

template <typename T>
void expand_bits(T* to, const T* from, const Iteration& it, int operand, int64_t begin, int64_t n) {
  const int64_t row = it.row(), stride = it.strides[operand].back();
  int64_t r = begin / row, column = begin % row;
  // Counts through the outer axes rather than dividing for each row.
  const int outer = it.rank() - 1;
  int64_t index[Shape::kMaxRank];
  int64_t offset = 0;
  for (int axis = outer - 1; axis >= 0; --axis) {
    index[axis] = r % it.dims[axis];
    offset += index[axis] * it.strides[operand][axis];
    r /= it.dims[axis];
  }
  while (n > 0) {
    const int64_t length = std::min(n, row - column);
    const T* source = from + offset + column * stride;
    if (stride == 0)
      std::fill_n(to, length, *source);
    else
      std::copy_n(source, length, to);
    to += length;
    n -= length;
    column = 0;
    for (int axis = outer - 1; axis >= 0; --axis) {
      offset += it.strides[operand][axis];
      if (++index[axis] < it.dims[axis]) break;
      offset -= it.dims[axis] * it.strides[operand][axis];
      index[axis] = 0;
    }
  }
}

}  // namespace

void expand(void* to, const void* from, int element_bytes, const Iteration& it, int operand, int64_t begin, int64_t n) {
  const auto run = [&]<typename T>(T*) {
    expand_bits(static_cast<T*>(to), static_cast<const T*>(from), it, operand, begin, n);
  };
  switch (element_bytes) {
    case 1: return run(static_cast<uint8_t*>(nullptr));
    case 2: return run(static_cast<uint16_t*>(nullptr));
    case 4: return run(static_cast<uint32_t*>(nullptr));
    default: return run(static_cast<uint64_t*>(nullptr));
  }
}

}  // namespace mxnet
