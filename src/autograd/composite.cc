// SPDX-License-Identifier: Apache-2.0
#include "autograd/composite.h"

#include <map>
#include <string>

#include "base/error.h"
#include "base/small_array.h"
#include "operator/invoke.h"

namespace mxnet::autograd {

namespace {

std::map<std::string, Composite, std::less<>>& composites() {
  static auto* table = new std::map<std::string, Composite, std::less<>>;
  return *table;
}

void check_inputs(const OpDef& op, const Params& params, std::span<const NDArray* const> in) {
  const int expected = op.num_inputs(params, static_cast<int>(in.size()));
  if (expected != static_cast<int>(in.size())) {
    fail(ErrorKind::type, op.name, ": expected ", expected, " inputs, got ", in.size());
  }
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i] || in[i]->is_none()) {
      fail(ErrorKind::type, op.name, ": input ", op.input_name(params, static_cast<int>(i)), " is missing");
    }
  }
}

void write_to(NDArray& given, NDArray result, const OpDef& op, size_t i) {
  if (given.shape() != result.shape() || given.dtype() != result.dtype()) {
    fail(ErrorKind::value, op.name, ": the array given for output ", i, " has shape ", given.shape(), " and dtype ",
         name_of(given.dtype()), ", the result has ", result.shape(), " and ", name_of(result.dtype()));
  }
  given.copy_from(result);
  given.attach(result.attachment());
}

}  // namespace

RegisterComposite::RegisterComposite(const char* op, Composite composite) { composites().emplace(op, composite); }

const Composite& composite_of(const OpDef& op) {
  const auto it = composites().find(op.name);
  if (it == composites().end()) fail(ErrorKind::not_supported, op.name, " cannot be called on arrays");
  return it->second;
}

void run_composite(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                   std::span<NDArray> out, Device device) {
  check_inputs(op, *params, in);
  SmallArray<NDArray, 4> results(out.size());
  composite_of(op).run(op, params, in, results, in.empty() ? device : in[0]->device());
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].is_none())
      out[i] = std::move(results[i]);
    else
      write_to(out[i], std::move(results[i]), op, i);
  }
}

void deliver(NDArray& target, const NDArray& value, Req req) {
  if (req == Req::null) return;
  if (target.is_none()) {
    target = value;
    return;
  }
  static const OpDef& copy = get_op("_copy");
  InvokeOptions options;
  options.req = std::span<const Req>(&req, 1);
  const NDArray* in[] = {&value};
  invoke(copy, copy.params.defaults(), in, std::span<NDArray>(&target, 1), options);
}

}  // namespace mxnet::autograd
