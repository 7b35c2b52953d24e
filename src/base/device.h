// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace mxnet {

// The numbers are MXNet's own: they are written into array files.
enum class DeviceType : int32_t { cpu = 1, gpu = 2, cpu_pinned = 3, cpu_shared = 5 };

// A device context. `cpu(0)` and `cpu(1)` are distinct devices over the same cores.
struct Device {
  DeviceType type = DeviceType::cpu;
  int32_t id = 0;

  bool operator==(const Device&) const = default;
  bool is_cpu() const { return type != DeviceType::gpu; }
  std::string str() const;  // "cpu(0)"
};

}  // namespace mxnet
