# SPDX-License-Identifier: Apache-2.0
# mxnet_tests: all of tests/cpp in one doctest program.

find_path(MXNET_DOCTEST_DIR NAMES doctest.h PATH_SUFFIXES doctest)
if(NOT MXNET_DOCTEST_DIR)
  message(FATAL_ERROR "doctest.h was not found, which MXNET_BUILD_TESTS=ON needs: "
    "apt-get install doctest-dev, or -DMXNET_DOCTEST_DIR=<folder of doctest.h>")
endif()

file(GLOB_RECURSE MXNET_TEST_SOURCES CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp/*.c)
if(MXNET_BOXES)
  list(FILTER MXNET_TEST_SOURCES INCLUDE REGEX "/tests/cpp/((${MXNET_BOX_REGEX})/.*|main)\\.cc?$")
endif()
if(NOT MXNET_TEST_SOURCES)
  message(STATUS "tests/cpp holds no source: mxnet_tests is not built")
  return()
endif()

enable_testing()
add_executable(mxnet_tests ${MXNET_TEST_SOURCES})
target_link_libraries(mxnet_tests PRIVATE mxnet_settings mxnet mxnet_onednn)
# Both spellings work: "doctest.h" and "doctest/doctest.h".
get_filename_component(_above ${MXNET_DOCTEST_DIR} DIRECTORY)
target_include_directories(mxnet_tests SYSTEM PRIVATE ${MXNET_DOCTEST_DIR} ${_above})
target_include_directories(mxnet_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/tests/cpp)
if(MXNET_PCH)
  list(TRANSFORM MXNET_PCH_HEADERS REPLACE "^<(.*)>$" "$<$<COMPILE_LANGUAGE:CXX>:<\\1$<ANGLE-R>>" OUTPUT_VARIABLE _headers)
  target_precompile_headers(mxnet_tests PRIVATE ${_headers})
endif()
add_test(NAME mxnet_tests COMMAND mxnet_tests)
