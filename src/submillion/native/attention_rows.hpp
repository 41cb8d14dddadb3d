// The rows of a head: copied out of a group's blocks, rotated by their positions, packed, and written back.
#pragma once
#include "packing.hpp"

namespace submillion {

// A view of one text in block layout: rows [first_row, first_row + rows), columns from block `first_col`.
struct RowView {
  elem_t* data;
  long col_blocks, first_col, first_row, rows;
  elem_t* at(long row, int col) const {
    return data + row_offset(first_row + row, col_blocks) + (first_col + col) * BLOCK_ELEMS;
  }
};

// Rotary position embeddings (Su et al. 2021, arXiv:2104.09864, eq. 34), in the layout of GPT-NeoX: channel c
// of the first half of a head and channel c of its second half are rotated by the angle of (position, c).
struct Rotation {
  const float *cos = nullptr, *sin = nullptr;  // [positions][half of a head's channels]; null: no rotation
  long positions = 0;
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

// Calls `rotated(lower, upper, c, s)` for each pair of vectors of row `position` of a head. Vectors are
// counted in the head; c and s are the cosines and sines of the 16 angles.
template <class Rotated>
FORCE_INLINE void for_each_pair(const Rotation& rotation, long position, int head_blocks, Rotated&& rotated) {
  const long angles = position * head_blocks * 16;
  for (int v = 0; v < head_blocks; v++)
    rotated(v, v + head_blocks, load(rotation.cos + angles + v * 16), load(rotation.sin + angles + v * 16));
}

// As gather_head, with the rows rotated by their positions.
FORCE_INLINE void gather_rotated(const RowView& from, int head, int head_blocks, const Rotation& rotation,
                                 elem_t* to) {
  gather_head(from, head, head_blocks, to);
  if (!rotation.cos) return;
  for (long i = 0; i < from.rows; i++) {
    elem_t* row = to + row_offset(i, head_blocks);
    auto at = [&](int v) { return row + (v >> 1) * BLOCK_ELEMS + (v & 1) * 16; };
    for_each_pair(rotation, i, head_blocks, [&](int lower, int upper, f32x16 c, f32x16 s) {
      const f32x16 x = load(at(lower)), y = load(at(upper));
      store(at(lower), x * c - y * s);
      store(at(upper), y * c + x * s);
    });
  }
}

// As scatter_head, with the rows rotated back in place first: the gradient of a rotation.
FORCE_INLINE void scatter_rotated_back(float* acc, const RowView& to, int head, int head_blocks, long block,
                                       const Rotation& rotation) {
  for (long i = block * BLOCK_SIDE; rotation.cos && i < to.rows && i < (block + 1) * BLOCK_SIDE; i++) {
    float* row = acc + (i & 31) * BLOCK_SIDE;
    auto at = [&](int v) { return row + (v >> 1) * BLOCK_ELEMS + (v & 1) * 16; };
    for_each_pair(rotation, i, head_blocks, [&](int lower, int upper, f32x16 c, f32x16 s) {
      const f32x16 x = load(at(lower)), y = load(at(upper));
      store(at(lower), x * c + y * s);
      store(at(upper), y * c - x * s);
    });
  }
  scatter_head(acc, to, head, head_blocks, block);
}

}  // namespace submillion
