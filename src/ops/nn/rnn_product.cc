// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/rnn_product.h"

#include "backend/cpu/parallel.h"

namespace mxnet::nn {

void widen(DType dtype, const void* from, int64_t n, float* to) {
  dispatch_float(dtype, [&]<typename H>(TypeTag<H>) {
    const auto* source = static_cast<const H*>(from);
    cpu::parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<float>(source[i]);
    });
  });
}

void narrow(DType dtype, const float* from, int64_t n, void* to) {
  dispatch_float(dtype, [&]<typename H>(TypeTag<H>) {
    auto* target = static_cast<H*>(to);
    cpu::parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) target[i] = static_cast<H>(from[i]);
    });
  });
}

RnnProduct::RnnProduct(const cpu::GemmSpec& spec, DType operands, int team)
    : s_(spec), operands_(operands), team_(team), widens_(operands != spec.dtype) {
  if (widens_ && onednn::computes(operands) && s_.m * s_.n * s_.k > 0) {
    try {
      prepare_halves(team);
      return;
    } catch (const dnnl::error&) {  // the float product gives the same
    }
  }
  gemm_ = cpu::Gemm::prepare(spec, team);
  onednn::ScratchPlan plan;
  if (widens_) {
    a_at_ = plan.add(sizeof(float) * static_cast<size_t>(s_.m * s_.k));
    b_at_ = plan.add(sizeof(float) * static_cast<size_t>(s_.k * s_.n));
  }
  inner_at_ = plan.add(gemm_->scratch_bytes);
  scratch_bytes = plan.size();
  cost_ns = gemm_->cost_ns + (widens_ ? (s_.m + s_.n) * s_.k / 4 : 0);
  team_matters = gemm_->team_matters;
}

void RnnProduct::prepare_halves(int team) {
  const onednn::ThreadScope scope(team);
  const auto a = onednn::with_strides({s_.m, s_.k}, operands_, s_.trans_a ? Shape{1, s_.m} : Shape{s_.k, 1});
  const auto b = onednn::with_strides({s_.k, s_.n}, operands_, s_.trans_b ? Shape{1, s_.k} : Shape{s_.n, 1});
  const auto c = onednn::with_strides({s_.m, s_.n}, s_.dtype, {s_.n, 1});
  const auto bias = onednn::with_strides({1, s_.n}, s_.dtype, {s_.n, 1});
  dnnl::primitive_attr attr = onednn::user_scratch();
  dnnl::post_ops post;
  if (s_.accumulate) post.append_sum();
  attr.set_post_ops(post);
  using Desc = dnnl::matmul::primitive_desc;
  const Desc pd = s_.bias ? Desc(onednn::engine(), a, b, bias, c, attr) : Desc(onednn::engine(), a, b, c, attr);
  std::vector<onednn::Primitive::Slot> slots{
      {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
  if (s_.bias) slots.push_back({DNNL_ARG_BIAS, bias});
  matmul_ = onednn::Primitive(dnnl::matmul(pd), std::move(slots));
  scratch_bytes = pd.scratchpad_desc().get_size();
  constexpr int64_t kOpsPerNs = 1000;
  cost_ns = 200 + 2 * s_.m * s_.n * s_.k / kOpsPerNs + (s_.m * s_.k + s_.k * s_.n + 2 * s_.m * s_.n) / 10;
  team_matters = true;
}

void RnnProduct::run(const void* a, const void* b, const void* bias, void* c, void* scratch) const {
  if (matmul_) {
    const onednn::ThreadScope scope(team_);
    if (s_.bias)
      matmul_.run({a, b, c, scratch, bias});
    else
      matmul_.run({a, b, c, scratch});
    return;
  }
  if (widens_) {
    auto* wide_a = static_cast<float*>(onednn::at(scratch, a_at_));
    auto* wide_b = static_cast<float*>(onednn::at(scratch, b_at_));
    widen(operands_, a, s_.m * s_.k, wide_a);
    widen(operands_, b, s_.k * s_.n, wide_b);
    a = wide_a;
    b = wide_b;
  }
  gemm_->run(a, b, bias, c, onednn::at(scratch, inner_at_));
}

template <typename T>
StepProduct<T>::StepProduct(const Sizes& sizes, int64_t steps, int team) : s_(sizes) {
  // Packing reads and writes the weight once, which a product with few rows does as well.
  constexpr int64_t kStepsThatPay = 3;
  if (steps >= kStepsThatPay || s_.rows == 0) return;
  gemm_ = cpu::Gemm::prepare(
      {.dtype = dtype_of<T>(), .m = s_.rows, .n = s_.blocks * s_.n, .k = s_.k, .trans_b = s_.transposed}, team);
}

template <typename T>
int64_t StepProduct<T>::cost_ns(int64_t steps) const {
  if (gemm_) return steps * gemm_->cost_ns;
  constexpr double kOpsPerNs = sizeof(T) == 4 ? 80 : 40;
  const double weights = static_cast<double>(s_.blocks * s_.n * s_.k);
  return static_cast<int64_t>(weights / 2 +
                              static_cast<double>(steps) * (100 + weights * (0.1 + 2.0 * s_.rows / kOpsPerNs)));
}

template <typename T>
void StepProduct<T>::pack(const T* w, T* to) const {
  const int64_t count = panels(), size = s_.k * width();
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, size));
  cpu::parallel_for(s_.blocks * count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t first = i % count * width(), column = i / count * s_.n + first;
      const T* from = w + column * (s_.transposed ? s_.k : 1);
      panel_gemm<T>().pack(from, s_.transposed ? 1 : s_.n, s_.transposed ? s_.k : 1, s_.k,
                           std::min(width(), s_.n - first), to + i * size);
    }
  });
}

template <typename T>
void StepProduct<T>::panel(const T* a, const T* packed, int64_t panel, T* c) const {
  const int64_t first = panel * width(), size = s_.k * width();
  for (int64_t b = 0; b < s_.blocks; ++b) {
    panel_gemm<T>().multiply(a, s_.k, packed + (b * panels() + panel) * size, c + b * s_.n + first, s_.blocks * s_.n,
                             s_.rows, s_.k, std::min(width(), s_.n - first));
  }
}

template class StepProduct<float>;
template class StepProduct<double>;

}  // namespace mxnet::nn
