// SPDX-License-Identifier: Apache-2.0
// How the elements of an array are kept: all of them, or only those that may differ from zero.
#pragma once

#include <cstdint>
#include <ostream>
#include <string_view>

#include "base/error.h"

namespace mxnet {

// The numbers are those of MXNet's files. row_sparse: some rows of axis 0; csr: some elements of a matrix, row by row.
// `unset` stands in inference only: nobody has asked for a storage type yet.
enum class StorageType : uint8_t { dense = 0, row_sparse = 1, csr = 2, unset = 255 };

constexpr const char* name_of(StorageType storage) {
  switch (storage) {
    case StorageType::dense: return "default";
    case StorageType::row_sparse: return "row_sparse";
    case StorageType::csr: return "csr";
    default: return "unset";
  }
}

inline StorageType storage_type_from_name(std::string_view name) {
  for (const StorageType s : {StorageType::dense, StorageType::row_sparse, StorageType::csr}) {
    if (name == name_of(s)) return s;
  }
  fail(ErrorKind::value, "storage type '", name, "' is unknown; there are default, row_sparse and csr");
}

inline bool is_sparse(StorageType storage) { return storage == StorageType::row_sparse || storage == StorageType::csr; }

}  // namespace mxnet
