// SPDX-License-Identifier: Apache-2.0
// Parameters and extents of dot, which dense and sparse operands share.
#pragma once

#include "ops/nn/matrix_product.h"

namespace mxnet::nn {

enum class ForwardStype { none, csr, dense, row_sparse };

struct DotParams {
  bool transpose_a = false;
  bool transpose_b = false;
  ForwardStype forward_stype = ForwardStype::none;

  static void declare(ParamSchemaOf<DotParams>& s) {
    s.field("transpose_a", &DotParams::transpose_a, "Whether the first operand is transposed.");
    s.field("transpose_b", &DotParams::transpose_b, "Whether the second operand is transposed.");
    s.choice("forward_stype", &DotParams::forward_stype,
             {{"None", ForwardStype::none},
              {"csr", ForwardStype::csr},
              {"default", ForwardStype::dense},
              {"row_sparse", ForwardStype::row_sparse}},
             "Storage type of the result where operands are sparse.");
  }
};

inline int contracted_a(const Shape& a, const DotParams& p) { return p.transpose_a ? 0 : a.rank() - 1; }
inline int contracted_b(const Shape& b, const DotParams& p) { return p.transpose_b ? b.rank() - 1 : 0; }

inline ProductDims dot_dims(const Shape& a, const Shape& b, const DotParams& p) {
  const int axis_a = contracted_a(a, p), axis_b = contracted_b(b, p);
  return {.m = a.size(0, axis_a) * a.size(axis_a + 1, a.rank()),
          .n = b.size(0, axis_b) * b.size(axis_b + 1, b.rank()),
          .k = a[axis_a],
          .trans_a = p.transpose_a && a.rank() > 1,
          .trans_b = p.transpose_b || b.rank() == 1};
}

}  // namespace mxnet::nn
