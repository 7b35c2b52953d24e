// SPDX-License-Identifier: Apache-2.0
#include "profiler/json.h"

#include "base/observe.h"

#include <atomic>
#include <cstdio>

namespace mxnet::profiler {

void EventWriter::string(const std::string& value) {
  text_ += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text_ += '\\';
      text_ += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      text_ += code;
    } else {
      text_ += c;
    }
  }
  text_ += '"';
}

void EventWriter::key(const char* name) {
  text_ += ", \"";
  text_ += name;
  text_ += "\": ";
}

void EventWriter::time(const char* name, int64_t ns) {
  char value[40];
  std::snprintf(value, sizeof value, "%lld.%03lld", static_cast<long long>(ns / 1000),
                static_cast<long long>(ns % 1000));
  key(name);
  text_ += value;
}

void EventWriter::open(const std::string& name, const char* phase, pid_t tid) {
  if (!text_.empty()) text_ += ",\n";
  text_ += "{\"name\": ";
  string(name);
  key("ph");
  string(phase);
  key("pid");
  number(pid_);
  key("tid");
  number(tid);
}

void EventWriter::introduce_process() {
  open("process_name", "M", pid_);
  key("args");
  text_ += "{\"name\": \"mxnet\"}";
  close();
}

void EventWriter::introduce_thread(pid_t tid, const std::string& name) {
  open("thread_name", "M", tid);
  key("args");
  text_ += "{\"name\": ";
  string(name);
  text_ += '}';
  close();
}

void EventWriter::arguments(const Event& event) {
  const observe::Label& label = *event.label;
  const std::pair<const char*, std::string> parts[] = {{"nodes", label.nodes},
                                                       {"operands", label.operands},
                                                       {"kernel", label.kernel},
                                                       {"refused", label.refusals},
                                                       {"scope", event.scope ? event.scope : ""}};
  std::string separator;
  key("args");
  text_ += '{';
  for (const auto& [name, value] : parts) {
    if (value.empty()) continue;
    text_ += separator + '"' + name + "\": ";
    string(value);
    separator = ", ";
  }
  text_ += '}';
}

void EventWriter::write(const Event& event, pid_t tid) {
  static std::atomic<int64_t> ids{0};
  const observe::Label& label = *event.label;
  const auto begin = [&](const char* phase, int64_t at) {
    open(label.name, phase, tid);
    key("cat");
    string(label.category);
    time("ts", at);
  };
  switch (event.kind) {
    case Kind::span:
      begin("X", event.begin);
      time("dur", event.end - event.begin);
      arguments(event);
      break;
    case Kind::async: {
      const int64_t id = ++ids;
      begin("b", event.begin);
      key("id");
      number(id);
      arguments(event);
      close();
      begin("e", event.end);
      key("id");
      number(id);
      break;
    }
    case Kind::instant:
      begin("i", event.begin);
      key("s");
      string(std::string(1, static_cast<char>(event.end)));
      break;
    case Kind::counter:
      begin("C", event.begin);
      key("args");
      text_ += "{\"value\": ";
      number(event.end);
      text_ += '}';
      break;
  }
  close();
}

}  // namespace mxnet::profiler
