// Microkernel for arm64's BFMMLA: 2 x 2 products over four channels of bfloat16.
#pragma once
#include "packing.hpp"

namespace submillion {

// The microkernel computes MR rows x NR vectors: 16 accumulators, each of two rows and two columns.
enum { KC_BLOCKS = 12, MR = 8, NR = 2, VEC_LANES = 4, ROW_VECS = BLOCK_SIDE / VEC_LANES };

FORCE_INLINE void prefetch_a_rows(const elem_t*) {}

// Joins the lower (part = 0) or upper (part = 1) halves of two vectors.
template <class V>
FORCE_INLINE V join_halves(V a, V b, int part) {
  const uint64x2_t x = (uint64x2_t)a, y = (uint64x2_t)b;
  return (V)(part ? vzip2q_u64(x, y) : vzip1q_u64(x, y));
}

// Computes ROWS rows of VECS vectors, from `row` and `vec`. The last k block has `last_k` valid channels;
// those up to the next multiple of 8 are zero. `before_step(row, k, A rows of step k)` is called before each
// step.
template <int ROWS, int VECS, class BeforeStep>
FORCE_INLINE void microkernel(const elem_t* a, const elem_t* b, int k_blocks, int last_k, float* acc,
                              bool zero_init, int row, int vec, BeforeStep&& before_step) {
  static_assert(ROWS == MR && VECS == NR);
  // sums[i][j]: rows 2 i and 2 i + 1 of columns 2 j and 2 j + 1.
  float32x4_t sums[MR / 2][4];
  auto at = [&](int i, int j) { return acc + (row + i) * BLOCK_SIDE + (vec + j) * VEC_LANES; };
#pragma GCC unroll 4
  for (int i = 0; i < MR / 2; i++)
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
      sums[i][j] = zero_init
                       ? vdupq_n_f32(0)
                       : join_halves(vld1q_f32(at(2 * i, j / 2)), vld1q_f32(at(2 * i + 1, j / 2)), j % 2);
  for (int k = 0; k < k_blocks; k++) {
    const elem_t *a_rows = a + (long)k * BLOCK_ELEMS + row * BLOCK_SIDE, *b_block = b + (long)k * BLOCK_ELEMS;
    const int channels = k + 1 < k_blocks ? +BLOCK_SIDE : last_k;
    before_step(row, k, a_rows);
    for (int c = 0; c < channels; c += 8) {
      uint16x8_t rows[MR];
#pragma GCC unroll 8
      for (int i = 0; i < MR; i++) rows[i] = vld1q_u16(a_rows + i * BLOCK_SIDE + c);
#pragma GCC unroll 2
      for (int part = 0; part < 2; part++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
          const bfloat16x8_t columns =
              vreinterpretq_bf16_u16(vld1q_u16(b_at(b_block, c + 4 * part, 2 * vec + j)));
#pragma GCC unroll 4
          for (int i = 0; i < MR / 2; i++)
            sums[i][j] = vbfmmlaq_f32(
                sums[i][j], vreinterpretq_bf16_u16(join_halves(rows[2 * i], rows[2 * i + 1], part)), columns);
        }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < MR / 2; i++)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) {
      vst1q_f32(at(2 * i, j), join_halves(sums[i][2 * j], sums[i][2 * j + 1], 0));
      vst1q_f32(at(2 * i + 1, j), join_halves(sums[i][2 * j], sums[i][2 * j + 1], 1));
    }
}

}  // namespace submillion
