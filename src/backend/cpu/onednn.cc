// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/onednn.h"

#include <omp.h>

#include <memory>
#include <utility>

#include "backend/cpu/isa.h"
#include "base/env.h"
#include "base/error.h"

namespace mxnet::onednn {

namespace {

// A cap on our own code holds for the library too, which takes it only before its first use.
void cap_instruction_set() {
  if (env::settings().isa.empty()) return;
  if (cpu::isa() == cpu::Isa::avx2) dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
  if (cpu::isa() == cpu::Isa::sse42) dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
}

}  // namespace

const dnnl::engine& engine() {
  static const dnnl::engine instance = [] {
    cap_instruction_set();
    return dnnl::engine(dnnl::engine::kind::cpu, 0);
  }();
  return instance;
}

namespace {

dnnl_stream_t this_stream() {
  thread_local const dnnl::stream stream(engine());
  return stream.get();
}

bool has_bf16() {
  static const bool yes = [] {
    engine();
    const auto isa = static_cast<int>(dnnl::get_effective_cpu_isa());
    constexpr int wanted = static_cast<int>(dnnl::cpu_isa::avx512_core_bf16);
    return (isa & wanted) == wanted;
  }();
  return yes;
}

dnnl::memory::dims dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }

}  // namespace

dnnl::memory::data_type type_of(DType dtype) {
  using T = dnnl::memory::data_type;
  switch (dtype) {
    case DType::f32: return T::f32;
    case DType::f16: return T::f16;
    case DType::bf16: return T::bf16;
    case DType::i32: return T::s32;
    case DType::i8: return T::s8;
    case DType::u8: return T::u8;
    default: return T::undef;
  }
}

bool computes(DType dtype) { return dtype == DType::f32 || (dtype == DType::bf16 && has_bf16()); }

Desc with_strides(const Shape& shape, DType dtype, const Shape& strides) {
  return Desc(dims_of(shape), type_of(dtype), dims_of(strides));
}

Desc describe(const Shape& shape, DType dtype, Layout layout) {
  if (layout == Layout::plain) return with_strides(shape, dtype, strides_of(shape));
  Shape strides = Shape::of_rank(shape.rank());
  int64_t step = 1;
  strides[1] = step;
  step *= shape[1];
  for (int i = shape.rank() - 1; i >= 2; --i) {
    strides[i] = step;
    step *= shape[i];
  }
  strides[0] = step;
  return with_strides(shape, dtype, strides);
}

Desc any_layout(const Shape& shape, DType dtype) {
  return Desc(dims_of(shape), type_of(dtype), dnnl::memory::format_tag::any);
}

dnnl::primitive_attr user_scratch() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

ThreadScope::ThreadScope(int threads) : saved_(omp_get_max_threads()) {
  if (saved_ == threads)
    saved_ = 0;
  else
    omp_set_num_threads(threads);
}

ThreadScope::~ThreadScope() {
  if (saved_) omp_set_num_threads(saved_);
}

struct Primitive::Frame {
  std::vector<dnnl_exec_arg_t> args;
  ~Frame() {
    for (const dnnl_exec_arg_t& arg : args) dnnl_memory_destroy(arg.memory);
  }
};

Primitive::Primitive(dnnl::primitive primitive, std::vector<Slot> slots)
    : primitive_(std::move(primitive)), slots_(std::move(slots)) {}

Primitive& Primitive::operator=(Primitive&& other) noexcept {
  std::swap(primitive_, other.primitive_);
  std::swap(slots_, other.slots_);
  other.spare_.store(spare_.exchange(other.spare_.load()));
  return *this;
}

Primitive::~Primitive() { delete spare_.load(); }

Primitive::Frame* Primitive::make_frame() const {
  auto frame = std::make_unique<Frame>();
  frame->args.reserve(slots_.size());
  for (const Slot& slot : slots_) {
    dnnl_memory_t memory = nullptr;
    if (dnnl_memory_create(&memory, slot.desc.get(), engine().get(), DNNL_MEMORY_NONE) != dnnl_success) {
      fail(ErrorKind::memory, "oneDNN could not create a memory object");
    }
    frame->args.push_back({slot.argument, memory});
  }
  return frame.release();
}

void Primitive::run(std::span<const void* const> pointers) const {
  std::unique_ptr<Frame> frame(spare_.exchange(nullptr, std::memory_order_acquire));
  if (!frame) frame.reset(make_frame());
  for (size_t i = 0; i < slots_.size(); ++i) {
    dnnl_memory_set_data_handle(frame->args[i].memory, const_cast<void*>(pointers[i]));
  }
  const dnnl_status_t status =
      dnnl_primitive_execute(primitive_.get(), this_stream(), static_cast<int>(slots_.size()), frame->args.data());
  if (status != dnnl_success) fail("oneDNN: executing a primitive failed with status ", static_cast<int>(status));
  delete spare_.exchange(frame.release(), std::memory_order_acq_rel);
}

Primitive reorder(const Desc& from, const Desc& to) {
  const dnnl::reorder::primitive_desc pd(engine(), from, engine(), to, user_scratch());
  if (pd.scratchpad_desc().get_size() != 0)
    throw dnnl::error(dnnl_unimplemented, "a reorder that needs scratch memory");
  return Primitive(dnnl::reorder(pd), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
}

}  // namespace mxnet::onednn
