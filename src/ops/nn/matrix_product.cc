// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/matrix_product.h"

#include <algorithm>

namespace mxnet::nn {
namespace {

class ProductKernel final : public Kernel {
 public:
  ProductKernel(const PrepareArgs& args, const ProductDims& d) {
    accepts_add = true;
    gemm_ = cpu::Gemm::prepare({.dtype = args.in[0].dtype,
                                .m = d.m,
                                .n = d.n,
                                .k = d.k,
                                .trans_a = d.trans_a,
                                .trans_b = d.trans_b,
                                .batch = d.batch,
                                .alpha = d.alpha,
                                .accumulate = args.req[0] == Req::add},
                               args.team);
    cost_ns = gemm_->cost_ns;
    scratch = gemm_->scratch_bytes;
    team_matters = gemm_->team_matters;
  }
  void run(const KernelCall& c) const override { gemm_->run(c.in[0], c.in[1], nullptr, c.out[0], c.scratch); }

 private:
  std::unique_ptr<cpu::Gemm> gemm_;
};

class ProductBackwardKernel final : public Kernel {
 public:
  ProductBackwardKernel(const PrepareArgs& args, const ProductDims& d) : dims_(d) {
    accepts_add = true;
    cost_ns = 50;
    cpu::GemmSpec s{.dtype = args.in[0].dtype, .batch = d.batch, .alpha = d.alpha};
    if (args.req[0] != Req::null) {
      s.accumulate = args.req[0] == Req::add;
      if (d.trans_a) {  // k x m = op(b) * dc'
        s.m = d.k, s.n = d.m, s.k = d.n, s.trans_a = d.trans_b, s.trans_b = true;
      } else {  // m x k = dc * op(b)'
        s.m = d.m, s.n = d.k, s.k = d.n, s.trans_a = false, s.trans_b = !d.trans_b;
      }
      a_ = account(cpu::Gemm::prepare(s, args.team));
    }
    if (args.req[1] != Req::null) {
      s.accumulate = args.req[1] == Req::add;
      if (d.trans_b) {  // n x k = dc' * op(a)
        s.m = d.n, s.n = d.k, s.k = d.m, s.trans_a = true, s.trans_b = d.trans_a;
      } else {  // k x n = op(a)' * dc
        s.m = d.k, s.n = d.n, s.k = d.m, s.trans_a = !d.trans_a, s.trans_b = false;
      }
      b_ = account(cpu::Gemm::prepare(s, args.team));
    }
  }

  void run(const KernelCall& c) const override {
    const void *dc = c.in[0], *a = c.in[1], *b = c.in[2];
    if (a_) a_->run(dims_.trans_a ? b : dc, dims_.trans_a ? dc : b, nullptr, c.out[0], c.scratch);
    if (b_) b_->run(dims_.trans_b ? dc : a, dims_.trans_b ? a : dc, nullptr, c.out[1], c.scratch);
  }

 private:
  std::unique_ptr<cpu::Gemm> account(std::unique_ptr<cpu::Gemm> gemm) {
    cost_ns += gemm->cost_ns;
    scratch = std::max(scratch, gemm->scratch_bytes);
    team_matters |= gemm->team_matters;
    return gemm;
  }

  ProductDims dims_;
  std::unique_ptr<cpu::Gemm> a_, b_;
};

class DenseKernel final : public Kernel {
 public:
  DenseKernel(const cpu::GemmSpec& spec, int team, int bias_input, int residual_input)
      : gemm_(cpu::Gemm::prepare(spec, team)),
        bias_(spec.bias ? bias_input : 0),
        residual_(spec.residual ? residual_input : 0) {
    if (gemm_->packed_b_bytes) packs.push_back({1, gemm_->packed_b_bytes, pack_kernel(gemm_)});
    cost_ns = gemm_->cost_ns;
    scratch = gemm_->scratch_bytes;
    team_matters = gemm_->team_matters;
  }

  void run(const KernelCall& c) const override {
    const auto optional = [&](int i) -> const void* { return i ? c.in[i] : nullptr; };
    gemm_->run(c.in[0], c.in[1], optional(bias_), c.out[0], c.scratch, optional(residual_));
  }

 private:
  std::shared_ptr<const cpu::Gemm> gemm_;
  int bias_, residual_;  // inputs; 0: none
};

}  // namespace

std::shared_ptr<const Kernel> pack_kernel(std::shared_ptr<const cpu::Gemm> gemm) {
  const cpu::Gemm& g = *gemm;
  auto kernel = make_kernel([gemm = std::move(gemm)](const KernelCall& c) { gemm->pack(c.in[0], c.out[0]); },
                            500 + static_cast<int64_t>(g.packed_b_bytes / 4));
  kernel->team_matters = g.team_matters;
  return kernel;
}

std::unique_ptr<Kernel> dense_kernel(const cpu::GemmSpec& spec, int team, int bias_input, int residual_input) {
  return std::make_unique<DenseKernel>(spec, team, bias_input, residual_input);
}

std::unique_ptr<Kernel> product_kernel(const PrepareArgs& args, const ProductDims& dims) {
  return std::make_unique<ProductKernel>(args, dims);
}

std::unique_ptr<Kernel> product_backward_kernel(const PrepareArgs& args, const ProductDims& dims) {
  return std::make_unique<ProductBackwardKernel>(args, dims);
}

}  // namespace mxnet::nn
