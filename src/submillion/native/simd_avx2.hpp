// AVX2: vectors of 16 floats in two registers of 8.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "vector_pair.hpp"

namespace submillion {

typedef float f32x8 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
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
// The smaller and the larger of two lanes; b if one of them is NaN.
FORCE_INLINE f32x16 minimum(f32x16 a, f32x16 b) {
  return {(f32x8)_mm256_min_ps((__m256)a.low, (__m256)b.low),
          (f32x8)_mm256_min_ps((__m256)a.high, (__m256)b.high)};
}
FORCE_INLINE f32x16 maximum(f32x16 a, f32x16 b) {
  return {(f32x8)_mm256_max_ps((__m256)a.low, (__m256)b.low),
          (f32x8)_mm256_max_ps((__m256)a.high, (__m256)b.high)};
}
FORCE_INLINE f32x16 load_as_floats(const int32_t* from) {
  return {(f32x8)_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i*)from)),
          (f32x8)_mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i*)(from + 8)))};
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
FORCE_INLINE float reduce_min(f32x16 value) { return -reduce_max(f32x16{} - value); }

FORCE_INLINE f32x16 reciprocal(f32x16 x) {
  f32x16 estimate = {(f32x8)_mm256_rcp_ps((__m256)x.low), (f32x8)_mm256_rcp_ps((__m256)x.high)};
  return estimate * (2.f - x * estimate);  // one Newton step: 12 bits become 23
}

// Returns a mask whose bit i tells whether the i-th 16 bits of `value` are below `threshold`.
FORCE_INLINE uint32_t halves_below(u32x16 value, uint32_t threshold) {
  typedef uint16_t u16x16 __attribute__((vector_size(32)));
  __m256i low = (__m256i)((u16x16)value.low < (uint16_t)threshold),
          high = (__m256i)((u16x16)value.high < (uint16_t)threshold);
  return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8));
}
// Zeroes the lanes whose mask bit is not set.
FORCE_INLINE f32x16 zero_dropped(f32x16 value, uint32_t mask) {
  const u32x16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (f32x16)((u32x16)value & (u32x16)((bit & mask) != u32x16{}));
}

enum { FLOAT_TILE_SIDE = 8, TILE_SIDE = 8 };
// Transposes FLOAT_TILE_SIDE rows of as many floats; strides are in floats.
FORCE_INLINE void transpose_tile(const float* from, long from_stride, float* to, long to_stride) {
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

}  // namespace submillion
