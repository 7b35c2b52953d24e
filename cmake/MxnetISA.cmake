# SPDX-License-Identifier: Apache-2.0
# Sources that are compiled once per instruction set and chosen from at load.
#
# Every file src/**/*_isa.cc is one. It is compiled with MX_ISA=sse42, avx2 and avx512 (generic on other processors) and
# must put all it defines into a namespace of that name, or an anonymous one; an ordinary .cc picks one at run time.
#
# An inline function of a shared header is emitted by each variant, and the linker keeps the first. So the objects are
# linked in rising order, after the ordinary ones: the copy that stays is one that every supported processor can run.

if(MXNET_X86)
  set(MXNET_ISAS sse42 avx2 avx512)
  set(MXNET_ISA_FLAGS_sse42 -march=x86-64-v2)
  set(MXNET_ISA_FLAGS_avx2 -march=x86-64-v3)
  set(MXNET_ISA_FLAGS_avx512 -march=x86-64-v4 -mprefer-vector-width=512)
else()
  set(MXNET_ISAS generic)
endif()

# Sets MXNET_ISA_OBJECTS in the caller: the objects of all variants, in link order.
function(mx_add_isa_sources)
  set(objects)
  if(ARGN)
    foreach(isa IN LISTS MXNET_ISAS)
      add_library(mxnet_isa_${isa} OBJECT ${ARGN})
      mx_core_settings(mxnet_isa_${isa})
      target_compile_definitions(mxnet_isa_${isa} PRIVATE MX_ISA=${isa} MX_ISA_NAME="${isa}" MX_ISA_IS_${isa}=1)
      target_compile_options(mxnet_isa_${isa} PRIVATE
        ${MXNET_ISA_FLAGS_${isa}} -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast)
      list(APPEND objects $<TARGET_OBJECTS:mxnet_isa_${isa}>)
    endforeach()
  endif()
  set(MXNET_ISA_OBJECTS ${objects} PARENT_SCOPE)
endfunction()
