// Attention of one text, head by head, forward and backward; the backward pass recomputes the scores.
#pragma once
#include "gemm.hpp"
#include "dropout.hpp"

namespace submillion {

// A view of one text in block layout: rows [first_row, first_row + rows), columns from block `first_col`.
struct RowView {
  elem_t* data;
  long col_blocks, first_col, first_row, rows;
  elem_t* at(long row, int col) const {
    return data + row_offset(first_row + row, col_blocks) + (first_col + col) * BLOCK_ELEMS;
  }
};

struct HeadConfig {
  int heads, head_blocks;  // a head has 32 * head_blocks channels
  float scale;             // 1 / sqrt(channels of a head)
  // [heads][2 reach - 1]: the score of query q and key k gets entry k - q + reach - 1 added.
  const float* position_bias = nullptr;
  long reach = 0;
};

// Buffers for one head of the longest text.
struct AttentionScratch {
  elem_t *q, *k, *v, *dcontext;                   // rows of a head, [text blocks][head_blocks]
  elem_t *k_panels, *v_panels, *panels;           // packed B operands
  elem_t *probs, *dscores, *probs_t, *dscores_t;  // [text blocks]^2 blocks; _t: transposed
  float *scores, *dprobs;                         // of 32 queries, [text blocks]
  float* acc;                                     // [head_blocks]
};

// Copies a head's rows to blocks [rows / 32][head_blocks], zero-padded after the last row.
FORCE_INLINE void gather_head(const RowView& from, int head, int head_blocks, elem_t* to) {
  long end = (from.rows + 31) & ~31l;
  for (int c = 0; c < head_blocks; c++)
    for (long i = 0; i < end; i++) {
      elem_t* row = to + ((i >> 5) * head_blocks + c) * BLOCK_ELEMS + (i & 31) * BLOCK_SIDE;
      if (i < from.rows) {
        const elem_t* source = from.at(i, head * head_blocks + c);
        memcpy(row, source, BLOCK_SIDE * sizeof(elem_t));
        // Prefetches the same row of the next head.
        __builtin_prefetch(source + head_blocks * BLOCK_ELEMS, 0, 3);
      } else {
        memset(row, 0, BLOCK_SIDE * sizeof(elem_t));
      }
    }
}

// Converts 32 rows of a head, those of row block `block`, and writes the ones that exist.
FORCE_INLINE void scatter_head(const float* acc, const RowView& to, int head, int head_blocks, long block) {
  for (int c = 0; c < head_blocks; c++)
    for (long i = block * BLOCK_SIDE; i < to.rows && i < (block + 1) * BLOCK_SIDE; i++) {
      const float* row = acc + c * BLOCK_ELEMS + (i & 31) * BLOCK_SIDE;
      store_row(to.at(i, head * head_blocks + c), load(row), load(row + 16));
    }
}

// Packs B operands [head_blocks][row_blocks] whose k dimension is the rows, as in P V.
FORCE_INLINE void pack_rows_as_k(const elem_t* rows, long row_blocks, int head_blocks, elem_t* panels) {
  for (long b = 0; b < row_blocks; b++)
    for (int c = 0; c < head_blocks; c++)
      pack_b_from_kn(rows + (b * head_blocks + c) * BLOCK_ELEMS, panels + (c * row_blocks + b) * BLOCK_ELEMS);
}
// Packs B operands [row_blocks][head_blocks] whose k dimension is the channels, as in Q K^T.
FORCE_INLINE void pack_channels_as_k(const elem_t* rows, long row_blocks, int head_blocks, elem_t* panels) {
  for (long i = 0; i < row_blocks * head_blocks; i++)
    pack_b_from_nk(rows + i * BLOCK_ELEMS, panels + i * BLOCK_ELEMS);
}

// Replaces lanes from `valid` on, because the last block of a row of scores has columns that are no keys.
FORCE_INLINE f32x16 mask_tail(f32x16 value, long valid, float replacement) {
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return select(lane < i32x16{} + (int)valid, value, broadcast(replacement));
}

// Returns scale * (q k) + bias for 16 keys of a query; `dot` points to the 16 dot products.
FORCE_INLINE f32x16 scaled_score(const float* dot, const HeadConfig& config, const float* bias, long query,
                                 long key) {
  f32x16 value = load(dot) * config.scale;
  if (bias) value += load(bias + key - query + config.reach - 1);
  return value;
}

// context = dropout(softmax(scores)) V (Vaswani et al. 2017, arXiv:1706.03762, eq. 1) for `heads` heads of
// one text, from `first` on. q, k and v begin with head `first`, context with head 0.
//
// A row of the dropout mask has the id text << 24 | head << 16 | query. log_sum_exp: the log of the softmax's
// denominator for each head and query, [heads][stride], for the backward pass; may be null.
NOINLINE void attention_forward(const HeadConfig& config, int first, int heads, RowView q, RowView k,
                                RowView v, RowView context, const Dropout& dropout, uint64_t text,
                                float* log_sum_exp, long stride, const AttentionScratch& s) {
  const long key_blocks = (k.rows + 31) / 32, query_blocks = (q.rows + 31) / 32;
  for (int head = first; head < first + heads; head++) {
    gather_head(q, head - first, config.head_blocks, s.q);
    gather_head(k, head - first, config.head_blocks, s.k);
    gather_head(v, head - first, config.head_blocks, s.v);
    pack_channels_as_k(s.k, key_blocks, config.head_blocks, s.k_panels);
    pack_rows_as_k(s.v, key_blocks, config.head_blocks, s.v_panels);
    const float* bias = config.position_bias ? config.position_bias + head * (2 * config.reach - 1) : nullptr;
    for (long block = 0; block < query_blocks; block++) {
      for (long b = 0; b < key_blocks; b++)
        brgemm(s.q + block * config.head_blocks * BLOCK_ELEMS,
               s.k_panels + b * config.head_blocks * BLOCK_ELEMS, config.head_blocks,
               s.scores + b * BLOCK_ELEMS, true);
      long rows = q.rows - block * BLOCK_SIDE < BLOCK_SIDE ? q.rows - block * BLOCK_SIDE : +BLOCK_SIDE;
      for (long i = 0; i < rows; i++) {
        long query = block * BLOCK_SIDE + i;
        f32x16 max = broadcast(-INFINITY), total{};
        for (long key = 0; key < key_blocks * BLOCK_SIDE; key += 16) {
          float* at = s.scores + (key >> 5) * BLOCK_ELEMS + i * BLOCK_SIDE + (key & 16);
          f32x16 value = scaled_score(at, config, bias, query, key);
          if (key + 16 > k.rows) value = mask_tail(value, k.rows - key, -INFINITY);
          store(at, value);
          max = select(value > max, value, max);
        }
        float row_max = reduce_max(max);
        for (long key = 0; key < key_blocks * BLOCK_SIDE; key += 16) {
          float* at = s.scores + (key >> 5) * BLOCK_ELEMS + i * BLOCK_SIDE + (key & 16);
          f32x16 value = exp(load(at) - row_max);
          if (key + 16 > k.rows) value = mask_tail(value, k.rows - key, 0.f);
          store(at, value);
          total += value;
        }
        float denominator = reduce_add(total);
        if (log_sum_exp) log_sum_exp[head * stride + query] = row_max + std::log(denominator);
        uint64_t row_key = dropout.row_key(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        f32x16 factor = broadcast(dropout.scale / denominator);
        for (long b = 0; b < key_blocks; b++) {
          float* at = s.scores + b * BLOCK_ELEMS + i * BLOCK_SIDE;
          f32x16 low = load(at) * factor, high = load(at + 16) * factor;
          if (dropout.enabled()) {
            uint32_t mask = dropout.mask(row_key, (uint32_t)b);
            low = zero_dropped(low, mask), high = zero_dropped(high, mask >> 16);
          }
          store_row(s.probs + b * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
        }
      }
      for (int c = 0; c < config.head_blocks; c++)
        brgemm(s.probs, s.v_panels + c * key_blocks * BLOCK_ELEMS, (int)key_blocks, s.acc + c * BLOCK_ELEMS,
               true);
      scatter_head(s.acc, context, head, config.head_blocks, block);
    }
  }
}

// Computes the gradients of q, k and v from that of the context. A view whose data is null is not computed.
//
// With P the probabilities, M their dropout and dP = M (dC V^T): dS = P (dP - rowsum(P dP)) scale, dQ = dS K,
// dK = dS^T Q, dV = (M P)^T dC.
NOINLINE void attention_backward(const HeadConfig& config, RowView q, RowView k, RowView v, RowView dcontext,
                                 RowView dq, RowView dk, RowView dv, const Dropout& dropout, uint64_t text,
                                 const float* log_sum_exp, long stride, const AttentionScratch& s) {
  const long key_blocks = (k.rows + 31) / 32, query_blocks = (q.rows + 31) / 32;
  for (int head = 0; head < config.heads; head++) {
    gather_head(q, head, config.head_blocks, s.q);
    gather_head(k, head, config.head_blocks, s.k);
    gather_head(v, head, config.head_blocks, s.v);
    gather_head(dcontext, head, config.head_blocks, s.dcontext);
    pack_channels_as_k(s.k, key_blocks, config.head_blocks, s.k_panels);
    pack_channels_as_k(s.v, key_blocks, config.head_blocks, s.v_panels);
    const float* bias = config.position_bias ? config.position_bias + head * (2 * config.reach - 1) : nullptr;
    for (long block = 0; block < query_blocks; block++) {
      for (long b = 0; b < key_blocks; b++) {
        brgemm(s.q + block * config.head_blocks * BLOCK_ELEMS,
               s.k_panels + b * config.head_blocks * BLOCK_ELEMS, config.head_blocks,
               s.scores + b * BLOCK_ELEMS, true);
        brgemm(s.dcontext + block * config.head_blocks * BLOCK_ELEMS,
               s.v_panels + b * config.head_blocks * BLOCK_ELEMS, config.head_blocks,
               s.dprobs + b * BLOCK_ELEMS, true);
      }
      elem_t *probs = s.probs + block * key_blocks * BLOCK_ELEMS,
             *dscores = s.dscores + block * key_blocks * BLOCK_ELEMS;
      for (long i = 0; i < BLOCK_SIDE; i++) {
        long query = block * BLOCK_SIDE + i;
        if (query >= q.rows) {  // after the transposition, these rows are added to the gradient of every key
          for (long b = 0; b < key_blocks; b++) {
            memset(probs + b * BLOCK_ELEMS + i * BLOCK_SIDE, 0, BLOCK_SIDE * sizeof(elem_t));
            memset(dscores + b * BLOCK_ELEMS + i * BLOCK_SIDE, 0, BLOCK_SIDE * sizeof(elem_t));
          }
          continue;
        }
        float row_log_sum_exp = log_sum_exp[head * stride + query];
        uint64_t row_key = dropout.row_key(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        f32x16 p_dot_dp{};
        for (long b = 0; b < key_blocks; b++) {
          float *p = s.scores + b * BLOCK_ELEMS + i * BLOCK_SIDE,
                *dp = s.dprobs + b * BLOCK_ELEMS + i * BLOCK_SIDE;
          long key = b * BLOCK_SIDE;
          f32x16 p0 = exp(scaled_score(p, config, bias, query, key) - row_log_sum_exp);
          f32x16 p1 = exp(scaled_score(p + 16, config, bias, query, key + 16) - row_log_sum_exp);
          if (key + BLOCK_SIDE > k.rows)
            p0 = mask_tail(p0, k.rows - key, 0.f), p1 = mask_tail(p1, k.rows - key - 16, 0.f);
          store_row(p, p0, p1);
          f32x16 dp0 = load(dp) * dropout.scale, dp1 = load(dp + 16) * dropout.scale;
          f32x16 mp0 = p0 * dropout.scale, mp1 = p1 * dropout.scale;
          if (dropout.enabled()) {
            uint32_t mask = dropout.mask(row_key, (uint32_t)b);
            dp0 = zero_dropped(dp0, mask), dp1 = zero_dropped(dp1, mask >> 16);
            mp0 = zero_dropped(mp0, mask), mp1 = zero_dropped(mp1, mask >> 16);
          }
          store_row(dp, dp0, dp1);
          store_row(probs + b * BLOCK_ELEMS + i * BLOCK_SIDE, mp0, mp1);
          p_dot_dp += p0 * dp0 + p1 * dp1;
        }
        f32x16 row_sum = broadcast(reduce_add(p_dot_dp));
        for (long b = 0; b < key_blocks; b++) {
          long at = b * BLOCK_ELEMS + i * BLOCK_SIDE;
          store_row(dscores + at, load(s.scores + at) * (load(s.dprobs + at) - row_sum) * config.scale,
                    load(s.scores + at + 16) * (load(s.dprobs + at + 16) - row_sum) * config.scale);
        }
      }
    }
    for (long block = 0; block < query_blocks; block++)
      for (long b = 0; b < key_blocks; b++)
        transpose_block_pair(s.probs + (block * key_blocks + b) * BLOCK_ELEMS,
                             s.dscores + (block * key_blocks + b) * BLOCK_ELEMS,
                             s.probs_t + (b * query_blocks + block) * BLOCK_ELEMS,
                             s.dscores_t + (b * query_blocks + block) * BLOCK_ELEMS);
    auto multiply = [&](const elem_t* a, long m_blocks, long k_blocks, const elem_t* rows, RowView to) {
      if (!to.data) return;
      pack_rows_as_k(rows, k_blocks, config.head_blocks, s.panels);
      for (long block = 0; block < m_blocks; block++) {
        for (int c = 0; c < config.head_blocks; c++)
          brgemm(a + block * k_blocks * BLOCK_ELEMS, s.panels + c * k_blocks * BLOCK_ELEMS, (int)k_blocks,
                 s.acc + c * BLOCK_ELEMS, true);
        scatter_head(s.acc, to, head, config.head_blocks, block);
      }
    };
    multiply(s.dscores, query_blocks, key_blocks, s.k, dq);
    multiply(s.dscores_t, key_blocks, query_blocks, s.q, dk);
    multiply(s.probs_t, key_blocks, query_blocks, s.dcontext, dv);
  }
}

}  // namespace submillion
