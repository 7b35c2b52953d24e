// SPDX-License-Identifier: Apache-2.0
// MXNet's binary array files: a list of arrays, with or without names. Written as 1.9.1 writes them; files of every
// release since 0.8 are read. Every field is checked against what is left of the file: a damaged file raises
// Error(value) that names what is wrong, and nothing else happens.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "ndarray/ndarray.h"

namespace mxnet {

struct ArrayFile {
  std::vector<NDArray> arrays;
  std::vector<std::string> names;  // empty, or one per array
};

std::string save_arrays(const ArrayFile& file);
ArrayFile load_arrays(const void* data, size_t size);

}  // namespace mxnet
