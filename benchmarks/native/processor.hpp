// Whether this processor runs the kernels of a kind, and the multiply-adds that it can do at most.
#pragma once
#include "products.hpp"
#ifdef SM_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

// What keeps this build from running here, or null.
inline const char* not_here() {
  bool able = __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx2");
#ifdef __AVX512F__
  able = able && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#ifdef SM_BF16
  able = able && __builtin_cpu_supports("avx512bf16");
#endif
  if (!able) return "this processor cannot run it";
#ifdef SM_AMX
  // As the package asks for it: 0x1023 is ARCH_REQ_XCOMP_PERM, 18 the tiles' data.
  if (syscall(SYS_arch_prctl, 0x1023, 18)) return "the system does not grant tile registers";
#endif
  return nullptr;
}

// Multiply-adds on registers alone, with enough independent sums to hide their latency; returns their flops.
// Never inlined: in a larger function GCC 12 keeps the sums in memory, and half the speed is left.
__attribute__((noinline)) inline double on_registers() {
#ifdef SM_AMX
  const long count = 1000000;
  begin_products();
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
  end_products();
  return 4.0 * 2 * 16 * 16 * 32 * count;
#else
  const long count = 3000000;
  Register sums[12] = {}, a = Register{} + 0.5f, b = Register{} + 0.25f;
  for (long i = 0; i < count; i++)
#pragma GCC unroll 12
    for (int j = 0; j < 12; j++) {
#ifdef SM_DOT
      sums[j] = (lanes)_mm512_dpbf16_ps((__m512)sums[j], (__m512bh)(__m512)a, (__m512bh)(__m512)b);
#else
      sums[j] += a * b;
#endif
      asm volatile("" : "+v"(sums[j]), "+v"(a));  // every sum is wanted, and no product is known beforehand
    }
  return 12.0 * 2 * WIDTH * (sizeof(T) == 2 ? 2 : 1) * count;
#endif
}
