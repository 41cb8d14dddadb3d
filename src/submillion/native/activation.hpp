// GELU and its derivative.
#pragma once
#include "lanes.hpp"

// gelu(x) = x Phi(x); gelu'(x) = Phi(x) + x phi(x) (Hendrycks and Gimpel 2016, arXiv:1606.08415), Phi with an error
// below 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
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
