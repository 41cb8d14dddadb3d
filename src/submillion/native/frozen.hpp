// Frozen matrices of the layers, and products with them: in elem_t, or in int8 after rounding the token rows.
//
// Both operands of an int8 product are rounded in sections of at most 768 channels that it sums over:
// a weight by the scale of its output and section, max |w| / 127, and a token row by the rule of
// int8_rows.hpp. The sums of integers are exact; adapters and everything else stay in elem_t and float32.
// Rounding the gradients of the rows, but not those of the weights, is the scheme of SwitchBack (Wortsman et
// al. 2023, arXiv:2304.13013).
#pragma once
#include "lora.hpp"
#include "parallel.hpp"
#if defined(__AVX512VNNI__) || (defined(__AVX2__) && !defined(__AVX512F__))
#define SM_INT8_PRODUCTS
#include "int8_microkernel.hpp"
#endif

namespace submillion {

enum { SECTION_BLOCKS = 24 };

// The most channel blocks of a section of a matrix's inputs, and of its outputs, over which dy W sums.
// Sections begin where a layer cuts a product.
struct SectionSizes {
  int inputs = SECTION_BLOCKS, outputs = SECTION_BLOCKS;
};

#ifdef SM_INT8_PRODUCTS
// An int8 matrix [panels * 32 outputs][blocks * 32 inputs] in panels of 32 outputs, [panel][section]
// [`panel_offset`]. Sections fill whole lines; padding is zero.
struct Int8Operand {
  int panels = 0, lines = 0;
  std::vector<ChannelGroup> sections;
  int8_t* data = nullptr;
  float *scales = nullptr, *sums = nullptr;  // [sections][outputs]; sums: of the integers

  long panel_bytes() const { return (long)lines * LINE * BLOCK_SIDE; }
  // Returns the section that begins with channel block `first_block`.
  int section_at(int first_block) const {
    int at = 0;
    while (sections[at].first_block != first_block) at++;
    return at;
  }
};

// Packs a matrix whose element (output, input) is `value(output, input)`. The inputs are `stacks` equal
// parts, and each part is cut into sections of `most` blocks.
template <class Value>
inline Int8Operand pack_int8_operand(Arena& arena, long outputs, long inputs, int stacks, int most,
                                     int threads, Value&& value) {
  Int8Operand o;
  o.panels = (int)(outputs / BLOCK_SIDE);
  const int each = (int)(inputs / BLOCK_SIDE) / stacks;
  for (int first = 0; first < stacks * each;) {
    const int left = each - first % each, blocks = left < most ? left : most,
              lines = (blocks * BLOCK_SIDE + LINE - 1) / LINE;
    o.sections.push_back({first, blocks * BLOCK_SIDE, o.lines, lines});
    first += blocks, o.lines += lines;
  }
  o.data = arena.allocate<int8_t>(o.panels * o.panel_bytes());
  o.scales = arena.allocate<float>((long)o.sections.size() * outputs);
  o.sums = arena.allocate<float>((long)o.sections.size() * outputs);
  memset(o.data, 0, o.panels * o.panel_bytes());
  parallel_for(o.panels, threads, [&](int n) {
    for (size_t at = 0; at < o.sections.size(); at++) {
      const ChannelGroup& section = o.sections[at];
      int8_t* to = o.data + n * o.panel_bytes() + (long)section.first_line * LINE * BLOCK_SIDE;
      for (int i = 0; i < BLOCK_SIDE; i++) {
        const long output = (long)n * BLOCK_SIDE + i, first = (long)section.first_block * BLOCK_SIDE;
        float largest = 0;
        for (int k = 0; k < section.channels; k++)
          largest = std::max(largest, std::fabs(value(output, first + k)));
        const float inverse = largest > 0 ? 127.f / largest : 0.f;
        int sum = 0;
        for (int k = 0; k < section.channels; k++) {
          const int rounded = (int)std::nearbyint(value(output, first + k) * inverse);
          to[panel_offset(i, k)] = (int8_t)rounded;
          sum += rounded;
        }
        o.scales[at * outputs + output] = largest / 127.f, o.sums[at * outputs + output] = (float)sum;
      }
    }
  });
  return o;
}

// Room for the rounded token rows of one thread.
struct RoundedRows {
  QuantizedRows rows;
  float* row;  // one section of a row
};

// Rounds the sections [begin, end) of the rows of A, whose block 0 is the first one of section `begin`.
NOINLINE void round_rows_to_int8(OperandA a, int m_blocks, const Int8Operand& b, int begin, int end,
                                 const RoundedRows& to) {
  const int first_line = b.sections[begin].first_line, first_block = b.sections[begin].first_block;
  for (int m = 0; m < m_blocks; m++) {
    const int rows = a.half_last && m + 1 == m_blocks ? BLOCK_SIDE / 2 : +BLOCK_SIDE;
    for (int i = 0; i < rows; i++)
      for (int at = begin; at < end; at++) {
        ChannelGroup section = b.sections[at];
        const elem_t* from = a.data + m * a.m_stride +
                             (long)(section.first_block - first_block) * BLOCK_ELEMS + i * BLOCK_SIDE;
        for (int c = 0; c < section.channels; c += BLOCK_SIDE, from += BLOCK_ELEMS) {
          f32x16 low, high;
          load_row(from, low, high);
          store_row(to.row + c, low, high);
        }
        section.first_line -= first_line;
        quantize_group(to.row, section, at - begin, (long)m * BLOCK_SIDE + i, to.rows);
      }
  }
}

// Adds the product of a row block and one section of a panel to block [32][32], or overwrites it.
FORCE_INLINE void multiply_section(const QuantizedRows& a, long row, int rows, const Int8Operand& b, int n,
                                   int at, int begin, bool overwrite, float* block) {
  alignas(64) int32_t sums[TILE_ROWS * BLOCK_SIDE];
  const ChannelGroup& section = b.sections[at];
  const int8_t* panel = b.data + n * b.panel_bytes() + (long)section.first_line * LINE * BLOCK_SIDE;
  const activation_t* data = a.data + (section.first_line - b.sections[begin].first_line) * a.capacity * LINE;
  const long outputs = (long)b.panels * BLOCK_SIDE, column = at * outputs + (long)n * BLOCK_SIDE;
  const f32x16 scale0 = load(b.scales + column), scale1 = load(b.scales + column + 16),
               sum0 = load(b.sums + column), sum1 = load(b.sums + column + 16);
  // Tiles of equal height, because low ones leave registers unused.
  const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
  for (int tile = 0, first = 0; tile < tiles; tile++) {
    const int height = rows / tiles + (tile < rows % tiles);
    multiply_tile(data + (row + first) * LINE, a.capacity * LINE, panel, section.lines, height, sums,
                  (const char*)panel, 0);
    for (int i = 0; i < height; i++) {
      const long of_row = (at - begin) * a.capacity + row + first + i;
      const float zero = a.zeros[of_row], scale = a.scales[of_row];
      float* to = block + (first + i) * BLOCK_SIDE;
      f32x16 low = dequantized(sums + i * BLOCK_SIDE, sum0, scale0, zero, scale),
             high = dequantized(sums + i * BLOCK_SIDE + 16, sum1, scale1, zero, scale);
      if (!overwrite) low += load(to), high += load(to + 16);
      store(to, low), store(to + 16, high);
    }
    first += height;
  }
}

// Computes what `gemm` does, from rounded rows and an int8 matrix. `first_k`: the block of b's channels that
// is block 0 of A; a section begins there.
template <class LowRank, class Epilogue, class AfterBlock>
NOINLINE void gemm_int8(OperandA a, const Int8Operand& b, int first_k, GemmShape shape, Accumulator acc,
                        const RoundedRows& room, bool rounded, LowRank&& low_rank_term, Epilogue&& epilogue,
                        AfterBlock&& after_block) {
  const int begin = b.section_at(first_k);
  int end = begin;
  for (int k = 0; k < shape.k_blocks; end++) k += b.sections[end].channels / BLOCK_SIDE;
  if (!rounded) round_rows_to_int8(a, shape.m_blocks, b, begin, end, room);
  for (int n = shape.n_begin; n < shape.n_end; n++) {
    const LowRankTerm low_rank = low_rank_term(n);
    for (int m = 0; m < shape.m_blocks; m++) {
      float* block = acc.data + m * acc.m_stride + n * acc.n_stride;
      const int rows = a.half_last && m + 1 == shape.m_blocks ? BLOCK_SIDE / 2 : +BLOCK_SIDE;
      if (acc.zero_init && rows < BLOCK_SIDE)
        memset(block + rows * BLOCK_SIDE, 0, (BLOCK_SIDE - rows) * BLOCK_SIDE * sizeof(float));
      for (int at = begin; at < end; at++)
        multiply_section(room.rows, (long)m * BLOCK_SIDE, rows, b, n, at, begin, acc.zero_init && at == begin,
                         block);
      if (!acc.complete) continue;
      if (low_rank.a.data)
        brgemm(low_rank.a.data + m * low_rank.a.m_stride, low_rank.b.data + n * low_rank.b.n_stride,
               low_rank.k_blocks, block, false, {rows, BLOCK_SIDE, low_rank.last_k});
      after_block(m, n);
      epilogue(m, n, block, 0, BLOCK_SIDE);
    }
  }
}
#else
struct Int8Operand {
  int panels = 0;
};
struct RoundedRows {};
#endif

// One of the two operands that a frozen matrix becomes. k: the first of the channel blocks to sum over.
struct FrozenOperand {
  OperandB floats;
  const Int8Operand* int8;  // null: in elem_t
  int k;
};

// A frozen matrix as the operand of x W^T, in elem_t and perhaps in int8, and of dy W, in one of the two.
struct FrozenMatrix {
  PackedMatrix floats;
  Int8Operand int8_forward, int8_backward;

  FrozenOperand forward_operand(bool int8, int k = 0) const {
    return {floats.forward_operand(), int8 && int8_forward.panels ? &int8_forward : nullptr, k};
  }
  FrozenOperand backward_operand(int k = 0) const {
    return {floats.backward_operand(), int8_backward.panels ? &int8_backward : nullptr, k};
  }
  // Block `at` of the operand of dy W, to prefetch; null in int8.
  const elem_t* backward_block(long at = 0) const {
    return floats.backward ? floats.backward + at * BLOCK_ELEMS : nullptr;
  }
};

// The token rows of a product with a frozen matrix. rounded: `room` has them from the product before.
struct FrozenInput {
  OperandA a;
  const RoundedRows& room;
  bool rounded = false;
};

// `gemm` with a frozen matrix.
template <class LowRank, class Epilogue, class AfterBlock = NoAfterBlock,
          class EpilogueInput = NoEpilogueInput>
FORCE_INLINE void frozen_gemm(FrozenInput input, FrozenOperand b, GemmShape shape, Accumulator acc,
                              LowRank&& low_rank_term, Epilogue&& epilogue,
                              AfterBlock&& after_block = NoAfterBlock(),
                              EpilogueInput&& epilogue_input = NoEpilogueInput()) {
#ifdef SM_INT8_PRODUCTS
  if (b.int8)
    return gemm_int8(input.a, *b.int8, b.k, shape, acc, input.room, input.rounded, low_rank_term, epilogue,
                     after_block);
#endif
  b.floats.data += b.k * b.floats.k_stride;
  gemm(input.a, b.floats, shape, acc, low_rank_term, epilogue, after_block, epilogue_input);
}

}  // namespace submillion
