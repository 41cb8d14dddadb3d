// DoRA: a trained magnitude for each output channel, and the gradients that it changes.
#pragma once
#include "lora.hpp"

namespace submillion {

// One product of a matrix W that has a DoRA adapter (Liu et al. 2024, arXiv:2402.09353, eq. 5), with d =
// dropout(x), z = W d + scale B A d, and the gains g = magnitude / norm(rows of W + scale B A):
//
//   y = g z + bias                                      without dropout
//   y = W x + scale B A d + (g - 1) z + bias            with dropout, as peft computes it
//
// The gemm around it computes z, or W x + scale B A d.
struct DoraProduct {
  const LoraAdapter* lora = nullptr;  // null: nothing to do
  const elem_t* dropped = nullptr;    // d, [m_blocks][input blocks], or null without dropout
  const elem_t* u = nullptr;          // A d, [m_blocks][rank_blocks]
  elem_t* saved_z = nullptr;          // [m_blocks][output blocks], for the backward pass, or null
  float* z_blocks = nullptr;          // room for two blocks
  int m_blocks = 0;

  // Computes block (m, n) of z if the gemm does not. Only two results are needed at a time, those of
  // consecutive blocks of the gemm, whose index is `gemm_n` for panel n of W.
  void after_block(int m, int n, int gemm_n) const {
    if (dropped) compute_z(m, n, gemm_n);
  }
  // Turns rows of the gemm's block into those of y - bias.
  void apply(int m, int n, int gemm_n, float* acc, int row_begin, int row_end) const {
    if (lora) apply_gain(m, n, gemm_n, acc, row_begin, row_end);
  }

 private:
  __attribute__((noinline)) void compute_z(int m, int n, int gemm_n) const {
    const int k_blocks = (int)(lora->inputs / BLOCK_SIDE), rank_blocks = lora->rank_blocks();
    float* z = z_block(m, gemm_n);
    brgemm(dropped + (long)m * k_blocks * BLOCK_ELEMS,
           lora->base_forward.data + n * lora->base_forward.n_stride, k_blocks, z, true);
    brgemm(u + (long)m * rank_blocks * BLOCK_ELEMS, lora->b.forward + (long)n * rank_blocks * BLOCK_ELEMS,
           rank_blocks, z, false, {BLOCK_SIDE, BLOCK_SIDE, lora->ranks_in_last()});
  }

  __attribute__((noinline)) void apply_gain(int m, int n, int gemm_n, float* acc, int row_begin,
                                            int row_end) const {
    const f32x16 g0 = load(lora->gain + n * BLOCK_SIDE), g1 = load(lora->gain + n * BLOCK_SIDE + 16);
    const float* z = dropped ? z_block(m, gemm_n) : acc;
    elem_t* saved = saved_z ? saved_z + ((long)m * (lora->outputs / BLOCK_SIDE) + n) * BLOCK_ELEMS : nullptr;
    for (int i = row_begin; i < row_end; i++) {
      f32x16 low = load(acc + i * BLOCK_SIDE), high = load(acc + i * BLOCK_SIDE + 16), z0, z1;
      load_row(z + i * BLOCK_SIDE, z0, z1);
      if (saved) store_row_nt(saved + i * BLOCK_SIDE, z0, z1);
      if (dropped)
        low += (g0 - 1.f) * z0, high += (g1 - 1.f) * z1;
      else
        low *= g0, high *= g1;
      store_row(acc + i * BLOCK_SIDE, low, high);
    }
  }
  float* z_block(int m, int gemm_n) const {
    return z_blocks + (long)((gemm_n * m_blocks + m) % 2) * BLOCK_ELEMS;
  }
};

// Writes dropout(x), scaled, for rows [m_blocks][col_blocks].
NOINLINE void drop_rows(const Dropout& dropout, const uint64_t* row_keys, const elem_t* x, int m_blocks,
                        int col_blocks, elem_t* to) {
  for (int m = 0; m < m_blocks; m++)
    for (int c = 0; c < col_blocks; c++)
      for (int i = 0; i < BLOCK_SIDE; i++) {
        const long at = ((long)m * col_blocks + c) * BLOCK_ELEMS + i * BLOCK_SIDE;
        const uint32_t mask = dropout.mask(row_keys[m * BLOCK_SIDE + i], (uint32_t)c);
        f32x16 low, high;
        load_row(x + at, low, high);
        store_row(to + at, zero_dropped(low * dropout.scale, mask),
                  zero_dropped(high * dropout.scale, mask >> 16));
      }
}

// Writes the sums over all rows of dy z, [outputs]: the gradient of the gains, which the norm divides later.
NOINLINE void gain_gradient(const LoraAdapter& lora, OperandA dy, const elem_t* z, int m_blocks,
                            float* gradient) {
  const int col_blocks = (int)(lora.outputs / BLOCK_SIDE);
  for (int c = 0; c < col_blocks; c++) {
    f32x16 low = {}, high = {};
    for (int m = 0; m < m_blocks; m++)
      for (int i = 0; i < BLOCK_SIDE; i++) {
        f32x16 d0, d1, z0, z1;
        load_row(dy.data + m * dy.m_stride + (long)c * BLOCK_ELEMS + i * BLOCK_SIDE, d0, d1);
        load_row(z + ((long)m * col_blocks + c) * BLOCK_ELEMS + i * BLOCK_SIDE, z0, z1);
        low += d0 * z0, high += d1 * z1;
      }
    store_row(gradient + c * BLOCK_SIDE, low, high);
  }
}

// Writes (g + offset) dy; `to` may be dy itself.
NOINLINE void scale_by_gain(const LoraAdapter& lora, OperandA dy, float offset, int m_blocks, elem_t* to,
                            long m_stride) {
  for (int m = 0; m < m_blocks; m++)
    for (int c = 0; c < (int)(lora.outputs / BLOCK_SIDE); c++) {
      const f32x16 g0 = load(lora.gain + c * BLOCK_SIDE) + offset,
                   g1 = load(lora.gain + c * BLOCK_SIDE + 16) + offset;
      for (int i = 0; i < BLOCK_SIDE; i++) {
        const long at = (long)c * BLOCK_ELEMS + i * BLOCK_SIDE;
        f32x16 low, high;
        load_row(dy.data + m * dy.m_stride + at, low, high);
        store_row(to + m * m_stride + at, low * g0, high * g1);
      }
    }
}

// Writes the norms of the rows of W + scale B A, [outputs] in the order of the panels of W:
//
//   |w + s A^T b|^2 = |w|^2 + 2 s b (A w) + s^2 b (A A^T) b
//
// so that W + scale B A is never formed. a: [r][inputs]; b: [outputs][r] and squares: |w|^2, in the order of
// the rows of W, of which row_of(i) is number i of the panels. a_rows: room for [rank_blocks][input blocks].
template <class RowOf>
void dora_norms(const LoraAdapter& lora, const float* a, const float* b, const float* squares, RowOf&& row_of,
                elem_t* a_rows, float* norms) {
  const long r = lora.r;
  const int k_blocks = (int)(lora.inputs / BLOCK_SIDE), rank_blocks = lora.rank_blocks();
  for (int n = 0; n < rank_blocks; n++)
    for (int k = 0; k < k_blocks; k++)
      block_from_matrix(a, r, lora.inputs, n * BLOCK_SIDE, k * BLOCK_SIDE, 1,
                        a_rows + ((long)n * k_blocks + k) * BLOCK_ELEMS);
  std::vector<float> gram(r * r);  // A A^T
  for (long i = 0; i < r; i++)
    for (long j = 0; j <= i; j++) {
      f32x16 sum = {};
      for (long k = 0; k < lora.inputs; k += 16)
        sum += load(a + i * lora.inputs + k) * load(a + j * lora.inputs + k);
      gram[i * r + j] = gram[j * r + i] = reduce_add(sum);
    }
  alignas(64) float projected[BLOCK_ELEMS];  // A w of 32 rows w, for 32 ranks
  for (int n = 0; n < (int)(lora.outputs / BLOCK_SIDE); n++) {
    float cross[BLOCK_SIDE] = {};
    for (int rank_block = 0; rank_block < rank_blocks; rank_block++) {
      const int ranks = lora.ranks_in(rank_block);
      brgemm(a_rows + (long)rank_block * k_blocks * BLOCK_ELEMS,
             lora.base_forward.data + n * lora.base_forward.n_stride, k_blocks, projected, true,
             {ranks, BLOCK_SIDE, BLOCK_SIDE});
      for (int j = 0; j < BLOCK_SIDE; j++)
        for (int i = 0; i < ranks; i++)
          cross[j] +=
              b[row_of(n * BLOCK_SIDE + j) * r + rank_block * BLOCK_SIDE + i] * projected[i * BLOCK_SIDE + j];
    }
    for (int j = 0; j < BLOCK_SIDE; j++) {
      const long row = row_of(n * BLOCK_SIDE + j);
      const float* direction = b + row * r;
      float square = 0;
      for (long i = 0; i < r; i++) {
        float sum = 0;
        for (long k = 0; k < r; k++) sum += gram[i * r + k] * direction[k];
        square += direction[i] * sum;
      }
      const float total = squares[row] + lora.scale * (2 * cross[j] + lora.scale * square);
      norms[n * BLOCK_SIDE + j] = std::sqrt(std::max(total, 0.f));
    }
  }
}

}  // namespace submillion
