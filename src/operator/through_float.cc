// SPDX-License-Identifier: Apache-2.0
#include "operator/through_float.h"

#include <algorithm>

#include "backend/cpu/halves.h"
#include "base/small_array.h"
#include "operator/op.h"

namespace mxnet {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kNone = SIZE_MAX;

class ThroughFloat final : public Kernel {
 public:
  ThroughFloat(const PrepareArgs& args, std::unique_ptr<Kernel> inner) : inner_(std::move(inner)) {
    int64_t converted = 0;
    const auto place = [&](const TensorSpec& spec, bool used) -> Part {
      if (!used || !is_half(spec.dtype)) return {};
      const Part part{spec.dtype, spec.shape.size(), scratch};
      converted += part.count;
      scratch += (static_cast<size_t>(part.count) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
      return part;
    };
    for (const TensorSpec& spec : args.in) in_.push_back(place(spec, true));
    for (size_t i = 0; i < args.out.size(); ++i) out_.push_back(place(args.out[i], args.req[i] != Req::null));
    inner_at_ = scratch;
    scratch += inner_->scratch;
    cost_ns = std::min(kUnknownCost, inner_->cost_ns + cpu::convert_cost(converted));
    random_draws = inner_->random_draws;
    team_matters = inner_->team_matters;
  }

  void run(const KernelCall& call) const override {
    SmallArray<void*, 24> pointers(in_.size() + out_.size());
    const auto own = [&](const Part& part) { return reinterpret_cast<float*>(bytes(call) + part.at); };
    for (size_t i = 0; i < in_.size(); ++i) {
      pointers[i] = in_[i].at == kNone ? call.in[i] : own(in_[i]);
      if (in_[i].at != kNone) cpu::widen(in_[i].dtype, call.in[i], own(in_[i]), in_[i].count);
    }
    void** results = pointers.data() + in_.size();
    for (size_t i = 0; i < out_.size(); ++i) results[i] = out_[i].at == kNone ? call.out[i] : own(out_[i]);
    inner_->run({pointers.data(), results, call.params, call.random, bytes(call) + inner_at_});
    for (size_t i = 0; i < out_.size(); ++i) {
      if (out_[i].at != kNone) cpu::narrow(out_[i].dtype, own(out_[i]), call.out[i], out_[i].count);
    }
  }

 private:
  struct Part {
    DType dtype = DType::unknown;
    int64_t count = 0;
    size_t at = kNone;
  };
  static char* bytes(const KernelCall& call) { return static_cast<char*>(call.scratch); }

  std::unique_ptr<Kernel> inner_;
  std::vector<Part> in_, out_;
  size_t inner_at_ = 0;
};

std::vector<TensorSpec> widened(std::span<const TensorSpec> specs, bool& any) {
  std::vector<TensorSpec> wide(specs.begin(), specs.end());
  for (TensorSpec& spec : wide) {
    if (!is_half(spec.dtype)) continue;
    spec.dtype = DType::f32;
    any = true;
  }
  return wide;
}

}  // namespace

Prepared through_float(const PrepareArgs& args, PrepareFn inner) {
  for (size_t i = 0; i < args.in.size(); ++i) {
    if (is_half(args.in[i].dtype) && args.op.is_mutated(args.params, static_cast<int>(i))) return "writes a half input";
  }
  bool any = false;
  const std::vector<TensorSpec> in = widened(args.in, any);
  std::vector<TensorSpec> out = widened(args.out, any);
  if (!any) return "no half type";
  std::vector<Req> req(args.req.begin(), args.req.end());
  std::replace(req.begin(), req.end(), Req::add, Req::write);  // the runtime adds
  Prepared prepared = inner({args.op, args.params, in, args.in_layout, out, req, args.training, args.team});
  if (!prepared.kernel) return prepared;
  for (size_t i = 0; i < out.size(); ++i) args.out[i].layout = out[i].layout;
  return std::unique_ptr<Kernel>(new ThroughFloat(args, std::move(prepared.kernel)));
}

}  // namespace mxnet
