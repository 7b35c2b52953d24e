// SPDX-License-Identifier: Apache-2.0
#include "operator/invoke.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "backend/cpu/parallel.h"
#include "base/env.h"
#include "base/error.h"
#include "base/observe.h"
#include "base/small_array.h"
#include "ndarray/copy.h"
#include "ndarray/sparse.h"
#include "operator/call_plan.h"
#include "operator/storage.h"
#include "resource/scratch.h"

namespace mxnet {
namespace {

constexpr size_t kInlineArgs = 8;
template <typename T>
using Args = SmallArray<T, kInlineArgs>;

// Kernel output k goes through a temporary into its array: to add, to change layout, or because it overlaps an input.
struct OutputFix {
  size_t index;
  void* target;
  Layout target_layout;
  bool add;
  bool zero_first;                               // the kernel adds by itself: into zeros
  std::unique_ptr<SparseParts> parts = nullptr;  // the temporary of a sparse output
};

const observe::Label& reorder_label(const TensorSpec& from, Layout to) {
  TensorSpec target = from;
  target.layout = to;
  return observe::intern({"reorder", "reorder", "", describe({&from, 1}, {&target, 1}), "", ""});
}

// A call with everything resolved: what the engine runs.
class Task {
 public:
  Task(Ref<CallPlan> plan, Ref<Params> params)
      : plan_(std::move(plan)), params_(std::move(params)), in_(plan_->in.size()), out_(plan_->out.size()) {}

  void** in() { return in_.data(); }
  void** out() { return out_.data(); }
  void set_scope(const char* scope) { scope_ = scope; }
  void set_random(const random::Stream& stream) { random_ = stream; }
  void add_fix(OutputFix fix) { fixes_.push_back(std::move(fix)); }

  void run() {
    const int64_t begin = observe::begin(observe::kOperators);
    try {
      if (plan_->alone && cpu::team_size() > 1) {
        const cpu::TeamScope one(1);
        run_kernel();
      } else {
        run_kernel();
      }
    } catch (const Error& e) {
      fail(e.kind(), plan_->signature, ": ", e.what());
    }
    if (begin) [[unlikely]]
      observe::report(label(), begin);
  }
  void run_queued() {
    const observe::InScope scope(scope_);
    run();
  }

 private:
  const observe::Label& label() const {
    return plan_->label.get([&plan = *plan_] {
      return observe::Label{"operator",         plan.op->name,       "", describe(plan.in, plan.out),
                            plan.choice.kernel, plan.choice.refusals};
    });
  }

  static size_t bytes_of(const TensorSpec& t) { return static_cast<size_t>(t.shape.size()) * size_of(t.dtype); }

  void run_kernel() {
    const CallPlan& plan = *plan_;
    if (plan.direct && fixes_.empty()) {
      plan.kernel->run({in_.data(), out_.data(), params_.get(), {}, nullptr});
      return;
    }
    Scratch scratch;
    Args<void*> in(plan.in.size());
    for (size_t i = 0; i < plan.in.size(); ++i) {
      in[i] = in_[i];
      if (plan.in_layout[i] == plan.in[i].layout) continue;
      in[i] = scratch.bytes(bytes_of(plan.in[i]));
      reorder(in[i], in_[i], plan.in[i], plan.in_layout[i]);
    }
    for (const Pack& pack : plan.kernel->packs) run_pack(pack, in[static_cast<size_t>(pack.input)], scratch);
    for (OutputFix& fix : fixes_) {
      if (is_sparse(plan.out[fix.index].storage)) {
        const auto* target = static_cast<const SparseParts*>(fix.target);
        fix.parts =
            std::make_unique<SparseParts>(target->storage(), target->shape(), target->dtype(), target->device());
        out_[fix.index] = fix.parts.get();
        continue;
      }
      const size_t bytes = bytes_of(plan.out[fix.index]);
      out_[fix.index] = scratch.bytes(bytes);
      if (fix.zero_first) std::memset(out_[fix.index], 0, bytes);
    }
    void* workspace = plan.kernel->scratch ? scratch.bytes(plan.kernel->scratch) : nullptr;
    plan.kernel->run({in.data(), out_.data(), params_.get(), random_, workspace});
    for (const OutputFix& fix : fixes_) finish(fix, scratch);
  }

  // Puts the result in the input's place.
  static void run_pack(const Pack& pack, void*& input, Scratch& scratch) {
    void* packed = scratch.bytes(pack.bytes);
    void* workspace = pack.kernel->scratch ? scratch.bytes(pack.kernel->scratch) : nullptr;
    pack.kernel->run({&input, &packed, nullptr, {}, workspace});
    input = packed;
  }

  void finish(const OutputFix& fix, Scratch& scratch) {
    const TensorSpec& spec = plan_->out[fix.index];
    void* result = out_[fix.index];
    if (fix.parts) {
      SparseParts& target = *static_cast<SparseParts*>(fix.target);
      if (fix.add)
        sparse::accumulate(target, *fix.parts);
      else
        target.swap(*fix.parts);
      return;
    }
    if (!fix.add) {
      reorder(fix.target, result, spec, fix.target_layout);
      return;
    }
    if (spec.layout != fix.target_layout) {
      void* turned = scratch.bytes(bytes_of(spec));
      reorder(turned, result, spec, fix.target_layout);
      result = turned;
    }
    copy::accumulate(fix.target, result, spec.dtype, spec.shape.size());
  }

  void reorder(void* target, const void* source, const TensorSpec& spec, Layout to) const {
    const observe::Span span(observe::kOperators, [&]() -> const observe::Label& { return reorder_label(spec, to); });
    copy::reorder(target, source, spec.shape, spec.dtype, spec.layout, to);
  }

  Ref<CallPlan> plan_;
  Ref<Params> params_;
  const char* scope_ = nullptr;  // of the program, once queued
  Args<void*> in_, out_;
  random::Stream random_;
  std::vector<OutputFix> fixes_;
};

// True if an input is sparse.
bool check_inputs(const OpDef& op, const Params& params, std::span<const NDArray* const> in) {
  const int expected = op.num_inputs(params, static_cast<int>(in.size()));
  if (expected != static_cast<int>(in.size())) {
    std::string names;
    for (int i = 0; i < expected; ++i) names += (i ? ", " : "") + op.input_name(params, i);
    fail(ErrorKind::type, op.name, ": expected ", expected, " inputs (", names, "), got ", in.size());
  }
  bool sparse = false;
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i] || in[i]->is_none()) {
      fail(ErrorKind::type, op.name, ": input ", op.input_name(params, static_cast<int>(i)), " is missing");
    }
    sparse |= in[i]->is_sparse();
  }
  return sparse;
}

void check_given(const CallPlan& plan, const NDArray& given, size_t i) {
  const TensorSpec& spec = plan.out[i];
  if (given.shape() != spec.shape || given.dtype() != spec.dtype) {
    fail(ErrorKind::value, plan.op->name, ": the array given for output ", i, " has shape ", given.shape(),
         " and dtype ", name_of(given.dtype()), ", the result has ", spec.shape, " and ", name_of(spec.dtype));
  }
}

bool may_share(const OpDef& op, size_t input) {
  return op.flags.elementwise || op.flags.inplace_list || (op.flags.inplace && input == 0);
}

// An output that shares its chunk with an input may be written directly only where the operator allows exactly this.
bool overlaps_badly(const OpDef& op, const NDArray& given, std::span<const NDArray* const> in) {
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i]->chunk() != given.chunk()) continue;
    if (!(may_share(op, i) && in[i]->same_window(given) && in[i]->dtype() == given.dtype())) return true;
  }
  return false;
}

// The variables and chunks of one call.
struct Access {
  Access(size_t n_in, size_t n_out) : reads(n_in + n_out), writes(n_in + n_out) {}
  void read(const NDArray& a) { reads[nr++] = &a.var(); }
  void write(const NDArray& a) { writes[nw++] = &a.var(); }
  Args<Var*> reads, writes;
  size_t nr = 0, nw = 0;
  bool keeps_version = true;  // nothing is written but fresh arrays
};

void bind_output(Task& task, const CallPlan& plan, size_t i, NDArray& out, std::span<const NDArray* const> in,
                 Device device, Access& access) {
  const TensorSpec& spec = plan.out[i];
  Layout target_layout = spec.layout;
  bool fix = false;
  if (out.is_none()) {
    if (env::settings().debug.relayout && !is_sparse(spec.storage) && copy::can_be_channels_last(spec.shape))
      target_layout = Layout::channels_last;
    out = is_sparse(spec.storage) ? NDArray::sparse(spec.storage, spec.shape, spec.dtype, device)
                                  : NDArray::empty(spec.shape, spec.dtype, device, target_layout);
    fix = target_layout != spec.layout;
  } else {
    check_given(plan, out, i);
    target_layout = out.layout();
    fix = target_layout != spec.layout || overlaps_badly(*plan.op, out, in);
    // A part of a chunk is also read: what failed elsewhere in it stays failed.
    if (plan.req[i] == Req::add || !out.covers_chunk()) access.read(out);
    access.keeps_version = false;
  }
  const bool add = plan.req[i] == Req::add;
  access.write(out);
  task.out()[i] = out.data();
  if (fix || (add && !plan.kernel->accepts_add)) {
    task.add_fix({i, out.data(), target_layout, add, add && plan.kernel->accepts_add});
  }
}

void run_or_queue(Task& task, const CallPlan& plan, Access& access, std::span<const NDArray* const> in,
                  std::span<NDArray> out) {
  Engine& engine = Engine::get();
  if (plan.inline_ok && engine.try_begin_inline(access.reads.data(), access.nr, access.writes.data(), access.nw)) {
    try {
      task.run();
    } catch (...) {
      engine.mark_error(access.writes.data(), access.nw, std::current_exception());
    }
    engine.end_inline(access.reads.data(), access.nr, access.writes.data(), access.nw);
    return;
  }
  std::vector<Ref<Chunk>> keep;
  keep.reserve(in.size() + out.size());
  OpProps props;
  props.name = plan.op->name.c_str();
  props.cost_ns = plan.kernel->cost_with_packs();
  for (const NDArray* a : in) keep.push_back(a->chunk());
  for (const NDArray& a : out) {
    if (a.is_none()) continue;
    keep.push_back(a.chunk());
    props.bytes += static_cast<int64_t>(a.chunk()->bytes);
    props.device = a.device();
  }
  if (observe::on(observe::kOperators)) [[unlikely]]
    task.set_scope(observe::scope());
  auto body = [task = std::make_unique<Task>(std::move(task)), keep = std::move(keep)](RunContext&) {
    task->run_queued();
  };
  engine.push(std::move(body), std::span<Var* const>(access.reads.data(), access.nr),
              std::span<Var* const>(access.writes.data(), access.nw), props);
}

// Waits for the inputs, asks the operator for its output extents, prepares a plan of its own.
Ref<CallPlan> plan_from_data(const CallSignature& signature) {
  const OpDef& op = signature.op;
  std::vector<TensorSpec> in, out(signature.req.size(), {Shape::unknown(), DType::unknown, Layout::plain});
  std::vector<void*> data;
  for (const NDArray* a : signature.in) {
    a->make_plain();
    a->wait_to_read();
    in.push_back({a->shape(), a->dtype(), Layout::plain});
    data.push_back(a->data());
  }
  InferContext context(op, *signature.params, in, out);
  op.infer.dtype(context);
  op.infer.shape(context);
  op.data_shape(*signature.params, in, data.data(), out);
  return make_call_plan(signature, out);
}

// Layouts that the call cannot use are made plain before anything is resolved. True if something changed.
bool settle_layouts(const CallPlan& plan, std::span<NDArray> out) {
  bool changed = false;
  for (size_t i = 0; i < out.size() && i < plan.out.size(); ++i) {
    if (out[i].is_none() || out[i].layout() == plan.out[i].layout || out[i].layout() == Layout::plain) continue;
    out[i].make_plain();
    changed = true;
  }
  return changed;
}

// After the push: whoever sees the new version, on any thread, also reads after the write.
void bump_versions(const OpDef& op, const Params& params, std::span<const NDArray* const> in,
                   std::span<const NDArray> out, bool training) {
  for (size_t i = 0; i < in.size(); ++i) {
    if (op.writes_input(params, static_cast<int>(i), training)) in[i]->chunk()->bump_version();
  }
  for (const NDArray& a : out) {
    if (!a.is_none()) a.chunk()->bump_version();
  }
}

// `storage` of the outputs; empty: everything is dense.
void run_kernels(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
                 const InvokeOptions& options, std::span<const StorageType> storage) {
  const size_t n_visible = static_cast<size_t>(op.num_outputs(*params));
  const size_t n_all = n_visible + static_cast<size_t>(op.outputs.residuals);
  Args<Req> req(n_all);
  for (size_t i = 0; i < n_all; ++i) {
    if (i < n_visible || options.residuals) req[i] = i < options.req.size() ? options.req[i] : Req::write;
    if (i >= n_visible && !options.residuals) req[i] = Req::null;
  }
  if (op.inputs.mutates_any()) {
    for (size_t i = 0; i < in.size(); ++i) {
      if (op.is_mutated(*params, static_cast<int>(i))) in[i]->make_plain(true);
    }
  }
  const CallSignature signature{op, params, in, out, req, options.training, storage};
  Ref<CallPlan> plan = op.data_shape ? plan_from_data(signature) : find_call_plan(signature);
  if (settle_layouts(*plan, out)) plan = find_call_plan(signature);

  const Device device = in.empty() ? options.device : in[0]->device();
  Task task(plan, params);
  Access access(in.size(), out.size());
  for (size_t i = 0; i < in.size(); ++i) {
    access.read(*in[i]);
    if (op.writes_input(*params, static_cast<int>(i), options.training)) {
      access.keeps_version = false;
      access.write(*in[i]);
    }
    task.in()[i] = in[i]->data();
  }
  for (size_t i = 0; i < n_all && i < out.size(); ++i) {
    if (req[i] != Req::null) bind_output(task, *plan, i, out[i], in, device, access);
  }
  if (plan->kernel->random_draws) task.set_random(random::reserve(device, plan->kernel->random_draws));
  run_or_queue(task, *plan, access, in, out);
  if (!access.keeps_version) bump_versions(op, *params, in, out, options.training);
}

}  // namespace

void invoke(const OpDef& op, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
            const InvokeOptions& options) {
  const int64_t begin = observe::begin(observe::kCalls);
  bool sparse = check_inputs(op, *params, in) || (op.sparse && op.sparse->makes_sparse);
  for (const NDArray& a : out) sparse |= !a.is_none() && a.is_sparse();
  if (!sparse) {
    run_kernels(op, params, in, out, options, {});
  } else if (const auto storage = infer_storage(op, *params, in, out)) {
    run_kernels(op, params, in, out, options, *storage);
  } else {
    invoke_through_dense(op, params, in, out, options);
  }
  if (begin) [[unlikely]]
    observe::report(observe::intern(observe::call(op.name)), begin);
}

std::vector<TensorSpec> infer_outputs(const OpDef& op, const Params& params, std::span<const TensorSpec> in) {
  std::vector<TensorSpec> known(in.begin(), in.end());
  std::vector<TensorSpec> out(static_cast<size_t>(op.num_all_outputs(params)),
                              {Shape::unknown(), DType::unknown, Layout::plain});
  infer_all(op, params, known, out);
  return out;
}

}  // namespace mxnet
