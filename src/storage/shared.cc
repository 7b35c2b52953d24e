// SPDX-License-Identifier: Apache-2.0
// Memory that several processes see: POSIX shared memory segments that count their own references.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <random>

#include "base/error.h"
#include "storage/pool.h"

namespace mxnet::storage {
namespace {

constexpr uint64_t kMagic = 0x31306d6873746e78;  // marks a segment of ours, and this layout
constexpr const char* kPrefix = "mxnet-";

// At the start of each segment.
struct Header {
  std::atomic<uint64_t> magic;
  std::atomic<int32_t> references;
};
static_assert(sizeof(Header) <= kAlignment && std::atomic<int32_t>::is_always_lock_free);

// What this process knows of a segment.
struct Segment {
  std::string name;
  Header* header = nullptr;
  size_t bytes = 0;   // mapped
  pid_t process = 0;  // a child that inherited the mapping holds no reference
  Pool* pool = nullptr;
};

struct FileDescriptor {
  int fd = -1;
  ~FileDescriptor() {
    if (fd >= 0) close(fd);
  }
};

std::string prefix_of(int pid) { return str(kPrefix, pid, "-"); }

std::string fresh_name() {
  static std::atomic<uint64_t> count{0};
  return str("/", prefix_of(getpid()), count.fetch_add(1), "-", std::random_device{}());
}

[[noreturn]] void system_error(ErrorKind kind, const std::string& what, int code) {
  fail(kind, "shared memory: ", what, ": ", std::strerror(code));
}

Header* map_segment(int fd, size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  return base == MAP_FAILED ? nullptr : static_cast<Header*>(base);
}

Block block_of(Segment* segment, Device device) {
  return {reinterpret_cast<char*>(segment->header) + kAlignment, segment->bytes - kAlignment, device, segment};
}

// Takes the pages now: a full /dev/shm is an error here, and would be a crash at the first write.
void reserve_pages(int fd, size_t bytes, const std::string& name) {
  int code = ENOMEM;
  if (bytes <= static_cast<size_t>(INT64_MAX)) {
    do {
      code = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    } while (code == EINTR);
  }
  if (code == 0) return;
  shm_unlink(name.c_str());
  system_error(ErrorKind::memory, str("asked for ", bytes, " bytes"), code);
}

}  // namespace

Block allocate_shared(size_t bytes, Device device) {
  Pool& pool = pool_of(device);
  if (bytes > class_bytes(kClasses - 1)) pool.exhausted(bytes);
  auto segment = std::make_unique<Segment>();
  segment->name = fresh_name();
  segment->bytes = std::max<size_t>(bytes, 1) + kAlignment;
  segment->process = getpid();
  segment->pool = &pool;
  const auto usable = static_cast<int64_t>(segment->bytes - kAlignment);
  pool.count_foreign(usable, true);
  try {
    FileDescriptor file{shm_open(segment->name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600)};
    if (file.fd < 0) system_error(ErrorKind::os, "cannot make " + segment->name, errno);
    reserve_pages(file.fd, segment->bytes, segment->name);
    segment->header = map_segment(file.fd, segment->bytes);
    if (!segment->header) {
      const int code = errno;
      shm_unlink(segment->name.c_str());
      system_error(ErrorKind::memory, str("asked for ", bytes, " bytes"), code);
    }
  } catch (...) {
    pool.discount_foreign(usable);
    throw;
  }
  segment->header->references.store(1);
  segment->header->magic.store(kMagic);
  return block_of(segment.release(), device);
}

void release_shared(const Block& block) {
  const std::unique_ptr<Segment> segment(static_cast<Segment*>(block.handle));
  segment->pool->discount_foreign(static_cast<int64_t>(block.capacity));
  if (segment->process == getpid() && segment->header->references.fetch_sub(1) == 1) {
    shm_unlink(segment->name.c_str());
  }
  munmap(segment->header, segment->bytes);
}

std::string share(const Block& block) {
  if (block.device.type != DeviceType::cpu_shared) {
    fail(ErrorKind::value, "share: the memory is on ", block.device.str(), ", expected cpu_shared");
  }
  auto* segment = static_cast<Segment*>(block.handle);
  segment->header->references.fetch_add(1);
  return segment->name;
}

Block attach(const std::string& name, size_t bytes, Device device) {
  if (device.type != DeviceType::cpu_shared) {
    fail(ErrorKind::value, "attach: asked for ", device.str(), ", expected cpu_shared");
  }
  if (name.rfind(std::string("/") + kPrefix, 0) != 0 || name.find('/', 1) != std::string::npos) {
    fail(ErrorKind::value, "attach: '", name, "' is not the name of shared memory made by share");
  }
  FileDescriptor file{shm_open(name.c_str(), O_RDWR | O_CLOEXEC, 0)};
  if (file.fd < 0) system_error(ErrorKind::os, "cannot open " + name, errno);
  struct stat info;
  if (fstat(file.fd, &info) != 0) system_error(ErrorKind::os, "cannot examine " + name, errno);
  const auto total = static_cast<size_t>(info.st_size);
  if (total < kAlignment || total - kAlignment < bytes) {
    fail(ErrorKind::value, "attach: ", name, " has ", total - std::min(total, kAlignment), " bytes, expected at least ",
         bytes);
  }
  auto segment = std::make_unique<Segment>();
  *segment = {name, map_segment(file.fd, total), total, getpid(), &pool_of(device)};
  if (!segment->header) system_error(ErrorKind::memory, str("cannot map ", total, " bytes"), errno);
  if (segment->header->magic.load() != kMagic) {
    munmap(segment->header, total);
    fail(ErrorKind::value, "attach: ", name, " was not made by this version of MXNet");
  }
  try {
    segment->pool->count_foreign(static_cast<int64_t>(total - kAlignment), false);
  } catch (...) {
    munmap(segment->header, total);
    throw;
  }
  return block_of(segment.release(), device);
}

void remove_shared_of(int pid) {
  DIR* folder = opendir("/dev/shm");
  if (!folder) return;
  const std::string prefix = prefix_of(pid);
  while (const dirent* entry = readdir(folder)) {
    if (std::strncmp(entry->d_name, prefix.c_str(), prefix.size()) == 0) shm_unlink(str("/", entry->d_name).c_str());
  }
  closedir(folder);
}

}  // namespace mxnet::storage
