// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "ops/tensor/sort_keys.h"
#include "ops/vision/box.h"
#include "ops/vision/box_coding.h"
#include "ops/vision/vision.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct MultiBoxTargetParams {
  float overlap_threshold = 0.5f;
  float ignore_label = -1;
  float negative_mining_ratio = -1;
  float negative_mining_thresh = 0.5f;
  int minimum_negative_samples = 0;
  FloatTuple variances{0.1, 0.1, 0.2, 0.2};

  static void declare(ParamSchemaOf<MultiBoxTargetParams>& s) {
    using P = MultiBoxTargetParams;
    s.field("overlap_threshold", &P::overlap_threshold,
            "Intersection over union above which an anchor belongs to a box; not positive: only the best of each box.");
    s.field("ignore_label", &P::ignore_label, "Class target of anchors that are neither positive nor negative.");
    s.field("negative_mining_ratio", &P::negative_mining_ratio,
            "Negative anchors per positive one, the hardest ones; not positive: all that are not positive.");
    s.field("negative_mining_thresh", &P::negative_mining_thresh, "Mined anchors overlap every box by less than that.");
    s.field("minimum_negative_samples", &P::minimum_negative_samples, "Has no effect.");
    s.field("variances", &P::variances, "Divisors of the four target numbers.");
    s.validate([](const P& p) {
      if (p.variances.size() != 4) fail(ErrorKind::value, "variances must have 4 entries, got ", p.variances.size());
    });
  }
};

void infer_shape(InferContext& c) {
  check_rank(c, 0, 3, "(1, anchors, 4)");
  check_rank(c, 1, 3, "(batch, boxes, 5 or more)");
  check_rank(c, 2, 3, "(batch, classes, anchors)");
  c.merge_in(0, {1, -1, 4});
  const Shape& label = c.in[1].shape;
  if (label.rank_known() && label[2] >= 0 && label[2] < 5) {
    c.bad(str("label must have shape (batch, boxes, 5 or more), got ", label));
  }
  const int64_t anchors = c.in[0].shape[1];
  c.merge_in(2, {label.rank_known() ? label[0] : -1, -1, anchors});
  if (!label.rank_known()) return;
  for (int i = 0; i < 2; ++i) c.merge_out(i, {label[0], anchors < 0 ? -1 : 4 * anchors});
  c.merge_out(2, {label[0], anchors});
}

struct Extents {
  int64_t anchors, boxes, label_width, classes;
};

enum State : int8_t { ignored, negative, positive };

// One image: which anchor belongs to which box.
template <typename T>
class Matching {
 public:
  Matching(const MultiBoxTargetParams& p, const Extents& e, const T* anchors, const T* labels)
      : p_(p), e_(e), anchors_(anchors), labels_(labels) {
    while (boxes_ < e.boxes && label(boxes_)[0] != T(-1)) ++boxes_;
    const auto n = static_cast<size_t>(e.anchors);
    state = memory_.get<int8_t>(n);
    match = memory_.get<int64_t>(n);
    best_ = memory_.get<T>(n);
    overlap_ = memory_.get<T>(n * static_cast<size_t>(boxes_));
    std::fill_n(state, n, int8_t{ignored});
  }

  const T* label(int64_t box) const { return labels_ + box * e_.label_width; }

  // False: the image has no boxes, and all its anchors are ignored.
  bool run(const T* scores) {
    if (boxes_ == 0) return false;
    measure();
    pair_up();
    if (p_.overlap_threshold > 0) {
      for (int64_t i = 0; i < e_.anchors; ++i) {
        if (state[i] == positive || !(best_[i] > static_cast<T>(p_.overlap_threshold))) continue;
        state[i] = positive;
        ++positives_;
      }
    }
    if (p_.negative_mining_ratio > 0)
      mine(scores);
    else
      std::replace(state, state + e_.anchors, int8_t{ignored}, int8_t{negative});
    return true;
  }

  int8_t* state;   // of each anchor
  int64_t* match;  // its box

 private:
  using Item = ops::Keyed<ops::sort_key_t<T>>;

  void measure() {
    for (int64_t i = 0; i < e_.anchors; ++i) {
      const auto anchor = Box<T>::read(anchors_ + 4 * i, BoxFormat::corner);
      T* row = overlap_ + i * boxes_;
      for (int64_t j = 0; j < boxes_; ++j) row[j] = iou(anchor, Box<T>::read(label(j) + 1, BoxFormat::corner));
      match[i] = std::max_element(row, row + boxes_) - row;
      best_[i] = row[match[i]];
    }
  }

  // Each box takes an anchor of its own, the pair of the largest overlap first. `front[j]` is the best free anchor of
  // box j; it is sought again when another box has taken that anchor.
  void pair_up() {
    int64_t* front = memory_.get<int64_t>(static_cast<size_t>(boxes_));
    for (int64_t j = 0; j < boxes_; ++j) front[j] = best_anchor(j);
    for (int64_t round = 0; round < boxes_; ++round) {
      int64_t box = -1;
      for (int64_t j = 0; j < boxes_; ++j) {
        if (front[j] >= 0 && (box < 0 || before(front[j], j, front[box], box))) box = j;
      }
      if (box < 0) return;
      const int64_t anchor = front[box];
      state[anchor] = positive;
      match[anchor] = box;
      ++positives_;
      front[box] = -1;
      for (int64_t j = 0; j < boxes_; ++j) {
        if (front[j] == anchor) front[j] = best_anchor(j);
      }
    }
  }

  T overlap(int64_t anchor, int64_t box) const { return overlap_[anchor * boxes_ + box]; }
  bool before(int64_t anchor, int64_t box, int64_t other_anchor, int64_t other_box) const {
    const T a = overlap(anchor, box), b = overlap(other_anchor, other_box);
    return a != b ? a > b : anchor < other_anchor;
  }
  int64_t best_anchor(int64_t box) const {
    int64_t best = -1;
    T most = T(1e-6);
    for (int64_t i = 0; i < e_.anchors; ++i) {
      if (state[i] == positive || !(overlap(i, box) > most)) continue;
      most = overlap(i, box);
      best = i;
    }
    return best;
  }

  // Makes those free anchors negative whose background probability is lowest.
  void mine(const T* scores) {
    const double wanted = static_cast<double>(positives_) * static_cast<double>(p_.negative_mining_ratio);
    const int64_t most = e_.anchors - positives_;
    const int64_t count = wanted < static_cast<double>(most) ? static_cast<int64_t>(wanted) : most;
    if (count <= 0) return;
    Item* items = memory_.get<Item>(static_cast<size_t>(e_.anchors));
    int64_t n = 0;
    for (int64_t i = 0; i < e_.anchors; ++i) {
      if (state[i] == positive || !(best_[i] < static_cast<T>(p_.negative_mining_thresh))) continue;
      items[n++] = {ops::sort_key(background(scores, i), true), static_cast<uint32_t>(i)};
    }
    const int64_t taken = std::min(n, count);
    ops::sort_keyed(items, memory_.get<Item>(static_cast<size_t>(e_.anchors)), n, taken);
    for (int64_t i = 0; i < taken; ++i) state[items[i].index] = negative;
  }

  T background(const T* scores, int64_t anchor) const {
    T largest = scores[anchor], sum = 0;
    for (int64_t c = 1; c < e_.classes; ++c) largest = std::max(largest, scores[c * e_.anchors + anchor]);
    for (int64_t c = 0; c < e_.classes; ++c) sum += std::exp(scores[c * e_.anchors + anchor] - largest);
    return std::exp(scores[anchor] - largest) / sum;
  }

  Scratch memory_;
  const MultiBoxTargetParams& p_;
  const Extents& e_;
  const T* anchors_;
  const T* labels_;
  int64_t boxes_ = 0, positives_ = 0;
  T* best_;     // of each anchor the largest overlap with a box
  T* overlap_;  // (anchors, boxes)
};

// Where the results of one image go; null: not asked for.
template <typename T>
struct Targets {
  T *loc, *mask, *cls;
};

template <typename T>
void write_targets(const MultiBoxTargetParams& p, const Extents& e, const T* anchors, const T* labels, const T* scores,
                   const Targets<T>& to) {
  if (to.loc) std::fill_n(to.loc, 4 * e.anchors, T(0));
  if (to.mask) std::fill_n(to.mask, 4 * e.anchors, T(0));
  if (to.cls) std::fill_n(to.cls, e.anchors, static_cast<T>(p.ignore_label));
  Matching<T> matching(p, e, anchors, labels);
  if (!matching.run(scores)) return;
  for (int64_t i = 0; i < e.anchors; ++i) {
    if (matching.state[i] == negative && to.cls) to.cls[i] = 0;
    if (matching.state[i] != positive) continue;
    const T* label = matching.label(matching.match[i]);
    if (to.cls) to.cls[i] = label[0] + 1;
    if (to.mask) std::fill_n(to.mask + 4 * i, 4, T(1));
    if (!to.loc) continue;
    encode(CenterBox<T>::of_corners(label + 1), CenterBox<T>::of_corners(anchors + 4 * i), to.loc + 4 * i);
    for (int k = 0; k < 4; ++k) to.loc[4 * i + k] /= static_cast<T>(p.variances[static_cast<size_t>(k)]);
  }
}

Prepared prepare(const PrepareArgs& a) {
  const int64_t batch = a.in[1].shape[0];
  const Extents e{a.in[0].shape[1], a.in[1].shape[1], a.in[1].shape[2], a.in[2].shape[1]};
  if (e.anchors > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 anchors");
  if (e.classes == 0) fail(ErrorKind::value, a.op.name, ": cls_pred must have at least one class");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t cost = e.anchors * (40 + 6 * e.boxes);
    auto run = [=](const KernelCall& c) {
      cpu::parallel_for(batch, grain_of(cost), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          const auto out = [&](int k, int64_t size) {
            return c.out[k] ? static_cast<T*>(c.out[k]) + b * size : nullptr;
          };
          write_targets<T>(c.params->as<MultiBoxTargetParams>(), e, static_cast<const T*>(c.in[0]),
                           static_cast<const T*>(c.in[1]) + b * e.boxes * e.label_width,
                           static_cast<const T*>(c.in[2]) + b * e.classes * e.anchors,
                           {out(0, 4 * e.anchors), out(1, 4 * e.anchors), out(2, e.anchors)});
        }
      });
    };
    return make_kernel(std::move(run), 100 + batch * cost);
  });
}

const RegisterOp multibox_target{{
    .name = "_contrib_MultiBoxTarget",
    .doc = "Training targets of a detector: matches anchors with labelled boxes.\n\n"
           "Shapes: anchor (1, anchors, 4): corners; label (batch, boxes, 5 or more): rows of class and corners, ended "
           "by a "
           "class of -1; cls_pred (batch, classes, anchors), class 0 is the background. Outputs: box targets and their "
           "mask "
           "(batch, 4 * anchors), class targets (batch, anchors): class + 1, 0 for the background, or ignore_label.\n"
           "Each box takes the free anchor of the largest overlap; other anchors join the box that they overlap by "
           "more than "
           "overlap_threshold. All anchors of an image without boxes are ignored. Where there are too few anchors to "
           "mine, all "
           "of them become negative (1.9.1 fails). The gradient is zero. (SSD, Liu et al. 2016.)",
    .params = schema_of<MultiBoxTargetParams>(),
    .inputs = {"anchor", "label", "cls_pred"},
    .outputs = Outputs(3).named({"loc_target", "loc_mask", "cls_target"}),
    .infer = {infer_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
