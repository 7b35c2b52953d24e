// SPDX-License-Identifier: Apache-2.0
// Sequences of different lengths in one array: SequenceMask, SequenceLast, SequenceReverse.
#include <algorithm>
#include <cstring>

#include "backend/cpu/parallel.h"
#include "operator/op.h"
#include "ops/tensor/moves.h"

namespace mxnet::ops {
namespace {

struct SequenceParams {
  bool use_sequence_length = false;
  int64_t axis = 0;
  template <typename P>
  static void declare_common(ParamSchemaOf<P>& s) {
    s.field("use_sequence_length", static_cast<bool P::*>(&P::use_sequence_length),
            "Read sequence_length; otherwise all have full length.");
  }
  template <typename P>
  static void declare_axis(ParamSchemaOf<P>& s, int last) {
    s.field("axis", static_cast<int64_t P::*>(&P::axis),
            "The dimension of time; the other of the first two is the batch.")
        .range(0, last);
  }
  static void declare(ParamSchemaOf<SequenceParams>& s) {
    declare_common(s);
    declare_axis(s, 1);
  }
};

struct MaskParams : SequenceParams {
  double value = 0;
  static void declare(ParamSchemaOf<MaskParams>& s) {
    declare_common(s);
    s.field("value", &MaskParams::value, "What is written after the end of each sequence.").type("float");
    declare_axis(s, 1);
  }
};

struct ReverseParams : SequenceParams {
  static void declare(ParamSchemaOf<ReverseParams>& s) {
    declare_common(s);
    declare_axis(s, 0);
  }
};

Inputs sequence_inputs() {
  return Inputs({"data", "sequence_length"}, [](const Params& p) {
    return static_cast<const SequenceParams*>(p.raw())->use_sequence_length ? 2 : 1;
  });
}

// data (time, batch, inner) or (batch, time, inner), and the lengths, which are brought into [low, time].
struct Sequences {
  int64_t time, batch, inner;
  bool time_first, with_length;
  DType length_type;

  Sequences(const PrepareArgs& args) {
    const auto& p = *static_cast<const SequenceParams*>(args.params.raw());
    const Shape& shape = args.in[0].shape;
    time_first = p.axis == 0;
    time = shape[time_first ? 0 : 1];
    batch = shape[time_first ? 1 : 0];
    inner = shape.size(2, shape.rank());
    with_length = p.use_sequence_length;
    length_type = with_length ? args.in[1].dtype : DType::unknown;
  }
  int64_t step(int64_t t, int64_t b) const { return (time_first ? t * batch + b : b * time + t) * inner; }
  int64_t length(const void* lengths, int64_t b, int64_t low) const {
    if (!with_length) return time;
    return dispatch(length_type, [&](auto tag) {
      const auto value = convert<int64_t>(static_cast<const typename decltype(tag)::type*>(lengths)[b]);
      return std::clamp(value, std::min(low, time), time);
    });
  }
  // Calls f(t, b) for all steps.
  template <typename F>
  void for_each_step(F&& f) const {
    cpu::parallel_for(time * batch, std::max<int64_t>(1, 8192 / std::max<int64_t>(inner, 1)),
                      [&](int64_t begin, int64_t end) {
                        for (int64_t i = begin; i < end; ++i) f(i / batch, i % batch);
                      });
  }
};

const void* lengths_of(const KernelCall& c, const Sequences& s, int input = 1) {
  return s.with_length ? c.in[input] : nullptr;
}

void check_data(InferContext& c) {
  const Shape& data = c.in[0].shape;
  if (!data.rank_known()) return;
  if (data.rank() < 2) c.bad(str("data must have at least 2 dimensions (time and batch), got ", data));
  const auto& p = *static_cast<const SequenceParams*>(c.params.raw());
  if (p.use_sequence_length) c.merge_in(1, Shape{data[p.axis == 0 ? 1 : 0]});
}

void infer_same(InferContext& c) {
  check_data(c);
  c.merge_out(0, c.in[0].shape);
  c.merge_in(0, c.out[0].shape);
}

void infer_dtype(InferContext& c) {
  c.merge_out_dtype(0, c.in[0].dtype);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in.size() > 1 && c.in[1].dtype == DType::unknown) c.merge_in_dtype(1, c.in[0].dtype);
}

// The length input as a list for gradients: present or not.
std::vector<Value> with_length(GradientBuilder& g, std::vector<Value> values) {
  if (g.num_inputs() > 1) values.push_back(g.input(1));
  return values;
}

// ---- SequenceMask --------------------------------------------------------------------------------------------------

Prepared prepare_mask(const PrepareArgs& args) {
  const Sequences s(args);
  const DType dtype = args.in[0].dtype;
  const uint64_t bits = element_bits(dtype, args.as<MaskParams>().value);
  const int item = size_of(dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0]) return;
        const void* lengths = lengths_of(c, s);
        s.for_each_step([&](int64_t t, int64_t b) {
          const int64_t at = s.step(t, b) * item;
          char* out = static_cast<char*>(c.out[0]) + at;
          const char* in = static_cast<const char*>(c.in[0]) + at;
          if (t >= s.length(lengths, b, 0))
            cpu::fill_items(out, s.inner, &bits, item);
          else if (out != in)
            std::memcpy(out, in, s.inner * item);
        });
      },
      50 + s.time * s.batch * (8 + s.inner * item / 8));
}

const RegisterOp sequence_mask{{.name = "SequenceMask",
                                .doc =
                                    "data with the steps after the end of each sequence set to a value.\n\n"
                                    "Shapes: data (time, batch, ...) or (batch, time, ...), sequence_length (batch,).",
                                .aliases = {"_npx_sequence_mask"},
                                .params = schema_of<MaskParams>(),
                                .inputs = sequence_inputs(),
                                .infer = {infer_same, infer_dtype},
                                .gradient = Gradient([](GradientBuilder& g) {
                                              MaskParams p = g.params<MaskParams>();
                                              p.value = 0;
                                              const std::vector<Value> in = with_length(g, {g.head(0)});
                                              const int target = 0;
                                              g.give_all({&target, 1}, g.op(), make_params<MaskParams>(p), in);
                                            }).without_outputs(),
                                .kernels = {{"index", prepare_mask}},
                                .flags = {.inplace = true}}};

// ---- SequenceLast --------------------------------------------------------------------------------------------------

void infer_last(InferContext& c) {
  check_data(c);
  Shape out = c.in[0].shape;
  if (!out.rank_known()) return;
  out.erase(c.as<SequenceParams>().axis == 0 ? 0 : 1);
  c.merge_out(0, out);
}

Prepared prepare_last(const PrepareArgs& args) {
  const Sequences s(args);
  const int64_t bytes = s.inner * size_of(args.in[0].dtype), item = size_of(args.in[0].dtype);
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0] || s.time == 0) return;
        const void* lengths = lengths_of(c, s);
        for (int64_t b = 0; b < s.batch; ++b) {
          const int64_t last = s.length(lengths, b, 1) - 1;
          std::memcpy(static_cast<char*>(c.out[0]) + b * bytes,
                      static_cast<const char*>(c.in[0]) + s.step(last, b) * item, bytes);
        }
      },
      50 + s.batch * (8 + bytes / 8));
}

// Inputs: data (its shape is read), the lengths if used, the head.
Prepared prepare_last_backward(const PrepareArgs& args) {
  const Sequences s(args);
  const DType dtype = args.in.back().dtype;
  const int64_t item = size_of(dtype), bytes = s.inner * item, head = static_cast<int64_t>(args.in.size()) - 1;
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0] || s.time == 0) return;
        cpu::zero_bytes(c.out[0], s.time * s.batch * bytes);
        const void* lengths = lengths_of(c, s);
        for (int64_t b = 0; b < s.batch; ++b) {
          const int64_t last = s.length(lengths, b, 1) - 1;
          std::memcpy(static_cast<char*>(c.out[0]) + s.step(last, b) * item,
                      static_cast<const char*>(c.in[head]) + b * bytes, bytes);
        }
      },
      50 + s.batch * (8 + bytes / 8) + s.time * s.batch * bytes / 16);
}

const RegisterOp sequence_last{
    {.name = "SequenceLast",
     .doc = "The last step of each sequence. Lengths are brought into [1, time].\n\n"
            "Shapes: data (time, batch, ...) or (batch, time, ...), sequence_length (batch,), output (batch, ...).",
     .params = schema_of<SequenceParams>(),
     .inputs = sequence_inputs(),
     .infer = {infer_last, infer_dtype},
     .gradient = Gradient([](GradientBuilder& g) {
                   std::vector<Value> in = with_length(g, {g.input(0)});
                   in.push_back(g.head(0));
                   const int target = 0;
                   g.give_all({&target, 1}, get_op("_backward_SequenceLast"), g.params_ref(), in);
                 }).without_outputs(),
     .kernels = {{"index", prepare_last}}}};

const RegisterOp backward_sequence_last{
    {.name = "_backward_SequenceLast",
     .doc = "Gradient of SequenceLast.",
     .params = schema_of<SequenceParams>(),
     .inputs = Inputs({"data", "sequence_length", "head"},
                      [](const Params& p) { return p.as<SequenceParams>().use_sequence_length ? 3 : 2; }),
     .infer = {[](InferContext& c) { c.merge_out(0, c.in[0].shape); },
               [](InferContext& c) { c.merge_out_dtype(0, c.in[c.in.size() - 1].dtype); }},
     .gradient = Gradient([](GradientBuilder& g) {
                   std::vector<Value> in{g.head(0)};
                   const int head = g.num_inputs() - 1;
                   if (head > 1) in.push_back(g.input(1));
                   g.give_all({&head, 1}, get_op("SequenceLast"), g.params_ref(), in);
                 }).without_outputs(),
     .kernels = {{"index", prepare_last_backward}},
     .flags = {.hidden = true}}};

// ---- SequenceReverse -----------------------------------------------------------------------------------------------

Prepared prepare_reverse(const PrepareArgs& args) {
  const Sequences s(args);
  const int64_t item = size_of(args.in[0].dtype), bytes = s.inner * item;
  return make_kernel(
      [=](const KernelCall& c) {
        if (!c.out[0] || bytes == 0) return;
        const void* lengths = lengths_of(c, s);
        s.for_each_step([&](int64_t t, int64_t b) {
          const int64_t length = s.length(lengths, b, 0), from = t < length ? length - 1 - t : t;
          std::memcpy(static_cast<char*>(c.out[0]) + s.step(t, b) * item,
                      static_cast<const char*>(c.in[0]) + s.step(from, b) * item, bytes);
        });
      },
      50 + s.time * s.batch * (8 + bytes / 8));
}

const RegisterOp sequence_reverse{{.name = "SequenceReverse",
                                   .doc = "Each sequence backward; the steps after its end stay.\n\n"
                                          "Shapes: data (time, batch, ...), sequence_length (batch,).",
                                   .params = schema_of<ReverseParams>(),
                                   .inputs = sequence_inputs(),
                                   .infer = {infer_same, infer_dtype},
                                   .gradient = Gradient([](GradientBuilder& g) {
                                                 const std::vector<Value> in = with_length(g, {g.head(0)});
                                                 const int target = 0;
                                                 g.give_all({&target, 1}, g.op(), g.params_ref(), in);
                                               }).without_outputs(),
                                   .kernels = {{"index", prepare_reverse}}}};

}  // namespace
}  // namespace mxnet::ops
