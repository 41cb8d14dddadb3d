// Inputs of products: float32 rows prepared for matrices in int8, for those that stay in float, or for both.
#pragma once
#include <initializer_list>

#include "int8_gemm.hpp"

namespace submillion {

inline ProductInput allocate_input(Arena& arena, long channels, long rows) {
  ProductInput in;
  const ChannelGroups of((int)(channels / BLOCK_SIDE));
  QuantizedRows& q = in.quantized;
  q.capacity = rows + TILE_ROWS;  // the AMX microkernel reads whole tiles
  q.data = arena.allocate<activation_t>(of.lines * q.capacity * LINE);
  q.scales = arena.allocate<float>(of.count() * q.capacity);
  q.zeros = arena.allocate<float>(of.count() * q.capacity);
  in.blocks = arena.allocate<elem_t>((rows + BLOCK_SIDE - 1) / BLOCK_SIDE * BLOCK_SIDE * channels);
  return in;
}

// Prepares one group of a row's channels, which begin at x.
FORCE_INLINE void prepare_group(const float* x, long row, const ChannelGroups& of, int index, bool quantized,
                                bool blocks, const ProductInput& to) {
  const ChannelGroup& group = of.all[index];
  if (quantized) quantize_group(x, group, index, row, to.quantized);
  if (!blocks) return;
  elem_t* at = to.blocks + row_offset(row, of.blocks) + group.first_block * BLOCK_ELEMS;
  for (int c = 0; c < group.channels; c += BLOCK_SIDE, at += BLOCK_ELEMS)
    store_row(at, load(x + c), load(x + c + 16));
}

// Prepares rows of all channels for the matrices that read them.
inline void prepare_rows(const float* rows, long count, const ChannelGroups& of,
                         std::initializer_list<const Int8Matrix*> by, const ProductInput& to) {
  bool quantized = false, blocks = false;
  for (const Int8Matrix* m : by) (m->floats ? blocks : quantized) = true;
  for (long i = 0; i < count; i++, rows += of.blocks * BLOCK_SIDE)
    for (int g = 0; g < of.count(); g++)
      prepare_group(rows + of.all[g].first_block * BLOCK_SIDE, i, of, g, quantized, blocks, to);
}

// Computes y = x W^T + bias for x [rows][inputs] and y [rows][outputs].
inline void multiply_rows(const SmInt8Matrix& matrix, long outputs, long inputs, const float* x, long rows,
                          float* y) {
  Arena arena;
  const Int8Matrix m = pack_int8(arena, matrix, outputs, inputs, 1);
  const ProductInput input = allocate_input(arena, inputs, rows);
  float* partial = arena.allocate<float>(rows * BLOCK_SIDE);
  prepare_rows(x, rows, m.groups, {&m}, input);
  configure_tiles();
  multiply(m, input, (int)rows, 0, m.panels, partial, [&](long row, int n, f32x16 low, f32x16 high) {
    store_row(y + row * outputs + n * BLOCK_SIDE, low, high);
  });
  release_tiles();
}

}  // namespace submillion
