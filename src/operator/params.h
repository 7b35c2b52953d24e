// SPDX-License-Identifier: Apache-2.0
// Operator parameters. A parameter struct is declared once, beside its operator; names, defaults, ranges,
// documentation, parsing of Python values and of text, printing and cache keys all come from that declaration:
//
//   struct PoolingParams {
//     Shape kernel;                                   // the member initializers are the defaults
//     PoolType pool_type = PoolType::max;
//     std::optional<int64_t> axis;                    // None allowed
//     static void declare(ParamSchemaOf<PoolingParams>& s) {
//       s.field("kernel", &PoolingParams::kernel, "Window size: (w,), (h, w) or (d, h, w).").required();
//       s.choice("pool_type", &PoolingParams::pool_type, {{"max", PoolType::max}, {"avg", PoolType::avg}}, "...");
//       s.field("axis", &PoolingParams::axis, "...").range(0, 10);
//     }
//   };
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/dtype.h"
#include "base/intrusive.h"
#include "base/shape.h"

namespace mxnet {

// A parameter value as a caller gives it, before its field parses it. Strings are what JSON files hold.
struct ParamValue;
using ParamList = std::vector<ParamValue>;
struct ParamValue : std::variant<std::monostate, bool, int64_t, double, std::string, ParamList, DType> {
  using variant::variant;
  bool is_none() const { return index() == 0; }
};
using ParamMap = std::vector<std::pair<std::string, ParamValue>>;

// A tuple with None in it, as slice's begin and end take.
using OptionalTuple = std::vector<std::optional<int64_t>>;
// A tuple of floating point numbers.
using FloatTuple = std::vector<double>;
// A scalar operand keeps its kind: `int32 + 1.5` and `int32 + 1` differ.
using Scalar = std::variant<int64_t, double, bool>;
inline double scalar_to_double(const Scalar& s) {
  return std::visit([](auto v) { return static_cast<double>(v); }, s);
}

// The words that a cache key is made of.
class KeyBuilder {
 public:
  void add(uint64_t word) { words_.push_back(word); }
  void add(std::string_view text);
  std::vector<uint64_t> take() { return std::move(words_); }

 private:
  std::vector<uint64_t> words_;
};

class ParamSchema;

// One parsed set of parameters. Immutable once parsed; shared by calls, tape nodes and plans.
class Params : public Counted<Params> {
 public:
  explicit Params(const ParamSchema* schema) : schema_(schema) {}
  virtual ~Params() = default;
  const ParamSchema& schema() const { return *schema_; }
  virtual void* raw() = 0;
  const void* raw() const { return const_cast<Params*>(this)->raw(); }
  // The struct; T must be the operator's declared type.
  template <typename T>
  const T& as() const {
    return *static_cast<const T*>(raw());
  }
  // Tells two sets apart in the cache of prepared kernels; run-time fields are left out.
  const std::vector<uint64_t>& key() const { return key_; }

 private:
  friend class ParamSchema;
  const ParamSchema* schema_;
  std::vector<uint64_t> key_;
};

struct ParamField {
  std::string name;
  std::string type;  // as 1.9.1 documents it: "int", "float", "boolean", "Shape(tuple)", "{'max', 'avg'}", ...
  std::string doc;
  std::string default_text;  // as it prints in a signature
  bool is_required = false;
  bool is_runtime = false;  // read by kernels at run time, so part of no key (learning rates, scalars)
  std::function<void(void*, const ParamValue&)> set;  // throws Error(value or type) without the operator's name
  std::function<ParamValue(const void*)> get;
  std::function<void(const void*, KeyBuilder&)> add_key;
};

class ParamSchema {
 public:
  virtual ~ParamSchema() = default;
  const std::vector<ParamField>& fields() const { return fields_; }
  int find(std::string_view name) const;  // -1 if there is none
  bool ignores(std::string_view name) const;
  virtual Ref<Params> create() const = 0;
  // All defaults; null where a field is required.
  const Ref<Params>& defaults() const { return defaults_; }

  // Parses and validates; `op` names the operator in errors. Unknown names raise; names like "__lr_mult__" are skipped.
  Ref<Params> parse(std::string_view op, const ParamMap& given) const;
  // Sets one field, naming operator and field in any error.
  void set(std::string_view op, Params& params, int field, const ParamValue& value) const;
  // After all fields are set: runs the declared checks and computes the key.
  void finish(std::string_view op, Params& params) const;
  // name -> text as JSON files hold it: "(2, 2)", "True", "0.5".
  std::vector<std::pair<std::string, std::string>> to_text(const Params& params) const;

 protected:
  void make_defaults();
  std::vector<ParamField> fields_;
  std::vector<std::string> ignored_;
  std::vector<std::function<void(const void*)>> checks_;
  Ref<Params> defaults_;
};

std::string param_text(const ParamValue& value);

namespace param_detail {

// Parsing, printing and key of one field type; params.cc specialises it for: bool, int, int64_t, float, double,
// std::string, DType, Shape (tuple of ints; an int is a 1-tuple), OptionalTuple, FloatTuple, Scalar, and
// std::optional of bool, int, int64_t, float, double, Shape, DType, std::string.
template <typename T>
struct Codec {
  static T parse(const ParamValue& value);
  static ParamValue print(const T& value);
  static void key(const T& value, KeyBuilder& key);
  static const char* type_name();
};

#define MXNET_DECLARE_CODEC(T)                         \
  template <>                                          \
  T Codec<T>::parse(const ParamValue& value);          \
  template <>                                          \
  ParamValue Codec<T>::print(const T& value);          \
  template <>                                          \
  void Codec<T>::key(const T& value, KeyBuilder& key); \
  template <>                                          \
  const char* Codec<T>::type_name();
MXNET_DECLARE_CODEC(bool)
MXNET_DECLARE_CODEC(int)
MXNET_DECLARE_CODEC(int64_t)
MXNET_DECLARE_CODEC(float)
MXNET_DECLARE_CODEC(double)
MXNET_DECLARE_CODEC(std::string)
MXNET_DECLARE_CODEC(DType)
MXNET_DECLARE_CODEC(Shape)
MXNET_DECLARE_CODEC(OptionalTuple)
MXNET_DECLARE_CODEC(FloatTuple)
MXNET_DECLARE_CODEC(Scalar)
MXNET_DECLARE_CODEC(std::optional<bool>)
MXNET_DECLARE_CODEC(std::optional<int>)
MXNET_DECLARE_CODEC(std::optional<int64_t>)
MXNET_DECLARE_CODEC(std::optional<float>)
MXNET_DECLARE_CODEC(std::optional<double>)
MXNET_DECLARE_CODEC(std::optional<Shape>)
MXNET_DECLARE_CODEC(std::optional<DType>)
MXNET_DECLARE_CODEC(std::optional<std::string>)
#undef MXNET_DECLARE_CODEC

using Choices = std::vector<std::pair<std::string, int64_t>>;
int64_t parse_choice(const Choices& choices, const ParamValue& value);
ParamValue print_choice(const Choices& choices, int64_t value);
std::string choice_type(const Choices& choices);
void check_range(const ParamField& field, const ParamValue& value, double low, double high);

}  // namespace param_detail

template <typename P>
class ParamSchemaOf final : public ParamSchema {
 public:
  class Field {
   public:
    Field(ParamSchemaOf* schema, size_t index) : schema_(schema), index_(index) {}
    Field& required() {
      get().is_required = true;
      return *this;
    }
    Field& runtime() {
      get().is_runtime = true;
      return *this;
    }
    Field& range(double low, double high) {  // inclusive
      schema_->checks_.push_back([schema = schema_, i = index_, low, high](const void* raw) {
        param_detail::check_range(schema->fields_[i], schema->fields_[i].get(raw), low, high);
      });
      return *this;
    }
    Field& type(std::string text) {
      get().type = std::move(text);
      return *this;
    }

   private:
    ParamField& get() { return schema_->fields_[index_]; }
    ParamSchemaOf* schema_;
    size_t index_;
  };

  ParamSchemaOf() {
    P::declare(*this);
    make_defaults();
  }

  template <typename T>
  Field field(std::string name, T P::* member, std::string doc) {
    using Codec = param_detail::Codec<T>;
    ParamField f;
    f.type = Codec::type_name();
    f.set = [member](void* raw, const ParamValue& v) { static_cast<P*>(raw)->*member = Codec::parse(v); };
    f.get = [member](const void* raw) { return Codec::print(static_cast<const P*>(raw)->*member); };
    f.add_key = [member](const void* raw, KeyBuilder& k) { Codec::key(static_cast<const P*>(raw)->*member, k); };
    return add(std::move(f), std::move(name), std::move(doc));
  }

  // One of a set of words. E is an enum; "None" is a word like any other.
  template <typename E>
  Field choice(std::string name, E P::* member, std::vector<std::pair<std::string, E>> named, std::string doc) {
    param_detail::Choices choices;
    for (auto& [word, value] : named) choices.emplace_back(word, static_cast<int64_t>(value));
    ParamField f;
    f.type = param_detail::choice_type(choices);
    f.set = [member, choices](void* raw, const ParamValue& v) {
      static_cast<P*>(raw)->*member = static_cast<E>(param_detail::parse_choice(choices, v));
    };
    f.get = [member, choices](const void* raw) {
      return param_detail::print_choice(choices, static_cast<int64_t>(static_cast<const P*>(raw)->*member));
    };
    f.add_key = [member](const void* raw, KeyBuilder& k) {
      k.add(static_cast<uint64_t>(static_cast<const P*>(raw)->*member));
    };
    return add(std::move(f), std::move(name), std::move(doc));
  }

  // Accepts and drops a name that programs and old files carry and that has no meaning here.
  void ignore(std::string name) { ignored_.push_back(std::move(name)); }
  // A check over the whole struct; throws Error(value).
  void validate(std::function<void(const P&)> f) {
    checks_.push_back([f = std::move(f)](const void* raw) { f(*static_cast<const P*>(raw)); });
  }

  Ref<Params> create() const override { return Ref<Params>(new Box(this)); }

 private:
  struct Box final : Params {
    using Params::Params;
    void* raw() override { return &value; }
    P value{};
  };

  Field add(ParamField f, std::string name, std::string doc) {
    const P defaults{};
    f.name = std::move(name);
    f.doc = std::move(doc);
    f.default_text = param_text(f.get(&defaults));
    fields_.push_back(std::move(f));
    return {this, fields_.size() - 1};
  }
};

struct NoParams {
  static void declare(ParamSchemaOf<NoParams>&) {}
};

// The one schema object of a parameter struct.
template <typename P>
const ParamSchema& schema_of() {
  static const ParamSchemaOf<P> schema;
  return schema;
}

// Parameters made in C++ (gradients, shortcuts): make_params<DotParams>({.transpose_a = true}).
template <typename P>
Ref<Params> make_params(P value = {}, std::string_view op = "internal call") {
  Ref<Params> params = schema_of<P>().create();
  *static_cast<P*>(params->raw()) = std::move(value);
  schema_of<P>().finish(op, *params);
  return params;
}

}  // namespace mxnet
