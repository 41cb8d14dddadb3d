// Blocked GEMM: a microkernel per instruction set, and the loop over the blocks of a packed matrix.
//
// The terms are those of BLIS and oneDNN: acc[m][n] (+)= sum over k of A[m][k] B[k][n], where acc is float32,
// A are token rows and B is a packed matrix. `brgemm` is the batch-reduce GEMM of one output block (Georganas
// et al. 2019, arXiv:1906.06440); `gemm` is the macrokernel (Goto and van de Geijn 2008,
// doi:10.1145/1356052.1356053).
#pragma once
#include "packing.hpp"
#if defined(SM_MMLA)
#include "microkernel_mmla.hpp"
#elif !defined(SM_AMX)
#include "microkernel_fma.hpp"
#endif

namespace submillion {

// What to prefetch while a brgemm runs.
struct Prefetch {
  const char *b = nullptr, *b_end = nullptr;  // B blocks of later brgemms, into L2
  const elem_t* next_a = nullptr;             // the next brgemm's A blocks, for builds that prefetch them
  const char* acc = nullptr;                  // the next brgemm's accumulator, into L1
  const char* epilogue_input = nullptr;       // a block of elem_t that the epilogue will read, into L1
};

// The part of the blocks that is not zero padding, because a LoRA rank rarely fills a whole block. Rows
// beyond `rows` are not computed, columns beyond `columns` are set to zero, and the last k block ends after
// `last_k` channels.
struct ValidPart {
  int rows = BLOCK_SIDE, columns = BLOCK_SIDE, last_k = BLOCK_SIDE;
};

// Extra k blocks from other memory, the last of them with `last_k` valid channels.
struct ExtraK {
  const elem_t *a = nullptr, *b = nullptr;
  int k_blocks = 0, last_k = BLOCK_SIDE;
};

#ifdef SM_AMX
struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t bytes_per_row[16];
  uint8_t rows[16];
};

// Tiles 0 to 3 hold the 32 x 32 accumulator, 4 and 5 the halves of the A block, 6 and 7 those of the B block.
FORCE_INLINE void configure_tiles() {
  static thread_local TileConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int i = 0; i < 8; i++) config.bytes_per_row[i] = 64, config.rows[i] = 16;
  asm volatile("" ::: "memory");  // GCC 12 drops the stores above as dead without it
  _tile_loadconfig(&config);
}
FORCE_INLINE void release_tiles() { _tile_release(); }

// k blocks per pass of `gemm`, and how many of their B blocks should stay in L1 (28 of its 48 KB). Reading
// the other B blocks from L2 for every brgemm costs less than spilling the accumulators to L2 and making two
// passes.
enum { KC_BLOCKS = 24, L1_B_BLOCKS = 14 };

// Adds the product of one A and one B block to the accumulator, or to its upper 16 rows only. `a_reused`,
// `b_reused`: whether that block is read again soon; if not, a streaming load keeps it from evicting others
// from L1.
//
// The order of the instructions matters: of the 1,088 possible orders 155 were measured, and the slowest
// takes a third longer than this one. The loads from L1 lie between the two from L2, and no product waits for
// the load before it.
template <bool UPPER_HALF>
FORCE_INLINE void tile_fma(const elem_t* a, bool a_reused, const elem_t* b, bool b_reused) {
  if (a_reused) {
    _tile_loadd(4, a, 64);
  } else {
    _tile_stream_loadd(4, a, 64);
  }
  if (b_reused) {
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + 512, 64);
  } else {
    _tile_stream_loadd(6, b, 64);
    _tile_stream_loadd(7, b + 512, 64);
  }
  if (!UPPER_HALF) {
    if (a_reused) {
      _tile_loadd(5, a + 512, 64);
    } else {
      _tile_stream_loadd(5, a + 512, 64);
    }
  }
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if (!UPPER_HALF) {
    _tile_dpbf16ps(3, 5, 7);
    _tile_dpbf16ps(2, 5, 6);
  }
}

// Batch-reduce GEMM: acc[32][32] (+)= sum over `k_blocks` of A[k] B[k], plus the extra k blocks of a low-rank
// term. `zero_init` starts from zero. `overlap(k)` runs beside step k, on the vector units.
//
// STREAM_A: the A blocks are not read again soon. UPPER_HALF: rows 16 to 31 of A are padding; acc has zeros
// there.
template <bool STREAM_A = false, bool UPPER_HALF = false, class Overlap>
FORCE_INLINE void brgemm(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init,
                         ExtraK extra, Prefetch prefetch, Overlap&& overlap) {
  asm volatile("" ::: "memory");  // the tile load intrinsics do not tell the compiler that they read memory
  if (zero_init) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, acc, 128);
    _tile_loadd(1, acc + 16, 128);
    _tile_loadd(2, acc + 512, 128);
    _tile_loadd(3, acc + 528, 128);
  }
  const int lines_per_step = (int)(((prefetch.b_end - prefetch.b) / 64 + k_blocks - 1) / k_blocks);
  for (int k = 0; k < k_blocks; k++) {
    tile_fma<UPPER_HALF>(a, !STREAM_A, b, !STREAM_A || k < L1_B_BLOCKS);
    a += BLOCK_ELEMS, b += BLOCK_ELEMS;
    overlap(k);
    for (int i = 0; i < lines_per_step && prefetch.b < prefetch.b_end; i++)
      _mm_prefetch(prefetch.b, _MM_HINT_T1), prefetch.b += 64;
    if (prefetch.acc && k * 6 < 64)
      for (int i = 0; i < 6; i++) _mm_prefetch(prefetch.acc, _MM_HINT_T0), prefetch.acc += 64;
    if (prefetch.epilogue_input && k * 3 < 32)
      for (int i = 0; i < 3; i++)
        _mm_prefetch(prefetch.epilogue_input, _MM_HINT_T0), prefetch.epilogue_input += 64;
  }
  for (int k = 0; k < extra.k_blocks; k++)
    tile_fma<UPPER_HALF>(extra.a + k * BLOCK_ELEMS, true, extra.b + k * BLOCK_ELEMS, true);
  _tile_stored(0, acc, 128);
  _tile_stored(1, acc + 16, 128);
  _tile_stored(2, acc + 512, 128);
  _tile_stored(3, acc + 528, 128);
}
#else
FORCE_INLINE void configure_tiles() {}
FORCE_INLINE void release_tiles() {}

// Calls the microkernel for rows [0, rows) of vectors [vec, vec + VECS). Where ROWS divides a block, rows up
// to a multiple of ROWS are computed; else, the last rows have microkernels of their own.
template <int ROWS, int VECS, class BeforeStep>
FORCE_INLINE void microkernels(const elem_t* a, const elem_t* b, int k_blocks, int last_k, float* acc,
                               bool zero_init, int rows, int vec, BeforeStep&& before_step) {
  constexpr int LEFT = BLOCK_SIDE % ROWS;
  int row = 0;
  for (; row + (LEFT ? +ROWS : 1) <= rows; row += ROWS)
    microkernel<ROWS, VECS>(a, b, k_blocks, last_k, acc, zero_init, row, vec, before_step);
  if constexpr (LEFT > 0) {
    for (; row + LEFT <= rows; row += LEFT)
      microkernel<LEFT, VECS>(a, b, k_blocks, last_k, acc, zero_init, row, vec, before_step);
    for (; row < rows; row++)
      microkernel<1, VECS>(a, b, k_blocks, last_k, acc, zero_init, row, vec, before_step);
  }
}

template <int ROWS, int VECS>
FORCE_INLINE void brgemm_in_tiles(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init,
                                  ValidPart valid) {
  for (int vec = 0; vec < ROW_VECS; vec += VECS) {
    const bool has_columns = vec * VEC_LANES < valid.columns;
    if (!has_columns && !zero_init) continue;
    microkernels<ROWS, VECS>(a, b, has_columns ? k_blocks : 0, valid.last_k, acc, zero_init, valid.rows, vec,
                             [](int, int, const elem_t*) {});
  }
}

FORCE_INLINE void brgemm(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init,
                         ValidPart valid) {
  // Few columns, of a low rank say: tiles of the panel's whole width would compute twice as many.
  constexpr bool WIDE = NR > MR;
  if (WIDE && valid.columns <= BLOCK_SIDE / 2) {
    brgemm_in_tiles<WIDE ? 4 : +MR, WIDE ? NR / 2 : +NR>(a, b, k_blocks, acc, zero_init, valid);
  } else {
    brgemm_in_tiles<MR, NR>(a, b, k_blocks, acc, zero_init, valid);
  }
}

template <bool STREAM_A = false, bool UPPER_HALF = false, class Overlap>
FORCE_INLINE void brgemm(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init,
                         ExtraK extra, Prefetch prefetch, Overlap&& overlap) {
  const int rows = UPPER_HALF ? BLOCK_SIDE / 2 : +BLOCK_SIDE;
  if (UPPER_HALF && zero_init) memset(acc + rows * BLOCK_SIDE, 0, rows * BLOCK_SIDE * sizeof(float));
  for (int vec = 0; vec < ROW_VECS; vec += NR)
    microkernels<MR, NR>(a, b, k_blocks, BLOCK_SIDE, acc, zero_init, rows, vec,
                         [&](int row, int k, const elem_t* a_rows) {
                           if (STREAM_A && vec == 0)
                             prefetch_a_rows(row + MR < rows ? a_rows + MR * BLOCK_SIDE
                                                             : prefetch.next_a + (long)k * BLOCK_ELEMS);
                         });
  for (int k = 0; k < k_blocks; k++) overlap(k);
  if (extra.k_blocks) brgemm(extra.a, extra.b, extra.k_blocks, acc, false, {rows, BLOCK_SIDE, extra.last_k});
}
#endif

FORCE_INLINE void brgemm(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init) {
  brgemm(a, b, k_blocks, acc, zero_init, ExtraK(), Prefetch(), [](int) {});
}

#ifdef SM_AMX
// Computes the padding too: a product of whole tiles takes the same time.
FORCE_INLINE void brgemm(const elem_t* a, const elem_t* b, int k_blocks, float* acc, bool zero_init,
                         ValidPart) {
  brgemm(a, b, k_blocks, acc, zero_init);
}
#endif

// Blocks of token rows: block (m, k) is at `data` + m * m_stride + k * BLOCK_ELEMS.
struct OperandA {
  const elem_t* data;
  long m_stride;
  bool half_last = false;  // rows 16 to 31 of the last block are padding
};
// A packed matrix: block k of panel n (32 columns) is at `data` + n * n_stride + k * k_stride. transposed:
// the blocks are those of the transposed matrix, and k_stride may differ from BLOCK_ELEMS; only in float32.
struct OperandB {
  const elem_t* data;
  long n_stride, k_stride = BLOCK_ELEMS;
  bool transposed = false;

  // Returns blocks [k, k + count) of panel n, one after the other; `room`: [KC_BLOCKS], for those of a
  // transposed matrix.
  const elem_t* blocks(int n, int k, int count, elem_t* room) const {
    const elem_t* from = data + n * n_stride + k * k_stride;
#ifndef SM_BF16
    if (!transposed) return from;
    for (int i = 0; i < count; i++) transpose_block(from + i * k_stride, room + i * BLOCK_ELEMS);
    return room;
#else
    (void)count, (void)room;
    return from;
#endif
  }
};
// Panels [n_begin, n_end) for `m_blocks` token blocks. next_b: the B blocks of the next gemm, to prefetch at
// the end.
struct GemmShape {
  int m_blocks, n_begin, n_end, k_blocks;
  const elem_t* next_b;
};
// Float32 output blocks: block (m, n) is at `data` + m * m_stride + n * n_stride. zero_init: accumulation
// starts from zero; complete: this gemm adds the last k blocks.
struct Accumulator {
  float* data;
  long m_stride, n_stride;
  bool zero_init = true, complete = true;
};
// A LoRA adapter's share of the output: A[m] B[n] over `k_blocks` more blocks, the last of them with `last_k`
// valid channels. None if `a.data` is null.
struct LowRankTerm {
  OperandA a{};
  OperandB b{};
  int k_blocks = 0, last_k = BLOCK_SIDE;
};
struct NoLowRankTerm {
  LowRankTerm operator()(int) const { return {}; }
};
struct NoAfterBlock {
  void operator()(int, int) const {}
};
// The epilogue reads nothing that the hardware would not prefetch by itself.
struct NoEpilogueInput {
  const elem_t* operator()(int, int) const { return nullptr; }
};

// The loop of `gemm`. Takes scalars, because with structures GCC 12 does not inline all microkernels.
template <class LowRank, class Epilogue, class AfterBlock, class EpilogueInput>
NOINLINE void gemm_loop(OperandA a, int m_blocks, OperandB b, int n_begin, int n_end, int k_blocks,
                        float* acc, long acc_m_stride, long acc_n_stride, bool zero_init, bool complete,
                        const elem_t* next_b, LowRank&& low_rank_term, Epilogue&& epilogue,
                        AfterBlock&& after_block, EpilogueInput&& epilogue_input) {
  int pending_m = -1, pending_n = 0;
  float* pending = nullptr;  // the complete block whose epilogue has not run yet
  alignas(64) elem_t transposed_b[KC_BLOCKS * BLOCK_ELEMS];
  const bool double_buffer = acc_n_stride == 0 && zero_init && complete && k_blocks <= KC_BLOCKS;
  int buffer = 0;
  for (int n = n_begin; n < n_end; n++) {
    LowRankTerm low_rank = low_rank_term(n);
    const elem_t* b_panel = b.data + n * b.n_stride;
    for (int k = 0; k < k_blocks; k += KC_BLOCKS) {
      int kc = k_blocks - k < KC_BLOCKS ? k_blocks - k : +KC_BLOCKS;
      const int rows_per_step = (BLOCK_SIDE + kc - 1) / kc;
      const int k_left = k_blocks - k - kc;
      bool block_complete = complete && !k_left;
      // Each brgemm prefetches its share of the B blocks of the next pass.
      const int next_kc = !k_left ? kc : k_left < KC_BLOCKS ? k_left : +KC_BLOCKS;
      const char* next_pass_b = (const char*)(k_left          ? b_panel + (long)(k + kc) * BLOCK_ELEMS
                                              : n + 1 < n_end ? b_panel + b.n_stride
                                                              : next_b);
      const long lines = next_kc * (long)(BLOCK_ELEMS * sizeof(elem_t) / 64);
      const elem_t* b_blocks = b.blocks(n, k, kc, transposed_b);
      for (int m = 0; m < m_blocks; m++) {
        float* block =
            double_buffer ? acc + (buffer ^= 1) * BLOCK_ELEMS : acc + m * acc_m_stride + n * acc_n_stride;
        const elem_t* a_blocks = a.data + m * a.m_stride + (long)k * BLOCK_ELEMS;
        bool zero_block = zero_init && k == 0;
        const float* next_acc = double_buffer                 ? nullptr
                                : m + 1 < m_blocks            ? (zero_block ? nullptr : block + acc_m_stride)
                                : k_left                      ? acc + n * acc_n_stride
                                : zero_init || n + 1 == n_end ? nullptr
                                                              : acc + (n + 1) * acc_n_stride;
        const elem_t* next_a =
            m + 1 < m_blocks ? a_blocks + a.m_stride : a.data + (long)(k_left ? k + kc : 0) * BLOCK_ELEMS;
        Prefetch prefetch{next_pass_b + lines * m / m_blocks * 64,
                          next_pass_b + lines * (m + 1) / m_blocks * 64, next_a, (const char*)next_acc,
                          block_complete ? (const char*)epilogue_input(m, n) : nullptr};
        ExtraK extra;
        if (block_complete && low_rank.a.data)
          extra = {low_rank.a.data + m * low_rank.a.m_stride, low_rank.b.data + n * low_rank.b.n_stride,
                   low_rank.k_blocks, low_rank.last_k};
        auto multiply = [&](auto&& overlap) {
          if (a.half_last && m + 1 == m_blocks)
            brgemm<true, true>(a_blocks, b_blocks, kc, block, zero_block, extra, prefetch, overlap);
          else
            brgemm<true>(a_blocks, b_blocks, kc, block, zero_block, extra, prefetch, overlap);
        };
        if (pending) {
          multiply([&](int step) {
            const int row_begin = step * rows_per_step, row_end = row_begin + rows_per_step;
            if (row_begin < BLOCK_SIDE)
              epilogue(pending_m, pending_n, pending, row_begin,
                       row_end < BLOCK_SIDE ? row_end : +BLOCK_SIDE);
          });
          pending = nullptr;
        } else {
          multiply([](int) {});
        }
        if (!block_complete) continue;
        after_block(m, n);
        if (m_blocks > 1) {
          pending = block, pending_m = m, pending_n = n;
        } else {
          epilogue(m, n, block, 0, BLOCK_SIDE);
        }
      }
    }
  }
  if (pending) epilogue(pending_m, pending_n, pending, 0, BLOCK_SIDE);
}

// Computes acc (+)= A B, and calls `epilogue(m, n, block, row_begin, row_end)` for each complete block.
//
// The loop order n, k, m keeps KC_BLOCKS blocks of B in L1 while all token blocks pass by; B comes from
// memory once per group. The epilogue of a block overlaps with the brgemm of the next one, in slices of rows.
// `after_block(m, n)` runs as soon as block (m, n) is complete, and may use the tile registers for what the
// epilogue needs. Blocks complete m by m, so only two of its results are needed at a time.
// `epilogue_input(m, n)` returns a block that the epilogue will read.
//
// If nothing reads acc later (n_stride = 0) and one pass over k completes a block, blocks alternate between
// two buffers, which stay in L1.
template <class LowRank, class Epilogue, class AfterBlock = NoAfterBlock,
          class EpilogueInput = NoEpilogueInput>
FORCE_INLINE void gemm(OperandA a, OperandB b, GemmShape shape, Accumulator acc, LowRank&& low_rank_term,
                       Epilogue&& epilogue, AfterBlock&& after_block = NoAfterBlock(),
                       EpilogueInput&& epilogue_input = NoEpilogueInput()) {
  gemm_loop(a, shape.m_blocks, b, shape.n_begin, shape.n_end, shape.k_blocks, acc.data, acc.m_stride,
            acc.n_stride, acc.zero_init, acc.complete, shape.next_b, low_rank_term, epilogue, after_block,
            epilogue_input);
}

}  // namespace submillion
