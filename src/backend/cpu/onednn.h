// SPDX-License-Identifier: Apache-2.0
// What our kernels need of oneDNN: one engine, a stream per thread, and primitives that are called with raw pointers.
// Primitives are made while a kernel is prepared and are shared by threads when it runs.
#pragma once

#include <dnnl.hpp>

#include <atomic>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/shape.h"

namespace mxnet::onednn {

using Desc = dnnl::memory::desc;

const dnnl::engine& engine();

// oneDNN's name of a dtype; `undef` where it has none (float64, int64).
dnnl::memory::data_type type_of(DType dtype);
// float32, or bfloat16 where this processor computes it natively.
bool computes(DType dtype);

// Logical (N, C, spatial...) dimensions, stored as `layout` says.
Desc describe(const Shape& shape, DType dtype, Layout layout = Layout::plain);
Desc any_layout(const Shape& shape, DType dtype);
Desc with_strides(const Shape& shape, DType dtype, const Shape& strides);

// Attributes with the scratch memory in the caller's hands.
dnnl::primitive_attr user_scratch();

// oneDNN may settle the thread count when a primitive is created, and opens OpenMP regions when it runs: both happen
// inside a scope of the team that the kernel was prepared for.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int saved_;
};

// A primitive with its argument slots. `run` is const and safe on several threads at once.
class Primitive {
 public:
  struct Slot {
    int argument;  // DNNL_ARG_*
    Desc desc;
  };

  Primitive() = default;
  Primitive(dnnl::primitive primitive, std::vector<Slot> slots);
  Primitive(Primitive&& other) noexcept { *this = std::move(other); }
  Primitive& operator=(Primitive&& other) noexcept;
  ~Primitive();

  explicit operator bool() const { return static_cast<bool>(primitive_); }
  // One pointer per slot, in their order.
  void run(std::initializer_list<const void*> pointers) const { run({pointers.begin(), pointers.size()}); }
  void run(std::span<const void* const> pointers) const;

 private:
  struct Frame;
  Frame* make_frame() const;

  dnnl::primitive primitive_;
  std::vector<Slot> slots_;
  mutable std::atomic<Frame*> spare_{nullptr};  // memory objects of the last run, taken by the next
};

Primitive reorder(const Desc& from, const Desc& to);

// Calls `f`; an error of oneDNN becomes the reason of a refusal.
template <typename Result, typename F>
Result or_refuse(F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    return Result(std::string("oneDNN: ") + e.what());
  }
}

// Cuts one block of scratch memory into parts, each 64-byte aligned.
class ScratchPlan {
 public:
  size_t add(size_t bytes) {
    const size_t at = size_;
    size_ += (bytes + 63) / 64 * 64;
    return at;
  }
  size_t add(const Desc& desc) { return add(desc.get_size()); }
  size_t size() const { return size_; }

 private:
  size_t size_ = 0;
};

inline void* at(void* scratch, size_t offset) { return static_cast<char*>(scratch) + offset; }

}  // namespace mxnet::onednn
