// SPDX-License-Identifier: Apache-2.0
#include <type_traits>

#include "backend/cpu/simd.h"
#include "ops/nn/batch_norm_rows.h"

namespace mxnet::MX_ISA {
namespace {

constexpr int kV = kLanes<float>;

// One vector of channels: all of its lanes, or the first n.
template <typename T>
struct Whole {
  MX_INLINE F32 get(const T* p) const { return load(p); }
  MX_INLINE F32 number(const float* p) const { return load(p); }
  MX_INLINE void put(T* p, F32 v) const { store(p, v); }
  MX_INLINE void add(float* p, F32 v) const { store(p, load(p) + v); }
};
template <typename T>
struct Part {
  int64_t n;
  MX_INLINE F32 get(const T* p) const {
    if constexpr (std::is_same_v<T, float>) {
      return load_part(p, n);
    } else {
      T lanes[kV] = {};
      __builtin_memcpy(lanes, p, static_cast<size_t>(n) * sizeof(T));
      return load(lanes);
    }
  }
  MX_INLINE F32 number(const float* p) const { return load_part(p, n); }
  MX_INLINE void add(float* p, F32 v) const { store_part(p, load_part(p, n) + v, n); }
  MX_INLINE void put(T* p, F32 v) const {
    if constexpr (std::is_same_v<T, float>) {
      store_part(p, v, n);
    } else {
      T lanes[kV];
      store(lanes, v);
      __builtin_memcpy(p, lanes, static_cast<size_t>(n) * sizeof(T));
    }
  }
};

// f(vector of channels, first channel), the rest last.
template <typename T, typename F>
MX_INLINE void each_vector(int64_t channels, F&& f) {
  int64_t c = 0;
  for (; c + kV <= channels; c += kV) f(Whole<T>{}, c);
  if (c < channels) f(Part<T>{channels - c}, c);
}

// f(rows at a time as a constant, first row): several rows share one load of what belongs to a channel.
template <typename F>
MX_INLINE void each_rows(int64_t rows, F&& f) {
  int64_t r = 0;
  for (; r + 8 <= rows; r += 8) f(std::integral_constant<int, 8>{}, r);
  for (; r < rows; ++r) f(std::integral_constant<int, 1>{}, r);
}

template <typename F>
MX_INLINE void with_type(DType dtype, F&& f) {
  if (dtype == DType::f16) return f(half_t{});
  if (dtype == DType::bf16) return f(bfloat16_t{});
  f(float{});
}

void moments(const NormRows& r, float* sum, float* squares) {
  for (int64_t c = 0; c < r.channels; ++c) sum[c] = squares[c] = 0;
  with_type(r.dtype, [&]<typename T>(T) MX_LAMBDA_INLINE {
    const T* x = static_cast<const T*>(r.x);
    each_rows(r.rows, [&]<int kRows>(std::integral_constant<int, kRows>, int64_t row) MX_LAMBDA_INLINE {
      each_vector<T>(r.channels, [&](auto lanes, int64_t c) MX_LAMBDA_INLINE {
        const F32 mean = lanes.number(r.mean + c);
        F32 total{}, square{};
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const F32 d = lanes.get(x + (row + i) * r.channels + c) - mean;
          total += d;
          square += d * d;
        }
        lanes.add(sum + c, total);
        lanes.add(squares + c, square);
      });
    });
  });
}

// relu passes NaN on.
void normalize(const NormRows& r, void* y) {
  with_type(r.dtype, [&]<typename T>(T) MX_LAMBDA_INLINE {
    const T *x = static_cast<const T*>(r.x), *other = static_cast<const T*>(r.other);
    const F32 least = splat(r.relu ? 0.0f : -__builtin_inff());
    each_rows(r.rows, [&]<int kRows>(std::integral_constant<int, kRows>, int64_t row) MX_LAMBDA_INLINE {
      each_vector<T>(r.channels, [&](auto lanes, int64_t c) MX_LAMBDA_INLINE {
        const F32 mean = lanes.number(r.mean + c), scale = lanes.number(r.scale + c), shift = lanes.number(r.shift + c);
#pragma GCC unroll 8
        for (int i = 0; i < kRows; ++i) {
          const int64_t at = (row + i) * r.channels + c;
          F32 v = (lanes.get(x + at) - mean) * scale + shift;
          if (other) v += lanes.get(other + at);
          lanes.put(static_cast<T*>(y) + at, vmax(least, v));
        }
      });
    });
  });
}

// The gradient that relu lets pass, with x - mean.
struct Masked {
  F32 dy, centred;
};
template <bool kRelu, typename T, typename Lanes>
MX_INLINE Masked masked(const Lanes& lanes, const T* x, const T* dy, F32 mean, F32 scale, F32 shift) {
  const F32 centred = lanes.get(x) - mean;
  F32 g = lanes.get(dy);
  if constexpr (kRelu) g = centred * scale + shift > F32{} ? g : F32{};
  return {g, centred};
}

template <typename F>
MX_INLINE void with_relu(bool relu, F&& f) {
  if (relu)
    f(std::true_type{});
  else
    f(std::false_type{});
}

void gradient_sums(const NormRows& r, const void* dy, float* sum, float* dot) {
  for (int64_t c = 0; c < r.channels; ++c) sum[c] = dot[c] = 0;
  with_type(r.dtype, [&]<typename T>(T) MX_LAMBDA_INLINE {
    with_relu(r.relu, [&]<bool kRelu>(std::bool_constant<kRelu>) MX_LAMBDA_INLINE {
      const T *x = static_cast<const T*>(r.x), *heads = static_cast<const T*>(dy);
      each_rows(r.rows, [&]<int kRows>(std::integral_constant<int, kRows>, int64_t row) MX_LAMBDA_INLINE {
        each_vector<T>(r.channels, [&](auto lanes, int64_t c) MX_LAMBDA_INLINE {
          const F32 mean = lanes.number(r.mean + c);
          const F32 scale = kRelu ? lanes.number(r.scale + c) : F32{},
                    shift = kRelu ? lanes.number(r.shift + c) : F32{};
          F32 total{}, product{};
#pragma GCC unroll 8
          for (int i = 0; i < kRows; ++i) {
            const int64_t at = (row + i) * r.channels + c;
            const Masked m = masked<kRelu, T>(lanes, x + at, heads + at, mean, scale, shift);
            total += m.dy;
            product += m.dy * m.centred;
          }
          lanes.add(sum + c, total);
          lanes.add(dot + c, product);
        });
      });
    });
  });
}

void gradient(const NormRows& r, const void* dy, const float* slope, const float* tilt, const float* bias, void* dx) {
  with_type(r.dtype, [&]<typename T>(T) MX_LAMBDA_INLINE {
    with_relu(r.relu, [&]<bool kRelu>(std::bool_constant<kRelu>) MX_LAMBDA_INLINE {
      const T *x = static_cast<const T*>(r.x), *heads = static_cast<const T*>(dy);
      each_rows(r.rows, [&]<int kRows>(std::integral_constant<int, kRows>, int64_t row) MX_LAMBDA_INLINE {
        each_vector<T>(r.channels, [&](auto lanes, int64_t c) MX_LAMBDA_INLINE {
          const F32 mean = lanes.number(r.mean + c);
          const F32 scale = kRelu ? lanes.number(r.scale + c) : F32{},
                    shift = kRelu ? lanes.number(r.shift + c) : F32{};
          const F32 a = lanes.number(slope + c), b = lanes.number(tilt + c), d = lanes.number(bias + c);
#pragma GCC unroll 8
          for (int i = 0; i < kRows; ++i) {
            const int64_t at = (row + i) * r.channels + c;
            const Masked m = masked<kRelu, T>(lanes, x + at, heads + at, mean, scale, shift);
            lanes.put(static_cast<T*>(dx) + at, a * m.dy + (b * m.centred + d));
          }
        });
      });
    });
  });
}

}  // namespace

const BatchNormKernels batch_norm_kernels_table = {kV, moments, normalize, gradient_sums, gradient};

}  // namespace mxnet::MX_ISA
