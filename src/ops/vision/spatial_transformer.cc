// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "operator/composition.h"
#include "ops/vision/sampler.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

enum class Transform { affine };
enum class Sampler { bilinear };

struct SpatialTransformerParams {
  Shape target_shape{0, 0};
  Transform transform_type = Transform::affine;
  Sampler sampler_type = Sampler::bilinear;
  std::optional<bool> cudnn_off;

  static void declare(ParamSchemaOf<SpatialTransformerParams>& s) {
    using P = SpatialTransformerParams;
    s.field("target_shape", &P::target_shape, "Height and width of the output.");
    s.choice("transform_type", &P::transform_type, {{"affine", Transform::affine}}, "Kind of map.").required();
    s.choice("sampler_type", &P::sampler_type, {{"bilinear", Sampler::bilinear}}, "Kind of sampling.").required();
    s.field("cudnn_off", &P::cudnn_off, "Has no effect on a CPU.");
    s.validate([](const P& p) {
      const Shape& t = p.target_shape;
      if (t.rank() != 2 || t[0] < 1 || t[1] < 1) {
        fail(ErrorKind::value, "target_shape must be two positive numbers, got ", t);
      }
    });
  }
};

// data and loc begin at input `first`.
Shape infer_transformed(InferContext& c, int first) {
  const auto& p = c.as<SpatialTransformerParams>();
  const Shape& data = c.in[static_cast<size_t>(first)].shape;
  check_rank(c, first, 4, "(batch, channels, height, width)");
  check_rank(c, first + 1, 2, "(batch, 6)");
  c.merge_in(first + 1, {data.rank_known() ? data[0] : -1, 6});
  c.merge_in(first, {c.in[static_cast<size_t>(first) + 1].shape[0], -1, -1, -1});
  return {data[0], data[1], p.target_shape[0], p.target_shape[1]};
}

void infer_shape(InferContext& c) { c.merge_out(0, infer_transformed(c, 0)); }
void infer_backward_shape(InferContext& c) {
  c.merge_in(0, infer_transformed(c, 1));
  c.merge_out(0, c.in[1].shape);
  c.merge_out(1, c.in[2].shape);
}

// Scratch: the grid, and in the backward pass its gradient behind it.
template <typename T>
size_t grid_bytes(const Sampling& s) {
  return static_cast<size_t>(s.batch * 2 * s.points) * sizeof(T);
}

Prepared prepare(const PrepareArgs& a) {
  const Sampling s(a, a.in[0].shape, a.out[0].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, rows = a.out[0].shape[2], columns = a.out[0].shape[3]](const KernelCall& c) {
      T* grid = static_cast<T*>(c.scratch);
      affine_grid(static_cast<const T*>(c.in[1]), s.batch, rows, columns, grid);
      sample(s, static_cast<const T*>(c.in[0]), grid, static_cast<T*>(c.out[0]));
    };
    return make_kernel(std::move(run), 100 + s.cost(), grid_bytes<T>(s));
  });
}

Prepared prepare_backward(const PrepareArgs& a) {
  const Sampling s(a, a.in[1].shape, a.in[0].shape);
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, rows = a.in[0].shape[2], columns = a.in[0].shape[3]](const KernelCall& c) {
      T* grid = static_cast<T*>(c.scratch);
      T* dgrid = c.out[1] ? grid + s.batch * 2 * s.points : nullptr;
      affine_grid(static_cast<const T*>(c.in[2]), s.batch, rows, columns, grid);
      sample_gradient(s, static_cast<const T*>(c.in[0]), static_cast<const T*>(c.in[1]), grid,
                      static_cast<T*>(c.out[0]), dgrid);
      if (dgrid) affine_grid_gradient(dgrid, s.batch, rows, columns, static_cast<T*>(c.out[1]));
    };
    return make_kernel(std::move(run), 100 + 3 * s.cost(), 2 * grid_bytes<T>(s));
  });
}

std::vector<Term> compose(const Composing& c) {
  const ParamValue target = tuple_of(c.as<SpatialTransformerParams>().target_shape);
  const Term grid = c[1].then("GridGenerator", {{"transform_type", "affine"}, {"target_shape", target}});
  return {apply("BilinearSampler", {c[0], grid})};
}
const RegisterComposition composition{"SpatialTransformer", compose};

const RegisterOp spatial_transformer{{
    .name = "SpatialTransformer",
    .doc = "Samples images bilinearly at points of a regular grid that an affine map has moved (Jaderberg et al. "
           "2015).\n\n"
           "Shapes: data (batch, channels, height, width), loc (batch, 6): rows of the map, output (batch, channels, "
           "*target_shape). The same as GridGenerator and BilinearSampler.",
    .params = schema_of<SpatialTransformerParams>(),
    .inputs = {"data", "loc"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0, 1}, "_backward_SpatialTransformer", {g.head(0), g.input(0), g.input(1)},
                             g.params_ref());
                }).without_outputs(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_spatial_transformer{{
    .name = "_backward_SpatialTransformer",
    .doc = "Gradients of SpatialTransformer with respect to data and loc.",
    .params = schema_of<SpatialTransformerParams>(),
    .inputs = {"head", "data", "loc"},
    .outputs = 2,
    .infer = {infer_backward_shape, infer_float},
    .gradient = Gradient::none(),
    .kernels = wide_kernels<prepare_backward>(),
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
