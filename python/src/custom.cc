// SPDX-License-Identifier: Apache-2.0
// Operators written in Python: mxnet.operator's bridge objects behind the core's interfaces.
#include "autograd/custom.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>
#include <unordered_set>

#include "autograd/tape.h"
#include "convert.h"
#include "custom.h"
#include "ndarray.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

ErrorKind kind_of(const nb::python_error& e) {
  if (e.matches(PyExc_TypeError)) return ErrorKind::type;
  if (e.matches(PyExc_ValueError)) return ErrorKind::value;
  if (e.matches(PyExc_IndexError)) return ErrorKind::index;
  if (e.matches(PyExc_AttributeError)) return ErrorKind::attribute;
  if (e.matches(PyExc_NotImplementedError)) return ErrorKind::not_supported;
  if (e.matches(PyExc_MemoryError)) return ErrorKind::memory;
  if (e.matches(PyExc_OSError)) return ErrorKind::os;
  return ErrorKind::generic;
}

// Runs Python code under the interpreter lock; what it raises goes on as an error of the core that tells where.
template <typename F>
auto in_python(F&& body) {
  const AcquireGil gil;
  try {
    return body();
  } catch (nb::python_error& e) {
    const ErrorKind kind = kind_of(e);
    std::string text = e.what();
    throw Error(kind, "in Python code:\n" + text);
  } catch (const PythonError&) {
    nb::python_error e;
    throw Error(kind_of(e), std::string("in Python code:\n") + e.what());
  } catch (const nb::cast_error&) {
    throw Error(ErrorKind::type, "Python code returned something of the wrong type");
  }
}

// A Python object that may die on any thread. The collector does not see that a graph holds it, so all are given up
// when the interpreter ends.
class Held {
 public:
  explicit Held(nb::object object) : object_(std::move(object)) {
    const std::lock_guard lock(mutex());
    all().insert(this);
  }
  ~Held() {
    PyObject* object = take();
    if (!object) return;
    if (PyGILState_Check())
      Py_DECREF(object);
    else
      Engine::defer_release([object] { Py_DECREF(object); });
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

  nb::handle get() const {
    if (!object_) fail("custom operators cannot run while the interpreter ends");
    return object_;
  }
  static void release_all() {
    std::vector<PyObject*> objects;
    {
      const std::lock_guard lock(mutex());
      for (Held* held : all()) objects.push_back(held->object_.release().ptr());
      all().clear();
    }
    for (PyObject* object : objects) Py_DECREF(object);
  }

 private:
  static std::mutex& mutex() {
    static auto* mutex = new std::mutex;
    return *mutex;
  }
  static std::unordered_set<Held*>& all() {
    static auto* set = new std::unordered_set<Held*>;
    return *set;
  }
  PyObject* take() {
    const std::lock_guard lock(mutex());
    all().erase(this);
    return object_.release().ptr();
  }

  nb::object object_;
};

nb::list list_of(std::span<const NDArray> arrays) {
  nb::list list;
  for (const NDArray& a : arrays) list.append(a.detached());
  return list;
}

class PythonOperator final : public autograd::CustomOperator {
 public:
  explicit PythonOperator(nb::object bridge) : bridge_(std::move(bridge)) {}

  void forward(const Forward& call) override {
    in_python([&] {
      bridge_.get().attr("forward")(call.training, list_of(call.in), list_of(call.out), list_of(call.states));
    });
  }
  void backward(const Backward& call) override {
    in_python([&] {
      static constexpr const char* words[] = {"null", "write", "add"};
      nb::list req;
      for (const Req r : call.req) req.append(nb::str(words[static_cast<size_t>(r)]));
      bridge_.get().attr("backward")(req, list_of(call.heads), list_of(call.in), list_of(call.out), list_of(call.grads),
                                     list_of(call.states));
    });
  }

 private:
  Held bridge_;
};

// Unknown ranks and dimensions are () and 0 for the program, as everywhere in the older API; where everything is known
// a 0 is an empty dimension.
nb::list shapes_out(std::span<const Shape> shapes) {
  nb::list list;
  for (const Shape& shape : shapes) {
    nb::list dims;
    if (shape.rank_known()) {
      for (const dim_t d : shape) dims.append(d < 0 ? 0 : d);
    }
    list.append(dims);
  }
  return list;
}

void shapes_in(nb::handle list, std::span<Shape> shapes, bool complete) {
  for (size_t i = 0; i < shapes.size(); ++i) {
    const nb::object given = list[i];
    Shape shape;
    for (nb::handle dim : given) {
      const int64_t d = nb::cast<int64_t>(dim);
      shape.push_back(d < 0 || (d == 0 && !complete) ? -1 : d);
    }
    shapes[i] = shape.rank() == 0 && !complete ? Shape::unknown() : shape;
  }
}

nb::list dtypes_out(std::span<const DType> dtypes) {
  nb::list list;
  for (const DType t : dtypes) {
    if (t == DType::unknown)
      list.append(nb::none());
    else
      list.append(nb::steal(dtype_object(t).take()));
  }
  return list;
}

void dtypes_in(nb::handle list, std::span<DType> dtypes) {
  for (size_t i = 0; i < dtypes.size(); ++i) {
    const nb::object given = list[i];
    dtypes[i] = given.is_none() ? DType::unknown : to_dtype(given.ptr());
  }
}

class PythonProp final : public autograd::CustomProp {
 public:
  explicit PythonProp(nb::object bridge) : bridge_(bridge) {
    arguments = nb::cast<std::vector<std::string>>(bridge.attr("arguments"));
    outputs = nb::cast<std::vector<std::string>>(bridge.attr("outputs"));
    states = nb::cast<std::vector<std::string>>(bridge.attr("states"));
    needs_heads = nb::cast<bool>(bridge.attr("needs_heads"));
    reads_in = nb::cast<std::vector<bool>>(bridge.attr("reads_in"));
    reads_out = nb::cast<std::vector<bool>>(bridge.attr("reads_out"));
  }

  void infer_shape(std::span<Shape> in, std::span<Shape> out, std::span<Shape> of_states) override {
    const bool complete = std::all_of(in.begin(), in.end(), [](const Shape& s) { return s.known(); });
    in_python([&] {
      const nb::object lists = bridge_.get().attr("infer_shape")(shapes_out(in));
      shapes_in(nb::object(lists[0]), in, complete);
      shapes_in(nb::object(lists[1]), out, complete);
      shapes_in(nb::object(lists[2]), of_states, complete);
    });
  }
  void infer_dtype(std::span<DType> in, std::span<DType> out, std::span<DType> of_states) override {
    in_python([&] {
      const nb::object lists = bridge_.get().attr("infer_type")(dtypes_out(in));
      dtypes_in(nb::object(lists[0]), in);
      dtypes_in(nb::object(lists[1]), out);
      dtypes_in(nb::object(lists[2]), of_states);
    });
  }
  void infer_storage(std::span<StorageType> in, std::span<StorageType> out) override {
    in_python([&] {
      nb::list given;
      for (const StorageType type : in) given.append(nb::str(name_of(type)));
      const nb::object lists = bridge_.get().attr("infer_storage_type")(given);
      const auto fill = [&](std::span<StorageType> types, int list) {
        for (size_t i = 0; i < types.size(); ++i) {
          types[i] = storage_type_from_name(nb::cast<std::string>(nb::object(nb::object(lists[list])[i])));
        }
      };
      fill(in, 0);
      fill(out, 1);
    });
  }
  Ref<autograd::CustomOperator> create(Device device, std::span<const Shape> shapes,
                                       std::span<const DType> dtypes) override {
    return in_python([&] {
      nb::list numbers;  // of the dtypes, as programs know them from here
      for (const DType t : dtypes) numbers.append(static_cast<int>(t));
      const nb::object context = nb::steal(device_object(device).take());
      nb::object made = bridge_.get().attr("create")(context, shapes_out(shapes), numbers);
      return Ref<autograd::CustomOperator>(new PythonOperator(std::move(made)));
    });
  }

 private:
  Held bridge_;
};

Ref<autograd::CustomProp> make_prop(const std::string& op_type, const autograd::Keywords& keywords) {
  return in_python([&] {
    nb::dict dict;
    for (const auto& [key, text] : keywords) dict[nb::str(key.c_str())] = nb::str(text.c_str());
    nb::object bridge = nb::module_::import_("mxnet.operator").attr("_PropBridge")(op_type, dict);
    return Ref<autograd::CustomProp>(new PythonProp(std::move(bridge)));
  });
}

}  // namespace

void release_custom() { Held::release_all(); }

void bind_custom(nb::module_& module) {
  autograd::set_custom_factory(make_prop);
  // Calls an operator on arrays with parameters as text.
  module.def(
      "call_with_text",
      [](const std::string& name, const std::vector<NDArray>& inputs,
         const std::vector<std::pair<std::string, std::string>>& texts, nb::object given) {
        const OpDef& op = get_op(name);
        const Ref<Params> params = op.params.parse(op.name, ParamMap(texts.begin(), texts.end()));
        std::vector<const NDArray*> in;
        for (const NDArray& a : inputs) in.push_back(&a);
        std::vector<NDArray> out(static_cast<size_t>(op.num_outputs(*params)));
        if (!given.is_none() && nb::len(given) != out.size()) {
          fail(ErrorKind::value, op.name, ": out holds ", nb::len(given), " arrays, the operator has ", out.size(),
               " outputs");
        }
        for (size_t i = 0; i < out.size() && !given.is_none(); ++i) {
          out[i] = expect_ndarray(nb::object(given[i]).ptr(), "out");
        }
        autograd::call(op, params, in, out, current_device());
        nb::list results;
        for (size_t i = 0; i < out.size(); ++i) {
          if (given.is_none()) {
            results.append(std::move(out[i]));
            continue;
          }
          const nb::object item = given[i];
          unwrap(item.ptr()).attach(out[i].attachment());
          results.append(item);
        }
        return results;
      },
      nb::arg("name"), nb::arg("inputs"), nb::arg("texts"), nb::arg("out").none());
  // The names of a custom operator's inputs, states last.
  module.def("custom_inputs", [](const std::vector<std::pair<std::string, std::string>>& texts) {
    const OpDef& op = get_op("Custom");
    const Ref<Params> params = op.params.parse(op.name, ParamMap(texts.begin(), texts.end()));
    return op.inputs.names_of(*params);
  });
}

}  // namespace mxnet::python
