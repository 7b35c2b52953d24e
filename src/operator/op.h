// SPDX-License-Identifier: Apache-2.0
// One operator, one place: an OpDef holds everything the system knows of an operator. The members without a default
// must be given; the compiler refuses a record that leaves one out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operator/gradient.h"
#include "operator/kernel.h"
#include "operator/params.h"

namespace mxnet {

// ---- inputs and outputs -------------------------------------------------------------------------------------------
struct Inputs {
  // A fixed list: Inputs{"data", "weight"}.
  Inputs(std::initializer_list<const char*> fixed) : names(fixed.begin(), fixed.end()) {}
  Inputs(std::vector<std::string> fixed) : names(std::move(fixed)) {}
  // Depending on parameters: the first `count(params)` of `all` (no_bias drops the last).
  Inputs(std::vector<std::string> all, std::function<int(const Params&)> how_many)
      : names(std::move(all)), count(std::move(how_many)) {}
  // Any number, named arg0, arg1, ...; `count_param` is the integer parameter that holds the number ("num_args").
  static Inputs variadic(std::string count_param, std::string stem = "arg") {
    Inputs inputs{};
    inputs.variadic_param = std::move(count_param);
    inputs.variadic_stem = std::move(stem);
    return inputs;
  }

  std::vector<std::string> names;
  std::function<int(const Params&)> count;
  std::function<std::vector<std::string>(const Params&)> names_of;  // variadic operators whose inputs have roles
  std::string variadic_param;
  std::string variadic_stem;
  // Names of inputs that the operator writes (optimizer states, moving statistics). Gradients never flow to them.
  std::vector<std::string> mutated;
  // The same by position, for variadic operators: set instead of `mutated`.
  bool (*mutates_at)(const Params& params, int i) = nullptr;
  // The subset of `mutated` that a symbol lists as auxiliary states rather than arguments.
  std::vector<std::string> auxiliary;
  // Inputs of a type of their own (conditions, lengths), which mixed precision does not cast.
  std::vector<std::string> apart;

  Inputs&& mutates(std::vector<std::string> which) && {
    mutated = std::move(which);
    return std::move(*this);
  }
  Inputs&& sets_apart(std::vector<std::string> which) && {
    apart = std::move(which);
    return std::move(*this);
  }
  Inputs&& mutates(bool (*at)(const Params&, int)) && {
    mutates_at = at;
    return std::move(*this);
  }
  Inputs&& with_auxiliary(std::vector<std::string> which) && {
    mutated = which;
    auxiliary = std::move(which);
    return std::move(*this);
  }
  bool is_variadic() const { return !variadic_param.empty(); }
  bool mutates_any() const { return mutates_at || !mutated.empty(); }
};

struct Outputs {
  Outputs(int n = 1) : fixed(n) {}
  Outputs(std::function<int(const Params&)> f) : count(std::move(f)) {}
  // Hidden outputs after the visible ones that the gradient asks for (masks, batch statistics, indices). Requested only
  // when the call is recorded or trained.
  Outputs&& with_residuals(int n) && {
    residuals = n;
    return std::move(*this);
  }
  Outputs&& named(std::vector<std::string> list) && {  // "output" when empty and there is one, else output0, output1...
    names = std::move(list);
    return std::move(*this);
  }

  int fixed = 1;
  std::function<int(const Params&)> count;
  int residuals = 0;
  std::vector<std::string> names;
};

// ---- inference ----------------------------------------------------------------------------------------------------
// Bidirectional: unknown dimensions flow both ways. Throws on a conflict; leaves unknown what it cannot know.
class InferContext {
 public:
  InferContext(const OpDef& op, const Params& params, std::span<TensorSpec> in, std::span<TensorSpec> out)
      : op(op), params(params), in(in), out(out) {}
  template <typename P>
  const P& as() const {
    return params.as<P>();
  }
  // Merges what is newly known into a slot; a conflict names operator, argument, given and expected.
  void merge_in(int i, const Shape& shape) { merge(in[i].shape, shape, i, true); }
  void merge_out(int i, const Shape& shape) { merge(out[i].shape, shape, i, false); }
  void merge_in_dtype(int i, DType dtype) { merge(in[i].dtype, dtype, i, true); }
  void merge_out_dtype(int i, DType dtype) { merge(out[i].dtype, dtype, i, false); }
  std::string name_in(int i) const;
  [[noreturn]] void bad(const std::string& message) const;  // "<op>: <message>"

  const OpDef& op;
  const Params& params;
  std::span<TensorSpec> in;   // unknown rank: shape.rank() < 0; unknown dtype: DType::unknown
  std::span<TensorSpec> out;  // visible, then residual

 private:
  void merge(Shape& slot, const Shape& shape, int i, bool input) const;
  void merge(DType& slot, DType dtype, int i, bool input) const;
};

using InferFn = void (*)(InferContext&);

struct Infer {
  Infer(InferFn shape, InferFn dtype) : shape(shape), dtype(dtype) {}
  InferFn shape;  // may be called with partly unknown shapes; must set what follows
  InferFn dtype;
};

namespace infer {
void same_shape(InferContext& c);        // all inputs and visible outputs agree
void broadcast(InferContext& c);         // NumPy broadcasting of all inputs to output 0
void same_dtype(InferContext& c);        // all inputs and outputs agree
void float_like_input(InferContext& c);  // output 0 has input 0's dtype
template <DType T>
void out_dtype(InferContext& c) {  // outputs have a fixed dtype, inputs are free
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), T);
}
}  // namespace infer

// ---- gradient -----------------------------------------------------------------------------------------------------
struct Gradient {
  using Fn = void (*)(GradientBuilder&);
  Gradient(Fn f) : fn(f) {}
  // No input has a gradient and asking is an error (arg-type operators give zero instead).
  static Gradient none() { return {nullptr, false}; }
  // The derivative is zero everywhere (sign, floor, comparisons, argmax, BlockGrad).
  static Gradient zero() { return {nullptr, true}; }

  Fn fn = nullptr;
  bool is_zero = false;
  // Which values the gradient reads: lets the tape and the plan drop the others early.
  bool reads_inputs = true;
  bool reads_outputs = true;
  bool reads_heads = true;    // false: an output head (SoftmaxOutput) that makes its own gradient
  bool takes_spread = false;  // asks for GradientBuilder::head_unspread
  Gradient&& only_heads() && {
    reads_inputs = reads_outputs = false;
    return std::move(*this);
  }
  Gradient&& without_inputs() && {
    reads_inputs = false;
    return std::move(*this);
  }
  Gradient&& without_outputs() && {
    reads_outputs = false;
    return std::move(*this);
  }
  Gradient&& with_spread_heads() && {
    takes_spread = true;
    return std::move(*this);
  }
  Gradient&& without_heads() && {
    reads_heads = false;
    return std::move(*this);
  }

 private:
  Gradient(Fn f, bool zero) : fn(f), is_zero(zero) {}
};

// For operators whose output extents depend on the data (boolean_mask): completes the shapes of `out` from the inputs'
// contents (plain layout). Such a call waits for its inputs and is never part of a plan.
using DataShapeFn = void (*)(const Params& params, std::span<const TensorSpec> in, void* const* data,
                             std::span<TensorSpec> out);

// ---- sparse arrays ------------------------------------------------------------------------------------------------
// How an operator works on sparse arrays: the third result of inference, and kernels of its own. An operator without
// this, or a call that it refuses, runs on dense temporaries (operator/storage.h).
struct SparseForm {
  // Sees the storage types of the inputs, and of outputs that the caller gave (else unset); sets those of the outputs.
  // False: not for these storage types.
  using Infer = bool (*)(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out);
  Infer infer;
  std::vector<KernelDef> kernels;
  bool makes_sparse = false;  // dense inputs may give sparse outputs
};

// ---- the record ---------------------------------------------------------------------------------------------------
// What mixed precision does with the floating point inputs of an operator.
enum class Precision : uint8_t {
  any,     // they pass as they are: the operator moves data, or its kernels keep sums and statistics in float32
  low,     // arithmetic is most of the work and sums are kept wider: all become the low type
  full,    // range or digits would be lost: low types become float32
  widest,  // the operands must agree: all become the widest type among them
};

struct OpFlags {
  bool elementwise = false;          // same index in, same index out: may run in place and be fused
  bool random = false;               // draws from the device's stream
  bool training_mode = false;        // behaves differently in training
  bool mutates_in_training = false;  // writes its mutated inputs in training only
  bool inplace = false;              // output 0 may share input 0's memory exactly
  bool inplace_list = false;         // every output may share one input's memory exactly (updates of many arrays)
  bool hidden = false;               // not offered to users (gradient helpers)
  bool view_like = false;            // the bytes are input 0's in plain order: a graph may alias instead of copy
  Precision precision = Precision::any;
};

struct OpDef {
  std::string name;
  std::string doc;
  std::vector<std::string> aliases = {};
  const ParamSchema& params = schema_of<NoParams>();
  Inputs inputs;
  Outputs outputs = 1;
  Infer infer;
  Gradient gradient;
  std::vector<KernelDef> kernels;
  OpFlags flags = {};
  DataShapeFn data_shape = nullptr;
  bool (*full_precision)(const Params&) = nullptr;  // calls that are Precision::full whatever the flag says
  bool (*composed)(const Params&) = nullptr;        // calls that a composite runs, not a kernel (autograd/composite.h)

  // Filled by the registry.
  const SparseForm* sparse = nullptr;
  int id = -1;

  int num_inputs(const Params& p, int given = -1) const;  // variadic: `given` if >= 0, else the count parameter
  int num_outputs(const Params& p) const {                // visible
    return outputs.count ? outputs.count(p) : outputs.fixed;
  }
  int num_all_outputs(const Params& p) const { return num_outputs(p) + outputs.residuals; }
  std::string input_name(const Params& p, int i) const;
  bool is_mutated(const Params& p, int i) const;
  bool is_auxiliary(const Params& p, int i) const;
  bool may_cast(const Params& p, int i) const;  // by mixed precision: not written, not of a type of its own
  // Whether a call in this mode writes input i.
  bool writes_input(const Params& p, int i, bool training) const {
    return (training || !flags.mutates_in_training) && is_mutated(p, i);
  }
};

// Registration happens before main (static objects of type RegisterOp); lookups are read-only afterwards, except for
// libraries loaded later.
class RegisterOp {
 public:
  explicit RegisterOp(OpDef def);
};

// Gives an operator its sparse form, from a file beside that of the operator.
class RegisterSparse {
 public:
  RegisterSparse(const char* op, SparseForm form);
};

const OpDef* find_op(std::string_view name);  // by name or alias; null if there is none
const OpDef& get_op(std::string_view name);   // raises with near names
std::vector<const OpDef*> all_ops();          // in registration-independent (sorted) order, hidden ones too
void register_alias(const std::string& op, const std::string& alias);

// Walks the kernel list of `args.op`; the first that accepts wins. Throws Error(not_supported) with all refusals.
std::unique_ptr<Kernel> prepare_kernel(const PrepareArgs& args, std::string* chosen = nullptr);

// Runs both inferences to a fixed point on known inputs; raises when something stays unknown.
void infer_all(const OpDef& op, const Params& params, std::span<TensorSpec> in, std::span<TensorSpec> out);

}  // namespace mxnet
