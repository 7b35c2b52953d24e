// SPDX-License-Identifier: Apache-2.0
// Thin functions: check arguments, call the core, turn errors into a code and a text.
#include "mxnet/c_api.h"

#include <charconv>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "autograd/tape.h"
#include "base/error.h"
#include "engine/engine.h"
#include "ndarray/ndarray.h"
#include "operator/op.h"

struct MXNDArray {
  mxnet::NDArray array;
};

namespace mxnet::c_api {
namespace {

std::string& last_error() {
  thread_local std::string message;
  return message;
}

// Runs `body`; whatever it throws becomes the thread's last error.
template <typename F>
int guard(F body) noexcept {
  try {
    Engine::drain_deferred();
    body();
    return 0;
  } catch (const std::bad_alloc&) {
    last_error() = "out of memory";
  } catch (const std::exception& error) {
    last_error() = error.what();
  } catch (...) {
    last_error() = "unknown error";
  }
  return -1;
}

template <typename T>
T* given(T* pointer, const char* function, const char* argument) {
  if (!pointer) fail(ErrorKind::value, function, ": ", argument, " is NULL");
  return pointer;
}

DType checked_dtype(int dtype) {
  switch (dtype) {
    case MX_FLOAT32:
    case MX_FLOAT64:
    case MX_FLOAT16:
    case MX_UINT8:
    case MX_INT32:
    case MX_INT8:
    case MX_INT64:
    case MX_BOOL:
    case MX_BFLOAT16: return static_cast<DType>(dtype);
    default:
      fail(ErrorKind::type, "MXNDArrayCreate: dtype ", dtype, " is not an element type (see enum MX_FLOAT32...)");
  }
}

Device checked_device(int type, int id) {
  const bool known = type == MX_CPU || type == MX_GPU || type == MX_CPU_PINNED || type == MX_CPU_SHARED;
  if (!known) fail(ErrorKind::value, "dev_type ", type, " is not a device type (see enum MX_CPU...)");
  if (id < 0) fail(ErrorKind::value, "dev_id must not be negative, got ", id);
  return {static_cast<DeviceType>(type), id};
}

Shape checked_shape(const int64_t* shape, int ndim) {
  if (ndim < 0 || ndim > Shape::kMaxRank) {
    fail(ErrorKind::value, "MXNDArrayCreate: ndim must be from 0 to ", Shape::kMaxRank, ", got ", ndim);
  }
  if (ndim > 0) given(shape, "MXNDArrayCreate", "shape");
  for (int i = 0; i < ndim; ++i) {
    if (shape[i] < 0) fail(ErrorKind::value, "MXNDArrayCreate: shape[", i, "] is negative: ", shape[i]);
  }
  return Shape(std::span<const dim_t>(shape, static_cast<size_t>(ndim)));
}

void check_size(const NDArray& array, size_t size, const char* function) {
  if (size != static_cast<size_t>(array.size())) {
    fail(ErrorKind::value, function, ": the array has ", array.size(), " elements (shape ", array.shape(),
         "), size is ", size);
  }
}

// "cpu(0)", "gpu(1)", "cpu".
Device parse_device(const std::string& text) {
  const size_t paren = text.find('(');
  const std::string name = text.substr(0, paren);
  int id = 0;
  bool good = true;
  if (paren != std::string::npos) {
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(text.data() + paren + 1, last, id);
    good = error == std::errc() && end + 1 == last && *end == ')' && id >= 0;
  }
  for (DeviceType type : {DeviceType::cpu, DeviceType::gpu, DeviceType::cpu_pinned, DeviceType::cpu_shared}) {
    const std::string full = Device{type, 0}.str();
    if (good && name == full.substr(0, full.find('('))) return {type, id};
  }
  fail(ErrorKind::value, "ctx: \"", text, "\" is not a device like \"cpu(0)\"");
}

struct Arguments {
  Ref<Params> params;
  Device device;
};

Arguments parse(const OpDef& op, int n, const char* const* keys, const char* const* values) {
  if (n > 0) {
    given(keys, "MXInvokeOp", "keys");
    given(values, "MXInvokeOp", "values");
  }
  Arguments result;
  ParamMap map;
  for (int i = 0; i < n; ++i) {
    const std::string key = given(keys[i], "MXInvokeOp", "a key");
    const std::string value = given(values[i], "MXInvokeOp", "a value");
    if (key == "ctx") {
      result.device = parse_device(value);
    } else {
      map.emplace_back(key, value);
    }
  }
  result.params = op.params.parse(op.name, map);
  return result;
}

// New handles for `arrays`, listed where the thread's next call overwrites them.
MXNDArrayHandle* hand_out(std::vector<NDArray> arrays) {
  thread_local std::vector<MXNDArrayHandle> list;
  std::vector<std::unique_ptr<MXNDArray>> handles;
  for (NDArray& array : arrays) handles.push_back(std::make_unique<MXNDArray>(MXNDArray{std::move(array)}));
  list.clear();
  list.reserve(handles.size());
  for (auto& handle : handles) list.push_back(handle.release());
  return list.data();
}

void invoke(const OpDef& op, const Arguments& arguments, const std::vector<const NDArray*>& in, int* num_outputs,
            MXNDArrayHandle** outputs) {
  const int n = op.num_outputs(*arguments.params);
  std::vector<NDArray> out(static_cast<size_t>(n));
  if (*outputs) {
    if (*num_outputs != n) {
      fail(ErrorKind::value, op.name, ": the operator has ", n, " outputs, ", *num_outputs, " were given");
    }
    for (int i = 0; i < n; ++i) out[i] = given((*outputs)[i], "MXInvokeOp", "an output")->array;
    autograd::call(op, arguments.params, in, out, arguments.device);
    for (int i = 0; i < n; ++i) (*outputs)[i]->array = out[i];
    return;
  }
  autograd::call(op, arguments.params, in, out, arguments.device);
  *outputs = hand_out(std::move(out));
  *num_outputs = n;
}

const std::vector<const char*>& op_names() {
  static const std::vector<const char*> names = [] {
    static std::set<std::string> sorted;
    for (const OpDef* op : all_ops()) {
      if (op->flags.hidden) continue;
      sorted.insert(op->name);
      sorted.insert(op->aliases.begin(), op->aliases.end());
    }
    std::vector<const char*> list;
    for (const std::string& name : sorted) list.push_back(name.c_str());
    return list;
  }();
  return names;
}

int version_number() {
  int number = 0;
  int part = 0;
  for (const char* c = MXNET_VERSION; *c; ++c) {
    if (*c == '.') {
      number = number * 100 + part;
      part = 0;
    } else {
      part = part * 10 + (*c - '0');
    }
  }
  return number * 100 + part;
}

}  // namespace
}  // namespace mxnet::c_api

using namespace mxnet;
using namespace mxnet::c_api;

const char* MXGetLastError(void) { return last_error().c_str(); }

int MXGetVersion(int* out) {
  return guard([&] { *given(out, "MXGetVersion", "out") = version_number(); });
}

int MXNDArrayCreate(const int64_t* shape, int ndim, int dtype, int dev_type, int dev_id, MXNDArrayHandle* out) {
  return guard([&] {
    given(out, "MXNDArrayCreate", "out");
    const Shape dims = checked_shape(shape, ndim);
    *out = new MXNDArray{NDArray::empty(dims, checked_dtype(dtype), checked_device(dev_type, dev_id))};
  });
}

int MXNDArrayFree(MXNDArrayHandle handle) {
  return guard([&] { delete handle; });
}

int MXNDArrayGetShape(MXNDArrayHandle handle, int* out_ndim, const int64_t** out_shape) {
  return guard([&] {
    const Shape& shape = given(handle, "MXNDArrayGetShape", "handle")->array.shape();
    *given(out_ndim, "MXNDArrayGetShape", "out_ndim") = shape.rank();
    *given(out_shape, "MXNDArrayGetShape", "out_shape") = shape.data();
  });
}

int MXNDArrayGetDType(MXNDArrayHandle handle, int* out_dtype) {
  return guard([&] {
    const DType dtype = given(handle, "MXNDArrayGetDType", "handle")->array.dtype();
    *given(out_dtype, "MXNDArrayGetDType", "out_dtype") = static_cast<int>(dtype);
  });
}

int MXNDArrayGetDevice(MXNDArrayHandle handle, int* out_dev_type, int* out_dev_id) {
  return guard([&] {
    const Device device = given(handle, "MXNDArrayGetDevice", "handle")->array.device();
    *given(out_dev_type, "MXNDArrayGetDevice", "out_dev_type") = static_cast<int>(device.type);
    *given(out_dev_id, "MXNDArrayGetDevice", "out_dev_id") = device.id;
  });
}

int MXNDArraySyncCopyFromCPU(MXNDArrayHandle handle, const void* data, size_t size) {
  return guard([&] {
    const NDArray& array = given(handle, "MXNDArraySyncCopyFromCPU", "handle")->array;
    check_size(array, size, "MXNDArraySyncCopyFromCPU");
    autograd::check_writable(array, "MXNDArraySyncCopyFromCPU");
    if (size) array.copy_from_memory(given(data, "MXNDArraySyncCopyFromCPU", "data"));
  });
}

int MXNDArraySyncCopyToCPU(MXNDArrayHandle handle, void* data, size_t size) {
  return guard([&] {
    const NDArray& array = given(handle, "MXNDArraySyncCopyToCPU", "handle")->array;
    check_size(array, size, "MXNDArraySyncCopyToCPU");
    if (size) array.copy_to_memory(given(data, "MXNDArraySyncCopyToCPU", "data"));
  });
}

int MXNDArrayWaitToRead(MXNDArrayHandle handle) {
  return guard([&] { given(handle, "MXNDArrayWaitToRead", "handle")->array.wait_to_read(); });
}

int MXNDArrayWaitAll(void) {
  return guard([] { Engine::get().wait_all(); });
}

int MXListAllOpNames(int* out_size, const char* const** out_names) {
  return guard([&] {
    const std::vector<const char*>& names = op_names();
    *given(out_size, "MXListAllOpNames", "out_size") = static_cast<int>(names.size());
    *given(out_names, "MXListAllOpNames", "out_names") = names.data();
  });
}

int MXInvokeOp(const char* name, int num_inputs, const MXNDArrayHandle* inputs, int* num_outputs,
               MXNDArrayHandle** outputs, int num_params, const char* const* keys, const char* const* values) {
  return guard([&] {
    const OpDef& op = get_op(given(name, "MXInvokeOp", "name"));
    given(num_outputs, "MXInvokeOp", "num_outputs");
    given(outputs, "MXInvokeOp", "outputs");
    if (num_inputs > 0) given(inputs, "MXInvokeOp", "inputs");
    std::vector<const NDArray*> in;
    for (int i = 0; i < num_inputs; ++i) in.push_back(&given(inputs[i], "MXInvokeOp", "an input")->array);
    const Arguments arguments = parse(op, num_params, keys, values);
    invoke(op, arguments, in, num_outputs, outputs);
  });
}
