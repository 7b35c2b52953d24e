// SPDX-License-Identifier: Apache-2.0
#include "ndarray/ndarray.h"

#include <array>
#include <cstring>
#include <memory>
#include <new>

#include "base/env.h"
#include "base/error.h"
#include "ndarray/copy.h"
#include "ndarray/sparse.h"

namespace mxnet {
namespace {

// Chunk objects of this thread, recycled: eager code makes and drops one per call.
class ChunkCache {
 public:
  ~ChunkCache() {
    while (count_ > 0) ::operator delete(slots_[--count_]);
    closed_ = true;
  }
  void* take() { return count_ > 0 ? slots_[--count_] : ::operator new(sizeof(Chunk)); }
  void give(void* memory) {
    if (count_ < slots_.size() && !closed_)
      slots_[count_++] = memory;
    else
      ::operator delete(memory);
  }

 private:
  std::array<void*, 256> slots_;
  size_t count_ = 0;
  bool closed_ = false;
};

thread_local ChunkCache chunk_cache;

constexpr int64_t kSparseCost = INT64_MAX / 4;  // extents are not known when the work is queued

[[noreturn]] void refuse_sparse(const NDArray& array, const char* what) {
  fail(ErrorKind::not_supported, what, " of a ", name_of(array.storage()),
       " array is not possible; use tostype('default')");
}

}  // namespace

Ref<Chunk> Chunk::create(size_t bytes, Device device) { return adopt(storage::allocate(bytes, device), bytes, device); }

Ref<Chunk> Chunk::adopt(const storage::Block& block, size_t bytes, Device device) {
  Chunk* chunk = ::new (chunk_cache.take()) Chunk();
  chunk->block = block;
  chunk->bytes = bytes;
  chunk->device = device;
  return Ref<Chunk>(chunk);
}

Ref<Chunk> Chunk::foreign(void* data, size_t bytes, Device device, std::function<void()> release) {
  Chunk* chunk = ::new (chunk_cache.take()) Chunk();
  chunk->block.data = data;
  chunk->block.capacity = bytes;
  chunk->bytes = bytes;
  chunk->device = device;
  chunk->pinned = true;
  chunk->writable_exports = 1;  // its owner's
  chunk->release_foreign = std::move(release);
  return Ref<Chunk>(chunk);
}

Ref<Chunk> Chunk::sparse(std::unique_ptr<SparseParts> parts, Device device) {
  Chunk* chunk = ::new (chunk_cache.take()) Chunk();
  chunk->storage = parts->storage();
  chunk->device = device;
  chunk->pinned = true;
  chunk->block.data = parts.release();
  return Ref<Chunk>(chunk);
}

void Chunk::destroy(Chunk* chunk) {
  if (chunk->release_foreign) {
    Engine::defer_release([release = std::move(chunk->release_foreign)] { release(); });
    if (!Engine::on_worker()) Engine::drain_deferred();
  } else if (chunk->storage != StorageType::dense) {
    delete static_cast<SparseParts*>(chunk->block.data);
  } else {
    storage::release(chunk->block);
  }
  chunk->~Chunk();
  chunk_cache.give(chunk);
}

uint64_t Chunk::make_identity() {
  static std::atomic<uint64_t> last{0};
  uint64_t none = 0;
  const uint64_t fresh = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return known_as.compare_exchange_strong(none, fresh, std::memory_order_relaxed) ? fresh : none;
}

void schedule(const char* name, std::initializer_list<Ref<Chunk>> reads, std::initializer_list<Ref<Chunk>> writes,
              int64_t cost_ns, UniqueFunction<void()> body) {
  std::array<Var*, 8> read_vars, write_vars;
  std::array<Ref<Chunk>, 4> keep;
  size_t nr = 0, nw = 0, nk = 0;
  for (const Ref<Chunk>& c : reads) read_vars[nr++] = &c->var, keep[nk++] = c;
  for (const Ref<Chunk>& c : writes) write_vars[nw++] = &c->var, keep[nk++] = c;
  Engine& engine = Engine::get();
  if (cost_ns < env::settings().inline_ns && engine.try_begin_inline(read_vars.data(), nr, write_vars.data(), nw)) {
    try {
      const ObservedRun observed(name, Lane::compute, true);
      body();
    } catch (...) {
      engine.mark_error(write_vars.data(), nw, std::current_exception());
    }
    engine.end_inline(read_vars.data(), nr, write_vars.data(), nw);
    return;
  }
  OpProps props;
  props.name = name;
  props.cost_ns = cost_ns;
  for (const Ref<Chunk>& c : writes) props.bytes += static_cast<int64_t>(c->bytes);
  engine.push([body = std::move(body), keep = std::move(keep)](RunContext&) mutable { body(); },
              std::span<Var* const>(read_vars.data(), nr), std::span<Var* const>(write_vars.data(), nw), props);
}

NDArray NDArray::empty(const Shape& shape, DType dtype, Device device, Layout layout) {
  if (!shape.known()) fail(ErrorKind::value, "cannot allocate an array of unknown shape ", shape);
  int64_t bytes = size_of(dtype);
  for (dim_t d : shape) {
    if (__builtin_mul_overflow(bytes, d, &bytes)) {
      fail(ErrorKind::memory, "an array of shape ", shape, " is larger than any memory");
    }
  }
  Ref<Chunk> chunk = Chunk::create(static_cast<size_t>(bytes), device);
  if (layout != Layout::plain) {
    chunk->layout = layout;
    chunk->layout_shape = shape;
  }
  return {std::move(chunk), shape, dtype};
}

NDArray NDArray::zeros(const Shape& shape, DType dtype, Device device) {
  NDArray array = empty(shape, dtype, device);
  std::memset(array.data(), 0, array.bytes());  // fresh memory: nobody else can see it yet
  return array;
}

NDArray NDArray::sparse(StorageType storage, const Shape& shape, DType dtype, Device device) {
  if (!shape.known()) fail(ErrorKind::value, "cannot make a ", name_of(storage), " array of unknown shape ", shape);
  return {Chunk::sparse(std::make_unique<SparseParts>(storage, shape, dtype, device), device), shape, dtype};
}

NDArray NDArray::from_memory(const void* source, const Shape& shape, DType dtype, Device device) {
  NDArray array = empty(shape, dtype, device);
  if (array.bytes()) std::memcpy(array.data(), source, array.bytes());
  return array;
}

NDArray NDArray::view(const Shape& shape, int64_t element_offset) const {
  if (layout() != Layout::plain && shape != shape_) make_plain(true);
  if (is_sparse() && shape != shape_) refuse_sparse(*this, "reshape and indexing");
  return {chunk_, shape, dtype_, byte_offset_ + element_offset * size_of(dtype_)};
}

NDArray NDArray::slice(int64_t begin, int64_t end) const {
  if (is_sparse()) refuse_sparse(*this, "slicing");
  if (shape_.rank() < 1) fail(ErrorKind::index, "a scalar array cannot be sliced");
  if (begin < 0 || end > shape_[0] || begin > end) {
    fail(ErrorKind::index, "slice [", begin, ", ", end, ") is out of range for axis 0 of size ", shape_[0]);
  }
  Shape shape = shape_;
  shape[0] = end - begin;
  // Rows of a channels-last array are whole images: still a view.
  return {chunk_, shape, dtype_, byte_offset_ + begin * shape_.size(1, shape_.rank()) * size_of(dtype_)};
}

NDArray NDArray::at(int64_t index) const {
  if (is_sparse()) refuse_sparse(*this, "indexing");
  if (shape_.rank() < 1) fail(ErrorKind::index, "a scalar array cannot be indexed");
  if (index < -shape_[0] || index >= shape_[0]) {
    fail(ErrorKind::index, "index ", index, " is out of range for axis 0 of size ", shape_[0]);
  }
  if (index < 0) index += shape_[0];
  Shape shape = shape_;
  shape.erase(0);
  return view(shape, index * shape.size());
}

void NDArray::make_plain(bool pin) const {
  Chunk& chunk = *chunk_;
  if (chunk.layout != Layout::plain) {
    const storage::Block old = chunk.block;
    const storage::Block fresh = storage::allocate(chunk.bytes, chunk.device);
    const Layout from = chunk.layout;
    chunk.block = fresh;  // in program order: work issued from now on sees plain memory
    chunk.layout = Layout::plain;
    schedule("relayout", {chunk_}, {chunk_}, copy::cost_ns(2 * static_cast<int64_t>(chunk.bytes)),
             [old, fresh, shape = chunk.layout_shape, dtype = dtype_, from] {
               copy::reorder(fresh.data, old.data, shape, dtype, from, Layout::plain);
               storage::release(old);
             });
  }
  if (pin) chunk.pinned = true;
}

void NDArray::wait_to_read() const { Engine::get().wait_to_read(var()); }
void NDArray::wait_to_write() const { Engine::get().wait_to_write(var()); }

void NDArray::copy_to_memory(void* target) const {
  wait_to_read();
  if (size() == 0) return;
  if (is_sparse()) return sparse::to_dense(target, dtype_, parts());
  if (layout() == Layout::plain) {
    std::memcpy(target, data(), bytes());
    return;
  }
  const ObservedRun observed("relayout", Lane::compute, true);
  copy::reorder(target, data(), shape_, dtype_, layout(), Layout::plain);
}

void NDArray::copy_from_memory(const void* source) const {
  make_plain();
  wait_to_write();
  if (is_sparse())
    sparse::from_dense(parts(), source, dtype_);
  else if (size())
    std::memcpy(data(), source, bytes());
  chunk_->bump_version();
}

void NDArray::copy_from(const NDArray& source) const {
  if (source.shape() != shape_) {
    fail(ErrorKind::value, "copy: an array of shape ", source.shape(), " cannot be copied into one of shape ", shape_);
  }
  if (same_window(source) && dtype_ == source.dtype()) return;
  if (is_sparse() || source.is_sparse()) return copy_from_sparse(source);
  make_plain();
  void* to = data();
  const void* from = source.data();
  const DType to_type = dtype_, from_type = source.dtype();
  const Layout from_layout = source.layout();
  const int64_t count = size();
  const int64_t cost = copy::cost_ns(static_cast<int64_t>(bytes() + source.bytes()));
  const bool overlap = chunk_ == source.chunk();
  // Writing a part of a chunk also reads it: what failed elsewhere in the chunk stays failed.
  const bool whole = bytes() == chunk_->bytes;
  schedule("copy", {source.chunk(), whole ? source.chunk() : chunk_}, {chunk_}, cost, [=, shape = shape_] {
    if (overlap) {
      std::unique_ptr<char[]> temporary(new char[count * size_of(from_type)]);
      std::memcpy(temporary.get(), from, count * size_of(from_type));
      copy::convert(to, to_type, temporary.get(), from_type, count);
    } else if (from_layout == Layout::plain) {
      copy::convert(to, to_type, from, from_type, count);
    } else if (to_type == from_type) {
      copy::reorder(to, from, shape, to_type, from_layout, Layout::plain);
    } else {
      std::unique_ptr<char[]> temporary(new char[count * size_of(from_type)]);
      copy::reorder(temporary.get(), from, shape, from_type, from_layout, Layout::plain);
      copy::convert(to, to_type, temporary.get(), from_type, count);
    }
  });
  chunk_->bump_version();
}

void NDArray::copy_from_sparse(const NDArray& source) const {
  source.make_plain();
  make_plain();
  chunk_->bump_version();
  void* to = data();
  const void* from = source.data();
  const DType to_type = dtype_, from_type = source.dtype();
  const bool to_sparse = is_sparse(), from_sparse = source.is_sparse();
  schedule("copy", {source.chunk(), covers_chunk() ? source.chunk() : chunk_}, {chunk_}, kSparseCost, [=] {
    if (!to_sparse)
      sparse::to_dense(to, to_type, *static_cast<const SparseParts*>(from));
    else if (!from_sparse)
      sparse::from_dense(*static_cast<SparseParts*>(to), from, from_type);
    else
      sparse::copy(*static_cast<SparseParts*>(to), *static_cast<const SparseParts*>(from));
  });
}

void NDArray::add_rows_of(const NDArray& source) const {
  chunk_->bump_version();
  schedule("add", {source.chunk(), chunk_}, {chunk_}, kSparseCost,
           [to = &parts(), from = &source.parts()] { sparse::accumulate(*to, *from); });
}

NDArray NDArray::copy(Device device) const {
  NDArray target = is_sparse() ? sparse(storage(), shape_, dtype_, device) : empty(shape_, dtype_, device);
  target.copy_from(*this);
  return target;
}

NDArray NDArray::astype(DType dtype) const {
  NDArray target = is_sparse() ? sparse(storage(), shape_, dtype, device()) : empty(shape_, dtype, device());
  target.copy_from(*this);
  return target;
}

void NDArray::fill(double value) const {
  if (is_sparse()) {
    if (value != 0) refuse_sparse(*this, "filling with other numbers than 0");
    chunk_->bump_version();
    schedule("fill", {}, {chunk_}, 1000, [to = &parts()] { to->clear(); });
    return;
  }
  make_plain();
  void* to = data();
  const DType dtype = dtype_;
  const int64_t count = size();
  const bool whole = bytes() == chunk_->bytes;
  const auto body = [=] { copy::fill(to, dtype, count, value); };
  if (whole)
    schedule("fill", {}, {chunk_}, copy::cost_ns(static_cast<int64_t>(bytes())), body);
  else
    schedule("fill", {chunk_}, {chunk_}, copy::cost_ns(static_cast<int64_t>(bytes())), body);
  chunk_->bump_version();
}

}  // namespace mxnet
