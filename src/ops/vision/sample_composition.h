// SPDX-License-Identifier: Apache-2.0
// Bilinear samples as a composition of operators, for gradients of higher order.
#pragma once

#include "operator/composition.h"

namespace mxnet::vision {

// Samples of images (batch, channels, height, width) at points y, x (batch, points), in pixels: (batch, points,
// channels). Pixels outside of an image are 0.
Term sample_composed(const Term& images, const Term& y, const Term& x);

}  // namespace mxnet::vision
