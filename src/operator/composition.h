// SPDX-License-Identifier: Apache-2.0
// Operators once more, as compositions of differentiable operators. An operator whose gradient is a kernel without a
// gradient has derivatives of higher order through its composition: backward with create_graph=True records it in the
// operator's place. A composition gives what the kernels give, and need not be fast.
//
//   std::vector<Term> compose(const Composing& c) { return {c[0] / sqrt(sum(square(c[0]), axes))}; }
//   const RegisterComposition composition{"Norm", compose};
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "ndarray/ndarray.h"
#include "operator/op.h"

namespace mxnet {

// Calls an operator on arrays; all its visible outputs. The tape provides it.
using CallFn = std::vector<NDArray> (*)(const OpDef& op, const Ref<Params>& params, std::span<const NDArray> in);

// An array in a composition.
class Term {
 public:
  Term() = default;
  Term(CallFn call, NDArray array) : call_(call), array_(std::move(array)) {}

  const NDArray& array() const { return array_; }
  const Shape& shape() const { return array_.shape(); }
  bool is_none() const { return array_.is_none(); }

  Term then(const char* op, const ParamMap& params = {}) const;
  Term then(const char* op, double scalar) const;
  Term reshaped(const Shape& shape) const;
  Term slice(int64_t axis, int64_t begin, int64_t end) const;
  Term at(int64_t axis, int64_t index) const;  // without the axis, unless it is the only one
  Term cast(DType dtype) const;
  Term sum(const Shape& axes, bool keepdims = false) const;

 private:
  friend std::vector<Term> apply_all(const char* op, std::span<const Term> in, const ParamMap& params);
  friend Term constant(const Term& like, const Shape& shape, std::span<const double> values, DType dtype);
  CallFn call_ = nullptr;
  NDArray array_;
};

std::vector<Term> apply_all(const char* op, std::span<const Term> in, const ParamMap& params = {});
Term apply(const char* op, std::initializer_list<Term> in, const ParamMap& params = {});
Term join(const char* op, int64_t axis, std::span<const Term> parts);  // stack and Concat

// Of broadcast shapes.
Term operator+(const Term& a, const Term& b);
Term operator-(const Term& a, const Term& b);
Term operator*(const Term& a, const Term& b);
Term operator/(const Term& a, const Term& b);
Term operator+(const Term& a, double b);
Term operator-(const Term& a, double b);
Term operator*(const Term& a, double b);
Term operator/(const Term& a, double b);
Term operator+(double a, const Term& b);
Term operator-(double a, const Term& b);
Term operator*(double a, const Term& b);
Term operator/(double a, const Term& b);
Term operator-(const Term& a);
Term exp(const Term& a);
Term log(const Term& a);
Term square(const Term& a);
Term gammaln(const Term& a);

ParamValue tuple_of(const Shape& shape);

// Given numbers, beside `like` and of its dtype or another.
Term constant(const Term& like, const Shape& shape, std::span<const double> values, DType dtype = DType::unknown);

// The call that is composed: its inputs (half types as float32) and parameters.
class Composing {
 public:
  Composing(const OpDef& op, const Params& params, bool training, std::span<const Term> in)
      : op(op), params(params), training(training), in_(in) {}
  template <typename P>
  const P& as() const {
    return params.as<P>();
  }
  const Term& operator[](int i) const { return in_[static_cast<size_t>(i)]; }
  size_t size() const { return in_.size(); }

  const OpDef& op;
  const Params& params;
  bool training;

 private:
  std::span<const Term> in_;
};

// Gives the visible outputs.
using Compose = std::vector<Term> (*)(const Composing& c);

// Beside the operator's registration. `applies`: the calls that it is for; null: all.
class RegisterComposition {
 public:
  RegisterComposition(const char* op, Compose compose, bool (*applies)(const Params&, bool training) = nullptr);
};

Compose composition_of(const OpDef& op, const Params& params, bool training);  // null if there is none

}  // namespace mxnet
