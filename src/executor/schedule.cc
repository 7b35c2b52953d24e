// SPDX-License-Identifier: Apache-2.0
#include "executor/schedule.h"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "backend/cpu/parallel.h"
#include "base/env.h"
#include "base/observe.h"
#include "base/small_array.h"
#include "executor/fusion.h"
#include "executor/memory_plan.h"
#include "executor/passes.h"
#include "executor/plan_steps.h"
#include "executor/running_sums.h"
#include "operator/choice.h"

namespace mxnet {

namespace {

size_t bytes_of(const TensorSpec& spec) { return static_cast<size_t>(spec.shape.size()) * size_of(spec.dtype); }

// Where a value lives. Several values share a storage when one is a view of another or was computed in its place.
struct Storage {
  Location at;  // fixed unless in the arena or the frame
  bool in_arena = false;
  bool saved = false;     // lies in the frame
  bool constant = false;  // depends on unchanging sources alone
  bool source = false;
  bool scratch = false;  // of one kernel
  size_t bytes = 0;
  int live_uses = 0;  // reads still to come, of all values that share it
};

struct ValueState {
  TensorSpec spec;
  int storage = -1;
  int uses = 0;              // reads still to come
  std::vector<int> targets;  // indices of targets
  bool saved = false;
};

// One channel or one position: both layouts have the same bytes.
bool same_order(const Shape& shape) { return shape[1] == 1 || shape.size(2, shape.rank()) == 1; }

using EntryKey = std::pair<const Node*, int>;
EntryKey key_of(const Entry& e) { return {e.node.get(), e.index}; }
struct EntryHash {
  size_t operator()(const EntryKey& k) const {
    return std::hash<const void*>()(k.first) * 31 + static_cast<size_t>(k.second);
  }
};

observe::Label about_fused(const Unit& unit, std::string operands) {
  observe::Label about{"operator", "", "", std::move(operands), "fused", ""};
  for (const Node* node : unit) {
    about.name += (about.name.empty() ? "" : "+") + node->op->name;
    about.nodes += (about.nodes.empty() ? "" : ", ") + node->name;
  }
  return about;
}

class Builder {
 public:
  explicit Builder(const ScheduleRequest& request) : request_(request) {}

  Schedule build() {
    add_sources();
    const std::vector<Node*> order = needed_nodes();
    const std::vector<Unit> units = grouped(constants_first(find_sums(order)));
    for (const Unit& unit : units) count_uses(unit);
    count_demands();
    for (const Unit& unit : units) emit(unit);
    for (size_t t = 0; t < request_.targets.size(); ++t) {
      if (!satisfied_[t]) finish_target(t);
    }
    save_copies();
    split();
    place(schedule_, refs_);
    if (schedule_.prologue) place(*schedule_.prologue, prologue_refs_);
    return std::move(schedule_);
  }

 private:
  // ---- what is needed -----------------------------------------------------------------------------------------------
  void add_sources() {
    for (const ScheduleSource& source : request_.sources) {
      ValueState& value = values_[key_of(source.entry)];
      value.spec = source.spec;
      value.storage = new_storage(bytes_of(source.spec));
      storages_.back().at = source.at;
      storages_.back().in_arena = false;
      storages_.back().source = true;
      storages_.back().constant = source.unchanging;
      is_source_[key_of(source.entry)] = true;
    }
    satisfied_.assign(request_.targets.size(), false);
  }

  std::vector<Node*> needed_nodes() {
    std::vector<Node*> order;
    std::unordered_map<const Node*, bool> seen;
    std::vector<std::pair<Node*, size_t>> stack;
    const auto open = [&](const Entry& e) {
      if (!is_source_.contains(key_of(e)) && seen.emplace(e.node.get(), true).second) {
        if (e.node->is_variable()) fail("the plan has no array for variable ", e.node->name);
        stack.emplace_back(e.node.get(), reads_only_shape(*e.node) ? e.node->inputs.size() : 0);
      }
    };
    const auto walk = [&](const Entry& head) {
      open(head);
      while (!stack.empty()) {
        auto& [node, next] = stack.back();
        if (next < node->inputs.size()) {
          open(node->inputs[next++]);
        } else {
          order.push_back(node);
          stack.pop_back();
        }
      }
    };
    for (const ScheduleTarget& target : request_.targets) walk(target.entry);
    for (const Entry& e : request_.save) walk(e);
    return order;
  }

  std::vector<Node*> find_sums(const std::vector<Node*>& order) {
    std::vector<Entry> leaving(request_.save.begin(), request_.save.end());
    for (const ScheduleTarget& target : request_.targets) leaving.push_back(target.entry);
    const auto given = [&](const Entry& e) { return is_source_.contains(key_of(e)); };
    sums_ = RunningSums(order, request_.specs, given, leaving);
    return sums_.early(order);
  }

  // Nodes that unchanging sources alone decide; not those whose results leave the plan, which are written at each run.
  std::vector<Node*> constants_first(std::vector<Node*> order) {
    const bool any =
        std::any_of(request_.sources.begin(), request_.sources.end(), [](auto& s) { return s.unchanging; });
    if (!any) return order;
    std::unordered_set<const Node*> leave;
    for (const ScheduleTarget& target : request_.targets) leave.insert(target.entry.node.get());
    for (const Entry& e : request_.save) leave.insert(e.node.get());
    const auto unchanging = [&](const Entry& e) {
      const auto source = values_.find(key_of(e));
      return is_source_.contains(key_of(e)) ? storage_of(source->second).constant : constants_.contains(e.node.get());
    };
    for (Node* node : order) {
      if (node->op->flags.random || leave.contains(node) || node->inputs.empty()) continue;
      if (writes_inputs(*node) || reads_only_shape(*node)) continue;
      if (std::all_of(node->inputs.begin(), node->inputs.end(), unchanging)) constants_.insert(node);
    }
    std::stable_partition(order.begin(), order.end(), [&](const Node* n) { return constants_.contains(n); });
    return order;
  }

  bool writes_inputs(const Node& node) const {
    for (size_t i = 0; i < node.inputs.size() && node.op->inputs.mutates_any(); ++i) {
      if (node.op->writes_input(*node.params, static_cast<int>(i), request_.training)) return true;
    }
    return false;
  }

  // Nothing that is made once joins a unit that runs each time.
  std::vector<Unit> grouped(const std::vector<Node*>& order) {
    std::vector<Unit> units;
    if (!request_.fuse) {
      for (Node* node : order) units.push_back({node});
      return units;
    }
    const std::span<Node* const> all(order);
    for (const auto part : {all.first(constants_.size()), all.subspan(constants_.size())}) {
      const bool later = part.data() != all.data();
      const auto given = [&](const Entry& e) {
        return is_source_.contains(key_of(e)) || (later && constants_.contains(e.node.get()));
      };
      const auto alone = [&](const Node* node) { return sums_.contains(node); };
      for (Unit& unit : fuse_elementwise(part, request_.specs, given, alone)) units.push_back(std::move(unit));
    }
    return units;
  }

  // What a unit reads from outside; each entry once for a fused one.
  std::vector<Entry> inputs_of(const Unit& unit) const {
    if (reads_only_shape(*unit[0])) return {};
    if (unit.size() == 1) return unit[0]->inputs;
    std::vector<Entry> inputs;
    for (const Node* node : unit) {
      for (const Entry& in : node->inputs) {
        const bool inside =
            !is_source_.contains(key_of(in)) && std::find(unit.begin(), unit.end(), in.node.get()) != unit.end();
        if (!inside && std::find(inputs.begin(), inputs.end(), in) == inputs.end()) inputs.push_back(in);
      }
    }
    return inputs;
  }

  void count_uses(const Unit& unit) {
    for (const Node* node : unit) {
      const auto& specs = request_.specs.of.at(node);
      for (int i = 0; i < node->num_all_outputs(); ++i) {
        const EntryKey key{node, i};
        if (!is_source_.contains(key)) values_[key].spec = specs[static_cast<size_t>(i)];
      }
    }
    for (const Entry& in : inputs_of(unit)) {
      ValueState& value = values_[key_of(in)];
      ++value.uses;
      if (value.storage >= 0) ++storages_[static_cast<size_t>(value.storage)].live_uses;
    }
  }

  void count_demands() {
    for (size_t t = 0; t < request_.targets.size(); ++t) {
      values_.at(key_of(request_.targets[t].entry)).targets.push_back(static_cast<int>(t));
    }
    for (const Entry& e : request_.save) values_.at(key_of(e)).saved = true;
  }

  // ---- storage ------------------------------------------------------------------------------------------------------
  int new_storage(size_t bytes) {
    Storage storage;
    storage.bytes = bytes;
    storage.in_arena = true;
    storages_.push_back(storage);
    return static_cast<int>(storages_.size()) - 1;
  }
  int new_scratch(size_t bytes) {
    const int storage = new_storage(bytes);
    storages_.back().scratch = true;
    return storage;
  }
  Storage& storage_of(const ValueState& value) { return storages_[static_cast<size_t>(value.storage)]; }

  // ---- steps of the plan's own --------------------------------------------------------------------------------------
  // Operands are storage numbers until `place` knows the offsets.
  struct Refs {
    std::vector<int> in, out;
    int scratch = -1;
  };

  void push_step(PlanStep step, Refs refs) {
    schedule_.steps.push_back(std::move(step));
    refs_.push_back(std::move(refs));
  }

  // For steps of the plan's own, which read one value.
  int new_storage_from(int source, size_t bytes) {
    const bool constant = storages_[static_cast<size_t>(source)].constant;
    const int storage = new_storage(bytes);
    storages_.back().constant = constant;
    storages_.back().in_arena = !constant;
    return storage;
  }

  void copy_step(const std::string& name, int from, int to, const TensorSpec& spec, Layout target_layout, Req req) {
    push_step(make_copy_step(name, spec, target_layout, req), {{from}, {to}, -1});
  }

  // The storage of `value` in another layout; made once for all readers.
  int in_layout(const EntryKey& key, Layout layout) {
    ValueState& value = values_.at(key);
    if (value.spec.layout == layout || same_order(value.spec.shape)) return value.storage;
    const auto known = reordered_.find({key, layout});
    if (known != reordered_.end()) return known->second;
    const int storage = new_storage_from(value.storage, bytes_of(value.spec));
    copy_step(key.first->name, value.storage, storage, value.spec, layout, Req::write);
    reordered_[{key, layout}] = storage;
    return storage;
  }

  // ---- one node -----------------------------------------------------------------------------------------------------
  void emit(const Unit& unit) {
    Node& node = *unit[0];
    if (unit.size() > 1)
      emit_fused(unit);
    else if (reads_only_shape(node))
      emit_fill(node);
    else if (!emit_alias(node) && !emit_added(node))
      emit_kernel(node);
    for (const Entry& in : inputs_of(unit)) {
      ValueState& value = values_.at(key_of(in));
      --value.uses;
      --storage_of(value).live_uses;
    }
  }

  // Arrays of the common shape are read in the layout of the first of them, others in plain order.
  void emit_fused(const Unit& unit) {
    const std::vector<Entry> inputs = inputs_of(unit);
    const Shape& shape = request_.specs.of.at(unit[0])[0].shape;
    std::vector<TensorSpec> in, out;
    for (const Entry& e : inputs) in.push_back(values_.at(key_of(e)).spec);
    const auto full = std::find_if(in.begin(), in.end(), [&](const TensorSpec& s) { return s.shape == shape; });
    const Layout layout = full == in.end() ? Layout::plain : full->layout;
    Refs refs;
    std::vector<bool> reordered;
    for (size_t i = 0; i < in.size(); ++i) {
      const Layout wanted = in[i].shape == shape ? layout : Layout::plain;
      reordered.push_back(wanted != in[i].layout);
      in[i].layout = wanted;
      refs.in.push_back(in_layout(key_of(inputs[i]), wanted));
    }
    std::vector<Entry> outputs;
    std::vector<Req> req;
    for (Node* node : unit) {
      const Req wanted = requests(*node)[0];
      if (wanted == Req::null) continue;
      ValueState& value = values_.at({node, 0});
      value.spec.layout = layout;
      outputs.push_back({Ref<Node>(node), 0});
      out.push_back(value.spec);
      req.push_back(wanted);
    }
    std::vector<bool> taken = std::move(reordered);
    for (size_t k = 0; k < outputs.size(); ++k) {
      ValueState& value = values_.at(key_of(outputs[k]));
      value.storage =
          constants_.contains(unit[0]) ? constant_output(value) : fused_output(value, req[k], inputs, in, taken);
      refs.out.push_back(value.storage);
    }
    PlanStep step;
    step.op = unit.back()->op;
    step.name = unit[0]->name + ".." + unit.back()->name;
    step.kernel = make_fused_kernel({unit, inputs, in, outputs, out, req, request_.specs});
    step.about = about_fused(unit, describe(in, out));
    push_step(std::move(step), std::move(refs));
  }

  int fused_output(ValueState& value, Req req, const std::vector<Entry>& inputs, const std::vector<TensorSpec>& in,
                   std::vector<bool>& taken) {
    if (req == Req::add) return target_storage(value.targets[0], value);
    for (size_t i = 0; i < inputs.size(); ++i) {
      ValueState& input = values_.at(key_of(inputs[i]));
      if (taken[i] || !(in[i] == value.spec) || !dies_here(input)) continue;
      taken[i] = true;
      return take_over(value, input);
    }
    return output_storage(value, value.uses);
  }

  void emit_fill(Node& node) {
    ValueState& out = values_.at({&node, 0});
    out.storage = output_storage(out, out.uses);
    push_step(make_fill_step(node, out.spec), {{}, {out.storage}, -1});
  }

  // Views and identities: the output is the input's memory.
  bool emit_alias(Node& node) {
    const bool same = node.op->name == "_reduce_like" || is_identity(node, request_.training);
    if (!node.op->flags.view_like && !same) return false;
    const EntryKey in_key = key_of(node.inputs[0]);
    ValueState& in = values_.at(in_key);
    ValueState& out = values_.at({&node, 0});
    for (int i = 1; i < node.num_all_outputs(); ++i) {
      const ValueState& other = values_.at({&node, i});
      if (other.uses || other.saved || !other.targets.empty()) return false;
    }
    if (same && !(in.spec.shape == out.spec.shape)) return false;
    if (in.spec.dtype != out.spec.dtype || bytes_of(in.spec) != bytes_of(out.spec) || out.saved) return false;
    if (same) {
      out.spec.layout = in.spec.layout;
      out.storage = in.storage;
    } else {
      out.storage = in_layout(in_key, Layout::plain);
    }
    // Other readers of a reordered copy may still come: it must not be overwritten.
    const bool shared_copy = out.storage != in.storage && in.uses > 1;
    storage_of(out).live_uses += out.uses + static_cast<int>(out.targets.size()) + (shared_copy ? 1 : 0);
    return true;
  }

  // A sum whose term was added by its own kernel.
  bool emit_added(Node& node) {
    if (!sums_.contains(&node) || value_at(0, node).storage != value_at(1, node).storage) return false;
    ValueState& out = values_.at({&node, 0});
    out.storage = take_over(out, value_at(0, node));
    return true;
  }

  // What the kernel of `node` may add its output to: a running sum that nobody else reads; null if there is none.
  const ValueState* sum_so_far(const Node& node, int output) {
    const Node* sum = sums_.sum_of(&node, output);
    if (!sum) return nullptr;
    const ValueState& so_far = value_at(0, *sum);
    return so_far.storage >= 0 && so_far.spec.layout == Layout::plain && dies_here(so_far) ? &so_far : nullptr;
  }

  void emit_kernel(Node& node) {
    const OpDef& op = *node.op;
    const size_t n_in = node.inputs.size(), n_out = static_cast<size_t>(node.num_all_outputs());
    std::vector<TensorSpec> in, out;
    std::vector<Layout> wanted(n_in, Layout::plain);
    for (const Entry& e : node.inputs) in.push_back(values_.at(key_of(e)).spec);
    PlanStep step;
    step.op = &op;
    step.name = node.name;
    step.params = node.params;
    std::vector<Req> asked = requests(node, in);
    for (size_t i = 0; i < n_out; ++i) {
      if (sum_so_far(node, static_cast<int>(i))) asked[i] = Req::add;
    }
    KernelChoice choice;
    for (int attempt = 0;; ++attempt) {
      out.clear();
      for (size_t i = 0; i < n_out; ++i) {
        out.push_back(values_.at({&node, static_cast<int>(i)}).spec);
        out.back().layout = Layout::plain;
        if (attempt == 0) out.back().storage = storage_type(node, values_.at({&node, static_cast<int>(i)}), in);
      }
      wanted.assign(n_in, Layout::plain);
      step.kernel = prepare(node, in, wanted, out, asked, choice);
      const bool adds = std::find(asked.begin(), asked.end(), Req::add) != asked.end();
      if (!adds || step.kernel->accepts_add || attempt == 1) break;
      for (Req& r : asked) r = r == Req::null ? Req::null : Req::write;
    }

    Refs refs;
    for (size_t i = 0; i < n_in; ++i) refs.in.push_back(in_layout(key_of(node.inputs[i]), wanted[i]));
    for (const Pack& pack : step.kernel->packs) {
      int& input = refs.in[static_cast<size_t>(pack.input)];
      input = pack_step(pack, input, node.name);
    }
    for (size_t i = 0; i < n_out; ++i) {
      ValueState& value = values_.at({&node, static_cast<int>(i)});
      if (asked[i] == Req::null) {
        refs.out.push_back(-1);
        continue;
      }
      value.spec.layout = out[i].layout;
      value.spec.storage = out[i].storage;
      const ValueState* so_far = asked[i] == Req::add ? sum_so_far(node, static_cast<int>(i)) : nullptr;
      if (so_far) {
        value.storage = so_far->storage;
        storage_of(value).live_uses += value.uses;
      } else {
        value.storage =
            constants_.contains(&node) ? constant_output(value) : choose_output(node, value, i, wanted, in, asked[i]);
      }
      refs.out.push_back(value.storage);
    }
    step.about = {"operator", op.name, node.name, describe(in, out), choice.kernel, choice.refusals};
    step.random_offset = schedule_.random_draws;
    schedule_.random_draws += step.kernel->random_draws;
    if (step.kernel->scratch) refs.scratch = new_scratch(step.kernel->scratch);
    push_step(std::move(step), std::move(refs));
  }

  // Extents of a sparse value are known only when it is computed, so it lies in an array of the caller or nowhere: it
  // is computed as such where it goes straight to one sparse target, and as dense values otherwise (also where a kernel
  // cannot add to such a target by itself).
  StorageType storage_type(const Node& node, const ValueState& value, std::span<const TensorSpec> in) {
    if (!node.op->sparse || value.uses || value.saved || value.targets.size() != 1 || node.num_all_outputs() != 1) {
      return StorageType::dense;
    }
    TensorSpec out = value.spec;
    out.storage = request_.targets[static_cast<size_t>(value.targets[0])].storage;
    if (!is_sparse(out.storage) || !node.op->sparse->infer(*node.params, in, {&out, 1})) return StorageType::dense;
    return out.storage;
  }

  int pack_step(const Pack& pack, int from, const std::string& name) {
    struct Shared final : Kernel {
      explicit Shared(std::shared_ptr<const Kernel> k) : inner(std::move(k)) {
        cost_ns = inner->cost_ns;
        scratch = inner->scratch;
        team_matters = inner->team_matters;
      }
      void run(const KernelCall& call) const override { inner->run(call); }
      std::shared_ptr<const Kernel> inner;
    };
    const int to = new_storage_from(from, pack.bytes);
    PlanStep step;
    step.name = name;
    step.about = {"reorder", "pack", name, "", "", ""};
    step.kernel = std::make_unique<Shared>(pack.kernel);
    Refs refs{{from}, {to}, -1};
    if (step.kernel->scratch) refs.scratch = new_scratch(step.kernel->scratch);
    push_step(std::move(step), std::move(refs));
    return to;
  }

  // Small work is not worth waking a team for: it gets a kernel for one thread.
  std::unique_ptr<Kernel> prepare(const Node& node, std::span<const TensorSpec> in, std::span<Layout> wanted,
                                  std::span<TensorSpec> out, std::span<const Req> req, KernelChoice& choice) {
    SmallArray<uint8_t, 8> unchanging(in.size());
    for (size_t i = 0; i < in.size(); ++i) unchanging[i] = storage_of(values_.at(key_of(node.inputs[i]))).constant;
    const auto with = [&](int threads) {
      return prepare_kernel({*node.op, *node.params, in, wanted, out, req, request_.training, threads, unchanging},
                            choice);
    };
    try {
      auto kernel = with(request_.team);
      if (!kernel->team_matters || request_.team == 1 || kernel->cost_ns > request_.team_cost) return kernel;
      std::fill(wanted.begin(), wanted.end(), Layout::plain);
      for (TensorSpec& spec : out) spec.layout = Layout::plain;
      return with(1);
    } catch (const Error& e) {
      throw Error(e.kind(), "node " + node.name + ": " + e.what());
    }
  }

  // `in`: of the node; none for one that has dense outputs anyway.
  std::vector<Req> requests(const Node& node, std::span<const TensorSpec> in = {}) {
    std::vector<Req> req;
    for (int i = 0; i < node.num_all_outputs(); ++i) {
      const EntryKey key{&node, i};
      const ValueState& value = values_.at(key);
      if (is_source_.contains(key) || (value.uses == 0 && value.targets.empty() && !value.saved)) {
        req.push_back(Req::null);
      } else {
        bool only_added = value.uses == 0 && !value.saved && value.targets.size() == 1;
        if (only_added) {
          const ScheduleTarget& target = request_.targets[static_cast<size_t>(value.targets[0])];
          only_added = target.req == Req::add && target.storage == storage_type(node, value, in);
        }
        req.push_back(only_added ? Req::add : Req::write);
      }
    }
    return req;
  }

  int choose_output(const Node& node, ValueState& value, size_t index, const std::vector<Layout>& wanted,
                    const std::vector<TensorSpec>& in, Req req) {
    if (req == Req::add) return target_storage(value.targets[0], value);
    const int direct = index == 0 ? in_place_of(node, value, wanted, in) : -1;
    return direct < 0 ? output_storage(value, value.uses) : take_over(value, value_at(direct, node));
  }
  ValueState& value_at(int input, const Node& node) {
    return values_.at(key_of(node.inputs[static_cast<size_t>(input)]));
  }

  // The unit being emitted is the last to read the value's memory, and may overwrite it.
  bool dies_here(const ValueState& value) {
    const Storage& storage = storage_of(value);
    return storage.in_arena && !storage.saved && storage.live_uses == 1;
  }

  // The input whose memory output 0 may overwrite; -1 if there is none.
  int in_place_of(const Node& node, const ValueState& out, const std::vector<Layout>& wanted,
                  const std::vector<TensorSpec>& in) {
    const OpFlags& flags = node.op->flags;
    if (!flags.elementwise && !flags.inplace) return -1;
    const size_t candidates = flags.elementwise ? node.inputs.size() : std::min<size_t>(1, node.inputs.size());
    for (size_t i = 0; i < candidates; ++i) {
      const bool same = in[i] == out.spec && wanted[i] == in[i].layout;
      if (same && dies_here(value_at(static_cast<int>(i), node))) return static_cast<int>(i);
    }
    return -1;
  }

  // `value` is computed in the memory of `input`, which dies. If that must not be the arena, the input moves as well.
  int take_over(ValueState& value, const ValueState& input) {
    Storage& storage = storage_of(input);
    storage.live_uses += value.uses + static_cast<int>(value.targets.size());
    if (value.saved) {
      storage.saved = true;
      storage.in_arena = false;
      return input.storage;
    }
    if (const int t = direct_target(value); t >= 0) {
      ScheduleTarget& target = request_.targets[static_cast<size_t>(t)];
      storage.at = target.at;
      storage.in_arena = false;
      settle(target, value, t);
    }
    return input.storage;
  }

  // Its place is found at the end: it depends on who reads it.
  int constant_output(const ValueState& value) {
    const int storage = new_storage(bytes_of(value.spec));
    storages_.back().constant = true;
    storages_.back().in_arena = false;
    return storage;
  }

  // New memory for a value: straight in its target where that can be, in the frame if it is saved, else in the arena.
  int output_storage(ValueState& value, int uses) {
    if (const int t = direct_target(value); t >= 0) {
      const int storage = target_storage(t, value);
      storages_[static_cast<size_t>(storage)].live_uses = uses;
      return storage;
    }
    const int storage = new_storage(bytes_of(value.spec));
    storages_.back().saved = value.saved;
    storages_.back().in_arena = !value.saved;
    storages_.back().live_uses = uses + static_cast<int>(value.targets.size());
    return storage;
  }

  // The target that may hold the value itself; -1 if there is none.
  int direct_target(const ValueState& value) const {
    if (value.saved) return -1;
    for (const int t : value.targets) {
      const ScheduleTarget& target = request_.targets[static_cast<size_t>(t)];
      const bool fits =
          (target.any_layout || target.layout == value.spec.layout) && target.storage == value.spec.storage;
      if (fits && target.req == Req::write) return t;
    }
    return -1;
  }

  void settle(ScheduleTarget& target, const ValueState& value, int t) {
    if (target.any_layout) target.layout = value.spec.layout;
    satisfied_[static_cast<size_t>(t)] = true;
  }

  int target_storage(int t, const ValueState& value) {
    ScheduleTarget& target = request_.targets[static_cast<size_t>(t)];
    const int storage = new_storage(bytes_of(value.spec));
    storages_.back().at = target.at;
    storages_.back().in_arena = false;
    settle(target, value, t);
    return storage;
  }

  void finish_target(size_t t) {
    ScheduleTarget& target = request_.targets[t];
    const EntryKey key = key_of(target.entry);
    if (is_sparse(target.storage)) {
      const int from = in_layout(key, Layout::plain);
      const int to = target_storage(static_cast<int>(t), values_.at(key));
      return push_step(make_sparse_step(target.entry.node->name, values_.at(key).spec, target.storage, target.req,
                                        request_.training, request_.team),
                       {{from}, {to}, -1});
    }
    const Layout layout = target.any_layout ? values_.at(key).spec.layout : target.layout;
    const int from = target.req == Req::add ? in_layout(key, layout) : values_.at(key).storage;
    const TensorSpec spec = values_.at(key).spec;
    const int to = target_storage(static_cast<int>(t), values_.at(key));
    target.layout = layout;
    copy_step(target.entry.node->name, from, to, spec, layout, target.req);
  }

  // ---- offsets ------------------------------------------------------------------------------------------------------
  // A saved value whose memory belongs to somebody else is copied into the frame.
  void save_copies() {
    for (const Entry& e : request_.save) {
      ValueState& value = values_.at(key_of(e));
      if (storage_of(value).saved) continue;
      const int storage = new_storage(bytes_of(value.spec));
      storages_.back().saved = true;
      storages_.back().in_arena = false;
      copy_step(e.node->name, value.storage, storage, value.spec, value.spec.layout, Req::write);
      value.storage = storage;
    }
  }

  bool makes_constant(const Refs& refs) const {
    return !refs.out.empty() && std::any_of(refs.out.begin(), refs.out.end(), [&](int s) {
      return s >= 0 && storages_[static_cast<size_t>(s)].constant;
    });
  }

  // Moves the steps that make constants to the prologue. What the others read of them stays; the rest is the
  // prologue's own temporary memory.
  void split() {
    std::vector<PlanStep> steps = std::move(schedule_.steps);
    std::vector<Refs> refs = std::move(refs_);
    schedule_.steps.clear();
    refs_.clear();
    for (size_t i = 0; i < steps.size(); ++i) {
      if (!makes_constant(refs[i])) {
        schedule_.steps.push_back(std::move(steps[i]));
        refs_.push_back(std::move(refs[i]));
        continue;
      }
      if (!schedule_.prologue) schedule_.prologue = std::make_unique<Schedule>();
      schedule_.prologue->steps.push_back(std::move(steps[i]));
      prologue_refs_.push_back(std::move(refs[i]));
    }
    for (const Refs& r : refs_) {
      for (const int s : r.in) {
        Storage* storage = s < 0 ? nullptr : &storages_[static_cast<size_t>(s)];
        if (!storage || !storage->constant || storage->source || storage->at.base >= 0) continue;
        storage->at = {kConstantBase, static_cast<int64_t>(schedule_.constant_bytes)};
        schedule_.constant_bytes += (storage->bytes + 63) / 64 * 64;
      }
    }
    for (Storage& storage : storages_) {
      if (storage.constant && storage.at.base < 0) storage.in_arena = true;
    }
  }

  template <typename F>
  static void for_each_storage(const Refs& refs, F&& f) {
    for (const int s : refs.in) f(s);
    for (const int s : refs.out) f(s);
    f(refs.scratch);
  }

  // Arena and frame addresses of what these steps touch, then the steps' own.
  void place(Schedule& schedule, const std::vector<Refs>& refs) {
    std::vector<int> block_of(storages_.size(), -1);
    std::vector<PlannedBlock> blocks, values;
    for (size_t i = 0; i < refs.size(); ++i) {
      for_each_storage(refs[i], [&](int s) {
        if (s < 0 || !storages_[static_cast<size_t>(s)].in_arena) return;
        int& block = block_of[static_cast<size_t>(s)];
        if (block < 0) {
          block = static_cast<int>(blocks.size());
          blocks.push_back({storages_[static_cast<size_t>(s)].bytes, static_cast<int>(i), static_cast<int>(i), 0});
        }
        blocks[static_cast<size_t>(block)].last = static_cast<int>(i);
      });
    }
    for (size_t s = 0; s < storages_.size(); ++s) {
      if (block_of[s] >= 0 && !storages_[s].scratch) values.push_back(blocks[static_cast<size_t>(block_of[s])]);
    }
    schedule.value_bytes = plan_memory(values);
    schedule.arena_bytes = plan_memory(blocks);
    for (size_t s = 0; s < storages_.size(); ++s) {
      Storage& storage = storages_[s];
      if (storage.saved && storage.at.base < 0) {
        storage.at = {kFrameBase, static_cast<int64_t>(schedule.frame_bytes)};
        schedule.frame_bytes += (storage.bytes + 63) / 64 * 64;
      }
      if (block_of[s] < 0) continue;
      const PlannedBlock& block = blocks[static_cast<size_t>(block_of[s])];
      storage.at = {kArenaBase, static_cast<int64_t>(block.offset)};
      if (env::settings().debug.poison) {
        schedule.steps[static_cast<size_t>(block.last)].dead.push_back(storage.at);
        schedule.steps[static_cast<size_t>(block.last)].dead_bytes.push_back(block.bytes);
      }
    }
    bind_steps(schedule, refs);
    if (&schedule != &schedule_) return;
    for (const Entry& e : request_.save) {
      const ValueState& value = values_.at(key_of(e));
      schedule_.saved.push_back({e, storage_of(value).at.offset, value.spec});
    }
  }

  void bind_steps(Schedule& schedule, const std::vector<Refs>& refs) {
    schedule.uses_base.assign(static_cast<size_t>(request_.num_bases), false);
    const auto locate = [&](int s) {
      if (s < 0) return Location{};
      const Location at = storages_[static_cast<size_t>(s)].at;
      schedule.uses_base[static_cast<size_t>(at.base)] = true;
      return at;
    };
    for (size_t i = 0; i < refs.size(); ++i) {
      PlanStep& step = schedule.steps[i];
      schedule.cost_ns = std::min(schedule.cost_ns + step.kernel->cost_ns, Kernel::kUnknownCost);
      schedule.team_matters |= step.kernel->team_matters;
      step.alone = step.kernel->cost_ns < request_.team_cost;
      for (const int s : refs[i].in) step.in.push_back(locate(s));
      for (const int s : refs[i].out) step.out.push_back(locate(s));
      if (refs[i].scratch >= 0) step.scratch_offset = locate(refs[i].scratch).offset;
    }
  }

  const ScheduleRequest& request_;
  Schedule schedule_;
  std::vector<Refs> refs_;  // one per step
  std::vector<Refs> prologue_refs_;
  std::unordered_set<const Node*> constants_;
  RunningSums sums_;
  std::vector<Storage> storages_;
  std::unordered_map<EntryKey, ValueState, EntryHash> values_;
  std::unordered_map<EntryKey, bool, EntryHash> is_source_;
  std::map<std::pair<EntryKey, Layout>, int> reordered_;
  std::vector<bool> satisfied_;
};

}  // namespace

Schedule build_schedule(const ScheduleRequest& request) { return Builder(request).build(); }

}  // namespace mxnet
