// SPDX-License-Identifier: Apache-2.0
// Sums over the devices of a group: each device gives an array of the same size and receives the sum of all.
#pragma once

#include <string>

#include "ndarray/ndarray.h"

namespace mxnet::autograd {

struct SyncGroup {
  std::string key;  // calls with one key belong together; the k-th call on each device meets the k-th on the others
  int devices = 1;
};

// Queues this device's part and returns the array that the sum will be in; float32 and float64. Adds in the order of
// the devices' numbers. A group that is not complete in time (MXNET_SYNC_TIMEOUT), or one of whose parts failed, fails
// for all.
NDArray sync_sum(const SyncGroup& group, const NDArray& part);

}  // namespace mxnet::autograd
