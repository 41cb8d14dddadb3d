// AVX-512: vectors of 16 floats in one register, and 32 registers.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "macros.hpp"

namespace submillion {

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
// The smaller and the larger of two lanes; b if one of them is NaN.
FORCE_INLINE f32x16 minimum(f32x16 a, f32x16 b) { return (f32x16)_mm512_min_ps((__m512)a, (__m512)b); }
FORCE_INLINE f32x16 maximum(f32x16 a, f32x16 b) { return (f32x16)_mm512_max_ps((__m512)a, (__m512)b); }
FORCE_INLINE f32x16 load_as_floats(const int32_t* from) {
  return (f32x16)_mm512_cvtepi32_ps(_mm512_loadu_si512(from));
}
FORCE_INLINE float reduce_add(f32x16 value) { return _mm512_reduce_add_ps((__m512)value); }
FORCE_INLINE float reduce_max(f32x16 value) { return _mm512_reduce_max_ps((__m512)value); }
FORCE_INLINE float reduce_min(f32x16 value) { return _mm512_reduce_min_ps((__m512)value); }

#ifdef SM_FAST_MATH
// 1 / x to 14 bits.
FORCE_INLINE f32x16 reciprocal(f32x16 x) { return (f32x16)_mm512_rcp14_ps((__m512)x); }
#else
FORCE_INLINE f32x16 reciprocal(f32x16 x) {
  f32x16 estimate = (f32x16)_mm512_rcp14_ps((__m512)x);
  return estimate * (2.f - x * estimate);  // one Newton step: 14 bits become 27
}
#endif

// Returns a mask whose bit i tells whether the i-th 16 bits of `value` are below `threshold`.
FORCE_INLINE uint32_t halves_below(u32x16 value, uint32_t threshold) {
  return _mm512_cmplt_epu16_mask((__m512i)value, _mm512_set1_epi16((short)threshold));
}
// Zeroes the lanes whose mask bit is not set.
FORCE_INLINE f32x16 zero_dropped(f32x16 value, uint32_t mask) {
  return (f32x16)_mm512_maskz_mov_ps((__mmask16)mask, (__m512)value);
}
#ifdef SM_BF16
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
#endif

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

enum { FLOAT_TILE_SIDE = 16, TILE_SIDE = 16 };
// Transposes FLOAT_TILE_SIDE rows of as many floats; strides are in floats.
FORCE_INLINE void transpose_tile(const float* from, long from_stride, float* to, long to_stride) {
  u32x16 r[16];
  for (int k = 0; k < 16; k++) r[k] = (u32x16)load(from + k * from_stride);
  transpose_16x16(r);
  for (int k = 0; k < 16; k++) store(to + k * to_stride, (f32x16)r[k]);
}

}  // namespace submillion
