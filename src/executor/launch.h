// SPDX-License-Identifier: Apache-2.0
// One run of a schedule as one engine operation: gathers pointers and variables, then runs on the calling thread if the
// work is small and its data is idle, else on the compute worker. The records are recycled.
#pragma once

#include <memory>
#include <vector>

#include "executor/schedule.h"
#include "ndarray/ndarray.h"

namespace mxnet {

class Plan;

struct LaunchRecord {
  Ref<Plan> owner;  // keeps the schedule
  const Schedule* schedule = nullptr;
  random::Stream stream;
  std::vector<void*> bases;
  std::vector<Ref<Chunk>> keep;
  std::vector<Var*> reads, writes;
};

class Launch {
 public:
  Launch(Ref<Plan> owner, const Schedule& schedule, int num_bases);
  ~Launch();
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  void read(int base, const NDArray& array);
  void write(int base, const NDArray& array);   // all of it
  void update(int base, const NDArray& array);  // reads and writes
  void go(const random::Stream& stream, Device device);

 private:
  void bind(int base, const NDArray& array);
  std::unique_ptr<LaunchRecord> record_;
};

}  // namespace mxnet
