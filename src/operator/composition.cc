// SPDX-License-Identifier: Apache-2.0
#include "operator/composition.h"

#include <map>
#include <string>

namespace mxnet {
namespace {

struct Entry {
  Compose compose;
  bool (*applies)(const Params&, bool training);
};

std::map<std::string, Entry, std::less<>>& compositions() {
  static auto* table = new std::map<std::string, Entry, std::less<>>;
  return *table;
}

}  // namespace

RegisterComposition::RegisterComposition(const char* op, Compose compose,
                                         bool (*applies)(const Params&, bool training)) {
  compositions().emplace(op, Entry{compose, applies});
}

Compose composition_of(const OpDef& op, const Params& params, bool training) {
  const auto it = compositions().find(op.name);
  if (it == compositions().end() || (it->second.applies && !it->second.applies(params, training))) return nullptr;
  return it->second.compose;
}

std::vector<Term> apply_all(const char* name, std::span<const Term> in, const ParamMap& params) {
  const OpDef& op = get_op(name);
  if (in.empty()) fail(name, ": called without inputs in a composition");
  std::vector<NDArray> arrays;
  for (const Term& t : in) arrays.push_back(t.array());
  const CallFn call = in[0].call_;
  std::vector<Term> terms;
  for (NDArray& a : call(op, op.params.parse(op.name, params), arrays)) terms.emplace_back(call, std::move(a));
  return terms;
}

Term apply(const char* op, std::initializer_list<Term> in, const ParamMap& params) {
  return apply_all(op, {in.begin(), in.size()}, params)[0];
}

Term join(const char* op, int64_t axis, std::span<const Term> parts) {
  const char* key = get_op(op).params.find("dim") >= 0 ? "dim" : "axis";
  return apply_all(op, parts, {{key, axis}, {"num_args", static_cast<int64_t>(parts.size())}})[0];
}

ParamValue tuple_of(const Shape& shape) {
  ParamList list;
  for (const dim_t d : shape) list.push_back(int64_t{d});
  return list;
}

Term constant(const Term& like, const Shape& shape, std::span<const double> values, DType dtype) {
  const Term exact(like.call_, NDArray::from_memory(values.data(), shape, DType::f64, like.array().device()));
  return exact.cast(dtype == DType::unknown ? like.array().dtype() : dtype);
}

Term Term::then(const char* op, const ParamMap& params) const { return apply(op, {*this}, params); }
Term Term::then(const char* op, double scalar) const { return apply(op, {*this}, {{"scalar", scalar}}); }
Term Term::reshaped(const Shape& shape) const {
  // 0 would keep a dimension; no gradient is lost where there are no elements.
  if (shape.size() == 0) return {call_, NDArray::zeros(shape, array_.dtype(), array_.device())};
  return then("Reshape", {{"shape", tuple_of(shape)}});
}
Term Term::slice(int64_t axis, int64_t begin, int64_t end) const {
  return then("slice_axis", {{"axis", axis}, {"begin", begin}, {"end", end}});
}
Term Term::at(int64_t axis, int64_t index) const {
  const Term one = slice(axis, index, index + 1);
  return shape().rank() == 1 ? one : one.then("squeeze", {{"axis", axis}});
}
Term Term::cast(DType dtype) const { return array_.dtype() == dtype ? *this : then("Cast", {{"dtype", dtype}}); }
Term Term::sum(const Shape& axes, bool keepdims) const {
  return then("sum", {{"axis", tuple_of(axes)}, {"keepdims", keepdims}});
}

Term operator+(const Term& a, const Term& b) { return apply("broadcast_add", {a, b}); }
Term operator-(const Term& a, const Term& b) { return apply("broadcast_sub", {a, b}); }
Term operator*(const Term& a, const Term& b) { return apply("broadcast_mul", {a, b}); }
Term operator/(const Term& a, const Term& b) { return apply("broadcast_div", {a, b}); }
Term operator+(const Term& a, double b) { return a.then("_plus_scalar", b); }
Term operator-(const Term& a, double b) { return a.then("_minus_scalar", b); }
Term operator*(const Term& a, double b) { return a.then("_mul_scalar", b); }
Term operator/(const Term& a, double b) { return a.then("_div_scalar", b); }
Term operator+(double a, const Term& b) { return b + a; }
Term operator*(double a, const Term& b) { return b * a; }
Term operator-(double a, const Term& b) { return b.then("_rminus_scalar", a); }
Term operator/(double a, const Term& b) { return b.then("_rdiv_scalar", a); }
Term operator-(const Term& a) { return a.then("negative"); }
Term exp(const Term& a) { return a.then("exp"); }
Term log(const Term& a) { return a.then("log"); }
Term square(const Term& a) { return a.then("square"); }
Term gammaln(const Term& a) { return a.then("gammaln"); }

}  // namespace mxnet
