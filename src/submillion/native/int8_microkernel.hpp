// Microkernels of the int8 products: integer sums of quantized rows and one panel of a matrix.
//
// A panel holds 32 outputs. Its integers lie in the order in which the instructions read them, see
// `panel_offset`. All builds compute the same sums.
#pragma once
#include <utility>

#include "gemm.hpp"
#include "int8_rows.hpp"

namespace submillion {

// Channels that one instruction multiplies and adds up for each output.
#ifdef SM_BYTES
enum { K_CHANNELS = 4 };
#else
enum { K_CHANNELS = 2 };
#endif

// Offset of an integer within a group of a panel: [channel / K_CHANNELS][32 outputs][K_CHANNELS].
FORCE_INLINE long panel_offset(int output, int channel) {
  return ((long)(channel / K_CHANNELS) * BLOCK_SIDE + output) * K_CHANNELS + channel % K_CHANNELS;
}

#ifdef SM_AMX
enum { TILE_ROWS = 32 };

// Computes sums[32][32] of 32 rows and a panel. The tiles are those of gemm.hpp. Rows that do not exist are
// computed from what is in memory after the others.
NOINLINE void multiply_tile(const activation_t* a, long line_stride, const int8_t* b, int lines, int rows,
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
// A microkernel computes TILE_ROWS rows of two vectors of outputs.
#ifdef __AVX512F__
// 14 x 2 accumulators, two vectors of the panel and two of a row fill the 32 registers.
enum { TILE_ROWS = 14 };
typedef __m512i integers_t;
FORCE_INLINE integers_t load_integers(const int8_t* panel) { return _mm512_loadu_si512(panel); }
FORCE_INLINE integers_t broadcast(int32_t channels) { return _mm512_set1_epi32(channels); }
FORCE_INLINE integers_t multiply_add(integers_t sum, integers_t row, integers_t panel) {
  return _mm512_dpbusd_epi32(sum, row, panel);
}
#else
typedef __m256i integers_t;
FORCE_INLINE integers_t broadcast(int32_t channels) { return _mm256_set1_epi32(channels); }
#ifdef SM_BYTES
// 6 x 2 accumulators, two vectors of the panel and one of a row take 15 of the 16 registers.
enum { TILE_ROWS = 6 };
FORCE_INLINE integers_t load_integers(const int8_t* panel) {
  return _mm256_loadu_si256((const __m256i*)panel);
}
FORCE_INLINE integers_t multiply_add(integers_t sum, integers_t row, integers_t panel) {
  return _mm256_dpbusd_avx_epi32(sum, row, panel);
}
#else
// 4 x 2 accumulators; more of the 16 registers gained nothing. A sum of two products of words is exact, and
// takes as many instructions as bytes would, whose sums have to be widened.
enum { TILE_ROWS = 4 };
FORCE_INLINE integers_t load_integers(const int8_t* panel) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i*)panel));
}
FORCE_INLINE integers_t multiply_add(integers_t sum, integers_t row, integers_t panel) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(row, panel));
}
#endif
#endif
FORCE_INLINE integers_t broadcast_channels(const activation_t* row) {
  int32_t channels;
  memcpy(&channels, row, 4);
  return broadcast(channels);
}
enum { INTEGERS = sizeof(integers_t) / 4, STEPS_PER_LINE = LINE / K_CHANNELS };

// Computes sums[ROWS][2 INTEGERS] of ROWS rows and the outputs of a panel from b on. Prefetches
// `prefetch_lines` cache lines into L2 per line.
template <int ROWS>
NOINLINE void microkernel_int8(const activation_t* a, long line_stride, const int8_t* b, int lines,
                               int32_t* sums, const char* prefetch, int prefetch_lines) {
  integers_t acc[ROWS][2];
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++) acc[i][0] = acc[i][1] = integers_t{};
  for (int line = 0; line < lines; line++, a += line_stride, b += LINE * BLOCK_SIDE) {
    for (int p = 0; p < prefetch_lines; p++, prefetch += 64) _mm_prefetch(prefetch, _MM_HINT_T1);
#pragma GCC unroll 4
    for (int k = 0; k < STEPS_PER_LINE; k++) {
      const int8_t* step = b + panel_offset(0, k * K_CHANNELS);
      const integers_t b0 = load_integers(step), b1 = load_integers(step + INTEGERS * K_CHANNELS);
#pragma GCC unroll 14
      for (int i = 0; i < ROWS; i++) {
        const integers_t row = broadcast_channels(a + i * LINE + k * K_CHANNELS);
        acc[i][0] = multiply_add(acc[i][0], row, b0);
        acc[i][1] = multiply_add(acc[i][1], row, b1);
      }
    }
  }
#pragma GCC unroll 14
  for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
    for (int j = 0; j < 2; j++) memcpy(sums + i * BLOCK_SIDE + j * INTEGERS, &acc[i][j], sizeof(integers_t));
}

using Int8Microkernel = void (*)(const activation_t*, long, const int8_t*, int, int32_t*, const char*, int);
template <int... I>
FORCE_INLINE Int8Microkernel int8_microkernel(int rows, std::integer_sequence<int, I...>) {
  static constexpr Int8Microkernel ALL[] = {microkernel_int8<I + 1>...};
  return ALL[rows - 1];
}

// Computes sums[rows][32] of `rows` rows, up to TILE_ROWS, and a panel.
FORCE_INLINE void multiply_tile(const activation_t* a, long line_stride, const int8_t* b, int lines, int rows,
                                int32_t* sums, const char* prefetch, int prefetch_lines) {
  const Int8Microkernel kernel = int8_microkernel(rows, std::make_integer_sequence<int, TILE_ROWS>());
  for (int output = 0; output < BLOCK_SIDE; output += 2 * INTEGERS, prefetch_lines = 0)
    kernel(a, line_stride, b + panel_offset(output, 0), lines, sums + output, prefetch, prefetch_lines);
}
#endif

// Returns 16 outputs of a row and a group of channels: s_x s_w (sum of u q - zero sum of q). sums: the
// integers of the product; of_outputs, scales: sum of q and s_w; zero, scale: of the row.
FORCE_INLINE f32x16 dequantized(const int32_t* sums, f32x16 of_outputs, f32x16 scales, float zero,
                                float scale) {
  return (load_as_floats(sums) - of_outputs * zero) * (scales * scale);
}

}  // namespace submillion
