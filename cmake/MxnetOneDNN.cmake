# SPDX-License-Identifier: Apache-2.0
# Target mxnet_onednn: the headers and the library of oneDNN >= 3.2, from the wheels of the Python that builds, else from
# the system (-DCMAKE_PREFIX_PATH or -Ddnnl_DIR).

if(NOT DEFINED Python_EXECUTABLE AND DEFINED PYTHON_EXECUTABLE)
  set(Python_EXECUTABLE ${PYTHON_EXECUTABLE})
endif()
if(MXNET_BUILD_PYTHON)
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
else()
  find_package(Python 3.10 REQUIRED COMPONENTS Interpreter)
endif()

option(MXNET_SYSTEM_ONEDNN "Use the system's oneDNN even if its wheels are installed" OFF)
add_library(mxnet_onednn INTERFACE)

set(_onednn)
if(NOT MXNET_SYSTEM_ONEDNN)
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/cmake/find_onednn.py
    OUTPUT_VARIABLE _onednn OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE _rc)
  if(_rc)
    set(_onednn)
  endif()
endif()
if(_onednn)
  list(GET _onednn 0 _include)
  list(GET _onednn 1 _library)
  message(STATUS "oneDNN: ${_library} (wheel)")
  # A path that stays the same when pip builds in another temporary environment, for compiler caches.
  file(CREATE_LINK ${_include} ${CMAKE_CURRENT_BINARY_DIR}/onednn SYMBOLIC)
  add_library(mxnet_onednn_imported SHARED IMPORTED)
  set_target_properties(mxnet_onednn_imported PROPERTIES
    IMPORTED_LOCATION ${_library} IMPORTED_SONAME libdnnl.so.3 INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_CURRENT_BINARY_DIR}/onednn)
  target_link_libraries(mxnet_onednn INTERFACE mxnet_onednn_imported)
else()
  find_package(dnnl 3.2 CONFIG QUIET)
  if(NOT dnnl_FOUND)
    message(FATAL_ERROR "oneDNN >= 3.2 was not found. Either install its wheels for ${Python_EXECUTABLE}:\n"
      "  pip install onednn-devel-cpu-gomp onednn-cpu-gomp\n"
      "or a system oneDNN and point -Ddnnl_DIR at the folder of its dnnl-config.cmake.")
  endif()
  message(STATUS "oneDNN: ${dnnl_DIR} (system)")
  target_link_libraries(mxnet_onednn INTERFACE DNNL::dnnl)
endif()
