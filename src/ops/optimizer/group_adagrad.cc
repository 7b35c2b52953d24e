// SPDX-License-Identifier: Apache-2.0
// AdaGrad with one rate for each row, as for embeddings.
#include <cmath>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "ops/optimizer/params.h"

namespace mxnet::ops {
namespace {

struct GroupAdaGradParams {
  double lr = 0, rescale_grad = 1, clip_gradient = -1, epsilon = 1e-5;
  static void declare(ParamSchemaOf<GroupAdaGradParams>& s) {
    number(s, "lr", &GroupAdaGradParams::lr, "Learning rate.").required();
    declare_gradient_numbers(s);
    number(s, "epsilon", &GroupAdaGradParams::epsilon, "Added to the history under the root.");
  }
};

void infer_shape(InferContext& c) {
  c.merge_in(1, c.in[0].shape);
  c.merge_in(0, c.in[1].shape);
  c.merge_out(0, c.in[0].shape);
  const Shape &weight = c.in[0].shape, &history = c.in[2].shape;
  if (!weight.rank_known()) return;
  if (weight.rank() < 1) c.bad(str("weight must have at least 1 dimension, got shape ", weight));
  Shape column = Shape::of_rank(weight.rank(), 1);
  column[0] = weight[0];
  if (!history.rank_known()) c.merge_in(2, column);
  if (history.known() && weight.known() &&
      (history.size() != weight[0] || history.rank() < 1 || history[0] != weight[0])) {
    c.bad(str("history must hold one number for each row of weight, ", weight, "; got shape ", history));
  }
}

template <typename T>
void update_row(const GroupAdaGradParams& p, const T* weight, const T* grad, T* history, T* out, int64_t width) {
  const auto scaled = [&](int64_t j) {
    const double g = p.rescale_grad * static_cast<double>(grad[j]);
    return p.clip_gradient < 0 ? g : std::clamp(g, -p.clip_gradient, p.clip_gradient);
  };
  double sum = 0;
  for (int64_t j = 0; j < width; ++j) sum += scaled(j) * scaled(j);
  const double mean = static_cast<double>(*history) + sum / static_cast<double>(width);
  *history = static_cast<T>(mean);
  const double rate = p.lr / std::sqrt(mean + p.epsilon);
  for (int64_t j = 0; j < width; ++j) out[j] = static_cast<T>(static_cast<double>(weight[j]) - rate * scaled(j));
}

// Rows that a row_sparse gradient lacks stay.
template <bool Sparse>
Prepared prepare(const PrepareArgs& args) {
  const Shape& shape = args.in[0].shape;
  const int64_t rows = shape[0], width = shape.size(1, shape.rank());
  return dispatch_float(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          if (!c.out[0]) return;
          const auto& p = c.params->as<GroupAdaGradParams>();
          const T* weight = static_cast<const T*>(c.in[0]);
          T* history = static_cast<T*>(c.in[2]);
          T* out = static_cast<T*>(c.out[0]);
          const auto* parts = Sparse ? static_cast<const SparseParts*>(c.in[1]) : nullptr;
          const T* grad = static_cast<const T*>(Sparse ? parts->values() : c.in[1]);
          const int64_t* which = Sparse ? parts->indices() : nullptr;
          if (Sparse && out != weight) std::copy_n(weight, rows * width, out);
          if (width == 0) return;
          cpu::parallel_for(
              Sparse ? parts->count() : rows, std::max<int64_t>(1, 4096 / width), [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t r = Sparse ? which[i] : i;
                  update_row(p, weight + r * width, grad + i * width, history + r, out + r * width, width);
                }
              });
        },
        30 + rows * width * 4);
  });
}

bool infer_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  out[0].storage = StorageType::dense;
  return in[0].storage == StorageType::dense && in[1].storage == StorageType::row_sparse &&
         in[2].storage == StorageType::dense;
}

const RegisterOp group_adagrad{
    {.name = "_contrib_group_adagrad_update",
     .doc =
         "AdaGrad with one history for each row: history += mean(gradient^2) over the row, the result is weight - lr * "
         "gradient / sqrt(history + epsilon). history is written. Of a row_sparse gradient only the rows that are "
         "there change.\n\nShapes: weight and grad (rows, ...), history (rows, 1, ...) or (rows,). 1.9.1 has it for "
         "row_sparse gradients only.",
     .params = schema_of<GroupAdaGradParams>(),
     .inputs = Inputs{"weight", "grad", "history"}.mutates({"history"}),
     .infer = {infer_shape, infer_update_dtype},
     .gradient = Gradient::none(),
     .kernels = {{"rows", prepare<false>}},
     .flags = kUpdateFlags}};
const RegisterSparse group_adagrad_rows{"_contrib_group_adagrad_update", {infer_storage, {{"rows", prepare<true>}}}};

}  // namespace
}  // namespace mxnet::ops
