// SPDX-License-Identifier: Apache-2.0
#include "operator/storage.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <unordered_set>

#include "base/env.h"
#include "base/small_array.h"

namespace mxnet {
namespace {

std::string storage_list(std::span<const NDArray* const> arrays) {
  std::string text;
  for (const NDArray* a : arrays) text += str(text.empty() ? "" : ", ", a->is_none() ? "none" : name_of(a->storage()));
  return text;
}

void warn_once(const OpDef& op, std::span<const NDArray* const> in) {
  if (!env::settings().storage_fallback_log) return;
  static std::mutex mutex;
  static auto* warned = new std::unordered_set<const OpDef*>;
  const std::lock_guard lock(mutex);
  if (!warned->insert(&op).second) return;
  std::fprintf(
      stderr,
      "mxnet: operator %s has no kernel for the storage types (%s): it runs on dense copies, which may be slow "
      "and large. MXNET_STORAGE_FALLBACK_LOG_VERBOSE=0 hides this message.\n",
      op.name.c_str(), storage_list(in).c_str());
}

NDArray dense_copy(const NDArray& array) {
  NDArray copy = NDArray::empty(array.shape(), array.dtype(), array.device());
  copy.copy_from(array);
  return copy;
}

// Writes or adds a dense result to the sparse array that the caller gave.
void deliver(const OpDef& op, const NDArray& result, const NDArray& target, Req req) {
  if (target.shape() != result.shape() || target.dtype() != result.dtype()) {
    fail(ErrorKind::value, op.name, ": the given ", name_of(target.storage()), " array has shape ", target.shape(),
         " and dtype ", name_of(target.dtype()), ", the result has ", result.shape(), " and ", name_of(result.dtype()));
  }
  if (req == Req::write) return target.copy_from(result);
  NDArray rows = NDArray::sparse(target.storage(), target.shape(), target.dtype(), target.device());
  rows.copy_from(result);
  target.add_rows_of(rows);
}

}  // namespace

std::optional<std::vector<StorageType>> infer_storage(const OpDef& op, const Params& params,
                                                      std::span<const NDArray* const> in,
                                                      std::span<const NDArray> out) {
  if (!op.sparse) return std::nullopt;
  std::vector<TensorSpec> in_specs, out_specs(static_cast<size_t>(op.num_all_outputs(params)));
  for (const NDArray* a : in) in_specs.push_back({a->shape(), a->dtype(), Layout::plain, a->storage()});
  for (size_t i = 0; i < out_specs.size(); ++i) {
    out_specs[i].storage = i < out.size() && !out[i].is_none() ? out[i].storage() : StorageType::unset;
  }
  if (!op.sparse->infer(params, in_specs, out_specs)) return std::nullopt;
  std::vector<StorageType> storage;
  for (size_t i = 0; i < out_specs.size(); ++i) {
    const StorageType s = out_specs[i].storage == StorageType::unset ? StorageType::dense : out_specs[i].storage;
    if (i < out.size() && !out[i].is_none() && out[i].storage() != s) return std::nullopt;
    storage.push_back(s);
  }
  return storage;
}

void invoke_through_dense(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in,
                          std::span<NDArray> out, const InvokeOptions& options) {
  warn_once(op, in);
  SmallArray<NDArray, 8> copies(in.size());
  SmallArray<const NDArray*, 8> inputs(in.size());
  for (size_t i = 0; i < in.size(); ++i) {
    inputs[i] = in[i];
    if (!in[i]->is_sparse()) continue;
    copies[i] = dense_copy(*in[i]);
    inputs[i] = &copies[i];
  }
  SmallArray<NDArray, 4> results(out.size());
  std::vector<Req> req(options.req.begin(), options.req.end());
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].is_none() || !out[i].is_sparse())
      results[i] = out[i];
    else if (i < req.size() && req[i] == Req::add)
      req[i] = Req::write;
  }
  InvokeOptions dense = options;
  dense.req = req;
  invoke(op, params, inputs, results, dense);
  for (size_t i = 0; i < in.size(); ++i) {
    if (!copies[i].is_none() && op.is_mutated(*params, static_cast<int>(i))) in[i]->copy_from(copies[i]);
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].is_none() || !out[i].is_sparse())
      out[i] = std::move(results[i]);
    else if (!results[i].is_none())
      deliver(op, results[i], out[i], i < options.req.size() ? options.req[i] : Req::write);
  }
}

}  // namespace mxnet
