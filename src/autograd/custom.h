// SPDX-License-Identifier: Apache-2.0
// The operator Custom: the program says what it computes, through these two interfaces, which a binding implements.
// Its code runs on a thread of the host pool, so it may wait for arrays; what it raises reaches whoever waits for the
// results.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet::autograd {

// One instance computes for one set of shapes. The arrays of a call are handles of its own on the memory of the real
// ones; work that was pushed on them need not be finished when a function returns.
class CustomOperator : public Counted<CustomOperator> {
 public:
  virtual ~CustomOperator() = default;
  struct Forward {
    bool training;
    std::span<const NDArray> in, out, states;
  };
  virtual void forward(const Forward& call) = 0;
  struct Backward {
    std::span<const NDArray> heads, in, out;
    std::span<const NDArray> grads;  // of inputs
    std::span<const Req> req;        // of grads
    std::span<const NDArray> states;
  };
  virtual void backward(const Backward& call) = 0;
};

// What is known of an operator before it meets arrays.
class CustomProp : public Counted<CustomProp> {
 public:
  virtual ~CustomProp() = default;
  // Complete what follows from what is given; unknown ranks, dimensions and dtypes are as in TensorSpec.
  virtual void infer_shape(std::span<Shape> in, std::span<Shape> out, std::span<Shape> states) = 0;
  virtual void infer_dtype(std::span<DType> in, std::span<DType> out, std::span<DType> states) = 0;
  // Asked when an input is sparse; inputs that shall be dense arrive so.
  virtual void infer_storage(std::span<StorageType> in, std::span<StorageType> out) = 0;
  virtual Ref<CustomOperator> create(Device device, std::span<const Shape> shapes, std::span<const DType> dtypes) = 0;

  std::vector<std::string> arguments, outputs, states;
  bool needs_heads = true;
  // What backward reads; the rest need not be kept, and arrives as zeros.
  std::vector<bool> reads_in, reads_out;
};

// The value of Custom's parameters that are not declared: the program's own.
using Keywords = std::vector<std::pair<std::string, std::string>>;
struct KeywordList {
  Keywords list;
};

struct CustomParams {
  std::string op_type;
  KeywordList keywords;
  mutable Ref<CustomProp> prop;  // made when the parameters are complete
  static void declare(ParamSchemaOf<CustomParams>& s);
};

// A bound graph keeps one instance for each of its nodes, so that an operator may count its calls; elsewhere each call
// has its own, which may keep what its backward reads.
using CustomInstances = std::unordered_map<const Params*, Ref<CustomOperator>>;
// While it lives, calls on this thread look here first. Null: each call has its own.
class InstanceScope {
 public:
  explicit InstanceScope(CustomInstances* instances);
  ~InstanceScope();
  InstanceScope(const InstanceScope&) = delete;
  InstanceScope& operator=(const InstanceScope&) = delete;

 private:
  CustomInstances* before_;
};

// Called for each set of parameters; raises for an unknown op_type.
using CustomFactory = Ref<CustomProp> (*)(const std::string& op_type, const Keywords& keywords);
void set_custom_factory(CustomFactory factory);

}  // namespace mxnet::autograd
