// SPDX-License-Identifier: Apache-2.0
// Convolution passes in gather form: each output element is one sum, in one order.
#include <algorithm>

#include "backend/cpu/parallel.h"
#include "ops/nn/convolution.h"

namespace mxnet::nn {
namespace {

// Element i of the output of each pass, on plain memory. Device-neutral: raw pointers and plain values only.
template <typename T>
struct ConvFunctors {
  using Acc = accumulate_t<T>;
  ConvProblem q;
  const T* x;
  const T* w;
  const T* y;
  const T* bias;

  struct Place {
    int64_t outer, channel, at[3];
  };
  static Place place(int64_t i, int64_t channels, const SpatialDims& dims) {
    Place p;
    for (int d = 2; d >= 0; --d) {
      p.at[d] = i % dims[d];
      i /= dims[d];
    }
    p.channel = i % channels;
    p.outer = i / channels;
    return p;
  }
  static int64_t offset(const int64_t* at, const SpatialDims& dims) {
    return (at[0] * dims[1] + at[1]) * dims[2] + at[2];
  }

  T forward(int64_t i) const {
    const Place p = place(i, q.out_channels, q.out);
    const int64_t per_group = q.in_channels / q.groups;
    const int64_t group = p.channel / (q.out_channels / q.groups);
    Acc sum = bias ? Acc(bias[p.channel]) : Acc(0);
    for (int64_t c = 0; c < per_group; ++c) {
      const T* plane = x + (p.outer * q.in_channels + group * per_group + c) * q.in_size();
      const T* filter = w + (p.channel * per_group + c) * q.kernel_size();
      int64_t k[3], at[3];
      for (k[0] = 0; k[0] < q.kernel[0]; ++k[0]) {
        for (k[1] = 0; k[1] < q.kernel[1]; ++k[1]) {
          for (k[2] = 0; k[2] < q.kernel[2]; ++k[2]) {
            if (source(p.at, k, at)) sum += Acc(plane[offset(at, q.in)]) * Acc(filter[offset(k, q.kernel)]);
          }
        }
      }
    }
    return static_cast<T>(sum);
  }

  T data(int64_t i) const {
    const Place p = place(i, q.in_channels, q.in);
    const int64_t per_group = q.in_channels / q.groups, out_per_group = q.out_channels / q.groups;
    const int64_t group = p.channel / per_group;
    Acc sum = 0;
    for (int64_t o = group * out_per_group; o < (group + 1) * out_per_group; ++o) {
      const T* plane = y + (p.outer * q.out_channels + o) * q.out_size();
      const T* filter = w + (o * per_group + p.channel % per_group) * q.kernel_size();
      int64_t k[3], at[3];
      for (k[0] = 0; k[0] < q.kernel[0]; ++k[0]) {
        for (k[1] = 0; k[1] < q.kernel[1]; ++k[1]) {
          for (k[2] = 0; k[2] < q.kernel[2]; ++k[2]) {
            if (target(p.at, k, at)) sum += Acc(plane[offset(at, q.out)]) * Acc(filter[offset(k, q.kernel)]);
          }
        }
      }
    }
    return static_cast<T>(sum);
  }

  T weight(int64_t i) const {
    const int64_t per_group = q.in_channels / q.groups;
    const Place p = place(i, per_group, q.kernel);
    const int64_t channel = p.outer / (q.out_channels / q.groups) * per_group + p.channel;
    Acc sum = 0;
    for (int64_t n = 0; n < q.batch; ++n) {
      const T* in_plane = x + (n * q.in_channels + channel) * q.in_size();
      const T* out_plane = y + (n * q.out_channels + p.outer) * q.out_size();
      int64_t o[3], at[3];
      for (o[0] = 0; o[0] < q.out[0]; ++o[0]) {
        for (o[1] = 0; o[1] < q.out[1]; ++o[1]) {
          for (o[2] = 0; o[2] < q.out[2]; ++o[2]) {
            if (source(o, p.at, at)) sum += Acc(in_plane[offset(at, q.in)]) * Acc(out_plane[offset(o, q.out)]);
          }
        }
      }
    }
    return static_cast<T>(sum);
  }

  T bias_gradient(int64_t channel) const {
    Acc sum = 0;
    for (int64_t n = 0; n < q.batch; ++n) {
      const T* plane = y + (n * q.out_channels + channel) * q.out_size();
      for (int64_t i = 0; i < q.out_size(); ++i) sum += Acc(plane[i]);
    }
    return static_cast<T>(sum);
  }

 private:
  // The place in X under window point k of output place o.
  bool source(const int64_t* o, const int64_t* k, int64_t* at) const {
    for (int d = 0; d < 3; ++d) {
      at[d] = o[d] * q.stride[d] + k[d] * q.dilate[d] - q.pad[d];
      if (at[d] < 0 || at[d] >= q.in[d]) return false;
    }
    return true;
  }
  // The place in Y whose window point k lies on place `in` of X.
  bool target(const int64_t* in, const int64_t* k, int64_t* at) const {
    for (int d = 0; d < 3; ++d) {
      const int64_t from = in[d] + q.pad[d] - k[d] * q.dilate[d];
      at[d] = from / q.stride[d];
      if (from < 0 || from % q.stride[d] != 0 || at[d] >= q.out[d]) return false;
    }
    return true;
  }
};

template <typename T>
class PortableConv final : public ConvKernel {
 public:
  PortableConv(const ConvProblem& q, ConvPass pass, bool with_bias) : q_(q), pass_(pass), bias_(with_bias) {
    cost_ns = 200 + 2 * q.multiplications() + q.y_shape().size() + q.x_shape().size();
  }

  void run(void* x, void* w, void* y, void* bias, void*) const override {
    const ConvFunctors<T> f{q_, static_cast<T*>(x), static_cast<T*>(w), static_cast<T*>(y),
                            bias_ && pass_ == ConvPass::forward ? static_cast<T*>(bias) : nullptr};
    switch (pass_) {
      case ConvPass::forward:
        return launch(q_.y_shape().size(), static_cast<T*>(y), [&](int64_t i) { return f.forward(i); });
      case ConvPass::data: return launch(q_.x_shape().size(), static_cast<T*>(x), [&](int64_t i) { return f.data(i); });
      case ConvPass::weights:
        launch(q_.w_shape().size(), static_cast<T*>(w), [&](int64_t i) { return f.weight(i); });
        if (bias) launch(q_.out_channels, static_cast<T*>(bias), [&](int64_t i) { return f.bias_gradient(i); });
    }
  }

 private:
  template <typename F>
  void launch(int64_t n, T* to, F&& f) const {
    const int64_t each = std::max<int64_t>(1, q_.multiplications() / std::max<int64_t>(1, n));
    cpu::parallel_for(n, std::max<int64_t>(1, 32768 / each), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = f(i);
    });
  }

  ConvProblem q_;
  ConvPass pass_;
  bool bias_;
};

}  // namespace

std::unique_ptr<ConvKernel> prepare_conv_portable(const ConvProblem& q, ConvPass pass, bool with_bias) {
  return dispatch_float(q.dtype, [&]<typename T>(TypeTag<T>) -> std::unique_ptr<ConvKernel> {
    return std::make_unique<PortableConv<T>>(q, pass, with_bias);
  });
}

}  // namespace mxnet::nn
