// SPDX-License-Identifier: Apache-2.0
#include "ops/nn/pick_log_softmax.h"

#include <cmath>
#include <limits>

#include "backend/cpu/simd_math.h"

namespace mxnet::MX_ISA {
namespace {

// exp of arguments that are hardly above 0: below 2^-126 it is 0, which saves the care for smaller numbers.
MX_INLINE F32 exp_down(F32 x) {
  const F32 y = vmax(splat(-87.0f), x);               // NaN stays
  const F32 shifted = y * 1.44269504f + 12582912.0f;  // rounds to an integer in the low bits
  const F32 n = shifted - 12582912.0f;
  const F32 r = (y - n * 0.693359375f) + n * 2.12194440e-4f;
  constexpr float c[] = {5.000000081e-01f, 1.666666687e-01f, 4.166625860e-02f,
                         8.333263003e-03f, 1.394696008e-03f, 1.991921144e-04f};
  const F32 p = polynomial(r, c) * (r * r) + r + 1.0f;
  return x < -87.0f ? F32{} : p * (F32)(((I32)shifted - (0x4b400000 - 127)) << 23);
}
MX_INLINE F64 exp_down(F64 x) { return vexp(x); }

template <typename T>
struct Rows {
  using C = compute_t<T>;
  using V = Vec<C>;
  static constexpr int kL = kLanes<C>;

  // The last elements of a row; the other lanes count for nothing.
  static V rest(const T* x, int64_t n) {
    alignas(kVectorBytes) C lanes[kL];
    for (int i = 0; i < kL; ++i) lanes[i] = i < n ? C(x[i]) : -std::numeric_limits<C>::infinity();
    return load(lanes);
  }

  // f(vector, vector) over a row, in two chains that do not wait for each other.
  template <typename F>
  MX_INLINE static V fold_row(const T* x, int64_t n, V start, F f) {
    V a = start, b = start;
    int64_t i = 0;
    for (; i + 2 * kL <= n; i += 2 * kL) {
      a = f(a, load(x + i));
      b = f(b, load(x + i + kL));
    }
    for (; i < n; i += kL) a = f(a, i + kL <= n ? load(x + i) : rest(x + i, n - i));
    return f.join(a, b);
  }

  struct Largest {
    MX_INLINE V operator()(V top, V x) const { return x > top ? x : top; }
    MX_INLINE V join(V a, V b) const { return b > a ? b : a; }
  };
  struct SumOfExponentials {
    C top;
    MX_INLINE V operator()(V sum, V x) const { return sum + exp_down(x - top); }
    MX_INLINE V join(V a, V b) const { return a + b; }
  };

  static C norm_of(const T* x, int64_t n) {
    const V lowest = splat(-std::numeric_limits<C>::infinity());
    const C top = fold(fold_row(x, n, lowest, Largest{}), [](V a, V b) { return a > b ? a : b; });
    const C sum = fold(fold_row(x, n, V{}, SumOfExponentials{top}), [](V a, V b) { return a + b; });
    return top + std::log(sum);
  }

  static void forward(const T* x, int64_t n, const int64_t* index, T* out, C* norm, int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = x + r * n;
      norm[r] = norm_of(row, n);
      if (out) out[r] = static_cast<T>(C(row[index[r]]) - norm[r]);
    }
  }

  static void backward(const T* x, int64_t n, const int64_t* index, const C* norm, const T* dy, T* dx, bool add,
                       int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const T* row = x + r * n;
      T* to = dx + r * n;
      const C head = C(dy[r]);
      const C picked = head - head * std::exp(C(row[index[r]]) - norm[r]) + (add ? C(to[index[r]]) : C(0));
      int64_t i = 0;
      for (; i + kL <= n; i += kL) {
        const V d = -head * exp_down(load(row + i) - norm[r]);
        store(to + i, add ? load(to + i) + d : d);
      }
      if (i < n) {
        const V d = -head * exp_down(rest(row + i, n - i) - norm[r]);
        for (int l = 0; i < n; ++i, ++l) to[i] = static_cast<T>(add ? C(to[i]) + d[l] : d[l]);
      }
      to[index[r]] = static_cast<T>(picked);
    }
  }
};

template <typename F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32: return f(TypeTag<float>{});
    case DType::f64: return f(TypeTag<double>{});
    case DType::f16: return f(TypeTag<half_t>{});
    case DType::bf16: return f(TypeTag<bfloat16_t>{});
    default: return;
  }
}

void forward(DType dtype, const void* x, int64_t n, const int64_t* index, void* out, void* norm, int64_t begin,
             int64_t end) {
  with_type(dtype, [&]<typename T>(TypeTag<T>) {
    Rows<T>::forward(static_cast<const T*>(x), n, index, static_cast<T*>(out), static_cast<compute_t<T>*>(norm), begin,
                     end);
  });
}

void backward(DType dtype, const void* x, int64_t n, const int64_t* index, const void* norm, const void* dy, void* dx,
              bool add, int64_t begin, int64_t end) {
  with_type(dtype, [&]<typename T>(TypeTag<T>) {
    Rows<T>::backward(static_cast<const T*>(x), n, index, static_cast<const compute_t<T>*>(norm),
                      static_cast<const T*>(dy), static_cast<T*>(dx), add, begin, end);
  });
}

}  // namespace

const PickLogSoftmaxKernels pick_log_softmax_kernels_table = {forward, backward};

}  // namespace mxnet::MX_ISA
