// SPDX-License-Identifier: Apache-2.0
#include "op_function.h"

#include <structmember.h>

#include <array>
#include <vector>

#include "autograd/tape.h"
#include "base/small_array.h"
#include "convert.h"
#include "ndarray.h"
#include "operator/op.h"

namespace mxnet::python {
namespace {

// What a keyword means to one operator.
// device_param: the parameter `ctx` of creation operators, which also places the result.
enum class Slot : uint8_t { input, param, out, device, device_param, ignored };
struct Keyword {
  PyObject* name;  // interned
  Slot slot;
  int index;
};

// Parameters parsed for an earlier call, found again by the identity of the argument objects: a call in a loop passes
// the same small integers, strings and constant tuples each time.
struct Remembered {
  std::vector<std::pair<int, PyObject*>> given;  // field, strong reference to an immutable object
  Ref<Params> params;
  bool matches(const std::pair<int, PyObject*>* list, size_t n) const {
    if (given.size() != n) return false;
    for (size_t i = 0; i < n; ++i) {
      if (given[i].first != list[i].first || given[i].second != list[i].second) return false;
    }
    return true;
  }
};

struct State {
  const OpDef* op;
  std::vector<Keyword> keywords;
  std::array<Remembered, 4> recent;
  size_t next = 0;
};

struct OpFunction {
  PyObject_HEAD vectorcallfunc call;
  State* state;
  PyObject* name;
  PyObject* doc;
  PyObject* module;
  PyObject* dict;
};

PyObject* null_object = nullptr;

bool immutable(PyObject* object) {
  if (object == Py_None || PyLong_CheckExact(object) || PyFloat_CheckExact(object) || PyUnicode_CheckExact(object) ||
      PyBool_Check(object) || PyType_Check(object)) {
    return true;
  }
  if (!PyTuple_CheckExact(object)) return false;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(object); ++i) {
    if (!immutable(PyTuple_GET_ITEM(object, i))) return false;
  }
  return true;
}

// The arguments of one call, sorted.
struct Call {
  explicit Call(size_t most_inputs, size_t most_params) : inputs(most_inputs), params(most_params) {}
  SmallArray<PyObject*, 8> inputs;
  size_t n_inputs = 0;
  SmallArray<std::pair<int, PyObject*>, 8> params;
  size_t n_params = 0;
  PyObject* out = nullptr;
  PyObject* device = nullptr;
};

const Keyword* find_keyword(const State& state, PyObject* name) {
  for (const Keyword& k : state.keywords) {
    if (k.name == name) return &k;
  }
  for (const Keyword& k : state.keywords) {
    if (PyUnicode_Compare(k.name, name) == 0) return &k;
  }
  return nullptr;
}

void put_input(const State& state, Call& call, size_t index, PyObject* value) {
  if (index < call.n_inputs && call.inputs[index]) {
    fail(ErrorKind::type, state.op->name, ": input ", state.op->inputs.names[index], " is given twice");
  }
  call.inputs[index] = value;
  call.n_inputs = std::max(call.n_inputs, index + 1);
}

void put_param(const State& state, Call& call, int field, PyObject* value) {
  if (value == null_object) return;
  for (size_t i = 0; i < call.n_params; ++i) {
    if (call.params[i].first == field) {
      fail(ErrorKind::type, state.op->name, ": parameter ", state.op->params.fields()[field].name, " is given twice");
    }
  }
  call.params[call.n_params++] = {field, value};
}

void sort_positional(const State& state, Call& call, PyObject* const* args, size_t n) {
  const OpDef& op = *state.op;
  if (op.inputs.is_variadic()) {
    // f(a, b, c) or f([a, b, c])
    if (n == 1 && (PyList_Check(args[0]) || PyTuple_Check(args[0]))) {
      const Py_ssize_t count = PySequence_Fast_GET_SIZE(args[0]);
      call.inputs = SmallArray<PyObject*, 8>(static_cast<size_t>(count));
      for (Py_ssize_t i = 0; i < count; ++i) {
        put_input(state, call, static_cast<size_t>(i), PySequence_Fast_GET_ITEM(args[0], i));
      }
      return;
    }
    for (size_t i = 0; i < n; ++i) put_input(state, call, i, args[i]);
    return;
  }
  const size_t most = op.inputs.names.size();
  size_t i = 0;
  for (; i < n && i < most; ++i) {
    // Trailing inputs that this call leaves out: the first argument that is no array starts the parameters.
    if (!is_ndarray(args[i]) && args[i] != Py_None && op.inputs.count) break;
    put_input(state, call, i, args[i]);
  }
  for (int field = 0; i < n; ++i, ++field) {
    if (field >= static_cast<int>(op.params.fields().size())) {
      fail(ErrorKind::type, op.name, ": takes at most ", most + op.params.fields().size(),
           " positional arguments, got ", n);
    }
    put_param(state, call, field, args[i]);
  }
}

void sort_keywords(const State& state, Call& call, PyObject* names, PyObject* const* values) {
  const Py_ssize_t n = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    const Keyword* keyword = find_keyword(state, name);
    if (!keyword) {
      const std::string text = to_string(name, "keyword");
      const OpDef& op = *state.op;
      if (op.params.ignores(text)) continue;
      const std::string& stem = op.inputs.variadic_stem;
      if (op.inputs.is_variadic() && text.starts_with(stem) && is_ndarray(values[i])) {
        put_input(state, call, static_cast<size_t>(std::strtoul(text.c_str() + stem.size(), nullptr, 10)), values[i]);
        continue;
      }
      std::string known;
      for (const Keyword& k : state.keywords) known += (known.empty() ? "" : ", ") + to_string(k.name, "keyword");
      fail(ErrorKind::type, op.name, ": there is no argument ", text, "; it takes ", known);
    }
    switch (keyword->slot) {
      case Slot::input: put_input(state, call, static_cast<size_t>(keyword->index), values[i]); break;
      case Slot::param: put_param(state, call, keyword->index, values[i]); break;
      case Slot::out: call.out = values[i] == Py_None ? nullptr : values[i]; break;
      case Slot::device: call.device = values[i]; break;
      case Slot::device_param:
        call.device = values[i];
        put_param(state, call, keyword->index, values[i]);
        break;
      case Slot::ignored: break;
    }
  }
}

Ref<Params> parse_params(State& state, const Call& call) {
  const OpDef& op = *state.op;
  if (call.n_params == 0 && op.params.defaults()) return op.params.defaults();
  for (const Remembered& r : state.recent) {
    if (r.params && r.matches(call.params.data(), call.n_params)) return r.params;
  }
  Ref<Params> params = op.params.create();
  std::vector<bool> seen(op.params.fields().size());
  bool keep = true;
  for (size_t i = 0; i < call.n_params; ++i) {
    const auto [field, value] = call.params[i];
    op.params.set(op.name, *params, field, to_param(value));
    seen[static_cast<size_t>(field)] = true;
    keep = keep && immutable(value);
  }
  for (size_t i = 0; i < seen.size(); ++i) {
    const ParamField& field = op.params.fields()[i];
    if (field.is_required && !seen[i]) {
      if (field.name == op.inputs.variadic_param) continue;  // counted below
      fail(ErrorKind::type, op.name, ": parameter ", field.name, " (", field.type, ") is required");
    }
  }
  if (op.inputs.is_variadic()) {
    const int field = op.params.find(op.inputs.variadic_param);
    if (field >= 0 && !seen[static_cast<size_t>(field)]) {
      op.params.set(op.name, *params, field, static_cast<int64_t>(call.n_inputs));
      keep = false;
    }
  }
  op.params.finish(op.name, *params);
  if (keep) {
    Remembered& slot = state.recent[state.next++ % state.recent.size()];
    for (auto& [field, object] : slot.given) Py_DECREF(object);
    slot.given.assign(call.params.data(), call.params.data() + call.n_params);
    for (auto& [field, object] : slot.given) Py_INCREF(object);
    slot.params = params;
  }
  return params;
}

// Absent inputs at the end are dropped; one in the middle is an error.
size_t count_inputs(const Call& call) {
  size_t n = call.n_inputs;
  while (n > 0 && (!call.inputs[n - 1] || call.inputs[n - 1] == Py_None)) --n;
  return n;
}

PyObject* call_op(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* names) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    State& state = *reinterpret_cast<OpFunction*>(self)->state;
    const OpDef& op = *state.op;
    const size_t n = static_cast<size_t>(PyVectorcall_NARGS(nargsf));
    const size_t n_names = names ? static_cast<size_t>(PyTuple_GET_SIZE(names)) : 0;
    Call call(std::max(n + n_names, op.inputs.names.size()), n + n_names);
    sort_positional(state, call, args, n);
    sort_keywords(state, call, names, args + n);
    const size_t n_in = count_inputs(call);
    call.n_inputs = n_in;
    SmallArray<const NDArray*, 8> in(n_in);
    for (size_t i = 0; i < n_in; ++i) {
      PyObject* given = call.inputs[i];
      if (!given || !is_ndarray(given)) {
        fail(ErrorKind::type, op.name, ": input ",
             i < op.inputs.names.size() ? op.inputs.names[i] : op.inputs.variadic_stem + std::to_string(i),
             " must be an NDArray, got ", given ? Py_TYPE(given)->tp_name : "nothing");
      }
      in[i] = &unwrap(given);
    }
    const Ref<Params> params = parse_params(state, call);
    Device device;
    if (n_in == 0) device = call.device ? to_device(call.device) : current_device();

    const size_t n_out = static_cast<size_t>(op.num_outputs(*params));
    SmallArray<NDArray, 2> out(n_out);
    const bool list = call.out && (PyList_Check(call.out) || PyTuple_Check(call.out));
    if (call.out) {
      const size_t given = list ? static_cast<size_t>(PySequence_Fast_GET_SIZE(call.out)) : 1;
      if (given != n_out)
        fail(ErrorKind::value, op.name, ": out holds ", given, " arrays, the operator has ", n_out, " outputs");
      for (size_t i = 0; i < n_out; ++i) {
        PyObject* item = list ? PySequence_Fast_GET_ITEM(call.out, static_cast<Py_ssize_t>(i)) : call.out;
        out[i] = expect_ndarray(item, "out");
      }
    }
    autograd::call(op, params, in, out, device);
    if (call.out) {
      for (size_t i = 0; i < n_out; ++i) {
        PyObject* item = list ? PySequence_Fast_GET_ITEM(call.out, static_cast<Py_ssize_t>(i)) : call.out;
        unwrap(item).attach(out[i].attachment());
      }
      Py_INCREF(call.out);
      return call.out;
    }
    if (n_out == 1) return wrap(std::move(out[0]));
    PyRef result = checked(PyList_New(static_cast<Py_ssize_t>(n_out)));
    for (size_t i = 0; i < n_out; ++i)
      PyList_SET_ITEM(result.get(), static_cast<Py_ssize_t>(i), wrap(std::move(out[i])));
    return result.take();
  });
}

void add_keyword(State& state, const char* name, Slot slot, int index) {
  PyObject* interned = PyUnicode_InternFromString(name);
  if (!interned) throw PythonError{};
  for (const Keyword& k : state.keywords) {
    if (k.name == interned) {  // a parameter may be called like an input or like `ctx`: the first meaning stays
      Py_DECREF(interned);
      return;
    }
  }
  state.keywords.push_back({interned, slot, index});
}

// OpFunction(name, public_name=None, module=None, doc=None)
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
  return guard<PyObject*>(nullptr, [&]() -> PyObject* {
    const char* name;
    const char* public_name = nullptr;
    const char* module = "mxnet.ndarray";
    const char* doc = nullptr;
    if (!PyArg_ParseTuple(args, "s|zzz", &name, &public_name, &module, &doc)) throw PythonError{};
    const OpDef& op = get_op(name);
    auto* self = reinterpret_cast<OpFunction*>(type->tp_alloc(type, 0));
    if (!self) throw PythonError{};
    self->call = call_op;
    self->state = new State{&op, {}, {}, 0};
    self->name = PyUnicode_FromString(public_name ? public_name : name);
    self->module = PyUnicode_FromString(module ? module : "mxnet.ndarray");
    self->doc = PyUnicode_FromString(doc ? doc : op.doc.c_str());
    State& state = *self->state;
    for (size_t i = 0; i < op.inputs.names.size(); ++i) {
      add_keyword(state, op.inputs.names[i].c_str(), Slot::input, static_cast<int>(i));
    }
    for (size_t i = 0; i < op.params.fields().size(); ++i) {
      const std::string& field = op.params.fields()[i].name;
      add_keyword(state, field.c_str(), field == "ctx" ? Slot::device_param : Slot::param, static_cast<int>(i));
    }
    add_keyword(state, "out", Slot::out, 0);
    add_keyword(state, "ctx", Slot::device, 0);
    add_keyword(state, "name", Slot::ignored, 0);
    add_keyword(state, "attr", Slot::ignored, 0);
    return reinterpret_cast<PyObject*>(self);
  });
}

void dealloc(PyObject* object) {
  auto* self = reinterpret_cast<OpFunction*>(object);
  PyTypeObject* type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  for (Keyword& k : self->state->keywords) Py_DECREF(k.name);
  for (Remembered& r : self->state->recent) {
    for (auto& [field, given] : r.given) Py_DECREF(given);
  }
  delete self->state;
  Py_XDECREF(self->name);
  Py_XDECREF(self->doc);
  Py_XDECREF(self->module);
  Py_XDECREF(self->dict);
  type->tp_free(object);
  Py_DECREF(type);
}

int traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(reinterpret_cast<OpFunction*>(object)->dict);
  return 0;
}

// In a class, an operator is a method: its first input is the object.
PyObject* bind(PyObject* self, PyObject* object, PyObject*) {
  if (!object) {
    Py_INCREF(self);
    return self;
  }
  return PyMethod_New(self, object);
}

PyObject* repr(PyObject* object) {
  return PyUnicode_FromFormat("<function %U>", reinterpret_cast<OpFunction*>(object)->name);
}

PyMemberDef members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(OpFunction, call), READONLY, nullptr},
    {"__dictoffset__", T_PYSSIZET, offsetof(OpFunction, dict), READONLY, nullptr},
    {"__name__", T_OBJECT, offsetof(OpFunction, name), READONLY, nullptr},
    {"__qualname__", T_OBJECT, offsetof(OpFunction, name), READONLY, nullptr},
    {"__doc__", T_OBJECT, offsetof(OpFunction, doc), READONLY, nullptr},
    {"__module__", T_OBJECT, offsetof(OpFunction, module), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

// inspect.signature() and editors ask for this; it is built in Python from the parameter declarations.
PyObject* get_signature(PyObject* object, void*) {
  const PyRef module(PyImport_ImportModule("mxnet._core.ops"));
  if (!module) return nullptr;
  return PyObject_CallMethod(module.get(), "signature_of", "s",
                             reinterpret_cast<OpFunction*>(object)->state->op->name.c_str());
}

PyGetSetDef getset[] = {
    {"__signature__", get_signature, nullptr, nullptr, nullptr},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace

void set_null(PyObject* null) {
  Py_INCREF(null);
  null_object = null;
}

bool add_op_function_type(PyObject* module) {
  static PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(create)},
      {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
      {Py_tp_descr_get, reinterpret_cast<void*>(bind)},
      {Py_tp_repr, reinterpret_cast<void*>(repr)},
      {Py_tp_members, members},
      {Py_tp_getset, getset},
      {0, nullptr},
  };
  static PyType_Spec spec = {
      "mxnet._core._ext.OpFunction", sizeof(OpFunction), 0,
      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR, slots};
  const PyRef type(PyType_FromSpec(&spec));
  return type && PyModule_AddObjectRef(module, "OpFunction", type.get()) == 0;
}

}  // namespace mxnet::python
