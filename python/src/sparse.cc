// SPDX-License-Identifier: Apache-2.0
// What the sparse array classes need: arrays without elements, from parts, and copies of their parts.
#include <algorithm>
#include <cstring>

#include "convert.h"
#include "ndarray.h"
#include "ndarray/sparse.h"
#include "sparse.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

namespace nb = nanobind;

namespace mxnet::python {
namespace {

// The contents of a contiguous numpy.ndarray.
class Contents {
 public:
  explicit Contents(nb::handle source) {
    if (PyObject_GetBuffer(source.ptr(), &buffer_, PyBUF_C_CONTIGUOUS) != 0) throw PythonError{};
  }
  ~Contents() { PyBuffer_Release(&buffer_); }
  Contents(const Contents&) = delete;
  Contents& operator=(const Contents&) = delete;
  void copy_to(void* target, size_t bytes, const char* what) const {
    if (static_cast<size_t>(buffer_.len) != bytes) {
      fail(ErrorKind::value, what, " holds ", buffer_.len, " bytes, expected ", bytes);
    }
    if (bytes) std::memcpy(target, buffer_.buf, bytes);
  }

 private:
  Py_buffer buffer_;
};

// `data` is of `dtype`, the others of int64; indptr is None for row_sparse.
NDArray from_parts(const std::string& stype, nb::handle shape, nb::handle dtype, nb::handle ctx, nb::handle data,
                   nb::handle indices, nb::handle indptr) {
  const StorageType storage = storage_type_from_name(stype);
  NDArray array = NDArray::sparse(storage, to_shape(shape.ptr(), "shape"), to_dtype(dtype.ptr()), to_device(ctx.ptr()));
  SparseParts& parts = array.parts();  // fresh: nobody else can see it yet
  parts.resize(static_cast<int64_t>(nb::len(indices)));
  const size_t count = static_cast<size_t>(parts.count());
  Contents(data).copy_to(parts.values(), count * static_cast<size_t>(parts.width()) * size_of(parts.dtype()), "data");
  Contents(indices).copy_to(parts.indices(), count * sizeof(int64_t), "indices");
  if (storage == StorageType::csr) {
    Contents(indptr).copy_to(parts.indptr(), static_cast<size_t>(parts.rows() + 1) * sizeof(int64_t), "indptr");
  }
  sparse::check(parts);
  return array;
}

// A copy of 'data', 'indices' or 'indptr', which waits.
NDArray part(const NDArray& array, const std::string& name) {
  if (array.is_none() || !array.is_sparse()) fail(ErrorKind::type, "only sparse arrays have ", name);
  wait_for_values(array);
  const SparseParts& p = array.parts();
  if (name == "data") {
    Shape shape{p.count()};
    for (int i = 1; i < p.shape().rank() && p.storage() == StorageType::row_sparse; ++i) shape.push_back(p.shape()[i]);
    return NDArray::from_memory(p.values(), shape, p.dtype(), array.device());
  }
  if (name == "indptr") return NDArray::from_memory(p.indptr(), Shape{p.rows() + 1}, DType::i64, array.device());
  return NDArray::from_memory(p.indices(), Shape{p.count()}, DType::i64, array.device());
}

// The rows of a csr array with the given numbers, in their order; waits.
NDArray csr_rows(const NDArray& array, const std::vector<int64_t>& rows) {
  if (array.is_none() || array.storage() != StorageType::csr) fail(ErrorKind::type, "only csr arrays have such rows");
  wait_for_values(array);
  const SparseParts& from = array.parts();
  NDArray result = NDArray::sparse(StorageType::csr, {static_cast<int64_t>(rows.size()), from.shape()[1]}, from.dtype(),
                                   array.device());
  SparseParts& to = result.parts();  // fresh: nobody else can see it yet
  int64_t count = 0;
  for (const int64_t row : rows) {
    if (row < 0 || row >= from.rows()) {
      fail(ErrorKind::index, "row ", row, " is out of range for a csr array of shape ", from.shape());
    }
    count += from.indptr()[row + 1] - from.indptr()[row];
  }
  to.resize(count);
  const size_t size = size_of(from.dtype());
  int64_t at = 0;
  to.indptr()[0] = 0;
  for (size_t r = 0; r < rows.size(); ++r) {
    const int64_t begin = from.indptr()[rows[r]], n = from.indptr()[rows[r] + 1] - begin;
    std::copy_n(from.indices() + begin, n, to.indices() + at);
    std::memcpy(static_cast<char*>(to.values()) + static_cast<size_t>(at) * size,
                static_cast<const char*>(from.values()) + static_cast<size_t>(begin) * size,
                static_cast<size_t>(n) * size);
    at += n;
    to.indptr()[r + 1] = at;
  }
  return result;
}

}  // namespace

void bind_sparse(nb::module_& m) {
  m.def("set_sparse_classes",
        [](nb::handle row_sparse, nb::handle csr) { set_sparse_classes(row_sparse.ptr(), csr.ptr()); });
  m.def(
      "sparse_zeros",
      [](const std::string& stype, nb::handle shape, nb::handle dtype, nb::handle ctx) {
        return NDArray::sparse(storage_type_from_name(stype), to_shape(shape.ptr(), "shape"), to_dtype(dtype.ptr()),
                               to_device(ctx.ptr()));
      },
      nb::arg("stype"), nb::arg("shape"), nb::arg("dtype").none(), nb::arg("ctx").none());
  m.def("sparse_from_parts", &from_parts, nb::arg("stype"), nb::arg("shape"), nb::arg("dtype"), nb::arg("ctx").none(),
        nb::arg("data"), nb::arg("indices"), nb::arg("indptr").none());
  m.def("sparse_part", &part);
  m.def("csr_rows", &csr_rows);
  m.def("sparse_check", [](const NDArray& array) {
    wait_for_values(array);
    sparse::check(array.parts());
  });
}

}  // namespace mxnet::python
