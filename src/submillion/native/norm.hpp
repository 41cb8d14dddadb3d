// Layer norm over blocks of 32 rows, forward and backward; the sum of residual and branch is made before it.
#pragma once
#include "dropout.hpp"

// y = (x - mean) rs g + b with rs = 1 / sqrt(variance + epsilon) (Ba, Kiros and Hinton 2016, arXiv:1607.06450).
//
// x: float32 [chunks][32][32]; normed, y: the same in T; spread: rs per row; any of the three may be null.
// rows: y in float32, row-major [32][chunks * 32], may be null.
STAGE void norm_forward(const float* x, int chunks, const float* g, const float* b, float epsilon, T* normed, T* y,
                         float* spread, float* rows) {
  alignas(64) lanes sums[SIDE], squares[SIDE];
  float mean[SIDE], rs[SIDE];
  const float share = 1.f / (float)(chunks * SIDE);
  for (int i = 0; i < SIDE; i++) sums[i] = lanes{}, squares[i] = lanes{};
  for (int c = 0; c < chunks; c++)
    for (int i = 0; i < SIDE; i++) sums[i] += load(x + c * BLOCK + i * SIDE) + load(x + c * BLOCK + i * SIDE + 16);
  for (int i = 0; i < SIDE; i++) mean[i] = sum(sums[i]) * share;
  // Squares of differences from the mean: those of x itself would cancel in float32.
  for (int c = 0; c < chunks; c++)
    for (int i = 0; i < SIDE; i++) {
      lanes low = load(x + c * BLOCK + i * SIDE) - mean[i], high = load(x + c * BLOCK + i * SIDE + 16) - mean[i];
      squares[i] += low * low + high * high;
    }
  for (int i = 0; i < SIDE; i++) {
    rs[i] = 1.f / std::sqrt(sum(squares[i]) * share + epsilon);
    if (spread) spread[i] = rs[i];
  }
  for (int c = 0; c < chunks; c++) {
    lanes g0 = load(g + c * SIDE), g1 = load(g + c * SIDE + 16), b0 = load(b + c * SIDE), b1 = load(b + c * SIDE + 16);
    for (int i = 0; i < SIDE; i++) {
      long at = (long)c * BLOCK + i * SIDE;
      lanes low = (load(x + at) - mean[i]) * rs[i], high = (load(x + at + 16) - mean[i]) * rs[i];
      if (normed) stream_row(normed + at, low, high);
      low = low * g0 + b0, high = high * g1 + b1;
      if (y) store_row(y + at, low, high);
      if (rows) store_row(rows + ((long)i * chunks + c) * SIDE, low, high);
    }
  }
}

// y again, from what was normed.
STAGE void norm_output(const T* normed, int chunks, const float* g, const float* b, T* y) {
  for (int c = 0; c < chunks; c++) {
    lanes g0 = load(g + c * SIDE), g1 = load(g + c * SIDE + 16), b0 = load(b + c * SIDE), b1 = load(b + c * SIDE + 16);
    for (int i = 0; i < SIDE; i++) {
      lanes low, high;
      load_row(normed + c * BLOCK + i * SIDE, low, high);
      store_row(y + c * BLOCK + i * SIDE, low * g0 + b0, high * g1 + b1);
    }
  }
}

// With d = dy g: dx = rs (d - mean(d) - normed mean(d normed)). dx goes on to the residual; the branch gets it
// through its dropout: branch = dx where kept, times the scale.
STAGE void norm_backward(const float* dy, int chunks, const float* g, const T* normed, const float* spread,
                          const Dropout& drop, const uint64_t* keys, T* dx, T* branch) {
  alignas(64) lanes sums[SIDE], products[SIDE];
  float mean[SIDE], along[SIDE];
  const float share = 1.f / (float)(chunks * SIDE);
  for (int i = 0; i < SIDE; i++) sums[i] = lanes{}, products[i] = lanes{};
  for (int c = 0; c < chunks; c++) {
    lanes g0 = load(g + c * SIDE), g1 = load(g + c * SIDE + 16);
    for (int i = 0; i < SIDE; i++) {
      long at = (long)c * BLOCK + i * SIDE;
      lanes low = g0 * load(dy + at), high = g1 * load(dy + at + 16), n0, n1;
      load_row(normed + at, n0, n1);
      sums[i] += low + high;
      products[i] += low * n0 + high * n1;
    }
  }
  for (int i = 0; i < SIDE; i++) mean[i] = sum(sums[i]) * share, along[i] = sum(products[i]) * share;
  for (int c = 0; c < chunks; c++) {
    lanes g0 = load(g + c * SIDE), g1 = load(g + c * SIDE + 16);
    for (int i = 0; i < SIDE; i++) {
      long at = (long)c * BLOCK + i * SIDE;
      lanes n0, n1;
      load_row(normed + at, n0, n1);
      lanes low = (g0 * load(dy + at) - mean[i] - n0 * along[i]) * spread[i];
      lanes high = (g1 * load(dy + at + 16) - mean[i] - n1 * along[i]) * spread[i];
      store_row(dx + at, low, high);
      if (drop.on()) {
        uint32_t bits = drop.bits(keys[i], c);
        low = keep(low * drop.scale, bits), high = keep(high * drop.scale, bits >> 16);
      }
      store_row(branch + at, low, high);
    }
  }
}
