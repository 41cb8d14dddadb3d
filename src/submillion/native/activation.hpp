// GELU and its derivative.
#pragma once
#include "simd.hpp"

namespace submillion {

// gelu(x) = x Phi(x); gelu'(x) = Phi(x) + x phi(x) (Hendrycks and Gimpel 2016, arXiv:1606.08415).
#ifdef SM_FAST_MATH
// Phi(x) - 1/2 and gelu'(x) - 1/2 are odd functions. Each is a table of parabolas of |x| on 32 intervals of
// width 2/13 (two registers per coefficient), fitted at the three Chebyshev nodes. The error is at most 3e-5,
// a hundredth of the last place of bfloat16 at 1.
struct GeluTable {
  enum { INTERVALS = 32 };
  static constexpr float INTERVALS_PER_UNIT = 6.5f;
  // Coefficients of 1, d and d^2, where d is the distance from the middle of the interval.
  alignas(64) float phi[3][INTERVALS], derivative[3][INTERVALS];

  GeluTable() {
    const double node = 0.43301270189221933;  // sqrt(3) / 4: the outer Chebyshev nodes of [-1/2, 1/2]
    auto fit = [&](int interval, float (*coefficients)[INTERVALS], auto&& f) {
      const double low = f((interval - node) / INTERVALS_PER_UNIT),
                   middle = f(interval / (double)INTERVALS_PER_UNIT),
                   high = f((interval + node) / INTERVALS_PER_UNIT);
      coefficients[0][interval] = (float)middle;
      coefficients[1][interval] = (float)((high - low) / (2 * node));
      coefficients[2][interval] = (float)((high + low - 2 * middle) / (2 * node * node));
    };
    for (int i = 0; i < INTERVALS; i++) {
      fit(i, phi, [](double x) { return 0.5 * std::erf(x * 0.70710678118654752); });
      fit(i, derivative, [](double x) {
        return 0.5 * std::erf(x * 0.70710678118654752) + x * std::exp(-0.5 * x * x) * 0.39894228040143268;
      });
    }
  }
  FORCE_INLINE f32x16 evaluate(const float (*coefficients)[INTERVALS], __m512i interval, f32x16 d) {
    auto lookup = [&](const float* table) {
      return (f32x16)_mm512_permutex2var_ps(_mm512_load_ps(table), interval, _mm512_load_ps(table + 16));
    };
    return (lookup(coefficients[2]) * d + lookup(coefficients[1])) * d + lookup(coefficients[0]);
  }
};
static const GeluTable GELU_TABLE;

FORCE_INLINE void gelu(f32x16 x, f32x16& value, f32x16& derivative) {
  const __m512i sign_bit = _mm512_set1_epi32((int)0x80000000);
  const f32x16 abs_x = (f32x16)_mm512_andnot_si512(sign_bit, (__m512i)x);
  const f32x16 position = (f32x16)_mm512_min_ps((__m512)(abs_x * GeluTable::INTERVALS_PER_UNIT),
                                                _mm512_set1_ps(GeluTable::INTERVALS - 1));
  const f32x16 rounded = position + 12582912.f;  // 1.5 x 2^23: the last bits are the nearest integer
  const f32x16 d = position - (rounded - 12582912.f);
  value = abs_x * GeluTable::evaluate(GELU_TABLE.phi, (__m512i)rounded, d) + x * 0.5f;
  const f32x16 odd = GeluTable::evaluate(GELU_TABLE.derivative, (__m512i)rounded, d);
  derivative =
      (f32x16)_mm512_ternarylogic_epi32((__m512i)odd, (__m512i)x, sign_bit, 0x78) + 0.5f;  // x's sign on odd
}
#else
// Phi with an error below 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
FORCE_INLINE void gelu(f32x16 x, f32x16& value, f32x16& derivative) {
  f32x16 abs_x = (f32x16)((u32x16)x & 0x7FFFFFFFu);
  f32x16 e = exp(x * x * -0.5f);
  f32x16 t = reciprocal(abs_x * (0.3275911f * 0.70710678118654752f) + 1.f);
  f32x16 p = t * (0.5f * 1.061405429f) - 0.5f * 1.453152027f;
  p = p * t + 0.5f * 1.421413741f;
  p = p * t - 0.5f * 0.284496736f;
  p = p * t + 0.5f * 0.254829592f;
  f32x16 upper_tail = p * t * e;  // 1 - Phi(|x|)
  f32x16 phi = select(x >= broadcast(0.f), 1.f - upper_tail, upper_tail);
  value = x * phi;
  derivative = x * e * 0.39894228040143268f + phi;
}
#endif

}  // namespace submillion
