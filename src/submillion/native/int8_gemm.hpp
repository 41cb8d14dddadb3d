// Products of quantized token rows and an int8 matrix: packing and loops.
//
// A matrix has a scale for each output and group of input channels (int8_rows.hpp), so that
//   y[o] = bias[o] + sum over groups of s_x s_w[o] (sum of u q - zero sum of q)
// where the sums of integers are exact.
#pragma once
#include "arena.hpp"
#include "c_api_int8.hpp"
#include "int8_microkernel.hpp"
#include "parallel.hpp"

namespace submillion {

// A matrix is packed in panels of 32 outputs, [panel][group][`panel_offset`], and padded with zeros like the
// lines of the rows. One that stays in float32 or bfloat16 has `floats` alone.
struct Int8Matrix {
  int panels = 0;
  ChannelGroups groups;
  int8_t* data = nullptr;
  float *scales = nullptr, *sums = nullptr;  // [groups][outputs]; sums: of the integers of an output
  elem_t* floats = nullptr;                  // packed for `brgemm`, [panel][k block]
  float* bias = nullptr;

  int outputs() const { return panels * BLOCK_SIDE; }
  long panel_bytes() const { return (long)groups.lines * LINE * BLOCK_SIDE; }
};

inline Int8Matrix pack_int8(Arena& arena, const SmInt8Matrix& from, long outputs, long inputs, int threads) {
  Int8Matrix m;
  m.panels = (int)(outputs / BLOCK_SIDE), m.groups = ChannelGroups((int)(inputs / BLOCK_SIDE));
  m.bias = arena.allocate<float>(outputs);
  memcpy(m.bias, from.bias, outputs * sizeof(float));
  const long k_blocks = inputs / BLOCK_SIDE, table = m.groups.count() * outputs;
  if (from.floats) {
    m.floats = arena.allocate<elem_t>(outputs * inputs);
    parallel_for(m.panels, threads, [&](int n) {
      alignas(64) elem_t block[BLOCK_ELEMS];
      for (long k = 0; k < k_blocks; k++) {
        block_from_matrix(from.floats, outputs, inputs, n * BLOCK_SIDE, k * BLOCK_SIDE, 1, block);
        pack_b_from_nk(block, m.floats + (n * k_blocks + k) * BLOCK_ELEMS);
      }
    });
    return m;
  }
  m.data = arena.allocate<int8_t>(m.panels * m.panel_bytes());
  m.scales = arena.allocate<float>(table), m.sums = arena.allocate<float>(table);
  memcpy(m.scales, from.scales, table * sizeof(float));
  memset(m.data, 0, m.panels * m.panel_bytes());
  parallel_for(m.panels, threads, [&](int n) {
    for (int g = 0; g < m.groups.count(); g++) {
      const ChannelGroup& group = m.groups.all[g];
      for (int o = 0; o < BLOCK_SIDE; o++) {
        const int output = n * BLOCK_SIDE + o;
        const int8_t* row = from.values + output * inputs + group.first_block * BLOCK_SIDE;
        int8_t* to = m.data + n * m.panel_bytes() + (long)group.first_line * LINE * BLOCK_SIDE;
        int sum = 0;
        for (int k = 0; k < group.channels; k++) {
          to[panel_offset(o, k)] = row[k];
          sum += row[k];
        }
        m.sums[g * outputs + output] = (float)sum;
      }
    }
  });
  return m;
}

// The input of a product: rows in int8, and blocks [row block][k block] for matrices that stay in float.
struct ProductInput {
  QuantizedRows quantized;
  elem_t* blocks = nullptr;
};

// Computes panels [n_begin, n_end) of the float product and calls `epilogue(row, n, low, high)` for every
// row.
template <class Epilogue>
FORCE_INLINE void multiply_floats(const Int8Matrix& m, const elem_t* blocks, int rows, int n_begin, int n_end,
                                  Epilogue&& epilogue) {
  alignas(64) float acc[BLOCK_ELEMS];
  const int k_blocks = m.groups.blocks;
  for (int n = n_begin; n < n_end; n++) {
    const f32x16 b0 = load(m.bias + n * BLOCK_SIDE), b1 = load(m.bias + n * BLOCK_SIDE + 16);
    for (int row = 0; row < rows; row += BLOCK_SIDE) {
      brgemm(blocks + (long)row / BLOCK_SIDE * k_blocks * BLOCK_ELEMS,
             m.floats + (long)n * k_blocks * BLOCK_ELEMS, k_blocks, acc, true);
      for (int i = 0; i < BLOCK_SIDE && row + i < rows; i++)
        epilogue(row + i, n, load(acc + i * BLOCK_SIDE) + b0, load(acc + i * BLOCK_SIDE + 16) + b1);
    }
  }
}

// Computes panels [n_begin, n_end) of a product, and calls `epilogue(row, n, low, high)` with the two halves
// of every row of a panel, bias included. partial: float32 [capacity][32], for a product of several groups.
//
// A panel's group (24 KB at most) stays in L1 while all rows pass by; its successor is prefetched into L2.
template <class Epilogue>
FORCE_INLINE void multiply(const Int8Matrix& m, const ProductInput& input, int rows, int n_begin, int n_end,
                           float* partial, Epilogue&& epilogue) {
  if (m.floats) return multiply_floats(m, input.blocks, rows, n_begin, n_end, epilogue);
  alignas(64) int32_t sums[TILE_ROWS * BLOCK_SIDE];
  const QuantizedRows& a = input.quantized;
  const int outputs = m.outputs(), tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (int n = n_begin; n < n_end; n++) {
    const int8_t* b = m.data + n * m.panel_bytes();
    for (int g = 0; g < m.groups.count(); g++) {
      const int lines = m.groups.all[g].lines, line = m.groups.all[g].first_line;
      const bool first = g == 0, last = g + 1 == m.groups.count();
      const float *scales = m.scales + g * outputs + n * BLOCK_SIDE,
                  *sums_of = m.sums + g * outputs + n * BLOCK_SIDE;
      const f32x16 scale0 = load(scales), scale1 = load(scales + 16), sum0 = load(sums_of),
                   sum1 = load(sums_of + 16), bias0 = load(m.bias + n * BLOCK_SIDE),
                   bias1 = load(m.bias + n * BLOCK_SIDE + 16);
      const char* next = (const char*)b + (long)lines * LINE * BLOCK_SIDE;
      const int bytes_per_tile = (lines * LINE * BLOCK_SIDE / 64 + tiles - 1) / tiles,
                prefetch_lines = (bytes_per_tile + lines - 1) / lines;
      for (int tile = 0, row = 0; tile < tiles; tile++) {
        // Microkernels get tiles of equal height, because low ones leave registers unused.
        const int height =
            TILE_ROWS < 32 ? rows / tiles + (tile < rows % tiles) : std::min<int>(TILE_ROWS, rows - row);
        multiply_tile(a.data + (line * a.capacity + row) * LINE, a.capacity * LINE, b, lines, height, sums,
                      next, prefetch_lines);
        next += (long)lines * prefetch_lines * 64;
        for (int i = 0; i < height; i++) {
          const float zero = a.zeros[g * a.capacity + row + i], scale = a.scales[g * a.capacity + row + i];
          const int32_t* integers = sums + i * BLOCK_SIDE;
          float* carried = partial + (row + i) * BLOCK_SIDE;
          f32x16 low = dequantized(integers, sum0, scale0, zero, scale) + (first ? bias0 : load(carried)),
                 high = dequantized(integers + 16, sum1, scale1, zero, scale) +
                        (first ? bias1 : load(carried + 16));
          if (last) {
            epilogue(row + i, n, low, high);
          } else {
            store(carried, low), store(carried + 16, high);
          }
        }
        row += height;
      }
      b += (long)lines * LINE * BLOCK_SIDE;
    }
  }
}

}  // namespace submillion
