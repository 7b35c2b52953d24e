// SPDX-License-Identifier: Apache-2.0
#include "symbol/json.h"

#include <charconv>
#include <cstdio>

#include "base/error.h"

namespace mxnet::json {

namespace {

constexpr int kMaxDepth = 256;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value document() {
    Value value = element(0);
    skip_space();
    if (at_ < text_.size()) error("expected the end of the text");
    return value;
  }

 private:
  [[noreturn]] void error(const std::string& what) const {
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at_ && i < text_.size(); ++i) {
      if (text_[i] == '\n')
        ++line, column = 1;
      else
        ++column;
    }
    fail(ErrorKind::value, "line ", line, ", column ", column, ": ", what);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) {
      ++at_;
    }
  }
  bool accept(char c) {
    skip_space();
    if (peek() != c || at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  bool accept_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  Value element(int depth) {
    if (depth > kMaxDepth) error("nested too deeply");
    skip_space();
    switch (peek()) {
      case '{': return object(depth);
      case '[': return array(depth);
      case '"': return string();
      case 't':
        if (accept_word("true")) return true;
        break;
      case 'f':
        if (accept_word("false")) return false;
        break;
      case 'n':
        if (accept_word("null")) return {};
        break;
      default: return number();
    }
    error("expected a value");
  }

  Value object(int depth) {
    ++at_;
    Object members;
    if (accept('}')) return members;
    while (true) {
      skip_space();
      if (peek() != '"') error("expected a member's name in quotation marks");
      std::string name = string();
      if (!accept(':')) error("expected ':' after a member's name");
      members.emplace_back(std::move(name), element(depth + 1));
      if (accept('}')) return members;
      if (!accept(',')) error("expected ',' or '}' in an object");
    }
  }

  Value array(int depth) {
    ++at_;
    Array items;
    if (accept(']')) return items;
    while (true) {
      items.push_back(element(depth + 1));
      if (accept(']')) return items;
      if (!accept(',')) error("expected ',' or ']' in an array");
    }
  }

  Value number() {
    const char* first = text_.data() + at_;
    const char* last = text_.data() + text_.size();
    int64_t integer = 0;
    const auto [int_end, int_error] = std::from_chars(first, last, integer);
    double real = 0;
    const auto [real_end, real_error] = std::from_chars(first, last, real);
    if (real_end == first) error("expected a value");
    at_ = static_cast<size_t>(real_end - text_.data());
    if (int_error == std::errc() && int_end == real_end) return integer;
    if (real_error != std::errc()) error("number out of range");
    return real;
  }

  uint32_t hex4() {
    uint32_t code = 0;
    const char* first = text_.data() + at_;
    if (at_ + 4 > text_.size() || std::from_chars(first, first + 4, code, 16).ptr != first + 4) {
      error("expected four hexadecimal digits after \\u");
    }
    at_ += 4;
    return code;
  }

  static void append_utf8(std::string& out, uint32_t code) {
    const auto put = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xC0 | code >> 6), put(0x80 | (code & 63));
    } else if (code < 0x10000) {
      put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
    } else {
      put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 63)), put(0x80 | (code >> 6 & 63)), put(0x80 | (code & 63));
    }
  }

  void escape(std::string& out) {
    const char c = peek();
    ++at_;
    switch (c) {
      case '"':
      case '\\':
      case '/': out.push_back(c); return;
      case 'b': out.push_back('\b'); return;
      case 'f': out.push_back('\f'); return;
      case 'n': out.push_back('\n'); return;
      case 'r': out.push_back('\r'); return;
      case 't': out.push_back('\t'); return;
      case 'u': break;
      default: --at_; error("unknown escape in a string");
    }
    uint32_t code = hex4();
    if (code >= 0xD800 && code < 0xDC00 && accept_word("\\u")) {
      const uint32_t low = hex4();
      if (low < 0xDC00 || low > 0xDFFF) error("a high surrogate must be followed by a low one");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code <= 0xDFFF) {
      error("a surrogate without its other half");
    }
    append_utf8(out, code);
  }

  std::string string() {
    ++at_;
    std::string out;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return out;
      if (c == '\\')
        escape(out);
      else
        out.push_back(c);
    }
    error("a string without its closing quotation mark");
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Value* Value::find(std::string_view key) const {
  if (const Object* members = object()) {
    for (const auto& [name, value] : *members) {
      if (name == key) return &value;
    }
  }
  return nullptr;
}

Value parse(std::string_view text) { return Parser(text).document(); }

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          char code[8];
          std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
          out += code;
        } else {
          out.push_back(c);
        }
    }
  }
  return out + "\"";
}

}  // namespace mxnet::json
