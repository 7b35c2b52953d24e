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
    take_packs(args);
    for (size_t i = 0; i < args.in.size(); ++i) in_.push_back(place(args.in[i], !is_packed(i)));
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

  bool is_packed(size_t input) const {
    return std::any_of(packs.begin(), packs.end(),
                       [&](const Pack& p) { return static_cast<size_t>(p.input) == input; });
  }

  // What the kernel packs is widened with it; what seldom changes is widened once.
  void take_packs(const PrepareArgs& args) {
    for (const Pack& pack : inner_->packs) {
      const TensorSpec& spec = args.in[static_cast<size_t>(pack.input)];
      packs.push_back(is_half(spec.dtype) ? widened_pack(pack, spec) : pack);
    }
    for (size_t i = 0; i < args.in.size(); ++i) {
      const TensorSpec& spec = args.in[i];
      if (!is_half(spec.dtype) || !args.is_unchanging(i) || is_packed(i)) continue;
      const int64_t count = spec.shape.size();
      packs.push_back(
          {static_cast<int>(i), static_cast<size_t>(count) * sizeof(float),
           make_kernel([dtype = spec.dtype, count](
                           const KernelCall& c) { cpu::widen(dtype, c.in[0], static_cast<float*>(c.out[0]), count); },
                       cpu::convert_cost(count))});
    }
  }

  static Pack widened_pack(const Pack& pack, const TensorSpec& spec) {
    const int64_t count = spec.shape.size();
    const size_t wide_bytes = (static_cast<size_t>(count) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
    auto kernel = make_kernel(
        [inner = pack.kernel, dtype = spec.dtype, count, wide_bytes](const KernelCall& c) {
          void* wide = c.scratch;
          cpu::widen(dtype, c.in[0], static_cast<float*>(wide), count);
          inner->run({&wide, c.out, c.params, c.random, bytes(c) + wide_bytes});
        },
        pack.kernel->cost_ns + cpu::convert_cost(count), wide_bytes + pack.kernel->scratch);
    kernel->team_matters = pack.kernel->team_matters;
    return {pack.input, pack.bytes, std::move(kernel)};
  }

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
  Prepared prepared =
      inner({args.op, args.params, in, args.in_layout, out, req, args.training, args.team, args.unchanging});
  if (!prepared.kernel) return prepared;
  for (size_t i = 0; i < out.size(); ++i) args.out[i].layout = out[i].layout;
  return std::unique_ptr<Kernel>(new ThroughFloat(args, std::move(prepared.kernel)));
}

}  // namespace mxnet
