// Checks that the processor can run a build, and measures its peak multiply-add rate.
#pragma once
#include "gemm.hpp"
#ifdef SM_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace submillion {

// Returns why this processor cannot run this build, or null if it can.
inline const char* unsupported_reason() {
  bool able =
      __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx2");
#ifdef __AVX512F__
  able = able && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#ifdef SM_BF16
  able = able && __builtin_cpu_supports("avx512bf16");
#endif
  if (!able) return "this processor cannot run it";
#ifdef SM_AMX
  // See sm_init in c_api.cpp.
  if (syscall(SYS_arch_prctl, 0x1023, 18)) return "the system does not grant tile registers";
#endif
  return nullptr;
}

// Runs multiply-adds on registers alone, with enough independent accumulators to hide their latency, and
// returns the number of floating-point operations. Never inlined: in a larger function GCC 12 spills the
// accumulators to memory, which halves the speed.
__attribute__((noinline)) inline double register_fma_flops() {
#ifdef SM_AMX
  const long count = 1000000;
  configure_tiles();
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (long i = 0; i < count; i++) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 5, 6);
    _tile_dpbf16ps(2, 4, 7);
    _tile_dpbf16ps(3, 5, 7);
  }
  release_tiles();
  return 4.0 * 2 * 16 * 16 * 32 * count;
#else
  const long count = 3000000;
  vec_t sums[12] = {}, a = vec_t{} + 0.5f, b = vec_t{} + 0.25f;
  for (long i = 0; i < count; i++)
#pragma GCC unroll 12
    for (int j = 0; j < 12; j++) {
#ifdef SM_DOT
      sums[j] = (f32x16)_mm512_dpbf16_ps((__m512)sums[j], (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
      sums[j] += a * b;
#endif
      asm volatile(""
                   : "+v"(sums[j]),
                     "+v"(a));  // keeps the compiler from removing or precomputing the products
    }
  return 12.0 * 2 * VEC_LANES * (sizeof(elem_t) == 2 ? 2 : 1) * count;
#endif
}

}  // namespace submillion
