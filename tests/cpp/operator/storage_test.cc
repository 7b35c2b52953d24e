// SPDX-License-Identifier: Apache-2.0
// Storage types in calls: kernels that resize what they write, requests, overlap, and the way through dense copies.
#include "operator/storage.h"

#include <doctest/doctest.h>

#include <vector>

#include "base/error.h"
#include "ndarray/sparse.h"

namespace mxnet {
namespace {

NDArray rows(const std::vector<int64_t>& indices, float value, int64_t count = 6) {
  NDArray array = NDArray::sparse(StorageType::row_sparse, Shape{count, 2}, DType::f32);
  SparseParts& parts = array.parts();
  parts.resize(static_cast<int64_t>(indices.size()));
  std::copy(indices.begin(), indices.end(), parts.indices());
  std::fill_n(static_cast<float*>(parts.values()), 2 * indices.size(), value);
  return array;
}

std::vector<float> dense(const NDArray& array) {
  std::vector<float> values(static_cast<size_t>(array.size()));
  array.copy_to_memory(values.data());
  return values;
}

std::vector<int64_t> indices(const NDArray& array) {
  array.wait_to_read();
  return {array.parts().indices(), array.parts().indices() + array.parts().count()};
}

void run(const char* name, std::vector<const NDArray*> in, NDArray& out, Req req = Req::write) {
  const OpDef& op = get_op(name);
  InvokeOptions options;
  options.req = {&req, 1};
  invoke(op, op.params.defaults(), in, {&out, 1}, options);
}

TEST_CASE("a kernel resizes its output; the same array may be input and output") {
  NDArray a = rows({1, 4}, 1), b = rows({0, 4}, 2), out;
  run("elemwise_add", {&a, &b}, out);
  CHECK(out.storage() == StorageType::row_sparse);
  CHECK(indices(out) == std::vector<int64_t>{0, 1, 4});
  CHECK(dense(out) == std::vector<float>{2, 2, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0});
  run("elemwise_add", {&out, &b}, out);
  CHECK(dense(out) == std::vector<float>{4, 4, 1, 1, 0, 0, 0, 0, 5, 5, 0, 0});
}

TEST_CASE("an add request merges rows, from sparse and from dense results") {
  NDArray a = rows({1}, 1), b = rows({3}, 2), out = rows({1, 5}, 10);
  run("elemwise_add", {&a, &b}, out, Req::add);
  CHECK(indices(out) == std::vector<int64_t>{1, 3, 5});
  NDArray ones = NDArray::zeros(Shape{6, 2}, DType::f32);
  ones.fill(1);
  run("square", {&ones}, out, Req::add);  // no sparse form: through a dense copy
  CHECK(dense(out) == std::vector<float>{1, 1, 12, 12, 1, 1, 3, 3, 1, 1, 11, 11});
}

TEST_CASE("copies between storage types, and into a dense sum") {
  NDArray a = rows({2}, 3), out = NDArray::zeros(Shape{6, 2}, DType::f32);
  run("_copy", {&a}, out);
  run("_copy", {&a}, out, Req::add);
  CHECK(dense(out) == std::vector<float>{0, 0, 0, 0, 6, 6, 0, 0, 0, 0, 0, 0});
  NDArray csr = NDArray::sparse(StorageType::csr, Shape{6, 2}, DType::f64);
  csr.copy_from(out);
  csr.wait_to_read();
  sparse::check(csr.parts());
  CHECK(csr.parts().count() == 2);
  CHECK(csr.parts().indptr()[6] == 2);
  NDArray back = NDArray::sparse(StorageType::row_sparse, Shape{6, 2}, DType::f32);
  back.copy_from(csr);
  CHECK(indices(back) == std::vector<int64_t>{2});
  back.fill(0);
  CHECK(indices(back).empty());
}

TEST_CASE("sparse arrays have no views, and bad indices are told of") {
  const NDArray a = rows({2}, 3);
  CHECK_THROWS_AS(a.view(Shape{12}), Error);
  CHECK_THROWS_AS(a.slice(0, 1), Error);
  CHECK_THROWS_AS(a.at(0), Error);
  CHECK_THROWS_AS(a.fill(1), Error);
  CHECK_THROWS_AS(sparse::check(rows({3, 2}, 1).parts()), Error);
  CHECK_THROWS_AS(sparse::check(rows({6}, 1).parts()), Error);
  CHECK_THROWS_AS(NDArray::sparse(StorageType::csr, Shape{2, 2, 2}, DType::f32), Error);
}

}  // namespace
}  // namespace mxnet
