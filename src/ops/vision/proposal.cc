// SPDX-License-Identifier: Apache-2.0
// Region proposals (Faster R-CNN, Ren et al. 2015): anchors moved by predictions, the best ones without those that
// overlap them.
#include <cmath>

#include "ops/tensor/sort_keys.h"
#include "ops/vision/suppress.h"
#include "ops/vision/vision.h"
#include "resource/scratch.h"

namespace mxnet::vision {
namespace {

struct ProposalParams {
  int rpn_pre_nms_top_n = 6000;
  int rpn_post_nms_top_n = 300;
  float threshold = 0.7f;
  int rpn_min_size = 16;
  FloatTuple scales{4, 8, 16, 32};
  FloatTuple ratios{0.5, 1, 2};
  int feature_stride = 16;
  bool output_score = false;
  bool iou_loss = false;

  static void declare(ParamSchemaOf<ProposalParams>& s) {
    using P = ProposalParams;
    s.field("rpn_pre_nms_top_n", &P::rpn_pre_nms_top_n,
            "How many boxes of the highest scores are looked at; not positive: all.");
    s.field("rpn_post_nms_top_n", &P::rpn_post_nms_top_n, "How many boxes an image gets.").range(0, 1e9);
    s.field("threshold", &P::threshold, "Intersection over union above which the box of lower score goes.");
    s.field("rpn_min_size", &P::rpn_min_size, "Boxes that are smaller, in pixels of the unscaled image, come last.");
    s.field("scales", &P::scales, "Sizes of anchors, in strides.");
    s.field("ratios", &P::ratios, "Ratios of height to width of anchors.");
    s.field("feature_stride", &P::feature_stride, "Pixels of the image per pixel of data.").range(1, 1e6);
    s.field("output_score", &P::output_score, "Whether the scores are an output.");
    s.field("iou_loss", &P::iou_loss, "Whether predictions are offsets of corners; else of center and log of size.");
    s.validate([](const P& p) {
      for (const FloatTuple* list : {&p.scales, &p.ratios}) {
        const bool positive = std::all_of(list->begin(), list->end(), [](double v) { return v > 0; });
        if (list->empty() || !positive) fail(ErrorKind::value, "scales and ratios must be positive and not empty");
      }
    });
  }
  int64_t anchors() const { return static_cast<int64_t>(scales.size() * ratios.size()); }
};

// The anchors around the first pixel: (x0, y0, x1, y1), ends included, for each ratio all scales.
std::vector<double> base_anchors(const ProposalParams& p) {
  const double stride = p.feature_stride, center = (stride - 1) / 2;
  std::vector<double> list;
  for (const double ratio : p.ratios) {
    const double width = std::floor(std::sqrt(std::floor(stride * stride / ratio)) + 0.5);
    const double height = std::floor(width * ratio + 0.5);
    for (const double scale : p.scales) {
      const double x = (width * scale - 1) / 2, y = (height * scale - 1) / 2;
      list.insert(list.end(), {center - x, center - y, center + x, center + y});
    }
  }
  return list;
}

struct Extents {
  int64_t batch, anchors, height, width;
  int64_t boxes() const { return anchors * height * width; }
};

template <typename T>
class Image {
 public:
  Image(const ProposalParams& p, const Extents& e, const std::vector<double>& base, const T* info)
      : p_(p), e_(e), base_(base), height_(info[0]), width_(info[1]), min_size_(T(p.rpn_min_size) * info[2]) {}

  // Writes rows of (image, corners) and, unless null, scores. Too few boxes are repeated in turn.
  void run(const T* scores, const T* deltas, int64_t image, T* rois, T* roi_scores) {
    const int64_t n = e_.boxes(), wanted = p_.rpn_post_nms_top_n;
    T* boxes = memory_.get<T>(static_cast<size_t>(4 * n));
    Item* items = memory_.get<Item>(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      items[i] = {ops::sort_key(predict(scores, deltas, i, boxes + 4 * i), false), static_cast<uint32_t>(i)};
    }
    const int64_t looked = p_.rpn_pre_nms_top_n > 0 ? std::min<int64_t>(n, p_.rpn_pre_nms_top_n) : n;
    ops::sort_keyed(items, memory_.get<Item>(static_cast<size_t>(n)), n, looked);
    const int64_t kept = suppress_boxes(boxes, items, looked, std::min(wanted, looked));
    T spare[4];
    for (int64_t i = 0; i < wanted; ++i) {
      const int64_t from = kept > 0 ? items[i % kept].index : -1;
      T* row = rois ? rois + 5 * i : nullptr;
      if (row) {
        row[0] = T(image);
        for (int k = 0; k < 4; ++k) row[k + 1] = from < 0 ? T(0) : boxes[4 * from + k];
      }
      if (roi_scores) roi_scores[i] = from < 0 ? T(-1) : predict(scores, deltas, from, spare);
    }
  }

 private:
  using Item = ops::Keyed<ops::sort_key_t<T>>;

  // Box i (anchors fastest, then columns); gives its score, -1 for those that come last.
  T predict(const T* scores, const T* deltas, int64_t i, T* box) const {
    const int64_t anchor = i % e_.anchors, pixel = i / e_.anchors, plane = e_.height * e_.width;
    const int64_t y = pixel / e_.width, x = pixel % e_.width;
    T d[4];
    for (int64_t k = 0; k < 4; ++k) {
      d[k] = deltas[(4 * anchor + k) * plane + pixel];
      const double shift = static_cast<double>((k % 2 ? y : x) * p_.feature_stride);
      box[k] = static_cast<T>(base_[static_cast<size_t>(4 * anchor + k)] + shift);
    }
    move(d, box);
    for (int k = 0; k < 4; ++k) box[k] = std::max(std::min(box[k], (k % 2 ? height_ : width_) - 1), T(0));
    T score = scores[(e_.anchors + anchor) * plane + pixel];
    // Pixels that the padding of a batch has added.
    if (T(y + 1) * T(p_.feature_stride) > height_ || T(x + 1) * T(p_.feature_stride) > width_) score = T(-1);
    if (box[2] - box[0] + 1 < min_size_ || box[3] - box[1] + 1 < min_size_) {
      for (int k = 0; k < 4; ++k) box[k] += (k < 2 ? -min_size_ : min_size_) / 2;
      score = T(-1);
    }
    return score;
  }

  void move(const T* d, T* box) const {
    if (p_.iou_loss) {
      for (int k = 0; k < 4; ++k) box[k] += d[k];
      return;
    }
    for (int k = 0; k < 2; ++k) {
      const T extent = box[k + 2] - box[k] + 1, center = box[k] + (extent - 1) / 2;
      const T moved = d[k] * extent + center, half = (std::exp(d[k + 2]) * extent - 1) / 2;
      box[k] = moved - half;
      box[k + 2] = moved + half;
    }
  }

  // Moves the items that stay to the front.
  int64_t suppress_boxes(const T* boxes, Item* items, int64_t n, int64_t most) const {
    Scratch scratch;
    const auto columns = BoxColumns<T>::in(scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), n);
    for (int64_t i = 0; i < n; ++i) {
      const T* box = boxes + 4 * static_cast<int64_t>(items[i].index);
      columns.x0[i] = box[0];
      columns.y0[i] = box[1];
      columns.x1[i] = box[2];
      columns.y1[i] = box[3];
      columns.area[i] = (box[2] - box[0] + 1) * (box[3] - box[1] + 1);
    }
    uint8_t* keep = scratch.get<uint8_t>(static_cast<size_t>(n));
    suppress(columns, n, {static_cast<double>(p_.threshold), 1},
             scratch.get<T>(static_cast<size_t>(n * BoxColumns<T>::kColumns)), keep, most);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (keep[i]) items[kept++] = items[i];
    }
    return kept;
  }

  Scratch memory_;
  const ProposalParams& p_;
  const Extents& e_;
  const std::vector<double>& base_;
  T height_, width_, min_size_;
};

Prepared prepare(const PrepareArgs& a) {
  const auto& p = a.as<ProposalParams>();
  const Shape& s = a.in[0].shape;
  const Extents e{s[0], p.anchors(), s[2], s[3]};
  if (e.boxes() > INT32_MAX) fail(ErrorKind::not_supported, a.op.name, ": more than 2^31 boxes");
  return for_wide_floats(a.in[0].dtype, [&]<typename T>(TypeTag<T>) -> Prepared {
    auto run = [=, base = base_anchors(p)](const KernelCall& c) {
      const auto& params = c.params->as<ProposalParams>();
      const int64_t rows = params.rpn_post_nms_top_n;
      cpu::parallel_for(e.batch, grain_of(e.boxes() * 60), [&](int64_t begin, int64_t end) {
        for (int64_t n = begin; n < end; ++n) {
          Image<T>(params, e, base, static_cast<const T*>(c.in[2]) + 3 * n)
              .run(static_cast<const T*>(c.in[0]) + n * 2 * e.boxes(),
                   static_cast<const T*>(c.in[1]) + n * 4 * e.boxes(), n,
                   c.out[0] ? static_cast<T*>(c.out[0]) + n * rows * 5 : nullptr,
                   params.output_score && c.out[1] ? static_cast<T*>(c.out[1]) + n * rows : nullptr);
        }
      });
    };
    return make_kernel(std::move(run), 500 + e.batch * e.boxes() * 100);
  });
}

void infer_shape(InferContext& c) {
  const auto& p = c.as<ProposalParams>();
  for (int i : {0, 1}) check_rank(c, i, 4, "(batch, channels, height, width)");
  c.merge_in(0, {-1, 2 * p.anchors(), -1, -1});
  const Shape& scores = c.in[0].shape;
  c.merge_in(1, {scores[0], 4 * p.anchors(), scores[2], scores[3]});
  c.merge_in(2, {scores[0], 3});
  if (c.op.name == "_contrib_Proposal" && scores[0] > 1) {
    c.bad(str("takes one image, cls_prob has ", scores[0], "; MultiProposal takes more"));
  }
  const int64_t rows = scores[0] < 0 ? -1 : scores[0] * p.rpn_post_nms_top_n;
  c.merge_out(0, {rows, 5});
  if (p.output_score) c.merge_out(1, {rows, 1});
}

OpDef proposal_op(const char* name, const char* doc) {
  return {.name = name,
          .doc = doc,
          .params = schema_of<ProposalParams>(),
          .inputs = {"cls_prob", "bbox_pred", "im_info"},
          .outputs = Outputs([](const Params& p) {
                       return p.as<ProposalParams>().output_score ? 2 : 1;
                     }).named({"output", "score"}),
          .infer = {infer_shape, infer_float},
          .gradient = Gradient::zero(),
          .kernels = wide_kernels<prepare>(),
          .flags = {.precision = Precision::full}};
}

const RegisterOp proposal{proposal_op(
    "_contrib_Proposal",
    "Regions that may hold an object, from scores and offsets of anchors (Faster R-CNN, Ren et al. 2015).\n\n"
    "Shapes: cls_prob (1, 2 * anchors, height, width), the second half are scores of objects; bbox_pred (1, 4 * "
    "anchors, "
    "height, width); im_info (1, 3): height, width and scale of the image; outputs: (rpn_post_nms_top_n, 5): rows of "
    "image, "
    "x0, y0, x1, y1, and with output_score (rpn_post_nms_top_n, 1). Where fewer boxes stay they are repeated in turn. "
    "The "
    "gradient is zero.")};
const RegisterOp multi_proposal{proposal_op(
    "_contrib_MultiProposal",
    "Proposal for a batch of images: outputs (batch * rpn_post_nms_top_n, 5) and, with output_score, scores.")};

}  // namespace
}  // namespace mxnet::vision
