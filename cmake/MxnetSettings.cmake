# SPDX-License-Identifier: Apache-2.0
# Compiler settings of the core (target mxnet_settings, function mx_core_settings), ccache, sanitizers.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 11)
  message(FATAL_ERROR "mxnet needs a C++20 compiler: g++ >= 11 or clang >= 14 (found g++ ${CMAKE_CXX_COMPILER_VERSION})")
endif()

# A development build puts its libraries into python/mxnet/; wheels and sanitizer builds do not touch the tree.
if(DEFINED SKBUILD OR MXNET_SANITIZE)
  option(MXNET_INPLACE "Put the built libraries into python/mxnet/" OFF)
else()
  option(MXNET_INPLACE "Put the built libraries into python/mxnet/" ON)
endif()

find_program(MXNET_CCACHE ccache)
if(MXNET_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The relaxations are what precompiled headers need; with the base folder, checkouts beside each other share results.
  get_filename_component(_base ${CMAKE_SOURCE_DIR} DIRECTORY)
  if(DEFINED ENV{CCACHE_BASEDIR})
    set(_base $ENV{CCACHE_BASEDIR})
  endif()
  set(_launcher ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime,locale
    CCACHE_NOHASHDIR=1 CCACHE_BASEDIR=${_base}
    ${MXNET_CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${_launcher})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${_launcher})
endif()

find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)

# Flags shared by the core, its instruction-set variants, the extension and the tests.
add_library(mxnet_settings INTERFACE)
target_include_directories(mxnet_settings INTERFACE
  ${CMAKE_CURRENT_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR}/include)
target_link_libraries(mxnet_settings INTERFACE OpenMP::OpenMP_CXX Threads::Threads)
target_compile_options(mxnet_settings INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 and 13 take moved-from std::variant for uninitialized memory.
  target_compile_options(mxnet_settings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(MXNET_X86 ON)
  # First on the command line, so that the variants of MxnetISA.cmake (and CXXFLAGS of the user) override it.
  set(CMAKE_CXX_FLAGS "-march=x86-64-v2 ${CMAKE_CXX_FLAGS}")
else()
  set(MXNET_X86 OFF)
endif()
if(MXNET_WERROR)
  target_compile_options(mxnet_settings INTERFACE -Werror)
endif()

if(MXNET_SANITIZE)
  if(NOT MXNET_SANITIZE MATCHES "^(address|thread|undefined)$")
    message(FATAL_ERROR "MXNET_SANITIZE must be address, thread or undefined, not '${MXNET_SANITIZE}'")
  endif()
  target_compile_options(mxnet_settings INTERFACE
    -fsanitize=${MXNET_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1 -UNDEBUG)
  target_link_options(mxnet_settings INTERFACE -fsanitize=${MXNET_SANITIZE})
endif()

set(MXNET_PCH_HEADERS
  <algorithm> <array> <atomic> <cmath> <cstdint> <cstring> <functional> <memory> <mutex> <optional> <sstream> <string>
  <string_view> <tuple> <unordered_map> <utility> <variant> <vector>)

# What every object of libmxnet is compiled with. Calls inside the library go straight to their target: nobody may
# replace them at load time (see also -Bsymbolic-functions in mx_export_only).
function(mx_core_settings target)
  target_link_libraries(${target} PRIVATE mxnet_settings mxnet_onednn)
  target_compile_options(${target} PRIVATE -fno-plt -fvisibility-inlines-hidden -fno-semantic-interposition)
endfunction()

function(mx_export_only target map)
  if(NOT APPLE)
    target_link_options(${target} PRIVATE -Wl,--version-script=${map} -Wl,-Bsymbolic-functions -Wl,--no-as-needed)
    set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${map})
  endif()
endfunction()
