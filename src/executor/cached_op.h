// SPDX-License-Identifier: Apache-2.0
// CachedOp: a graph as one callable on arrays, what stands behind `hybridize`. Inputs are in the order of
// Symbol::list_inputs. While recording, a call leaves one step on the tape.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "executor/interpret.h"
#include "executor/plan_cache.h"

namespace mxnet {

class CachedOp : public Counted<CachedOp> {
 public:
  // `param_indices` tells which inputs are parameters. Other flags of the original (static_alloc, static_shape,
  // inline_limit, ...) are accepted; plans are always static here.
  using Flags = std::vector<std::pair<std::string, std::string>>;
  explicit CachedOp(const Symbol& symbol, const Flags& flags = {});

  size_t num_inputs() const { return plans_.num_inputs(); }
  size_t num_outputs() const { return plans_.heads().size(); }
  const std::string& name() const { return name_; }

  // Outputs are none, or arrays to write to. An output that is an input of the graph is an alias of it.
  void call(std::span<const NDArray* const> inputs, std::span<NDArray> outputs);

  // Operators run one by one while somebody watches.
  void set_watch(Watch watch) { watch_ = std::move(watch); }

 private:
  void check_inputs(std::span<const NDArray* const> inputs) const;
  std::vector<std::pair<size_t, NDArray>> prepare_outputs(const Plan& plan, std::span<const NDArray* const> inputs,
                                                          std::span<NDArray> outputs) const;
  void call_eagerly(std::span<const NDArray* const> inputs, std::span<NDArray> outputs);

  PlanCache plans_;
  std::optional<Watch> watch_;
  std::string name_;
};

}  // namespace mxnet
