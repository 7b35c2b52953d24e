// SPDX-License-Identifier: Apache-2.0
#include "base/device.h"

namespace mxnet {

std::string Device::str() const {
  const char* name = "cpu";
  switch (type) {
    case DeviceType::cpu: name = "cpu"; break;
    case DeviceType::gpu: name = "gpu"; break;
    case DeviceType::cpu_pinned: name = "cpu_pinned"; break;
    case DeviceType::cpu_shared: name = "cpu_shared"; break;
  }
  return std::string(name) + "(" + std::to_string(id) + ")";
}

}  // namespace mxnet
