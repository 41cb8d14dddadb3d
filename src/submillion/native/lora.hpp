// Low-rank adapters: y += scale B (A dropout(x)), and the gradients of A, B and x.
#pragma once
#include "dropout.hpp"
#include "products.hpp"

// A matrix [n][k] packed as the right factor of x W^T (`forward`: panels over n) and of y W (`backward`: over k).
struct Packed {
  T *forward = nullptr, *backward = nullptr;
  long n = 0, k = 0;  // in blocks
  Right times_transposed() const { return {forward, k * BLOCK}; }
  Right times() const { return {backward, n * BLOCK}; }
};

// One adapted matrix (Hu et al. 2021, arXiv:2106.09685, eq. 3); the rank is padded with zeros to whole blocks.
struct Lora {
  long r = 0, inputs = 0, outputs = 0;
  float scale = 1;
  Packed a, b;  // b is packed with the scale in it
  Dropout drop;
  bool on() const { return r > 0; }
  int blocks() const { return (int)((r + 31) / 32); }
  // How much of a block of the rank is filled.
  int filled(int block) const { return r - block * SIDE < SIDE ? (int)(r - block * SIDE) : +SIDE; }
  int last() const { return filled(blocks() - 1); }
};

// u = A dropout(x) of each token block: [blocks][rank blocks].
//
// keys: dropout keys of the rows; line: room for DEPTH blocks; sums: for the rank blocks of one token block.
STAGE void lora_down(const Lora& lora, const T* x, int blocks, const uint64_t* keys, T* u, T* line, float* sums) {
  const int chunks = (int)(lora.inputs / SIDE), wide = lora.blocks();
  for (int m = 0; m < blocks; m++) {
    for (int c = 0; c < chunks; c += DEPTH) {
      int some = chunks - c < DEPTH ? chunks - c : +DEPTH;
      const T* left = x + ((long)m * chunks + c) * BLOCK;
      if (lora.drop.on()) {
        for (int i = 0; i < some; i++)
          drop_block(lora.drop, keys + m * SIDE, (uint32_t)(c + i), left + i * BLOCK, line + i * BLOCK);
        left = line;
      }
      for (int n = 0; n < wide; n++)
        product(left, lora.a.forward + ((long)n * chunks + c) * BLOCK, some, sums + n * BLOCK, c == 0,
                {SIDE, lora.filled(n), SIDE});
    }
    for (int n = 0; n < wide; n++)
      for (int i = 0; i < SIDE; i++) {
        const float* row = sums + n * BLOCK + i * SIDE;
        store_row(u + ((long)m * wide + n) * BLOCK + i * SIDE, load(row) * lora.drop.scale, load(row + 16) * lora.drop.scale);
      }
  }
}

// du = dy B: [blocks][rank blocks]; dy lies at `stride` elements from token block to token block.
STAGE void lora_up_backward(const Lora& lora, Left dy, int blocks, T* du, float* sums) {
  const int chunks = (int)(lora.outputs / SIDE), wide = lora.blocks();
  for (int m = 0; m < blocks; m++)
    for (int n = 0; n < wide; n++) {
      product(dy.at + m * dy.stride, lora.b.backward + (long)n * chunks * BLOCK, chunks, sums, true,
              {SIDE, lora.filled(n), SIDE});
      for (int i = 0; i < SIDE; i++)
        store_row(du + ((long)m * wide + n) * BLOCK + i * SIDE, load(sums + i * SIDE), load(sums + i * SIDE + 16));
    }
}

// du A for block (m, c): float32 [32][32].
ALWAYS void lora_share(const Lora& lora, const T* du, int m, int c, float* share) {
  const int wide = lora.blocks();
  product(du + (long)m * wide * BLOCK, lora.a.backward + (long)c * wide * BLOCK, wide, share, true,
          {SIDE, SIDE, lora.last()});
}

// Adds dropout(share) to row i of block (m, c), given in two halves.
ALWAYS void add_share(const Lora& lora, const float* share, int m, int c, int i, const uint64_t* keys, lanes& low, lanes& high) {
  const uint32_t bits = lora.drop.bits(keys[m * SIDE + i], (uint32_t)c);
  low += keep(load(share + i * SIDE) * lora.drop.scale, bits);
  high += keep(load(share + i * SIDE + 16) * lora.drop.scale, bits >> 16);
}

// dx += dropout(du A) for block (m, c); dx is float32 and in the cache.
ALWAYS void lora_down_backward(const Lora& lora, const T* du, int m, int c, const uint64_t* keys, float* dx, float* share) {
  lora_share(lora, du, m, c, share);
  for (int i = 0; i < SIDE; i++) {
    lanes low = load(dx + i * SIDE), high = load(dx + i * SIDE + 16);
    add_share(lora, share, m, c, i, keys, low, high);
    store_row(dx + i * SIDE, low, high);
  }
}

// to[r][columns] = scale * left^T right, summed over all rows of the token blocks: dA from (du, x), dB from (u, dy).
//
// drop: dropout on `right`, or null. columns: the width of `to`; right's chunk c goes to columns [32 (first + c), ...).
// room: [blocks] for right factors and [rank blocks][blocks] for the transposed left one.
STAGE void lora_gradient(const Lora& lora, const T* left, Left right, int chunks, int first, int blocks,
                          const Dropout* drop, const uint64_t* keys, float scale, float* to, long columns, T* room,
                          float* sums) {
  const int wide = lora.blocks();
  T *factors = room, *turned = room + (long)blocks * BLOCK;
  alignas(64) T dropped[BLOCK];
  for (int m = 0; m < blocks; m++)
    for (int n = 0; n < wide; n++)
      transpose_one(left + ((long)m * wide + n) * BLOCK, turned + ((long)n * blocks + m) * BLOCK);
  for (int c = 0; c < chunks; c++) {
    for (int m = 0; m < blocks; m++) {
      const T* block = right.at + m * right.stride + (long)c * BLOCK;
      if (drop && drop->on()) {
        drop_block(*drop, keys + m * SIDE, (uint32_t)(first + c), block, dropped);
        block = dropped;
      }
      factor_from_rows(block, factors + (long)m * BLOCK);
    }
    for (int n = 0; n < wide; n++) {
      const int rows = lora.filled(n);
      product(turned + (long)n * blocks * BLOCK, factors, blocks, sums, true, {rows, SIDE, SIDE});
      for (int i = 0; i < rows; i++) {
        float* at = to + (n * SIDE + i) * columns + (first + c) * SIDE;
        store(at, load(sums + i * SIDE) * scale);
        store(at + 16, load(sums + i * SIDE + 16) * scale);
      }
    }
  }
}
