// Counter-based dropout: a mask is a hash of (seed, layer, site, text, row, column), so none is stored.
//
// Masks do not depend on the order of computation or the number of threads. The backward pass recomputes
// them.
#pragma once
#include "packing.hpp"

namespace submillion {

// Where in a layer dropout applies; the input of adapter `target`, one of six, is LORA_INPUT + target.
enum DropoutSite {
  EMBEDDING,
  ATTENTION,
  ATTENTION_OUTPUT,
  FFN_OUTPUT,
  LORA_INPUT,
  RELATIVE_POSITIONS = LORA_INPUT + 6
};

// The finalizer of splitmix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195).
FORCE_INLINE uint64_t splitmix64(uint64_t z) {
  z += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

struct Dropout {
  uint64_t key = 0;
  uint32_t threshold = 65536;  // an element is kept if its 16 random bits are below it
  float scale = 1;             // 1 / (probability of keeping an element), exact for the rounded probability

  Dropout() = default;
  Dropout(double p, uint64_t seed, int layer, int site) {
    threshold = (uint32_t)std::lround((1 - p) * 65536);
    if (threshold < 1) threshold = 1;
    scale = 65536.f / (float)threshold;
    key = splitmix64(splitmix64(seed) ^ ((uint64_t)(layer + 1) << 32 | (uint32_t)site));
  }
  bool enabled() const { return threshold < 65536; }
  uint64_t row_key(uint64_t row_id) const { return splitmix64(key ^ row_id * 0xD1342543DE82EF95ull); }

  // Returns a mask whose bit i tells whether element `col_block` * 32 + i of the row is kept. The 32-bit hash
  // is lowbias32 (github.com/skeeto/hash-prospector), keyed before and between its two rounds.
  FORCE_INLINE uint32_t hash_mask(uint64_t row_key, uint32_t col_block, uint32_t threshold) {
    const u32x16 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    u32x16 h = (lane + col_block * 16) * 0x9E3779B9u + (uint32_t)row_key;
    h ^= h >> 16;
    h *= 0x7FEB352Du;
    h ^= (uint32_t)(row_key >> 32);
    h ^= h >> 15;
    h *= 0x846CA68Bu;
    h ^= h >> 16;
    return halves_below(h, threshold);
  }
  uint32_t mask(uint64_t row_key, uint32_t col_block) const {
    return enabled() ? hash_mask(row_key, col_block, threshold) : ~0u;
  }
};

// Copies a block with the dropped elements set to zero; the others are not scaled.
FORCE_INLINE void dropout_block(const Dropout& dropout, const uint64_t* row_keys, uint32_t col_block,
                                const elem_t* block, elem_t* to) {
  for (int i = 0; i < BLOCK_SIDE; i++) {
    uint32_t mask = dropout.mask(row_keys[i], col_block);
#if defined(SM_BF16) && defined(__AVX512F__)
    _mm512_storeu_si512(to + i * BLOCK_SIDE,
                        _mm512_maskz_mov_epi16(mask, _mm512_loadu_si512(block + i * BLOCK_SIDE)));
#else
    f32x16 low, high;
    load_row(block + i * BLOCK_SIDE, low, high);
    store_row(to + i * BLOCK_SIDE, zero_dropped(low, mask), zero_dropped(high, mask >> 16));
#endif
  }
}

}  // namespace submillion
