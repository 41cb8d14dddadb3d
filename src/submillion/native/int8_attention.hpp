// Attention over row-major float32 states, for inference.
// It runs text by text and head by head, and texts are not padded.
#pragma once
#include <algorithm>
#include <utility>

#include "simd.hpp"

namespace submillion {

// One text's queries, keys and values, of heads side by side. All rows have the same stride.
struct AttentionInput {
  const float *q, *k, *v;
  long stride, queries, keys;
};
struct AttentionShape {
  int head_channels;
  float scale;                                 // 1 / sqrt(head_channels)
  const float* position_bias = nullptr;        // [heads][2 reach - 1], as HeadConfig::position_bias
  const float *cos = nullptr, *sin = nullptr;  // [reach][half of a head's channels]; null: no rotation
  long reach = 0;                              // positions that the tables have
  long window = 1l << 40;                      // a query attends to the keys at most this far from it
};
// keys_t: [head_channels][keys rounded up to 16]; scores: [ATTENTION_ROWS][the same].
struct InferenceAttentionScratch {
  float *keys_t, *scores;
};

// Rows of a tile: with two vectors of 16 floats, as many accumulators as the registers hold.
#ifdef __AVX512F__
enum { ATTENTION_ROWS = 12 };
#else
enum { ATTENTION_ROWS = 3 };
#endif

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

using AttentionTile = void (*)(const float*, long, const float*, long, long, float*, long);
template <int VECS, int... I>
FORCE_INLINE AttentionTile attention_tile(long rows, std::integer_sequence<int, I...>) {
  static constexpr AttentionTile ALL[] = {multiply_floats_tile<I + 1, VECS>...};
  return ALL[rows - 1];
}

// Computes `rows` rows of a product, up to ATTENTION_ROWS, and 16 `vecs` columns.
FORCE_INLINE void multiply_floats(const float* a, long a_stride, const float* b, long b_stride, long depth,
                                  float* c, long c_stride, long rows, long vecs) {
  const std::make_integer_sequence<int, ATTENTION_ROWS> heights;
  const AttentionTile wide = attention_tile<2>(rows, heights), narrow = attention_tile<1>(rows, heights);
  for (long vec = 0; vec < vecs; vec += 2)
    (vec + 1 < vecs ? wide : narrow)(a, a_stride, b + 16 * vec, b_stride, depth, c + 16 * vec, c_stride);
}

// Transposes a head's keys to [head_channels][padded], with zeros after the last key.
FORCE_INLINE void transpose_keys(const float* keys, long stride, long count, long padded, int head_channels,
                                 float* to) {
  enum { SIDE = FLOAT_TILE_SIDE };
  for (long key = 0; key < padded; key += SIDE)
    for (int c = 0; c < head_channels; c += SIDE) {
      const float* from = keys + key * stride + c;
      if (key + SIDE <= count) {
        transpose_tile(from, stride, to + c * padded + key, padded);
        continue;
      }
      float rows[SIDE * SIDE] = {};
      for (long i = 0; key + i < count; i++) memcpy(rows + i * SIDE, from + i * stride, SIDE * sizeof(float));
      transpose_tile(rows, SIDE, to + c * padded + key, padded);
    }
}

// Rotates the heads of a text's rows by their positions, in place, as Rotation of attention_rows.hpp does.
NOINLINE void rotate_rows(const AttentionShape& shape, int heads, float* rows, long stride, long count) {
  const int half = shape.head_channels / 2;
  for (long i = 0; i < count; i++, rows += stride)
    for (int head = 0; head < heads; head++)
      for (int c = 0; c < half; c += 16) {
        float *lower = rows + (long)head * shape.head_channels + c, *upper = lower + half;
        const f32x16 x = load(lower), y = load(upper), cosine = load(shape.cos + i * half + c),
                     sine = load(shape.sin + i * half + c);
        store(lower, x * cosine - y * sine), store(upper, y * cosine + x * sine);
      }
}

// Replaces a row of `padded` scores by exp(score - max) for keys [begin, end), by zero for the others, and
// returns the inverse of their sum.
FORCE_INLINE float exponentials(float* scores, long begin, long end, long padded, float scale,
                                const float* bias) {
  const i32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  auto within = [&](long key, f32x16 value, float otherwise) {
    if (key + 16 > end) value = select(lane < i32x16{} + (int)(end - key), value, broadcast(otherwise));
    if (key < begin) value = select(lane >= i32x16{} + (int)(begin - key), value, broadcast(otherwise));
    return value;
  };
  f32x16 max = broadcast(-INFINITY), total{};
  for (long key = 0; key < padded; key += 16) {
    f32x16 value = load(scores + key) * scale;
    if (bias) value += load(bias + key);
    value = within(key, value, -INFINITY);
    store(scores + key, value);
    max = select(value > max, value, max);
  }
  const float row_max = reduce_max(max);
  for (long key = 0; key < padded; key += 16) {
    const f32x16 value = within(key, exp(load(scores + key) - row_max), 0.f);
    store(scores + key, value);
    total += value;
  }
  return 1.f / reduce_add(total);
}

// Writes softmax(scores) V of heads [first, first + heads) to rows of `context`, from channel 0 of it on; q,
// k and v begin with head `first`. Of the keys, each block of queries reads those that its window covers.
NOINLINE void attend(const AttentionShape& shape, int first, int heads, const AttentionInput& in,
                     float* context, long context_stride, const InferenceAttentionScratch& s) {
  const long padded = (in.keys + 15) / 16 * 16, blocks = (in.queries + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
  for (int head = 0; head < heads; head++) {
    const long channel = (long)head * shape.head_channels;
    transpose_keys(in.k + channel, in.stride, in.keys, padded, shape.head_channels, s.keys_t);
    for (long block = 0, query = 0; block < blocks; block++) {
      const long rows = in.queries / blocks + (block < in.queries % blocks);
      const long first_key = std::max(0l, query - shape.window) / 16 * 16,
                 end_key = std::min(in.keys, query + rows + shape.window),
                 width = (end_key - first_key + 15) / 16 * 16;
      multiply_floats(in.q + query * in.stride + channel, in.stride, s.keys_t + first_key, padded,
                      shape.head_channels, s.scores, padded, rows, width / 16);
      float inverse_sums[ATTENTION_ROWS];
      for (long i = 0; i < rows; i++) {
        const float* bias = shape.position_bias
                                ? shape.position_bias + (first + head) * (2 * shape.reach - 1) + shape.reach -
                                      1 - (query + i) + first_key
                                : nullptr;
        const long row = query + i, begin = std::max(0l, row - shape.window),
                   end = std::min(in.keys, row + shape.window + 1);
        inverse_sums[i] =
            exponentials(s.scores + i * padded, begin - first_key, end - first_key, width, shape.scale, bias);
      }
      float* to = context + query * context_stride + channel;
      multiply_floats(s.scores, padded, in.v + first_key * in.stride + channel, in.stride,
                      end_key - first_key, to, context_stride, rows, shape.head_channels / 16);
      for (long i = 0; i < rows; i++)
        for (int c = 0; c < shape.head_channels; c += 16)
          store(to + i * context_stride + c, load(to + i * context_stride + c) * inverse_sums[i]);
      query += rows;
    }
  }
}

}  // namespace submillion
