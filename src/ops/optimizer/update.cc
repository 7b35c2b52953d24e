// SPDX-License-Identifier: Apache-2.0
#include "ops/optimizer/update.h"

#include <algorithm>

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet {

#if defined(__x86_64__)
namespace sse42 {
extern const ops::UpdateTable update_table;
}
namespace avx2 {
extern const ops::UpdateTable update_table;
}
namespace avx512 {
extern const ops::UpdateTable update_table;
}
#else
namespace generic {
extern const ops::UpdateTable update_table;
}
#endif

namespace ops {

const UpdateTable& update_table() {
#if defined(__x86_64__)
  switch (cpu::isa()) {
    case cpu::Isa::avx512: return avx512::update_table;
    case cpu::Isa::avx2: return avx2::update_table;
    default: return sse42::update_table;
  }
#else
  return generic::update_table;
#endif
}

UpdateFn find_update(Rule rule, DType dtype, bool with_master) {
  const auto& row = update_table().fn[static_cast<int>(rule)];
  switch (dtype) {
    case DType::f32: return row[with_master ? 6 : 0];
    case DType::f64: return with_master ? nullptr : row[1];
    case DType::f16: return row[with_master ? 4 : 2];
    case DType::bf16: return row[with_master ? 5 : 3];
    default: return nullptr;
  }
}

namespace {
constexpr int64_t kPiece = 16 * 1024;
}

UpdatePieces::UpdatePieces(const std::vector<int64_t>& sizes) {
  for (size_t array = 0; array < sizes.size(); ++array) {
    total_ += sizes[array];
    for (int64_t begin = 0; begin < sizes[array]; begin += kPiece) {
      pieces_.push_back({static_cast<int>(array), begin, std::min(begin + kPiece, sizes[array])});
    }
  }
}

void UpdatePieces::run_all(void (*body)(void*, int, int64_t, int64_t), void* context) const {
  cpu::parallel_for(static_cast<int64_t>(pieces_.size()), 1, [=, this](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(context, pieces_[i].array, pieces_[i].begin, pieces_[i].end);
  });
}

Prepared prepare_update(const PrepareArgs& args, Rule rule, int states, bool with_master, ScalarsFn scalars) {
  const UpdateFn update = find_update(rule, args.in[0].dtype, with_master);
  if (!update) return str("weights must be floating point, got ", name_of(args.in[0].dtype));
  const int64_t n = args.in[0].shape.size();
  UpdatePieces pieces({n});
  return make_kernel(
      [=, pieces = std::move(pieces)](const KernelCall& c) {
        UpdateArrays arrays;
        arrays.out = c.out[0];
        if (!arrays.out) return;
        arrays.weight = c.in[0];
        arrays.grad = c.in[1];
        for (int s = 0; s < states; ++s) arrays.state[s] = c.in[2 + s];
        if (with_master) arrays.master = static_cast<float*>(c.in[2 + states]);
        const UpdateScalars numbers = scalars(*c.params);
        pieces.run([&](int, int64_t begin, int64_t end) { update(arrays, numbers, begin, end); });
      },
      30 + n * (3 + 2 * states) * size_of(args.in[0].dtype) / 8);
}

}  // namespace ops
}  // namespace mxnet
