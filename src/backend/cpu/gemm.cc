// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "backend/cpu/block_gemm.h"
#include "backend/cpu/gemm_tiled.h"
#include "backend/cpu/halves.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/parallel.h"

namespace mxnet::cpu {
namespace {

// Rates of one core; they only steer what may run on the calling thread and what gets a team.
double float_ops_per_ns() { return isa() == Isa::avx512 ? 160 : isa() == Isa::avx2 ? 80 : 20; }
constexpr double kPortableOpsPerNs = 3;
constexpr double kBytesPerNs = 20;

int64_t estimate(const GemmSpec& s, double ops_per_ns) {
  const double ops = 2.0 * s.batch * s.m * s.n * s.k;
  const double bytes = 1.0 * size_of(s.dtype) * s.batch * (s.m * s.k + s.k * s.n + s.m * s.n);
  return static_cast<int64_t>(200 + ops / ops_per_ns + bytes / kBytesPerNs);
}

// Below this many multiplications the call of a primitive costs more than its better use of registers saves.
constexpr int64_t kSmall = 1 << 16;

// Matrices of a batch with fewer than these go one by one through the blocks, packed where they are.
constexpr int64_t kTiny = 16 * 16 * 16;

class SmallGemm final : public Gemm {
 public:
  explicit SmallGemm(const GemmSpec& spec) : s_(spec) { cost_ns = estimate(spec, float_ops_per_ns() / 4); }

  void run(const void* a, const void* b, const void* bias, void* c, void*, const void*) const override {
    const onednn::ThreadScope one(1);
    const auto* pa = static_cast<const float*>(a);
    const auto* pb = static_cast<const float*>(b);
    auto* pc = static_cast<float*>(c);
    float beta = s_.accumulate ? 1.0f : 0.0f;
    if (s_.bias) {
      start_with_bias(static_cast<const float*>(bias), pc);
      beta = 1.0f;
    }
    const int64_t lda = std::max<int64_t>(1, s_.trans_a ? s_.m : s_.k);
    const int64_t ldb = std::max<int64_t>(1, s_.trans_b ? s_.k : s_.n);
    for (int64_t i = 0; i < s_.batch; ++i) {
      dnnl_sgemm(s_.trans_a ? 'T' : 'N', s_.trans_b ? 'T' : 'N', s_.m, s_.n, s_.k, static_cast<float>(s_.alpha),
                 pa + i * s_.m * s_.k, lda, pb + i * s_.k * s_.n, ldb, beta, pc + i * s_.m * s_.n, s_.n);
    }
  }

 private:
  void start_with_bias(const float* bias, float* c) const {
    for (int64_t row = 0; row < s_.batch * s_.m; ++row, c += s_.n) {
      if (!s_.accumulate) {
        std::memcpy(c, bias, sizeof(float) * s_.n);
      } else {
        for (int64_t j = 0; j < s_.n; ++j) c[j] += bias[j];
      }
    }
  }

  GemmSpec s_;
};

Shape shape_of(const GemmSpec& spec, int64_t rows, int64_t cols) {
  return spec.batch == 1 ? Shape{rows, cols} : Shape{spec.batch, rows, cols};
}

class MatmulGemm final : public Gemm {
 public:
  MatmulGemm(const GemmSpec& spec, int team) : team_(team) {
    const onednn::ThreadScope scope(team);
    const auto matrix = [&](int64_t rows, int64_t cols, bool transposed) {
      if (spec.batch == 1) {
        return onednn::with_strides({rows, cols}, spec.dtype, transposed ? Shape{1, rows} : Shape{cols, 1});
      }
      return onednn::with_strides({spec.batch, rows, cols}, spec.dtype,
                                  transposed ? Shape{rows * cols, 1, rows} : Shape{rows * cols, cols, 1});
    };
    const auto a = matrix(spec.m, spec.k, spec.trans_a);
    const auto plain_b = matrix(spec.k, spec.n, spec.trans_b);
    const auto b = spec.pack_b ? onednn::any_layout(shape_of(spec, spec.k, spec.n), spec.dtype) : plain_b;
    const auto c = matrix(spec.m, spec.n, false);
    dnnl::primitive_attr attr = onednn::user_scratch();
    dnnl::post_ops post;
    if (spec.alpha != 1) post.append_eltwise(dnnl::algorithm::eltwise_linear, static_cast<float>(spec.alpha), 0.0f);
    if (spec.accumulate) post.append_sum();
    attr.set_post_ops(post);
    using Desc = dnnl::matmul::primitive_desc;
    const onednn::Desc bias = onednn::with_strides(spec.batch == 1 ? Shape{1, spec.n} : Shape{1, 1, spec.n}, spec.dtype,
                                                   spec.batch == 1 ? Shape{spec.n, 1} : Shape{spec.n, spec.n, 1});
    const Desc pd = spec.bias ? Desc(onednn::engine(), a, b, bias, c, attr) : Desc(onednn::engine(), a, b, c, attr);
    const onednn::Desc own_b = pd.weights_desc();
    if (own_b != plain_b) {
      reorder_ = onednn::reorder(plain_b, own_b);
      packed_b_bytes = own_b.get_size();
    }
    std::vector<onednn::Primitive::Slot> slots{
        {DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, own_b}, {DNNL_ARG_DST, c}, {DNNL_ARG_SCRATCHPAD, pd.scratchpad_desc()}};
    if (spec.bias) slots.push_back({DNNL_ARG_BIAS, bias});
    matmul_ = onednn::Primitive(dnnl::matmul(pd), std::move(slots));
    has_bias_ = spec.bias;
    scratch_bytes = pd.scratchpad_desc().get_size();
    cost_ns = estimate(spec, float_ops_per_ns());
    team_matters = true;
  }

  void pack(const void* b, void* packed) const override {
    const onednn::ThreadScope scope(team_);
    reorder_.run({b, packed});
  }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch, const void*) const override {
    const onednn::ThreadScope scope(team_);
    if (has_bias_)
      matmul_.run({a, b, c, scratch, bias});
    else
      matmul_.run({a, b, c, scratch});
  }

 private:
  int team_;
  bool has_bias_ = false;
  onednn::Primitive matmul_, reorder_;
};

// Any dtype. Rows of c in parallel; the inner loop runs along a row of b (or of its transpose, as a dot product).
template <typename T>
class PortableGemm final : public Gemm {
 public:
  explicit PortableGemm(const GemmSpec& spec) : s_(spec) { cost_ns = estimate(spec, kPortableOpsPerNs); }

  void run(const void* a, const void* b, const void* bias, void* c, void*, const void*) const override {
    const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, s_.n * s_.k));
    parallel_for(s_.batch * s_.m, grain, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t i = row / s_.m;
        compute_row(static_cast<const T*>(a) + i * s_.m * s_.k, static_cast<const T*>(b) + i * s_.k * s_.n,
                    static_cast<const T*>(bias), static_cast<T*>(c) + row * s_.n, row % s_.m);
      }
    });
  }

 private:
  using Acc = accumulate_t<T>;
  static constexpr int64_t kBlock = 64;

  void compute_row(const T* a, const T* b, const T* bias, T* c, int64_t row) const {
    const int64_t a_start = s_.trans_a ? row : row * s_.k;
    const int64_t a_step = s_.trans_a ? s_.m : 1;
    for (int64_t j0 = 0; j0 < s_.n; j0 += kBlock) {
      const int64_t width = std::min(kBlock, s_.n - j0);
      Acc sum[kBlock] = {};
      if (s_.trans_b) {
        for (int64_t j = 0; j < width; ++j) {
          const T* from = b + (j0 + j) * s_.k;
          for (int64_t p = 0; p < s_.k; ++p) sum[j] += Acc(a[a_start + p * a_step]) * Acc(from[p]);
        }
      } else {
        for (int64_t p = 0; p < s_.k; ++p) {
          const Acc x = Acc(a[a_start + p * a_step]);
          const T* from = b + p * s_.n + j0;
          for (int64_t j = 0; j < width; ++j) sum[j] += x * Acc(from[j]);
        }
      }
      for (int64_t j = 0; j < width; ++j) {
        Acc value = s_.alpha == 1 ? sum[j] : static_cast<Acc>(s_.alpha * static_cast<double>(sum[j]));
        if (s_.bias) value += Acc(bias[j0 + j]);
        if (s_.accumulate) value += Acc(c[j0 + j]);
        c[j0 + j] = static_cast<T>(value);
      }
    }
  }

  GemmSpec s_;
};

// Double matrices, of which oneDNN has no product, and many small ones.
template <typename T>
class BlockedGemm final : public Gemm {
 public:
  BlockedGemm(const GemmSpec& spec, int team) : s_(spec), team_(team), by_matrix_(spec.batch >= 2 * team) {
    cost_ns = estimate(spec, float_ops_per_ns() / 3);
    const int64_t most = by_matrix_ ? std::min<int64_t>(spec.batch, 2 * team) : 2 * team;
    grain_ = std::max<int64_t>(1, (spec.batch + most - 1) / most);
    memory_ = (block_gemm<T>().memory(spec.m, spec.n, spec.k) + 15) / 16 * 16;
    scratch_bytes = static_cast<size_t>(most * memory_) * sizeof(T);
    team_matters = true;
  }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch, const void*) const override {
    T* memory = static_cast<T*>(scratch);
    const auto product = [&](int64_t i) {
      return BlockProduct<T>{.m = s_.m,
                             .n = s_.n,
                             .k = s_.k,
                             .a = static_cast<const T*>(a) + i * s_.m * s_.k,
                             .a_row = s_.trans_a ? 1 : s_.k,
                             .a_col = s_.trans_a ? s_.m : 1,
                             .b = static_cast<const T*>(b) + i * s_.k * s_.n,
                             .b_row = s_.trans_b ? 1 : s_.n,
                             .b_col = s_.trans_b ? s_.k : 1,
                             .c = static_cast<T*>(c) + i * s_.m * s_.n,
                             .c_row = s_.n,
                             .alpha = static_cast<T>(s_.alpha),
                             .add = s_.accumulate};
    };
    if (by_matrix_) {
      parallel_for(s_.batch, grain_, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          block_gemm<T>().multiply(product(i), memory + begin / grain_ * memory_);
        }
      });
    } else {
      for (int64_t i = 0; i < s_.batch; ++i) one(product(i), memory);
    }
    if (bias) add_bias(static_cast<const T*>(bias), static_cast<T*>(c));
  }

 private:
  void one(const BlockProduct<T>& p, T* memory) const {
    const BlockCut cut = BlockCut::of(p, team_);
    parallel_for(
        cut.units, cut.grain,
        [&](int64_t begin, int64_t end) {
          block_gemm<T>().multiply(cut.piece(p, begin, end), memory + begin / cut.grain * memory_);
        },
        true);
  }
  void add_bias(const T* bias, T* c) const {
    for (int64_t row = 0; row < s_.batch * s_.m; ++row, c += s_.n) {
      for (int64_t j = 0; j < s_.n; ++j) c[j] += bias[j];
    }
  }

  GemmSpec s_;
  int team_;
  bool by_matrix_;
  int64_t grain_, memory_;  // matrices of a piece; elements for each piece
};

// Half formats that the processor does not multiply: through float copies.
class ThroughFloat final : public Gemm {
 public:
  ThroughFloat(const GemmSpec& spec, int team) : s_(spec) {
    GemmSpec wide = spec;
    wide.dtype = DType::f32;
    wide.pack_b = false;
    inner_ = Gemm::prepare(wide, team);
    onednn::ScratchPlan plan;
    a_at_ = plan.add(sizeof(float) * spec.batch * spec.m * spec.k);
    b_at_ = plan.add(sizeof(float) * spec.batch * spec.k * spec.n);
    c_at_ = plan.add(sizeof(float) * spec.batch * spec.m * spec.n);
    bias_at_ = plan.add(sizeof(float) * spec.n);
    inner_at_ = plan.add(inner_->scratch_bytes);
    scratch_bytes = plan.size();
    cost_ns = inner_->cost_ns + convert_cost(static_cast<int64_t>(inner_at_ / sizeof(float)));
    team_matters = inner_->team_matters;
  }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch, const void*) const override {
    const auto part = [&](size_t offset) { return static_cast<float*>(onednn::at(scratch, offset)); };
    widen(s_.dtype, a, part(a_at_), s_.batch * s_.m * s_.k);
    widen(s_.dtype, b, part(b_at_), s_.batch * s_.k * s_.n);
    if (s_.bias) widen(s_.dtype, bias, part(bias_at_), s_.n);
    if (s_.accumulate) widen(s_.dtype, c, part(c_at_), s_.batch * s_.m * s_.n);
    inner_->run(part(a_at_), part(b_at_), s_.bias ? part(bias_at_) : nullptr, part(c_at_), part(inner_at_));
    narrow(s_.dtype, part(c_at_), c, s_.batch * s_.m * s_.n);
  }

 private:
  GemmSpec s_;
  std::unique_ptr<Gemm> inner_;
  size_t a_at_, b_at_, c_at_, bias_at_, inner_at_;
};

// Activation and residual after a kernel that does not know them.
class ThenFinish final : public Gemm {
 public:
  ThenFinish(const GemmSpec& spec, int team) : s_(spec) {
    GemmSpec bare = spec;
    bare.activation = Activation::none;
    bare.residual = false;
    inner_ = Gemm::prepare(bare, team);
    scratch_bytes = inner_->scratch_bytes;
    packed_b_bytes = inner_->packed_b_bytes;
    cost_ns = inner_->cost_ns + spec.batch * spec.m * spec.n;
    team_matters = inner_->team_matters;
  }

  void pack(const void* b, void* packed) const override { inner_->pack(b, packed); }

  void run(const void* a, const void* b, const void* bias, void* c, void* scratch,
           const void* residual) const override {
    inner_->run(a, b, bias, c, scratch);
    const int64_t n = s_.n;
    parallel_for(s_.batch * s_.m, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, n)),
                 [&](int64_t begin, int64_t end) {
                   const auto* added = static_cast<const float*>(residual);
                   const TileFinish finish{.activation = s_.activation,
                                           .low = s_.low,
                                           .high = s_.high,
                                           .residual = added ? added + begin * n : nullptr,
                                           .residual_row = n};
                   tile_kernels().finish(finish, static_cast<float*>(c) + begin * n, n, end - begin, n);
                 });
  }

 private:
  GemmSpec s_;
  std::unique_ptr<Gemm> inner_;
};

std::unique_ptr<Gemm> portable(const GemmSpec& spec) {
  return dispatch(spec.dtype, [&]<typename T>(TypeTag<T>) -> std::unique_ptr<Gemm> {
    if constexpr (std::is_same_v<T, bool>) {
      fail(ErrorKind::type, "matrix product: dtype bool is not supported");
    } else {
      return std::make_unique<PortableGemm<T>>(spec);
    }
  });
}

}  // namespace

void Gemm::pack(const void*, void*) const { fail("matrix product: this kernel reads b as it is"); }

std::unique_ptr<Gemm> Gemm::prepare(const GemmSpec& spec, int team) {
  const int64_t work = spec.batch * spec.m * spec.n * spec.k;
  const bool finishes = spec.activation != Activation::none || spec.residual;
  if (finishes && spec.dtype != DType::f32) fail("matrix product: an activation or sum after it needs float32");
  if (work > kSmall) {
    if (auto tiled = tiled_gemm(spec, team)) return tiled;
  }
  if (finishes) return std::make_unique<ThenFinish>(spec, team);
  if (work == 0) return portable(spec);
  if (spec.dtype == DType::f32 && spec.batch > 1 && work <= spec.batch * kTiny) {
    return std::make_unique<BlockedGemm<float>>(spec, team);
  }
  if (spec.dtype == DType::f32 && work <= kSmall) return std::make_unique<SmallGemm>(spec);
  if (onednn::computes(spec.dtype)) {
    try {
      return std::make_unique<MatmulGemm>(spec, team);
    } catch (const dnnl::error&) {  // the next one computes the same
    }
  }
  if (is_half(spec.dtype)) return std::make_unique<ThroughFloat>(spec, team);
  if (spec.dtype == DType::f64) return std::make_unique<BlockedGemm<double>>(spec, team);
  return portable(spec);
}

}  // namespace mxnet::cpu
