// SPDX-License-Identifier: Apache-2.0
// The profiler: listens to the hooks of the boxes below (base/observe.h, engine/observer.h), keeps what it hears in one
// bounded buffer per thread, and writes it as trace events of the kind that chrome://tracing and Perfetto show, or as
// sums per label. None of the other boxes knows of it.
//
// Any function may be called from any thread. A child process starts stopped and empty.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/observe.h"

namespace mxnet::profiler {

struct Config {
  uint32_t channels = 0;         // observe::Channel bits
  bool memory = false;           // samples of the storage pool
  int64_t max_events = 1 << 20;  // kept at one time; later ones count in the sums alone
};

void configure(const Config& config);

// Work that was issued before a change of state finishes first, so that it counts on its side of the change.
void start();  // also after `pause`
void stop();
bool running();

enum class Kind : uint8_t {
  span,     // nested in its thread: begin, end
  async,    // of its own: begin, end
  instant,  // begin; end holds the scope: 'g', 'p' or 't'
  counter,  // begin; end holds the value
};

// A program's own event. Times as of observe::now_ns. Ignored while the profiler is not running.
void record(Kind kind, const std::string& category, const std::string& name, int64_t begin, int64_t end);

// Takes all events out of the buffers as comma-separated JSON objects in the order of their begin, outer before inner.
// `anew`: a trace begins, so the process and its threads are described as well.
std::string take_events(bool anew);

struct Row {
  const observe::Label* label;
  bool is_counter;  // values, else nanoseconds
  int64_t count = 0, total = 0, min = 0, max = 0;
};
std::vector<Row> sums();  // of what was recorded since the last reset
int64_t dropped();        // events that did not fit since the last reset

void reset_sums();
void reset();  // forgets everything

}  // namespace mxnet::profiler
