// Block layout of all GEMM operands: blocks of 32 x 32 elements, and their packing as the B operand.
//
// A matrix of token rows lies as [rows / 32][columns / 32][32][32]. A block is 2 KB (bfloat16) or 4 KB
// (float32) of contiguous memory, so the microkernels read whole cache lines and never stride across a page.
#pragma once
#include "simd.hpp"

namespace submillion {

enum { BLOCK_SIDE = 32, BLOCK_ELEMS = BLOCK_SIDE * BLOCK_SIDE };

// Returns the offset of a row's first element in a matrix of `col_blocks` blocks per row of blocks.
FORCE_INLINE long row_offset(long row, long col_blocks) {
  return (row >> 5) * col_blocks * BLOCK_ELEMS + (row & 31) * BLOCK_SIDE;
}

#if defined(SM_BF16) && defined(__AVX512F__)
// A packed B block in bfloat16 is two VNNI tiles of 16 columns each: [column half][k / 2][column][k % 2].

// Packs a block whose rows are k and whose columns are n.
FORCE_INLINE void pack_b_from_kn(const elem_t* block, elem_t* packed) {
  alignas(64) static constexpr uint16_t INTERLEAVE_LOW[32] = {0,  32, 1,  33, 2,  34, 3,  35, 4,  36, 5,
                                                              37, 6,  38, 7,  39, 8,  40, 9,  41, 10, 42,
                                                              11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(INTERLEAVE_LOW), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int k = 0; k < 16; k++) {
    __m512i even = _mm512_loadu_si512(block + k * 64), odd = _mm512_loadu_si512(block + k * 64 + 32);
    _mm512_storeu_si512(packed + k * 32, _mm512_permutex2var_epi16(even, low, odd));
    _mm512_storeu_si512(packed + 512 + k * 32, _mm512_permutex2var_epi16(even, high, odd));
  }
}

// Packs a block whose rows are n and whose columns are k. Pairs of k are 32-bit words, so it transposes
// words.
FORCE_INLINE void pack_b_from_nk(const elem_t* block, elem_t* packed) {
  for (int half = 0; half < 2; half++) {
    u32x16 r[16];
    for (int i = 0; i < 16; i++) r[i] = (u32x16)_mm512_loadu_si512(block + (half * 16 + i) * BLOCK_SIDE);
    transpose_16x16(r);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(packed + half * 512 + i * 32, (__m512i)r[i]);
  }
}

// Transposes two blocks at once: one element of each makes a 32-bit word.
FORCE_INLINE void transpose_block_pair(const elem_t* a, const elem_t* b, elem_t* a_t, elem_t* b_t) {
  for (int i = 0; i < BLOCK_SIDE; i += 16)
    for (int j = 0; j < BLOCK_SIDE; j += 16) {
      u32x16 r[16];
      for (int k = 0; k < 16; k++) {
        __m512i low =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(a + (i + k) * BLOCK_SIDE + j)));
        __m512i high =
            _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(b + (i + k) * BLOCK_SIDE + j)));
        r[k] = (u32x16)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
      }
      transpose_16x16(r);
      for (int k = 0; k < 16; k++) {
        __m512i both = (__m512i)r[k];
        _mm256_storeu_si256((__m256i*)(a_t + (j + k) * BLOCK_SIDE + i), _mm512_cvtepi32_epi16(both));
        _mm256_storeu_si256((__m256i*)(b_t + (j + k) * BLOCK_SIDE + i),
                            _mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
      }
    }
}

FORCE_INLINE void transpose_block(const elem_t* a, elem_t* a_t) {
  alignas(64) elem_t unused[BLOCK_ELEMS];
  transpose_block_pair(a, a, a_t, unused);
}
#else
FORCE_INLINE void transpose_block(const elem_t* a, elem_t* a_t) {
  for (int i = 0; i < BLOCK_SIDE; i += TILE_SIDE)
    for (int j = 0; j < BLOCK_SIDE; j += TILE_SIDE)
      transpose_tile(a + i * BLOCK_SIDE + j, BLOCK_SIDE, a_t + j * BLOCK_SIDE + i, BLOCK_SIDE);
}

FORCE_INLINE void transpose_block_pair(const elem_t* a, const elem_t* b, elem_t* a_t, elem_t* b_t) {
  transpose_block(a, a_t);
  transpose_block(b, b_t);
}

#ifdef SM_MMLA
// A packed B block for BFMMLA is [column / 2][k / 4][column % 2][k % 4].

// Returns the address of columns 2 pair and 2 pair + 1 of rows [k, k + 4).
FORCE_INLINE const elem_t* b_at(const elem_t* block, int k, int pair) { return block + pair * 64 + k * 2; }

// Packs a block whose rows are n and whose columns are k.
FORCE_INLINE void pack_b_from_nk(const elem_t* block, elem_t* packed) {
  for (int n = 0; n < BLOCK_SIDE; n++)
    for (int k = 0; k < BLOCK_SIDE; k += 4)
      memcpy(packed + (n / 2) * 64 + k * 2 + (n % 2) * 4, block + n * BLOCK_SIDE + k, 4 * sizeof(elem_t));
}

// Packs a block whose rows are k and whose columns are n.
FORCE_INLINE void pack_b_from_kn(const elem_t* block, elem_t* packed) {
  alignas(64) elem_t transposed[BLOCK_ELEMS];
  transpose_block(block, transposed);
  pack_b_from_nk(transposed, packed);
}
#else
// A packed B block in float32 is [k][n].
FORCE_INLINE void pack_b_from_kn(const elem_t* block, elem_t* packed) {
  memcpy(packed, block, BLOCK_ELEMS * sizeof(elem_t));
}
FORCE_INLINE void pack_b_from_nk(const elem_t* block, elem_t* packed) { transpose_block(block, packed); }
#endif
#endif

// Copies one block out of a row-major float32 matrix, multiplied by `scale` and zero-padded beyond the edges.
FORCE_INLINE void block_from_matrix(const float* matrix, long rows, long columns, long row, long column,
                                    float scale, elem_t* block) {
  alignas(64) float padded[BLOCK_SIDE];
  for (int i = 0; i < BLOCK_SIDE; i++) {
    memset(padded, 0, sizeof padded);
    if (row + i < rows) {
      long n = columns - column < BLOCK_SIDE ? columns - column : +BLOCK_SIDE;
      for (long j = 0; j < n; j++) padded[j] = matrix[(row + i) * columns + column + j] * scale;
    }
    store_row(block + i * BLOCK_SIDE, load(padded), load(padded + 16));
  }
}

}  // namespace submillion
