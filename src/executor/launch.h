// SPDX-License-Identifier: Apache-2.0
// One run of a schedule as one engine operation: gathers pointers and variables, then runs on the calling thread if the
// work is small and its data is idle, else on the compute worker. The arrays that are named must live until `go`
// returns.
#pragma once

#include "base/small_array.h"
#include "executor/schedule.h"
#include "ndarray/ndarray.h"

namespace mxnet {

class Plan;

class Launch {
 public:
  // `owner` keeps the schedule.
  Launch(Plan& owner, const Schedule& schedule, int num_bases);
  Launch(const Launch&) = delete;
  Launch& operator=(const Launch&) = delete;

  void read(int base, const NDArray& array);
  void write(int base, const NDArray& array);   // all of it
  void update(int base, const NDArray& array);  // reads and writes
  // The arrays must live until it returns.
  void go(const random::Stream& stream, Device device);

 private:
  template <typename T>
  using List = SmallArray<T, 16>;

  void bind(int base, const NDArray& array);
  void add_read(const NDArray& array) { reads_[num_reads_++] = &array.var(); }
  bool run_inline(const random::Stream& stream);
  void queue(const random::Stream& stream, Device device);
  std::span<Var* const> reads() const { return {reads_.data(), num_reads_}; }
  std::span<Var* const> writes() const { return {writes_.data(), num_writes_}; }

  Plan& owner_;
  const Schedule& schedule_;
  List<void*> bases_;
  List<Chunk*> chunks_;
  List<Var*> reads_, writes_;
  List<Chunk*> written_;
  size_t num_chunks_ = 0, num_reads_ = 0, num_writes_ = 0, num_written_ = 0;
};

}  // namespace mxnet
