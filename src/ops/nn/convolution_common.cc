// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/convolution.h"

namespace mxnet::nn {

void ConvParamsBase::check() const {
  const int rank = kernel.rank();
  if (rank < 1 || rank > kMaxSpatial) fail(ErrorKind::value, "kernel must have 1, 2 or 3 entries, got ", kernel);
  const auto check_dims = [&](const char* name, const Shape& dims, int64_t least) {
    if (dims.rank() == 0) return;
    if (dims.rank() != rank)
      fail(ErrorKind::value, name, " must have as many entries as kernel ", kernel, ", got ", dims);
    for (dim_t d : dims) {
      if (d < least) fail(ErrorKind::value, name, " must be at least ", least, ", got ", dims);
    }
  };
  check_dims("kernel", kernel, 1);
  check_dims("stride", stride, 1);
  check_dims("dilate", dilate, 1);
  check_dims("pad", pad, 0);
  if (layout == ConvLayout::nhwc || layout == ConvLayout::ndhwc) {
    fail(ErrorKind::not_supported, "layout with channels last is not available on a CPU; transpose the data");
  }
  constexpr ConvLayout expected[] = {ConvLayout::ncw, ConvLayout::nchw, ConvLayout::ncdhw};
  if (layout != ConvLayout::none && layout != expected[rank - 1]) {
    fail(ErrorKind::value, "layout does not fit a kernel of ", rank, " axes");
  }
  if (num_filter % num_group != 0) {
    fail(ErrorKind::value, "num_filter ", num_filter, " must be a multiple of num_group ", num_group);
  }
}

void set_window(ConvProblem& problem, const ConvParamsBase& p) {
  const int rank = p.kernel.rank();
  problem.rank = rank;
  problem.groups = p.num_group;
  for (int i = 0; i < rank; ++i) {
    const size_t to = static_cast<size_t>(kMaxSpatial - rank + i);
    problem.kernel[to] = p.kernel[i];
    problem.stride[to] = p.at(p.stride, i, 1);
    problem.dilate[to] = p.at(p.dilate, i, 1);
    problem.pad[to] = p.at(p.pad, i, 0);
  }
}

void copy_spatial(const Shape& shape, SpatialDims& dims) {
  for (int i = 2; i < shape.rank(); ++i) dims[static_cast<size_t>(kMaxSpatial - shape.rank() + i)] = shape[i];
}

bool check_data(InferContext& c, const Shape& data, const ConvParamsBase& p) {
  if (!data.rank_known()) return false;
  if (data.rank() != p.kernel.rank() + 2) {
    c.bad(str("data must have ", p.kernel.rank() + 2, " dimensions for kernel ", p.kernel, ", got shape ", data));
  }
  if (data[1] >= 0 && data[1] % p.num_group != 0) {
    c.bad(str("data has ", data[1], " channels, not a multiple of num_group ", p.num_group));
  }
  return true;
}

void infer_conv_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

std::unique_ptr<ConvKernel> prepare_conv_fused(const ConvProblem& problem, bool with_bias, int team,
                                               const ConvEpilogue& epilogue) {
  using enum ConvActivation;
  const ConvActivation a = epilogue.activation;
  const bool simple = a == none || a == relu || a == clip;
  if (prepare_conv_small(problem, ConvPass::forward, with_bias)) return nullptr;
  if (auto kernel = prepare_conv_winograd(problem, ConvPass::forward, with_bias, simple ? epilogue : ConvEpilogue{})) {
    return simple ? std::move(kernel) : nullptr;
  }
  if (simple) {
    if (auto kernel = prepare_conv_pointwise(problem, ConvPass::forward, with_bias, team, epilogue)) return kernel;
  }
  return prepare_conv_onednn(problem, ConvPass::forward, with_bias, team, epilogue);
}

std::unique_ptr<ConvKernel> prepare_conv(const ConvProblem& problem, ConvPass pass, bool with_bias, int team) {
  if (auto kernel = prepare_conv_small(problem, pass, with_bias)) return kernel;
  if (auto kernel = prepare_conv_winograd(problem, pass, with_bias)) return kernel;
  if (auto kernel = prepare_conv_pointwise(problem, pass, with_bias, team)) return kernel;
  if (auto kernel = prepare_conv_outer(problem, pass, with_bias)) return kernel;
  if (auto kernel = prepare_conv_onednn(problem, pass, with_bias, team)) return kernel;
  if (auto kernel = prepare_conv_half(problem, pass, with_bias, team)) return kernel;
  return prepare_conv_portable(problem, pass, with_bias);
}

}  // namespace mxnet::nn
