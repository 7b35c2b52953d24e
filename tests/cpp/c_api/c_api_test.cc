// SPDX-License-Identifier: Apache-2.0
#include <doctest.h>
#include <mxnet/c_api.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "c_api/program.h"

namespace {

std::string last_error() { return MXGetLastError(); }

// Whether the last error mentions every word.
bool error_says(std::initializer_list<std::string_view> words) {
  const std::string error = last_error();
  const bool all = std::all_of(words.begin(), words.end(), [&](auto word) { return error.find(word) != error.npos; });
  if (!all) MESSAGE("the error is: " << error);
  return all;
}

struct Array {
  explicit Array(std::vector<int64_t> shape, int dtype = MX_FLOAT32) {
    REQUIRE(MXNDArrayCreate(shape.data(), static_cast<int>(shape.size()), dtype, MX_CPU, 0, &handle) == 0);
  }
  ~Array() { MXNDArrayFree(handle); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  MXNDArrayHandle handle = nullptr;
};

int call(const char* op, std::vector<MXNDArrayHandle> in, MXNDArrayHandle** out, int* n,
         std::vector<std::pair<const char*, const char*>> params = {}) {
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (const auto& [key, value] : params) {
    keys.push_back(key);
    values.push_back(value);
  }
  return MXInvokeOp(op, static_cast<int>(in.size()), in.data(), n, out, static_cast<int>(keys.size()), keys.data(),
                    values.data());
}

TEST_CASE("c_api: a program in C computes through the library") {
  const char* problem = run_c_program();
  if (problem) MESSAGE(std::string(problem));
  CHECK(problem == nullptr);
}

TEST_CASE("c_api: the version is one number") {
  int version = 0;
  CHECK(MXGetVersion(&version) == 0);
  CHECK(version >= 20100);
}

TEST_CASE("c_api: operator names are sorted and offer aliases, but no hidden operators") {
  int n = 0;
  const char* const* names = nullptr;
  REQUIRE(MXListAllOpNames(&n, &names) == 0);
  const std::vector<std::string> list(names, names + n);
  CHECK(std::is_sorted(list.begin(), list.end()));
  CHECK(std::binary_search(list.begin(), list.end(), "FullyConnected"));
  CHECK(std::none_of(list.begin(), list.end(), [](const std::string& s) { return s.rfind("_backward", 0) == 0; }));
}

TEST_CASE("c_api: shape, type and device of an array") {
  Array array({2, 0, 3}, MX_INT64);
  int ndim = 0;
  const int64_t* shape = nullptr;
  CHECK(MXNDArrayGetShape(array.handle, &ndim, &shape) == 0);
  CHECK(std::vector<int64_t>(shape, shape + ndim) == std::vector<int64_t>{2, 0, 3});
  int dtype = -1;
  CHECK(MXNDArrayGetDType(array.handle, &dtype) == 0);
  CHECK(dtype == MX_INT64);
  int type = 0;
  int id = -1;
  CHECK(MXNDArrayGetDevice(array.handle, &type, &id) == 0);
  CHECK((type == MX_CPU && id == 0));
  CHECK(MXNDArraySyncCopyToCPU(array.handle, nullptr, 0) == 0);
}

TEST_CASE("c_api: an operator writes into a given output") {
  Array in({3});
  Array out({3});
  const float data[] = {1, -2, 3};
  REQUIRE(MXNDArraySyncCopyFromCPU(in.handle, data, 3) == 0);
  MXNDArrayHandle list[] = {out.handle};
  MXNDArrayHandle* outputs = list;
  int n = 1;
  REQUIRE(call("negative", {in.handle}, &outputs, &n) == 0);
  float result[3];
  REQUIRE(MXNDArraySyncCopyToCPU(out.handle, result, 3) == 0);
  CHECK((result[0] == -1 && result[1] == 2 && result[2] == -3));
}

TEST_CASE("c_api: an operator without inputs takes its device from ctx") {
  MXNDArrayHandle* outputs = nullptr;
  int n = 0;
  REQUIRE(call("_ones", {}, &outputs, &n, {{"shape", "(2, 2)"}, {"ctx", "cpu(1)"}}) == 0);
  REQUIRE(n == 1);
  int type = 0;
  int id = -1;
  CHECK(MXNDArrayGetDevice(outputs[0], &type, &id) == 0);
  CHECK((type == MX_CPU && id == 1));
  float result[4] = {};
  CHECK(MXNDArraySyncCopyToCPU(outputs[0], result, 4) == 0);
  CHECK(std::all_of(result, result + 4, [](float x) { return x == 1; }));
  MXNDArrayFree(outputs[0]);
  outputs = nullptr;
  n = 0;
  CHECK(call("_ones", {}, &outputs, &n, {{"shape", "(2,)"}, {"ctx", "cpu(x)"}}) == -1);
  CHECK(error_says({"cpu(x)"}));
}

TEST_CASE("c_api: what is wrong is said, and nothing else happens") {
  MXNDArrayHandle handle = nullptr;
  const int64_t negative[] = {2, -1};
  CHECK(MXNDArrayCreate(negative, 2, MX_FLOAT32, MX_CPU, 0, &handle) == -1);
  CHECK(error_says({"shape[1]", "-1"}));
  CHECK(MXNDArrayCreate(nullptr, 1, MX_FLOAT32, MX_CPU, 0, &handle) == -1);
  CHECK(error_says({"shape", "NULL"}));
  CHECK(MXNDArrayCreate(negative, 1000, MX_FLOAT32, MX_CPU, 0, &handle) == -1);
  CHECK(error_says({"ndim", "1000"}));
  const int64_t two[] = {2};
  CHECK(MXNDArrayCreate(two, 1, 99, MX_CPU, 0, &handle) == -1);
  CHECK(error_says({"dtype", "99"}));
  CHECK(MXNDArrayCreate(two, 1, MX_FLOAT32, 9, 0, &handle) == -1);
  CHECK(error_says({"dev_type", "9"}));
  CHECK(MXNDArrayCreate(two, 1, MX_FLOAT32, MX_GPU, 0, &handle) == -1);
  CHECK(error_says({"gpu"}));
  CHECK(handle == nullptr);

  Array array({2});
  float data[3] = {};
  CHECK(MXNDArraySyncCopyToCPU(array.handle, data, 3) == -1);
  CHECK(error_says({"2 elements", "3"}));
  CHECK(MXNDArrayWaitToRead(nullptr) == -1);
  CHECK(error_says({"handle", "NULL"}));

  MXNDArrayHandle* outputs = nullptr;
  int n = 0;
  CHECK(call("NoSuchOperator", {array.handle}, &outputs, &n) == -1);
  CHECK(error_says({"NoSuchOperator"}));
  CHECK(call("negative", {array.handle, array.handle}, &outputs, &n) == -1);
  CHECK(error_says({"negative"}));
  CHECK(call("FullyConnected", {array.handle}, &outputs, &n, {{"no_such", "1"}}) == -1);
  CHECK(error_says({"FullyConnected", "no_such"}));
  CHECK(outputs == nullptr);
}

}  // namespace
