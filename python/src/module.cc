// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext: what Python needs of the core. The public package is built from it in Python.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "autograd.h"
#include "backend/cpu/isa.h"
#include "cached_op.h"
#include "convert.h"
#include "custom.h"
#include "dlpack.h"
#include "ndarray.h"
#include "ndarray/serialize.h"
#include "op_function.h"
#include "operator/invoke.h"
#include "operator/op.h"
#include "precision.h"
#include "resource/random.h"
#include "sparse.h"
#include "storage/storage.h"
#include "symbol.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

nb::object steal(PyRef ref) { return nb::steal(ref.take()); }

// Polled while a thread waits without the interpreter lock, so that Ctrl-C ends the wait.
bool interrupted() {
#if PY_VERSION_HEX >= 0x030D0000
  if (Py_IsFinalizing()) return false;
#else
  if (_Py_IsFinalizing()) return false;
#endif
  const AcquireGil lock;
  return PyErr_CheckSignals() != 0;
}

nb::dict describe_op(const std::string& name) {
  const OpDef& op = get_op(name);
  nb::list params;
  for (const ParamField& field : op.params.fields()) {
    nb::dict p;
    p["name"] = field.name;
    p["type"] = field.type;
    p["doc"] = field.doc;
    p["required"] = field.is_required;
    p["default"] = field.is_required ? nb::object(nb::none()) : nb::object(nb::str(field.default_text.c_str()));
    params.append(p);
  }
  nb::dict out;
  out["name"] = op.name;
  out["doc"] = op.doc;
  out["aliases"] = op.aliases;
  out["inputs"] = op.inputs.names;
  out["variadic"] = op.inputs.is_variadic() || (op.inputs.names.empty() && op.inputs.names_of);
  out["variadic_param"] = op.inputs.variadic_param;
  out["variable_inputs"] = static_cast<bool>(op.inputs.count);
  out["mutated"] = op.inputs.mutated;
  out["auxiliary"] = op.inputs.auxiliary;
  out["params"] = params;
  if (op.outputs.count)
    out["num_outputs"] = nb::none();
  else
    out["num_outputs"] = op.outputs.fixed;
  out["hidden"] = op.flags.hidden;
  out["random"] = op.flags.random;
  out["differentiable"] = op.gradient.fn != nullptr;
  nb::list kernels;
  for (const KernelDef& k : op.kernels) kernels.append(k.name);
  out["kernels"] = kernels;
  return out;
}

nb::list list_ops() {
  nb::list names;
  for (const OpDef* op : all_ops()) {
    if (op->flags.hidden) continue;
    names.append(op->name);
    for (const std::string& alias : op->aliases) names.append(alias);
  }
  return names;
}

nb::bytes save(nb::handle arrays, const std::vector<std::string>& names) {
  ArrayFile file;
  for (nb::handle item : arrays) file.arrays.push_back(item.is_none() ? NDArray() : expect_ndarray(item.ptr(), "save"));
  file.names = names;
  std::string bytes;
  {
    const ReleaseGil unlocked;
    bytes = save_arrays(file);
  }
  return nb::bytes(bytes.data(), bytes.size());
}

nb::tuple load(nb::handle source) {
  Py_buffer buffer;
  if (PyObject_GetBuffer(source.ptr(), &buffer, PyBUF_SIMPLE) != 0) throw nb::python_error();
  ArrayFile file;
  std::exception_ptr error;
  {
    const ReleaseGil unlocked;
    try {
      file = load_arrays(buffer.buf, static_cast<size_t>(buffer.len));
    } catch (...) {
      error = std::current_exception();
    }
  }
  PyBuffer_Release(&buffer);
  if (error) std::rethrow_exception(error);
  nb::list arrays;
  for (NDArray& a : file.arrays) arrays.append(std::move(a));
  return nb::make_tuple(arrays, file.names);
}

nb::dict storage_stats(nb::handle device) {
  const storage::Stats s = storage::stats(to_device(device.ptr()));
  nb::dict out;
  out["in_use"] = s.in_use;
  out["cached"] = s.cached;
  out["peak"] = s.peak;
  out["limit"] = s.limit;
  out["allocations"] = s.allocations;
  out["system_allocations"] = s.system_allocations;
  return out;
}

void bind_arrays(nb::module_& m) {
  m.def(
      "empty",
      [](nb::handle shape, nb::handle dtype, nb::handle ctx) {
        return NDArray::empty(to_shape(shape.ptr(), "shape"), to_dtype(dtype.ptr()), to_device(ctx.ptr()));
      },
      nb::arg("shape"), nb::arg("dtype").none(), nb::arg("ctx").none());
  // A copy of a numpy.ndarray, converted to `dtype`.
  m.def(
      "array",
      [](nb::handle source, nb::handle dtype, nb::handle ctx) {
        return from_numpy_copy(source.ptr(), to_dtype(dtype.ptr()), to_device(ctx.ptr()));
      },
      nb::arg("source"), nb::arg("dtype").none(), nb::arg("ctx").none());
  // The shape that Reshape's special codes mean for an array of shape `from`.
  m.def("reshaped", [](nb::handle from, nb::handle codes, bool reverse) {
    const OpDef& op = get_op("Reshape");
    const Ref<Params> params = op.params.parse(op.name, {{"shape", to_param(codes.ptr())}, {"reverse", reverse}});
    const TensorSpec in{to_shape(from.ptr(), "shape"), DType::f32, Layout::plain};
    return steal(shape_tuple(infer_outputs(op, *params, std::span<const TensorSpec>(&in, 1))[0].shape));
  });
  m.def(
      "dtype_name", [](nb::handle dtype) { return std::string(name_of(to_dtype(dtype.ptr()))); },
      nb::arg("dtype").none());
  m.def("dtype_class", [](const std::string& name) {
    const DType dtype = dtype_from_name(name);
    if (dtype == DType::unknown) fail(ErrorKind::type, "there is no dtype ", name);
    return steal(dtype_object(dtype));
  });
  m.def("save", &save);
  m.def("load", &load);
  m.def("share_memory", [](NDArray array) {  // of a cpu_shared array: (name, bytes, offset)
    require_dense(array, "sharing memory between processes");
    array.wait_to_read();
    return nb::make_tuple(storage::share(array.chunk()->block), array.chunk()->bytes, array.byte_offset());
  });
  m.def("attach_memory", [](const std::string& name, size_t bytes, nb::handle shape, nb::handle dtype, int64_t offset) {
    const Device device{DeviceType::cpu_shared, 0};
    const storage::Block block = storage::attach(name, bytes, device);
    Ref<Chunk> chunk = Chunk::adopt(block, bytes, device);
    return NDArray(std::move(chunk), to_shape(shape.ptr(), "shape"), to_dtype(dtype.ptr()), offset);
  });
}

void bind_runtime(nb::module_& m) {
  m.def("waitall", [] {
    Engine::drain_deferred();
    const ReleaseGil unlocked;
    Engine::get().wait_all();
  });
  m.def("quiesce", [] {
    const ReleaseGil unlocked;
    Engine::get().quiesce();
  });
  m.def("shutdown", [] {
    {
      const ReleaseGil unlocked;
      Engine::get().shutdown();
    }
    Engine::drain_deferred();
    release_custom();
  });
  m.def("pending", [] { return Engine::get().pending(); });
  m.def("seed", [](uint64_t seed) { random::seed(seed); });
  m.def("seed_device", [](uint64_t seed, nb::handle ctx) { random::seed(seed, to_device(ctx.ptr())); });
  m.def("storage_stats", &storage_stats, nb::arg("ctx").none());
  m.def("storage_trim", &storage::trim);
  m.def("storage_reset_peak", [](nb::handle ctx) { storage::reset_peak(to_device(ctx.ptr())); }, nb::arg("ctx").none());
  m.def(
      "storage_set_limit", [](nb::handle ctx, int64_t bytes) { storage::set_limit(to_device(ctx.ptr()), bytes); },
      nb::arg("ctx").none(), nb::arg("bytes"));
  m.def("list_ops", &list_ops);
  m.def("op_info", &describe_op);
  m.def("has_op", [](const std::string& name) { return find_op(name) != nullptr; });
  m.def("isa", [] {
    switch (cpu::isa()) {
      case cpu::Isa::avx512: return "avx512";
      case cpu::Isa::avx2: return "avx2";
      case cpu::Isa::sse42: return "sse42";
      default: return "generic";
    }
  });
}

}  // namespace
}  // namespace mxnet::python

NB_MODULE(_ext, m) {
  using namespace mxnet::python;
  nb::register_exception_translator([](const std::exception_ptr& error, void*) {
    try {
      std::rethrow_exception(error);
    } catch (const nb::python_error&) {
      throw;
    } catch (const nb::builtin_exception&) {
      throw;
    } catch (...) {
      translate_exception();
    }
  });
  if (!add_ndarray_type(m.ptr()) || !add_op_function_type(m.ptr()) || !add_cached_op_type(m.ptr()) ||
      !add_bound_graph_type(m.ptr())) {
    throw nb::python_error();
  }
  m.def("set_error_classes", [](nb::handle classes) { set_error_classes(classes.ptr()); });
  m.def("set_ndarray_class", [](nb::handle cls) { set_ndarray_class(cls.ptr()); });
  m.def("set_null", [](nb::handle null) { set_null(null.ptr()); });
  m.def("set_context", [](nb::handle cls, nb::handle current) { set_context(cls.ptr(), current.ptr()); });
  bind_arrays(m);
  bind_runtime(m);
  bind_autograd(m);
  bind_custom(m);
  bind_dlpack(m);
  bind_sparse(m);
  bind_symbol(m);
  bind_precision(m);
  bind_executor(m);
  bind_profiler(m);
  mxnet::Engine::get().set_wait_hook(&interrupted);
  // A thread that sleeps in the engine while it holds the interpreter lock (a push at the run-ahead bound, a fork)
  // lends the lock out: queued callbacks need it.
  mxnet::Engine::get().set_sleep_hooks(
      []() -> void* { return Py_IsInitialized() && PyGILState_Check() ? PyEval_SaveThread() : nullptr; },
      [](void* state) {
        if (state) PyEval_RestoreThread(static_cast<PyThreadState*>(state));
      });
}
