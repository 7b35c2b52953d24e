// SPDX-License-Identifier: Apache-2.0
// Output layers that make their own gradient: linear, logistic and absolute-error regression, and SVMOutput.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/parallel.h"
#include "operator/op.h"

namespace mxnet::nn {
namespace {

struct RegressionParams {
  float grad_scale = 1;
  static void declare(ParamSchemaOf<RegressionParams>& s) {
    s.field("grad_scale", &RegressionParams::grad_scale, "Multiplies the gradient.");
  }
};

enum class Loss { linear, logistic, absolute };

void infer_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  const Shape &data = c.in[0].shape, &label = c.in[1].shape;
  if (!data.rank_known()) return;
  const bool column = data.rank() == 2 && data[1] == 1;
  if (column && label.rank_known() && label.rank() == 1) {
    c.merge_in(1, {data[0]});
  } else if (label.known() && data.known() && label.rank() != data.rank() && label.size() == data.size() &&
             label.rank() > 0 && label[0] == data[0]) {
    return;
  } else {
    c.merge_in(1, data);
  }
}

void infer_dtype(InferContext& c) {
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

template <typename T, typename F>
void each(int64_t n, T* to, F&& f) {
  cpu::parallel_for(n, 8192, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = static_cast<T>(f(i));
  });
}

template <Loss kLoss>
Prepared prepare_forward(const PrepareArgs& a) {
  const int64_t n = a.in[0].shape.size();
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    using C = compute_t<T>;
    auto run = [n](const KernelCall& c) {
      const T* x = static_cast<const T*>(c.in[0]);
      each(n, static_cast<T*>(c.out[0]),
           [&](int64_t i) { return kLoss == Loss::logistic ? C(1) / (C(1) + std::exp(-C(x[i]))) : C(x[i]); });
    };
    return make_kernel(std::move(run), 50 + n * (kLoss == Loss::logistic ? 8 : 1));
  });
}

// in: y, label.
template <Loss kLoss>
Prepared prepare_backward(const PrepareArgs& a) {
  const int64_t n = a.in[0].shape.size();
  const int64_t samples = a.in[1].shape.rank() > 0 ? std::max<int64_t>(1, a.in[1].shape[0]) : 1;
  const double outputs = static_cast<double>(std::max<int64_t>(1, a.in[1].shape.size() / samples));
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) {
    return dispatch(a.in[1].dtype, [&]<typename Label>(TypeTag<Label>) -> Prepared {
      using C = compute_t<T>;
      auto run = [n, outputs](const KernelCall& c) {
        const T* y = static_cast<const T*>(c.in[0]);
        const auto* label = static_cast<const Label*>(c.in[1]);
        const C scale = static_cast<C>(c.params->as<RegressionParams>().grad_scale / outputs);
        each(n, static_cast<T*>(c.out[0]), [&](int64_t i) {
          const C d = C(y[i]) - static_cast<C>(label[i]);
          return scale * (kLoss == Loss::absolute ? C((d > 0) - (d < 0)) : d);
        });
      };
      return make_kernel(std::move(run), 50 + 2 * n);
    });
  });
}

void infer_backward_shape(InferContext& c) { c.merge_out(0, c.in[0].shape); }
void infer_backward_dtype(InferContext& c) { c.merge_out_dtype(0, c.in[0].dtype); }

template <Loss kLoss>
constexpr const char* kBackward = kLoss == Loss::linear     ? "_backward_linear_reg_out"
                                  : kLoss == Loss::logistic ? "_backward_logistic_reg_out"
                                                            : "_backward_mae_reg_out";

template <Loss kLoss>
OpDef forward_op(const char* name, const char* doc) {
  return {.name = name,
          .doc = doc,
          .params = schema_of<RegressionParams>(),
          .inputs = {"data", "label"},
          .infer = {infer_shape, infer_dtype},
          .gradient = Gradient([](GradientBuilder& g) {
                        g.give(0, kBackward<kLoss>, {g.output(0), g.input(1)}, g.params_ref());
                      }).without_heads(),
          .kernels = {{"portable", prepare_forward<kLoss>}},
          .flags = {.inplace = true, .precision = Precision::full}};
}

template <Loss kLoss>
OpDef backward_op() {
  return {.name = kBackward<kLoss>,
          .doc = "The gradient that the operator after which it is named gives to its data.",
          .params = schema_of<RegressionParams>(),
          .inputs = {"y", "label"},
          .infer = {infer_backward_shape, infer_backward_dtype},
          .gradient = Gradient::none(),
          .kernels = {{"portable", prepare_backward<kLoss>}},
          .flags = {.hidden = true}};
}

const RegisterOp linear(forward_op<Loss::linear>(
    "LinearRegressionOutput",
    "Returns data; its gradient is that of half the squared distance to label, divided by the number of outputs per "
    "sample. The head gradient is ignored.\n\nShapes: data of any shape, label the same; for data (n, 1) also (n,)."));
const RegisterOp logistic(forward_op<Loss::logistic>(
    "LogisticRegressionOutput",
    "Sigmoid of data; its gradient is that of the logistic loss to label, divided by the number of outputs per sample. "
    "The head gradient is ignored.\n\nShapes: data of any shape, label the same; for data (n, 1) also (n,)."));
const RegisterOp absolute(forward_op<Loss::absolute>(
    "MAERegressionOutput",
    "Returns data; its gradient is that of the absolute distance to label, divided by the number of outputs per "
    "sample. "
    "The head gradient is ignored.\n\nShapes: data of any shape, label the same; for data (n, 1) also (n,)."));
const RegisterOp backward_linear(backward_op<Loss::linear>());
const RegisterOp backward_logistic(backward_op<Loss::logistic>());
const RegisterOp backward_absolute(backward_op<Loss::absolute>());

// ---- SVMOutput
// ---------------------------------------------------------------------------------------------------------

struct SvmParams {
  float margin = 1;
  float regularization_coefficient = 1;
  bool use_linear = false;
  static void declare(ParamSchemaOf<SvmParams>& s) {
    s.field("margin", &SvmParams::margin, "Distance from 0 below which a score is punished.");
    s.field("regularization_coefficient", &SvmParams::regularization_coefficient, "Multiplies the gradient.");
    s.field("use_linear", &SvmParams::use_linear, "Whether the hinge loss is linear; otherwise it is squared.");
  }
};

void infer_svm_shape(InferContext& c) {
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
  if (!c.in[0].shape.rank_known()) return;
  if (c.in[0].shape.rank() < 2) c.bad(str("data must have at least 2 dimensions, got shape ", c.in[0].shape));
  Shape label = c.in[0].shape;
  label.resize(label.rank() - 1, 0);
  c.merge_in(1, label);
}

Prepared prepare_svm(const PrepareArgs& a) {
  const size_t bytes = static_cast<size_t>(a.in[0].shape.size()) * static_cast<size_t>(size_of(a.in[0].dtype));
  return make_kernel(
      [bytes](const KernelCall& c) {
        if (c.out[0] == c.in[0]) return;
        cpu::parallel_for(static_cast<int64_t>(bytes), 1 << 18, [&](int64_t begin, int64_t end) {
          std::memcpy(static_cast<char*>(c.out[0]) + begin, static_cast<const char*>(c.in[0]) + begin,
                      static_cast<size_t>(end - begin));
        });
      },
      50 + static_cast<int64_t>(bytes / 16));
}

// in: y, label.
Prepared prepare_svm_backward(const PrepareArgs& a) {
  const int64_t rows = a.in[0].shape[0], n = a.in[0].shape.size(1, a.in[0].shape.rank());
  return dispatch_float(a.in[0].dtype, [&]<typename T>(TypeTag<T>) {
    return dispatch(a.in[1].dtype, [&]<typename Label>(TypeTag<Label>) -> Prepared {
      using C = compute_t<T>;
      auto run = [rows, n](const KernelCall& c) {
        const auto& p = c.params->as<SvmParams>();
        const C margin = C(p.margin), factor = C(p.regularization_coefficient);
        const T* y = static_cast<const T*>(c.in[0]);
        const auto* label = static_cast<const Label*>(c.in[1]);
        const C constant = p.use_linear ? C(1) : C(0), linear = p.use_linear ? C(0) : C(2);
        const auto slope = [=](C score) {  // of the loss by how far a score is below the margin
          const C short_by = margin - score;
          return short_by > 0 ? constant + linear * short_by : C(0);
        };
        cpu::parallel_for(rows, std::max<int64_t>(1, 8192 / std::max<int64_t>(1, n)), [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const T* from = y + r * n;
            T* to = static_cast<T*>(c.out[0]) + r * n;
            for (int64_t k = 0; k < n; ++k) to[k] = static_cast<T>(slope(-C(from[k])) * factor);
            const int64_t k = convert<int64_t>(label[r]);
            if (k >= 0 && k < n) to[k] = static_cast<T>(-slope(C(from[k])) * factor);
          }
        });
      };
      return make_kernel(std::move(run), 50 + 4 * rows * n);
    });
  });
}

const RegisterOp svm_output{{
    .name = "SVMOutput",
    .doc = "Returns data; its gradient is that of a hinge loss of the scores against label. The head gradient is "
           "ignored.\n\n"
           "Shapes: data (n, k), label (n,), output (n, k).",
    .params = schema_of<SvmParams>(),
    .inputs = {"data", "label"},
    .infer = {infer_svm_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give(0, "_backward_SVMOutput", {g.output(0), g.input(1)}, g.params_ref());
                }).without_heads(),
    .kernels = {{"portable", prepare_svm}},
    .flags = {.inplace = true, .precision = Precision::full},
}};

const RegisterOp backward_svm_output{{
    .name = "_backward_SVMOutput",
    .doc = "The gradient that SVMOutput gives to its data.",
    .params = schema_of<SvmParams>(),
    .inputs = {"y", "label"},
    .infer = {infer_backward_shape, infer_backward_dtype},
    .gradient = Gradient::none(),
    .kernels = {{"portable", prepare_svm_backward}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::nn
