// Quantized token rows: the rule by which activations become 8-bit integers, and their layout.
//
// A product's input channels are cut into groups of at most 768, and each token has a scale and a zero point
// for each group:
//   low = min(0, min x), high = max(0, max x), inverse = 255 / (high - low), or 0 if they are equal
//   zero = rint(-low inverse), u = min(rint(x inverse) + zero, 255), x ~ (u - zero) scale, scale = (high -
//   low) / 255
// in float32, with ties to even. A token's integers depend on nothing but the token.
#pragma once
#include <algorithm>
#include <vector>

#include "packing.hpp"

namespace submillion {

// LINE: channels of a row that lie side by side; in bytes, one cache line and one row of an AMX tile.
enum { LINE = 64, MAX_GROUP_CHANNELS = 768 };

// An activation from 0 to 255. AVX2 alone multiplies bytes only with sums that saturate at 16 bits, and so
// keeps activations in words.
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
#define SM_BYTES
typedef uint8_t activation_t;
#else
typedef int16_t activation_t;
#endif

// One of the groups of a product's input channels; the lines are those of the whole row.
struct ChannelGroup {
  int first_block, channels, first_line, lines;
};

// The groups of a product's input channels: equal numbers of blocks of 32 channels, as far as possible. A
// group occupies whole lines; its last one is padded with zeros if its number of blocks is odd.
struct ChannelGroups {
  int blocks = 0, lines = 0;
  std::vector<ChannelGroup> all;

  explicit ChannelGroups(int blocks = 0) : blocks(blocks) {
    const int count = (blocks * BLOCK_SIDE + MAX_GROUP_CHANNELS - 1) / MAX_GROUP_CHANNELS;
    for (int g = 0; g < count; g++) {
      const int first = blocks * g / count, channels = (blocks * (g + 1) / count - first) * BLOCK_SIDE;
      all.push_back({first, channels, lines, (channels + LINE - 1) / LINE});
      lines += all.back().lines;
    }
  }
  int count() const { return (int)all.size(); }
  int widest() const {
    int channels = 0;
    for (const ChannelGroup& g : all) channels = std::max(channels, g.channels);
    return channels;
  }
};

// Token rows as [lines][capacity][LINE]; `scales` and `zeros` as [groups][capacity].
struct QuantizedRows {
  activation_t* data = nullptr;
  float *scales = nullptr, *zeros = nullptr;
  long capacity = 0;
};

// Writes LINE integers rint(x factor) + zero, limited to [0, 255]; zeros in place of the second half if
// `half`.
#ifdef __AVX512F__
FORCE_INLINE void store_line(const float* x, bool half, float factor, int zero, activation_t* to) {
  const __m512i offset = _mm512_set1_epi32(zero);
  // The packs interleave 128-bit lanes; this puts the words back in order.
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  auto integers = [&](int c) {
    return _mm512_add_epi32(_mm512_cvtps_epi32((__m512)(load(x + c) * factor)), offset);
  };
  const __m512i first = _mm512_packus_epi32(integers(0), integers(16));
  const __m512i second = half ? _mm512_setzero_si512() : _mm512_packus_epi32(integers(32), integers(48));
  _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(first, second)));
}
#else
FORCE_INLINE void store_line(const float* x, bool half, float factor, int zero, activation_t* to) {
  const __m256i offset = _mm256_set1_epi32(zero);
  auto integers = [&](f32x8 value) {
    return _mm256_add_epi32(_mm256_cvtps_epi32((__m256)(value * factor)), offset);
  };
  // The packs interleave 128-bit lanes; the permutations below put the integers back in order.
  auto words = [&](int c) {
    if (half && c >= LINE / 2) return _mm256_setzero_si256();
    const f32x16 value = load(x + c);
    return _mm256_packus_epi32(integers(value.low), integers(value.high));
  };
#ifdef SM_BYTES
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  for (int c = 0; c < LINE; c += 32) {
    const __m256i bytes = _mm256_packus_epi16(words(c), words(c + 16));
    _mm256_storeu_si256((__m256i*)(to + c), _mm256_permutevar8x32_epi32(bytes, order));
  }
#else
  const __m256i largest = _mm256_set1_epi16(255);
  for (int c = 0; c < LINE; c += 16) {
    const __m256i ordered = _mm256_permute4x64_epi64(words(c), 0xD8);
    _mm256_storeu_si256((__m256i*)(to + c), _mm256_min_epu16(ordered, largest));
  }
#endif
}
#endif

// Quantizes group `index` of a row's channels, which begin at x.
FORCE_INLINE void quantize_group(const float* x, const ChannelGroup& group, int index, long row,
                                 const QuantizedRows& to) {
  const int channels = group.channels;
  f32x16 low{}, high{};
  for (int c = 0; c < channels; c += 16) {
    const f32x16 value = load(x + c);
    low = minimum(low, value), high = maximum(high, value);
  }
  const float lowest = reduce_min(low), span = reduce_max(high) - lowest,
              inverse = span > 0 ? 255.f / span : 0.f;
  const int zero = _mm_cvtss_si32(_mm_set_ss(-lowest * inverse));
  to.scales[index * to.capacity + row] = span / 255.f;
  to.zeros[index * to.capacity + row] = (float)zero;
  activation_t* at = to.data + (group.first_line * to.capacity + row) * LINE;
  for (int c = 0; c < channels; c += LINE, at += to.capacity * LINE)
    store_line(x + c, c + LINE > channels, inverse, zero, at);
}

// Writes to x the layer norm of a row of y, plus that of x if `residual` (see layer_norm.hpp).
FORCE_INLINE void normalize_row(const float* y, bool residual, long channels, const float* gamma,
                                const float* beta, float epsilon, float* x) {
  f32x16 sum[2] = {}, squares[2] = {};
  for (long c = 0, half = 0; c < channels; c += 16, half ^= 1) {
    f32x16 value = load(y + c);
    if (residual) value += load(x + c);
    store(x + c, value);
    sum[half] += value;
  }
  const float mean = reduce_add(sum[0] + sum[1]) / (float)channels;
  for (long c = 0, half = 0; c < channels; c += 16, half ^= 1) {
    const f32x16 value = load(x + c) - mean;
    squares[half] += value * value;
  }
  const float rstd = 1.f / std::sqrt(reduce_add(squares[0] + squares[1]) / (float)channels + epsilon);
  for (long c = 0; c < channels; c += 16)
    store(x + c, (load(x + c) - mean) * rstd * load(gamma + c) + load(beta + c));
}

}  // namespace submillion
