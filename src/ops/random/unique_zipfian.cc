// SPDX-License-Identifier: Apache-2.0
// Distinct classes of an approximately Zipfian distribution, as sampled softmax wants them.
#include <cmath>
#include <limits>
#include <unordered_set>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::ops {
namespace {

struct ZipfianParams {
  int64_t range_max = 1;
  Shape shape;
  static void declare(ParamSchemaOf<ZipfianParams>& s) {
    s.field("range_max", &ZipfianParams::range_max, "Classes are drawn from [0, range_max).")
        .required()
        .range(1, 9e15)
        .type("int");
    s.field("shape", &ZipfianParams::shape, "(rows, distinct classes in each).");
  }
};

void infer_shape(InferContext& c) {
  const auto& p = c.as<ZipfianParams>();
  if (p.shape.rank() != 2 || p.shape[0] < 0 || p.shape[1] < 0) {
    c.bad(str("shape must be (rows, classes of each), got ", p.shape));
  }
  if (p.shape[1] > p.range_max) {
    c.bad(str("there are only ", p.range_max, " distinct classes, shape ", p.shape, " asks for more"));
  }
  c.merge_out(0, p.shape);
  c.merge_out(1, Shape{p.shape[0]});
}

// The probability of class k is log((k + 2) / (k + 1)) / log(range_max + 1).
void draw_row(const random::Stream& stream, uint64_t row, int64_t range_max, int64_t n, int64_t* out, int64_t* tries) {
  const double scale = std::log1p(static_cast<double>(range_max));
  std::unordered_set<int64_t> seen;
  seen.reserve(static_cast<size_t>(n));
  int64_t count = 0;
  while (static_cast<int64_t>(seen.size()) < n) {
    if (count == std::numeric_limits<uint32_t>::max()) {
      fail(ErrorKind::value, "shape asks for so many of the classes below range_max=", range_max,
           " that the rarest do not come up");
    }
    const random::Words w = stream.at(row, static_cast<uint32_t>(count++));
    const double u = random::uniform_double(w.v[0], w.v[1]);
    const int64_t k = std::min(static_cast<int64_t>(std::exp(u * scale)) - 1, range_max - 1);
    if (seen.insert(k).second && out) out[seen.size() - 1] = k;
  }
  if (tries) *tries = count;
}

Prepared prepare(const PrepareArgs& args) {
  const auto& p = args.as<ZipfianParams>();
  const int64_t rows = p.shape[0], n = p.shape[1];
  auto kernel = make_kernel(
      [=, range_max = p.range_max](const KernelCall& c) {
        auto* out = static_cast<int64_t*>(c.out[0]);
        auto* tries = static_cast<int64_t*>(c.out[1]);
        cpu::parallel_for(rows, 1, [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            draw_row(c.random, static_cast<uint64_t>(r), range_max, n, out ? out + r * n : nullptr,
                     tries ? tries + r : nullptr);
          }
        });
      },
      200 + rows * n * 200);
  kernel->random_draws = static_cast<uint64_t>(rows);
  return kernel;
}

const RegisterOp unique_zipfian{
    {.name = "_sample_unique_zipfian",
     .doc =
         "Distinct classes in each row, drawn with probability log((k + 2) / (k + 1)) / log(range_max + 1) until "
         "there are enough, and the number of tries that it took.\n\nShapes: outputs samples `shape` = (rows, n) and "
         "tries (rows,), both int64.",
     .params = schema_of<ZipfianParams>(),
     .inputs = Inputs({}),
     .outputs = Outputs(2),
     .infer = {infer_shape, infer::out_dtype<DType::i64>},
     .gradient = Gradient::zero(),
     .kernels = {{"philox", prepare}},
     .flags = {.random = true}}};

}  // namespace
}  // namespace mxnet::ops
