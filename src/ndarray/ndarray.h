// SPDX-License-Identifier: Apache-2.0
// NDArray: a typed, shaped window on a chunk of storage. A chunk is memory + one engine variable + the physical layout
// of its elements; all views of a chunk share it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "base/device.h"
#include "base/dtype.h"
#include "base/function.h"
#include "base/intrusive.h"
#include "base/shape.h"
#include "base/storage_type.h"
#include "engine/engine.h"
#include "storage/storage.h"

namespace mxnet {

// What may hang on an array handle without this folder knowing it: the tape's entry, a graph node.
struct Attachment : Counted<Attachment> {
  enum class Kind : uint8_t { tape, graph, other };
  explicit Attachment(Kind k = Kind::other) : kind(k) {}
  virtual ~Attachment() = default;
  const Kind kind;
};

class SparseParts;

class Chunk : public Counted<Chunk> {
 public:
  // Uninitialised memory from the device's pool. The object itself is recycled.
  static Ref<Chunk> create(size_t bytes, Device device);
  // Takes over a block of the pool (mapped shared memory).
  static Ref<Chunk> adopt(const storage::Block& block, size_t bytes, Device device);
  // Memory that somebody else owns; `release` runs when the last reference drops (on core threads: deferred to the next
  // entry from Python).
  static Ref<Chunk> foreign(void* data, size_t bytes, Device device, std::function<void()> release);
  // The parts of a sparse array; `data` is their address.
  static Ref<Chunk> sparse(std::unique_ptr<SparseParts> parts, Device device);
  static void destroy(Chunk* chunk);

  void* data() const { return block.data; }

  storage::Block block;
  size_t bytes = 0;
  Device device;
  Var var;
  // Front-end state, changed in program order by the thread that issues work; kernels get pointer + layout at push.
  Layout layout = Layout::plain;
  StorageType storage = StorageType::dense;  // for life
  bool pinned = false;                       // plain for life: parameters, gradients, auxiliary states, exported memory
  Shape layout_shape;                        // the whole chunk's logical shape while layout != plain
  std::atomic<uint64_t> version{0};          // bumped by every write that the framework knows, after it was issued
  std::atomic<uint64_t> known_as{0};         // see identity()
  std::atomic<int32_t> writable_exports{0};  // windows through which others may write unseen
  std::function<void()> release_foreign;

  // For every write: what was derived from the old contents is stale.
  void bump_version() { version.fetch_add(1, std::memory_order_release); }
  // A number that no other chunk has or had.
  uint64_t identity() {
    const uint64_t known = known_as.load(std::memory_order_relaxed);
    return known ? known : make_identity();
  }
  // False while somebody may write without bumping the version: nothing may be derived from the contents and kept.
  bool sees_all_writes() const {
    return writable_exports.load(std::memory_order_acquire) == 0 && device.type != DeviceType::cpu_shared;
  }
  void begin_writable_export() {
    writable_exports.fetch_add(1, std::memory_order_release);
    bump_version();
  }
  void end_writable_export() {
    bump_version();
    writable_exports.fetch_sub(1, std::memory_order_release);
  }

 private:
  Chunk() = default;
  ~Chunk() = default;
  uint64_t make_identity();
};

// Runs `body` on the caller if all data is ready and the work is small, else queues it. `body` captures raw
// pointers taken now, in program order; the chunks are kept until it is done.
void schedule(const char* name, std::initializer_list<Ref<Chunk>> reads, std::initializer_list<Ref<Chunk>> writes,
              int64_t cost_ns, UniqueFunction<void()> body);

class NDArray {
 public:
  NDArray() = default;  // none
  NDArray(Ref<Chunk> chunk, Shape shape, DType dtype, int64_t byte_offset = 0)
      : chunk_(std::move(chunk)), shape_(std::move(shape)), byte_offset_(byte_offset), dtype_(dtype) {}

  static NDArray empty(const Shape& shape, DType dtype, Device device = {}, Layout layout = Layout::plain);
  static NDArray zeros(const Shape& shape, DType dtype, Device device = {});
  // A row_sparse or csr array that stores nothing: all zero.
  static NDArray sparse(StorageType storage, const Shape& shape, DType dtype, Device device = {});
  // Copies shape.size() elements in from caller memory.
  static NDArray from_memory(const void* source, const Shape& shape, DType dtype, Device device = {});

  bool is_none() const { return !chunk_; }
  explicit operator bool() const { return static_cast<bool>(chunk_); }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  Device device() const { return chunk_->device; }
  int64_t size() const { return shape_.size(); }
  size_t bytes() const { return static_cast<size_t>(size()) * size_of(dtype_); }
  const Ref<Chunk>& chunk() const { return chunk_; }
  int64_t byte_offset() const { return byte_offset_; }
  Var& var() const { return chunk_->var; }
  Layout layout() const { return chunk_->layout; }
  StorageType storage() const { return chunk_->storage; }
  bool is_sparse() const { return chunk_->storage != StorageType::dense; }
  // What a sparse array stores. A reader must have waited.
  SparseParts& parts() const { return *static_cast<SparseParts*>(chunk_->data()); }
  // False for a window on a part of its chunk.
  bool covers_chunk() const { return is_sparse() || bytes() == chunk_->bytes; }
  // Raw address of the first element, in the chunk's layout; of a sparse array that of its SparseParts. A reader must
  // have waited.
  void* data() const { return static_cast<char*>(chunk_->data()) + byte_offset_; }

  // Views share the chunk; `element_offset` counts from this array's first element. Sparse arrays have none.
  NDArray view(const Shape& shape, int64_t element_offset = 0) const;
  NDArray slice(int64_t begin, int64_t end) const;  // rows of axis 0
  NDArray at(int64_t index) const;                  // one row of axis 0
  bool same_window(const NDArray& other) const {
    return chunk_ == other.chunk_ && byte_offset_ == other.byte_offset_ && shape_ == other.shape_;
  }

  // Makes plain the authoritative layout (an engine write if it was not). `pin` keeps it so for the chunk's life.
  void make_plain(bool pin = false) const;

  void wait_to_read() const;
  void wait_to_write() const;
  void copy_to_memory(void* target) const;          // waits; plain order
  void copy_from_memory(const void* source) const;  // waits for readers and writers
  // Queued; converts dtype and storage type; shapes must agree; any devices.
  void copy_from(const NDArray& source) const;
  // Queued: row_sparse this += row_sparse source.
  void add_rows_of(const NDArray& source) const;
  NDArray copy(Device device) const;
  NDArray astype(DType dtype) const;
  void fill(double value) const;  // queued; a sparse array takes 0 only

  const Ref<Attachment>& attachment() const { return attachment_; }
  void attach(Ref<Attachment> attachment) { attachment_ = std::move(attachment); }
  NDArray detached() const { return {chunk_, shape_, dtype_, byte_offset_}; }
  // Shape, dtype and attachment without the memory.
  NDArray shell() const {
    NDArray a = *this;
    a.chunk_.reset();
    return a;
  }

 private:
  void copy_from_sparse(const NDArray& source) const;

  Ref<Chunk> chunk_;
  Ref<Attachment> attachment_;
  Shape shape_;
  int64_t byte_offset_ = 0;
  DType dtype_ = DType::f32;
};

}  // namespace mxnet
