// SPDX-License-Identifier: Apache-2.0
#include "base/dtype.h"

namespace mxnet {
namespace {

struct Name {
  DType type;
  const char* name;
};

constexpr Name kNames[] = {
    {DType::f32, "float32"}, {DType::f64, "float64"},  {DType::f16, "float16"},
    {DType::u8, "uint8"},    {DType::i32, "int32"},    {DType::i8, "int8"},
    {DType::i64, "int64"},   {DType::boolean, "bool"}, {DType::bf16, "bfloat16"},
};

}  // namespace

const char* name_of(DType t) {
  for (const Name& entry : kNames) {
    if (entry.type == t) return entry.name;
  }
  return "unknown";
}

DType dtype_from_name(std::string_view s) {
  for (const Name& entry : kNames) {
    if (s == entry.name) return entry.type;
  }
  return DType::unknown;
}

}  // namespace mxnet
