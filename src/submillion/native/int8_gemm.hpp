// Products of quantized token rows and an int8 matrix: packing, microkernels and loops.
//
// A matrix has a scale for each output and group of input channels (int8_rows.hpp), so that
//   y[o] = bias[o] + sum over groups of s_x s_w[o] (sum of u q - zero sum of q)
// where the sums of integers are exact.
#pragma once
#include "arena.hpp"
#include "c_api_int8.hpp"
#include "gemm.hpp"
#include "int8_rows.hpp"
#include "parallel.hpp"

namespace submillion {

// A matrix is packed in panels of 32 outputs, [panel][line][LINE / 4][2][16 outputs][4 channels], and padded
// with zeros like the lines of the rows. One that stays in float32 or bfloat16 has `floats` alone.
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
        int8_t* to = m.data + n * m.panel_bytes() + (long)group.first_line * LINE * BLOCK_SIDE + o * 4;
        int sum = 0;
        for (int k = 0; k < group.channels; k++) {
          to[k / 4 * 4 * BLOCK_SIDE + k % 4] = row[k];
          sum += row[k];
        }
        m.sums[g * outputs + output] = (float)sum;
      }
    }
  });
  return m;
}

#ifdef SM_AMX
enum { TILE_ROWS = 32 };

// Computes sums[32][32] of 32 rows and a panel. The tiles are those of gemm.hpp. Rows that do not exist are
// computed from what is in memory after the others.
NOINLINE void multiply_tile(const uint8_t* a, long line_stride, const int8_t* b, int lines, int rows,
                            int32_t* sums, const char*, int) {
  asm volatile("" ::: "memory");  // the tile load intrinsics do not tell the compiler that they read memory
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int line = 0; line < lines; line++, a += line_stride, b += LINE * BLOCK_SIDE) {
    _tile_loadd(4, a, LINE);
    _tile_loadd(6, b, 4 * BLOCK_SIDE);
    _tile_loadd(7, b + LINE, 4 * BLOCK_SIDE);
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    if (rows <= 16) continue;
    _tile_loadd(5, a + 16 * LINE, LINE);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_stored(0, sums, 128);
  _tile_stored(1, sums + 16, 128);
  _tile_stored(2, sums + 512, 128);
  _tile_stored(3, sums + 528, 128);
  asm volatile("" ::: "memory");
}
#else
// Rows of a microkernel: 14 x 2 accumulators, two vectors of the panel and two of a row fill the 32
// registers.
enum { TILE_ROWS = 14 };

// Computes sums[ROWS][32] of ROWS rows and a panel. Prefetches `prefetch_lines` cache lines into L2 per line.
template <int ROWS>
NOINLINE void microkernel_int8(const uint8_t* a, long line_stride, const int8_t* b, int lines, int32_t* sums,
                               const char* prefetch, int prefetch_lines) {
  __m512i acc[ROWS][2];
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++) acc[i][0] = acc[i][1] = _mm512_setzero_si512();
  for (int line = 0; line < lines; line++, a += line_stride, b += LINE * BLOCK_SIDE) {
    for (int p = 0; p < prefetch_lines; p++, prefetch += 64) _mm_prefetch(prefetch, _MM_HINT_T1);
#pragma GCC unroll 4
    for (int k = 0; k < LINE / 4; k++) {
      const __m512i b0 = _mm512_loadu_si512(b + k * 128), b1 = _mm512_loadu_si512(b + k * 128 + 64);
#pragma GCC unroll 14
      for (int i = 0; i < ROWS; i++) {
        int32_t four;
        memcpy(&four, a + i * LINE + k * 4, 4);
        const __m512i row = _mm512_set1_epi32(four);
        acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], row, b0);
        acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], row, b1);
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++) {
    _mm512_store_si512(sums + i * BLOCK_SIDE, acc[i][0]);
    _mm512_store_si512(sums + i * BLOCK_SIDE + 16, acc[i][1]);
  }
}

FORCE_INLINE void multiply_tile(const uint8_t* a, long line_stride, const int8_t* b, int lines, int rows,
                                int32_t* sums, const char* prefetch, int prefetch_lines) {
  using Kernel = void (*)(const uint8_t*, long, const int8_t*, int, int32_t*, const char*, int);
  static constexpr Kernel KERNELS[TILE_ROWS] = {
      microkernel_int8<1>,  microkernel_int8<2>,  microkernel_int8<3>,  microkernel_int8<4>,
      microkernel_int8<5>,  microkernel_int8<6>,  microkernel_int8<7>,  microkernel_int8<8>,
      microkernel_int8<9>,  microkernel_int8<10>, microkernel_int8<11>, microkernel_int8<12>,
      microkernel_int8<13>, microkernel_int8<14>};
  KERNELS[rows - 1](a, line_stride, b, lines, sums, prefetch, prefetch_lines);
}
#endif

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
  alignas(64) int32_t sums[(TILE_ROWS > 14 ? 32 : 14) * BLOCK_SIDE];
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
        // Tiles of equal height, because low ones leave registers unused.
        const int height =
            TILE_ROWS == 14 ? rows / tiles + (tile < rows % tiles) : std::min<int>(TILE_ROWS, rows - row);
        multiply_tile(a.data + (line * a.capacity + row) * LINE, a.capacity * LINE, b, lines, height, sums,
                      next, prefetch_lines);
        next += (long)lines * prefetch_lines * 64;
        for (int i = 0; i < height; i++) {
          const float zero = a.zeros[g * a.capacity + row + i], scale = a.scales[g * a.capacity + row + i];
          auto dequantized = [&](int half, f32x16 sum, f32x16 factor) {
            const __m512i* at = (const __m512i*)(sums + i * BLOCK_SIDE + 16 * half);
            return ((f32x16)_mm512_cvtepi32_ps(_mm512_load_si512(at)) - sum * zero) * (factor * scale);
          };
          float* carried = partial + (row + i) * BLOCK_SIDE;
          f32x16 low = dequantized(0, sum0, scale0) + (first ? bias0 : load(carried)),
                 high = dequantized(1, sum1, scale1) + (first ? bias1 : load(carried + 16));
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
