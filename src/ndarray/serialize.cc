// SPDX-License-Identifier: Apache-2.0
#include "ndarray/serialize.h"

#include <cstring>

#include "base/error.h"
#include "ndarray/sparse.h"

namespace mxnet {
namespace {

// The file: u64 magic, u64 zero, u64 count, arrays, u64 count of names, (u64 length, bytes)...
// An array, newest form: u32 magic, i32 storage type, i32 rank, i64 dimensions, i32 device type, i32 device id,
// i32 dtype, elements. Older: without storage type (v1), and with rank in the place of the magic and u32 dimensions
// (v0). Sparse arrays (v2): the shape of the values stands before that of the array; after the dtype follow dtype and
// shape of each index array, the values, and the index arrays (csr: row pointers, columns; row_sparse: rows).
constexpr uint64_t kFileMagic = 0x112;
constexpr uint32_t kArrayV1 = 0xF993FAC8;
constexpr uint32_t kArrayV2 = 0xF993FAC9;
constexpr uint32_t kArrayV3 = 0xF993FACA;  // NumPy shapes: rank 0 is a scalar, a dimension may be 0

class Reader {
 public:
  Reader(const void* data, size_t size) : at_(static_cast<const char*>(data)), left_(size) {}

  template <typename T>
  T get(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what), sizeof(T));
    return value;
  }
  const char* take(uint64_t bytes, const char* what) {
    if (bytes > left_) {
      fail(ErrorKind::value, "array file: truncated or corrupt: ", what, " needs ", bytes, " bytes, ", left_,
           " are left");
    }
    const char* start = at_;
    at_ += bytes;
    left_ -= bytes;
    return start;
  }
  size_t left() const { return left_; }

 private:
  const char* at_;
  size_t left_;
};

DType read_dtype(Reader& in) {
  const auto flag = in.get<int32_t>("a dtype");
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::u8, DType::i32, DType::i8, DType::i64, DType::boolean,
                  DType::bf16}) {
    if (static_cast<int32_t>(t) == flag) return t;
  }
  fail(ErrorKind::value, "array file: dtype number ", flag, " is not known");
}

Shape read_shape(Reader& in, uint32_t magic) {
  const bool legacy = magic != kArrayV1 && magic != kArrayV2 && magic != kArrayV3;
  const int64_t rank = legacy ? static_cast<int64_t>(magic) : in.get<int32_t>("a rank");
  if (magic == kArrayV3 && rank == -1) return Shape::unknown();
  if (rank < 0 || rank > Shape::kMaxRank) fail(ErrorKind::value, "array file: rank ", rank, " is not possible");
  Shape shape;
  for (int64_t i = 0; i < rank; ++i) {
    const int64_t d = legacy ? in.get<uint32_t>("a dimension") : in.get<int64_t>("a dimension");
    if (d < 0) fail(ErrorKind::value, "array file: dimension ", d, " is not possible");
    shape.push_back(d);
  }
  return shape;
}

int64_t bytes_of(const Shape& shape, DType dtype) {
  int64_t bytes = size_of(dtype);
  for (dim_t d : shape) {
    if (__builtin_mul_overflow(bytes, d, &bytes)) fail(ErrorKind::value, "array file: shape ", shape, " is too large");
  }
  return bytes;
}

// Numbers of the storage types.
constexpr int32_t kRowSparse = 1, kCsr = 2;

// An index array of `count` elements, int64 or int32.
void read_indices(Reader& in, DType dtype, int64_t count, int64_t* to) {
  const char* from = in.take(static_cast<uint64_t>(bytes_of({count}, dtype)), "indices");
  if (dtype == DType::i64) {
    if (count) std::memcpy(to, from, static_cast<size_t>(count) * sizeof(int64_t));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    int32_t index;
    std::memcpy(&index, from + static_cast<size_t>(i) * sizeof index, sizeof index);
    to[i] = index;
  }
}

NDArray read_sparse(Reader& in, int32_t storage) {
  const Shape values = read_shape(in, kArrayV2);
  const Shape shape = read_shape(in, kArrayV2);
  in.get<int32_t>("a device type");
  in.get<int32_t>("a device id");
  const DType dtype = read_dtype(in);
  const bool csr = storage == kCsr;
  if (shape.rank() < 1 || (csr && shape.rank() != 2)) {
    fail(ErrorKind::value, "array file: a ", csr ? "csr" : "row_sparse", " array cannot have shape ", shape);
  }
  Shape expected = csr ? Shape{0} : shape;
  if (values.rank() > 0) expected[0] = values[0];
  DType types[2] = {};
  int64_t counts[2] = {};
  for (int i = 0; i < 1 + csr; ++i) {
    types[i] = read_dtype(in);
    const Shape own = read_shape(in, kArrayV2);
    if (own.rank() != 1 || (types[i] != DType::i64 && types[i] != DType::i32)) {
      fail(ErrorKind::value, "array file: ", name_of(types[i]), " indices of shape ", own, " are not possible");
    }
    counts[i] = own[0];
  }
  if (values != expected || counts[csr] != values[0] || (csr && counts[0] != shape[0] + 1)) {
    fail(ErrorKind::value, "array file: values of shape ", values, " and ", counts[csr], " indices do not fit a ",
         csr ? "csr" : "row_sparse", " array of shape ", shape);
  }
  bytes_of(shape, dtype);
  const auto bytes = static_cast<uint64_t>(bytes_of(values, dtype));
  const char* elements = in.take(bytes, "an array's elements");
  NDArray array = NDArray::sparse(csr ? StorageType::csr : StorageType::row_sparse, shape, dtype, Device{});
  SparseParts& parts = array.parts();  // fresh: nobody else can see it yet
  parts.resize(values[0]);
  if (bytes) std::memcpy(parts.values(), elements, bytes);
  if (csr) read_indices(in, types[0], counts[0], parts.indptr());
  read_indices(in, types[csr], counts[csr], parts.indices());
  sparse::check(parts);
  return array;
}

NDArray read_array(Reader& in) {
  const auto magic = in.get<uint32_t>("an array");
  if (magic == kArrayV2 || magic == kArrayV3) {
    const auto storage = in.get<int32_t>("a storage type");
    if (storage == kRowSparse || storage == kCsr) return read_sparse(in, storage);
    if (storage != 0) fail(ErrorKind::value, "array file: storage type ", storage, " is not known");
  }
  const Shape shape = read_shape(in, magic);
  const bool none = magic == kArrayV3 ? !shape.rank_known() : shape.rank() == 0;
  if (none) return {};
  in.get<int32_t>("a device type");  // arrays load to the CPU, wherever they were
  in.get<int32_t>("a device id");
  const DType dtype = read_dtype(in);
  const char* elements = in.take(static_cast<uint64_t>(bytes_of(shape, dtype)), "an array's elements");
  return NDArray::from_memory(elements, shape, dtype);
}

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_shape(std::string& out, const Shape& shape) {
  put<int32_t>(out, shape.rank());
  for (dim_t d : shape) put<int64_t>(out, d);
}

void write_sparse(std::string& out, const NDArray& array) {
  array.wait_to_read();
  const SparseParts& p = array.parts();
  const bool csr = p.storage() == StorageType::csr;
  Shape values = csr ? Shape{0} : p.shape();
  values[0] = p.count();
  put(out, kArrayV2);
  put(out, csr ? kCsr : kRowSparse);
  put_shape(out, values);
  put_shape(out, p.shape());
  put<int32_t>(out, static_cast<int32_t>(DeviceType::cpu));
  put<int32_t>(out, 0);
  put<int32_t>(out, static_cast<int32_t>(p.dtype()));
  for (const int64_t count : {csr ? p.rows() + 1 : int64_t{-1}, p.count()}) {
    if (count < 0) continue;
    put<int32_t>(out, static_cast<int32_t>(DType::i64));
    put_shape(out, {count});
  }
  const auto append = [&](const void* from, int64_t bytes) {
    out.append(static_cast<const char*>(from), static_cast<size_t>(bytes));
  };
  append(p.values(), p.count() * p.width() * static_cast<int64_t>(size_of(p.dtype())));
  if (csr) append(p.indptr(), (p.rows() + 1) * static_cast<int64_t>(sizeof(int64_t)));
  append(p.indices(), p.count() * static_cast<int64_t>(sizeof(int64_t)));
}

void write_array(std::string& out, const NDArray& array) {
  if (array.is_none()) {
    put(out, kArrayV2);
    put<int32_t>(out, 0);
    put<int32_t>(out, 0);
    return;
  }
  if (array.is_sparse()) return write_sparse(out, array);
  const Shape& shape = array.shape();
  put(out, shape.rank() == 0 || array.size() == 0 ? kArrayV3 : kArrayV2);
  put<int32_t>(out, 0);
  put_shape(out, shape);
  put<int32_t>(out, static_cast<int32_t>(DeviceType::cpu));
  put<int32_t>(out, 0);
  put<int32_t>(out, static_cast<int32_t>(array.dtype()));
  const size_t start = out.size();
  out.resize(start + array.bytes());
  if (array.bytes()) array.copy_to_memory(out.data() + start);
}

}  // namespace

std::string save_arrays(const ArrayFile& file) {
  size_t total = 64;
  for (const NDArray& a : file.arrays) total += 256 + (a.is_none() || a.is_sparse() ? 0 : a.bytes());
  std::string out;
  out.reserve(total);
  put(out, kFileMagic);
  put<uint64_t>(out, 0);
  put<uint64_t>(out, file.arrays.size());
  for (const NDArray& a : file.arrays) write_array(out, a);
  put<uint64_t>(out, file.names.size());
  for (const std::string& name : file.names) {
    put<uint64_t>(out, name.size());
    out += name;
  }
  return out;
}

ArrayFile load_arrays(const void* data, size_t size) {
  Reader in(data, size);
  if (in.get<uint64_t>("the header") != kFileMagic) {
    fail(ErrorKind::value, "array file: this is not a file of arrays (its first 8 bytes are not 0x112)");
  }
  in.get<uint64_t>("the header");
  const auto count = in.get<uint64_t>("the number of arrays");
  if (count > in.left() / 4)
    fail(ErrorKind::value, "array file: truncated or corrupt: it announces ", count, " arrays");
  ArrayFile file;
  for (uint64_t i = 0; i < count; ++i) file.arrays.push_back(read_array(in));
  const auto names = in.get<uint64_t>("the number of names");
  if (names != 0 && names != count) {
    fail(ErrorKind::value, "array file: corrupt: ", names, " names for ", count, " arrays");
  }
  for (uint64_t i = 0; i < names; ++i) {
    const auto length = in.get<uint64_t>("the length of a name");
    file.names.emplace_back(in.take(length, "a name"), length);
  }
  return file;
}

}  // namespace mxnet
