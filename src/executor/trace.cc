// SPDX-License-Identifier: Apache-2.0
#include "executor/trace.h"

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "autograd/tape.h"

namespace mxnet::trace {

namespace {

// What hangs on a traced array handle.
struct TracedEntry final : Attachment {
  explicit TracedEntry(Entry e) : Attachment(Kind::graph), entry(std::move(e)) {}
  Entry entry;
};

thread_local bool tracing = false;
thread_local std::unordered_map<const Node*, NDArray>* captured = nullptr;
thread_local std::unordered_map<std::string, int> counters;

Entry* entry_of(const NDArray& array) {
  Attachment* a = array.attachment().get();
  if (!a || a->kind != Attachment::Kind::graph) return nullptr;
  auto* traced = dynamic_cast<TracedEntry*>(a);
  return traced ? &traced->entry : nullptr;
}

std::unordered_map<const Node*, NDArray>& constants() {
  if (!captured) captured = new std::unordered_map<const Node*, NDArray>;
  return *captured;
}

std::string fresh_name(const std::string& op) {
  std::string hint;
  for (const char c : op) hint.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  return hint + std::to_string(counters[hint]++);
}

// A constant of the program: the same memory is the same variable.
Entry capture(const NDArray& array) {
  for (const auto& [node, known] : constants()) {
    if (known.same_window(array)) return {Ref<Node>(const_cast<Node*>(node)), 0};
  }
  Ref<Node> node = make_variable(fresh_name("_constant"));
  constants()[node.get()] = array.detached();
  node->retain();  // the table holds it until the next trace starts
  return {node, 0};
}

void hook(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out) {
  std::vector<Entry> inputs;
  for (const NDArray* a : in) {
    const Entry* e = entry_of(*a);
    inputs.push_back(e ? *e : capture(*a));
  }
  const Ref<Node> node = make_node(op, params, fresh_name(op.name), std::move(inputs));
  node->attrs = attrs_of(op, *params);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].attach(Ref<Attachment>(make_ref<TracedEntry>(Entry{node, static_cast<int>(i)}).get()));
  }
}

}  // namespace

bool set_tracing(bool on) {
  const bool before = tracing;
  tracing = on;
  autograd::set_trace_hook(on ? &hook : nullptr);
  if (!on || before) return before;
  if (captured) {
    for (auto& [node, array] : *captured) node->release();
    captured->clear();
  }
  counters.clear();
  return before;
}

bool is_tracing() { return tracing; }

void set_variable(NDArray& array, const Symbol& symbol) {
  if (symbol.num_outputs() != 1) fail(ErrorKind::value, "set_variable: expected a symbol with one output");
  array.attach(Ref<Attachment>(make_ref<TracedEntry>(symbol.entries()[0]).get()));
}

Symbol symbol_of(std::span<const NDArray> outputs, std::span<const std::pair<std::string, NDArray>> known) {
  std::vector<Entry> heads;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Entry* e = entry_of(outputs[i]);
    const auto same = [&](const auto& pair) { return pair.second.same_window(outputs[i]); };
    if (!e && std::none_of(known.begin(), known.end(), same)) {
      fail(ErrorKind::value, "deferred compute: output ", i, " was not computed from operators while tracing");
    }
    heads.push_back(e ? *e : capture(outputs[i]));
  }
  Symbol symbol(std::move(heads));
  for (Node* node : graph_inputs(symbol.entries()).all) {
    const auto it = constants().find(node);
    if (it == constants().end()) continue;
    const auto same = [&](const auto& pair) { return pair.second.same_window(it->second); };
    const auto found = std::find_if(known.begin(), known.end(), same);
    if (found == known.end()) {
      fail(ErrorKind::value, "deferred compute: an array of shape ", it->second.shape(),
           " was used that is neither an input nor a parameter; make it a Constant parameter of the block");
    }
    node->name = found->first;
  }
  return symbol;
}

}  // namespace mxnet::trace
