# SPDX-License-Identifier: Apache-2.0
# The extension module mxnet._core._ext.

file(GLOB_RECURSE MXNET_PYTHON_SOURCES CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/python/src/*.cc)
if(NOT MXNET_PYTHON_SOURCES)
  message(STATUS "python/src holds no source: the Python extension is not built")
  add_custom_target(_ext)
  return()
endif()

execute_process(
  COMMAND ${Python_EXECUTABLE} -m nanobind --cmake_dir
  OUTPUT_VARIABLE _nanobind OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _rc)
if(_rc)
  message(FATAL_ERROR "nanobind was not found: ${Python_EXECUTABLE} -m pip install nanobind")
endif()
get_filename_component(_nanobind ${_nanobind} DIRECTORY)
# A copy whose path stays the same when pip builds in another temporary environment, for compiler caches.
file(COPY ${_nanobind} DESTINATION ${CMAKE_CURRENT_BINARY_DIR} PATTERN __pycache__ EXCLUDE)
find_package(nanobind CONFIG REQUIRED PATHS ${CMAKE_CURRENT_BINARY_DIR}/nanobind/cmake NO_DEFAULT_PATH)

nanobind_add_module(_ext NB_STATIC NB_DOMAIN mxnet NOMINSIZE ${MXNET_PYTHON_SOURCES})
target_link_libraries(_ext PRIVATE mxnet_settings mxnet)
# Default visibility keeps one identity of the core's exception types; the map keeps all symbols but PyInit inside.
set_target_properties(_ext PROPERTIES
  CXX_VISIBILITY_PRESET default
  BUILD_RPATH "$ORIGIN/.."
  INSTALL_RPATH "$ORIGIN/..")
target_compile_options(_ext PRIVATE -fno-plt -fno-gnu-unique -Wno-attributes -Wno-cast-function-type)
mx_export_only(_ext ${CMAKE_CURRENT_SOURCE_DIR}/cmake/extension.map)
if(MXNET_PCH)
  target_precompile_headers(_ext PRIVATE ${MXNET_PCH_HEADERS})
endif()
if(MXNET_INPLACE)
  set_target_properties(_ext PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/python/mxnet/_core)
endif()
install(TARGETS _ext LIBRARY DESTINATION mxnet/_core COMPONENT python)
