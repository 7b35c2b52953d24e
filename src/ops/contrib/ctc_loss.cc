// SPDX-License-Identifier: Apache-2.0
// Connectionist temporal classification (Graves, Fernandez, Gomez and Schmidhuber, 2006).
#include <cmath>
#include <limits>

#include "backend/cpu/parallel.h"
#include "operator/composition.h"
#include "operator/op.h"
#include "operator/through_float.h"
#include "ops/nn/softmax.h"
#include "ops/tensor/index.h"
#include "resource/scratch.h"

namespace mxnet::contrib {
namespace {

enum class Blank { first, last };

struct CtcParams {
  bool use_data_lengths = false, use_label_lengths = false;
  Blank blank_label = Blank::first;
  static void declare(ParamSchemaOf<CtcParams>& s) {
    using P = CtcParams;
    s.field("use_data_lengths", &P::use_data_lengths, "Whether the lengths of the sequences are given.");
    s.field("use_label_lengths", &P::use_label_lengths, "Whether the lengths of the labels are given.");
    s.choice("blank_label", &P::blank_label, {{"first", Blank::first}, {"last", Blank::last}},
             "The class of the blank: 0, with labels from 1 padded by 0, or the last one, with labels from 0 padded by "
             "-1.");
  }
  int label_lengths_at() const { return use_data_lengths ? 3 : 2; }
};

std::vector<std::string> names_of(const Params& params) {
  const auto& p = params.as<CtcParams>();
  std::vector<std::string> names{"data", "label"};
  if (p.use_data_lengths) names.push_back("data_lengths");
  if (p.use_label_lengths) names.push_back("label_lengths");
  return names;
}

Inputs inputs() {
  Inputs inputs({"data", "label", "data_lengths", "label_lengths"}, [](const Params& params) {
    const auto& p = params.as<CtcParams>();
    return 2 + p.use_data_lengths + p.use_label_lengths;
  });
  inputs.names_of = names_of;
  return std::move(inputs).sets_apart({"label", "data_lengths", "label_lengths"});
}

void infer_shape(InferContext& c) {
  const Shape &data = c.in[0].shape, &label = c.in[1].shape;
  if (data.rank_known() && data.rank() != 3) {
    c.bad(str("data must have 3 dimensions (length, batch, classes), got shape ", data));
  }
  if (label.rank_known() && label.rank() != 2) c.bad(str("label must have 2 dimensions (batch, length), got ", label));
  if (!data.rank_known()) return;
  const dim_t batch = data[1];
  if (label.rank_known()) {
    c.merge_in(1, Shape{batch, label[1]});
    if (label[1] >= 0 && data[0] >= 0 && label[1] > data[0]) {
      c.bad(str("label must not be longer than data; got shapes ", label, " and ", data));
    }
  }
  for (size_t i = 2; i < c.in.size(); ++i) c.merge_in(static_cast<int>(i), Shape{batch});
  c.merge_out(0, Shape{batch});
  c.merge_out(1, data);
}

void infer_dtype(InferContext& c) {
  const DType t = c.in[0].dtype;
  if (t != DType::unknown && !is_float(t)) c.bad(str("data must be of a floating point dtype, got ", name_of(t)));
  for (size_t i = 1; i < c.in.size(); ++i) {
    if (c.in[i].dtype == DType::unknown) c.merge_in_dtype(static_cast<int>(i), t);
  }
  for (int i = 0; i < 2; ++i) {
    c.merge_out_dtype(i, t);
    c.merge_in_dtype(0, c.out[i].dtype);
  }
}

constexpr double kNever = -std::numeric_limits<double>::infinity();

double log_sum(double a, double b) {
  const double most = std::max(a, b);
  return most == kNever ? kNever : most + std::log1p(std::exp(std::min(a, b) - most));
}
double log_sum(double a, double b, double c) {
  const double most = std::max({a, b, c});
  return most == kNever ? kNever : most + std::log(std::exp(a - most) + std::exp(b - most) + std::exp(c - most));
}

// One sequence: classes by time, the states of its label (blank, l1, blank, l2, ..., blank).
template <typename T>
class Sequence {
 public:
  // y: probabilities of the first step; `step` elements from one to the next.
  Sequence(const T* y, int64_t step, int64_t length, const int64_t* label, int64_t count, int64_t blank)
      : y_(y), step_(step), length_(length), count_(count), states_(2 * count + 1) {
    classes_ = scratch_.get<int64_t>(static_cast<size_t>(states_));
    for (int64_t s = 0; s < states_; ++s) classes_[s] = s % 2 ? label[s / 2] : blank;
    for (int64_t i = 1; i < count; ++i) repeats_ += label[i] == label[i - 1];
  }

  bool possible() const { return count_ + repeats_ <= length_ && length_ > 0; }

  // Log-likelihood; keeps what `occupancy` needs.
  double forward() {
    alpha_ = scratch_.get<double>(static_cast<size_t>(length_ * states_));
    emit_ = scratch_.get<double>(static_cast<size_t>(length_ * states_));
    for (int64_t t = 0; t < length_; ++t) {
      for (int64_t s = 0; s < states_; ++s) {
        emit_[t * states_ + s] =
            s % 2 || s == 0 ? std::log(static_cast<double>(y_[t * step_ + classes_[s]])) : emit_[t * states_];
      }
    }
    for (int64_t s = 0; s < states_; ++s) alpha_[s] = s < 2 ? emit_[s] : kNever;
    for (int64_t t = 1; t < length_; ++t) {
      const double* before = alpha_ + (t - 1) * states_;
      double* now = alpha_ + t * states_;
      for (int64_t s = 0; s < states_; ++s) now[s] = emit_[t * states_ + s] + arrivals(before, s);
    }
    const double* end = alpha_ + (length_ - 1) * states_;
    likelihood_ = count_ > 0 ? log_sum(end[states_ - 1], end[states_ - 2]) : end[0];
    return likelihood_;
  }

  // grad, of the same layout as y, minus the probability of each class given the label.
  void subtract_occupancy(T* grad) {
    double* beta = scratch_.get<double>(static_cast<size_t>(2 * states_));  // without what t itself emits
    double* next = beta + states_;
    for (int64_t s = 0; s < states_; ++s) beta[s] = s + 2 >= states_ ? 0 : kNever;
    for (int64_t t = length_ - 1; t >= 0; --t) {
      for (int64_t s = 0; s < states_; ++s) {
        const double log_part = alpha_[t * states_ + s] + beta[s] - likelihood_;
        if (log_part == kNever) continue;
        T& g = grad[t * step_ + classes_[s]];
        g = static_cast<T>(static_cast<double>(g) - std::exp(log_part));
      }
      for (int64_t s = 0; s < states_; ++s) next[s] = beta[s] + emit_[t * states_ + s];
      for (int64_t s = 0; s < states_; ++s) {
        const double b = s + 1 < states_ ? next[s + 1] : kNever;
        beta[s] = s + 2 < states_ && jumps(s + 2) ? log_sum(next[s], b, next[s + 2]) : log_sum(next[s], b);
      }
    }
  }

 private:
  // From two states before, over a blank: not into a blank, nor between equal labels.
  bool jumps(int64_t s) const { return s % 2 && s >= 2 && classes_[s] != classes_[s - 2]; }
  double arrivals(const double* before, int64_t s) const {
    if (s == 0) return before[0];
    return jumps(s) ? log_sum(before[s], before[s - 1], before[s - 2]) : log_sum(before[s], before[s - 1]);
  }

  Scratch scratch_;
  const T* y_;
  int64_t step_, length_, count_, states_, repeats_ = 0;
  int64_t* classes_;
  double* alpha_ = nullptr;
  double* emit_ = nullptr;
  double likelihood_ = 0;
};

// What the call says of sequence n.
struct Batch {
  CtcParams p;
  int64_t length, count, classes, width;  // width: of the labels
  std::vector<DType> dtypes;

  int64_t number(const KernelCall& c, int at, int64_t n, int64_t most, const char* name) const {
    int64_t value;
    const char* from = static_cast<const char*>(c.in[at]) + n * size_of(dtypes[at]);
    ops::load_indices(from, dtypes[at], 1, &value);
    if (value < 0 || value > most) {
      fail(ErrorKind::value, name, " of sequence ", n, " must lie in [0, ", most, "], got ", value);
    }
    return value;
  }
  int64_t data_length(const KernelCall& c, int64_t n) const {
    return p.use_data_lengths ? number(c, 2, n, length, "data_lengths") : length;
  }
  // Reads the label of sequence n; its length.
  int64_t label(const KernelCall& c, int64_t n, int64_t* to) const {
    const char* from = static_cast<const char*>(c.in[1]) + n * width * size_of(dtypes[1]);
    ops::load_indices(from, dtypes[1], width, to);
    const int64_t padding = p.blank_label == Blank::first ? 0 : -1;
    int64_t used = p.use_label_lengths ? number(c, p.label_lengths_at(), n, width, "label_lengths")
                                       : std::find(to, to + width, padding) - to;
    for (int64_t i = 0; i < used; ++i) {
      if (to[i] < 0 || to[i] >= classes) {
        fail(ErrorKind::index, "label ", to[i], " of sequence ", n, " is outside of the ", classes, " classes");
      }
    }
    return used;
  }
};

template <typename T>
void run_sequence(const Batch& b, const KernelCall& c, const T* y, T* grad, int64_t n) {
  Scratch scratch;
  int64_t* label = scratch.get<int64_t>(static_cast<size_t>(b.width));
  const int64_t used = b.label(c, n, label), length = b.data_length(c, n), step = b.count * b.classes;
  Sequence<T> sequence(y + n * b.classes, step, length, label, used,
                       b.p.blank_label == Blank::first ? 0 : b.classes - 1);
  const bool possible = sequence.possible();
  const double likelihood = possible ? sequence.forward() : 0;
  if (c.out[0]) static_cast<T*>(c.out[0])[n] = static_cast<T>(-likelihood);
  if (!grad) return;
  for (int64_t t = possible ? length : 0; t < b.length; ++t) {
    std::fill_n(grad + t * step + n * b.classes, b.classes, T(0));
  }
  if (possible) sequence.subtract_occupancy(grad + n * b.classes);
}

Prepared prepare(const PrepareArgs& args) {
  const DType dtype = args.in[0].dtype;
  if (is_half(dtype)) return "half types go through float";
  const Shape& data = args.in[0].shape;
  Batch batch{args.as<CtcParams>(), data[0], data[1], data[2], args.in[1].shape[1], {}};
  for (const TensorSpec& t : args.in) batch.dtypes.push_back(t.dtype);
  const int64_t size = data.size();
  if (batch.classes == 0 && batch.count > 0) fail(ErrorKind::value, args.op.name, ": data has no classes");
  auto kernel = make_kernel(
      [=](const KernelCall& c) {
        Scratch scratch;
        const SoftmaxView view{.outer = batch.length * batch.count, .n = batch.classes};
        // The probabilities become the gradient where one is asked for.
        const auto run = [&]<typename T>(TypeTag<T>) {
          T* y = c.out[1] ? static_cast<T*>(c.out[1]) : scratch.get<T>(static_cast<size_t>(size));
          nn::softmax_forward(view, dtype, c.in[0], y);
          cpu::parallel_for(batch.count, 1, [&](int64_t begin, int64_t end) {
            for (int64_t n = begin; n < end; ++n) run_sequence(batch, c, y, c.out[1] ? y : nullptr, n);
          });
        };
        dtype == DType::f64 ? run(TypeTag<double>{}) : run(TypeTag<float>{});
      },
      200 + size * 3 + batch.length * batch.count * (2 * batch.width + 1) * 80);
  return kernel;
}

// The loss of each sequence has its own head.
void gradient(GradientBuilder& g) {
  const Value heads =
      g.call("Reshape", {g.head(0)}, ParamMap{{"shape", ParamList{int64_t{1}, int64_t{-1}, int64_t{1}}}});
  g.give(0, "broadcast_mul", {g.output(1), heads});
}

// ---- higher order
// ----------------------------------------------------------------------------------------------------

// Of terms that are all finite.
Term log_sum(std::span<const Term> terms) {
  Term most = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) most = apply("broadcast_maximum", {most, terms[i]});
  most = most.then("BlockGrad");
  Term sum = exp(terms[0] - most);
  for (size_t i = 1; i < terms.size(); ++i) sum = sum + exp(terms[i] - most);
  return most + log(sum);
}

// The recursion over all sequences at once; what is not possible has a logarithm of -1e30, whose exponential is 0.
class Composition {
 public:
  explicit Composition(const Composing& c)
      : c_(c), p_(c.as<CtcParams>()), length_(c[0].shape()[0]), batch_(c[0].shape()[1]), classes_(c[0].shape()[2]) {
    width_ = c[1].shape()[1];
    states_ = 2 * width_ + 1;
    read_labels();
  }

  Term loss() const {
    const Term emit = emissions();
    Term alpha = emit.at(0, 0) + mask([](int64_t, int64_t s) { return s < 2; });
    const Term jump =
        mask([&](int64_t n, int64_t s) { return s % 2 == 1 && s >= 3 && label(n, s / 2) != label(n, s / 2 - 1); });
    for (int64_t t = 1; t < length_; ++t) {
      std::vector<Term> from{alpha};
      if (states_ > 1) from.push_back(shifted(alpha, 1));
      if (states_ > 1) from.push_back(shifted(alpha, 2) + jump);
      const Term next = emit.at(0, t) + log_sum(from);
      const Term runs = numbers({batch_, 1}, [&](int64_t n, int64_t) { return t < lengths_[n] ? 1.0 : 0.0; });
      alpha = runs * next + (1 - runs) * alpha;
    }
    const Term ends = alpha + mask([&](int64_t n, int64_t s) {
                        return s == 2 * used_[n] || (used_[n] > 0 && s == 2 * used_[n] - 1);
                      });
    std::vector<Term> last;
    for (int64_t s = 0; s < states_; ++s) last.push_back(ends.slice(1, s, s + 1));
    const Term possible = numbers({batch_, 1}, [&](int64_t n, int64_t) { return is_possible(n) ? 1.0 : 0.0; });
    return (-(possible * log_sum(last))).reshaped({batch_});
  }

 private:
  static constexpr double kImpossible = -1e30;

  int64_t label(int64_t n, int64_t i) const { return labels_[n * width_ + i]; }
  bool is_possible(int64_t n) const {
    int64_t repeats = 0;
    for (int64_t i = 1; i < used_[n]; ++i) repeats += label(n, i) == label(n, i - 1);
    return lengths_[n] > 0 && used_[n] + repeats <= lengths_[n];
  }

  std::vector<int64_t> read(const Term& t) const {
    t.array().wait_to_read();
    std::vector<int64_t> values(static_cast<size_t>(t.shape().size()));
    ops::load_indices(t.array().data(), t.array().dtype(), t.shape().size(), values.data());
    return values;
  }

  // The loss itself refuses what does not fit; here it must only not lead astray.
  void read_labels() {
    labels_ = read(c_[1]);
    lengths_.assign(static_cast<size_t>(batch_), length_);
    if (p_.use_data_lengths) lengths_ = read(c_[2]);
    if (p_.use_label_lengths) used_ = read(c_[p_.label_lengths_at()]);
    const int64_t padding = p_.blank_label == Blank::first ? 0 : -1;
    for (int64_t n = 0; n < batch_; ++n) {
      const auto row = labels_.begin() + n * width_;
      if (!p_.use_label_lengths) used_.push_back(std::find(row, row + width_, padding) - row);
      used_[n] = std::clamp<int64_t>(used_[n], 0, width_);
      lengths_[n] = std::clamp<int64_t>(lengths_[n], 0, length_);
    }
    for (int64_t& k : labels_) k = std::clamp<int64_t>(k, 0, classes_ - 1);
  }

  template <typename F>
  Term numbers(const Shape& shape, F&& f) const {
    std::vector<double> values;
    for (int64_t i = 0; i < shape[0]; ++i) {
      for (int64_t j = 0; j < shape[1]; ++j) values.push_back(f(i, j));
    }
    return constant(c_[0], shape, values);
  }
  template <typename F>
  Term mask(F&& allowed) const {
    return numbers({batch_, states_}, [&](int64_t n, int64_t s) { return allowed(n, s) ? 0.0 : kImpossible; });
  }

  Term shifted(const Term& alpha, int64_t by) const {
    const Term never = numbers({batch_, by}, [](int64_t, int64_t) { return kImpossible; });
    return join("Concat", 1, std::vector<Term>{never, alpha.slice(1, 0, states_ - by)});
  }

  // (length, batch, states): the logarithms of what each state emits.
  Term emissions() const {
    const Term rows = c_[0].then("log_softmax").then("transpose", {{"axes", tuple_of({1, 2, 0})}});
    const int64_t blank = p_.blank_label == Blank::first ? 0 : classes_ - 1;
    std::vector<double> places;
    for (int64_t n = 0; n < batch_; ++n) {
      for (int64_t s = 0; s < states_; ++s) {
        places.push_back(static_cast<double>(n * classes_ + (s % 2 ? label(n, s / 2) : blank)));
      }
    }
    const Term index = constant(c_[0], {batch_, states_}, places, DType::f64);
    return apply("take", {rows.reshaped({batch_ * classes_, length_}), index})
        .then("transpose", {{"axes", tuple_of({2, 0, 1})}});
  }

  const Composing& c_;
  const CtcParams& p_;
  int64_t length_, batch_, classes_, width_, states_;
  std::vector<int64_t> labels_, lengths_, used_;
};

std::vector<Term> compose(const Composing& c) { return {Composition(c).loss()}; }
const RegisterComposition composition{"CTCLoss", compose};

const RegisterOp ctc_loss{
    {.name = "CTCLoss",
     .doc =
         "Connectionist temporal classification: -log of the probability that a sequence of class scores spells its "
         "label, blanks and repetitions taken out. The softmax over the classes is part of it.\n\nShapes: data "
         "(length, batch, classes), label (batch, label_length), data_lengths and label_lengths (batch,); output "
         "(batch,). Without label_lengths a label ends at its first padding value. Where a sequence is too short for "
         "its label, loss and gradient are zero. A label outside of the classes raises IndexError, a length outside "
         "of its array ValueError, when the result is waited for.\n\nGraves, Fernandez, Gomez and Schmidhuber, "
         "Connectionist temporal classification, 2006.",
     .aliases = {"ctc_loss", "_contrib_CTCLoss", "_contrib_ctc_loss"},
     .params = schema_of<CtcParams>(),
     .inputs = inputs(),
     .outputs = Outputs(1).with_residuals(1).named({"output0"}),
     .infer = {infer_shape, infer_dtype},
     .gradient = Gradient(gradient),
     .kernels = {{"portable", prepare}, {"through float", prepare_through_float<prepare>}},
     .flags = {.precision = Precision::full}}};

}  // namespace
}  // namespace mxnet::contrib
