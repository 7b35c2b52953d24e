// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

namespace mxnet {

Error::~Error() = default;

}  // namespace mxnet
