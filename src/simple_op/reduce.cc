// SPDX-License-Identifier: Apache-2.0
#include "simple_op/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "backend/cpu/parallel.h"
#include "simple_op/walker.h"

namespace mxnet {
namespace {

constexpr int64_t kSplit = 128 << 10;  // a longer reduction to few results is cut into pieces of this many elements
constexpr int64_t kFewResults = 64;
constexpr int64_t kShortRun = 16;     // rows that are folded by a loop without vectors
constexpr int64_t kColumns = 512;     // results that accumulate side by side
constexpr int64_t kGrain = 16 << 10;  // elements that one thread takes at least
constexpr int64_t kBlock = 1024;      // results between two runs of the finishing program

// The axes of one kind, outside the innermost axis.
struct Axes {
  std::vector<int64_t> dims, strides;  // strides in elements of the space

  int64_t size() const {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    return n;
  }
  int64_t offset(int64_t i) const {
    int64_t sum = 0;
    for (size_t axis = dims.size(); axis-- > 0;) {
      sum += i % dims[axis] * strides[axis];
      i /= dims[axis];
    }
    return sum;
  }
};

struct Geometry {
  Axes kept, reduced;
  int64_t inner = 1;  // the innermost merged axis
  bool inner_kept = false;

  int64_t outer_results() const { return kept.size(); }
  int64_t results() const { return outer_results() * (inner_kept ? inner : 1); }
  int64_t per_result() const { return reduced.size() * (inner_kept ? 1 : inner); }
};

Geometry make_geometry(const Shape& space, const std::vector<bool>& reduced) {
  std::vector<int64_t> dims;
  std::vector<bool> kinds;
  for (int axis = 0; axis < space.rank(); ++axis) {
    if (space[axis] == 1) continue;
    if (!kinds.empty() && kinds.back() == reduced[axis]) {
      dims.back() *= space[axis];
    } else {
      dims.push_back(space[axis]);
      kinds.push_back(reduced[axis]);
    }
  }
  if (dims.empty()) dims = {1}, kinds = {true};
  Geometry g;
  g.inner = dims.back();
  g.inner_kept = !kinds.back();
  int64_t stride = g.inner;
  for (int axis = static_cast<int>(dims.size()) - 2; axis >= 0; --axis) {
    Axes& axes = kinds[axis] ? g.reduced : g.kept;
    axes.dims.insert(axes.dims.begin(), dims[axis]);
    axes.strides.insert(axes.strides.begin(), stride);
    stride *= dims[axis];
  }
  return g;
}

// The value that changes nothing, in a register.
ScalarCell identity(Combine combine, Native type) {
  const DType storage = storage_of(type);
  switch (combine) {
    case Combine::add: return scalar_cell(0.0, DType::unknown, storage);
    case Combine::mul: return scalar_cell(1.0, DType::unknown, storage);
    default: break;
  }
  const bool lowest = combine == Combine::max;
  if (is_float(storage)) return scalar_cell(lowest ? -INFINITY : INFINITY, DType::unknown, storage);
  return dispatch(storage, [&]<typename T>(TypeTag<T>) {
    ScalarCell cell;
    const T value = lowest ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
    std::memcpy(cell.bytes, &value, sizeof value);
    return cell;
  });
}

Fn function_of(Combine combine) {
  constexpr Fn functions[] = {Fn::add, Fn::mul, Fn::maximum, Fn::minimum};
  return functions[static_cast<int>(combine)];
}

// What one run reads and writes.
struct Call {
  void* const* in;
  void* out;
  const ScalarCell* value_cells;
  const ScalarCell* finish_cells;
};

class Reducer final : public ReduceKernel {
 public:
  Reducer(const Reduction& reduction, std::span<const TensorSpec> in, const TensorSpec& space,
          const std::vector<bool>& reduced, const TensorSpec& out, Req req)
      : geometry_(make_geometry(space.shape, reduced)), combine_(reduction.combine) {
    const DType value_type = reduction.values.outputs[0].type;
    native_ = native_of(value_type);
    accumulator_ = accumulator_of(native_, combine_);
    fold_ = tile_table().fold[static_cast<int>(combine_)][static_cast<int>(native_)];
    merge_ = tile_table().fn[static_cast<int>(function_of(combine_))][static_cast<int>(accumulator_)];
    identity_ = identity(combine_, accumulator_);
    plan_values(reduction.values, in, {space.shape, value_type});
    plan_finish(reduction.finish, out, req);
    estimate(in);
  }

  void run(void* const* in, void* out, const Scalar* scalars) const override {
    if (geometry_.results() == 0) return;
    Scratch scratch;
    ScalarCell* finish_cells = scratch.get<ScalarCell>(finish_->cells.size());
    fill_cells(*finish_, nullptr, finish_cells);
    ScalarCell* value_cells = nullptr;
    if (values_) {
      value_cells = scratch.get<ScalarCell>(values_->cells.size());
      fill_cells(*values_, scalars, value_cells);
    }
    const Call call{in, out, value_cells, finish_cells};
    if (geometry_.inner_kept)
      run_columns(call, scratch);
    else
      run_rows(call, scratch);
  }

 private:
  // Gives runs of values: straight from the array, or computed tile by tile.
  class Source {
   public:
    Source(const Reducer& r, const Call& call, Scratch& scratch)
        : array_(static_cast<const char*>(call.in[0])), bytes_(size_of(r.native_)) {
      if (!r.values_) return;
      tile_ = r.values_->tile;
      buffer_ = static_cast<char*>(scratch.bytes(tile_ * bytes_));
      walker_.emplace(*r.values_, call.in, &out_, call.value_cells);
    }
    int64_t longest() const { return walker_ ? tile_ : INT64_MAX; }
    const void* get(int64_t first, int64_t n) {
      if (!walker_) return array_ + first * bytes_;
      out_ = buffer_ - first * bytes_;  // the walker addresses the whole array
      walker_->run_range(first, n);
      return buffer_;
    }

   private:
    const char* array_;
    int bytes_;
    int64_t tile_ = 0;
    char* buffer_ = nullptr;
    void* out_ = nullptr;
    std::optional<ProgramWalker> walker_;
  };

  // Turns accumulators of results [first, first + n) into the output.
  class Finisher {
   public:
    Finisher(const Reducer& r, const Call& call)
        : bytes_(size_of(r.accumulator_)),
          out_(call.out),
          tile_(r.finish_->tile),
          walker_(*r.finish_, &in_, &out_, call.finish_cells) {}
    void put(const char* accumulators, int64_t first, int64_t n) {
      in_ = const_cast<char*>(accumulators) - first * bytes_;
      for (int64_t i = 0; i < n; i += tile_) walker_.run_range(first + i, std::min(tile_, n - i));
    }

   private:
    int bytes_;
    void* in_ = nullptr;
    void* out_;
    int64_t tile_;
    ProgramWalker walker_;
  };

  void plan_values(const Program& values, std::span<const TensorSpec> in, const TensorSpec& space) {
    const bool is_array =
        values.code.empty() && in.size() == 1 && in[0].dtype == space.dtype && in[0].shape.size() == space.shape.size();
    if (is_array) return;
    const Req write = Req::write;
    values_ = make_plan(values, in, {&space, 1}, {&write, 1}, true);
  }

  void plan_finish(const Expr& finish, const TensorSpec& out, Req req) {
    ProgramBuilder builder;
    const DType from = storage_of(accumulator_);
    const Operand in = builder.input(from);
    const bool unchanged = finish.is(Expr::Kind::input);
    builder.output(unchanged ? in : builder.formula(finish, DType::f64, {&in, 1}, {}), out.dtype);
    const Shape flat{geometry_.results()};
    const TensorSpec source{flat, from}, target{flat, out.dtype};
    finish_ = make_plan(builder.take(), {&source, 1}, {&target, 1}, {&req, 1}, true);
  }

  void estimate(std::span<const TensorSpec> in) {
    const int64_t n = geometry_.results() * geometry_.per_result();
    int64_t bytes = 0;
    for (const TensorSpec& t : in) bytes += t.shape.size() * size_of(t.dtype);
    cost_ns = estimate_ns(geometry_.inner_kept          ? 0.15
                          : geometry_.inner < kShortRun ? 0.8
                                                        : 0.06,
                          n, bytes) +
              geometry_.outer_results() * 4 + (values_ ? values_->cost_ns : 0) + finish_->cost_ns;
  }

  void reset(char* accumulators, int64_t n) const {
    tile_table().fn[static_cast<int>(Fn::copy)][static_cast<int>(accumulator_)](accumulators, identity_.bytes, nullptr,
                                                                                nullptr, n, 1);
  }
  void merge(char* into, const void* from, int64_t n) const { merge_(into, into, from, nullptr, n, 0); }
  int64_t accumulator_bytes() const { return size_of(accumulator_); }

  // ---- the innermost axis is reduced ----
  // Combines elements [begin, end) of what makes one result.
  void fold_range(Source& source, int64_t base, int64_t begin, int64_t end, char* result) const {
    const int64_t inner = geometry_.inner;
    bool first = true;
    for (int64_t at = begin; at < end;) {
      const int64_t row = at / inner, column = at % inner;
      const int64_t n = std::min({inner - column, end - at, source.longest()});
      const void* values = source.get(base + geometry_.reduced.offset(row) + column, n);
      if (first) {
        fold_.fold(result, values, n);
      } else {
        ScalarCell part;
        fold_.fold(part.bytes, values, n);
        merge(result, part.bytes, 1);
      }
      first = false;
      at += n;
    }
    if (first) std::memcpy(result, identity_.bytes, accumulator_bytes());
  }

  void run_rows(const Call& call, Scratch& scratch) const {
    const int64_t results = geometry_.outer_results(), length = geometry_.per_result();
    if (results <= kFewResults && length > kSplit) return run_split_rows(call, scratch);
    const bool short_runs = geometry_.inner < kShortRun && geometry_.inner > 0 && geometry_.reduced.dims.empty();
    cpu::parallel_for(results, std::max<int64_t>(1, kGrain / std::max<int64_t>(1, length)),
                      [&](int64_t begin, int64_t end) {
                        Scratch own;
                        Source source(*this, call, own);
                        Finisher finisher(*this, call);
                        char* block = static_cast<char*>(own.bytes(kBlock * accumulator_bytes()));
                        for (int64_t first = begin; first < end; first += kBlock) {
                          const int64_t n = std::min(kBlock, end - first);
                          if (short_runs)
                            fold_short(source, first, n, block);
                          else
                            fold_block(source, first, n, block);
                          finisher.put(block, first, n);
                        }
                      });
  }

  void fold_block(Source& source, int64_t first, int64_t n, char* block) const {
    for (int64_t i = 0; i < n; ++i) {
      fold_range(source, geometry_.kept.offset(first + i), 0, geometry_.per_result(), block + i * accumulator_bytes());
    }
  }

  void fold_short(Source& source, int64_t first, int64_t n, char* block) const {
    const int64_t inner = geometry_.inner, most = std::min(n, source.longest() / inner);
    for (int64_t i = 0; i < n; i += most) {
      const int64_t rows = std::min(most, n - i);
      fold_.fold_rows(block + i * accumulator_bytes(), source.get((first + i) * inner, rows * inner), rows, inner);
    }
  }

  void run_split_rows(const Call& call, Scratch& scratch) const {
    const int64_t results = geometry_.outer_results(), length = geometry_.per_result();
    const int64_t pieces = (length + kSplit - 1) / kSplit, width = accumulator_bytes();
    char* parts = static_cast<char*>(scratch.bytes(results * pieces * width));
    cpu::parallel_for(results * pieces, 1, [&](int64_t begin, int64_t end) {
      Scratch own;
      Source source(*this, call, own);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t from = u % pieces * kSplit;
        fold_range(source, geometry_.kept.offset(u / pieces), from, std::min(length, from + kSplit), parts + u * width);
      }
    });
    char* totals = static_cast<char*>(scratch.bytes(results * width));
    for (int64_t r = 0; r < results; ++r) {
      std::memcpy(totals + r * width, parts + r * pieces * width, width);
      for (int64_t p = 1; p < pieces; ++p) merge(totals + r * width, parts + (r * pieces + p) * width, 1);
    }
    Finisher(*this, call).put(totals, 0, results);
  }

  // ---- the innermost axis is kept ----
  // Adds rows [begin, end) of columns [column, column + n) to the accumulators. Where a whole row is short, several
  // that lie side by side are taken as one: `group` of them, n * group accumulators.
  void add_rows(Source& source, int64_t base, int64_t column, int64_t n, int64_t group, int64_t begin, int64_t end,
                char* accumulators) const {
    const int64_t last_dim = geometry_.reduced.dims.empty() ? 1 : geometry_.reduced.dims.back();
    for (int64_t row = begin; row < end;) {
      const int64_t rows = std::min({group, end - row, last_dim - row % last_dim});
      const void* values = source.get(base + geometry_.reduced.offset(row) + column, rows * n);
      fold_.accumulate(accumulators, values, rows * n);
      row += rows;
    }
  }

  void fold_group(char* accumulators, int64_t n, int64_t group) const {
    for (int64_t g = 1; g < group; ++g) merge(accumulators, accumulators + g * n * accumulator_bytes(), n);
  }

  void run_columns(const Call& call, Scratch& scratch) const {
    const int64_t inner = geometry_.inner, rows = geometry_.reduced.size(), width = accumulator_bytes();
    const int64_t most = std::min(kColumns, values_ ? values_->tile : kColumns);
    const int64_t columns = std::min(inner, most);
    const int64_t segments = (inner + columns - 1) / columns;
    const int64_t group = segments == 1 ? most / columns : 1;
    const int64_t units = geometry_.outer_results() * segments;
    // Few results from many rows: the rows are cut into pieces too.
    const int64_t piece =
        units <= kFewResults ? std::max<int64_t>(group, kSplit / columns) : std::max<int64_t>(1, rows);
    const int64_t pieces = std::max<int64_t>(1, (rows + piece - 1) / piece);
    char* parts = pieces == 1 ? nullptr : static_cast<char*>(scratch.bytes(units * pieces * columns * width));
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(1, columns * std::min(rows, piece)));
    cpu::parallel_for(units * pieces, grain, [&](int64_t begin, int64_t end) {
      Scratch own;
      Source source(*this, call, own);
      Finisher finisher(*this, call);
      char* accumulators = static_cast<char*>(own.bytes(columns * group * width));
      for (int64_t u = begin; u < end; ++u) {
        const int64_t unit = u / pieces, from = u % pieces * piece;
        const int64_t result = unit / segments, column = unit % segments * columns;
        const int64_t n = std::min(columns, inner - column);
        reset(accumulators, n * group);
        add_rows(source, geometry_.kept.offset(result), column, n, group, from, std::min(rows, from + piece),
                 accumulators);
        fold_group(accumulators, n, group);
        if (parts)
          std::memcpy(parts + u * columns * width, accumulators, n * width);
        else
          finisher.put(accumulators, result * inner + column, n);
      }
    });
    if (!parts) return;
    Finisher finisher(*this, call);
    for (int64_t unit = 0; unit < units; ++unit) {
      const int64_t column = unit % segments * columns, n = std::min(columns, inner - column);
      char* total = parts + unit * pieces * columns * width;
      for (int64_t p = 1; p < pieces; ++p) merge(total, total + p * columns * width, n);
      finisher.put(total, unit / segments * inner + column, n);
    }
  }

  Geometry geometry_;
  Combine combine_;
  Native native_, accumulator_;
  FoldFns fold_;
  TileFn merge_;
  ScalarCell identity_;
  std::unique_ptr<const ProgramKernel::Plan> values_;  // null: the input array itself
  std::unique_ptr<const ProgramKernel::Plan> finish_;
};

}  // namespace

std::unique_ptr<ReduceKernel> ReduceKernel::prepare(const Reduction& reduction, std::span<const TensorSpec> in,
                                                    const TensorSpec& space, const std::vector<bool>& reduced,
                                                    const TensorSpec& out, Req req) {
  return std::make_unique<Reducer>(reduction, in, space, reduced, out, req);
}

}  // namespace mxnet
