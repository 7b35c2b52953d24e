// SPDX-License-Identifier: Apache-2.0
// _cvcopyMakeBorder: an image with a border around it.
#include <algorithm>
#include <vector>

#include "backend/cpu/parallel.h"
#include "ops/image/image.h"

namespace mxnet::image {
namespace {

// The numbers are OpenCV's.
enum class Border : int { constant = 0, replicate = 1, reflect = 2, wrap = 3, reflect_101 = 4 };

struct BorderParams {
  int64_t top = 0, bot = 0, left = 0, right = 0, type = 0;
  double value = 0;
  FloatTuple values;
  static void declare(ParamSchemaOf<BorderParams>& s) {
    s.field("top", &BorderParams::top, "Rows above.").type("int").range(0, kMaxSide).required();
    s.field("bot", &BorderParams::bot, "Rows below.").type("int").range(0, kMaxSide).required();
    s.field("left", &BorderParams::left, "Columns on the left.").type("int").range(0, kMaxSide).required();
    s.field("right", &BorderParams::right, "Columns on the right.").type("int").range(0, kMaxSide).required();
    s.field("type", &BorderParams::type,
            "0: a constant, 1: the edge, 2: mirrored (cba|abc), 3: the other side, 4: mirrored at the edge (cb|abc).")
        .type("int")
        .range(0, 4);
    s.field("value", &BorderParams::value, "The constant, of all channels.");
    s.field("values", &BorderParams::values, "The constant, one for each channel.").type("tuple of <double>");
  }
};

void infer_border(InferContext& c) {
  if (!check_images(c)) return;
  Shape out = c.in[0].shape;
  if (out.rank() != 3) c.bad(str("src must have shape (height, width, channels), got ", out));
  const auto& p = c.as<BorderParams>();
  const auto n = static_cast<int64_t>(p.values.size());
  if (n != 0 && n != out[2]) c.bad(str("values must have ", out[2], " entries, got ", n));
  if (p.type != 0 && (out[0] == 0 || out[1] == 0)) c.bad(str("src of shape ", out, " has no pixels to continue"));
  out[0] += p.top + p.bot;
  out[1] += p.left + p.right;
  c.merge_out(0, out);
}

// Where the border at `at`, outside [0, n), takes its values from; -1: the constant.
int64_t source_of(int64_t at, int64_t n, Border border) {
  if (at >= 0 && at < n) return at;
  switch (border) {
    case Border::constant: return -1;
    case Border::replicate: return at < 0 ? 0 : n - 1;
    case Border::wrap: return ((at % n) + n) % n;
    default: break;
  }
  if (n == 1) return 0;
  const int64_t skip = border == Border::reflect_101 ? 1 : 0, period = 2 * (n - skip);
  at = ((at % period) + period) % period;
  return at < n ? at : period - 1 - at + skip;
}

std::vector<int64_t> sources(int64_t before, int64_t n, int64_t after, Border border) {
  std::vector<int64_t> list;
  for (int64_t i = -before; i < n + after; ++i) list.push_back(source_of(i, n, border));
  return list;
}

Prepared prepare_border(const PrepareArgs& args) {
  const auto& p = args.as<BorderParams>();
  const Images from(args.in[0].shape), to(args.out[0].shape);
  const auto border = static_cast<Border>(p.type);
  const std::vector<int64_t> rows = sources(p.top, from.height, p.bot, border),
                             columns = sources(p.left, from.width, p.right, border);
  std::vector<double> values = p.values;
  if (values.empty()) values.assign(static_cast<size_t>(from.channels), p.value);
  return make_kernel(
      [=, left = from.width > 0 ? p.left : -1, dtype = args.in[0].dtype](const KernelCall& c) {
        dispatch_numbers(dtype, [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* in = static_cast<const T*>(c.in[0]);
          T* out = static_cast<T*>(c.out[0]);
          const int64_t grain = std::max<int64_t>(1, 16384 / std::max<int64_t>(to.row(), 1));
          cpu::parallel_for(to.height, grain, [&](int64_t begin, int64_t end) {
            for (int64_t y = begin; y < end; ++y) {
              const int64_t row = rows[static_cast<size_t>(y)];
              for (int64_t x = 0; x < to.width; ++x) {
                if (x == left && row >= 0) {  // the image's own columns
                  std::copy_n(in + row * from.row(), from.row(), out + y * to.row() + left * to.channels);
                  x += from.width - 1;
                  continue;
                }
                const int64_t column = columns[static_cast<size_t>(x)];
                const bool inside = row >= 0 && column >= 0;
                const T* pixel = in + (row * from.width + column) * from.channels;
                for (int64_t k = 0; k < to.channels; ++k) {
                  out[(y * to.width + x) * to.channels + k] =
                      inside ? pixel[k] : to_nearest_pixel<T>(values[static_cast<size_t>(k)]);
                }
              }
            }
          });
        });
      },
      100 + to.size());
}

const RegisterOp border{{.name = "_cvcopyMakeBorder",
                         .doc = "An image (h, w, c) with `top`, `bot`, `left` and `right` rows and columns around it.",
                         .params = schema_of<BorderParams>(),
                         .inputs = {"src"},
                         .infer = {infer_border, infer_same_dtype},
                         .gradient = Gradient::none(),
                         .kernels = {{"pixels", prepare_border}}}};

}  // namespace
}  // namespace mxnet::image
