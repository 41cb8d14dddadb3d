// Vectors of 16 floats, and the element type elem_t (bfloat16 or float32) of GEMM operands.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.hpp"

// Each build defines exactly one of SM_AMX (bfloat16 tiles), SM_DOT (AVX-512 bfloat16 dot products), SM_MMLA
// (arm64 bfloat16 products of 2 x 2) and SM_FMA (float32).
#if defined(SM_AMX) || defined(SM_DOT) || defined(SM_MMLA)
#define SM_BF16 1
typedef uint16_t elem_t;  // bfloat16: the upper half of a float32
#else
typedef float elem_t;
#endif

// exp, reciprocal and gelu as exact as bfloat16 or int8 products need, and faster; written for AVX-512 alone.
#if (defined(SM_BF16) || defined(SM_INT8)) && defined(__AVX512F__)
#define SM_FAST_MATH 1
#endif

#if defined(__AVX512F__)
#include "simd_avx512.hpp"
#elif defined(__AVX2__)
#include "simd_avx2.hpp"
#else
#include "simd_neon.hpp"
#endif

namespace submillion {

// max(value, low) that passes NaN through (NaN < low is false), so that a broken weight shows in the result.
FORCE_INLINE f32x16 clamp_min(f32x16 value, float low) {
  return select(value < broadcast(low), broadcast(low), value);
}

// A row of a block is 32 elements: 64 bytes of bfloat16, or 128 of float32.
FORCE_INLINE void store_row(float* to, f32x16 low, f32x16 high) { store(to, low), store(to + 16, high); }
FORCE_INLINE void load_row(const float* from, f32x16& low, f32x16& high) {
  low = load(from), high = load(from + 16);
}
#ifndef SM_BF16
FORCE_INLINE void store_row_nt(float* to, f32x16 low, f32x16 high) {
  store_nt(to, low), store_nt(to + 16, high);
}
#endif

// Below -87.3 both versions of exp return e^-87.3, because the true result would be denormal.
#ifdef SM_FAST_MATH
// e^x = 2^n 2^f with |f| <= 1/2. The Taylor series of 2^f up to f^5 has an error of at most 3e-6, a
// thousandth of the last place of bfloat16.
FORCE_INLINE f32x16 exp(f32x16 x) {
  f32x16 t = clamp_min(x, -87.3f) * 1.44269504088896341f;
  f32x16 n = (f32x16)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  f32x16 f = t - n;
  f32x16 p = f * 1.33335581e-3f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.f;
  return (f32x16)_mm512_scalef_ps((__m512)p, (__m512)n);
}
#else
// e^x to about 1 ulp (Cephes expf, netlib.org/cephes): x = n ln 2 + r with |r| <= ln 2 / 2, a polynomial for
// e^r, and 2^n written into the exponent bits.
FORCE_INLINE f32x16 exp(f32x16 x) {
  x = clamp_min(x, -87.3f);
  f32x16 n = x * 1.44269504088896341f + 12582912.f;  // adding 1.5 x 2^23 rounds to an integer
  i32x16 exponent = (i32x16)n - 0x4B400000;
  n = n - 12582912.f;
  f32x16 r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  f32x16 p = broadcast(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  return p * (f32x16)((exponent + 127) << 23);
}
#endif

}  // namespace submillion
