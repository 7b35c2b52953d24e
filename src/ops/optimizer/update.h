// SPDX-License-Identifier: Apache-2.0
// Optimizer updates: one pass over weight, gradient and states, vectorized for each instruction set. A rule is the
// formula for one element (update_isa.cc); operators differ in rule, states and how many arrays they update.
#pragma once

#include <cstdint>
#include <vector>

#include "operator/kernel.h"

namespace mxnet::ops {

enum class Rule {
  sgd,
  sgd_mom,
  nag_mom,
  signsgd,
  signum,
  adam,
  adamw,
  rmsprop,
  rmsprop_alex,
  ftrl,
  ftml,
  lamb_direction,
  lamb_step,
  adagrad,
  count
};

// Numbers of one update. a..d belong to the rule, as its line in update_isa.cc says.
struct UpdateScalars {
  double lr = 0, wd = 0, rescale = 1, clip = -1;  // no clipping when negative
  double a = 0, b = 0, c = 0, d = 0, e = 0;
};

inline constexpr int kMaxStates = 3;

// The memory of one array's update. `master` is the float32 weight of a half precision one, else null; states then are
// float32 as well.
struct UpdateArrays {
  void* out = nullptr;
  const void* weight = nullptr;
  const void* grad = nullptr;
  void* state[kMaxStates] = {};
  float* master = nullptr;
};

using UpdateFn = void (*)(const UpdateArrays& arrays, const UpdateScalars& scalars, int64_t begin, int64_t end);

// The same for some rows of weight and states: row rows[i] by row grad_rows[i] of grad (row i if null), each of `width`
// elements. Memory that comes later is fetched ahead.
using UpdateRowsFn = void (*)(const UpdateArrays& arrays, const UpdateScalars& scalars, const int64_t* rows,
                              const int64_t* grad_rows, int64_t count, int64_t width);

// [rule][type]: f32, f64, f16, bf16, then f16, bf16 and f32 with a master weight.
struct UpdateTable {
  struct Entry {
    UpdateFn all;
    UpdateRowsFn rows;
  };
  Entry fn[static_cast<int>(Rule::count)][7];
};
const UpdateTable& update_table();

// Members are null for dtypes that have no update.
UpdateTable::Entry find_update(Rule rule, DType dtype, bool with_master);

// Several arrays cut into pieces of like size, in fixed order.
class UpdatePieces {
 public:
  explicit UpdatePieces(const std::vector<int64_t>& sizes);
  // Calls update(array, begin, end) over the team.
  template <typename F>
  void run(F&& update) const;
  int64_t total() const { return total_; }

 private:
  struct Piece {
    int array;
    int64_t begin, end;
  };
  void run_all(void (*body)(void*, int, int64_t, int64_t), void* context) const;
  std::vector<Piece> pieces_;
  int64_t total_ = 0;
};

template <typename F>
void UpdatePieces::run(F&& update) const {
  run_all([](void* context, int array, int64_t begin,
             int64_t end) { (*static_cast<std::remove_reference_t<F>*>(context))(array, begin, end); },
          const_cast<void*>(static_cast<const void*>(&update)));
}

// A kernel for one array: inputs are weight, grad, `states` states, then the master weight if there is one. `scalars`
// reads the run-time parameters. The gradient may be row_sparse: with the parameter lazy_update only its rows change,
// else absent rows count as zero.
using ScalarsFn = UpdateScalars (*)(const Params& params);
Prepared prepare_update(const PrepareArgs& args, Rule rule, int states, bool with_master, ScalarsFn scalars);

// Storage types of an update: a row_sparse gradient, a dense or a complete row_sparse weight, dense states.
bool infer_row_update(const Params& params, std::span<const TensorSpec> in, std::span<TensorSpec> out);

}  // namespace mxnet::ops
