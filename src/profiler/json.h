// SPDX-License-Identifier: Apache-2.0
// Trace events as JSON: private to this folder.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "profiler/profiler.h"

namespace mxnet::profiler {

struct Event {
  const observe::Label* label;
  const char* scope;  // null: none
  int64_t begin;      // ns
  int64_t end;        // ns, or see Kind
  Kind kind;
};

// Objects separated by commas and line ends.
class EventWriter {
 public:
  explicit EventWriter(pid_t pid) : pid_(pid) {}
  void introduce_process();
  void introduce_thread(pid_t tid, const std::string& name);
  void write(const Event& event, pid_t tid);
  std::string take() { return std::move(text_); }

 private:
  void open(const std::string& name, const char* phase, pid_t tid);
  void close() { text_ += '}'; }
  void key(const char* name);
  void string(const std::string& value);
  void number(int64_t value) { text_ += std::to_string(value); }
  void time(const char* name, int64_t ns);  // in microseconds
  void arguments(const Event& event);

  const pid_t pid_;
  std::string text_;
};

}  // namespace mxnet::profiler
