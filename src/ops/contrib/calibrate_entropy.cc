// SPDX-License-Identifier: Apache-2.0
// The threshold for int8 values that loses least information of a histogram.
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::contrib {
namespace {

struct EntropyParams {
  int num_quantized_bins = 255;
  static void declare(ParamSchemaOf<EntropyParams>& s) {
    s.field("num_quantized_bins", &EntropyParams::num_quantized_bins, "Number of values after quantization.")
        .range(1, 1 << 20);
  }
};

void infer_shape(InferContext& c) {
  const Shape &hist = c.in[0].shape, &edges = c.in[1].shape;
  for (int i = 0; i < 2; ++i) {
    if (c.in[i].shape.rank_known() && c.in[i].shape.rank() != 1) {
      c.bad(str(c.name_in(i), " must have 1 dimension, got shape ", c.in[i].shape));
    }
  }
  if (hist.known() && edges.known() && edges[0] != hist[0] + 1) {
    c.bad(str("hist_edges must hold one number more than hist; got shapes ", edges, " and ", hist));
  }
  if (hist.known() && hist[0] < c.as<EntropyParams>().num_quantized_bins) {
    c.bad(str("hist must hold at least num_quantized_bins numbers, got shape ", hist));
  }
  c.merge_out(0, Shape{1});
  c.merge_out(1, Shape{1});
}

void infer_dtype(InferContext& c) {
  for (int i = 0; i < 2; ++i) {
    if (c.in[i].dtype == DType::unknown) c.merge_in_dtype(i, DType::f32);
    c.merge_out_dtype(i, DType::f32);
  }
}

std::vector<double> read(const void* from, DType dtype, int64_t n) {
  std::vector<double> values(static_cast<size_t>(n));
  dispatch(dtype, [&]<typename T>(TypeTag<T>) {
    for (int64_t i = 0; i < n; ++i) values[i] = static_cast<double>(static_cast<const T*>(from)[i]);
  });
  return values;
}

// Moves a little weight to the elements that are zero. False: there is no weight to move.
bool smooth(std::vector<double>& p) {
  constexpr double kLittle = 1e-4;
  double zeros = 0;
  for (const double v : p) zeros += v == 0;
  const double others = static_cast<double>(p.size()) - zeros;
  if (others == 0) return false;
  const double taken = kLittle * zeros / others;
  if (taken >= 1) return false;
  for (double& v : p) v = v == 0 ? kLittle : v - taken;
  return true;
}

double divergence(const std::vector<double>& p, const std::vector<double>& q) {
  double p_sum = 0, q_sum = 0, sum = 0;
  for (size_t i = 0; i < p.size(); ++i) p_sum += p[i], q_sum += q[i];
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = p[i] / p_sum, b = q[i] / q_sum;
    if (a > 0) sum += b > 0 ? a * std::log(a / b) : std::numeric_limits<double>::infinity();
  }
  return sum;
}

// The first bin of the window is left out of the merged values and their counts: 1.9.1 does so, and its thresholds are
// those of quantized models.
// What is lost if the values beyond bins [begin, end) are clipped and those within are merged to `bins` values.
double loss_of(const std::vector<double>& hist, int64_t begin, int64_t end, int64_t bins) {
  const int64_t size = end - begin, merged = size / bins;
  std::vector<double> p(hist.begin() + begin, hist.begin() + end), q(static_cast<size_t>(size), 0.0);
  for (int64_t i = 0; i < begin; ++i) p.front() += hist[i];
  for (int64_t i = end; i < static_cast<int64_t>(hist.size()); ++i) p.back() += hist[i];
  for (int64_t j = 0; j < bins; ++j) {
    const int64_t from = j * merged, to = j + 1 == bins ? size : from + merged;
    double sum = 0, filled = 0;
    for (int64_t i = std::max<int64_t>(from, 1); i < to; ++i) sum += hist[begin + i], filled += hist[begin + i] != 0;
    for (int64_t i = from; i < to && filled > 0; ++i) q[i] = p[i] != 0 ? sum / filled : 0;
  }
  return smooth(p) && smooth(q) ? divergence(p, q) : std::numeric_limits<double>::infinity();
}

Prepared prepare(const PrepareArgs& args) {
  const int64_t n = args.in[0].shape[0], bins = args.as<EntropyParams>().num_quantized_bins;
  return make_kernel(
      [=, hist_type = args.in[0].dtype, edge_type = args.in[1].dtype](const KernelCall& c) {
        const std::vector<double> hist = read(c.in[0], hist_type, n), edges = read(c.in[1], edge_type, n + 1);
        const int64_t middle = n / 2, first = bins / 2, count = middle - first + 1;
        std::vector<double> losses(static_cast<size_t>(count));
        const auto window = [&](int64_t i) {
          return std::pair(middle - (first + i), std::min(n, middle + first + i + 1));
        };
        cpu::parallel_for(count, 1, [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) losses[i] = loss_of(hist, window(i).first, window(i).second, bins);
        });
        const int64_t best = std::min_element(losses.begin(), losses.end()) - losses.begin();
        if (c.out[0]) static_cast<float*>(c.out[0])[0] = static_cast<float>(edges[window(best).second]);
        if (c.out[1]) static_cast<float*>(c.out[1])[0] = static_cast<float>(losses[best]);
      },
      n * n * 4);
}

const RegisterOp calibrate{
    {.name = "_contrib_calibrate_entropy",
     .doc =
         "The threshold beyond which values are clipped before they are quantized, such that the distribution of the "
         "quantized values diverges least (Kullback and Leibler) from that of the histogram.\n\nShapes: hist (n,), "
         "symmetric around its middle bin, hist_edges (n + 1,); outputs threshold (1,) and divergence (1,) of "
         "float32.",
     .params = schema_of<EntropyParams>(),
     .inputs = {"hist", "hist_edges"},
     .outputs = Outputs(2),
     .infer = {infer_shape, infer_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"portable", prepare}}}};

}  // namespace
}  // namespace mxnet::contrib
