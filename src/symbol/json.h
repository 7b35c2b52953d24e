// SPDX-License-Identifier: Apache-2.0
// A small JSON reader and writer for symbol files. The reader accepts standard JSON, keeps the order of members, bounds
// depth, and reports line and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mxnet::json {

struct Value;
using Array = std::vector<Value>;
using Object = std::vector<std::pair<std::string, Value>>;

struct Value : std::variant<std::monostate, bool, int64_t, double, std::string, Array, Object> {
  using variant::variant;
  bool is_null() const { return index() == 0; }
  const Array* array() const { return std::get_if<Array>(this); }
  const Object* object() const { return std::get_if<Object>(this); }
  const std::string* string() const { return std::get_if<std::string>(this); }
  const int64_t* integer() const { return std::get_if<int64_t>(this); }
  const Value* find(std::string_view key) const;  // member of an object; null if there is none
};

// Throws Error(value): "line 3, column 7: expected ',' or '}'".
Value parse(std::string_view text);

std::string quoted(std::string_view text);  // with quotation marks and escapes

}  // namespace mxnet::json
