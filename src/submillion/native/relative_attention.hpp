// Scores by relative position, of one head of disentangled attention (DeBERTa), forward and backward.
//
// He et al. 2021 (arXiv:2006.03654, eq. 4) add q P_K[d]^T + k P_Q[d]^T to the dot product of query q and key
// k, where row d of P_K and P_Q belongs to the distance from k to q. The first term is a score for each query
// ("row") by its keys ("columns"), the second one for each key by its queries. A table has the rows of P_K or
// P_Q in the order of column - row. The scores of 32 rows are then one product with consecutive rows of the
// table, in which the columns are shifted by one place from each row to the next.
#pragma once
#include "attention_rows.hpp"
#include "gemm.hpp"

namespace submillion {

// P_K or P_Q of one head. Row 32 center + i is that of the distance i; rows of distances that the group's
// texts do not have are zero.
struct DistanceTable {
  long center = 0;                   // row blocks below distance 0, and from it on
  const elem_t* channels = nullptr;  // packed with channels as k, [2 center][head_blocks]; null: no such term
  const elem_t* rows = nullptr;      // packed with rows as k, [head_blocks][2 center]; for the backward pass
  float* gradient = nullptr;         // [2 center][head_blocks], for the backward pass
};
struct RelativeHead {
  DistanceTable keys, queries;  // P_K and P_Q
};

// Buffers for one head of the longest text, of n blocks.
struct RelativeScratch {
  float *scores, *transposed;  // [n][n], and [n]
  float *by_distance, *line;   // [n + 1] blocks, and one row of them
  elem_t *skewed, *column;     // [n][n + 1], and [n]
};

// Writes the scores of 32 rows, those of block `block`, for all columns: [col_blocks].
NOINLINE void scores_by_distance(const elem_t* rows, long block, long col_blocks, int head_blocks,
                                 const DistanceTable& table, const RelativeScratch& s, float* to) {
  // Distance column - row is at column - (row - 32 block) + 32, counted from this block of the table.
  const elem_t* panels = table.channels + (table.center - block - 1) * head_blocks * BLOCK_ELEMS;
  for (long b = 0; b <= col_blocks; b++)
    brgemm(rows + block * head_blocks * BLOCK_ELEMS, panels + b * head_blocks * BLOCK_ELEMS, head_blocks,
           s.by_distance + b * BLOCK_ELEMS, true);
  for (int i = 0; i < BLOCK_SIDE; i++) {
    for (long b = 0; b <= col_blocks; b++) {
      const float* from = s.by_distance + b * BLOCK_ELEMS + i * BLOCK_SIDE;
      store_row(s.line + b * BLOCK_SIDE, load(from), load(from + 16));
    }
    const float* from = s.line + BLOCK_SIDE - i;
    for (long c = 0; c < col_blocks; c++, from += BLOCK_SIDE)
      store_row(to + c * BLOCK_ELEMS + i * BLOCK_SIDE, load(from), load(from + 16));
  }
}

FORCE_INLINE void add_transposed(const float* block, float* to) {
  alignas(64) float transposed[BLOCK_ELEMS];
  for (int i = 0; i < BLOCK_SIDE; i += FLOAT_TILE_SIDE)
    for (int j = 0; j < BLOCK_SIDE; j += FLOAT_TILE_SIDE)
      transpose_tile(block + i * BLOCK_SIDE + j, BLOCK_SIDE, transposed + j * BLOCK_SIDE + i, BLOCK_SIDE);
  for (int e = 0; e < BLOCK_ELEMS; e += 16) store(to + e, load(to + e) + load(transposed + e));
}

// Writes the scores by relative position to s.scores, [query_blocks][key_blocks], not scaled.
NOINLINE void relative_scores(const RelativeHead& head, const elem_t* q, long query_blocks, const elem_t* k,
                              long key_blocks, int head_blocks, const RelativeScratch& s) {
  for (long block = 0; block < query_blocks; block++) {
    float* to = s.scores + block * key_blocks * BLOCK_ELEMS;
    if (head.keys.channels)
      scores_by_distance(q, block, key_blocks, head_blocks, head.keys, s, to);
    else
      memset(to, 0, key_blocks * BLOCK_ELEMS * sizeof(float));
  }
  for (long block = 0; head.queries.channels && block < key_blocks; block++) {
    scores_by_distance(k, block, query_blocks, head_blocks, head.queries, s, s.transposed);
    for (long b = 0; b < query_blocks; b++)
      add_transposed(s.transposed + b * BLOCK_ELEMS, s.scores + (b * key_blocks + block) * BLOCK_ELEMS);
  }
}

// Arranges scores [row_blocks][col_blocks] by distance, [row_blocks][col_blocks + 1]: the inverse of the
// shift in scores_by_distance, with zeros for the distances that a row does not have.
NOINLINE void skew(const elem_t* scores, long row_blocks, long col_blocks, elem_t* line, elem_t* to) {
  for (long block = 0; block < row_blocks; block++)
    for (int i = 0; i < BLOCK_SIDE; i++) {
      elem_t* at = line + BLOCK_SIDE - i;
      memset(line, 0, (BLOCK_SIDE - i) * sizeof(elem_t));
      for (long c = 0; c < col_blocks; c++, at += BLOCK_SIDE)
        memcpy(at, scores + (block * col_blocks + c) * BLOCK_ELEMS + i * BLOCK_SIDE,
               BLOCK_SIDE * sizeof(elem_t));
      memset(at, 0, i * sizeof(elem_t));
      for (long b = 0; b <= col_blocks; b++)
        memcpy(to + (block * (col_blocks + 1) + b) * BLOCK_ELEMS + i * BLOCK_SIDE, line + b * BLOCK_SIDE,
               BLOCK_SIDE * sizeof(elem_t));
    }
}

// Adds skewed gradients of scores times the table: block (block, c) of the gradient of the rows.
FORCE_INLINE void add_table_product(const elem_t* skewed, const DistanceTable& table, long block,
                                    long col_blocks, int c, float* acc) {
  brgemm(skewed + block * (col_blocks + 1) * BLOCK_ELEMS,
         table.rows + (c * 2 * table.center + table.center - block - 1) * BLOCK_ELEMS, (int)col_blocks + 1,
         acc, false);
}

// Adds skewed gradients of scores, transposed, times the rows to the gradient of the table.
//
// panels: the rows packed with rows as k, [head_blocks][row_blocks].
NOINLINE void add_table_gradient(const elem_t* skewed, const elem_t* panels, long row_blocks, long col_blocks,
                                 int head_blocks, const DistanceTable& table, elem_t* column) {
  for (long distances = -row_blocks; distances < col_blocks; distances++) {  // blocks from the center
    const long begin = distances < 0 ? -distances - 1 : 0,
               end = row_blocks < col_blocks - distances ? row_blocks : col_blocks - distances;
    for (long block = begin; block < end; block++)
      transpose_block(skewed + (block * (col_blocks + 1) + block + 1 + distances) * BLOCK_ELEMS,
                      column + (block - begin) * BLOCK_ELEMS);
    for (int c = 0; c < head_blocks; c++)
      brgemm(column, panels + (c * row_blocks + begin) * BLOCK_ELEMS, (int)(end - begin),
             table.gradient + ((table.center + distances) * head_blocks + c) * BLOCK_ELEMS, false);
  }
}

}  // namespace submillion
