// SPDX-License-Identifier: Apache-2.0
#include "operator/params.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace mxnet {
namespace {

using param_detail::Choices;

std::string_view trim(std::string_view s) {
  const auto blank = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

bool parse_int(std::string_view s, int64_t& out) {
  if (s.size() > 1 && s.back() == 'L') s.remove_suffix(1);  // a long of Python 2, in old files
  if (!s.empty() && s.front() == '+') s.remove_prefix(1);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out);
  return error == std::errc() && end == s.data() + s.size() && !s.empty();
}

bool parse_double(std::string_view s, double& out) {
  if (!s.empty() && s.front() == '+') s.remove_prefix(1);
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out);
  if (error == std::errc::result_out_of_range) {
    out = s.front() == '-' ? -HUGE_VAL : HUGE_VAL;
    return true;
  }
  return error == std::errc() && end == s.data() + s.size() && !s.empty();
}

// The Python literals that attribute texts consist of; anything else stays a string.
ParamValue parse_literal(std::string_view text, int depth = 0);

ParamValue parse_sequence(std::string_view body, int depth) {
  ParamList items;
  int level = 0;
  size_t start = 0;
  for (size_t i = 0; i <= body.size(); ++i) {
    if (i == body.size() || (body[i] == ',' && level == 0)) {
      const std::string_view item = trim(body.substr(start, i - start));
      if (!item.empty()) items.push_back(parse_literal(item, depth + 1));
      start = i + 1;
    } else if (body[i] == '(' || body[i] == '[') {
      ++level;
    } else if (body[i] == ')' || body[i] == ']') {
      --level;
    }
  }
  return items;
}

ParamValue parse_literal(std::string_view text, int depth) {
  const std::string_view s = trim(text);
  if (s == "None") return {};
  if (s == "True" || s == "true") return true;
  if (s == "False" || s == "false") return false;
  int64_t i;
  if (parse_int(s, i)) return i;
  double d;
  if (parse_double(s, d)) return d;
  const bool bracketed =
      s.size() >= 2 && ((s.front() == '(' && s.back() == ')') || (s.front() == '[' && s.back() == ']'));
  if (bracketed && depth < 8) return parse_sequence(s.substr(1, s.size() - 2), depth);
  return std::string(s);
}

// Strings are read as literals so that every field sees one of the other kinds.
ParamValue literal(const ParamValue& v) {
  if (const auto* text = std::get_if<std::string>(&v)) return parse_literal(*text);
  return v;
}

[[noreturn]] void expected(const char* what, const ParamValue& got) {
  fail(ErrorKind::value, "expected ", what, ", got ", param_text(got));
}

int64_t to_int(const ParamValue& given, const char* what = "an integer") {
  const ParamValue v = literal(given);
  if (const auto* i = std::get_if<int64_t>(&v)) return *i;
  if (const auto* b = std::get_if<bool>(&v)) return *b;
  if (const auto* d = std::get_if<double>(&v)) {
    if (std::floor(*d) == *d && std::fabs(*d) < 9e18) return static_cast<int64_t>(*d);
  }
  expected(what, given);
}

double to_double(const ParamValue& given) {
  const ParamValue v = literal(given);
  if (const auto* d = std::get_if<double>(&v)) return *d;
  if (const auto* i = std::get_if<int64_t>(&v)) return static_cast<double>(*i);
  if (const auto* b = std::get_if<bool>(&v)) return *b;
  expected("a number", given);
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

// The double whose shortest text is the float's: 0.9f is 0.9, not 0.8999999761581421.
double shortest_double(float value) {
  if (!std::isfinite(value)) return value;
  char buffer[40];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  double parsed = value;
  std::from_chars(buffer, result.ptr, parsed);
  return parsed;
}

}  // namespace

void KeyBuilder::add(std::string_view text) {
  add(text.size());
  for (size_t i = 0; i < text.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + i, std::min<size_t>(8, text.size() - i));
    add(word);
  }
}

std::string param_text(const ParamValue& value) {
  struct Printer {
    std::string operator()(std::monostate) const { return "None"; }
    std::string operator()(bool b) const { return b ? "True" : "False"; }
    std::string operator()(int64_t i) const { return std::to_string(i); }
    std::string operator()(double d) const { return float_text(d); }
    std::string operator()(const std::string& s) const { return s; }
    std::string operator()(DType t) const { return name_of(t); }
    std::string operator()(const ParamList& list) const {
      std::string out = "(";
      for (size_t i = 0; i < list.size(); ++i) out += (i ? ", " : "") + param_text(list[i]);
      return out + (list.size() == 1 ? ",)" : ")");
    }
  };
  return std::visit(Printer{}, static_cast<const ParamValue::variant&>(value));
}

// ---- schema -------------------------------------------------------------------------------------------------------

int ParamSchema::find(std::string_view name) const {
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].name == name) return static_cast<int>(i);
  }
  return -1;
}

bool ParamSchema::ignores(std::string_view name) const {
  if (name.size() > 4 && name.starts_with("__") && name.ends_with("__")) return true;
  return std::find(ignored_.begin(), ignored_.end(), name) != ignored_.end();
}

void ParamSchema::make_defaults() {
  for (const ParamField& field : fields_) {
    if (field.is_required) return;
  }
  defaults_ = create();
  KeyBuilder key;
  for (const ParamField& field : fields_) {
    if (!field.is_runtime) field.add_key(defaults_->raw(), key);
  }
  defaults_->key_ = key.take();
}

void ParamSchema::set(std::string_view op, Params& params, int field, const ParamValue& value) const {
  try {
    fields_[field].set(params.raw(), value);
  } catch (const Error& e) {
    fail(e.kind(), op, ": parameter ", fields_[field].name, " (", fields_[field].type, "): ", e.what());
  }
}

void ParamSchema::finish(std::string_view op, Params& params) const {
  try {
    for (const auto& check : checks_) check(params.raw());
  } catch (const Error& e) {
    fail(e.kind(), op, ": ", e.what());
  }
  KeyBuilder key;
  for (const ParamField& field : fields_) {
    if (!field.is_runtime) field.add_key(params.raw(), key);
  }
  params.key_ = key.take();
}

// A field named "*" takes what is not declared, as a list of pairs of name and value.
Ref<Params> ParamSchema::parse(std::string_view op, const ParamMap& given) const {
  if (given.empty() && defaults_) return defaults_;
  Ref<Params> params = create();
  std::vector<bool> seen(fields_.size());
  const int rest = find("*");
  ParamList undeclared;
  for (const auto& [name, value] : given) {
    const int i = find(name);
    if (i < 0 || i == rest) {
      if (ignores(name)) continue;
      if (rest >= 0) {
        undeclared.push_back(ParamList{name, value});
        continue;
      }
      std::string known;
      for (const ParamField& field : fields_) known += (known.empty() ? "" : ", ") + field.name;
      fail(ErrorKind::type, op, ": there is no parameter ", name, "; it takes ", known.empty() ? "none" : known);
    }
    set(op, *params, i, value);
    seen[i] = true;
  }
  if (!undeclared.empty()) set(op, *params, rest, undeclared);
  for (size_t i = 0; i < fields_.size(); ++i) {
    if (fields_[i].is_required && !seen[i]) {
      fail(ErrorKind::type, op, ": parameter ", fields_[i].name, " (", fields_[i].type, ") is required");
    }
  }
  finish(op, *params);
  return params;
}

std::vector<std::pair<std::string, std::string>> ParamSchema::to_text(const Params& params) const {
  std::vector<std::pair<std::string, std::string>> out;
  for (const ParamField& field : fields_) {
    const ParamValue value = field.get(params.raw());
    if (field.name != "*") {
      out.emplace_back(field.name, param_text(value));
      continue;
    }
    for (const ParamValue& pair : std::get<ParamList>(value)) {
      const auto& item = std::get<ParamList>(pair);
      out.emplace_back(std::get<std::string>(item[0]), param_text(item[1]));
    }
  }
  return out;
}

// ---- codecs -------------------------------------------------------------------------------------------------------

namespace param_detail {

int64_t parse_choice(const Choices& choices, const ParamValue& value) {
  const std::string word = param_text(value);
  for (const auto& [name, v] : choices) {
    if (name == word) return v;
  }
  fail(ErrorKind::value, "expected one of ", choice_type(choices), ", got ", word);
}

ParamValue print_choice(const Choices& choices, int64_t value) {
  for (const auto& [word, v] : choices) {
    if (v != value) continue;
    if (word == "None") return {};
    return word;
  }
  return {};
}

std::string choice_type(const Choices& choices) {
  std::string out = "{";
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::string& word = choices[i].first;
    out += (i ? ", " : "") + (word == "None" ? word : "'" + word + "'");
  }
  return out + "}";
}

void check_range(const ParamField& field, const ParamValue& value, double low, double high) {
  if (value.is_none()) return;
  const double v = to_double(value);
  if (!(v >= low && v <= high)) {
    fail(ErrorKind::value, "parameter ", field.name, " must be in [", float_text(low), ", ", float_text(high),
         "], got ", param_text(value));
  }
}

#define MXNET_CODEC(T, TYPE_NAME, PARSE, PRINT, KEY) \
  template <>                                        \
  T Codec<T>::parse(const ParamValue& v) {           \
    PARSE                                            \
  }                                                  \
  template <>                                        \
  ParamValue Codec<T>::print(const T& v) {           \
    PRINT                                            \
  }                                                  \
  template <>                                        \
  void Codec<T>::key(const T& v, KeyBuilder& k) {    \
    KEY                                              \
  }                                                  \
  template <>                                        \
  const char* Codec<T>::type_name() {                \
    return TYPE_NAME;                                \
  }

MXNET_CODEC(
    bool, "boolean",
    {
      const ParamValue w = literal(v);
      if (const auto* b = std::get_if<bool>(&w)) return *b;
      return to_int(w, "a boolean") != 0;
    },
    return v;
    , k.add(v);)
MXNET_CODEC(int64_t, "long", return to_int(v);, return v;, k.add(static_cast<uint64_t>(v));)
MXNET_CODEC(
    int, "int",
    {
      const int64_t i = to_int(v);
      if (i < std::numeric_limits<int>::min() || i > std::numeric_limits<int>::max()) expected("a 32-bit integer", v);
      return static_cast<int>(i);
    },
    return static_cast<int64_t>(v);
    , k.add(static_cast<uint64_t>(v));)
MXNET_CODEC(double, "double", return to_double(v);, return v;, k.add(std::bit_cast<uint64_t>(v));)
MXNET_CODEC(float, "float", return static_cast<float>(to_double(v));, return shortest_double(v);
            , k.add(std::bit_cast<uint32_t>(v));)
MXNET_CODEC(std::string, "string", return param_text(v);, return v;, k.add(std::string_view(v));)
MXNET_CODEC(
    DType, "dtype",
    {
      if (const auto* t = std::get_if<DType>(&v)) return *t;
      const DType t = dtype_from_name(param_text(v));
      if (t == DType::unknown) expected("a dtype name such as 'float32'", v);
      return t;
    },
    return v;
    , k.add(static_cast<uint64_t>(v));)
MXNET_CODEC(
    Shape, "Shape(tuple)",
    {
      const ParamValue w = literal(v);
      Shape shape;
      if (const auto* list = std::get_if<ParamList>(&w)) {
        for (const ParamValue& item : *list) shape.push_back(to_int(item, "a tuple of integers"));
      } else if (w.is_none()) {
        shape = Shape::unknown();
      } else {
        shape.push_back(to_int(w, "a tuple of integers"));
      }
      return shape;
    },
    {
      if (!v.rank_known()) return {};
      ParamList list;
      for (dim_t d : v) list.push_back(d);
      return list;
    },
    {
      k.add(static_cast<uint64_t>(v.rank()));
      for (dim_t d : v) k.add(static_cast<uint64_t>(d));
    })
MXNET_CODEC(
    OptionalTuple, "Shape(tuple)",
    {
      const ParamValue w = literal(v);
      OptionalTuple tuple;
      const auto item = [](const ParamValue& x) -> std::optional<int64_t> {
        if (x.is_none()) return std::nullopt;
        return to_int(x, "a tuple of integers and None");
      };
      if (const auto* list = std::get_if<ParamList>(&w)) {
        for (const ParamValue& x : *list) tuple.push_back(item(x));
      } else {
        tuple.push_back(item(w));
      }
      return tuple;
    },
    {
      ParamList list;
      for (const auto& item : v) list.push_back(item ? ParamValue(*item) : ParamValue());
      return list;
    },
    {
      k.add(v.size());
      for (const auto& item : v) {
        k.add(item.has_value());
        k.add(static_cast<uint64_t>(item.value_or(0)));
      }
    })
MXNET_CODEC(
    FloatTuple, "tuple of <float>",
    {
      const ParamValue w = literal(v);
      FloatTuple tuple;
      if (const auto* list = std::get_if<ParamList>(&w)) {
        for (const ParamValue& x : *list) tuple.push_back(to_double(x));
      } else {
        tuple.push_back(to_double(w));
      }
      return tuple;
    },
    {
      ParamList list;
      for (double d : v) list.push_back(d);
      return list;
    },
    {
      k.add(v.size());
      for (double d : v) k.add(std::bit_cast<uint64_t>(d));
    })
MXNET_CODEC(
    Scalar, "double",
    {
      const ParamValue w = literal(v);
      if (const auto* i = std::get_if<int64_t>(&w)) return *i;
      if (const auto* b = std::get_if<bool>(&w)) return *b;
      return to_double(w);
    },
    return std::visit([](auto x) { return ParamValue(x); }, v);
    ,
    {
      k.add(v.index());
      k.add(std::bit_cast<uint64_t>(scalar_to_double(v)));
    })

template <typename T>
struct OptionalCodec {
  static std::optional<T> parse(const ParamValue& v) {
    if (v.is_none()) return std::nullopt;
    if (const auto* text = std::get_if<std::string>(&v); text && trim(*text) == "None") return std::nullopt;
    return Codec<T>::parse(v);
  }
  static ParamValue print(const std::optional<T>& v) { return v ? Codec<T>::print(*v) : ParamValue(); }
  static void key(const std::optional<T>& v, KeyBuilder& k) {
    k.add(v.has_value());
    if (v) Codec<T>::key(*v, k);
  }
};

#define MXNET_OPTIONAL_CODEC(T, TYPE_NAME)                                                                        \
  MXNET_CODEC(std::optional<T>, TYPE_NAME, return OptionalCodec<T>::parse(v);, return OptionalCodec<T>::print(v); \
              , OptionalCodec<T>::key(v, k);)
MXNET_OPTIONAL_CODEC(bool, "boolean or None")
MXNET_OPTIONAL_CODEC(int, "int or None")
MXNET_OPTIONAL_CODEC(int64_t, "long or None")
MXNET_OPTIONAL_CODEC(float, "float or None")
MXNET_OPTIONAL_CODEC(double, "double or None")
MXNET_OPTIONAL_CODEC(Shape, "Shape or None")
MXNET_OPTIONAL_CODEC(DType, "dtype or None")
MXNET_OPTIONAL_CODEC(std::string, "string or None")

}  // namespace param_detail
}  // namespace mxnet
