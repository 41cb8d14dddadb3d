# The kinds of processor that have kernels, and how kernels are compiled for each; COMPILES_<kind> says whether this
# compiler can: an older one builds the kinds it knows.
include(CheckCXXCompilerFlag)

set(KERNELS amx avx512_bf16 avx512 avx2)
set(AVX512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mbmi2)
set(FLAGS_amx ${AVX512} -mavx512bf16 -mamx-tile -mamx-bf16 -DSM_AMX)
set(FLAGS_avx512_bf16 ${AVX512} -mavx512bf16 -DSM_DOT)
set(FLAGS_avx512 ${AVX512} -DSM_FMA)
set(FLAGS_avx2 -mavx2 -mfma -mbmi2 -DSM_FMA)

foreach(name ${KERNELS})
  string(REPLACE ";" " " flags "${FLAGS_${name}}")
  set(CMAKE_REQUIRED_FLAGS "${flags}")
  check_cxx_compiler_flag("" COMPILES_${name})
  unset(CMAKE_REQUIRED_FLAGS)
  # Vectors of 64 bytes change their calling convention with the processor; none crosses a library's edge. GCC 12
  # calls the undefined upper halves of its own intrinsics uninitialized.
  list(APPEND FLAGS_${name} -fno-math-errno -Wall -Wextra -Wno-psabi -Wno-maybe-uninitialized -Wno-uninitialized)
endforeach()
