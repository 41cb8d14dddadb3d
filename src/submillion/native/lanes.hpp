// Vectors of 16 floats, and the element type T that products read.
#pragma once
#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#include "pairs.hpp"

#define ALWAYS static inline __attribute__((always_inline))
// A whole pass over a group's rows: called, not inlined, so that a profile names it.
#define STAGE static __attribute__((noinline))

// The path this file is compiled for: exactly one of SM_AMX, SM_DOT (AVX-512 bf16), SM_FMA (float32) is set.
#if defined(SM_AMX) || defined(SM_DOT)
#define SM_BF16 1
#endif

#ifdef __AVX512F__
typedef float lanes __attribute__((vector_size(64)));
typedef int32_t ilanes __attribute__((vector_size(64)));
typedef uint32_t ulanes __attribute__((vector_size(64)));
typedef float lanes_any __attribute__((vector_size(64), aligned(4)));

ALWAYS lanes all(float value) { return value - lanes{}; }
ALWAYS lanes load(const float* from) { return *(const lanes_any*)from; }
ALWAYS void store(float* to, lanes value) { *(lanes_any*)to = value; }
ALWAYS void stream(float* to, lanes value) { _mm512_stream_ps(to, (__m512)value); }
// a where the mask's lane holds, b elsewhere.
template <class Mask>
ALWAYS lanes either(Mask mask, lanes a, lanes b) {
  return mask ? a : b;
}
ALWAYS float sum(lanes value) { return _mm512_reduce_add_ps((__m512)value); }
ALWAYS float largest(lanes value) { return _mm512_reduce_max_ps((__m512)value); }
#else
typedef Pair<floats, float> lanes;
typedef Pair<ints, int32_t> ilanes;
typedef Pair<words, uint32_t> ulanes;

ALWAYS lanes all(float value) { return value; }
ALWAYS lanes load(const float* from) { return {(floats)_mm256_loadu_ps(from), (floats)_mm256_loadu_ps(from + 8)}; }
ALWAYS void store(float* to, lanes value) {
  _mm256_storeu_ps(to, (__m256)value.low);
  _mm256_storeu_ps(to + 8, (__m256)value.high);
}
ALWAYS void stream(float* to, lanes value) {
  _mm256_stream_ps(to, (__m256)value.low);
  _mm256_stream_ps(to + 8, (__m256)value.high);
}
ALWAYS lanes either(ilanes mask, lanes a, lanes b) { return {mask.low ? a.low : b.low, mask.high ? a.high : b.high}; }
ALWAYS float sum(lanes value) {
  __m256 both = (__m256)(value.low + value.high);
  __m128 four = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
  four = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
ALWAYS float largest(lanes value) {
  __m256 both = _mm256_max_ps((__m256)value.low, (__m256)value.high);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}
#endif

// x < floor is false for NaN, so NaN passes through: a broken weight must show in the result.
ALWAYS lanes at_least(lanes value, float floor) { return either(value < all(floor), all(floor), value); }

#ifdef SM_BF16
typedef uint16_t T;  // bfloat16: the upper half of a float32

ALWAYS lanes load(const T* from) {
  return (lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from)), 16);
}
ALWAYS void store(T* to, lanes value) {
  _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh((__m512)value));
}
// A whole row of a block: 32 elements, 64 bytes, one register.
ALWAYS void store_row(T* to, lanes low, lanes high) {
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
// What is read again only after much else: past the caches, whose lines it would push out.
ALWAYS void stream_row(T* to, lanes low, lanes high) {
  _mm512_stream_si512((__m512i*)to, (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low));
}
ALWAYS void load_row(const T* from, lanes& low, lanes& high) {
  __m512i row = _mm512_loadu_si512(from);
  low = (lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(row)), 16);
  high = (lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(row, 1)), 16);
}
#else
typedef float T;

ALWAYS void store_row(T* to, lanes low, lanes high) { store(to, low), store(to + 16, high); }
ALWAYS void stream_row(T* to, lanes low, lanes high) { stream(to, low), stream(to + 16, high); }
#endif
ALWAYS void load_row(const float* from, lanes& low, lanes& high) { low = load(from), high = load(from + 16); }
#ifdef SM_BF16
ALWAYS void store_row(float* to, lanes low, lanes high) { store(to, low), store(to + 16, high); }
#endif

#ifdef SM_BF16
// e^x = 2^n 2^f with |f| <= 1/2: the series of 2^f to f^5 is off by 3e-6 at most, a thousandth of a bf16's last place.
// Below -87.3 the result would be denormal; it is e^-87.3 there.
ALWAYS lanes exp(lanes x) {
  lanes t = at_least(x, -87.3f) * 1.44269504088896341f;
  lanes n = (lanes)_mm512_roundscale_ps((__m512)t, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  lanes f = t - n;
  lanes p = f * 1.33335581e-3f + 9.61812911e-3f;
  p = p * f + 5.55041087e-2f;
  p = p * f + 2.40226507e-1f;
  p = p * f + 6.93147181e-1f;
  p = p * f + 1.f;
  return (lanes)_mm512_scalef_ps((__m512)p, (__m512)n);
}

// 1 / x to 14 bits.
ALWAYS lanes reciprocal(lanes x) { return (lanes)_mm512_rcp14_ps((__m512)x); }
#else
// e^x to 1 ulp or so: x = n ln 2 + r, |r| <= ln 2 / 2, a polynomial for e^r (Cephes expf), 2^n by its exponent.
// Below -87.3 the result would be denormal; it is e^-87.3 there.
ALWAYS lanes exp(lanes x) {
  x = at_least(x, -87.3f);
  lanes n = x * 1.44269504088896341f + 12582912.f;  // 1.5 x 2^23: what is added to it is rounded to an integer
  ilanes power = (ilanes)n - 0x4B400000;
  n = n - 12582912.f;
  lanes r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  lanes p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  return p * (lanes)((power + 127) << 23);
}

ALWAYS lanes reciprocal(lanes x) {
#ifdef __AVX512F__
  lanes guess = (lanes)_mm512_rcp14_ps((__m512)x);
  return guess * (2.f - x * guess);  // one Newton step: 14 bits become 27
#else
  lanes guess = {(floats)_mm256_rcp_ps((__m256)x.low), (floats)_mm256_rcp_ps((__m256)x.high)};
  return guess * (2.f - x * guess);  // 12 bits become 23
#endif
}
#endif

#ifdef __AVX512F__
// Turns 16 rows of 16 words by their diagonal.
ALWAYS void transpose16(ulanes* r) {
  ulanes t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = __builtin_shufflevector(r[2 * i], r[2 * i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
    t[2 * i + 1] =
        __builtin_shufflevector(r[2 * i], r[2 * i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
  }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 2; j++) {
      ulanes a = t[4 * i + j], b = t[4 * i + 2 + j];
      r[4 * i + 2 * j] = __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
      r[4 * i + 2 * j + 1] = __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
  for (int h = 0; h < 2; h++)
    for (int j = 0; j < 4; j++) {
      ulanes a = r[8 * h + j], b = r[8 * h + 4 + j];
      t[8 * h + j] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      t[8 * h + 4 + j] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
  for (int h = 0; h < 2; h++)
    for (int j = 0; j < 4; j++) {
      ulanes a = t[4 * h + j], b = t[8 + 4 * h + j];
      r[4 * h + j] = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
      r[8 + 4 * h + j] = __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}
#else
// Turns 8 rows of 8 floats by their diagonal.
ALWAYS void transpose8(const float* from, long from_stride, float* to, long to_stride) {
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
