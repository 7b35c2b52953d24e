// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "ops/tensor/sort_keys.h"
#include "ops/vision/box.h"
#include "ops/vision/suppress.h"
#include "ops/vision/vision.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct BoxNmsParams {
  float overlap_thresh = 0.5f;
  float valid_thresh = 0;
  int topk = -1;
  int coord_start = 2;
  int score_index = 1;
  int id_index = -1;
  int background_id = -1;
  bool force_suppress = false;
  BoxFormat in_format = BoxFormat::corner;
  BoxFormat out_format = BoxFormat::corner;

  static void declare(ParamSchemaOf<BoxNmsParams>& s) {
    using P = BoxNmsParams;
    s.field("overlap_thresh", &P::overlap_thresh, "Intersection over union above which the box of lower score goes.");
    s.field("valid_thresh", &P::valid_thresh, "Boxes whose score is not above it are left out.");
    s.field("topk", &P::topk, "How many boxes of the highest scores are looked at; -1: all, 0: data is returned.");
    s.field("coord_start", &P::coord_start, "Where in a row the four coordinates begin.");
    s.field("score_index", &P::score_index, "Where in a row the score is.");
    s.field("id_index", &P::id_index, "Where in a row the class is; -1: there is none.");
    s.field("background_id", &P::background_id, "Boxes of this class are left out.");
    s.field("force_suppress", &P::force_suppress, "Whether boxes of different classes suppress each other.");
    s.choice("in_format", &P::in_format, box_formats(), "Coordinates of data: corners, or center and extent.");
    s.choice("out_format", &P::out_format, box_formats(), "Coordinates of the output.");
  }
  bool by_class() const { return id_index >= 0 && !force_suppress; }
};

void infer_shape(InferContext& c) {
  const auto& p = c.as<BoxNmsParams>();
  c.merge_in(0, c.out[0].shape);
  const Shape& s = c.in[0].shape;
  if (!s.rank_known()) return;
  if (s.rank() < 2) c.bad(str("data must have at least 2 dimensions, boxes and their elements, got shape ", s));
  c.merge_out(0, s);
  Shape rows = s;
  rows.resize(s.rank() - 1, -1);
  c.merge_out(1, rows);
  const int64_t width = s.back();
  if (width < 0) return;
  const auto check = [&](const char* name, int at, int count) {
    if (at < 0 || at + count > width) c.bad(str(name, " ", at, " does not lie in a row of ", width, " elements"));
  };
  check("coord_start", p.coord_start, 4);
  check("score_index", p.score_index, 1);
  if (p.id_index >= 0) check("id_index", p.id_index, 1);
  for (const int at : {p.score_index, p.id_index}) {
    if (at >= p.coord_start && at < p.coord_start + 4) c.bad("score_index and id_index must not be coordinates");
  }
  if (p.id_index == p.score_index) c.bad("score_index and id_index must differ");
}

void infer_dtype(InferContext& c) {
  c.merge_out_dtype(1, DType::i32);
  c.merge_in_dtype(0, c.out[0].dtype);
  if (c.in[0].dtype == DType::unknown) return;
  if (!is_float(c.in[0].dtype)) c.bad(str("data must have a floating point dtype, got ", name_of(c.in[0].dtype)));
  c.merge_out_dtype(0, c.in[0].dtype);
}

// One set of boxes.
template <typename T>
class Rows {
 public:
  Rows(const BoxNmsParams& p, const T* data, int64_t n, int64_t width) : p_(p), data_(data), n_(n), width_(width) {}

  // Writes the rows that stay, then rows of -1; `source` (may be null): the row each one came from, or -1.
  void run(T* out, int32_t* source) {
    if (p_.topk == 0) {
      std::copy_n(data_, n_ * width_, out);
      for (int64_t i = 0; source && i < n_; ++i) source[i] = static_cast<int32_t>(i);
      return;
    }
    Item* items = memory_.get<Item>(static_cast<size_t>(n_));
    Item* other = memory_.get<Item>(static_cast<size_t>(n_));
    uint8_t* keep = memory_.get<uint8_t>(static_cast<size_t>(n_));
    count_ = order(items, other);
    if (p_.by_class())
      suppress_classes(items, other, keep);
    else
      suppress_group(items, nullptr, count_, keep);
    int64_t to = 0;
    for (int64_t i = 0; i < count_; ++i) {
      if (keep[i]) write(items[i].index, out, source, to++);
    }
    std::fill(out + to * width_, out + n_ * width_, T(-1));
    if (source) std::fill(source + to, source + n_, -1);
  }

 private:
  using Key = ops::sort_key_t<T>;
  using Item = ops::Keyed<Key>;

  const T* row(int64_t i) const { return data_ + i * width_; }
  // -0 and 0 are one class.
  T id(int64_t i) const { return row(i)[p_.id_index] + T(0); }

  // The valid rows by falling score.
  int64_t order(Item* items, Item* other) const {
    int64_t n = 0;
    for (int64_t i = 0; i < n_; ++i) {
      const T score = row(i)[p_.score_index];
      if (!(score > static_cast<T>(p_.valid_thresh))) continue;
      if (p_.id_index >= 0 && id(i) == static_cast<T>(p_.background_id)) continue;
      items[n++] = {ops::sort_key(score, false), static_cast<uint32_t>(i)};
    }
    const int64_t wanted = p_.topk > 0 ? std::min<int64_t>(n, p_.topk) : n;
    ops::sort_keyed(items, other, n, wanted);
    return wanted;
  }

  // Rows items[rank[i]] for i < n (rank null: items[i]), in order of falling score.
  void suppress_group(const Item* items, const Item* rank, int64_t n, uint8_t* keep) const {
    Scratch scratch;
    const auto boxes = BoxColumns<T>::in(scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), n);
    for (int64_t i = 0; i < n; ++i) {
      const auto box = Box<T>::read(row(items[rank ? rank[i].index : i].index) + p_.coord_start, p_.in_format);
      boxes.x0[i] = box.x0;
      boxes.y0[i] = box.y0;
      boxes.x1[i] = box.x1;
      boxes.y1[i] = box.y1;
      boxes.area[i] = box.area();
    }
    uint8_t* flags = rank ? scratch.get<uint8_t>(static_cast<size_t>(n)) : keep;
    suppress(boxes, n, {static_cast<double>(p_.overlap_thresh)},
             scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), flags);
    for (int64_t i = 0; rank && i < n; ++i) keep[rank[i].index] = flags[i];
  }

  // Classes one after the other: `by_class` holds the places in `items`, stably ordered by class.
  void suppress_classes(const Item* items, Item* by_class, uint8_t* keep) {
    Item* other = memory_.get<Item>(static_cast<size_t>(n_));
    for (int64_t i = 0; i < count_; ++i) {
      by_class[i] = {ops::sort_key(id(items[i].index), true), static_cast<uint32_t>(i)};
    }
    ops::sort_keyed(by_class, other, count_, count_);
    int64_t* starts = memory_.get<int64_t>(static_cast<size_t>(count_ + 1));
    int64_t groups = 0;
    for (int64_t i = 0; i < count_; ++i) {
      const T now = id(items[by_class[i].index].index);
      if (i == 0 || !(id(items[by_class[i - 1].index].index) == now)) starts[groups++] = i;  // NaN equals nothing
    }
    starts[groups] = count_;
    cpu::parallel_for(groups, grain_of(count_ / std::max<int64_t>(1, groups) * 50), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g)
        suppress_group(items, by_class + starts[g], starts[g + 1] - starts[g], keep);
    });
  }

  void write(int64_t from, T* out, int32_t* source, int64_t to) const {
    T* target = out + to * width_;
    std::copy_n(row(from), width_, target);
    if (p_.in_format != p_.out_format) {
      Box<T>::read(row(from) + p_.coord_start, p_.in_format).write(target + p_.coord_start, p_.out_format);
    }
    if (source) source[to] = static_cast<int32_t>(from);
  }

  Scratch memory_;
  const BoxNmsParams& p_;
  const T* data_;
  int64_t n_, width_, count_ = 0;
};

Prepared prepare(const PrepareArgs& a) {
  const Shape& s = a.in[0].shape;
  const int64_t width = s.back(), n = s[s.rank() - 2], batch = s.size(0, s.rank() - 2);
  if (n > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 boxes");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=](const KernelCall& c) {
      if (!c.out[0] && !c.out[1]) return;
      cpu::parallel_for(batch, grain_of(n * 60), [&](int64_t begin, int64_t end) {
        Scratch scratch;
        T* spare = c.out[0] ? nullptr : scratch.get<T>(static_cast<size_t>(n * width));
        for (int64_t b = begin; b < end; ++b) {
          T* out = c.out[0] ? static_cast<T*>(c.out[0]) + b * n * width : spare;
          int32_t* source = c.out[1] ? static_cast<int32_t*>(c.out[1]) + b * n : nullptr;
          Rows<T>(c.params->as<BoxNmsParams>(), static_cast<const T*>(c.in[0]) + b * n * width, n, width)
              .run(out, source);
        }
      });
    };
    return make_kernel(std::move(run), 200 + batch * n * 60 + batch * n * n / 64);
  });
}

// The gradient puts rows back where they came from, and its own gradient takes them from there.
template <bool kTake>
Prepared prepare_rows(const PrepareArgs& a) {
  const Shape& s = a.in[0].shape;
  const int64_t n = s[s.rank() - 2], batch = s.size(0, s.rank() - 2);
  const int64_t bytes = s.back() * size_of(a.in[0].dtype);
  auto run = [=](const KernelCall& c) {
    if (!c.out[0]) return;
    const char* from = static_cast<const char*>(c.in[0]);
    const int32_t* source = static_cast<const int32_t*>(c.in[1]);
    char* to = static_cast<char*>(c.out[0]);
    std::memset(to, 0, static_cast<size_t>(batch * n * bytes));
    for (int64_t i = 0; i < batch * n; ++i) {
      if (source[i] < 0 || source[i] >= n) continue;
      const int64_t whole = i / n * n + source[i];
      std::memcpy(to + (kTake ? i : whole) * bytes, from + (kTake ? whole : i) * bytes, static_cast<size_t>(bytes));
    }
  };
  return make_kernel(std::move(run), 100 + batch * n * (5 + bytes / 8));
}

void infer_rows_shape(InferContext& c) {
  const Shape& s = c.in[0].shape;
  if (!s.rank_known()) return;
  if (s.rank() < 2) c.bad(str("head must have at least 2 dimensions, got shape ", s));
  Shape rows = s;
  rows.erase(s.rank() - 1);
  c.merge_in(1, rows);
  c.merge_out(0, s);
}
void infer_rows_dtype(InferContext& c) {
  c.merge_in_dtype(1, DType::i32);
  c.merge_out_dtype(0, c.in[0].dtype);
}

const RegisterOp box_nms{{
    .name = "_contrib_box_nms",
    .doc =
        "Non-maximum suppression: of boxes that overlap too much, the one of the highest score stays.\n\n"
        "Shapes: data (..., boxes, elements), output the same: the rows that stay by falling score, then rows of -1. A "
        "row holds a score, four coordinates and perhaps a class; boxes of different classes do not suppress each "
        "other "
        "unless `force_suppress`. With `topk` 0 the output is data.\n"
        "The gradient goes to the rows that stay, unchanged.",
    .aliases = {"_contrib_box_non_maximum_suppression"},
    .params = schema_of<BoxNmsParams>(),
    .inputs = {"data"},
    .outputs = Outputs(1).with_residuals(1).named({"output0"}),
    .infer = {infer_shape, infer_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_box_nms", {g.head(0), g.output(1)});
                }).without_inputs(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

const RegisterOp backward_box_nms{{
    .name = "_backward_box_nms",
    .doc = "Gradient of _contrib_box_nms: rows go back where they came from.",
    .inputs = {"head", "source"},
    .infer = {infer_rows_shape, infer_rows_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_take_box_rows", {g.head(0), g.input(1)});
                }).without_outputs(),
    .kernels = {{"rows", prepare_rows<false>}},
    .flags = {.hidden = true},
}};

const RegisterOp take_box_rows{{
    .name = "_take_box_rows",
    .doc = "Gradient of _backward_box_nms.",
    .inputs = {"head", "source"},
    .infer = {infer_rows_shape, infer_rows_dtype},
    .gradient = Gradient([](GradientBuilder& g) {
                  g.give_all({0}, "_backward_box_nms", {g.head(0), g.input(1)});
                }).without_outputs(),
    .kernels = {{"rows", prepare_rows<true>}},
    .flags = {.hidden = true},
}};

}  // namespace
}  // namespace mxnet::vision
