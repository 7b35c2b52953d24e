// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cmath>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::contrib {
namespace {

struct AllcloseParams {
  double rtol = 1e-5, atol = 1e-8;
  bool equal_nan = true;
  static void declare(ParamSchemaOf<AllcloseParams>& s) {
    using P = AllcloseParams;
    s.field("rtol", &P::rtol, "Allowed difference relative to the size of b.").runtime().type("float");
    s.field("atol", &P::atol, "Allowed difference apart from that.").runtime().type("float");
    s.field("equal_nan", &P::equal_nan, "Whether two NaN are equal.").runtime();
  }
};

void infer_shape(InferContext& c) {
  c.merge_in(1, c.in[0].shape);
  c.merge_in(0, c.in[1].shape);
  c.merge_out(0, Shape{});
}

void infer_dtype(InferContext& c) {
  c.merge_in_dtype(1, c.in[0].dtype);
  c.merge_in_dtype(0, c.in[1].dtype);
  c.merge_out_dtype(0, DType::u8);
}

bool close(double a, double b, const AllcloseParams& p) {
  if (std::isnan(a) || std::isnan(b)) return p.equal_nan && std::isnan(a) && std::isnan(b);
  return a == b || (std::isfinite(a) && std::isfinite(b) && std::abs(a - b) <= p.atol + p.rtol * std::abs(b));
}

Prepared prepare(const PrepareArgs& args) {
  const int64_t n = args.in[0].shape.size();
  return make_kernel(
      [n, type = args.in[0].dtype](const KernelCall& c) {
        const auto p = c.params->as<AllcloseParams>();
        std::atomic<bool> all{true};
        dispatch(type, [&]<typename T>(TypeTag<T>) {
          cpu::parallel_for(n, 16384, [&](int64_t begin, int64_t end) {
            for (int64_t i = begin; i < end && all.load(std::memory_order_relaxed); ++i) {
              const double a = static_cast<double>(static_cast<const T*>(c.in[0])[i]);
              if (!close(a, static_cast<double>(static_cast<const T*>(c.in[1])[i]), p)) all = false;
            }
          });
        });
        if (c.out[0]) *static_cast<uint8_t*>(c.out[0]) = all;
      },
      50 + 2 * n);
}

const RegisterOp allclose{
    {.name = "_contrib_allclose",
     .doc = "Whether |a - b| <= atol + rtol * |b| everywhere.\n\nShapes: a and b the same, output () "
            "of uint8: 1 or 0.",
     .params = schema_of<AllcloseParams>(),
     .inputs = {"a", "b"},
     .infer = {infer_shape, infer_dtype},
     .gradient = Gradient::zero(),
     .kernels = {{"portable", prepare}}}};

}  // namespace
}  // namespace mxnet::contrib
