// SPDX-License-Identifier: Apache-2.0
#include "ops/optimizer/update.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "backend/cpu/isa.h"
#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
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

UpdateTable::Entry find_update(Rule rule, DType dtype, bool with_master) {
  const auto& row = update_table().fn[static_cast<int>(rule)];
  switch (dtype) {
    case DType::f32: return row[with_master ? 6 : 0];
    case DType::f64: return with_master ? UpdateTable::Entry{} : row[1];
    case DType::f16: return row[with_master ? 4 : 2];
    case DType::bf16: return row[with_master ? 5 : 3];
    default: return {};
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

namespace {

// Whether rows that the gradient does not store stay as they are. Without the parameter lazy_update that is so where
// the weight is row_sparse as well; updates through a master weight are never lazy.
bool is_lazy(const PrepareArgs& args, Rule rule, bool with_master) {
  if (with_master) return false;
  const int field = args.op.params.find("lazy_update");
  if (field < 0) return rule == Rule::adagrad || is_sparse(args.in[0].storage);
  const ParamValue value = args.op.params.fields()[static_cast<size_t>(field)].get(args.params.raw());
  const bool* lazy = std::get_if<bool>(&value);
  return !lazy || *lazy;
}

// Gives a row_sparse array all its rows: its values are then those of the dense array.
void complete(SparseParts& parts) {
  if (parts.count() == parts.rows()) return;
  SparseParts all(parts.storage(), parts.shape(), parts.dtype(), parts.device());
  all.resize(parts.rows());
  std::iota(all.indices(), all.indices() + all.rows(), int64_t{0});
  sparse::to_dense(all.values(), parts.dtype(), parts);
  parts.swap(all);
}

// An update by a row_sparse gradient.
class RowUpdate final : public Kernel {
 public:
  RowUpdate(const PrepareArgs& args, Rule rule, int states, bool with_master, ScalarsFn scalars)
      : update_(find_update(rule, args.in[0].dtype, with_master)),
        states_(states),
        scalars_(scalars),
        size_(static_cast<size_t>(args.in[0].shape.size()) * size_of(args.in[0].dtype)),
        with_master_(with_master),
        lazy_(is_lazy(args, rule, with_master)),
        sparse_weight_(is_sparse(args.in[0].storage)) {}

  void run(const KernelCall& c) const override {
    if (!c.out[0]) return;
    const SparseParts& grad = *static_cast<const SparseParts*>(c.in[1]);
    UpdateArrays arrays;
    arrays.out = elements(c.out[0], c.in[0]);
    if (c.out[0] != c.in[0] && !sparse_weight_) std::memcpy(arrays.out, c.in[0], size_);
    arrays.weight = arrays.out;
    const SparseParts::Rows rows = grad.shared_rows();
    arrays.grad = rows.table;
    for (int s = 0; s < states_; ++s) arrays.state[s] = c.in[2 + s];
    if (with_master_) arrays.master = static_cast<float*>(c.in[2 + states_]);
    const UpdateScalars numbers = scalars_(*c.params);
    const int64_t width = grad.width(), grain = std::max<int64_t>(1, kPiece / std::max<int64_t>(1, width));
    if (!lazy_) return all_rows(arrays, numbers, grad, grain);
    cpu::parallel_for(grad.count(), grain, [&](int64_t begin, int64_t end) {
      if (rows.at) return update_.rows(arrays, numbers, grad.indices() + begin, rows.at + begin, end - begin, width);
      UpdateArrays part = arrays;
      part.grad = static_cast<const char*>(arrays.grad) + begin * width * static_cast<int64_t>(size_of(grad.dtype()));
      update_.rows(part, numbers, grad.indices() + begin, nullptr, end - begin, width);
    });
  }

 private:
  // A row_sparse weight is given all its rows.
  void* elements(void* weight, const void* source) const {
    if (!sparse_weight_) return weight;
    SparseParts& parts = *static_cast<SparseParts*>(weight);
    if (weight != source) sparse::copy(parts, *static_cast<const SparseParts*>(source));
    complete(parts);
    return parts.values();
  }

  // Absent rows are updated by a gradient of zero.
  void all_rows(const UpdateArrays& arrays, const UpdateScalars& numbers, const SparseParts& grad,
                int64_t grain) const {
    const int64_t width = grad.width(), row_bytes = width * static_cast<int64_t>(size_of(grad.dtype()));
    const std::vector<char> zeros(static_cast<size_t>(row_bytes));
    cpu::parallel_for(grad.rows(), grain, [&](int64_t begin, int64_t end) {
      const int64_t* indices = grad.indices();
      int64_t k = std::lower_bound(indices, indices + grad.count(), begin) - indices;
      UpdateArrays row = arrays;
      for (int64_t r = begin; r < end; ++r) {
        const bool stored = k < grad.count() && indices[k] == r;
        row.grad = stored ? static_cast<const char*>(grad.values()) + k++ * row_bytes : zeros.data();
        update_.rows(row, numbers, &r, nullptr, 1, width);
      }
    });
  }

  UpdateTable::Entry update_;
  int states_;
  ScalarsFn scalars_;
  size_t size_;
  bool with_master_, lazy_, sparse_weight_;
};

}  // namespace

bool infer_row_update(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (in[1].storage != StorageType::row_sparse || in[0].storage == StorageType::csr) return false;
  for (size_t i = 2; i < in.size(); ++i) {
    if (is_sparse(in[i].storage)) return false;
  }
  if (out[0].storage == StorageType::unset) out[0].storage = in[0].storage;
  return out[0].storage == in[0].storage;
}

Prepared prepare_update(const PrepareArgs& args, Rule rule, int states, bool with_master, ScalarsFn scalars) {
  const UpdateTable::Entry entry = find_update(rule, args.in[0].dtype, with_master);
  if (!entry.all) return str("weights must be floating point, got ", name_of(args.in[0].dtype));
  if (is_sparse(args.in[1].storage)) {
    return std::unique_ptr<Kernel>(new RowUpdate(args, rule, states, with_master, scalars));
  }
  const UpdateFn update = entry.all;
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
