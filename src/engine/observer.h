// SPDX-License-Identifier: Apache-2.0
// Where a profiler listens. The engine calls it around queued operations; operator invoke around inline ones.
#pragma once

#include <atomic>

namespace mxnet {

enum class Lane : unsigned char;

struct Observer {
  // Called on the thread that runs the operation. `name` lives as long as the process. Must not throw or wait.
  void (*begin)(const char* name, Lane lane, bool inline_run);
  void (*end)(const char* name, Lane lane, bool inline_run);
};

// Null when nobody listens. The object pointed to must stay valid for the life of the process.
extern std::atomic<const Observer*> engine_observer;

// Reports one operation for as long as it lives.
class ObservedRun {
 public:
  ObservedRun(const char* name, Lane lane, bool inline_run)
      : observer_(engine_observer.load(std::memory_order_acquire)), name_(name), lane_(lane), inline_(inline_run) {
    if (observer_) [[unlikely]]
      observer_->begin(name_, lane_, inline_);
  }
  ~ObservedRun() {
    if (observer_) [[unlikely]]
      observer_->end(name_, lane_, inline_);
  }
  ObservedRun(const ObservedRun&) = delete;
  ObservedRun& operator=(const ObservedRun&) = delete;

 private:
  const Observer* observer_;
  const char* name_;
  Lane lane_;
  bool inline_;
};

}  // namespace mxnet
