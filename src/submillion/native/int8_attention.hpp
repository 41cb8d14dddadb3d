// Attention over row-major float32 states, for inference.
// It runs text by text and head by head, and texts are not padded.
#pragma once
#include "simd.hpp"

namespace submillion {

// One text's queries, keys and values, of heads side by side. All rows have the same stride.
struct AttentionInput {
  const float *q, *k, *v;
  long stride, queries, keys;
};
struct AttentionShape {
  int head_channels;
  float scale;                           // 1 / sqrt(head_channels)
  const float* position_bias = nullptr;  // [heads][2 reach - 1], as HeadConfig::position_bias
  long reach = 0;
};
// keys_t: [head_channels][keys rounded up to 16]; scores: [ATTENTION_ROWS][the same].
struct InferenceAttentionScratch {
  float *keys_t, *scores;
};

enum { ATTENTION_ROWS = 12 };

// Computes c[ROWS][16 VECS] = A B for a [ROWS][depth] and b [depth][16 VECS]; strides are in floats.
template <int ROWS, int VECS>
NOINLINE void multiply_floats_tile(const float* a, long a_stride, const float* b, long b_stride, long depth,
                                   float* c, long c_stride) {
  f32x16 acc[ROWS][VECS] = {};
  for (long k = 0; k < depth; k++, b += b_stride) {
    f32x16 row[VECS];
#pragma GCC unroll 2
    for (int j = 0; j < VECS; j++) row[j] = load(b + 16 * j);
#pragma GCC unroll 12
    for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
      for (int j = 0; j < VECS; j++) acc[i][j] += a[i * a_stride + k] * row[j];
  }
#pragma GCC unroll 12
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
    for (int j = 0; j < VECS; j++) store(c + i * c_stride + 16 * j, acc[i][j]);
}

// Computes `rows` rows of a product, up to ATTENTION_ROWS, and 16 `vecs` columns.
FORCE_INLINE void multiply_floats(const float* a, long a_stride, const float* b, long b_stride, long depth,
                                  float* c, long c_stride, long rows, long vecs) {
  using Kernel = void (*)(const float*, long, const float*, long, long, float*, long);
#define KERNELS_OF(vecs)                                                                               \
  {                                                                                                    \
    multiply_floats_tile<1, vecs>, multiply_floats_tile<2, vecs>, multiply_floats_tile<3, vecs>,       \
        multiply_floats_tile<4, vecs>, multiply_floats_tile<5, vecs>, multiply_floats_tile<6, vecs>,   \
        multiply_floats_tile<7, vecs>, multiply_floats_tile<8, vecs>, multiply_floats_tile<9, vecs>,   \
        multiply_floats_tile<10, vecs>, multiply_floats_tile<11, vecs>, multiply_floats_tile<12, vecs> \
  }
  static constexpr Kernel KERNELS[2][ATTENTION_ROWS] = {KERNELS_OF(1), KERNELS_OF(2)};
#undef KERNELS_OF
  for (long vec = 0; vec < vecs; vec += 2)
    KERNELS[vec + 1 < vecs][rows - 1](a, a_stride, b + 16 * vec, b_stride, depth, c + 16 * vec, c_stride);
}

// Transposes a head's keys to [head_channels][padded], with zeros after the last key.
FORCE_INLINE void transpose_keys(const float* keys, long stride, long count, long padded, int head_channels,
                                 float* to) {
  for (long key = 0; key < padded; key += 16)
    for (int c = 0; c < head_channels; c += 16) {
      u32x16 rows[16] = {};
      for (long i = 0; i < 16 && key + i < count; i++) rows[i] = (u32x16)load(keys + (key + i) * stride + c);
      transpose_16x16(rows);
      for (int i = 0; i < 16; i++) store(to + (c + i) * padded + key, (f32x16)rows[i]);
    }
}

// Replaces a row of scores by exp(score - max), zero after the last key, and returns the inverse of their
// sum.
FORCE_INLINE float exponentials(float* scores, long keys, long padded, float scale, const float* bias) {
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  f32x16 max = broadcast(-INFINITY), total{};
  for (long key = 0; key < padded; key += 16) {
    f32x16 value = load(scores + key) * scale;
    if (bias) value += load(bias + key);
    if (key + 16 > keys) value = select(lane < i32x16{} + (int)(keys - key), value, broadcast(-INFINITY));
    store(scores + key, value);
    max = select(value > max, value, max);
  }
  const float row_max = reduce_max(max);
  for (long key = 0; key < padded; key += 16) {
    f32x16 value = exp(load(scores + key) - row_max);
    if (key + 16 > keys) value = select(lane < i32x16{} + (int)(keys - key), value, f32x16{});
    store(scores + key, value);
    total += value;
  }
  return 1.f / reduce_add(total);
}

// Writes softmax(scores) V of heads [first, first + heads) to rows of `context`, from channel 0 of it on; q,
// k and v begin with head `first`.
NOINLINE void attend(const AttentionShape& shape, int first, int heads, const AttentionInput& in,
                     float* context, long context_stride, const InferenceAttentionScratch& s) {
  const long padded = (in.keys + 15) / 16 * 16, blocks = (in.queries + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
  for (int head = 0; head < heads; head++) {
    const long channel = (long)head * shape.head_channels;
    transpose_keys(in.k + channel, in.stride, in.keys, padded, shape.head_channels, s.keys_t);
    for (long block = 0, query = 0; block < blocks; block++) {
      const long rows = in.queries / blocks + (block < in.queries % blocks);
      multiply_floats(in.q + query * in.stride + channel, in.stride, s.keys_t, padded, shape.head_channels,
                      s.scores, padded, rows, padded / 16);
      float inverse_sums[ATTENTION_ROWS];
      for (long i = 0; i < rows; i++) {
        const float* bias =
            shape.position_bias
                ? shape.position_bias + (first + head) * (2 * shape.reach - 1) + shape.reach - 1 - (query + i)
                : nullptr;
        inverse_sums[i] = exponentials(s.scores + i * padded, in.keys, padded, shape.scale, bias);
      }
      float* to = context + query * context_stride + channel;
      multiply_floats(s.scores, padded, in.v + channel, in.stride, in.keys, to, context_stride, rows,
                      shape.head_channels / 16);
      for (long i = 0; i < rows; i++)
        for (int c = 0; c < shape.head_channels; c += 16)
          store(to + i * context_stride + c, load(to + i * context_stride + c) * inverse_sums[i]);
      query += rows;
    }
  }
}

}  // namespace submillion
