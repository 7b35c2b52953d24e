// SPDX-License-Identifier: Apache-2.0
// Elementwise operators on sparse arrays. Functions with f(0) = 0 map the values that are kept; sums, differences and
// products of two sparse arrays merge their indices; a csr matrix times (over) a dense one keeps its own.
#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <variant>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ndarray/sparse.h"
#include "operator/op.h"
#include "resource/scratch.h"
#include "simple_op/elementwise.h"

namespace mxnet::ops {
namespace {

// A row_sparse array is one line of indices, a csr matrix one for each row.
struct Lines {
  explicit Lines(const SparseParts& p) : parts(p), csr(p.storage() == StorageType::csr), count(csr ? p.rows() : 1) {}
  int64_t begin(int64_t line) const { return csr ? parts.indptr()[line] : 0; }
  int64_t end(int64_t line) const { return csr ? parts.indptr()[line + 1] : parts.count(); }
  const SparseParts& parts;
  bool csr;
  int64_t count;
};

void copy_indices(SparseParts& to, const SparseParts& from) {
  if (&to == &from) return;
  to.resize(from.count());
  std::copy_n(from.indices(), from.count(), to.indices());
  if (from.storage() == StorageType::csr) std::copy_n(from.indptr(), from.rows() + 1, to.indptr());
}

// ---- one array
// --------------------------------------------------------------------------------------------------------

bool keep_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (out[0].storage == StorageType::unset) out[0].storage = in[0].storage;
  return out[0].storage == in[0].storage;
}

// The dense kernel of the operator, on `n` values of each input. How many there are is known when it runs.
template <size_t kInputs>
void run_on_values(const OpDef& op, const KernelCall& c, int64_t n, DType dtype, void* const (&in)[kInputs],
                   void* out) {
  if (n == 0) return;
  TensorSpec specs[kInputs], result{{n}, dtype};
  std::fill_n(specs, kInputs, result);
  Layout layouts[kInputs] = {};
  const Req req = Req::write;
  const auto kernel = prepare_kernel({op, *c.params, specs, layouts, {&result, 1}, {&req, 1}, false, cpu::team_size()});
  Scratch scratch;
  kernel->run({in, &out, c.params, c.random, scratch.bytes(kernel->scratch)});
}

Prepared prepare_map(const PrepareArgs& args) {
  return make_kernel(
      [&op = args.op](const KernelCall& c) {
        const auto& from = *static_cast<const SparseParts*>(c.in[0]);
        auto& to = *static_cast<SparseParts*>(c.out[0]);
        copy_indices(to, from);
        run_on_values(op, c, from.count() * from.width(), from.dtype(), {from.values()}, to.values());
      },
      Kernel::kUnknownCost);
}

// The values of an array, dense or sparse, at the indices of another: zero where it keeps none.
void values_at(const SparseParts& at, const void* array, StorageType storage, char* to) {
  const auto* parts = storage == StorageType::dense ? nullptr : static_cast<const SparseParts*>(array);
  const auto* from = static_cast<const char*>(parts ? parts->values() : array);
  const size_t bytes = static_cast<size_t>(at.width()) * size_of(at.dtype());
  const Lines lines(at);
  for (int64_t l = 0; l < lines.count; ++l) {
    int64_t j = parts ? Lines(*parts).begin(l) : 0;
    const int64_t j_end = parts ? Lines(*parts).end(l) : 0;
    for (int64_t k = lines.begin(l); k < lines.end(l); ++k, to += bytes) {
      const int64_t index = at.indices()[k];
      while (j < j_end && parts->indices()[j] < index) ++j;
      const int64_t place = !parts ? (lines.csr ? l * at.shape()[1] : 0) + index : j;
      if (parts && (j == j_end || parts->indices()[j] != index))
        std::memset(to, 0, bytes);
      else
        std::memcpy(to, from + static_cast<size_t>(place) * bytes, bytes);
    }
  }
}

// Gradients head * f'(x): what the head keeps, with x at the same places.
bool infer_at_head(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (!is_sparse(in[0].storage)) return false;
  if (is_sparse(in[1].storage) && in[1].storage != in[0].storage) return false;
  return keep_storage(params, in, out);
}

Prepared prepare_at_head(const PrepareArgs& args) {
  return make_kernel(
      [&op = args.op, storage = args.in[1].storage](const KernelCall& c) {
        const auto& head = *static_cast<const SparseParts*>(c.in[0]);
        auto& to = *static_cast<SparseParts*>(c.out[0]);
        const int64_t n = head.count() * head.width();
        Scratch scratch;
        char* beside = scratch.get<char>(static_cast<size_t>(n) * size_of(head.dtype()));
        values_at(head, c.in[1], storage, beside);
        copy_indices(to, head);
        run_on_values(op, c, n, head.dtype(), {head.values(), beside}, to.values());
      },
      Kernel::kUnknownCost);
}

Prepared prepare_clear(const PrepareArgs&) {
  return make_kernel([](const KernelCall& c) { static_cast<SparseParts*>(c.out[0])->clear(); }, Kernel::kUnknownCost);
}

// A comparison of zero with the scalar that is false keeps zeros zero.
template <typename Compare>
bool keep_unless(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  const double s = std::visit([](auto v) { return static_cast<double>(v); }, params.as<ScalarParams>().scalar);
  return !Compare()(0.0, s) && keep_storage(params, in, out);
}

const bool mapped = [] {
  for (const char* name :
       {"abs",     "sign",    "round",   "rint",    "ceil",  "floor",  "trunc",    "fix",       "square",
        "sqrt",    "cbrt",    "relu",    "sin",     "tan",   "arcsin", "arctan",   "sinh",      "tanh",
        "arcsinh", "arctanh", "degrees", "radians", "expm1", "log1p",  "negative", "BlockGrad", "make_loss"}) {
    RegisterSparse(name, {keep_storage, {{"values", prepare_map}}});
  }
  for (const char* name : {"_backward_degrees", "_backward_radians", "_backward_negative"}) {
    RegisterSparse(name, {keep_storage, {{"values", prepare_map}}});
  }
  for (const char* name :
       {"_backward_abs", "_backward_square", "_backward_sqrt", "_backward_cbrt", "_backward_relu", "_backward_sin",
        "_backward_tan", "_backward_arcsin", "_backward_arctan", "_backward_sinh", "_backward_tanh",
        "_backward_arcsinh", "_backward_arctanh", "_backward_expm1", "_backward_log1p"}) {
    RegisterSparse(name, {infer_at_head, {{"values", prepare_at_head}}});
  }
  RegisterSparse("zeros_like", {keep_storage, {{"nothing", prepare_clear}}});
  const auto with_scalar = [](const char* name, SparseForm::Infer infer) {
    RegisterSparse(name, {infer, {{"values", prepare_map}}});
  };
  with_scalar("_mul_scalar", keep_storage);
  with_scalar("_div_scalar", keep_storage);
  with_scalar("_greater_scalar", keep_unless<std::greater<>>);
  with_scalar("_lesser_scalar", keep_unless<std::less<>>);
  with_scalar("_greater_equal_scalar", keep_unless<std::greater_equal<>>);
  with_scalar("_lesser_equal_scalar", keep_unless<std::less_equal<>>);
  with_scalar("_equal_scalar", keep_unless<std::equal_to<>>);
  with_scalar("_not_equal_scalar", keep_unless<std::not_equal_to<>>);
  return true;
}();

// ---- two sparse arrays ----------------------------------------------------------------------------------------------

// Of the indices [a, a_end) and [b, b_end), ascending each: f(position in a or -1, position in b or -1) for all, or for
// those in both.
template <bool kBoth, typename F>
void merge(const int64_t* ia, int64_t a, int64_t a_end, const int64_t* ib, int64_t b, int64_t b_end, F&& f) {
  while (a < a_end || b < b_end) {
    const bool from_a = a < a_end && (b == b_end || ia[a] <= ib[b]);
    const bool from_b = b < b_end && (a == a_end || ib[b] <= ia[a]);
    if (!kBoth || (from_a && from_b)) f(from_a ? a : -1, from_b ? b : -1);
    a += from_a;
    b += from_b;
  }
}

// How many indices merge gives. Without branches on which side is next: that cannot be predicted.
template <bool kBoth>
int64_t merged_count(const int64_t* ia, int64_t a, int64_t a_end, const int64_t* ib, int64_t b, int64_t b_end) {
  int64_t both = 0;
  const int64_t all = (a_end - a) + (b_end - b);
  while (a < a_end && b < b_end) {
    const int64_t x = ia[a], y = ib[b];
    both += x == y;
    a += x <= y;
    b += y <= x;
  }
  return kBoth ? both : all - both;
}

// One line of elements: the sums or differences from position `k` of the result on.
template <typename T, typename Op>
void merge_elements(const SparseParts& a, int64_t i, int64_t i_end, const SparseParts& b, int64_t j, int64_t j_end,
                    int64_t* indices, T* to, Op op) {
  const int64_t *ia = a.indices(), *ib = b.indices();
  const auto *va = static_cast<const T*>(a.values()), *vb = static_cast<const T*>(b.values());
  while (i < i_end && j < j_end) {
    const int64_t x = ia[i], y = ib[j];
    const T left[2] = {T(0), va[i]}, right[2] = {T(0), vb[j]};
    *indices++ = std::min(x, y);
    *to++ = op(left[x <= y], right[y <= x]);
    i += x <= y;
    j += y <= x;
  }
  for (; i < i_end; ++i) *indices++ = ia[i], *to++ = op(va[i], T(0));
  for (; j < j_end; ++j) *indices++ = ib[j], *to++ = op(T(0), vb[j]);
}

// Rows of row_sparse arrays: where each of the result comes from is found first, then the team computes them.
template <typename T, bool kBoth, typename Op>
void combine_rows(const SparseParts& a, const SparseParts& b, SparseParts& out, Op op) {
  struct Origin {
    int64_t a, b;  // -1: that side has no such row
  };
  std::vector<Origin> origins;
  origins.reserve(static_cast<size_t>(kBoth ? std::min(a.count(), b.count()) : a.count() + b.count()));
  merge<kBoth>(a.indices(), 0, a.count(), b.indices(), 0, b.count(),
               [&](int64_t i, int64_t j) { origins.push_back({i, j}); });
  out.resize(static_cast<int64_t>(origins.size()));
  const int64_t width = a.width();
  const auto *va = static_cast<const T*>(a.values()), *vb = static_cast<const T*>(b.values());
  auto* values = static_cast<T*>(out.values());
  cpu::parallel_for(out.count(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t k = begin; k < end; ++k) {
                        const Origin from = origins[static_cast<size_t>(k)];
                        const T *x = va + from.a * width, *y = vb + from.b * width;
                        T* to = values + k * width;
                        out.indices()[k] = from.a >= 0 ? a.indices()[from.a] : b.indices()[from.b];
                        if (from.a < 0)
                          for (int64_t w = 0; w < width; ++w) to[w] = op(T(0), y[w]);
                        else if (from.b < 0)
                          for (int64_t w = 0; w < width; ++w) to[w] = op(x[w], T(0));
                        else
                          for (int64_t w = 0; w < width; ++w) to[w] = op(x[w], y[w]);
                      }
                    });
}

// out = op(a, b), where op(0, 0) is 0 (kBoth: op(x, 0) and op(0, x) too).
template <typename T, bool kBoth, typename Op>
void combine(const SparseParts& a, const SparseParts& b, SparseParts& out, Op op) {
  if (a.storage() == StorageType::row_sparse) return combine_rows<T, kBoth>(a, b, out, op);
  const Lines la(a), lb(b);
  const int64_t *ia = a.indices(), *ib = b.indices();
  std::vector<int64_t> start(static_cast<size_t>(la.count) + 1);
  const int64_t grain = std::max<int64_t>(1, 4096 / (1 + (a.count() + b.count()) / std::max<int64_t>(1, la.count)));
  cpu::parallel_for(la.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      start[static_cast<size_t>(l) + 1] = merged_count<kBoth>(ia, la.begin(l), la.end(l), ib, lb.begin(l), lb.end(l));
    }
  });
  std::partial_sum(start.begin(), start.end(), start.begin());
  out.resize(start.back());
  std::copy(start.begin(), start.end(), out.indptr());
  const auto *va = static_cast<const T*>(a.values()), *vb = static_cast<const T*>(b.values());
  auto* to = static_cast<T*>(out.values());
  cpu::parallel_for(la.count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      int64_t k = start[static_cast<size_t>(l)];
      if constexpr (!kBoth) {
        merge_elements<T>(a, la.begin(l), la.end(l), b, lb.begin(l), lb.end(l), out.indices() + k, to + k, op);
        continue;
      }
      int64_t i = la.begin(l), j = lb.begin(l);
      while (i < la.end(l) && j < lb.end(l)) {
        const int64_t x = ia[i], y = ib[j];
        if (x == y) [[unlikely]] {
          out.indices()[k] = x;
          to[k++] = op(va[i], vb[j]);
        }
        i += x <= y;
        j += y <= x;
      }
    }
  });
}

bool infer_same_storage(const Params&, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (in[0].storage != in[1].storage) return false;
  if (out[0].storage == StorageType::unset) out[0].storage = in[0].storage;
  return out[0].storage == in[0].storage;
}

template <bool kBoth, typename Op>
Prepared prepare_combine(const PrepareArgs& args) {
  return dispatch(args.out[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    if constexpr (std::is_same_v<T, bool>) {
      return "bool arrays have no arithmetic";
    } else {
      return make_kernel(
          [](const KernelCall& c) {
            const auto &a = *static_cast<const SparseParts*>(c.in[0]), &b = *static_cast<const SparseParts*>(c.in[1]);
            auto& out = *static_cast<SparseParts*>(c.out[0]);
            SparseParts result(a.storage(), a.shape(), a.dtype(), a.device());  // out may be an input
            combine<T, kBoth>(a, b, result, Op());
            out.swap(result);
          },
          Kernel::kUnknownCost);
    }
  });
}

struct Add {
  template <typename T>
  T operator()(T x, T y) const {
    return static_cast<T>(x + y);
  }
};
struct Subtract {
  template <typename T>
  T operator()(T x, T y) const {
    return static_cast<T>(x - y);
  }
};
struct Multiply {
  template <typename T>
  T operator()(T x, T y) const {
    return static_cast<T>(x * y);
  }
};
struct Divide {
  template <typename T>
  T operator()(T x, T y) const {
    if constexpr (std::is_integral_v<T>) {
      return y == T(0) ? T(0) : static_cast<T>(x / y);
    } else {
      return static_cast<T>(x / y);
    }
  }
};

// ---- a sparse and a dense array
// ---------------------------------------------------------------------------------------

// Elements of a dense operand beside those of a sparse one of the given shape, repeated along axes of size 1.
struct Beside {
  Beside(const Shape& dense, const Shape& shape) {
    int64_t step = 1;
    for (int i = dense.rank() - 1; i >= 0; --i) {
      const int64_t own = dense[i] == 1 && shape[i] != 1 ? 0 : step;
      (i == 0 ? row : column) = own;
      step *= dense[i];
    }
  }
  int64_t row = 0, column = 0;  // steps
};

template <typename T, typename Op>
void with_dense(const SparseParts& a, const T* dense, const Shape& dense_shape, SparseParts& out, Op op) {
  copy_indices(out, a);
  const auto* values = static_cast<const T*>(a.values());
  auto* to = static_cast<T*>(out.values());
  if (a.storage() == StorageType::row_sparse) {
    const int64_t width = a.width();
    cpu::parallel_for(a.count(), std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t k = begin; k < end; ++k) {
                          const T* beside = dense + a.indices()[k] * width;
                          for (int64_t w = 0; w < width; ++w) to[k * width + w] = op(values[k * width + w], beside[w]);
                        }
                      });
    return;
  }
  const Beside step(dense_shape, a.shape());
  cpu::parallel_for(a.rows(), std::max<int64_t>(1, 16384 / (1 + a.count() / std::max<int64_t>(1, a.rows()))),
                    [&](int64_t begin, int64_t end) {
                      for (int64_t r = begin; r < end; ++r) {
                        for (int64_t e = a.indptr()[r]; e < a.indptr()[r + 1]; ++e) {
                          to[e] = op(values[e], dense[r * step.row + a.indices()[e] * step.column]);
                        }
                      }
                    });
}

template <typename Op>
Prepared prepare_with_dense(const PrepareArgs& args) {
  const int sparse = is_sparse(args.in[0].storage) ? 0 : 1;
  return dispatch(args.out[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    if constexpr (std::is_same_v<T, bool>) {
      return "bool arrays have no arithmetic";
    } else {
      return make_kernel(
          [sparse, shape = args.in[static_cast<size_t>(1 - sparse)].shape](const KernelCall& c) {
            with_dense<T>(*static_cast<const SparseParts*>(c.in[sparse]), static_cast<const T*>(c.in[1 - sparse]),
                          shape, *static_cast<SparseParts*>(c.out[0]), Op());
          },
          Kernel::kUnknownCost);
    }
  });
}

// Products of one shape: either operand may be the sparse one, or both of one storage type.
bool infer_product(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (is_sparse(in[0].storage) && is_sparse(in[1].storage)) return infer_same_storage(params, in, out);
  const StorageType own = is_sparse(in[0].storage) ? in[0].storage : in[1].storage;
  if (out[0].storage == StorageType::unset) out[0].storage = own;
  return out[0].storage == own;
}

Prepared prepare_product(const PrepareArgs& args) {
  if (is_sparse(args.in[0].storage) && is_sparse(args.in[1].storage)) return prepare_combine<true, Multiply>(args);
  return prepare_with_dense<Multiply>(args);
}

// A csr matrix with a dense array that may be repeated along axes.
bool infer_csr_with_dense(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out) {
  if (in[0].storage != StorageType::csr || is_sparse(in[1].storage)) return false;
  if (in[1].shape.rank_known() && in[0].shape.rank_known()) {
    if (in[1].shape.rank() != 2) return false;
    for (int i = 0; i < 2; ++i) {
      if (in[1].shape[i] != 1 && in[1].shape[i] != in[0].shape[i]) return false;
    }
  }
  return keep_storage(params, in, out);
}

Prepared prepare_add(const PrepareArgs& args) {
  if (args.in[0].storage == StorageType::csr) return prepare_combine<false, Add>(args);
  return make_kernel(
      [](const KernelCall& c) {
        const auto &a = *static_cast<const SparseParts*>(c.in[0]), &b = *static_cast<const SparseParts*>(c.in[1]);
        SparseParts result(a.storage(), a.shape(), a.dtype(), a.device());
        sparse::add_rows(result, a, b);
        static_cast<SparseParts*>(c.out[0])->swap(result);
      },
      Kernel::kUnknownCost);
}

const RegisterSparse add_form{"elemwise_add", {infer_same_storage, {{"merge", prepare_add}}}};
const RegisterSparse sub_form{"elemwise_sub", {infer_same_storage, {{"merge", prepare_combine<false, Subtract>}}}};
const RegisterSparse mul_form{"elemwise_mul", {infer_product, {{"merge", prepare_product}}}};
const RegisterSparse broadcast_mul_form{"broadcast_mul",
                                        {infer_csr_with_dense, {{"values", prepare_with_dense<Multiply>}}}};
const RegisterSparse broadcast_div_form{"broadcast_div",
                                        {infer_csr_with_dense, {{"values", prepare_with_dense<Divide>}}}};

}  // namespace
}  // namespace mxnet::ops
