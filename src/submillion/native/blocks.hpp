// The layout of everything that is multiplied: blocks of 32 x 32, and the same blocks as right factors.
//
// Rows of tokens lie as [rows / 32][channels / 32][32][32]: a block is 2 KB (bf16) or 4 KB (float32) in one piece,
// so a product reads whole lines of the cache and never strides over a page.
#pragma once
#include "lanes.hpp"

enum { SIDE = 32, BLOCK = SIDE * SIDE };

// Where row `row` of a matrix with `chunks` blocks side by side begins, in its first block.
ALWAYS long row_at(long row, long chunks) { return (row >> 5) * chunks * BLOCK + (row & 31) * SIDE; }

#ifdef SM_BF16
// A right factor in bf16 is two tiles of 16 columns; each holds 16 rows of pairs: [column half][k / 2][column][k % 2].

// From a block whose rows are k and whose columns are n.
ALWAYS void factor_from_rows(const T* block, T* factor) {
  alignas(64) static constexpr uint16_t LOW[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                   8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i low = _mm512_load_si512(LOW), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int k = 0; k < 16; k++) {
    __m512i even = _mm512_loadu_si512(block + k * 64), odd = _mm512_loadu_si512(block + k * 64 + 32);
    _mm512_storeu_si512(factor + k * 32, _mm512_permutex2var_epi16(even, low, odd));
    _mm512_storeu_si512(factor + 512 + k * 32, _mm512_permutex2var_epi16(even, high, odd));
  }
}

// From a block whose rows are n and whose columns are k: pairs of k are words, so words are transposed.
ALWAYS void factor_from_columns(const T* block, T* factor) {
  for (int half = 0; half < 2; half++) {
    ulanes r[16];
    for (int i = 0; i < 16; i++) r[i] = (ulanes)_mm512_loadu_si512(block + (half * 16 + i) * SIDE);
    transpose16(r);
    for (int i = 0; i < 16; i++) _mm512_storeu_si512(factor + half * 512 + i * 32, (__m512i)r[i]);
  }
}

// Transposes two blocks at once: an element of each makes one word.
ALWAYS void transpose_two(const T* a, const T* b, T* at, T* bt) {
  for (int i = 0; i < SIDE; i += 16)
    for (int j = 0; j < SIDE; j += 16) {
      ulanes r[16];
      for (int k = 0; k < 16; k++) {
        __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(a + (i + k) * SIDE + j)));
        __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(b + (i + k) * SIDE + j)));
        r[k] = (ulanes)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
      }
      transpose16(r);
      for (int k = 0; k < 16; k++) {
        __m512i both = (__m512i)r[k];
        _mm256_storeu_si256((__m256i*)(at + (j + k) * SIDE + i), _mm512_cvtepi32_epi16(both));
        _mm256_storeu_si256((__m256i*)(bt + (j + k) * SIDE + i), _mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
      }
    }
}
#else
// A right factor in float32 is [k][n].
ALWAYS void factor_from_rows(const T* block, T* factor) { memcpy(factor, block, BLOCK * sizeof(T)); }

ALWAYS void factor_from_columns(const T* block, T* factor) {
#ifdef __AVX512F__
  for (int i = 0; i < SIDE; i += 16)
    for (int j = 0; j < SIDE; j += 16) {
      ulanes r[16];
      for (int k = 0; k < 16; k++) r[k] = (ulanes)load(block + (i + k) * SIDE + j);
      transpose16(r);
      for (int k = 0; k < 16; k++) store(factor + (j + k) * SIDE + i, (lanes)r[k]);
    }
#else
  for (int i = 0; i < SIDE; i += 8)
    for (int j = 0; j < SIDE; j += 8) transpose8(block + i * SIDE + j, SIDE, factor + j * SIDE + i, SIDE);
#endif
}

ALWAYS void transpose_two(const T* a, const T* b, T* at, T* bt) {
  factor_from_columns(a, at);
  factor_from_columns(b, bt);
}
#endif

ALWAYS void transpose_one(const T* a, T* at) {
#ifdef SM_BF16
  alignas(64) T unused[BLOCK];
  transpose_two(a, a, at, unused);
#else
  factor_from_columns(a, at);
#endif
}

// One block of a row-major float32 matrix, times `scale`, zero beyond its edges.
ALWAYS void block_of(const float* matrix, long rows, long columns, long row, long column, float scale, T* block) {
  alignas(64) float line[SIDE];
  for (int i = 0; i < SIDE; i++) {
    memset(line, 0, sizeof line);
    if (row + i < rows) {
      long n = columns - column < SIDE ? columns - column : +SIDE;
      for (long j = 0; j < n; j++) line[j] = matrix[(row + i) * columns + column + j] * scale;
    }
    store_row(block + i * SIDE, load(line), load(line + 16));
  }
}
