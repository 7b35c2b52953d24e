// SPDX-License-Identifier: Apache-2.0
#include "simple_op/plan.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace mxnet {
namespace {

constexpr int64_t kTileBytes = 24 << 10;      // what the tiles of a program may take of the first cache
constexpr int64_t kGrainElements = 16 << 10;  // least work for a thread
constexpr int64_t kStreamBytes = 24 << 20;    // outputs of this size leave no use for caches behind

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
    stream_ = !any_range && plan_->walk.walk == Iteration::Walk::flat && results_.size() == 1 &&
              plan_->walk.size * size_of(out[0].dtype) >= kStreamBytes;
  }

  std::unique_ptr<const ProgramKernel::Plan> make() {
    results_of_code_.assign(program_.code.size(), -1);
    for (size_t i = 0; i < program_.code.size(); ++i) emit(static_cast<int>(i));
    // All reads first: an output may lie where an input does.
    for (const Program::Output& result : results_) {
      if (!is_half(result.type)) value(result.value, result.type);
    }
    for (size_t k = 0; k < results_.size(); ++k) emit_output(static_cast<int>(k));
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
    int args[3];
    int n_factor;
    double ns;
  };
  static const TileTable& table() { return tile_table(); }

  int add_register(Place place, int index, Native type, bool uniform) {
    registers_.push_back({place, index, type, uniform});
    return static_cast<int>(registers_.size()) - 1;
  }

  // A step on registers; its result is uniform if all it reads is.
  int add_step(TileFn fn, Native type, double ns, int a, int b = -1, int c = -1) {
    bool uniform = true;
    for (int r : {a, b, c}) uniform &= r < 0 || registers_[r].uniform;
    const int out = add_register(Place::buffer, -1, type, uniform);
    write_step(fn, ns, uniform ? 0 : 1, out, a, b, c);
    return out;
  }
  void write_step(TileFn fn, double ns, int n_factor, int out, int a, int b = -1, int c = -1) {
    const int step = static_cast<int>(steps_.size());
    for (int r : {a, b, c}) {
      if (r >= 0) registers_[r].last_use = step;
    }
    registers_[out].defined = step;
    steps_.push_back({fn, out, {a, b, c}, n_factor, ns});
  }

  int convert(int r, DType from, DType to, Native native, double ns = 0.1) {
    return add_step(table().convert[storage_slot(from)][storage_slot(to)], native, ns, r);
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
      return add_step(table().round_half[to == DType::bf16], Native::f32, 0.15, r);
    }
    if (to == DType::boolean) return from == to ? r : convert(r, storage_of(a), to, b);
    return a == b ? r : convert(r, storage_of(a), storage_of(b), b);
  }

  void emit(int i) {
    const Instruction code = program_.code[i];
    if (code.fn == Fn::copy) return;  // a conversion, made where it is read
    const bool by_double = !table().fn[static_cast<int>(code.fn)][static_cast<int>(native_of(code.type))];
    const DType computing = by_double ? DType::f64 : is_half(code.type) ? DType::f32 : code.type;
    int args[3] = {-1, -1, -1};
    for (int k = 0; k < arity_of(code.fn); ++k) args[k] = value(code.args[k], computing);
    const Native native = native_of(computing);
    int r = add_step(table().fn[static_cast<int>(code.fn)][static_cast<int>(native)], native,
                     function_ns(code.fn, native), args[0], args[1], args[2]);
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
        write_step(table().convert[storage_slot(result.type)][storage_slot(result.type)], 0.1, 1, out,
                   input_register(source.index));
        return;
      }
      int r = source.kind == Operand::Kind::scalar ? value(source, result.type) : value(source, DType::f32);
      if (registers_[r].uniform) r = fill(r, Native::f32);
      write_step(table().convert[storage_slot(DType::f32)][storage_slot(result.type)], 0.15, 1, out, r);
      return;
    }
    const int r = value(result.value, result.type);
    if (stream_) {
      const bool buffered = registers_[r].place == Place::buffer && !registers_[r].uniform;
      const int full = buffered ? r : fill(r, native_of(result.type));
      write_step(table().stream_copy, 0.05, size_of(result.type), out, full);
    } else if (may_write_directly(r)) {
      registers_[r].place = Place::output;
      registers_[r].index = k;
    } else {
      write_step(copy, 0.05, 1, out, r);
    }
  }

  int fill(int r, Native type) {
    const int full = add_register(Place::buffer, -1, type, false);
    write_step(table().fn[static_cast<int>(Fn::copy)][static_cast<int>(type)], 0.05, 1, full, r);
    return full;
  }

  // An output may be an input's memory: nothing may read an input after it is written.
  bool may_write_directly(int r) const {
    const Register& reg = registers_[r];
    if (reg.place != Place::buffer || reg.uniform) return false;
    for (size_t s = reg.defined + 1; s < steps_.size(); ++s) {
      for (int a : steps_[s].args) {
        if (a >= 0 && registers_[a].place == Place::input) return false;
      }
    }
    return true;
  }

  void choose_tile() {
    ProgramKernel::Plan& p = *plan_;
    int64_t width = 1, buffers = 0;
    for (const Register& r : registers_) {
      width = std::max<int64_t>(width, size_of(r.type));
      buffers += r.place == Place::buffer && !r.uniform;
    }
    for (const auto& input : p.inputs) width = std::max<int64_t>(width, input.element_bytes), buffers += input.expanded;
    const int64_t live = std::min<int64_t>(buffers, 4) + static_cast<int64_t>(p.inputs.size() + p.outputs.size());
    const int64_t fit = std::clamp<int64_t>(kTileBytes / (live * width) / 64 * 64, 256, 4096);
    p.tile = buffers == 0 ? 8192 : fit;
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

  int take_buffer() {
    if (free_.empty()) return plan_->buffers++;
    const int b = free_.back();
    free_.pop_back();
    return b;
  }

  void assign_slots() {
    ProgramKernel::Plan& p = *plan_;
    std::vector<int> buffer_of(registers_.size(), -1);
    for (auto& input : p.inputs) {
      if (input.expanded) input.buffer = take_buffer();
    }
    for (size_t s = 0; s < steps_.size(); ++s) {
      const VirtualStep& step = steps_[s];
      // A result takes the place of a dying operand only where elements have one size.
      const auto release = [&](bool same_size) {
        for (int a : step.args) {
          if (a < 0 || buffer_of[a] < 0 || registers_[a].last_use != static_cast<int>(s)) continue;
          if ((size_of(registers_[a].type) == size_of(registers_[step.out].type) &&
               registers_[a].uniform == registers_[step.out].uniform) != same_size)
            continue;
          free_.push_back(std::exchange(buffer_of[a], -1));
        }
      };
      for (int a : step.args) {
        if (a >= 0 && registers_[a].place == Place::buffer && buffer_of[a] >= 0) slot_at_[{s, a}] = buffer_of[a];
      }
      release(true);
      if (registers_[step.out].place == Place::buffer) buffer_of[step.out] = take_buffer();
      if (registers_[step.out].place == Place::buffer) slot_at_[{s, step.out}] = buffer_of[step.out];
      release(false);
    }
    for (size_t s = 0; s < steps_.size(); ++s) {
      const VirtualStep& v = steps_[s];
      Step step{v.fn, static_cast<uint16_t>(slot(s, v.out)), {}, 0, static_cast<uint8_t>(v.n_factor)};
      for (int k = 0; k < 3; ++k) {
        const int a = v.args[k] >= 0 ? v.args[k] : v.args[0];
        step.args[k] = static_cast<uint16_t>(slot(s, a));
        if (registers_[a].uniform) step.scalars |= 1 << k;
      }
      p.steps.push_back(step);
    }
    for (auto& input : p.inputs) {
      if (input.expanded) input.buffer = p.buffer_slot(input.buffer);
    }
  }

  int slot(size_t step, int r) const {
    const Register& reg = registers_[r];
    switch (reg.place) {
      case Place::input:
        return plan_->inputs[reg.index].expanded ? plan_->buffer_slot(plan_->inputs[reg.index].buffer) : reg.index;
      case Place::output: return plan_->output_slot(reg.index);
      case Place::cell: return plan_->cell_slot(reg.index);
      case Place::buffer: return plan_->buffer_slot(slot_at_.at({step, r}));
    }
    return 0;
  }

  void estimate() {
    double ns = 0;
    int64_t bytes = 0;
    for (const VirtualStep& step : steps_) ns += step.n_factor ? step.ns : 0;
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
  std::map<std::pair<size_t, int>, int> slot_at_;
  std::vector<int> free_;
  bool stream_ = false;
};

}  // namespace

double function_ns(Fn fn, Native type) {
  const double ns = info(fn).ns;
  if (type == Native::f32) return ns;
  if (type == Native::f64) return ns < 0.5 ? 2 * ns : 20.0;
  const bool divides = fn == Fn::div || fn == Fn::mod;
  return divides ? 5.0 : ns * size_of(type) / 4;
}

int64_t estimate_ns(double step_ns_per_element, int64_t n, int64_t bytes) {
  const double bytes_per_ns = bytes < (1 << 20) ? 60 : bytes < (16 << 20) ? 25 : 10;
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
