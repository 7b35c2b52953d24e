// SPDX-License-Identifier: Apache-2.0
// Errors are data: a kind that maps to one Python class, and one sentence that says what was wrong with which argument.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

namespace mxnet {

// Every kind derives from MXNetError in Python and, where there is one, from the fitting builtin as well.
enum class ErrorKind { generic, value, type, index, memory, attribute, not_supported, os };

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ~Error() override;  // the key function: keeps one type identity across shared libraries
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// Concatenates anything that has operator<<.
template <typename... Args>
std::string str(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

template <typename... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail(ErrorKind kind, const Args&... args) {
  throw Error(kind, str(args...));
}

template <typename... Args>
[[noreturn, gnu::cold, gnu::noinline]] void fail(const Args&... args) {
  throw Error(ErrorKind::generic, str(args...));
}

}  // namespace mxnet
