// Microkernel for builds that multiply and add whole vectors: AVX2, AVX-512 with and without bfloat16, NEON.
#pragma once
#include "packing.hpp"

namespace submillion {

// KC_BLOCKS: k blocks per pass of `gemm`. K_STEP: channels per multiply-add. vec_t: one vector register.
#ifdef SM_DOT
enum { KC_BLOCKS = 12, K_STEP = 2 };
typedef f32x16 vec_t;
FORCE_INLINE vec_t fma_step(vec_t acc, const elem_t* a, const elem_t* b) {
  int32_t pair;
  memcpy(&pair, a, 4);
  return (f32x16)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(pair),
                                  (__m512bh)_mm512_loadu_si512(b));
}
// Returns the address of columns [16 vec, 16 vec + 16) of rows k and k + 1.
FORCE_INLINE const elem_t* b_at(const elem_t* block, int k, int vec) { return block + vec * 512 + k * 16; }
#else
enum { KC_BLOCKS = 8, K_STEP = 1 };
#if defined(__AVX512F__)
typedef f32x16 vec_t;
#elif defined(__AVX2__)
typedef f32x8 vec_t;
#else
typedef f32x4 vec_t;
#endif
typedef vec_t vec_unaligned_t __attribute__((aligned(4)));
FORCE_INLINE vec_t fma_step(vec_t acc, const elem_t* a, const elem_t* b) {
  return acc + *a * *(const vec_unaligned_t*)b;
}
FORCE_INLINE const elem_t* b_at(const elem_t* block, int k, int vec) {
  return block + k * BLOCK_SIDE + vec * (int)(sizeof(vec_t) / 4);
}
#endif

// The microkernel computes MR rows x NR vectors, as many accumulators as the registers hold besides the
// factors: 8 x 2 of 32 registers, 3 x 4 of 16. With AVX2, the 12 accumulators hide the latency of a
// multiply-add, 4 x 2 barely did; and 4 vectors are the whole width of a panel, of which 2 would use every
// second cache line and so half of L1. On Zen 3 the products of an encoder ran 1.3 to 1.5 times as fast as
// with 4 x 2.
#if defined(__AVX2__) && !defined(__AVX512F__)
enum { MR = 3, NR = 4 };
#else
enum { MR = 8, NR = 2 };
#endif
enum { VEC_LANES = sizeof(vec_t) / 4, ROW_VECS = BLOCK_SIDE / VEC_LANES };

// Prefetches the microkernel's next rows of an A block into L1. They are half a KB per block, too short for
// the hardware prefetcher to detect a stream, and in float32 a group's rows do not fit in L2. With AVX2 alone
// this gains 7% (measured); with AVX-512 it gains nothing, and on arm64 it has not been measured.
FORCE_INLINE void prefetch_a_rows(const elem_t* rows) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  for (int i = 0; i < MR * BLOCK_SIDE; i += 64 / (int)sizeof(elem_t))
    _mm_prefetch((const char*)(rows + i), _MM_HINT_T0);
#else
  (void)rows;
#endif
}

// Computes ROWS rows of VECS vectors, from `row` and `vec`. The last k block has `last_k` valid channels.
// `before_step(row, k, A rows of step k)` is called before each step.
template <int ROWS, int VECS, class BeforeStep>
FORCE_INLINE void microkernel(const elem_t* a, const elem_t* b, int k_blocks, int last_k, float* acc,
                              bool zero_init, int row, int vec, BeforeStep&& before_step) {
  vec_t sums[ROWS][VECS];
  typedef vec_t Unaligned __attribute__((aligned(4)));
  auto at = [&](int i, int j) { return (Unaligned*)(acc + (row + i) * BLOCK_SIDE + (vec + j) * VEC_LANES); };
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) sums[i][j] = zero_init ? vec_t{} : (vec_t)*at(i, j);
  for (int k = 0; k < k_blocks; k++) {
    const elem_t *a_rows = a + (long)k * BLOCK_ELEMS + row * BLOCK_SIDE, *b_block = b + (long)k * BLOCK_ELEMS;
    const int channels = k + 1 < k_blocks ? +BLOCK_SIDE : last_k;
    before_step(row, k, a_rows);
    auto add = [&](int c, int i, int j) {
      sums[i][j] = fma_step(sums[i][j], a_rows + i * BLOCK_SIDE + c, b_at(b_block, c, vec + j));
    };
#pragma GCC unroll 4
    for (int c = 0; c < channels; c += K_STEP)
      // The longer side is the outer loop, so that GCC keeps the shorter one in registers and does not spill.
      if (VECS > ROWS) {
#pragma GCC unroll 4
        for (int j = 0; j < VECS; j++)
#pragma GCC unroll 8
          for (int i = 0; i < ROWS; i++) add(c, i, j);
      } else {
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 4
          for (int j = 0; j < VECS; j++) add(c, i, j);
      }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) *at(i, j) = sums[i][j];
}

}  // namespace submillion
