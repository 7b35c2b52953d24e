// SPDX-License-Identifier: Apache-2.0
#include "simple_op/plan.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

namespace mxnet {
namespace {

constexpr int64_t kTileBytes = 12 << 10;      // what the tiles of a program may take of the first cache
constexpr int64_t kGrainElements = 16 << 10;  // least work for a thread

// Turns instructions into steps over virtual registers, then registers into slots.
class Planner {
 public:
  Planner(const Program& program, std::span<const TensorSpec> in, std::span<const TensorSpec> out,
          std::span<const Req> req, bool any_range)
      : program_(program), plan_(std::make_unique<ProgramKernel::Plan>()) {
    std::vector<TensorSpec> operands(in.begin(), in.end());
    for (size_t i = 0; i < in.size(); ++i) {
      plan_->inputs.push_back({static_cast<int>(i), false, false, size_of(in[i].dtype)});
    }
    for (size_t k = 0; k < out.size(); ++k) {
      if (req[k] == Req::null) continue;
      Program::Output result = program.outputs[k];
      if (req[k] == Req::add) {
        operands.push_back(out[k]);
        plan_->inputs.push_back({static_cast<int>(k), true, false, size_of(out[k].dtype)});
        program_.inputs.push_back(out[k].dtype);
        const Operand before{Operand::Kind::input, static_cast<int>(plan_->inputs.size()) - 1};
        program_.code.push_back({Fn::add, out[k].dtype, {before, result.value}});
        result.value = {Operand::Kind::result, static_cast<int>(program_.code.size()) - 1};
      }
      plan_->outputs.push_back({static_cast<int>(k), size_of(out[k].dtype)});
      results_.push_back(result);
    }
    plan_->walk = make_iteration(operands, out[0]);
    if (any_range && plan_->walk.walk == Iteration::Walk::rows) plan_->walk.walk = Iteration::Walk::expand;
    for (size_t i = 0; i < operands.size(); ++i)
      plan_->inputs[i].expanded = plan_->walk.is_expanded(static_cast<int>(i));
  }

  std::unique_ptr<const ProgramKernel::Plan> make() {
    results_of_code_.assign(program_.code.size(), -1);
    for (size_t i = 0; i < program_.code.size(); ++i) emit(static_cast<int>(i));
    // All reads first: an output may lie where an input does.
    for (const Program::Output& result : results_) {
      if (!is_half(result.type)) value(result.value, result.type);
    }
    for (size_t k = 0; k < results_.size(); ++k) emit_output(static_cast<int>(k));
    join_chains();
    choose_tile();
    assign_slots();
    estimate();
    return std::move(plan_);
  }

 private:
  enum class Place : uint8_t { input, output, cell, buffer };
  struct Register {
    Place place;
    int index;         // of the input, output or cell
    Native type;       // halves and bool in memory: unused
    bool uniform;      // one element for the whole tile
    int defined = -1;  // step that writes it
    int last_use = -1;
    int slot = -1;
  };
  struct VirtualStep {
    TileFn fn;
    int out;
    std::vector<int> args;  // of a chain: where it starts, then the operands of its links
    bool once;
    double ns;
    std::optional<Fn> function;  // of floats, where it is a formula rather than a conversion
    std::vector<ChainOp> chain = {};
    std::optional<ChainOp> rounding = {};  // of a step that rounds floats to a half type
  };
  static const TileTable& table() { return tile_table(); }

  int add_register(Place place, int index, Native type, bool uniform) {
    registers_.push_back({place, index, type, uniform});
    return static_cast<int>(registers_.size()) - 1;
  }

  // A step on registers; its result is uniform if all it reads is.
  int add_step(TileFn fn, Native type, double ns, std::vector<int> args, std::optional<Fn> function = {}) {
    bool uniform = true;
    for (int r : args) uniform &= registers_[r].uniform;
    const int out = add_register(Place::buffer, -1, type, uniform);
    write_step(fn, ns, uniform, out, std::move(args), function);
    return out;
  }
  void write_step(TileFn fn, double ns, bool once, int out, std::vector<int> args, std::optional<Fn> function = {}) {
    registers_[out].defined = static_cast<int>(steps_.size());
    steps_.push_back({fn, out, std::move(args), once, ns, function});
  }

  int convert(int r, DType from, DType to, Native native, double ns = 0.1) {
    return add_step(table().convert[storage_slot(from)][storage_slot(to)], native, ns, {r});
  }

  int cell(ProgramKernel::Plan::Cell cell) {
    plan_->cells.push_back(cell);
    return add_register(Place::cell, static_cast<int>(plan_->cells.size()) - 1, native_of(cell.type), true);
  }

  int input_register(int i) {
    if (auto it = inputs_.find(i); it != inputs_.end()) return it->second;
    const bool uniform = plan_->walk.is_scalar(i);
    return inputs_[i] = add_register(Place::input, i, native_of(program_.inputs[i]), uniform);
  }

  // The register that holds `operand` as dtype `type` (a half: a float that is rounded to it).
  int value(const Operand& operand, DType type) {
    const auto key = std::tuple(operand.kind, operand.index, type);
    if (auto it = values_.find(key); it != values_.end()) return it->second;
    return values_[key] = make_value(operand, type);
  }

  int make_value(const Operand& operand, DType type) {
    switch (operand.kind) {
      case Operand::Kind::constant:
        return cell({-1, DType::unknown, type, scalar_cell(program_.constants[operand.index], DType::unknown, type)});
      case Operand::Kind::scalar: return cell({operand.index, program_.scalars[operand.index], type, {}});
      case Operand::Kind::input: {
        const DType stored = program_.inputs[operand.index];
        const int r = input_register(operand.index);
        if (!is_half(stored)) return cast(r, stored, type);
        if (type != DType::f32 && type != stored) return cast(value(operand, DType::f32), DType::f32, type);
        return type == stored ? value(operand, DType::f32) : convert(r, stored, DType::f32, Native::f32);
      }
      default: break;
    }
    const Instruction& code = program_.code[operand.index];
    if (code.fn == Fn::copy) {
      return type == code.type ? value(code.args[0], type) : cast(value(operand, code.type), code.type, type);
    }
    return cast(results_of_code_[operand.index], code.type, type);
  }

  // A register that holds a value of dtype `from`, as dtype `to`.
  int cast(int r, DType from, DType to) {
    const Native a = native_of(from), b = native_of(to);
    if (is_half(to)) {
      if (from == to) return r;
      if (a != Native::f32) r = convert(r, storage_of(a), DType::f32, Native::f32);
      const int result = add_step(table().round_half[to == DType::bf16], Native::f32, 0.1, {r});
      steps_.back().rounding = to == DType::bf16 ? ChainOp::round_bf16 : ChainOp::round_f16;
      return result;
    }
    if (to == DType::boolean) return from == to ? r : convert(r, storage_of(a), to, b);
    return a == b ? r : convert(r, storage_of(a), storage_of(b), b);
  }

  void emit(int i) {
    const Instruction code = program_.code[i];
    if (code.fn == Fn::copy) return;  // a conversion, made where it is read
    const bool by_double = !table().fn[static_cast<int>(code.fn)][static_cast<int>(native_of(code.type))];
    const DType computing = by_double ? DType::f64 : is_half(code.type) ? DType::f32 : code.type;
    std::vector<int> args;
    for (int k = 0; k < arity_of(code.fn); ++k) args.push_back(value(code.args[k], computing));
    const Native native = native_of(computing);
    int r =
        add_step(table().fn[static_cast<int>(code.fn)][static_cast<int>(native)], native, function_ns(code.fn, native),
                 std::move(args), native == Native::f32 ? std::optional(code.fn) : std::nullopt);
    if (code.type == DType::boolean)
      r = convert(r, DType::u8, DType::boolean, Native::u8);
    else if (computing != code.type)
      r = cast(r, computing, code.type);
    results_of_code_[i] = r;
  }

  // An output that copies a copy needs no rounding in between.
  Operand skip_copies(Operand operand, DType type) const {
    while (operand.kind == Operand::Kind::result && program_.code[operand.index].fn == Fn::copy &&
           program_.code[operand.index].type == type) {
      operand = program_.code[operand.index].args[0];
    }
    return operand;
  }

  void emit_output(int k) {
    const Program::Output& result = results_[k];
    const int out = add_register(Place::output, k, native_of(result.type), false);
    const TileFn copy = table().fn[static_cast<int>(Fn::copy)][static_cast<int>(native_of(result.type))];
    if (is_half(result.type)) {
      const Operand source = skip_copies(result.value, result.type);
      if (source.kind == Operand::Kind::input && program_.inputs[source.index] == result.type &&
          !plan_->walk.is_scalar(source.index)) {
        write_step(table().convert[storage_slot(result.type)][storage_slot(result.type)], 0.1, false, out,
                   {input_register(source.index)});
        return;
      }
      int r = source.kind == Operand::Kind::scalar ? value(source, result.type) : value(source, DType::f32);
      if (registers_[r].uniform) r = fill(r, Native::f32);
      write_step(table().convert[storage_slot(DType::f32)][storage_slot(result.type)], 0.15, false, out, {r});
      return;
    }
    const int r = value(result.value, result.type);
    if (may_write_directly(r)) {
      registers_[r].place = Place::output;
      registers_[r].index = k;
    } else {
      write_step(copy, 0.05, false, out, {r});
    }
  }

  int fill(int r, Native type) {
    const int full = add_register(Place::buffer, -1, type, false);
    write_step(table().fn[static_cast<int>(Fn::copy)][static_cast<int>(type)], 0.05, false, full, {r});
    return full;
  }

  // An output may be an input's memory: nothing may read an input after it is written.
  bool may_write_directly(int r) const {
    const Register& reg = registers_[r];
    if (reg.place != Place::buffer || reg.uniform) return false;
    for (size_t s = reg.defined + 1; s < steps_.size(); ++s) {
      for (int a : steps_[s].args) {
        if (registers_[a].place == Place::input) return false;
      }
    }
    return true;
  }

  void choose_tile() {
    ProgramKernel::Plan& p = *plan_;
    int64_t width = 1, buffers = 0;
    for (const VirtualStep& step : steps_) {
      const Register& r = registers_[step.out];
      width = std::max<int64_t>(width, size_of(r.type));
      buffers += r.place == Place::buffer && !r.uniform;
    }
    for (const auto& input : p.inputs) width = std::max<int64_t>(width, input.element_bytes), buffers += input.expanded;
    const int64_t live = std::min<int64_t>(buffers, 4) + static_cast<int64_t>(p.inputs.size() + p.outputs.size());
    const int64_t fit = std::clamp<int64_t>(kTileBytes / (live * width) / 64 * 64, 256, 4096);
    p.tile = buffers == 0 ? 8192 : fit;
    // Tiles of one size rather than a short one at the end.
    const int64_t tiles = (p.walk.size + p.tile - 1) / p.tile;
    if (tiles > 1 && tiles < 16) p.tile = std::min(p.tile, ((p.walk.size + tiles - 1) / tiles + 63) / 64 * 64);
    p.buffer_bytes = p.tile * width;
    if (p.walk.walk == Iteration::Walk::rows) {
      p.segments = (p.walk.row() + p.tile - 1) / p.tile;
      p.units = p.segments * (p.walk.size / std::max<int64_t>(1, p.walk.row()));
      p.grain = std::max<int64_t>(1, kGrainElements / std::min(p.tile, p.walk.row()));
    } else {
      p.units = (p.walk.size + p.tile - 1) / p.tile;
      p.grain = std::max<int64_t>(1, kGrainElements / p.tile);
    }
  }

  // ---- chains ----
  static std::optional<ChainOp> chain_op(Fn fn, bool reversed) {
    switch (fn) {
      case Fn::add: return ChainOp::add;
      case Fn::sub: return reversed ? ChainOp::rsub : ChainOp::sub;
      case Fn::mul: return ChainOp::mul;
      case Fn::div: return reversed ? ChainOp::rdiv : ChainOp::div;
      case Fn::maximum: return reversed ? std::nullopt : std::optional(ChainOp::maximum);
      case Fn::minimum: return reversed ? std::nullopt : std::optional(ChainOp::minimum);
      case Fn::relu: return ChainOp::relu;
      case Fn::negative: return ChainOp::negative;
      case Fn::square: return ChainOp::square;
      case Fn::abs: return ChainOp::abs;
      default: return std::nullopt;
    }
  }
  static bool has_operand(ChainOp op) { return op < ChainOp::relu; }

  // The step's function as a link behind register `before`, if it can be one.
  static std::optional<ChainOp> link_behind(const VirtualStep& step, int before) {
    if (step.once || std::count(step.args.begin(), step.args.end(), before) != 1) return {};
    return step.function ? chain_op(*step.function, step.args[0] != before) : step.rounding;
  }

  // Joins steps that hand on one value which nobody else reads.
  void join_chains() {
    std::vector<int> reads(registers_.size(), 0);
    for (const VirtualStep& step : steps_) {
      for (int a : step.args) ++reads[a];
    }
    std::vector<VirtualStep> joined;
    for (VirtualStep& step : steps_) {
      if (joined.empty() || !join(joined.back(), step, reads)) joined.push_back(std::move(step));
    }
    steps_ = std::move(joined);
  }

  bool join(VirtualStep& before, const VirtualStep& step, const std::vector<int>& reads) const {
    const Register& value = registers_[before.out];
    if (value.place != Place::buffer || value.uniform || reads[before.out] != 1) return false;
    const auto op = link_behind(step, before.out);
    if (!op || before.chain.size() == kMaxLinks) return false;
    if (before.chain.empty()) {
      const auto first = before.function ? chain_op(*before.function, false) : before.rounding;
      if (!first) return false;
      before.chain = {*first};
      before.fn = nullptr;
    }
    for (int a : step.args) {
      if (a != before.out) before.args.push_back(a);
    }
    before.chain.push_back(*op);
    before.out = step.out;
    before.ns += 0.5 * step.ns;
    return true;
  }

  int take_buffer() {
    if (free_.empty()) return plan_->buffers++;
    const int b = free_.back();
    free_.pop_back();
    return b;
  }

  void assign_slots() {
    ProgramKernel::Plan& p = *plan_;
    for (size_t s = 0; s < steps_.size(); ++s) {
      for (int a : steps_[s].args) registers_[a].last_use = static_cast<int>(s);
    }
    for (auto& input : p.inputs) {
      if (input.expanded) input.buffer = take_buffer();
    }
    for (size_t s = 0; s < steps_.size(); ++s) {
      release_dying(s, true);
      Register& out = registers_[steps_[s].out];
      if (out.place == Place::buffer) out.slot = take_buffer();
      release_dying(s, false);
    }
    for (const VirtualStep& v : steps_) p.steps.push_back(final_step(v));
    for (auto& input : p.inputs) {
      if (input.expanded) input.buffer = p.buffer_slot(input.buffer);
    }
  }

  // Buffers of operands that nobody reads after step `s`. A result takes the place of one only where elements have one
  // size, so these are released before it is placed.
  void release_dying(size_t s, bool same_size) {
    const Register& out = registers_[steps_[s].out];
    const std::vector<int>& args = steps_[s].args;
    for (auto it = args.begin(); it != args.end(); ++it) {
      const Register& a = registers_[*it];
      if (a.place != Place::buffer || a.last_use != static_cast<int>(s) || std::find(args.begin(), it, *it) != it)
        continue;
      const bool same = size_of(a.type) == size_of(out.type) && a.uniform == out.uniform;
      if (same == same_size) free_.push_back(a.slot);
    }
  }

  Step final_step(const VirtualStep& v) {
    ProgramKernel::Plan& p = *plan_;
    Step step{v.fn, static_cast<uint16_t>(slot(v.out)), {}, 0, v.once, 0, 0};
    for (size_t k = 0; k < 3; ++k) {
      const int a = k < v.args.size() ? v.args[k] : v.args[0];
      step.args[k] = static_cast<uint16_t>(slot(a));
      if (registers_[a].uniform) step.scalars |= 1 << k;
    }
    step.first_link = static_cast<uint16_t>(p.links.size());
    step.links = static_cast<uint16_t>(v.chain.size());
    size_t next = 1;
    for (ChainOp op : v.chain) {
      const int a = has_operand(op) ? v.args[next++] : v.args[0];
      p.links.push_back({op, registers_[a].uniform, has_operand(op), static_cast<uint16_t>(slot(a))});
    }
    return step;
  }

  int slot(int r) const {
    const Register& reg = registers_[r];
    switch (reg.place) {
      case Place::input:
        return plan_->inputs[reg.index].expanded ? plan_->buffer_slot(plan_->inputs[reg.index].buffer) : reg.index;
      case Place::output: return plan_->output_slot(reg.index);
      case Place::cell: return plan_->cell_slot(reg.index);
      case Place::buffer: return plan_->buffer_slot(reg.slot);
    }
    return 0;
  }

  void estimate() {
    double ns = 0;
    int64_t bytes = 0;
    for (const VirtualStep& step : steps_) ns += step.once ? 0 : step.ns;
    for (size_t i = 0; i < plan_->inputs.size(); ++i) {
      bytes += plan_->walk.is_scalar(static_cast<int>(i)) ? 0 : plan_->inputs[i].element_bytes;
      if (plan_->inputs[i].expanded) ns += 0.3;
    }
    for (const auto& output : plan_->outputs) bytes += output.element_bytes;
    plan_->cost_ns = estimate_ns(ns, plan_->walk.size, bytes * plan_->walk.size) +
                     plan_->units * (4 + 4 * static_cast<int64_t>(steps_.size()));
  }

  Program program_;
  std::unique_ptr<ProgramKernel::Plan> plan_;
  std::vector<Program::Output> results_;
  std::vector<Register> registers_;
  std::vector<VirtualStep> steps_;
  std::vector<int> results_of_code_;
  std::map<int, int> inputs_;
  std::map<std::tuple<Operand::Kind, int, DType>, int> values_;
  std::vector<int> free_;
};

}  // namespace

double function_ns(Fn fn, Native type) {
  const double ns = info(fn).ns;
  if (type == Native::f32) return ns;
  if (type == Native::f64) return ns < 0.08 ? 2 * ns : 12.0;
  const bool divides = fn == Fn::div || fn == Fn::mod;
  return divides ? 5.0 : ns * size_of(type) / 4;
}

int64_t estimate_ns(double step_ns_per_element, int64_t n, int64_t bytes) {
  const double bytes_per_ns = bytes < (128 << 10) ? 150 : bytes < (4 << 20) ? 70 : bytes < (32 << 20) ? 35 : 20;
  const double compute = step_ns_per_element * static_cast<double>(n),
               memory = static_cast<double>(bytes) / bytes_per_ns;
  return 10 + static_cast<int64_t>(std::max(compute, memory) + 0.25 * std::min(compute, memory));
}

std::unique_ptr<const ProgramKernel::Plan> make_plan(const Program& program, std::span<const TensorSpec> in,
                                                     std::span<const TensorSpec> out, std::span<const Req> req,
                                                     bool any_range) {
  return Planner(program, in, out, req, any_range).make();
}

}  // namespace mxnet
