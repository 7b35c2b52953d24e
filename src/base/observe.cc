// SPDX-License-Identifier: Apache-2.0
#include "base/observe.h"

#include <chrono>
#include <deque>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/fork.h"

namespace mxnet::observe {

std::atomic<uint32_t> channels{0};

namespace {

std::atomic<Listener> listener{nullptr};
thread_local const char* current_scope = nullptr;

std::string content(const Label& label) {
  std::string text;
  for (const std::string* part :
       {&label.category, &label.name, &label.nodes, &label.operands, &label.kernel, &label.refusals}) {
    text += *part;
    text += '\0';
  }
  return text;
}

// Never destroyed: threads report until the process ends.
struct Table {
  std::mutex mutex;
  std::deque<Label> labels;
  std::unordered_map<std::string, const Label*> by_content;
  std::set<std::string> scopes;

  static Table& get() {
    static Table* instance = [] {
      auto* table = new Table;
      register_fork_handlers(
          {kForkOther, [] { get().mutex.lock(); }, [] { get().mutex.unlock(); }, [] { get().mutex.unlock(); }});
      return table;
    }();
    return *instance;
  }
};

}  // namespace

Label call(std::string name, std::string nodes) {
  return {"MXNET_C_API", std::move(name), std::move(nodes), "", "", ""};
}

const Label& intern(Label label) {
  std::string key = content(label);
  Table& table = Table::get();
  const std::lock_guard lock(table.mutex);
  const auto [at, fresh] = table.by_content.try_emplace(std::move(key), nullptr);
  if (fresh) {
    label.id = static_cast<uint32_t>(table.labels.size());
    table.labels.push_back(std::move(label));
    at->second = &table.labels.back();
  }
  return *at->second;
}

void listen(Listener to, uint32_t wanted) {
  listener.store(to, std::memory_order_release);
  channels.store(to ? wanted : 0, std::memory_order_release);
}

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void set_scope(const char* scope) {
  if (!scope) {
    current_scope = nullptr;
    return;
  }
  Table& table = Table::get();
  const std::lock_guard lock(table.mutex);
  current_scope = table.scopes.insert(scope).first->c_str();
}

const char* scope() { return current_scope; }

void report(const Label& label, int64_t begin_ns) {
  if (const Listener to = listener.load(std::memory_order_acquire)) to(label, current_scope, begin_ns, now_ns());
}

InScope::InScope(const char* scope) : outer_(current_scope) {
  if (scope) current_scope = scope;
}
InScope::~InScope() { current_scope = outer_; }

void Span::open(const Label& label) {
  label_ = &label;
  begin_ = now_ns();
}

}  // namespace mxnet::observe
