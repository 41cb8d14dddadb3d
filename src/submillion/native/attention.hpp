// Attention of one text, head by head, forward and backward; scores are recomputed, never stored.
#pragma once
#include "products.hpp"
#include "dropout.hpp"

// Rows of one kind of token block: row `row` and on, `count` of them, channels from block `chunk` of `chunks`.
struct Slice {
  T* at;
  long chunks, chunk, row, count;
  T* of(long i, int c) const { return at + row_at(row + i, chunks) + (chunk + c) * BLOCK; }
};

// What a text's attention needs besides its rows. A head has `wide` blocks of 32 channels.
struct Heads {
  int heads, wide;
  float scale;                  // 1 / sqrt(channels of a head)
  const float* bias = nullptr;  // [heads][2 reach - 1]: added to the score of key k for query q at k - q + reach - 1
  long reach = 0;
};

struct AttentionScratch {
  T *q, *k, *v, *out, *a, *b, *c;  // blocks and right factors of one head, each [longest / 32][wide]
  T *p, *ps, *pt, *pst;            // [longest / 32]^2 blocks
  float *scores, *other;           // [longest / 32] blocks
  float* sums;                     // [wide] blocks
  static size_t blocks(long longest, int wide) { return 7 * (longest / 32) * wide + 4 * (longest / 32) * (longest / 32); }
};

// Copies a head's rows to blocks [count / 32][wide], zero after the last row.
ALWAYS void gather(const Slice& from, int head, int wide, T* to) {
  long end = (from.count + 31) & ~31l;
  for (int c = 0; c < wide; c++)
    for (long i = 0; i < end; i++) {
      T* row = to + ((i >> 5) * wide + c) * BLOCK + (i & 31) * SIDE;
      if (i < from.count) {
        const T* here = from.of(i, head * wide + c);
        memcpy(row, here, SIDE * sizeof(T));
        _mm_prefetch((const char*)(here + wide * BLOCK), _MM_HINT_T0);  // the same row of the next head
      } else {
        memset(row, 0, SIDE * sizeof(T));
      }
    }
}

ALWAYS void scatter(const float* sums, const Slice& to, int head, int wide, long block) {
  for (int c = 0; c < wide; c++)
    for (long i = block * SIDE; i < to.count && i < (block + 1) * SIDE; i++) {
      const float* row = sums + c * BLOCK + (i & 31) * SIDE;
      store_row(to.of(i, head * wide + c), load(row), load(row + 16));
    }
}

// Right factors [wide][blocks] whose inner dimension is the rows: what P multiplies.
ALWAYS void factors_over_rows(const T* rows, long blocks, int wide, T* to) {
  for (long b = 0; b < blocks; b++)
    for (int c = 0; c < wide; c++) factor_from_rows(rows + (b * wide + c) * BLOCK, to + (c * blocks + b) * BLOCK);
}
// Right factors [blocks][wide] whose inner dimension is the channels: what gives scores.
ALWAYS void factors_over_channels(const T* rows, long blocks, int wide, T* to) {
  for (long i = 0; i < blocks * wide; i++) factor_from_columns(rows + i * BLOCK, to + i * BLOCK);
}

// The last block of a row of scores has columns that are no keys.
ALWAYS lanes only(lanes value, long columns, float instead) {
  const ilanes each = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return either(each < ilanes{} + (int)columns, value, all(instead));
}

// score = scale q k + bias, for 16 keys of query `query`.
ALWAYS lanes score(const float* row, const Heads& h, const float* bias, long query, long key) {
  lanes value = load(row) * h.scale;
  if (bias) value += load(bias + key - query + h.reach - 1);
  return value;
}

// context = dropout(softmax(scores)) V (Vaswani et al. 2017, arXiv:1706.03762, eq. 1) for heads [first, first + heads)
// of one text; q, k and v begin with the first of these, context with that of all.
//
// keys: a dropout row key is mixed from the text's rows: ids of (text, head, query). log_sums: per head and query the
// log of the softmax's denominator, [heads][stride], or null.
STAGE void attention_forward(const Heads& h, int first, int heads, Slice q, Slice k, Slice v, Slice context,
                              const Dropout& drop, uint64_t text, float* log_sums, long stride, const AttentionScratch& s) {
  const long keys = (k.count + 31) / 32, queries = (q.count + 31) / 32;
  for (int head = first; head < first + heads; head++) {
    gather(q, head - first, h.wide, s.q);
    gather(k, head - first, h.wide, s.k);
    gather(v, head - first, h.wide, s.v);
    factors_over_channels(s.k, keys, h.wide, s.a);
    factors_over_rows(s.v, keys, h.wide, s.b);
    const float* bias = h.bias ? h.bias + head * (2 * h.reach - 1) : nullptr;
    for (long block = 0; block < queries; block++) {
      for (long b = 0; b < keys; b++)
        product(s.q + block * h.wide * BLOCK, s.a + b * h.wide * BLOCK, h.wide, s.scores + b * BLOCK, true);
      long rows = q.count - block * SIDE < SIDE ? q.count - block * SIDE : +SIDE;
      for (long i = 0; i < rows; i++) {
        long query = block * SIDE + i;
        lanes most = all(-INFINITY), total{};
        for (long key = 0; key < keys * SIDE; key += 16) {
          float* at = s.scores + (key >> 5) * BLOCK + i * SIDE + (key & 16);
          lanes value = score(at, h, bias, query, key);
          if (key + 16 > k.count) value = only(value, k.count - key, -INFINITY);
          store(at, value);
          most = either(value > most, value, most);
        }
        float top = largest(most);
        for (long key = 0; key < keys * SIDE; key += 16) {
          float* at = s.scores + (key >> 5) * BLOCK + i * SIDE + (key & 16);
          lanes value = exp(load(at) - top);
          if (key + 16 > k.count) value = only(value, k.count - key, 0.f);
          store(at, value);
          total += value;
        }
        float denominator = sum(total);
        if (log_sums) log_sums[head * stride + query] = top + std::log(denominator);
        uint64_t row = drop.row(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        lanes factor = all(drop.scale / denominator);
        for (long b = 0; b < keys; b++) {
          float* at = s.scores + b * BLOCK + i * SIDE;
          lanes low = load(at) * factor, high = load(at + 16) * factor;
          if (drop.on()) {
            uint32_t bits = drop.bits(row, (uint32_t)b);
            low = keep(low, bits), high = keep(high, bits >> 16);
          }
          store_row(s.p + b * BLOCK + i * SIDE, low, high);
        }
      }
      for (int c = 0; c < h.wide; c++)
        product(s.p, s.b + c * keys * BLOCK, (int)keys, s.sums + c * BLOCK, true);
      scatter(s.sums, context, head, h.wide, block);
    }
  }
}

// Gradients of q, k and v from that of the context; a null slice is not wanted.
//
// With P the probabilities, M their dropout and dP = M (dC V^T): dS = P (dP - rowsum(P dP)) scale, dQ = dS K,
// dK = dS^T Q, dV = (M P)^T dC.
STAGE void attention_backward(const Heads& h, Slice q, Slice k, Slice v, Slice dcontext, Slice dq, Slice dk, Slice dv,
                               const Dropout& drop, uint64_t text, const float* log_sums, long stride,
                               const AttentionScratch& s) {
  const long keys = (k.count + 31) / 32, queries = (q.count + 31) / 32;
  for (int head = 0; head < h.heads; head++) {
    gather(q, head, h.wide, s.q);
    gather(k, head, h.wide, s.k);
    gather(v, head, h.wide, s.v);
    gather(dcontext, head, h.wide, s.out);
    factors_over_channels(s.k, keys, h.wide, s.a);
    factors_over_channels(s.v, keys, h.wide, s.b);
    const float* bias = h.bias ? h.bias + head * (2 * h.reach - 1) : nullptr;
    for (long block = 0; block < queries; block++) {
      for (long b = 0; b < keys; b++) {
        product(s.q + block * h.wide * BLOCK, s.a + b * h.wide * BLOCK, h.wide, s.scores + b * BLOCK, true);
        product(s.out + block * h.wide * BLOCK, s.b + b * h.wide * BLOCK, h.wide, s.other + b * BLOCK, true);
      }
      T *p = s.p + block * keys * BLOCK, *ds = s.ps + block * keys * BLOCK;
      for (long i = 0; i < SIDE; i++) {
        long query = block * SIDE + i;
        if (query >= q.count) {  // transposed below, these rows are added to every key's gradient
          for (long b = 0; b < keys; b++) {
            memset(p + b * BLOCK + i * SIDE, 0, SIDE * sizeof(T));
            memset(ds + b * BLOCK + i * SIDE, 0, SIDE * sizeof(T));
          }
          continue;
        }
        float log_sum = log_sums[head * stride + query];
        uint64_t row = drop.row(text << 24 | (uint64_t)head << 16 | (uint64_t)query);
        lanes along{};
        for (long b = 0; b < keys; b++) {
          float *at = s.scores + b * BLOCK + i * SIDE, *dp = s.other + b * BLOCK + i * SIDE;
          long key = b * SIDE;
          lanes low = exp(score(at, h, bias, query, key) - log_sum);
          lanes high = exp(score(at + 16, h, bias, query, key + 16) - log_sum);
          if (key + SIDE > k.count) low = only(low, k.count - key, 0.f), high = only(high, k.count - key - 16, 0.f);
          store_row(at, low, high);
          lanes d0 = load(dp) * drop.scale, d1 = load(dp + 16) * drop.scale;
          lanes m0 = low * drop.scale, m1 = high * drop.scale;
          if (drop.on()) {
            uint32_t bits = drop.bits(row, (uint32_t)b);
            d0 = keep(d0, bits), d1 = keep(d1, bits >> 16), m0 = keep(m0, bits), m1 = keep(m1, bits >> 16);
          }
          store_row(dp, d0, d1);
          store_row(p + b * BLOCK + i * SIDE, m0, m1);
          along += low * d0 + high * d1;
        }
        lanes total = all(sum(along));
        for (long b = 0; b < keys; b++) {
          long at = b * BLOCK + i * SIDE;
          store_row(ds + at, load(s.scores + at) * (load(s.other + at) - total) * h.scale,
                    load(s.scores + at + 16) * (load(s.other + at + 16) - total) * h.scale);
        }
      }
    }
    for (long block = 0; block < queries; block++)
      for (long b = 0; b < keys; b++)
        transpose_two(s.p + (block * keys + b) * BLOCK, s.ps + (block * keys + b) * BLOCK,
                      s.pt + (b * queries + block) * BLOCK, s.pst + (b * queries + block) * BLOCK);
    auto multiply = [&](const T* left, long blocks, long inner, const T* rows, Slice to) {
      if (!to.at) return;
      factors_over_rows(rows, inner, h.wide, s.c);
      for (long block = 0; block < blocks; block++) {
        for (int c = 0; c < h.wide; c++)
          product(left + block * inner * BLOCK, s.c + c * inner * BLOCK, (int)inner, s.sums + c * BLOCK, true);
        scatter(s.sums, to, head, h.wide, block);
      }
    };
    multiply(s.ps, queries, keys, s.k, dq);
    multiply(s.pst, keys, queries, s.q, dk);
    multiply(s.pt, keys, queries, s.out, dv);
  }
}
