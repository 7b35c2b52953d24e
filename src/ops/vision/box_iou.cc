// SPDX-License-Identifier: Apache-2.0
#include "ops/vision/box.h"
#include "ops/vision/vision.h"

namespace mxnet::vision {
namespace {

struct BoxIouParams {
  BoxFormat format = BoxFormat::corner;
  static void declare(ParamSchemaOf<BoxIouParams>& s) {
    s.choice("format", &BoxIouParams::format, box_formats(), "Coordinates: corners, or center and extent.");
  }
};

void infer_shape(InferContext& c) {
  Shape out{};
  for (int i = 0; i < 2; ++i) {
    const Shape& s = c.in[static_cast<size_t>(i)].shape;
    if (!s.known()) return;
    if (s.rank() < 2 || s.back() != 4) c.bad(str(c.name_in(i), " must have shape (..., boxes, 4), got ", s));
    for (int d = 0; d + 1 < s.rank(); ++d) out.push_back(s[d]);
  }
  c.merge_out(0, out);
}

Prepared prepare(const PrepareArgs& a) {
  const int64_t rows = a.in[0].shape.size() / 4, columns = a.in[1].shape.size() / 4;
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, format = a.as<BoxIouParams>().format](const KernelCall& c) {
      const T* left = static_cast<const T*>(c.in[0]);
      const T* right = static_cast<const T*>(c.in[1]);
      T* out = static_cast<T*>(c.out[0]);
      cpu::parallel_for(rows, grain_of(2 * columns), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const auto box = Box<T>::read(left + 4 * i, format);
          for (int64_t j = 0; j < columns; ++j) {
            out[i * columns + j] = iou(box, Box<T>::read(right + 4 * j, format));
          }
        }
      });
    };
    return make_kernel(std::move(run), 100 + 3 * rows * columns);
  });
}

const RegisterOp box_iou{{
    .name = "_contrib_box_iou",
    .doc = "Intersection over union of every box of lhs with every box of rhs; 0 for boxes without area.\n\n"
           "Shapes: lhs (a..., 4), rhs (b..., 4), output (a..., b...). The gradient is zero.",
    .params = schema_of<BoxIouParams>(),
    .inputs = {"lhs", "rhs"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
