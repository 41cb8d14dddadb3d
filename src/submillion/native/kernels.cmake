# Compiler flags of the kernels for each instruction set.
#
# COMPILES_<name> tells whether this compiler supports them. An older compiler builds the instruction sets it knows.
include(CheckCXXCompilerFlag)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(KERNELS neon_bf16 neon)
else()
  set(KERNELS amx avx512_bf16 avx512 avx2 int8_amx int8_avx512_vnni int8_avx_vnni int8_avx2)
endif()
set(AVX512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mbmi2)
set(FLAGS_amx ${AVX512} -mavx512bf16 -mavx512vnni -mamx-tile -mamx-bf16 -mamx-int8 -DSM_AMX)
set(FLAGS_avx512_bf16 ${AVX512} -mavx512bf16 -mavx512vnni -DSM_DOT)
set(FLAGS_avx512 ${AVX512} -DSM_FMA)
set(FLAGS_avx2 -mavx2 -mfma -mbmi2 -DSM_FMA)
# The int8 kernels are libraries of their own, made from int8_api.cpp.
set(FLAGS_int8_amx ${FLAGS_amx} -DSM_INT8)
set(FLAGS_int8_avx512_vnni ${FLAGS_avx512} -mavx512vnni -DSM_INT8)
set(FLAGS_int8_avx_vnni ${FLAGS_avx2} -mavxvnni -DSM_INT8)
set(FLAGS_int8_avx2 ${FLAGS_avx2} -DSM_INT8)
set(FLAGS_neon_bf16 -march=armv8.2-a+bf16 -DSM_MMLA)
set(FLAGS_neon -march=armv8-a -DSM_FMA)

foreach(name ${KERNELS})
  string(REPLACE ";" " " flags "${FLAGS_${name}}")
  set(CMAKE_REQUIRED_FLAGS "${flags}")
  check_cxx_compiler_flag("" COMPILES_${name})
  unset(CMAKE_REQUIRED_FLAGS)
  # -Wno-psabi: the calling convention of 64-byte vectors depends on the instruction set, but no such vector crosses a
  # library boundary. -Wno-*uninitialized: GCC 12 warns about the undefined upper halves in its own intrinsics.
  list(APPEND FLAGS_${name} -fno-math-errno -Wall -Wextra -Wno-psabi -Wno-maybe-uninitialized -Wno-uninitialized)
endforeach()
