// SPDX-License-Identifier: Apache-2.0
// SyncBatchNorm over several devices: BatchNorm written with operators, its sums taken over the devices of the group.
#include <cstdint>

#include "autograd/composite.h"
#include "autograd/node.h"
#include "autograd/tape.h"
#include "operator/composition.h"
#include "ops/nn/batch_norm.h"

namespace mxnet::autograd {
namespace {

using nn::SyncBatchNormParams;

std::vector<NDArray> call_recorded(const OpDef& op, const Ref<Params>& params, std::span<const NDArray> in) {
  return call(op, params, in, {});
}

Term over_devices(const Term& part, const SyncBatchNormParams& p, const char* what) {
  return part.then("_sync_sum", {{"key", p.key + what}, {"ndev", int64_t{p.ndev}}});
}

void as_batch_norm(const SyncBatchNormParams& p, std::span<const NDArray* const> in, std::span<NDArray> out) {
  static const OpDef& op = get_op("BatchNorm");
  nn::BatchNormParams plain = p;
  plain.axis = 1;
  call(op, make_params(plain), in, out, in[0]->device());
}

// moving = moving * momentum + batch * (1 - momentum)
void update(const NDArray& moving, const Term& batch, float momentum) {
  const FlagScope flags(false, true);
  const Term now(call_recorded, batch.array().detached()), before(call_recorded, moving);
  const double rest = 1.0 - momentum;
  moving.copy_from((before * double{momentum} + now * rest).array());
}

void run(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
         Device) {
  const auto& p = params->as<SyncBatchNormParams>();
  if (!is_training() || p.use_global_stats) return as_batch_norm(p, in, out);
  const Shape& shape = in[0]->shape();
  if (shape.rank() < 2) fail(ErrorKind::value, op.name, ": data must have at least 2 dimensions, got shape ", shape);
  const auto input = [&](size_t i) { return Term(call_recorded, *in[i]); };
  const DType dtype = in[0]->dtype();
  const Term x = input(0).cast(dtype == DType::f64 ? dtype : DType::f32);
  const int64_t channels = shape[1];
  Shape axes, row = shape;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i == 1) continue;
    axes.push_back(i);
    row[i] = 1;
  }

  // Sums of each channel with the number of values behind them, then those of the squared distances from the mean.
  const double count = channels ? static_cast<double>(shape.size() / channels) : 0;
  const Term parts[] = {x.sum(axes), constant(x, {1}, {&count, 1})};
  const Term sums = over_devices(join("Concat", 0, parts), p, "/mean");
  const Term total = sums.slice(0, channels, channels + 1), mean = sums.slice(0, 0, channels) / total;
  const Term centered = x - mean.reshaped(row);
  const Term var = over_devices(square(centered).sum(axes), p, "/var") / total;
  const Term inverse = (var + p.eps).then("rsqrt");
  const Term gamma = p.fix_gamma ? input(1) * 0.0 + 1.0 : input(1);
  const Term scale = gamma.cast(x.array().dtype()) * inverse;
  const Term y = centered * scale.reshaped(row) + input(2).cast(x.array().dtype()).reshaped(row);

  out[0] = y.cast(dtype).array();
  if (out.size() > 1) {
    out[1] = mean.array();
    out[2] = inverse.array();
  }
  update(*in[3], mean.cast(in[3]->dtype()), p.momentum);
  update(*in[4], var.cast(in[4]->dtype()), p.momentum);
}

const RegisterComposite runs{"_contrib_SyncBatchNorm", {run}};

}  // namespace
}  // namespace mxnet::autograd
