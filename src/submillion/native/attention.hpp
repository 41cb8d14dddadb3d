// Attention of one text, head by head, forward and backward; the backward pass recomputes the scores.
#pragma once
#include "attention_rows.hpp"
#include "dropout.hpp"
#include "gemm.hpp"
#include "relative_attention.hpp"

namespace submillion {

constexpr long NO_WINDOW = 1l << 30;

struct HeadConfig {
  int heads, head_blocks;  // a head has 32 * head_blocks channels
  float scale;             // 1 / sqrt(channels of a head), in DeBERTa 1 / sqrt(channels x terms of a score)
  // [heads][2 reach - 1]: the score of query q and key k gets entry k - q + reach - 1 added.
  const float* position_bias = nullptr;
  long reach = 0;
  Rotation rotation;        // of queries and keys
  long window = NO_WINDOW;  // a query attends to the keys at most this far from it
};

// The blocks [begin, end) of one side that a block of the other side attends to.
struct BlockRange {
  long begin, end;
  long size() const { return end > begin ? end - begin : 0; }
};
FORCE_INLINE BlockRange blocks_in_window(long block, long window, long blocks) {
  const long first = block * BLOCK_SIDE - window, last = block * BLOCK_SIDE + BLOCK_SIDE - 1 + window;
  return {first > 0 ? first / BLOCK_SIDE : 0, last / BLOCK_SIDE < blocks ? last / BLOCK_SIDE + 1 : blocks};
}

// Buffers for one head of the longest text.
struct AttentionScratch {
  elem_t *q, *k, *v, *dcontext;                   // rows of a head, [text blocks][head_blocks]
  elem_t *k_panels, *v_panels, *panels;           // packed B operands
  elem_t *probs, *dscores, *probs_t, *dscores_t;  // [text blocks]^2 blocks; _t: transposed
  float *scores, *dprobs;                         // of 32 queries, [text blocks]
  float* acc;                                     // [head_blocks]
  RelativeScratch relative;
};

// The keys [begin, end) that one query attends to.
struct KeyRange {
  long begin, end;
  KeyRange(long query, long keys, long window)
      : begin(query > window ? query - window : 0),
        end(keys < query + window + 1 ? keys : query + window + 1) {}
  // Replaces the lanes of 16 scores, those of the keys from `key` on, that are not in the range.
  FORCE_INLINE_MEMBER f32x16 mask(f32x16 value, long key, float replacement) const {
    const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (key + 16 > end) value = select(lane < i32x16{} + (int)(end - key), value, broadcast(replacement));
    if (key < begin) value = select(lane < i32x16{} + (int)(begin - key), broadcast(replacement), value);
    return value;
  }
};

// Returns scale * (q k) + bias for 16 keys of a query; `dot` points to the 16 dot products.
FORCE_INLINE f32x16 scaled_score(const float* dot, const HeadConfig& config, const float* bias, long query,
                                 long key) {
  f32x16 value = load(dot) * config.scale;
  if (bias) value += load(bias + key - query + config.reach - 1);
  return value;
}

// Writes the dot products of query block `block` and key block `b` to block b of `scores`, or adds them.
FORCE_INLINE void add_dot_products(const AttentionScratch& s, int head_blocks, long block, long b, bool add,
                                   float* scores) {
  const elem_t *q = s.q + block * head_blocks * BLOCK_ELEMS, *k = s.k_panels + b * head_blocks * BLOCK_ELEMS;
  if (add)
    brgemm(q, k, head_blocks, scores + b * BLOCK_ELEMS, false);
  else
    brgemm(q, k, head_blocks, scores + b * BLOCK_ELEMS, true);
}

// context = dropout(softmax(scores)) V (Vaswani et al. 2017, arXiv:1706.03762, eq. 1) for `heads` heads of
// one text, from `first` on. q, k and v begin with head `first`, context with head 0.
//
// A row of the dropout mask has the id text << 24 | head << 16 | query. log_sum_exp: the log of the softmax's
// denominator for each head and query, [heads][stride], for the backward pass; may be null. relative: the
// tables of these heads, or null.
NOINLINE void attention_forward(const HeadConfig& config, int first, int heads, RowView q, RowView k,
                                RowView v, RowView context, const Dropout& dropout, uint64_t text,
                                const RelativeHead* relative, float* log_sum_exp, long stride,
                                const AttentionScratch& s) {
  const long key_blocks = (k.rows + 31) / 32, query_blocks = (q.rows + 31) / 32;
  for (int head = first; head < first + heads; head++) {
    gather_rotated(q, head - first, config.head_blocks, config.rotation, s.q);
    gather_rotated(k, head - first, config.head_blocks, config.rotation, s.k);
    gather_head(v, head - first, config.head_blocks, s.v);
    pack_channels_as_k(s.k, key_blocks, config.head_blocks, s.k_panels);
    pack_rows_as_k(s.v, key_blocks, config.head_blocks, s.v_panels);
    if (relative)
      relative_scores(relative[head - first], s.q, query_blocks, s.k, key_blocks, config.head_blocks,
                      s.relative);
    const float* bias = config.position_bias ? config.position_bias + head * (2 * config.reach - 1) : nullptr;
    for (long block = 0; block < query_blocks; block++) {
      const BlockRange near = blocks_in_window(block, config.window, key_blocks);
      float* scores = relative ? s.relative.scores + block * key_blocks * BLOCK_ELEMS : s.scores;
      for (long b = near.begin; b < near.end; b++)
        add_dot_products(s, config.head_blocks, block, b, relative, scores);
      long rows = q.rows - block * BLOCK_SIDE < BLOCK_SIDE ? q.rows - block * BLOCK_SIDE : +BLOCK_SIDE;
      for (long i = 0; i < rows; i++) {
        long query = block * BLOCK_SIDE + i;
        const KeyRange keys(query, k.rows, config.window);
        f32x16 max = broadcast(-INFINITY), total{};
        for (long key = near.begin * BLOCK_SIDE; key < near.end * BLOCK_SIDE; key += 16) {
          float* at = scores + (key >> 5) * BLOCK_ELEMS + i * BLOCK_SIDE + (key & 16);
          f32x16 value = keys.mask(scaled_score(at, config, bias, query, key), key, -INFINITY);
          store(at, value);
          max = select(value > max, value, max);
        }
        float row_max = reduce_max(max);
        for (long key = near.begin * BLOCK_SIDE; key < near.end * BLOCK_SIDE; key += 16) {
          float* at = scores + (key >> 5) * BLOCK_ELEMS + i * BLOCK_SIDE + (key & 16);
          f32x16 value = keys.mask(exp(load(at) - row_max), key, 0.f);
          store(at, value);
          total += value;
        }
        float denominator = reduce_add(total);
        if (log_sum_exp) log_sum_exp[head * stride + query] = row_max + std::log(denominator);
        uint64_t row_key = dropout.row_key(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        f32x16 factor = broadcast(dropout.scale / denominator);
        for (long b = near.begin; b < near.end; b++) {
          float* at = scores + b * BLOCK_ELEMS + i * BLOCK_SIDE;
          f32x16 low = load(at) * factor, high = load(at + 16) * factor;
          if (dropout.enabled()) {
            uint32_t mask = dropout.mask(row_key, (uint32_t)b);
            low = zero_dropped(low, mask), high = zero_dropped(high, mask >> 16);
          }
          store_row(s.probs + b * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
        }
      }
      for (int c = 0; c < config.head_blocks; c++)
        brgemm(s.probs + near.begin * BLOCK_ELEMS, s.v_panels + (c * key_blocks + near.begin) * BLOCK_ELEMS,
               (int)near.size(), s.acc + c * BLOCK_ELEMS, true);
      scatter_head(s.acc, context, head, config.head_blocks, block);
    }
  }
}

// Computes the gradients of q, k and v from that of the context, for `heads` heads from `first` on; all views
// begin with head 0. A view whose data is null is not computed.
//
// With P the probabilities, M their dropout and dP = M (dC V^T): dS = P (dP - rowsum(P dP)) scale, dQ = dS K,
// dK = dS^T Q, dV = (M P)^T dC.
NOINLINE void attention_backward(const HeadConfig& config, int first, int heads, RowView q, RowView k,
                                 RowView v, RowView dcontext, RowView dq, RowView dk, RowView dv,
                                 const Dropout& dropout, uint64_t text, const RelativeHead* relative,
                                 const float* log_sum_exp, long stride, const AttentionScratch& s) {
  const long key_blocks = (k.rows + 31) / 32, query_blocks = (q.rows + 31) / 32;
  for (int head = first; head < first + heads; head++) {
    gather_rotated(q, head, config.head_blocks, config.rotation, s.q);
    gather_rotated(k, head, config.head_blocks, config.rotation, s.k);
    gather_head(v, head, config.head_blocks, s.v);
    gather_head(dcontext, head, config.head_blocks, s.dcontext);
    pack_channels_as_k(s.k, key_blocks, config.head_blocks, s.k_panels);
    pack_channels_as_k(s.v, key_blocks, config.head_blocks, s.v_panels);
    if (relative)
      relative_scores(relative[head - first], s.q, query_blocks, s.k, key_blocks, config.head_blocks,
                      s.relative);
    const float* bias = config.position_bias ? config.position_bias + head * (2 * config.reach - 1) : nullptr;
    for (long block = 0; block < query_blocks; block++) {
      const BlockRange near = blocks_in_window(block, config.window, key_blocks);
      float* scores = relative ? s.relative.scores + block * key_blocks * BLOCK_ELEMS : s.scores;
      for (long b = near.begin; b < near.end; b++) {
        add_dot_products(s, config.head_blocks, block, b, relative, scores);
        brgemm(s.dcontext + block * config.head_blocks * BLOCK_ELEMS,
               s.v_panels + b * config.head_blocks * BLOCK_ELEMS, config.head_blocks,
               s.dprobs + b * BLOCK_ELEMS, true);
      }
      elem_t *probs = s.probs + block * key_blocks * BLOCK_ELEMS,
             *dscores = s.dscores + block * key_blocks * BLOCK_ELEMS;
      for (long i = 0; i < BLOCK_SIDE; i++) {
        long query = block * BLOCK_SIDE + i;
        if (query >= q.rows) {  // after the transposition, these rows are added to the gradient of every key
          for (long b = near.begin; b < near.end; b++) {
            memset(probs + b * BLOCK_ELEMS + i * BLOCK_SIDE, 0, BLOCK_SIDE * sizeof(elem_t));
            memset(dscores + b * BLOCK_ELEMS + i * BLOCK_SIDE, 0, BLOCK_SIDE * sizeof(elem_t));
          }
          continue;
        }
        const KeyRange keys(query, k.rows, config.window);
        float row_log_sum_exp = log_sum_exp[head * stride + query];
        uint64_t row_key = dropout.row_key(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        f32x16 p_dot_dp{};
        for (long b = near.begin; b < near.end; b++) {
          float *p = scores + b * BLOCK_ELEMS + i * BLOCK_SIDE,
                *dp = s.dprobs + b * BLOCK_ELEMS + i * BLOCK_SIDE;
          long key = b * BLOCK_SIDE;
          f32x16 p0 = exp(scaled_score(p, config, bias, query, key) - row_log_sum_exp);
          f32x16 p1 = exp(scaled_score(p + 16, config, bias, query, key + 16) - row_log_sum_exp);
          p0 = keys.mask(p0, key, 0.f), p1 = keys.mask(p1, key + 16, 0.f);
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
        for (long b = near.begin; b < near.end; b++) {
          long at = b * BLOCK_ELEMS + i * BLOCK_SIDE;
          store_row(dscores + at, load(scores + at) * (load(s.dprobs + at) - row_sum) * config.scale,
                    load(scores + at + 16) * (load(s.dprobs + at + 16) - row_sum) * config.scale);
        }
      }
    }
    for (long block = 0; block < query_blocks; block++) {
      const BlockRange near = blocks_in_window(block, config.window, key_blocks);
      for (long b = near.begin; b < near.end; b++)
        transpose_block_pair(s.probs + (block * key_blocks + b) * BLOCK_ELEMS,
                             s.dscores + (block * key_blocks + b) * BLOCK_ELEMS,
                             s.probs_t + (b * query_blocks + block) * BLOCK_ELEMS,
                             s.dscores_t + (b * query_blocks + block) * BLOCK_ELEMS);
    }
    auto multiply = [&](const elem_t* a, long m_blocks, long k_blocks, const elem_t* rows, RowView to,
                        const Rotation& rotation, const DistanceTable* table) {
      if (!to.data) return;
      pack_rows_as_k(rows, k_blocks, config.head_blocks, s.panels);
      for (long block = 0; block < m_blocks; block++) {
        const BlockRange near = blocks_in_window(block, config.window, k_blocks);
        for (int c = 0; c < config.head_blocks; c++) {
          float* acc = s.acc + c * BLOCK_ELEMS;
          if (near.size())
            brgemm(a + (block * k_blocks + near.begin) * BLOCK_ELEMS,
                   s.panels + (c * k_blocks + near.begin) * BLOCK_ELEMS, (int)near.size(), acc, true);
          else  // no query of this text attends to these keys: only its first query is computed
            memset(acc, 0, BLOCK_ELEMS * sizeof(float));
          if (table) add_table_product(s.relative.skewed, *table, block, k_blocks, c, acc);
        }
        scatter_rotated_back(s.acc, to, head, config.head_blocks, block, rotation);
      }
    };
    // The gradient of the rows, queries or keys, from that of their scores, and that of their table.
    auto differentiate = [&](const elem_t* dscores, const elem_t* rows, long row_blocks,
                             const elem_t* columns, long col_blocks, RowView to, const DistanceTable* table) {
      if (!to.data && !(table && table->gradient)) return;
      if (table) skew(dscores, row_blocks, col_blocks, (elem_t*)s.relative.line, s.relative.skewed);
      multiply(dscores, row_blocks, col_blocks, columns, to, config.rotation, table);
      if (!table || !table->gradient) return;
      pack_rows_as_k(rows, row_blocks, config.head_blocks, s.panels);
      add_table_gradient(s.relative.skewed, s.panels, row_blocks, col_blocks, config.head_blocks, *table,
                         s.relative.column);
    };
    auto table = [&](const DistanceTable RelativeHead::* kind) {
      return relative && (relative[head - first].*kind).channels ? &(relative[head - first].*kind) : nullptr;
    };
    differentiate(s.dscores, s.q, query_blocks, s.k, key_blocks, dq, table(&RelativeHead::keys));
    differentiate(s.dscores_t, s.k, key_blocks, s.q, query_blocks, dk, table(&RelativeHead::queries));
    multiply(s.probs_t, key_blocks, query_blocks, s.dcontext, dv, Rotation(), nullptr);
  }
}

}  // namespace submillion
