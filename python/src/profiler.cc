// SPDX-License-Identifier: Apache-2.0
// mxnet._core._ext: the profiler.
#include "profiler/profiler.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "python.h"
#include "symbol.h"

namespace nb = nanobind;

namespace mxnet::python {
namespace {

void configure(bool eager, bool plans, bool calls, bool memory, int64_t max_events) {
  const uint32_t channels =
      (eager ? observe::kOperators : 0u) | (plans ? observe::kPlans : 0u) | (calls ? observe::kCalls : 0u);
  profiler::configure({channels, memory, max_events});
}

profiler::Kind to_kind(char kind) {
  switch (kind) {
    case 'X': return profiler::Kind::span;
    case 'b': return profiler::Kind::async;
    case 'i': return profiler::Kind::instant;
    default: return profiler::Kind::counter;
  }
}

void record(char kind, const std::string& category, const std::string& name, int64_t begin, int64_t end) {
  profiler::record(to_kind(kind), category, name, begin, end);
}

nb::bytes take_events(bool anew) {
  std::string text;
  {
    const ReleaseGil unlocked;
    text = profiler::take_events(anew);
  }
  return nb::bytes(text.data(), text.size());
}

nb::list sums() {
  nb::list rows;
  for (const profiler::Row& row : profiler::sums()) {
    const observe::Label& label = *row.label;
    nb::dict d;
    d["category"] = label.category;
    d["name"] = label.name;
    d["nodes"] = label.nodes;
    d["operands"] = label.operands;
    d["kernel"] = label.kernel;
    d["refusals"] = label.refusals;
    d["counter"] = row.is_counter;
    d["count"] = row.count;
    d["total"] = row.total;
    d["min"] = row.min;
    d["max"] = row.max;
    rows.append(d);
  }
  return rows;
}

template <void (*F)()>
void unlocked() {
  const ReleaseGil gil;
  F();
}

}  // namespace

void bind_profiler(nb::module_& m) {
  m.def("profiler_configure", &configure);
  m.def("profiler_start", &unlocked<profiler::start>);
  m.def("profiler_stop", &unlocked<profiler::stop>);
  m.def("profiler_running", &profiler::running);
  m.def("profiler_record", &record);
  m.def("profiler_now", &observe::now_ns);
  m.def("profiler_take_events", &take_events);
  m.def("profiler_sums", &sums);
  m.def("profiler_dropped", &profiler::dropped);
  m.def("profiler_reset_sums", &profiler::reset_sums);
  m.def("profiler_reset", &profiler::reset);
  m.def(
      "set_observe_scope",
      [](const std::optional<std::string>& scope) { observe::set_scope(scope ? scope->c_str() : nullptr); },
      nb::arg("scope").none());
}

}  // namespace mxnet::python
