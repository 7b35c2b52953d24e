// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "ops/tensor/sort_keys.h"
#include "ops/vision/box_coding.h"
#include "ops/vision/suppress.h"
#include "ops/vision/vision.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct MultiBoxDetectionParams {
  bool clip = true;
  float threshold = 0.01f;
  int background_id = 0;
  float nms_threshold = 0.5f;
  bool force_suppress = false;
  FloatTuple variances{0.1, 0.1, 0.2, 0.2};
  int nms_topk = -1;

  static void declare(ParamSchemaOf<MultiBoxDetectionParams>& s) {
    using P = MultiBoxDetectionParams;
    s.field("clip", &P::clip, "Whether boxes are cut at the image.");
    s.field("threshold", &P::threshold, "Boxes of lower probability are left out.");
    s.field("background_id", &P::background_id, "Has no effect: class 0 is the background.");
    s.field("nms_threshold", &P::nms_threshold,
            "Intersection over union from which on the box of lower score goes; not in (0, 1]: all stay, unordered.");
    s.field("force_suppress", &P::force_suppress, "Whether boxes of different classes suppress each other.");
    s.field("variances", &P::variances, "Factors of the four predicted numbers.");
    s.field("nms_topk", &P::nms_topk, "How many boxes of the highest scores may stay; not positive: all.");
    s.validate([](const P& p) {
      if (p.variances.size() != 4) fail(ErrorKind::value, "variances must have 4 entries, got ", p.variances.size());
    });
  }
  bool suppresses() const { return nms_threshold > 0 && nms_threshold <= 1; }
};

void infer_shape(InferContext& c) {
  check_rank(c, 0, 3, "(batch, classes, anchors)");
  check_rank(c, 1, 2, "(batch, 4 * anchors)");
  check_rank(c, 2, 3, "(1, anchors, 4)");
  const Shape& cls = c.in[0].shape;
  if (!cls.rank_known()) return;
  c.merge_in(1, {cls[0], cls[2] < 0 ? -1 : 4 * cls[2]});
  c.merge_in(2, {1, cls[2], 4});
  c.merge_out(0, {cls[0], cls[2], 6});
}

template <typename T>
class Image {
 public:
  Image(const MultiBoxDetectionParams& p, int64_t classes, int64_t anchors)
      : p_(p), classes_(classes), anchors_(anchors) {
    for (int k = 0; k < 4; ++k) variances_[k] = static_cast<T>(p.variances[static_cast<size_t>(k)]);
  }

  // Rows of (class, score, corners); rows of -1 behind them. The class of a box that goes is -1.
  void run(const T* scores, const T* codes, const T* anchors, T* out) {
    const int64_t n = collect(scores, codes, anchors, out);
    std::fill(out + n * 6, out + anchors_ * 6, T(-1));
    if (n == 0 || !p_.suppresses()) return;
    const int64_t looked = p_.nms_topk > 0 ? std::min<int64_t>(n, p_.nms_topk) : n;
    sort_rows(out, n, looked);
    for (int64_t i = looked; i < n; ++i) out[i * 6] = T(-1);
    if (p_.force_suppress) return suppress_rows(out, nullptr, looked);
    suppress_classes(out, looked);
  }

 private:
  using Item = ops::Keyed<ops::sort_key_t<T>>;

  int64_t collect(const T* scores, const T* codes, const T* anchors, T* out) {
    int64_t n = 0;
    for (int64_t i = 0; i < anchors_; ++i) {
      T best = T(-1);
      int64_t id = 0;
      for (int64_t c = 1; c < classes_; ++c) {
        const T score = scores[c * anchors_ + i];
        if (score > best) {
          best = score;
          id = c;
        }
      }
      if (id == 0 || best < static_cast<T>(p_.threshold)) continue;
      T* row = out + 6 * n++;
      row[0] = static_cast<T>(id - 1);
      row[1] = best;
      decode(codes + 4 * i, variances_, T(0), CenterBox<T>::of_corners(anchors + 4 * i), row + 2);
      if (p_.clip) {
        for (int k = 2; k < 6; ++k) row[k] = std::max(T(0), std::min(T(1), row[k]));
      }
    }
    return n;
  }

  // The first k rows become those of the highest scores; the others stay.
  void sort_rows(T* rows, int64_t n, int64_t k) {
    Item* items = memory_.get<Item>(static_cast<size_t>(n));
    T* copy = memory_.get<T>(static_cast<size_t>(6 * n));
    for (int64_t i = 0; i < n; ++i) items[i] = {ops::sort_key(rows[6 * i + 1], false), static_cast<uint32_t>(i)};
    ops::sort_keyed(items, memory_.get<Item>(static_cast<size_t>(n)), n, k);
    std::copy_n(rows, 6 * n, copy);
    for (int64_t i = 0; i < k; ++i) std::copy_n(copy + 6 * items[i].index, 6, rows + 6 * i);
  }

  void suppress_classes(T* rows, int64_t n) {
    Item* items = memory_.get<Item>(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) items[i] = {ops::sort_key(rows[6 * i], true), static_cast<uint32_t>(i)};
    ops::sort_keyed(items, memory_.get<Item>(static_cast<size_t>(n)), n, n);
    for (int64_t first = 0, i = 1; i <= n; ++i) {
      if (i < n && items[i].key == items[first].key) continue;
      suppress_rows(rows, items + first, i - first);
      first = i;
    }
  }

  // Rows order[i] for i < n (order null: i).
  void suppress_rows(T* rows, const Item* order, int64_t n) {
    Scratch scratch;
    const auto boxes = BoxColumns<T>::in(scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), n);
    const auto row = [&](int64_t i) { return rows + 6 * (order ? order[i].index : i); };
    for (int64_t i = 0; i < n; ++i) {
      const T* box = row(i) + 2;
      boxes.x0[i] = box[0];
      boxes.y0[i] = box[1];
      boxes.x1[i] = box[2];
      boxes.y1[i] = box[3];
      boxes.area[i] = box[2] < box[0] || box[3] < box[1] ? T(0) : (box[2] - box[0]) * (box[3] - box[1]);
    }
    uint8_t* keep = scratch.get<uint8_t>(static_cast<size_t>(n));
    // At the threshold a box goes.
    const double threshold = static_cast<double>(std::nextafter(static_cast<T>(p_.nms_threshold), T(0)));
    suppress(boxes, n, {threshold}, scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), keep);
    for (int64_t i = 0; i < n; ++i) {
      if (!keep[i]) row(i)[0] = T(-1);
    }
  }

  Scratch memory_;
  const MultiBoxDetectionParams& p_;
  int64_t classes_, anchors_;
  T variances_[4];
};

Prepared prepare(const PrepareArgs& a) {
  const int64_t batch = a.in[0].shape[0], classes = a.in[0].shape[1], anchors = a.in[0].shape[2];
  if (anchors > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 anchors");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    const int64_t cost = anchors * (classes + 40);
    auto run = [=](const KernelCall& c) {
      cpu::parallel_for(batch, grain_of(cost), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          Image<T>(c.params->as<MultiBoxDetectionParams>(), classes, anchors)
              .run(static_cast<const T*>(c.in[0]) + b * classes * anchors,
                   static_cast<const T*>(c.in[1]) + b * 4 * anchors, static_cast<const T*>(c.in[2]),
                   static_cast<T*>(c.out[0]) + b * 6 * anchors);
        }
      });
    };
    return make_kernel(std::move(run), 100 + batch * cost);
  });
}

const RegisterOp multibox_detection{{
    .name = "_contrib_MultiBoxDetection",
    .doc =
        "Detections from class probabilities and boxes relative to anchors, with non-maximum suppression.\n\n"
        "Shapes: cls_prob (batch, classes, anchors), class 0 is the background; loc_pred (batch, 4 * anchors); anchor "
        "(1, anchors, 4): corners; output (batch, anchors, 6): rows of class (from 0, without the background), score "
        "and corners by falling score, then rows of -1. Boxes that were suppressed, and those behind the first "
        "nms_topk (in no order), have class -1. The gradient is "
        "zero. (SSD, Liu et al. 2016.)",
    .params = schema_of<MultiBoxDetectionParams>(),
    .inputs = {"cls_prob", "loc_pred", "anchor"},
    .infer = {infer_shape, infer_float},
    .gradient = Gradient::zero(),
    .kernels = wide_kernels<prepare>(),
    .flags = {.precision = Precision::full},
}};

}  // namespace
}  // namespace mxnet::vision
