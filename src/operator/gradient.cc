// SPDX-License-Identifier: Apache-2.0
#include "operator/gradient.h"

#include "operator/op.h"

namespace mxnet {
namespace {

const Ref<Params>& or_defaults(const OpDef& op, const Ref<Params>& params) {
  if (params) return params;
  if (!op.params.defaults()) fail("the gradient of an operator calls ", op.name, " without its required parameters");
  return op.params.defaults();
}

}  // namespace

Value GradientBuilder::call(std::string_view name, Values in, const Ref<Params>& params) {
  const OpDef& op = get_op(name);
  return apply(op, or_defaults(op, params), std::span<const Value>(in.begin(), in.size()))[0];
}

Value GradientBuilder::call(std::string_view name, Values in, const ParamMap& params) {
  const OpDef& op = get_op(name);
  return apply(op, op.params.parse(op.name, params), std::span<const Value>(in.begin(), in.size()))[0];
}

void GradientBuilder::give(int i, std::string_view name, Values in, const Ref<Params>& params) {
  if (!needs(i)) return;
  const OpDef& op = get_op(name);
  give_all(std::span<const int>(&i, 1), op, or_defaults(op, params), std::span<const Value>(in.begin(), in.size()));
}

void GradientBuilder::give_all(std::initializer_list<int> targets, std::string_view name, Values in,
                               const Ref<Params>& params) {
  const OpDef& op = get_op(name);
  give_all(std::span<const int>(targets.begin(), targets.size()), op, or_defaults(op, params),
           std::span<const Value>(in.begin(), in.size()));
}

}  // namespace mxnet
