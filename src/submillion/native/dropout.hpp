// Dropout masks as a function of (seed, layer, place, text, row, column): nothing is stored, no order matters.
#pragma once
#include "blocks.hpp"

// Where in a layer a mask stands; the LoRA inputs are LORA + target.
enum Place { EMBEDDING, ATTENTION, ATTENTION_OUT, FFN_OUT, LORA };

// splitmix64's finalizer (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
ALWAYS uint64_t mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

struct Dropout {
  uint64_t key = 0;
  uint32_t threshold = 65536;  // an element is kept where 16 random bits are below it
  float scale = 1;             // 1 / (share kept), exact for the rounded share

  Dropout() = default;
  Dropout(double share, uint64_t seed, int layer, int place) {
    threshold = (uint32_t)std::lround((1 - share) * 65536);
    if (threshold < 1) threshold = 1;
    scale = 65536.f / (float)threshold;
    key = mix(mix(seed) ^ ((uint64_t)(layer + 1) << 32 | (uint32_t)place));
  }
  bool on() const { return threshold < 65536; }
  uint64_t row(uint64_t id) const { return mix(key ^ id * 0xD1342543DE82EF95ull); }

  // Bit i of the result: whether element `chunk` * 32 + i of the row is kept.
  // The 32-bit hash is lowbias32 (github.com/skeeto/hash-prospector), keyed before and between its two rounds.
  ALWAYS uint32_t kept(uint64_t row, uint32_t chunk, uint32_t threshold) {
    const ulanes steps = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    ulanes h = (steps + chunk * 16) * 0x9E3779B9u + (uint32_t)row;
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= (uint32_t)(row >> 32);
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    h ^= h >> 16;
#ifdef __AVX512BW__
    return _mm512_cmplt_epu16_mask((__m512i)h, _mm512_set1_epi16((short)threshold));
#else
    typedef uint16_t halves __attribute__((vector_size(32)));
    __m256i low = (__m256i)((halves)h.low < (uint16_t)threshold), high = (__m256i)((halves)h.high < (uint16_t)threshold);
    return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xD8));
#endif
  }
  uint32_t bits(uint64_t row, uint32_t chunk) const { return on() ? kept(row, chunk, threshold) : ~0u; }
};

// Keeps the lanes whose bit is set, zero elsewhere.
ALWAYS lanes keep(lanes value, uint32_t bits) {
#ifdef __AVX512F__
  return (lanes)_mm512_maskz_mov_ps((__mmask16)bits, (__m512)value);
#else
  const ulanes each = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (lanes)((ulanes)value & (ulanes)((each & bits) != ulanes{}));
#endif
}

// A block of T with the dropped elements zero, not scaled.
ALWAYS void drop_block(const Dropout& drop, const uint64_t* rows, uint32_t chunk, const T* block, T* to) {
  for (int i = 0; i < SIDE; i++) {
    uint32_t bits = drop.bits(rows[i], chunk);
#ifdef SM_BF16
    _mm512_storeu_si512(to + i * SIDE, _mm512_maskz_mov_epi16(bits, _mm512_loadu_si512(block + i * SIDE)));
#else
    store_row(to + i * SIDE, keep(load(block + i * SIDE), bits), keep(load(block + i * SIDE + 16), bits >> 16));
#endif
  }
}
