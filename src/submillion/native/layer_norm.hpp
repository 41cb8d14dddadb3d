// Layer norm over blocks of 32 rows, forward and backward; the caller has added the residual to the branch.
#pragma once
#include "dropout.hpp"

namespace submillion {

// y = x_hat gamma + beta with x_hat = (x - mean) rstd and rstd = 1 / sqrt(variance + epsilon) (Ba, Kiros and
// Hinton 2016, arXiv:1607.06450), for one block of 32 rows.
//
// x: float32 [col_blocks][32][32]; x_hat_out: the same in elem_t; y: the same in elem_t or float32, where it
// may be x itself; rstd_out: one value per row; y_rows: y in float32, row-major [32][col_blocks * 32]. Each
// of the four outputs may be null.
template <class Y>
NOINLINE void layer_norm_forward(const float* x, int col_blocks, const float* gamma, const float* beta,
                                 float epsilon, elem_t* x_hat_out, Y* y, float* rstd_out, float* y_rows) {
  alignas(64) f32x16 sums[BLOCK_SIDE], squares[BLOCK_SIDE];
  float mean[BLOCK_SIDE], rstd[BLOCK_SIDE];
  const float inverse_n = 1.f / (float)(col_blocks * BLOCK_SIDE);
  for (int i = 0; i < BLOCK_SIDE; i++) sums[i] = f32x16{}, squares[i] = f32x16{};
  for (int c = 0; c < col_blocks; c++)
    for (int i = 0; i < BLOCK_SIDE; i++)
      sums[i] += load(x + c * BLOCK_ELEMS + i * BLOCK_SIDE) + load(x + c * BLOCK_ELEMS + i * BLOCK_SIDE + 16);
  for (int i = 0; i < BLOCK_SIDE; i++) mean[i] = reduce_add(sums[i]) * inverse_n;
  // Two passes: E[x^2] - mean^2 would suffer from cancellation in float32.
  for (int c = 0; c < col_blocks; c++)
    for (int i = 0; i < BLOCK_SIDE; i++) {
      f32x16 low = load(x + c * BLOCK_ELEMS + i * BLOCK_SIDE) - mean[i],
             high = load(x + c * BLOCK_ELEMS + i * BLOCK_SIDE + 16) - mean[i];
      squares[i] += low * low + high * high;
    }
  for (int i = 0; i < BLOCK_SIDE; i++) {
    rstd[i] = 1.f / std::sqrt(reduce_add(squares[i]) * inverse_n + epsilon);
    if (rstd_out) rstd_out[i] = rstd[i];
  }
  for (int c = 0; c < col_blocks; c++) {
    f32x16 g0 = load(gamma + c * BLOCK_SIDE), g1 = load(gamma + c * BLOCK_SIDE + 16),
           b0 = load(beta + c * BLOCK_SIDE), b1 = load(beta + c * BLOCK_SIDE + 16);
    for (int i = 0; i < BLOCK_SIDE; i++) {
      long at = (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
      f32x16 low = (load(x + at) - mean[i]) * rstd[i], high = (load(x + at + 16) - mean[i]) * rstd[i];
      if (x_hat_out) store_row_nt(x_hat_out + at, low, high);
      low = low * g0 + b0, high = high * g1 + b1;
      if (y) store_row(y + at, low, high);
      if (y_rows) store_row(y_rows + ((long)i * col_blocks + c) * BLOCK_SIDE, low, high);
    }
  }
}

// Recomputes y = x_hat gamma + beta from a saved x_hat.
NOINLINE void layer_norm_output(const elem_t* x_hat, int col_blocks, const float* gamma, const float* beta,
                                elem_t* y) {
  for (int c = 0; c < col_blocks; c++) {
    f32x16 g0 = load(gamma + c * BLOCK_SIDE), g1 = load(gamma + c * BLOCK_SIDE + 16),
           b0 = load(beta + c * BLOCK_SIDE), b1 = load(beta + c * BLOCK_SIDE + 16);
    for (int i = 0; i < BLOCK_SIDE; i++) {
      f32x16 low, high;
      load_row(x_hat + c * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
      store_row(y + c * BLOCK_ELEMS + i * BLOCK_SIDE, low * g0 + b0, high * g1 + b1);
    }
  }
}

// dx = rstd (d - mean(d) - x_hat mean(d x_hat)) with d = dy gamma.
//
// Calls `store(i, c, low, high)` with row i of block c of dx; it may overwrite that row of dy.
template <class Store>
FORCE_INLINE void layer_norm_gradient(const float* dy, int col_blocks, const float* gamma,
                                      const elem_t* x_hat, const float* rstd, Store&& store) {
  alignas(64) f32x16 sums[BLOCK_SIDE], dot_products[BLOCK_SIDE];
  float mean_d[BLOCK_SIDE], mean_d_x_hat[BLOCK_SIDE];
  const float inverse_n = 1.f / (float)(col_blocks * BLOCK_SIDE);
  for (int i = 0; i < BLOCK_SIDE; i++) sums[i] = f32x16{}, dot_products[i] = f32x16{};
  for (int c = 0; c < col_blocks; c++) {
    f32x16 g0 = load(gamma + c * BLOCK_SIDE), g1 = load(gamma + c * BLOCK_SIDE + 16);
    for (int i = 0; i < BLOCK_SIDE; i++) {
      long at = (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
      f32x16 low = g0 * load(dy + at), high = g1 * load(dy + at + 16), n0, n1;
      load_row(x_hat + at, n0, n1);
      sums[i] += low + high;
      dot_products[i] += low * n0 + high * n1;
    }
  }
  for (int i = 0; i < BLOCK_SIDE; i++)
    mean_d[i] = reduce_add(sums[i]) * inverse_n, mean_d_x_hat[i] = reduce_add(dot_products[i]) * inverse_n;
  for (int c = 0; c < col_blocks; c++) {
    f32x16 g0 = load(gamma + c * BLOCK_SIDE), g1 = load(gamma + c * BLOCK_SIDE + 16);
    for (int i = 0; i < BLOCK_SIDE; i++) {
      long at = (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
      f32x16 n0, n1;
      load_row(x_hat + at, n0, n1);
      f32x16 low = (g0 * load(dy + at) - mean_d[i] - n0 * mean_d_x_hat[i]) * rstd[i];
      f32x16 high = (g1 * load(dy + at + 16) - mean_d[i] - n1 * mean_d_x_hat[i]) * rstd[i];
      store(i, c, low, high);
    }
  }
}

// The gradient of a norm after a branch and its residual: dx goes to the residual; dbranch is dx after the
// branch's dropout.
NOINLINE void layer_norm_backward(const float* dy, int col_blocks, const float* gamma, const elem_t* x_hat,
                                  const float* rstd, const Dropout& dropout, const uint64_t* row_keys,
                                  elem_t* dx, elem_t* dbranch) {
  layer_norm_gradient(dy, col_blocks, gamma, x_hat, rstd, [&](int i, int c, f32x16 low, f32x16 high) {
    const long at = (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
    store_row(dx + at, low, high);
    if (dropout.enabled()) {
      uint32_t mask = dropout.mask(row_keys[i], c);
      low = zero_dropped(low * dropout.scale, mask), high = zero_dropped(high * dropout.scale, mask >> 16);
    }
    store_row(dbranch + at, low, high);
  });
}

// The gradient of a norm at the start of a branch, added to `gradient`, that of the residual: float32
// [col_blocks][32][32].
NOINLINE void add_layer_norm_gradient(const float* dy, int col_blocks, const float* gamma,
                                      const elem_t* x_hat, const float* rstd, float* gradient) {
  layer_norm_gradient(dy, col_blocks, gamma, x_hat, rstd, [&](int i, int c, f32x16 low, f32x16 high) {
    float* at = gradient + (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
    store_row(at, load(at) + low, load(at + 16) + high);
  });
}

// The gradient of a last norm, in place of dy.
NOINLINE void replace_with_layer_norm_gradient(float* dy, int col_blocks, const float* gamma,
                                               const elem_t* x_hat, const float* rstd) {
  layer_norm_gradient(dy, col_blocks, gamma, x_hat, rstd, [&](int i, int c, f32x16 low, f32x16 high) {
    store_row(dy + (long)c * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
  });
}

}  // namespace submillion
