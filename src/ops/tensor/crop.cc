// SPDX-License-Identifier: Apache-2.0
// Crop: a rectangle of images, of a given size or that of another array.
#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

struct CropParams {
  int64_t num_args = 1;
  Shape offset{0, 0}, h_w{0, 0};
  bool center_crop = false;
  static void declare(ParamSchemaOf<CropParams>& s) {
    s.field("num_args", &CropParams::num_args, "2 if the size is that of the second array, crop_like.").range(1, 3);
    s.field("offset", &CropParams::offset, "First row and column.");
    s.field("h_w", &CropParams::h_w, "Height and width, with one array.");
    s.field("center_crop", &CropParams::center_crop, "Take the middle instead of offset.");
    s.validate([](const CropParams& p) {
      if ((p.offset.rank() != 2 && !p.center_crop) || p.h_w.rank() != 2) {
        fail(ErrorKind::value, "offset and h_w must have two entries, got ", p.offset, " and ", p.h_w);
      }
    });
  }
};

// The window on data; `like` is null with one array.
Window crop_window(const CropParams& p, const Shape& data, const Shape* like, const OpDef& op) {
  Window w = Window::all(data);
  for (int d = 0; d < 2; ++d) {
    const int64_t extent = data[2 + d], count = like ? (*like)[2 + d] : p.h_w[d];
    const int64_t begin = p.center_crop ? (extent - count) / 2 : p.offset[d];
    if (count < 0 || begin < 0 || begin + count > extent) {
      fail(ErrorKind::value, op.name, ": ", d ? "columns" : "rows", " [", begin, ", ", begin + count, ") leave data ",
           data);
    }
    w = w.narrow(2 + d, begin, count);
  }
  return w;
}

void infer_crop(InferContext& c) {
  const bool has_like = c.in.size() > 1;
  const Shape& data = c.in[0].shape;
  if (!data.known() || (has_like && !c.in[1].shape.known())) return;
  if (data.rank() != 4) c.bad(str("data must have 4 dimensions, got ", data));
  if (has_like && c.in[1].shape.rank() != 4) c.bad(str("crop_like must have 4 dimensions, got ", c.in[1].shape));
  c.merge_out(0, crop_window(c.as<CropParams>(), data, has_like ? &c.in[1].shape : nullptr, c.op).shape);
}

void infer_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  for (size_t i = 1; i < c.in.size(); ++i) {
    if (c.in[i].dtype == DType::unknown) c.merge_in_dtype(static_cast<int>(i), c.in[0].dtype);
  }
}

Prepared prepare_crop(const PrepareArgs& args) {
  const Shape* like = args.in.size() > 1 ? &args.in[1].shape : nullptr;
  const Window from = crop_window(args.as<CropParams>(), args.in[0].shape, like, args.op);
  MoveKernel kernel;
  kernel.copy(0, Window::all(from.shape), 0, from, args.in[0].dtype);
  return kernel.finish();
}

// Inputs: data (its shape is read), the head, whose size is that of the window.
Prepared prepare_crop_backward(const PrepareArgs& args) {
  const Window to = crop_window(args.as<CropParams>(), args.in[0].shape, &args.in[1].shape, args.op);
  MoveKernel kernel;
  kernel.fill(0, args.in[0].shape, args.in[1].dtype, 0);
  kernel.copy(0, to, 1, Window::all(to.shape), args.in[1].dtype);
  return kernel.finish();
}

const RegisterOp crop{
    {.name = "Crop",
     .doc = "A rectangle of each image: at offset or in the middle, of size h_w or as large as the second array.\n\n"
            "Shapes: data (n, c, height, width). Raises an error if the rectangle leaves the image.",
     .params = schema_of<CropParams>(),
     .inputs = Inputs::variadic("num_args"),
     .infer = {infer_crop, infer_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   g.give_all({0}, "_backward_Crop", {g.input(0), g.head(0)}, g.params_ref());
                 }).without_outputs(),
     .kernels = {{"move", prepare_crop}}}};

const RegisterOp backward_crop{{.name = "_backward_Crop",
                                .doc = "Gradient of Crop with respect to data.",
                                .params = schema_of<CropParams>(),
                                .inputs = {"data", "head"},
                                .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); },
                                          [](InferContext& c) { c.merge_out_dtype(0, c.in[1].dtype); }},
                                .gradient = Gradient([](GradientBuilder& g) {
                                              CropParams p = g.params<CropParams>();
                                              p.num_args = 2;
                                              const Value in[] = {g.head(0), g.input(1)};
                                              const int target = 1;
                                              g.give_all({&target, 1}, get_op("Crop"), make_params<CropParams>(p), in);
                                            }).without_outputs(),
                                .kernels = {{"move", prepare_crop_backward}},
                                .flags = {.hidden = true}}};

}  // namespace
}  // namespace mxnet::ops
