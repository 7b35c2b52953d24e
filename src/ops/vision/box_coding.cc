// SPDX-License-Identifier: Apache-2.0
// Boxes relative to anchors: box_encode, box_decode.

#include "ops/vision/box_coding.h"
#include "ops/vision/box.h"
#include "ops/vision/vision.h"

namespace mxnet::vision {
namespace {

// ---- box_encode ----------------------------------------------------------------------------------------------------

// Inputs: samples (b, n), matches (b, n), anchors (b, n, 4), refs (b, m, 4), means (4,), stds (4,).
void infer_encode_shape(InferContext& c) {
  check_rank(c, 0, 2, "(batch, anchors)");
  check_rank(c, 3, 3, "(batch, boxes, 4)");
  for (int i = 4; i < 6; ++i) c.merge_in(i, {4});
  if (c.in[1].shape.rank_known()) {
    check_rank(c, 1, 2, "(batch, anchors)");
    c.merge_in(0, c.in[1].shape);
  }
  const Shape& samples = c.in[0].shape;
  if (!samples.rank_known()) return;
  c.merge_in(1, samples);
  c.merge_in(2, {samples[0], samples[1], 4});
  c.merge_in(3, {samples[0], -1, 4});
  for (int i = 0; i < 2; ++i) c.merge_out(i, {samples[0], samples[1], 4});
}

Prepared prepare_encode(const PrepareArgs& a) {
  const int64_t batch = a.in[0].shape[0], n = a.in[0].shape[1], boxes = a.in[3].shape[1];
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      const auto input = [&](int i) { return static_cast<const T*>(c.in[i]); };
      const auto output = [&](int i) { return static_cast<T*>(c.out[i]); };
      cpu::parallel_for(batch * n, grain_of(60), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T code[4] = {};
          const bool positive = input(0)[i] > T(0.5);
          if (positive) {
            if (boxes == 0) fail(ErrorKind::index, "box_encode: a sample is matched, but refs holds no box");
            // A match that is no index of a box is the nearest one.
            const T match = input(1)[i];
            const int64_t at = match >= T(boxes - 1) ? boxes - 1 : match > 0 ? static_cast<int64_t>(match) : 0;
            encode(CenterBox<T>::of_corners(input(3) + (i / n * boxes + at) * 4),
                   CenterBox<T>::of_corners(input(2) + i * 4), code);
            for (int k = 0; k < 4; ++k) code[k] = (code[k] - input(4)[k]) / input(5)[k];
          }
          if (output(0)) std::copy_n(code, 4, output(0) + i * 4);
          if (output(1)) std::fill_n(output(1) + i * 4, 4, positive ? T(1) : T(0));
        }
      });
    };
    return make_kernel(std::move(run), 100 + batch * n * 60);
  });
}

const RegisterOp box_encode{{
    .name = "_contrib_box_encode",
    .doc =
        "Boxes as offsets and log scales relative to anchors: the targets of a box regression.\n\n"
        "Shapes: samples (batch, n): 1 for anchors that have a box; matches (batch, n): the index of that box in refs; "
        "anchors (batch, n, 4) and refs (batch, boxes, 4): corners; means and stds (4,): subtracted and divided by. "
        "Outputs: targets and mask, (batch, n, 4), both zero where samples is not 1. The gradient is zero.",
    .inputs = {"samples", "matches", "anchors", "refs", "means", "stds"},
    .outputs = 2,
    .infer = {infer_encode_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare_encode>(),
    .flags = {.precision = Precision::full},
}};

// ---- box_decode ----------------------------------------------------------------------------------------------------

struct BoxDecodeParams {
  float std0 = 1, std1 = 1, std2 = 1, std3 = 1;
  float clip = -1;
  BoxFormat format = BoxFormat::center;

  static void declare(ParamSchemaOf<BoxDecodeParams>& s) {
    using P = BoxDecodeParams;
    s.field("std0", &P::std0, "Factor of the horizontal offset.");
    s.field("std1", &P::std1, "Factor of the vertical offset.");
    s.field("std2", &P::std2, "Factor of the logarithm of the width.");
    s.field("std3", &P::std3, "Factor of the logarithm of the height.");
    s.field("clip", &P::clip, "Largest logarithm of an extent; not positive: no limit.");
    s.choice("format", &P::format, box_formats(), "Coordinates of anchors: corners, or center and extent.");
  }
};

void infer_decode_shape(InferContext& c) {
  check_rank(c, 0, 3, "(batch, boxes, 4)");
  check_rank(c, 1, 3, "(1, boxes, 4)");
  c.merge_in(0, c.out[0].shape);
  if (c.in[1].shape.rank_known()) c.merge_in(0, {-1, c.in[1].shape[1], 4});
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  c.merge_in(0, {-1, -1, 4});
  c.merge_in(1, {1, data[1], 4});
  c.merge_out(0, c.in[0].shape);
}

Prepared prepare_decode(const PrepareArgs& a) {
  const int64_t batch = a.in[0].shape[0], n = a.in[0].shape[1];
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      const auto& p = c.params->as<BoxDecodeParams>();
      const T scale[4] = {static_cast<T>(p.std0), static_cast<T>(p.std1), static_cast<T>(p.std2),
                          static_cast<T>(p.std3)};
      const T* data = static_cast<const T*>(c.in[0]);
      const T* anchors = static_cast<const T*>(c.in[1]);
      T* out = static_cast<T*>(c.out[0]);
      cpu::parallel_for(batch * n, grain_of(30), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const T* anchor = anchors + i % n * 4;
          decode(data + i * 4, scale, static_cast<T>(p.clip),
                 p.format == BoxFormat::corner ? CenterBox<T>::of_corners(anchor)
                                               : CenterBox<T>{anchor[0], anchor[1], anchor[2], anchor[3]},
                 out + i * 4);
        }
      });
    };
    return make_kernel(std::move(run), 100 + batch * n * 30);
  });
}

const RegisterOp box_decode{{
    .name = "_contrib_box_decode",
    .doc = "Corners of boxes that are given as offsets and log scales relative to anchors.\n\n"
           "Shapes: data (batch, n, 4), anchors (1, n, 4), output (batch, n, 4). The gradient is zero.",
    .params = schema_of<BoxDecodeParams>(),
    .inputs = {"data", "anchors"},
    .infer = {infer_decode_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare_decode>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
