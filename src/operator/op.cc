// SPDX-License-Identifier: Apache-2.0
#include "operator/op.h"

#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "base/env.h"
#include "base/error.h"
#include "operator/choice.h"

namespace mxnet {
namespace {

// Function-local, so that registrars of any file may run first.
struct Registry {
  std::deque<OpDef> ops;  // stable addresses
  std::map<std::string, const OpDef*, std::less<>> by_name;
  std::map<std::string, SparseForm, std::less<>> sparse;  // by the operator's name; stable addresses
  mutable std::shared_mutex mutex;
};

Registry& registry() {
  static Registry instance;
  return instance;
}

void add_name(Registry& r, const std::string& name, const OpDef* op) {
  const auto [it, inserted] = r.by_name.emplace(name, op);
  if (!inserted && it->second != op) {
    fail("operator name ", name, " is registered twice: by ", it->second->name, " and ", op->name);
  }
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string near_names(const Registry& r, std::string_view name) {
  std::string out;
  for (const auto& [known, op] : r.by_name) {
    if (!op->flags.hidden && edit_distance(known, name) <= 2) out += (out.empty() ? "" : ", ") + known;
  }
  return out.empty() ? out : "; near names: " + out;
}

}  // namespace

RegisterOp::RegisterOp(OpDef def) {
  Registry& r = registry();
  std::unique_lock lock(r.mutex);
  def.id = static_cast<int>(r.ops.size());
  r.ops.push_back(std::move(def));
  const OpDef& op = r.ops.back();
  add_name(r, op.name, &op);
  for (const std::string& alias : op.aliases) add_name(r, alias, &op);
  if (const auto form = r.sparse.find(op.name); form != r.sparse.end()) r.ops.back().sparse = &form->second;
}

RegisterSparse::RegisterSparse(const char* op, SparseForm form) {
  Registry& r = registry();
  std::unique_lock lock(r.mutex);
  const auto [it, inserted] = r.sparse.emplace(op, std::move(form));
  if (!inserted) fail("operator ", op, " has two sparse forms");
  for (OpDef& def : r.ops) {
    if (def.name == op) def.sparse = &it->second;
  }
}

void register_alias(const std::string& op, const std::string& alias) {
  const OpDef& def = get_op(op);
  Registry& r = registry();
  std::unique_lock lock(r.mutex);
  add_name(r, alias, &def);
}

const OpDef* find_op(std::string_view name) {
  const Registry& r = registry();
  std::shared_lock lock(r.mutex);
  const auto it = r.by_name.find(name);
  return it == r.by_name.end() ? nullptr : it->second;
}

const OpDef& get_op(std::string_view name) {
  if (const OpDef* op = find_op(name)) return *op;
  fail(ErrorKind::attribute, "there is no operator ", name, near_names(registry(), name));
}

std::vector<const OpDef*> all_ops() {
  const Registry& r = registry();
  std::shared_lock lock(r.mutex);
  std::vector<const OpDef*> ops;
  for (const auto& [name, op] : r.by_name) {
    if (name == op->name) ops.push_back(op);
  }
  return ops;
}

// ---- OpDef --------------------------------------------------------------------------------------------------------

int OpDef::num_inputs(const Params& p, int given) const {
  if (inputs.is_variadic()) {
    if (given == 0) fail(ErrorKind::type, name, ": expected at least one input, got none");
    if (given > 0) return given;
    const int field = params.find(inputs.variadic_param);
    if (field < 0) return inputs.count ? inputs.count(p) : given;
    const ParamValue count = params.fields()[field].get(p.raw());
    const auto* n = std::get_if<int64_t>(&count);
    return n ? static_cast<int>(*n) : 0;
  }
  return inputs.count ? inputs.count(p) : static_cast<int>(inputs.names.size());
}

std::string OpDef::input_name(const Params& p, int i) const {
  if (inputs.names_of) {
    const auto names = inputs.names_of(p);
    if (i < static_cast<int>(names.size())) return names[i];
  }
  if (i < static_cast<int>(inputs.names.size())) return inputs.names[i];
  return inputs.variadic_stem + std::to_string(i);
}

bool OpDef::is_mutated(const Params& p, int i) const {
  if (inputs.mutates_at) return inputs.mutates_at(p, i);
  if (inputs.mutated.empty()) return false;
  return std::find(inputs.mutated.begin(), inputs.mutated.end(), input_name(p, i)) != inputs.mutated.end();
}

bool OpDef::is_auxiliary(const Params& p, int i) const {
  if (inputs.auxiliary.empty()) return false;
  if (inputs.auxiliary[0] == "*") return is_mutated(p, i);  // all that it writes
  return std::find(inputs.auxiliary.begin(), inputs.auxiliary.end(), input_name(p, i)) != inputs.auxiliary.end();
}

bool OpDef::may_cast(const Params& p, int i) const {
  if (is_mutated(p, i)) return false;
  return inputs.apart.empty() ||
         std::find(inputs.apart.begin(), inputs.apart.end(), input_name(p, i)) == inputs.apart.end();
}

// ---- inference ----------------------------------------------------------------------------------------------------

std::string InferContext::name_in(int i) const { return op.input_name(params, i); }

void InferContext::bad(const std::string& message) const { fail(ErrorKind::value, op.name, ": ", message); }

void InferContext::merge(Shape& slot, const Shape& shape, int i, bool input) const {
  if (!shape.rank_known()) return;
  if (!slot.rank_known()) {
    slot = shape;
    return;
  }
  bool ok = slot.rank() == shape.rank();
  for (int d = 0; ok && d < shape.rank(); ++d) ok = slot[d] < 0 || shape[d] < 0 || slot[d] == shape[d];
  if (!ok) {
    fail(ErrorKind::value, op.name, ": ", input ? "input " + name_in(i) : str("output ", i), " has shape ", slot,
         ", expected ", shape);
  }
  for (int d = 0; d < shape.rank(); ++d) {
    if (slot[d] < 0) slot[d] = shape[d];
  }
}

void InferContext::merge(DType& slot, DType dtype, int i, bool input) const {
  if (dtype == DType::unknown) return;
  if (slot == DType::unknown) {
    slot = dtype;
  } else if (slot != dtype) {
    fail(ErrorKind::type, op.name, ": ", input ? "input " + name_in(i) : str("output ", i), " has dtype ",
         name_of(slot), ", expected ", name_of(dtype));
  }
}

namespace infer {

void same_shape(InferContext& c) {
  Shape shape = Shape::unknown();
  const auto learn = [&](const TensorSpec& t) {
    if (!t.shape.rank_known()) return;
    if (!shape.rank_known()) shape = t.shape;
    for (int d = 0; d < std::min(shape.rank(), t.shape.rank()); ++d) {
      if (shape[d] < 0) shape[d] = t.shape[d];
    }
  };
  const int visible = c.op.num_outputs(c.params);
  for (const TensorSpec& t : c.in) learn(t);
  for (int i = 0; i < visible; ++i) learn(c.out[i]);
  for (size_t i = 0; i < c.in.size(); ++i) c.merge_in(static_cast<int>(i), shape);
  for (int i = 0; i < visible; ++i) c.merge_out(i, shape);
}

void broadcast(InferContext& c) {
  int rank = 0;
  for (const TensorSpec& t : c.in) {
    if (!t.shape.rank_known()) return;
    rank = std::max(rank, t.shape.rank());
  }
  Shape out = Shape::of_rank(rank, 1);
  for (int d = 0; d < rank; ++d) {
    for (const TensorSpec& t : c.in) {
      const int own = d - (rank - t.shape.rank());
      if (own < 0) continue;
      const dim_t size = t.shape[own];
      if (size == out[d] || size == 1) continue;
      if (out[d] == 1 || (out[d] < 0 && size > 1)) {
        out[d] = size;
      } else if (size >= 0) {
        std::string shapes;
        for (const TensorSpec& u : c.in) shapes += (shapes.empty() ? "" : " and ") + u.shape.str();
        c.bad("shapes " + shapes + " do not broadcast: dimension " + std::to_string(d) + " of the result would be " +
              std::to_string(out[d]) + " and " + std::to_string(size));
      }
    }
  }
  c.merge_out(0, out);
}

void same_dtype(InferContext& c) {
  DType dtype = DType::unknown;
  for (const TensorSpec& t : c.in) {
    if (dtype == DType::unknown) dtype = t.dtype;
  }
  for (const TensorSpec& t : c.out) {
    if (dtype == DType::unknown) dtype = t.dtype;
  }
  for (size_t i = 0; i < c.in.size(); ++i) c.merge_in_dtype(static_cast<int>(i), dtype);
  for (size_t i = 0; i < c.out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), dtype);
}

void float_like_input(InferContext& c) {
  if (!c.in.empty()) c.merge_out_dtype(0, c.in[0].dtype);
}

}  // namespace infer

void infer_all(const OpDef& op, const Params& params, std::span<TensorSpec> in, std::span<TensorSpec> out) {
  InferContext c(op, params, in, out);
  op.infer.dtype(c);
  op.infer.shape(c);
  for (size_t i = 0; i < in.size(); ++i) {
    if (!in[i].shape.known()) c.bad("the shape of input " + c.name_in(static_cast<int>(i)) + " cannot be inferred");
  }
  for (size_t i = 0; i < out.size(); ++i) {
    if (!out[i].shape.known()) c.bad("the shape of output " + std::to_string(i) + " cannot be inferred");
    if (out[i].dtype == DType::unknown) c.bad("the dtype of output " + std::to_string(i) + " cannot be inferred");
  }
}

// ---- kernels ------------------------------------------------------------------------------------------------------

void PrepareArgs::keep_layout() const {
  if (in.empty() || in[0].layout == Layout::plain) return;
  for (size_t i = 0; i < in.size(); ++i) {
    if (in[i].shape != in[0].shape) return;
  }
  for (const TensorSpec& t : out) {
    if (t.shape != in[0].shape) return;
  }
  for (Layout& l : in_layout) l = in[0].layout;
  for (TensorSpec& t : out) t.layout = in[0].layout;
}

std::string describe(std::span<const TensorSpec> arrays) {
  std::ostringstream out;
  for (const TensorSpec& t : arrays) {
    out << (&t == arrays.data() ? "" : ", ") << name_of(t.dtype) << t.shape
        << (t.layout == Layout::plain ? "" : " channels-last");
    if (is_sparse(t.storage)) out << " " << name_of(t.storage);
  }
  return out.str();
}

std::string describe(std::span<const TensorSpec> in, std::span<const TensorSpec> out) {
  return describe(in) + " -> " + describe(out);
}

std::unique_ptr<Kernel> prepare_kernel(const PrepareArgs& args, KernelChoice& choice) {
  std::string refusals;
  const auto sparse = [](const TensorSpec& t) { return is_sparse(t.storage); };
  const bool any_sparse =
      std::any_of(args.in.begin(), args.in.end(), sparse) || std::any_of(args.out.begin(), args.out.end(), sparse);
  for (const KernelDef& def : any_sparse&& args.op.sparse ? args.op.sparse->kernels : args.op.kernels) {
    std::fill(args.in_layout.begin(), args.in_layout.end(), Layout::plain);
    for (TensorSpec& t : args.out) t.layout = Layout::plain;
    Prepared prepared = def.prepare(args);
    if (prepared.kernel) {
      if (env::settings().explain_kernels) {
        std::fprintf(stderr, "mxnet: %s(%s) -> %s%s%s\n", args.op.name.c_str(), describe(args.in).c_str(), def.name,
                     refusals.empty() ? "" : "; refused: ", refusals.c_str());
      }
      choice = {def.name, std::move(refusals)};
      return std::move(prepared.kernel);
    }
    refusals += str(refusals.empty() ? "" : "; ", def.name, ": ", prepared.refusal);
  }
  fail(ErrorKind::type, args.op.name, "(", describe(args.in), "): no kernel accepts this call (",
       refusals.empty() ? "none exists" : refusals, ")");
}

std::unique_ptr<Kernel> prepare_kernel(const PrepareArgs& args, std::string* chosen) {
  KernelChoice choice;
  auto kernel = prepare_kernel(args, choice);
  if (chosen) *chosen = choice.kernel;
  return kernel;
}

}  // namespace mxnet
