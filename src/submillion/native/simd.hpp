// Vectors of 16 floats, and the element type elem_t (bfloat16 or float32) of GEMM operands.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "macros.hpp"
#include "simd_avx2.hpp"

// Each build defines exactly one of SM_AMX (bfloat16 tiles), SM_DOT (AVX-512 bfloat16 dot products) and
// SM_FMA (float32).
#if defined(SM_AMX) || defined(SM_DOT)
#define SM_BF16 1
#endif
// exp, reciprocal and gelu as exact as bfloat16 or int8 products need.
#if defined(SM_BF16) || defined(SM_INT8)
#define SM_FAST_MATH 1
#endif

namespace submillion {

#ifdef __AVX512F__
typedef float f32x16 __attribute__((vector_size(64)));
typedef int32_t i32x16 __attribute__((vector_size(64)));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
typedef float f32x16_unaligned __attribute__((vector_size(64), aligned(4)));

FORCE_INLINE f32x16 broadcast(float value) { return value - f32x16{}; }
FORCE_INLINE f32x16 load(const float* from) { return *(const f32x16_unaligned*)from; }
FORCE_INLINE void store(float* to, f32x16 value) { *(f32x16_unaligned*)to = value; }
// Non-temporal store: the data is not reused soon and must not evict anything from the caches.
FORCE_INLINE void store_nt(float* to, f32x16 value) { _mm512_stream_ps(to, (__m512)value); }
// Takes a where the mask is set, b elsewhere.
template <class Mask>
FORCE_INLINE f32x16 select(Mask mask, f32x16 a, f32x16 b) {
  return mask ? a : b;
}
FORCE_INLINE float reduce_add(f32x16 value) { return _mm512_reduce_add_ps((__m512)value); }
FORCE_INLINE float reduce_max(f32x16 value) { return _mm512_reduce_max_ps((__m512)value); }
#else
typedef VectorPair<f32x8, float> f32x16;
typedef VectorPair<i32x8, int32_t> i32x16;
typedef VectorPair<u32x8, uint32_t> u32x16;

FORCE_INLINE f32x16 broadcast(float value) { return value; }
FORCE_INLINE f32x16 load(const float* from) {
  return {(f32x8)_mm256_loadu_ps(from), (f32x8)_mm256_loadu_ps(from + 8)};
}
FORCE_INLINE void store(float* to, f32x16 value) {
  _mm256_storeu_ps(to, (__m256)value.low);
  _mm256_storeu_ps(to + 8, (__m256)value.high);
}
FORCE_INLINE void store_nt(float* to, f32x16 value) {
  _mm256_stream_ps(to, (__m256)value.low);
  _mm256_stream_ps(to + 8, (__m256)value.high);
}
FORCE_INLINE f32x16 select(i32x16 mask, f32x16 a, f32x16 b) {
  return {mask.low ? a.low : b.low, mask.high ? a.high : b.high};
}
FORCE_INLINE float reduce_add(f32x16 value) {
  __m256 eight = (__m256)(value.low + value.high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
FORCE_INLINE float reduce_max(f32x16 value) {
  __m256 eight = _mm256_max_ps((__m256)value.low, (__m256)value.high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
#endif

// max(value, low) that passes NaN through (NaN < low is false), so that a broken weight shows in the result.
FORCE_INLINE f32x16 clamp_min(f32x16 value, float low) {
  return select(value < broadcast(low), broadcast(low), value);
}

// A row of a block is 32 elements: 64 bytes of bfloat16 in one register, or two registers of float32.
#ifdef SM_BF16
typedef uint16_t elem_t;  // bfloat16: the upper half of a float32

FORCE_INLINE f32x16 load(const elem_t* from) {
  return (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
}
FORCE_INLINE void store(elem_t* to, f32x16 value) {
  _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
FORCE_INLINE void store_row(elem_t* to, f32x16 low, f32x16 high) {
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
FORCE_INLINE void store_row_nt(elem_t* to, f32x16 low, f32x16 high) {
  _mm512_stream_si512((__m512i*)to, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
FORCE_INLINE void load_row(const elem_t* from, f32x16& low, f32x16& high) {
  __m512i row = _mm512_loadu_si512(from);
  low = (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(row)), 16);
  high = (f32x16)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(row, 1)), 16);
}
#else
typedef float elem_t;

FORCE_INLINE void store_row(elem_t* to, f32x16 low, f32x16 high) { store(to, low), store(to + 16, high); }
FORCE_INLINE void store_row_nt(elem_t* to, f32x16 low, f32x16 high) {
  store_nt(to, low), store_nt(to + 16, high);
}
#endif
FORCE_INLINE void load_row(const float* from, f32x16& low, f32x16& high) {
  low = load(from), high = load(from + 16);
}
#ifdef SM_BF16
FORCE_INLINE void store_row(float* to, f32x16 low, f32x16 high) { store(to, low), store(to + 16, high); }
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

// 1 / x to 14 bits.
FORCE_INLINE f32x16 reciprocal(f32x16 x) { return (f32x16)_mm512_rcp14_ps((__m512)x); }
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

FORCE_INLINE f32x16 reciprocal(f32x16 x) {
#ifdef __AVX512F__
  f32x16 estimate = (f32x16)_mm512_rcp14_ps((__m512)x);
  return estimate * (2.f - x * estimate);  // one Newton step: 14 bits become 27
#else
  f32x16 estimate = {(f32x8)_mm256_rcp_ps((__m256)x.low), (f32x8)_mm256_rcp_ps((__m256)x.high)};
  return estimate * (2.f - x * estimate);  // one Newton step: 12 bits become 23
#endif
}
#endif

#ifdef __AVX512F__
// Transposes 16 rows of 16 words in place.
FORCE_INLINE void transpose_16x16(u32x16* r) {
  u32x16 t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12,
                                       28, 13, 29);
    t[2 * i + 1] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27,
                                           14, 30, 15, 31);
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      u32x16 a = t[4 * i + j], b = t[4 * i + 2 + j];
      r[4 * i + 2 * j] =
          __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      r[4 * i + 2 * j + 1] =
          __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  for (int h = 0; h < 2; h++)
    for (int j = 0; j < 4; j++) {
      u32x16 a = r[8 * h + j], b = r[8 * h + 4 + j];
      t[8 * h + j] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      t[8 * h + 4 + j] =
          __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
  for (int h = 0; h < 2; h++)
    for (int j = 0; j < 4; j++) {
      u32x16 a = t[4 * h + j], b = t[8 + 4 * h + j];
      r[4 * h + j] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      r[8 + 4 * h + j] =
          __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}
#else
// Transposes 8 rows of 8 floats; strides are in floats.
FORCE_INLINE void transpose_8x8(const float* from, long from_stride, float* to, long to_stride) {
  __m256 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(from + i * from_stride);
  for (int i = 0; i < 4; i++) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 2; i++)
    for (int j = 0; j < 2; j++) {
      __m256 a = t[4 * i + j], b = t[4 * i + 2 + j];
      r[4 * i + 2 * j] = _mm256_shuffle_ps(a, b, 0x44);
      r[4 * i + 2 * j + 1] = _mm256_shuffle_ps(a, b, 0xEE);
    }
  for (int i = 0; i < 4; i++) {
    _mm256_storeu_ps(to + i * to_stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x20));
    _mm256_storeu_ps(to + (4 + i) * to_stride, _mm256_permute2f128_ps(r[i], r[4 + i], 0x31));
  }
}
#endif

}  // namespace submillion
