// SPDX-License-Identifier: Apache-2.0
#include "autograd/custom.h"

#include <algorithm>

#include "autograd/composite.h"
#include "autograd/node.h"
#include "autograd/tape.h"
#include "base/error.h"
#include "ndarray/sparse.h"
#include "operator/invoke.h"

namespace mxnet::param_detail {

template <>
struct Codec<autograd::KeywordList> {
  static autograd::KeywordList parse(const ParamValue& value) {
    autograd::KeywordList keywords;
    for (const ParamValue& pair : std::get<ParamList>(value)) {
      const auto& item = std::get<ParamList>(pair);
      keywords.list.emplace_back(std::get<std::string>(item[0]), param_text(item[1]));
    }
    return keywords;
  }
  static ParamValue print(const autograd::KeywordList& keywords) {
    ParamList list;
    for (const auto& [key, text] : keywords.list) list.push_back(ParamList{key, text});
    return list;
  }
  static void key(const autograd::KeywordList& keywords, KeyBuilder& key) {
    for (const auto& [name, text] : keywords.list) {
      key.add(name);
      key.add(text);
    }
  }
  static const char* type_name() { return "keywords"; }
};

}  // namespace mxnet::param_detail

namespace mxnet::autograd {

namespace {

CustomFactory factory = nullptr;
thread_local CustomInstances* instances = nullptr;

const CustomProp& prop_of(const Params& params) { return *params.as<CustomParams>().prop; }

int num_inputs(const Params& params) {
  const CustomProp& prop = prop_of(params);
  return static_cast<int>(prop.arguments.size() + prop.states.size());
}
std::vector<std::string> input_names(const Params& params) {
  const CustomProp& prop = prop_of(params);
  std::vector<std::string> names = prop.arguments;
  names.insert(names.end(), prop.states.begin(), prop.states.end());
  return names;
}
bool is_state(const Params& params, int i) { return i >= static_cast<int>(prop_of(params).arguments.size()); }

// ---- inference ----------------------------------------------------------------------------------------------------

// The program's function may rely on what is not known yet; then it is asked again later.
template <typename Ask>
void ask(bool complete, Ask&& program) {
  try {
    program();
  } catch (const Error&) {
    if (complete) throw;
  }
}

void infer_shape(InferContext& c) {
  CustomProp& prop = *c.as<CustomParams>().prop;
  const size_t n = prop.arguments.size();
  std::vector<Shape> in, out, states;
  for (size_t i = 0; i < n; ++i) in.push_back(c.in[i].shape);
  for (const TensorSpec& t : c.out) out.push_back(t.shape);
  for (size_t i = n; i < c.in.size(); ++i) states.push_back(c.in[i].shape);
  const auto known = [](const Shape& s) { return s.known(); };
  if (n && std::none_of(in.begin(), in.end(), [](const Shape& s) { return s.rank_known(); })) return;
  bool learned = false;
  ask(std::all_of(in.begin(), in.end(), known), [&] {
    prop.infer_shape(in, out, states);
    learned = true;
  });
  if (!learned) return;
  for (size_t i = 0; i < n; ++i) c.merge_in(static_cast<int>(i), in[i]);
  for (size_t i = 0; i < out.size(); ++i) c.merge_out(static_cast<int>(i), out[i]);
  for (size_t i = 0; i < states.size(); ++i) c.merge_in(static_cast<int>(n + i), states[i]);
}

void infer_dtype(InferContext& c) {
  CustomProp& prop = *c.as<CustomParams>().prop;
  const size_t n = prop.arguments.size();
  std::vector<DType> in, out, states;
  for (size_t i = 0; i < n; ++i) in.push_back(c.in[i].dtype);
  for (const TensorSpec& t : c.out) out.push_back(t.dtype);
  for (size_t i = n; i < c.in.size(); ++i) states.push_back(c.in[i].dtype);
  const auto known = [](DType t) { return t != DType::unknown; };
  if (n && std::none_of(in.begin(), in.end(), known)) return;
  bool learned = false;
  ask(std::all_of(in.begin(), in.end(), known), [&] {
    prop.infer_dtype(in, out, states);
    learned = true;
  });
  if (!learned) return;
  for (size_t i = 0; i < n; ++i) c.merge_in_dtype(static_cast<int>(i), in[i]);
  for (size_t i = 0; i < out.size(); ++i) c.merge_out_dtype(static_cast<int>(i), out[i]);
  for (size_t i = 0; i < states.size(); ++i) c.merge_in_dtype(static_cast<int>(n + i), states[i]);
}

// ---- running ------------------------------------------------------------------------------------------------------

using Arrays = std::vector<NDArray>;

// The arrays as the program sees them: the same memory behind variables of their own, since those of the real arrays
// are held by the operation that calls the program. Sparse arrays are copies. The memory lives as long as a handle.
NDArray inner(const NDArray& array) {
  if (array.is_sparse()) {
    const NDArray copy = NDArray::sparse(array.storage(), array.shape(), array.dtype(), array.device());
    sparse::copy(copy.parts(), array.parts());
    return copy;
  }
  Ref<Chunk> owner = array.chunk();
  Ref<Chunk> chunk = Chunk::foreign(array.data(), array.bytes(), array.device(), [owner] {});
  return {std::move(chunk), array.shape(), array.dtype()};
}
Arrays inner(const Arrays& arrays) {
  Arrays list;
  for (const NDArray& a : arrays) list.push_back(inner(a));
  return list;
}
// Waits for what the program left behind.
void finish(const Arrays& arrays) {
  for (const NDArray& a : arrays) a.wait_to_write();
}
void finish(const Arrays& arrays, const Arrays& real) {
  finish(arrays);
  for (size_t i = 0; i < arrays.size(); ++i) {
    if (real[i].is_sparse()) real[i].parts().swap(arrays[i].parts());
  }
}

// Runs `body` on a host thread after what is read and written is ready.
template <typename F>
void push(const std::string& name, const std::vector<const Arrays*>& reads, const std::vector<const Arrays*>& writes,
          Device device, F body) {
  std::vector<Var*> read_vars, write_vars;
  for (const Arrays* list : reads) {
    for (const NDArray& a : *list) read_vars.push_back(&a.var());
  }
  for (const Arrays* list : writes) {
    for (const NDArray& a : *list) {
      write_vars.push_back(&a.var());
      if (!a.covers_chunk()) read_vars.push_back(&a.var());
    }
  }
  OpProps props;
  props.name = "Custom";
  props.lane = Lane::host;
  props.device = device;
  auto named = [name, body = std::move(body)](RunContext&) {
    try {
      body();
    } catch (const Error& e) {
      fail(e.kind(), name, ": ", e.what());
    }
  };
  Engine::get().push(std::move(named), read_vars, write_vars, props);
  for (const Arrays* list : writes) {
    for (const NDArray& a : *list) a.chunk()->bump_version();
  }
}

// What the backward of a call can be asked for: nothing.
class NoGradientStep final : public CustomStep {
 public:
  std::string name() const override { return "Custom"; }
  void backward(std::span<const NDArray>, std::span<NDArray>, std::span<const Req>) override {
    fail(ErrorKind::not_supported, "Custom: the gradient of a custom operator cannot be differentiated again");
  }
};

class CustomCall final : public CustomStep {
 public:
  CustomCall(Ref<Params> params, std::span<const NDArray* const> in, Device device)
      : params_(std::move(params)), device_(device) {
    const size_t n = prop().arguments.size();
    std::vector<StorageType> storage;
    for (const NDArray* a : in.first(n)) storage.push_back(a->storage());
    out_storage_.assign(prop().outputs.size(), StorageType::dense);
    if (std::any_of(storage.begin(), storage.end(), is_sparse)) {
      params_->as<CustomParams>().prop->infer_storage(storage, out_storage_);
    }
    for (size_t i = 0; i < in.size(); ++i) {
      if (!in[i]->is_sparse()) in[i]->make_plain(i >= n);
      const bool densify = i < n && in[i]->is_sparse() && storage[i] != in[i]->storage();
      (i < n ? in_ : states_).push_back(densify ? dense(*in[i]) : *in[i]);
    }
  }

  std::string name() const override { return "Custom(" + params_->as<CustomParams>().op_type + ")"; }

  void forward(std::span<NDArray> out) {
    std::vector<TensorSpec> specs;
    std::vector<Shape> shapes;
    std::vector<DType> dtypes;
    for (const Arrays* list : {&in_, &states_}) {
      for (const NDArray& a : *list) {
        specs.push_back({a.shape(), a.dtype()});
        shapes.push_back(a.shape());
        dtypes.push_back(a.dtype());
      }
    }
    for (const TensorSpec& t : infer_outputs(get_op("Custom"), *params_, specs)) {
      const StorageType storage = out_storage_[out_.size()];
      out_.push_back(is_sparse(storage) ? NDArray::sparse(storage, t.shape, t.dtype, device_)
                                        : NDArray::empty(t.shape, t.dtype, device_));
    }
    if (instances) op_ = (*instances)[params_.get()];
    if (!op_) op_ = params_->as<CustomParams>().prop->create(device_, shapes, dtypes);
    if (instances) (*instances)[params_.get()] = op_;
    push(name(), {&in_}, {&out_, &states_}, device_,
         [op = op_, training = is_training(), in = in_, out = out_, states = states_] {
           const FlagScope flags(false, training);
           const Arrays inner_in = inner(in), inner_out = inner(out), inner_states = inner(states);
           op->forward({training, inner_in, inner_out, inner_states});
           finish(inner_in);
           finish(inner_out, out);
           finish(inner_states);
         });
    std::copy(out_.begin(), out_.end(), out.begin());
  }

  // Afterwards only what backward reads is kept.
  void keep_for_backward() {
    for (size_t i = 0; i < in_.size(); ++i) {
      if (!prop().reads_in[i]) in_[i] = in_[i].shell();
    }
    for (size_t i = 0; i < out_.size(); ++i) {
      if (!prop().reads_out[i]) out_[i] = out_[i].shell();
    }
  }

  void backward(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    const size_t n = in_.size();
    Arrays given, targets;
    std::vector<Req> how(req.begin(), req.begin() + static_cast<ptrdiff_t>(n));
    for (size_t i = 0; i < heads.size(); ++i) given.push_back(heads[i].is_none() ? zeros_of(out_[i]) : heads[i]);
    // The same buffer behind two inputs: the second is computed apart and added.
    std::vector<std::pair<size_t, NDArray>> sums;
    for (size_t i = 0; i < n; ++i) {
      NDArray target = grads[i].is_none() ? NDArray() : grads[i].detached();
      const auto same = [&](const NDArray& other) { return other.chunk() == target.chunk(); };
      if (target && (target.is_sparse() || std::any_of(targets.begin(), targets.end(), same))) {
        sums.emplace_back(i, target);
        target = NDArray();
        how[i] = Req::write;
      }
      // Where nobody wants a gradient, the program gets an array that it may write to all the same.
      if (!target) target = NDArray::zeros(in_[i].shape(), in_[i].dtype(), device_);
      target.make_plain();
      targets.push_back(target);
    }
    push_backward(std::move(given), targets, how);
    for (size_t i = 0; i < n; ++i) {
      if (req[i] != Req::null && grads[i].is_none()) grads[i] = targets[i];
    }
    for (auto& [i, buffer] : sums) deliver(buffer, targets[i], req[i]);
  }

  void backward_recorded(std::span<const NDArray> heads, std::span<NDArray> grads, std::span<const Req> req) override {
    backward(heads, grads, req);
    Arrays made;
    std::vector<size_t> at;
    for (size_t i = 0; i < in_.size(); ++i) {
      if (req[i] == Req::null || grads[i].is_none()) continue;
      made.push_back(grads[i]);
      at.push_back(i);
    }
    std::vector<const NDArray*> from;
    for (const NDArray& head : heads) {
      if (!head.is_none()) from.push_back(&head);
    }
    for (const NDArray& a : in_) from.push_back(&a);
    if (!would_record(from)) return;
    record_custom(make_ref<NoGradientStep>(), from, made);
    for (size_t k = 0; k < at.size(); ++k) grads[at[k]].attach(made[k].attachment());
  }

 private:
  const CustomProp& prop() const { return prop_of(*params_); }
  static NDArray dense(const NDArray& array) {
    NDArray copy = NDArray::empty(array.shape(), array.dtype(), array.device());
    copy.copy_from(array);
    return copy;
  }
  NDArray zeros_of(const NDArray& like) const { return NDArray::zeros(like.shape(), like.dtype(), device_); }

  void push_backward(Arrays heads, const Arrays& grads, const std::vector<Req>& req) {
    Arrays in, out;
    for (const NDArray& a : in_) in.push_back(a.is_none() ? zeros_of(a) : a);
    for (const NDArray& a : out_) out.push_back(a.is_none() ? zeros_of(a) : a);
    for (NDArray& head : heads) {
      if (head.is_sparse()) head = dense(head);
      head.make_plain();
    }
    push(name(), {&heads, &in, &out}, {&grads, &states_}, device_,
         [op = op_, training = is_training(), heads, in, out, grads, req, states = states_] {
           const FlagScope flags(false, training);
           const Arrays inner_heads = inner(heads), inner_in = inner(in), inner_out = inner(out),
                        inner_grads = inner(grads), inner_states = inner(states);
           op->backward({inner_heads, inner_in, inner_out, inner_grads, req, inner_states});
           for (const Arrays* list : {&inner_heads, &inner_in, &inner_out, &inner_grads, &inner_states}) finish(*list);
         });
  }

  Ref<Params> params_;
  Device device_;
  Ref<CustomOperator> op_;
  Arrays in_, out_, states_;
  std::vector<StorageType> out_storage_;
};

void run(const OpDef&, const Ref<Params>& params, std::span<const NDArray* const> in, std::span<NDArray> out,
         Device device) {
  auto call = make_ref<CustomCall>(params, in, device);
  call->forward(out);
  if (!would_record(in)) return;
  call->keep_for_backward();
  record_custom(call, in, out);
}

const RegisterOp custom{{
    .name = "Custom",
    .doc = "Applies an operator that the program registered with mx.operator.register.",
    .params = schema_of<CustomParams>(),
    .inputs =
        [] {
          Inputs inputs({}, num_inputs);
          inputs.names_of = input_names;
          inputs.mutates_at = is_state;
          inputs.auxiliary = {"*"};
          return inputs;
        }(),
    .outputs = Outputs([](const Params& p) { return static_cast<int>(prop_of(p).outputs.size()); }),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient::none(),
    .kernels = {},
}};

const RegisterComposite runs{
    "Custom",
    {run, [](const Params& p) { return !prop_of(p).needs_heads; }, [](const Params& p) { return prop_of(p).outputs; }}};

}  // namespace

void CustomParams::declare(ParamSchemaOf<CustomParams>& s) {
  s.field("op_type", &CustomParams::op_type, "The name that the operator was registered with.").required();
  s.field("*", &CustomParams::keywords, "Arguments for the constructor of the operator's CustomOpProp, as text.");
  s.validate([](const CustomParams& p) {
    if (!factory) fail(ErrorKind::not_supported, "no language is loaded that could define operators");
    p.prop = factory(p.op_type, p.keywords.list);
  });
}

InstanceScope::InstanceScope(CustomInstances* use) : before_(std::exchange(instances, use)) {}
InstanceScope::~InstanceScope() { instances = before_; }

void set_custom_factory(CustomFactory f) { factory = f; }

}  // namespace mxnet::autograd
