// SPDX-License-Identifier: Apache-2.0
// A gradient is one function over abstract values. The tape supplies arrays (each call computes at once), the graph
// pass supplies nodes; both call the same function, and what it builds are operators, so higher orders follow.
//
//   void fully_connected_gradient(GradientBuilder& g) {
//     g.give_all({0, 1, 2}, "_backward_FullyConnected", {g.head(0), g.input(0), g.input(1)}, g.params_ref());
//   }
//   void exp_gradient(GradientBuilder& g) { g.give(0, "elemwise_mul", {g.head(0), g.output(0)}); }
#pragma once

#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/params.h"

namespace mxnet {

struct OpDef;

// An array on the tape, or one output of a graph node. Null: absent (a zero gradient).
struct Value {
  NDArray array;
  Ref<Attachment> node;
  int index = 0;
  bool is_null() const { return array.is_none() && !node; }
};

class GradientBuilder {
 public:
  using Values = std::initializer_list<Value>;

  virtual ~GradientBuilder() = default;

  // The forward call.
  virtual const OpDef& op() const = 0;
  virtual const Ref<Params>& params_ref() const = 0;
  template <typename P>
  const P& params() const {
    return params_ref()->template as<P>();
  }
  virtual int num_inputs() const = 0;
  virtual Value input(int i) = 0;
  virtual Value output(int i) = 0;  // visible outputs, then residuals
  virtual bool has_head(int i) const = 0;
  virtual Value head(int i) = 0;        // gradient of visible output i; zeros if none came
  virtual bool needs(int i) const = 0;  // somebody wants the gradient of input i
  virtual bool training() const = 0;    // the forward ran in training mode

  // Applies an operator; all its visible outputs.
  virtual std::vector<Value> apply(const OpDef& op, const Ref<Params>& params, std::span<const Value> in) = 0;
  // Hands over the gradient of input i. At most once per input; inputs not given (or given null) have zero gradient.
  virtual void give(int i, Value gradient) = 0;
  // Computes output k of the operator straight into the gradient of input targets[k]: no copy, written or added as the
  // receiver asks, not computed where nobody needs it.
  virtual void give_all(std::span<const int> targets, const OpDef& op, const Ref<Params>& params,
                        std::span<const Value> in) = 0;
  // A gradient that is a smaller one spread along axes of size one need not be made in full where its receiver can do
  // without. `head_unspread` is the gradient of output i, or what it is spread from (of the same rank), for operators
  // registered with takes_spread; `takes_spread(i)` tells whether the producer of input i is one, to which then
  // `give_spread` hands `small`. It is the same gradient as op(in), which all others get.
  virtual Value head_unspread(int i) = 0;
  virtual bool takes_spread(int i) const = 0;
  virtual void give_spread(int i, const Value& small, const OpDef& op, const Ref<Params>& params,
                           std::span<const Value> in) = 0;
  // Hands over a gradient of broadcast shape: summed over the axes that input i was broadcast along.
  virtual void give_reduced(int i, Value gradient) = 0;

  // Shorthands by name. Parameters: null = defaults.
  Value call(std::string_view op, Values in, const Ref<Params>& params = {});
  Value call(std::string_view op, Values in, const ParamMap& params);
  void give(int i, std::string_view op, Values in, const Ref<Params>& params = {});
  void give_all(std::initializer_list<int> targets, std::string_view op, Values in, const Ref<Params>& params = {});
};

}  // namespace mxnet
