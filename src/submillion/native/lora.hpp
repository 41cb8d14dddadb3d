// LoRA adapters: y += scale B (A dropout(x)), and the gradients of A, B and x.
#pragma once
#include "gemm.hpp"
#include "dropout.hpp"

namespace submillion {

// A matrix W [n][k] packed as the B operand of x W^T (`forward`, panels over n) and of dy W (`backward`,
// panels over k). Without `backward`, the blocks of `forward` are transposed as they are used.
struct PackedMatrix {
  elem_t *forward = nullptr, *backward = nullptr;
  long n_blocks = 0, k_blocks = 0;
  OperandB forward_operand() const { return {forward, k_blocks * BLOCK_ELEMS}; }
  OperandB backward_operand() const {
    if (!backward) return {forward, BLOCK_ELEMS, k_blocks * BLOCK_ELEMS, true};
    return {backward, n_blocks * BLOCK_ELEMS};
  }
};

// The adapter of one matrix (Hu et al. 2021, arXiv:2106.09685, eq. 3). The rank is zero-padded to whole
// blocks.
struct LoraAdapter {
  long r = 0, inputs = 0, outputs = 0;
  float scale = 1;
  PackedMatrix a, b;  // b is packed with the scale multiplied in
  Dropout dropout;
  // Of DoRA, by output channel in the order of the panels: the norms of the rows of W + scale B A, and the
  // gains, magnitude / norm; null for plain LoRA. base_forward, base_backward: W, packed for x W^T and dy W.
  // norm_rows: room for A.
  float *norms = nullptr, *gain = nullptr;
  elem_t* norm_rows = nullptr;
  OperandB base_forward{}, base_backward{};
  bool enabled() const { return r > 0; }
  // Whether the product with W has a part that reads the dropped input.
  bool drops_base_input() const { return gain && dropout.enabled(); }
  int rank_blocks() const { return (int)((r + 31) / 32); }
  // Returns how many ranks block `block` holds.
  int ranks_in(int block) const {
    return r - block * BLOCK_SIDE < BLOCK_SIDE ? (int)(r - block * BLOCK_SIDE) : +BLOCK_SIDE;
  }
  int ranks_in_last() const { return ranks_in(rank_blocks() - 1); }
};

// Computes u = A dropout(x): [m_blocks][rank_blocks].
//
// row_keys: dropout keys of the rows; dropped_rows: room for KC_BLOCKS blocks; acc: for the rank blocks of
// one token block.
NOINLINE void lora_down(const LoraAdapter& lora, const elem_t* x, int m_blocks, const uint64_t* row_keys,
                        elem_t* u, elem_t* dropped_rows, float* acc) {
  const int k_blocks = (int)(lora.inputs / BLOCK_SIDE), rank_blocks = lora.rank_blocks();
  for (int m = 0; m < m_blocks; m++) {
    for (int k = 0; k < k_blocks; k += KC_BLOCKS) {
      int kc = k_blocks - k < KC_BLOCKS ? k_blocks - k : +KC_BLOCKS;
      const elem_t* a = x + ((long)m * k_blocks + k) * BLOCK_ELEMS;
      if (lora.dropout.enabled()) {
        for (int i = 0; i < kc; i++)
          dropout_block(lora.dropout, row_keys + m * BLOCK_SIDE, (uint32_t)(k + i), a + i * BLOCK_ELEMS,
                        dropped_rows + i * BLOCK_ELEMS);
        a = dropped_rows;
      }
      for (int n = 0; n < rank_blocks; n++)
        brgemm(a, lora.a.forward + ((long)n * k_blocks + k) * BLOCK_ELEMS, kc, acc + n * BLOCK_ELEMS, k == 0,
               {BLOCK_SIDE, lora.ranks_in(n), BLOCK_SIDE});
    }
    for (int n = 0; n < rank_blocks; n++)
      for (int i = 0; i < BLOCK_SIDE; i++) {
        const float* row = acc + n * BLOCK_ELEMS + i * BLOCK_SIDE;
        store_row(u + ((long)m * rank_blocks + n) * BLOCK_ELEMS + i * BLOCK_SIDE,
                  load(row) * lora.dropout.scale, load(row + 16) * lora.dropout.scale);
      }
  }
}

// Computes du = dy B: [m_blocks][rank_blocks].
NOINLINE void lora_up_backward(const LoraAdapter& lora, OperandA dy, int m_blocks, elem_t* du, float* acc) {
  const int k_blocks = (int)(lora.outputs / BLOCK_SIDE), rank_blocks = lora.rank_blocks();
  for (int m = 0; m < m_blocks; m++)
    for (int n = 0; n < rank_blocks; n++) {
      brgemm(dy.data + m * dy.m_stride, lora.b.backward + (long)n * k_blocks * BLOCK_ELEMS, k_blocks, acc,
             true, {BLOCK_SIDE, lora.ranks_in(n), BLOCK_SIDE});
      for (int i = 0; i < BLOCK_SIDE; i++)
        store_row(du + ((long)m * rank_blocks + n) * BLOCK_ELEMS + i * BLOCK_SIDE, load(acc + i * BLOCK_SIDE),
                  load(acc + i * BLOCK_SIDE + 16));
    }
}

// Computes block (m, n) of du A, the adapter's share of dx before dropout: float32 [32][32].
//
// dropped_dy: (gain - 1) dy, [m_blocks][output blocks], whose product with W is added; null unless
// lora.drops_base_input().
FORCE_INLINE void lora_dx_block(const LoraAdapter& lora, const elem_t* du, const elem_t* dropped_dy, int m,
                                int n, float* dx_block) {
  const int rank_blocks = lora.rank_blocks();
  brgemm(du + (long)m * rank_blocks * BLOCK_ELEMS, lora.a.backward + (long)n * rank_blocks * BLOCK_ELEMS,
         rank_blocks, dx_block, true, {BLOCK_SIDE, BLOCK_SIDE, lora.ranks_in_last()});
  if (!dropped_dy) return;
  const int out_blocks = (int)(lora.outputs / BLOCK_SIDE);
  alignas(64) elem_t transposed[KC_BLOCKS * BLOCK_ELEMS];
  const int most = lora.base_backward.transposed ? +KC_BLOCKS : out_blocks;
  for (int k = 0; k < out_blocks; k += most) {
    const int count = out_blocks - k < most ? out_blocks - k : most;
    brgemm(dropped_dy + ((long)m * out_blocks + k) * BLOCK_ELEMS,
           lora.base_backward.blocks(n, k, count, transposed), count, dx_block, false);
  }
}

// Adds dropout(dx_block) in row i of block (m, n) to the two halves of a row.
FORCE_INLINE void add_lora_dx_row(const LoraAdapter& lora, const float* dx_block, int m, int n, int i,
                                  const uint64_t* row_keys, f32x16& low, f32x16& high) {
  const uint32_t mask = lora.dropout.mask(row_keys[m * BLOCK_SIDE + i], (uint32_t)n);
  low += zero_dropped(load(dx_block + i * BLOCK_SIDE) * lora.dropout.scale, mask);
  high += zero_dropped(load(dx_block + i * BLOCK_SIDE + 16) * lora.dropout.scale, mask >> 16);
}

// dx += dropout(du A) for block (m, n); dx is float32 and in the cache.
FORCE_INLINE void lora_down_backward(const LoraAdapter& lora, const elem_t* du, const elem_t* dropped_dy,
                                     int m, int n, const uint64_t* row_keys, float* dx, float* dx_block) {
  lora_dx_block(lora, du, dropped_dy, m, n, dx_block);
  for (int i = 0; i < BLOCK_SIDE; i++) {
    f32x16 low = load(dx + i * BLOCK_SIDE), high = load(dx + i * BLOCK_SIDE + 16);
    add_lora_dx_row(lora, dx_block, m, n, i, row_keys, low, high);
    store_row(dx + i * BLOCK_SIDE, low, high);
  }
}

// gradient[r][columns] = scale * left^T right, summed over all rows of the token blocks: dA from (du, x),
// dB^T from (u, dy).
//
// dropout: applied to `right` with `row_keys`, or null. columns: the width of `gradient`; column block c of
// `right` goes to columns [32 (first + c), ...). pack_buffer: [m_blocks] for packed B operands and
// [rank_blocks][m_blocks] for the transposed left operand.
NOINLINE void lora_gradient(const LoraAdapter& lora, const elem_t* left, OperandA right, int col_blocks,
                            int first, int m_blocks, const Dropout* dropout, const uint64_t* row_keys,
                            float scale, float* gradient, long columns, elem_t* pack_buffer, float* acc) {
  const int rank_blocks = lora.rank_blocks();
  elem_t *panel = pack_buffer, *left_t = pack_buffer + (long)m_blocks * BLOCK_ELEMS;
  alignas(64) elem_t dropped[BLOCK_ELEMS];
  for (int m = 0; m < m_blocks; m++)
    for (int n = 0; n < rank_blocks; n++)
      transpose_block(left + ((long)m * rank_blocks + n) * BLOCK_ELEMS,
                      left_t + ((long)n * m_blocks + m) * BLOCK_ELEMS);
  for (int c = 0; c < col_blocks; c++) {
    for (int m = 0; m < m_blocks; m++) {
      const elem_t* block = right.data + m * right.m_stride + (long)c * BLOCK_ELEMS;
      if (dropout && dropout->enabled()) {
        dropout_block(*dropout, row_keys + m * BLOCK_SIDE, (uint32_t)(first + c), block, dropped);
        block = dropped;
      }
      pack_b_from_kn(block, panel + (long)m * BLOCK_ELEMS);
    }
    for (int n = 0; n < rank_blocks; n++) {
      const int ranks = lora.ranks_in(n);
      brgemm(left_t + (long)n * m_blocks * BLOCK_ELEMS, panel, m_blocks, acc, true,
             {ranks, BLOCK_SIDE, BLOCK_SIDE});
      for (int i = 0; i < ranks; i++) {
        float* at = gradient + (n * BLOCK_SIDE + i) * columns + (first + c) * BLOCK_SIDE;
        store(at, load(acc + i * BLOCK_SIDE) * scale);
        store(at + 16, load(acc + i * BLOCK_SIDE + 16) * scale);
      }
    }
  }
}

}  // namespace submillion
