// SPDX-License-Identifier: Apache-2.0
// Discrete Fourier transforms along the last axis.
#include <complex>
#include <numbers>
#include <vector>

#include "operator/through_float.h"
#include "ops/linalg/matrices.h"

namespace mxnet::contrib {
namespace {

using Complex = std::complex<double>;

// Transforms of one length: of a power of two by halves (Cooley and Tukey, 1965), of others as a convolution of such a
// length (Bluestein, 1970). Not scaled in either direction.
class Transform {
 public:
  explicit Transform(int64_t n) : n_(n), power_(1) {
    while (power_ < n) power_ *= 2;
    if (power_ != n) {
      power_ *= 2;  // at least 2 n - 1
      make_chirp();
    }
  }
  int64_t memory() const { return power_; }

  // x (n elements) in place; `memory`: as many elements as memory() says.
  void run(Complex* x, Complex* memory, bool inverse) const {
    if (chirp_.empty()) return halves(x, n_, inverse);
    const auto at = [&](int64_t i) { return inverse ? std::conj(chirp_[i]) : chirp_[i]; };
    for (int64_t i = 0; i < power_; ++i) memory[i] = i < n_ ? x[i] * at(i) : Complex(0);
    halves(memory, power_, false);
    // The transform of the conjugate chirp, which is symmetric, is the conjugate of its own.
    for (int64_t i = 0; i < power_; ++i) memory[i] *= inverse ? std::conj(filter_[i]) : filter_[i];
    halves(memory, power_, true);
    for (int64_t i = 0; i < n_; ++i) x[i] = memory[i] * at(i) / static_cast<double>(power_);
  }

 private:
  static Complex root(double turns) { return std::polar(1.0, 2 * std::numbers::pi * turns); }

  void make_chirp() {
    chirp_.resize(static_cast<size_t>(n_));
    filter_.assign(static_cast<size_t>(power_), Complex(0));
    for (int64_t i = 0; i < n_; ++i) {
      // i^2 / 2 n in turns, its whole part taken out before it loses digits.
      const auto square = static_cast<uint64_t>(static_cast<unsigned __int128>(i) * static_cast<uint64_t>(i) %
                                                static_cast<uint64_t>(2 * n_));
      chirp_[i] = root(-static_cast<double>(square) / (2 * static_cast<double>(n_)));
      filter_[i] = std::conj(chirp_[i]);
      if (i > 0) filter_[power_ - i] = filter_[i];
    }
    halves(filter_.data(), power_, false);
  }

  static void halves(Complex* x, int64_t n, bool inverse) {
    for (int64_t i = 1, j = 0; i < n; ++i) {
      int64_t bit = n / 2;
      for (; j & bit; bit /= 2) j ^= bit;
      j ^= bit;
      if (i < j) std::swap(x[i], x[j]);
    }
    for (int64_t length = 2; length <= n; length *= 2) {
      const Complex step = root((inverse ? 1.0 : -1.0) / static_cast<double>(length));
      const int64_t half = length / 2;
      for (int64_t k0 = 0; k0 < half; k0 += kExact) {
        Complex w = root((inverse ? 1.0 : -1.0) * static_cast<double>(k0) / static_cast<double>(length));
        for (int64_t k = k0; k < std::min(half, k0 + kExact); ++k, w = times(w, step)) {
          for (int64_t i = k; i < n; i += length) {
            const Complex odd = times(w, x[i + half]);
            x[i + half] = x[i] - odd;
            x[i] += odd;
          }
        }
      }
    }
  }

  // Without the care for infinities of std::complex.
  static Complex times(const Complex& a, const Complex& b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }

  static constexpr int64_t kExact = 32;  // products of roots, before one is computed anew
  int64_t n_, power_;
  std::vector<Complex> chirp_, filter_;
};

struct FftParams {
  int compute_size = 128;
  static void declare(ParamSchemaOf<FftParams>& s) {
    s.field("compute_size", &FftParams::compute_size, "Of no effect here: how many rows a GPU takes at once.");
  }
};

constexpr bool kInverse = true;

template <bool Inverse>
void infer_shape(InferContext& c) {
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 1) c.bad(str("data must have at least 1 dimension, got shape ", data));
  const dim_t n = data[data.rank() - 1];
  if (n < 0) return;
  if (Inverse && n % 2) c.bad(str("the last axis of data must hold pairs (real, imaginary), got shape ", data));
  c.merge_out(0, linalg::with_last(data, 1, {Inverse ? n / 2 : 2 * n}));
}

void infer_dtype(InferContext& c) {
  infer::same_dtype(c);
  if (c.in[0].dtype != DType::unknown && !is_float(c.in[0].dtype)) {
    c.bad(str("data must be of a floating point dtype, got ", name_of(c.in[0].dtype)));
  }
}

template <bool Inverse>
Prepared prepare(const PrepareArgs& args) {
  if (is_half(args.in[0].dtype)) return "half types go through float";
  const Shape& real = Inverse ? args.out[0].shape : args.in[0].shape;
  const int64_t n = real[real.rank() - 1], rows = n ? real.size() / n : 0;
  const auto transform = std::make_shared<const Transform>(std::max<int64_t>(1, n));
  const int64_t work = transform->memory() * 64;
  return linalg::dispatch_matrix(args.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    return make_kernel(
        [=](const KernelCall& c) {
          linalg::each_matrix(rows, work, [&](int64_t r) {
            Scratch scratch;
            Complex* x = scratch.get<Complex>(static_cast<size_t>(n));
            Complex* memory = scratch.get<Complex>(static_cast<size_t>(transform->memory()));
            const T* from = static_cast<const T*>(c.in[0]) + r * n * (Inverse ? 2 : 1);
            T* to = static_cast<T*>(c.out[0]) + r * n * (Inverse ? 1 : 2);
            for (int64_t i = 0; i < n; ++i) x[i] = Inverse ? Complex(from[2 * i], from[2 * i + 1]) : Complex(from[i]);
            transform->run(x, memory, Inverse);
            for (int64_t i = 0; i < n; ++i) {
              if (Inverse) {
                to[i] = static_cast<T>(x[i].real());
              } else {
                to[2 * i] = static_cast<T>(x[i].real());
                to[2 * i + 1] = static_cast<T>(x[i].imag());
              }
            }
          });
        },
        linalg::cost_of(rows, work));
  });
}

// Both are linear, each the transpose of the other.
const RegisterOp fft{
    {.name = "_contrib_fft",
     .doc = "Discrete Fourier transform of real numbers along the last axis.\n\nShapes: data (..., "
            "n), output (..., 2 n), in which real and imaginary parts alternate. 1.9.1 has it on GPUs "
            "only.",
     .params = schema_of<FftParams>(),
     .inputs = {"data"},
     .infer = {infer_shape<!kInverse>, infer_dtype},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give(0, "_contrib_ifft", {g.head(0)}, g.params_ref()); }).only_heads(),
     .kernels = {{"portable", prepare<!kInverse>}, {"through float", prepare_through_float<prepare<!kInverse>>}},
     .flags = {.precision = Precision::full}}};

const RegisterOp ifft{
    {.name = "_contrib_ifft",
     .doc = "Real part of the inverse discrete Fourier transform along the last axis, not divided by "
            "the length.\n\nShapes: data (..., 2 n), in which real and imaginary parts alternate; "
            "output (..., n). 1.9.1 has it on GPUs only.",
     .params = schema_of<FftParams>(),
     .inputs = {"data"},
     .infer = {infer_shape<kInverse>, infer_dtype},
     .gradient =
         Gradient([](GradientBuilder& g) { g.give(0, "_contrib_fft", {g.head(0)}, g.params_ref()); }).only_heads(),
     .kernels = {{"portable", prepare<kInverse>}, {"through float", prepare_through_float<prepare<kInverse>>}},
     .flags = {.precision = Precision::full}}};

}  // namespace
}  // namespace mxnet::contrib
