// SPDX-License-Identifier: Apache-2.0
// Kernel = prepare, then run. `prepare` sees types, shapes, layouts and parameters and returns an object with
// everything that does not depend on the data, or says why it refuses; `run` gets pointers. A prepared kernel is
// immutable and may run on several threads at once.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"
#include "base/storage_type.h"
#include "operator/params.h"
#include "resource/random.h"

namespace mxnet {

struct OpDef;

struct TensorSpec {
  Shape shape;
  DType dtype = DType::f32;
  Layout layout = Layout::plain;
  StorageType storage = StorageType::dense;
  bool operator==(const TensorSpec&) const = default;
};

// What the caller wants of an output. In place is not a request: it is an output that shares memory with an input.
enum class Req : uint8_t { null, write, add };

struct KernelCall {
  void* const* in;        // one per input; of a sparse array its SparseParts
  void* const* out;       // one per output (visible, then residual); null where the request is null
  const Params* params;   // run-time fields are read from here
  random::Stream random;  // reserved in program order for operators that draw
  void* scratch;          // Kernel::scratch bytes, 64-byte aligned, not zeroed
};

class Kernel;

// Turns one input into what the kernel reads in its place: weights in a layout of the kernel's own, another dtype. The
// result depends on that input alone, so a plan makes it once for as long as the input does not change; elsewhere it is
// made before each run of the kernel.
struct Pack {
  int input = 0;
  size_t bytes = 0;                      // of the result, which is 64-byte aligned
  std::shared_ptr<const Kernel> kernel;  // in: the input, in the layout that prepare asked for; out: the result
};

class Kernel {
 public:
  static constexpr int64_t kUnknownCost = INT64_MAX / 4;
  // Below this a team does not pay: opening a region on threads that may be asleep costs tens of microseconds, and the
  // caller that runs ahead wants a core too.
  static constexpr int64_t kTeamCost = 500'000;  // ns on one thread

  virtual ~Kernel() = default;
  virtual void run(const KernelCall& call) const = 0;

  int64_t cost_ns = kUnknownCost;  // estimated single-thread time; bounds what may run on the calling thread
  size_t scratch = 0;              // bytes
  uint64_t random_draws = 0;       // counters of the Philox stream that one run consumes
  bool accepts_add = false;        // honours Req::add itself; otherwise the runtime adds from a temporary
  bool team_matters = false;       // prepared for `PrepareArgs::team` threads (oneDNN); otherwise any team runs it
  std::vector<Pack> packs;         // inputs that it does not read as they are; their cost is not in `cost_ns`

  // Of a run that makes the packs as well.
  int64_t cost_with_packs() const {
    int64_t cost = cost_ns;
    for (const Pack& pack : packs) cost += pack.kernel->cost_ns;
    return cost;
  }
};

// A kernel from a callable: make_kernel([=](const KernelCall& c) {...}, cost_ns).
template <typename F>
std::unique_ptr<Kernel> make_kernel(F run, int64_t cost_ns, size_t scratch = 0) {
  struct Callable final : Kernel {
    explicit Callable(F f) : f_(std::move(f)) {}
    void run(const KernelCall& call) const override { f_(call); }
    F f_;
  };
  auto kernel = std::make_unique<Callable>(std::move(run));
  kernel->cost_ns = cost_ns;
  kernel->scratch = scratch;
  return kernel;
}

struct PrepareArgs {
  const OpDef& op;
  const Params& params;
  std::span<const TensorSpec> in;  // layout: as the input lies in memory now
  std::span<Layout> in_layout;     // set by prepare: the layout it reads each input in (default plain); the runtime
                                   // reorders where that differs
  std::span<TensorSpec> out;       // shapes and dtypes inferred; prepare sets layout (default plain)
  std::span<const Req> req;        // one per output
  bool training;
  int team;
  std::span<const uint8_t> unchanging = {};  // per input: the same at many runs, so that a pack of it costs nothing

  bool is_unchanging(size_t input) const { return input < unchanging.size() && unchanging[input]; }
  template <typename P>
  const P& as() const {
    return params.as<P>();
  }
  // Elementwise-like kernels: every input and output of the first input's shape stays in that input's layout.
  void keep_layout() const;
};

// What prepare returns: a kernel, or the reason why not.
struct Prepared {
  Prepared(std::unique_ptr<Kernel> k) : kernel(std::move(k)) {}
  Prepared(const char* reason) : refusal(reason) {}
  Prepared(std::string reason) : refusal(std::move(reason)) {}
  std::unique_ptr<Kernel> kernel;
  std::string refusal;
};

using PrepareFn = Prepared (*)(const PrepareArgs&);

// One entry of an operator's ordered kernel list: fastest first, the portable reference last.
struct KernelDef {
  const char* name;
  PrepareFn prepare;
  DeviceType device = DeviceType::cpu;
};

}  // namespace mxnet
