// SPDX-License-Identifier: Apache-2.0
// Where a profiler listens to what the core computes. Whoever computes says what (a label) and for how long (a span);
// who listens, if anybody, is not known here. While nobody does, a span is one relaxed load and a branch.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

namespace mxnet::observe {

// What can be listened to, as bits.
enum Channel : uint32_t {
  kOperators = 1,  // what calls on arrays run
  kPlans = 2,      // plans and their steps
  kCalls = 4,      // the calls of the interface, on the caller's thread
};

// What an event is about.
struct Label {
  std::string category;  // "operator", "reorder", "graph", "MXNET_C_API", or the domain of a program's own event
  std::string name;      // of the operator; of all operators of a fused step
  std::string nodes;     // of a graph, that a step computes
  std::string operands;  // "float32(2, 3), float32(3) -> float32(2, 3)"
  std::string kernel;    // the one that runs
  std::string refusals;  // of the faster kernels: "name: reason; name: reason"
  uint32_t id = 0;       // given by `intern`: counts from 0
};

// Of a call of the interface.
Label call(std::string name, std::string nodes = {});

// The one label of this content. It lives as long as the process.
const Label& intern(Label label);

// A label beside what it describes: made when it is first asked for.
class LabelSlot {
 public:
  LabelSlot() = default;
  LabelSlot(const LabelSlot& other) : label_(other.label_.load(std::memory_order_acquire)) {}
  LabelSlot& operator=(const LabelSlot& other) {
    label_.store(other.label_.load(std::memory_order_acquire), std::memory_order_release);
    return *this;
  }

  template <typename Make>
  const Label& get(Make&& make) const {
    const Label* label = label_.load(std::memory_order_acquire);
    if (!label) label_.store(label = &intern(make()), std::memory_order_release);
    return *label;
  }

 private:
  mutable std::atomic<const Label*> label_{nullptr};
};

// Called on the thread that did the work, when it is done. Must not throw, nor wait for the engine. `scope` is null or
// lives as long as the process.
using Listener = void (*)(const Label& label, const char* scope, int64_t begin_ns, int64_t end_ns);

extern std::atomic<uint32_t> channels;  // that somebody listens to

inline bool on(uint32_t wanted) { return (channels.load(std::memory_order_relaxed) & wanted) != 0; }
// The listener must stay valid for the life of the process; 0 channels: nobody listens.
void listen(Listener listener, uint32_t wanted);
int64_t now_ns();  // steady

// A name for what this thread issues from now on; null for none. It is copied and kept for the life of the process.
void set_scope(const char* scope);
const char* scope();  // of this thread; what is queued takes it along

// An event in two calls, for code where a Span costs too much: `begin` gives 0 if nobody listens, and then there is
// nothing to report.
inline int64_t begin(Channel channel) {
  if (on(channel)) [[unlikely]]
    return now_ns();
  return 0;
}
void report(const Label& label, int64_t begin_ns);

// This thread works for the scope of another; null changes nothing.
class InScope {
 public:
  explicit InScope(const char* scope);
  ~InScope();
  InScope(const InScope&) = delete;
  InScope& operator=(const InScope&) = delete;

 private:
  const char* outer_;
};

// Reports its own life as one event. `get` returns a label, or a reference to one that `intern` gave, and is called
// only if somebody listens.
class Span {
 public:
  template <typename GetLabel>
  Span(Channel channel, GetLabel&& get) {
    if (on(channel)) [[unlikely]]
      open(known(get()));
  }
  ~Span() {
    if (label_) [[unlikely]]
      report(*label_, begin_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  static const Label& known(const Label& label) { return label; }
  static const Label& known(Label&& label) { return intern(std::move(label)); }
  void open(const Label& label);

  const Label* label_ = nullptr;
  int64_t begin_ = 0;
};

}  // namespace mxnet::observe
