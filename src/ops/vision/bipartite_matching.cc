// SPDX-License-Identifier: Apache-2.0
#include "ops/tensor/sort_keys.h"
#include "ops/vision/vision.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct BipartiteMatchingParams {
  bool is_ascend = false;
  float threshold = 0;
  int topk = -1;
  static void declare(ParamSchemaOf<BipartiteMatchingParams>& s) {
    using P = BipartiteMatchingParams;
    s.field("is_ascend", &P::is_ascend, "Whether low scores are matched first.");
    s.field("threshold", &P::threshold, "Scores that are not above it (with is_ascend: below it) are not matched.")
        .required();
    s.field("topk", &P::topk, "Matching ends after topk + 1 pairs; not positive: no limit.");
  }
};

void infer_shape(InferContext& c) {
  const Shape& s = c.in[0].shape;
  if (!s.rank_known()) return;
  if (s.rank() < 2) c.bad(str("data must have at least 2 dimensions, rows and columns, got shape ", s));
  Shape rows = s, columns = s;
  rows.erase(s.rank() - 1);
  columns.erase(s.rank() - 2);
  c.merge_out(0, rows);
  c.merge_out(1, columns);
}

template <typename T>
void match(const BipartiteMatchingParams& p, const T* scores, int64_t rows, int64_t columns, T* of_row, T* of_column) {
  using Item = ops::Keyed<ops::sort_key_t<T>>;
  std::fill_n(of_row, rows, T(-1));
  std::fill_n(of_column, columns, T(-1));
  const T threshold = static_cast<T>(p.threshold);
  Scratch scratch;
  Item* items = scratch.get<Item>(static_cast<size_t>(rows * columns));
  Item* other = scratch.get<Item>(static_cast<size_t>(rows * columns));
  int64_t n = 0;
  for (int64_t i = 0; i < rows * columns; ++i) {
    if (!(p.is_ascend ? scores[i] < threshold : scores[i] > threshold)) continue;
    items[n++] = {ops::sort_key(scores[i], p.is_ascend), static_cast<uint32_t>(i)};
  }
  ops::sort_keyed(items, other, n, n);
  int64_t pairs = 0;
  for (int64_t i = 0; i < n && (p.topk <= 0 || pairs <= p.topk); ++i) {
    const int64_t row = items[i].index / columns, column = items[i].index % columns;
    if (of_row[row] >= 0 || of_column[column] >= 0) continue;
    of_row[row] = static_cast<T>(column);
    of_column[column] = static_cast<T>(row);
    ++pairs;
  }
}

Prepared prepare(const PrepareArgs& a) {
  const Shape& s = a.in[0].shape;
  const int64_t rows = s[s.rank() - 2], columns = s.back(), batch = s.size(0, s.rank() - 2);
  if (rows * columns > UINT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^32 scores in a matrix");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      const auto& p = c.params->as<BipartiteMatchingParams>();
      cpu::parallel_for(batch, grain_of(rows * columns * 20), [&](int64_t begin, int64_t end) {
        Scratch scratch;
        T* spare_rows = scratch.get<T>(static_cast<size_t>(rows));
        T* spare_columns = scratch.get<T>(static_cast<size_t>(columns));
        for (int64_t b = begin; b < end; ++b) {
          match(p, static_cast<const T*>(c.in[0]) + b * rows * columns, rows, columns,
                c.out[0] ? static_cast<T*>(c.out[0]) + b * rows : spare_rows,
                c.out[1] ? static_cast<T*>(c.out[1]) + b * columns : spare_columns);
        }
      });
    };
    return make_kernel(std::move(run), 100 + s.size() * 20);
  });
}

const RegisterOp bipartite_matching{{
    .name = "_contrib_bipartite_matching",
    .doc =
        "Pairs rows with columns greedily by score, each at most once; equal scores in the order of their places.\n\n"
        "Shapes: data (..., rows, columns). Outputs: of each row its column (..., rows) and of each column its row "
        "(..., columns), -1 where there is none. The gradient is zero.",
    .params = schema_of<BipartiteMatchingParams>(),
    .inputs = {"data"},
    .outputs = 2,
    .infer = {infer_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
