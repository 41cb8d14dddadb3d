// GELU and its derivative.
#pragma once
#include "lanes.hpp"

// gelu(x) = x Phi(x); gelu'(x) = Phi(x) + x phi(x) (Hendrycks and Gimpel 2016, arXiv:1606.08415).
#ifdef SM_BF16
// Both less 1/2 are odd, and here parabolas of |x| over 32 pieces of 2/13 each, which two registers hold per coefficient:
// through three Chebyshev nodes, off by 3e-5 at most, a hundredth of a bf16's last place at 1.
struct GeluPieces {
  enum { PIECES = 32 };
  static constexpr float PER_UNIT = 6.5f;
  alignas(64) float value[3][PIECES], slope[3][PIECES];  // coefficients of 1, d, d^2, d the distance from the middle

  GeluPieces() {
    const double root = 0.43301270189221933;  // sqrt(3) / 4: the outer nodes of [-1/2, 1/2]
    auto fit = [&](int piece, float (*to)[PIECES], auto&& f) {
      const double low = f((piece - root) / PER_UNIT), middle = f(piece / (double)PER_UNIT), high = f((piece + root) / PER_UNIT);
      to[0][piece] = (float)middle;
      to[1][piece] = (float)((high - low) / (2 * root));
      to[2][piece] = (float)((high + low - 2 * middle) / (2 * root * root));
    };
    for (int i = 0; i < PIECES; i++) {
      fit(i, value, [](double x) { return 0.5 * std::erf(x * 0.70710678118654752); });
      fit(i, slope, [](double x) {
        return 0.5 * std::erf(x * 0.70710678118654752) + x * std::exp(-0.5 * x * x) * 0.39894228040143268;
      });
    }
  }
  ALWAYS lanes at(const float (*of)[PIECES], __m512i piece, lanes d) {
    auto pick = [&](const float* from) {
      return (lanes)_mm512_permutex2var_ps(_mm512_load_ps(from), piece, _mm512_load_ps(from + 16));
    };
    return (pick(of[2]) * d + pick(of[1])) * d + pick(of[0]);
  }
};
static const GeluPieces GELU;

ALWAYS void gelu(lanes x, lanes& value, lanes& slope) {
  const __m512i minus = _mm512_set1_epi32((int)0x80000000);
  const lanes size = (lanes)_mm512_andnot_si512(minus, (__m512i)x);
  const lanes at = (lanes)_mm512_min_ps((__m512)(size * GeluPieces::PER_UNIT), _mm512_set1_ps(GeluPieces::PIECES - 1));
  const lanes rounded = at + 12582912.f;  // 1.5 x 2^23: the last bits are the integer
  const lanes d = at - (rounded - 12582912.f);
  value = size * GeluPieces::at(GELU.value, (__m512i)rounded, d) + x * 0.5f;
  const lanes odd = GeluPieces::at(GELU.slope, (__m512i)rounded, d);
  slope = (lanes)_mm512_ternarylogic_epi32((__m512i)odd, (__m512i)x, minus, 0x78) + 0.5f;  // with the sign of x
}
#else
// Phi with an error below 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
ALWAYS void gelu(lanes x, lanes& value, lanes& slope) {
  lanes size = (lanes)((ulanes)x & 0x7FFFFFFFu);
  lanes e = exp(x * x * -0.5f);
  lanes t = reciprocal(size * (0.3275911f * 0.70710678118654752f) + 1.f);
  lanes p = t * (0.5f * 1.061405429f) - 0.5f * 1.453152027f;
  p = p * t + 0.5f * 1.421413741f;
  p = p * t - 0.5f * 0.284496736f;
  p = p * t + 0.5f * 0.254829592f;
  lanes tail = p * t * e;  // 1 - Phi(|x|)
  lanes phi = either(x >= all(0.f), 1.f - tail, tail);
  value = x * phi;
  slope = x * e * 0.39894228040143268f + phi;
}
#endif
