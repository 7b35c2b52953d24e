// SPDX-License-Identifier: Apache-2.0
// Seldom used operators: fill_element_0index, khatri_rao, _contrib_index_array, _histogram.
#include <cmath>
#include <cstring>
#include <optional>

#include "backend/cpu/parallel.h"
#include "backend/cpu/strided_copy.h"
#include "operator/op.h"
#include "ops/tensor/index.h"

namespace mxnet::ops {
namespace {

// ---- fill_element_0index -------------------------------------------------------------------------------------------

void infer_fill(InferContext& c) {
  const Shape& lhs = c.in[0].shape;
  if (!lhs.rank_known()) return;
  if (lhs.rank() != 2) c.bad(str("lhs must have 2 dimensions, got ", lhs));
  c.merge_in(1, Shape{lhs[0]});
  c.merge_in(2, Shape{lhs[0]});
  c.merge_out(0, lhs);
}

Prepared prepare_fill(const PrepareArgs& args) {
  const int64_t rows = args.in[0].shape[0], columns = args.in[0].shape[1], item = size_of(args.in[0].dtype);
  return make_kernel(
      [=, dtype = args.in[2].dtype](const KernelCall& c) {
        if (!c.out[0] || columns == 0) return;
        int64_t* index = static_cast<int64_t*>(c.scratch);
        load_indices(c.in[2], dtype, rows, index);
        place_indices(index, rows, columns, IndexMode::clip);
        cpu::copy_bytes(c.out[0], c.in[0], rows * columns * item);
        for (int64_t r = 0; r < rows; ++r) {
          std::memcpy(static_cast<char*>(c.out[0]) + (r * columns + index[r]) * item,
                      static_cast<const char*>(c.in[1]) + r * item, static_cast<size_t>(item));
        }
      },
      50 + rows * (10 + columns * item / 8), static_cast<size_t>(rows) * sizeof(int64_t));
}

const RegisterOp fill_element{
    {.name = "fill_element_0index",
     .doc = "lhs with element rhs[i] of row i replaced by mhs[i]; indices outside are clipped.",
     .inputs = {"lhs", "mhs", "rhs"},
     .infer = {infer_fill,
               [](InferContext& c) {
                 c.merge_in_dtype(1, c.in[0].dtype);
                 c.merge_out_dtype(0, c.in[0].dtype);
                 if (c.in[2].dtype == DType::unknown) c.merge_in_dtype(2, c.in[0].dtype);
               }},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_fill}},
     .flags = {.inplace = true}}};

// ---- khatri_rao ----------------------------------------------------------------------------------------------------

struct KhatriRaoParams {
  int64_t num_args = 0;
  static void declare(ParamSchemaOf<KhatriRaoParams>& s) {
    s.field("num_args", &KhatriRaoParams::num_args, "Number of matrices.");
  }
};

void infer_khatri_rao(InferContext& c) {
  int64_t rows = 1, columns = -1;
  for (int i = 0; i < static_cast<int>(c.in.size()); ++i) {
    const Shape& in = c.in[i].shape;
    if (!in.known()) return;
    if (in.rank() != 2) c.bad(str(c.name_in(i), " must be a matrix, got shape ", in));
    if (columns >= 0 && in[1] != columns)
      c.bad(str(c.name_in(i), " has ", in[1], " columns, the others have ", columns));
    rows *= in[0];
    columns = in[1];
  }
  c.merge_out(0, Shape{rows, columns});
}

Prepared prepare_khatri_rao(const PrepareArgs& args) {
  std::vector<int64_t> rows;
  for (const TensorSpec& t : args.in) rows.push_back(t.shape[0]);
  const Shape& out = args.out[0].shape;
  return make_kernel(
      [rows, total = out[0], columns = out[1], dtype = args.out[0].dtype](const KernelCall& c) {
        if (!c.out[0]) return;
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          T* out = static_cast<T*>(c.out[0]);
          for (int64_t r = 0; r < total; ++r) {
            std::fill(out + r * columns, out + (r + 1) * columns, T(1));
            int64_t rest = r;
            for (int i = static_cast<int>(rows.size()) - 1; i >= 0; --i) {
              const T* row = static_cast<const T*>(c.in[i]) + rest % rows[i] * columns;
              for (int64_t k = 0; k < columns; ++k) {
                out[r * columns + k] =
                    static_cast<T>(static_cast<compute_t<T>>(out[r * columns + k]) * static_cast<compute_t<T>>(row[k]));
              }
              rest /= rows[i];
            }
          }
        });
      },
      50 + out.size() * static_cast<int64_t>(args.in.size()) * 2);
}

const RegisterOp khatri_rao{
    {.name = "khatri_rao",
     .doc = "The Khatri-Rao product: column k of the result is the Kronecker product of the columns k.",
     .params = schema_of<KhatriRaoParams>(),
     .inputs = Inputs::variadic("num_args"),
     .infer = {infer_khatri_rao, infer::same_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"index", prepare_khatri_rao}},
     .flags = {.precision = Precision::full}}};

// ---- index_array ---------------------------------------------------------------------------------------------------

struct IndexArrayParams {
  std::optional<Shape> axes;
  static void declare(ParamSchemaOf<IndexArrayParams>& s) {
    s.field("axes", &IndexArrayParams::axes, "Which components of the index; None is all.");
  }
};

std::vector<int> component_axes(const std::optional<Shape>& axes, int rank) {
  std::vector<int> list;
  for (int d = 0; !axes && d < rank; ++d) list.push_back(d);
  for (int i = 0; axes && i < axes->rank(); ++i)
    list.push_back(normalize_axis((*axes)[i], rank, "index_array", "axes entry"));
  return list;
}

void infer_index_array(InferContext& c) {
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  out.push_back(static_cast<int64_t>(component_axes(c.as<IndexArrayParams>().axes, out.rank()).size()));
  c.merge_out(0, out);
}

Prepared prepare_index_array(const PrepareArgs& args) {
  const Shape& in = args.in[0].shape;
  return make_kernel(
      [shape = in, strides = strides_of(in),
       axes = component_axes(args.as<IndexArrayParams>().axes, in.rank())](const KernelCall& c) {
        int64_t* out = static_cast<int64_t*>(c.out[0]);
        if (!out) return;
        const int64_t width = static_cast<int64_t>(axes.size());
        cpu::parallel_for(shape.size(), 4096, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            for (int64_t k = 0; k < width; ++k) out[i * width + k] = i / strides[axes[k]] % shape[axes[k]];
          }
        });
      },
      50 + args.out[0].shape.size() * 5);
}

const RegisterOp index_array{
    {.name = "_contrib_index_array",
     .doc = "The index of every element of data, as int64.\n\nShapes: data (...), output (..., components).",
     .aliases = {"_npx_index_array"},
     .params = schema_of<IndexArrayParams>(),
     .inputs = {"data"},
     .infer = {infer_index_array, infer::out_dtype<DType::i64>},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_index_array}}}};

// ---- _histogram ----------------------------------------------------------------------------------------------------

struct HistogramParams {
  std::optional<int64_t> bin_cnt;
  FloatTuple range;
  static void declare(ParamSchemaOf<HistogramParams>& s) {
    s.field("bin_cnt", &HistogramParams::bin_cnt, "Number of equal bins over range, instead of the input bins.")
        .range(1, 1e9);
    s.field("range", &HistogramParams::range, "Lower and upper end of the bins.");
    s.validate([](const HistogramParams& p) {
      if (p.bin_cnt && (p.range.size() != 2 || !(p.range[0] < p.range[1]))) {
        fail(ErrorKind::value, "bin_cnt needs range = (low, high) with low < high");
      }
    });
  }
};

void infer_histogram(InferContext& c) {
  const auto& p = c.as<HistogramParams>();
  if (!p.bin_cnt && !c.in[1].shape.known()) return;
  if (!p.bin_cnt && (c.in[1].shape.rank() != 1 || c.in[1].shape[0] < 2)) {
    c.bad(str("bins must be a vector of at least 2 edges, got shape ", c.in[1].shape));
  }
  const int64_t bins = p.bin_cnt ? *p.bin_cnt : c.in[1].shape[0] - 1;
  c.merge_out(0, Shape{bins});
  c.merge_out(1, Shape{bins + 1});
}

void infer_histogram_dtype(InferContext& c) {
  if (c.in.size() > 1) c.merge_in_dtype(1, c.in[0].dtype);
  c.merge_out_dtype(0, DType::i64);
  c.merge_out_dtype(1, c.in[0].dtype);
}

// The last bin holds its upper edge.
Prepared prepare_histogram(const PrepareArgs& args) {
  const int64_t n = args.in[0].shape.size(), bins = args.out[0].shape[0];
  return make_kernel(
      [n, bins, p = args.as<HistogramParams>(), dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          std::vector<double> edges(static_cast<size_t>(bins) + 1);
          for (int64_t i = 0; i <= bins; ++i) {
            edges[i] = p.bin_cnt
                           ? p.range[0] + (p.range[1] - p.range[0]) * static_cast<double>(i) / static_cast<double>(bins)
                           : static_cast<double>(static_cast<const T*>(c.in[1])[i]);
          }
          if (T* out = static_cast<T*>(c.out[1])) {
            for (int64_t i = 0; i <= bins; ++i) out[i] = convert<T>(edges[i]);
          }
          int64_t* counts = static_cast<int64_t*>(c.out[0]);
          if (!counts) return;
          std::fill(counts, counts + bins, int64_t{0});
          for (int64_t i = 0; i < n; ++i) {
            const double x = static_cast<double>(static_cast<const T*>(c.in[0])[i]);
            if (!(x >= edges.front() && x <= edges.back())) continue;
            const auto above = std::upper_bound(edges.begin(), edges.end(), x) - edges.begin();
            ++counts[std::min<int64_t>(above - 1, bins - 1)];
          }
        });
      },
      50 + n * 20);
}

const RegisterOp histogram{
    {.name = "_histogram",
     .doc = "Counts of the elements in bins, and the edges of the bins.\n\n"
            "The edges come from the input bins, or from bin_cnt and range.",
     .aliases = {"_npi_histogram"},
     .params = schema_of<HistogramParams>(),
     .inputs = Inputs({"data", "bins"}, [](const Params& p) { return p.as<HistogramParams>().bin_cnt ? 1 : 2; }),
     .outputs = 2,
     .infer = {infer_histogram, infer_histogram_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"index", prepare_histogram}}}};

}  // namespace
}  // namespace mxnet::ops
