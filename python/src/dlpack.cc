// SPDX-License-Identifier: Apache-2.0
#include "dlpack.h"

#include <memory>

#include "convert.h"
#include "ndarray.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

// The DLPack ABI, version 0.8 (the unversioned capsule that every library reads).
struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kBool = 6 };
constexpr int32_t kCpu = 1;

DLDataType type_of(DType dtype) {
  const auto bits = static_cast<uint8_t>(8 * size_of(dtype));
  switch (dtype) {
    case DType::i8:
    case DType::i32:
    case DType::i64: return {kInt, bits, 1};
    case DType::u8: return {kUInt, bits, 1};
    case DType::bf16: return {kBfloat, bits, 1};
    case DType::boolean: return {kBool, bits, 1};
    default: return {kFloat, bits, 1};
  }
}

DType dtype_of_dl(DLDataType t) {
  for (DType dtype : {DType::f32, DType::f64, DType::f16, DType::bf16, DType::u8, DType::i8, DType::i32, DType::i64,
                      DType::boolean}) {
    const DLDataType own = type_of(dtype);
    if (own.code == t.code && own.bits == t.bits && t.lanes == 1) return dtype;
  }
  fail(ErrorKind::type, "from_dlpack: element type with code ", int(t.code), ", ", int(t.bits), " bits and ", t.lanes,
       " lanes is not supported");
}

struct Held {
  DLManagedTensor managed;
  NDArray array;
  Shape strides;
};

void destroy_capsule(PyObject* capsule) {
  if (!PyCapsule_IsValid(capsule, "dltensor")) return;  // taken over by a consumer
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  managed->deleter(managed);
}

// A capsule that owns a reference to the chunk. Exported memory stays in plain layout for good.
nb::object to_dlpack(NDArray array, bool for_write) {
  require_dense(array, "DLPack");
  array.make_plain(true);
  {
    const ReleaseGil unlocked;
    if (for_write)
      array.wait_to_write();
    else
      array.wait_to_read();
  }
  array.chunk()->begin_writable_export();  // a capsule cannot forbid its taker to write
  auto held = std::make_unique<Held>();
  held->array = array.detached();
  held->strides = strides_of(array.shape());
  DLTensor& t = held->managed.tensor;
  t.data = array.data();
  t.device = {kCpu, 0};
  t.ndim = array.shape().rank();
  t.dtype = type_of(array.dtype());
  t.shape = const_cast<int64_t*>(held->array.shape().data());
  t.strides = held->strides.data();
  t.byte_offset = 0;
  held->managed.context = held.get();
  held->managed.deleter = [](DLManagedTensor* m) {
    auto* owner = static_cast<Held*>(m->context);
    owner->array.chunk()->end_writable_export();
    delete owner;
  };
  PyRef capsule = checked(PyCapsule_New(&held.release()->managed, "dltensor", destroy_capsule));
  return nb::steal(capsule.take());
}

bool contiguous(const DLTensor& t) {
  if (!t.strides) return true;
  int64_t expected = 1;
  for (int i = t.ndim - 1; i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expected) return false;
    expected *= t.shape[i];
  }
  return true;
}

NDArray from_dlpack(nb::handle source) {
  nb::object capsule = nb::borrow(source);
  if (!PyCapsule_CheckExact(capsule.ptr())) {
    if (!nb::hasattr(source, "__dlpack__")) {
      fail(ErrorKind::type, "from_dlpack takes a DLPack capsule or an object with __dlpack__, got ",
           Py_TYPE(source.ptr())->tp_name);
    }
    capsule = source.attr("__dlpack__")();
  }
  if (!PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    fail(ErrorKind::value, "from_dlpack: the capsule is no unused 'dltensor' (each capsule can be taken once)");
  }
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  const DLTensor& t = managed->tensor;
  if (t.device.type != kCpu)
    fail(ErrorKind::value, "from_dlpack: only memory of the CPU can be taken, got device type ", t.device.type);
  if (t.ndim < 0 || t.ndim > Shape::kMaxRank)
    fail(ErrorKind::value, "from_dlpack: ", t.ndim, " dimensions are not supported");
  if (!contiguous(t)) fail(ErrorKind::value, "from_dlpack: the array is not contiguous; copy it first");
  const DType dtype = dtype_of_dl(t.dtype);
  const Shape shape(std::span<const dim_t>(t.shape, static_cast<size_t>(t.ndim)));
  const size_t bytes = static_cast<size_t>(shape.size()) * size_of(dtype);
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  Ref<Chunk> chunk = Chunk::foreign(static_cast<char*>(t.data) + t.byte_offset, bytes, Device{}, [managed] {
    if (managed->deleter) managed->deleter(managed);
  });
  return {std::move(chunk), shape, dtype};
}

// The memory of a C-contiguous numpy.ndarray; the array object lives as long as the chunk.
NDArray from_numpy(nb::handle source, nb::handle dtype) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(source.ptr(), &buffer, PyBUF_C_CONTIGUOUS) != 0) throw nb::python_error();
  void* data = buffer.buf;
  const auto bytes = static_cast<size_t>(buffer.len);
  PyBuffer_Release(&buffer);
  const Shape shape = to_shape(nb::object(source.attr("shape")).ptr(), "shape");
  PyObject* owner = source.ptr();
  Py_INCREF(owner);
  Ref<Chunk> chunk = Chunk::foreign(data, bytes, Device{}, [owner] { Py_DECREF(owner); });
  return {std::move(chunk), shape, to_dtype(dtype.ptr())};
}

}  // namespace

void bind_dlpack(nb::module_& m) {
  m.def("to_dlpack", &to_dlpack, nb::arg("array"), nb::arg("for_write"));
  m.def("from_dlpack", &from_dlpack, nb::arg("source"));
  m.def("from_numpy", &from_numpy, nb::arg("source"), nb::arg("dtype"));
}

}  // namespace mxnet::python
