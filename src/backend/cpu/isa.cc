// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/isa.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/env.h"

namespace mxnet::cpu {
namespace {

constexpr std::array<const char*, 4> kNames = {"generic", "sse42", "avx2", "avx512"};

// The compiler's test also asks whether the operating system saves the registers.
Isa detect() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto has_avx2 = [] {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  };
  const auto has_avx512 = [] {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  };
  if (!__builtin_cpu_supports("sse4.2")) return Isa::generic;
  if (!has_avx2()) return Isa::sse42;
  return has_avx512() ? Isa::avx512 : Isa::avx2;
#else
  return Isa::generic;
#endif
}

Isa cap() {
  const std::string& wanted = env::settings().isa;
  const auto at = std::find(kNames.begin(), kNames.end(), wanted);
  return at == kNames.end() ? Isa::avx512 : static_cast<Isa>(at - kNames.begin());
}

}  // namespace

Isa isa() {
  static const Isa value = std::min(detect(), cap());
  return value;
}

const char* name(Isa isa) { return kNames[static_cast<size_t>(isa)]; }

}  // namespace mxnet::cpu
