// The instruction of AVX-VNNI that multiplies bytes, computed with AVX2, so that the int8 build that uses it
// is tested on processors without it.
#pragma once
#include <immintrin.h>

// Returns the sums plus, for each, the products of four unsigned and four signed bytes (vpdpbusd).
static inline __m256i add_products_of_bytes(__m256i sums, __m256i without_sign, __m256i with_sign) {
  const __m256i low = _mm256_set1_epi16(0xff);
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(without_sign, low),
                                         _mm256_srai_epi16(_mm256_slli_epi16(with_sign, 8), 8));
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(without_sign, 8), _mm256_srai_epi16(with_sign, 8));
  return _mm256_add_epi32(sums, _mm256_add_epi32(even, odd));
}
#define _mm256_dpbusd_avx_epi32 add_products_of_bytes
