// Matrix products: the one place that differs by processor, and the loop that carries token blocks through a matrix.
#pragma once
#include "blocks.hpp"

// What the next products will read, fetched into the caches while this one runs.
struct Ahead {
  const char *right = nullptr, *right_end = nullptr;  // goes to the second cache
  const T* left = nullptr;      // the next product's left factor; where it comes from beyond the second cache
  const char* sum = nullptr;    // goes to the first cache
  const char* block = nullptr;  // a block of T that `then` will read
};

// What of a product's blocks holds anything but zeros: a rank fills no whole block. Rows beyond need no sums; columns
// beyond get zeros; inner channels count in the last block alone.
struct Used {
  int rows = SIDE, columns = SIDE, inner = SIDE;
};

// More blocks of the inner dimension that lie elsewhere; of the last one `inner` channels count.
struct Further {
  const T *left = nullptr, *right = nullptr;
  int steps = 0, inner = SIDE;
};

#ifdef SM_AMX
struct alignas(64) TileConfig {
  uint8_t palette, start, unused[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};

// Tiles 0 to 3 hold the 32 x 32 sum, 4 and 5 the left factor's halves, 6 and 7 the right one's.
ALWAYS void begin_products() {
  static thread_local TileConfig config;
  memset(&config, 0, sizeof config);
  config.palette = 1;
  for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = 16;
  asm volatile("" ::: "memory");  // GCC 12 drops the stores above as dead without it
  _tile_loadconfig(&config);
}
ALWAYS void end_products() { _tile_release(); }

// Blocks of the inner dimension at a time, and how many of them are to stay in the first cache: 28 of its 48 KB. The
// right factor's other blocks come from the second cache for every product, which takes less time than to keep the sums
// there and go twice.
enum { DEPTH = 24, RESIDENT = 14 };

// One block of the inner dimension onto the sum, or onto its upper rows alone. `left_stays`, `right_stays`: whether that
// factor is read again soon; else it need not push others out of the first cache.
//
// The order counts: 155 of all 1,088 were measured, and the slowest takes a third longer than this one. Between the two
// loads from the second cache are those from the first, and no product waits for the load before it.
template <bool HALF>
ALWAYS void step(const T* left, bool left_stays, const T* right, bool right_stays) {
  if (left_stays) {
    _tile_loadd(4, left, 64);
  } else {
    _tile_stream_loadd(4, left, 64);
  }
  if (right_stays) {
    _tile_loadd(6, right, 64);
    _tile_loadd(7, right + 512, 64);
  } else {
    _tile_stream_loadd(6, right, 64);
    _tile_stream_loadd(7, right + 512, 64);
  }
  if (!HALF) {
    if (left_stays) {
      _tile_loadd(5, left + 512, 64);
    } else {
      _tile_stream_loadd(5, left + 512, 64);
    }
  }
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  if (!HALF) {
    _tile_dpbf16ps(3, 5, 7);
    _tile_dpbf16ps(2, 5, 6);
  }
}

// sum[32][32] (+)= left[k] right[k] over `steps` blocks, and over the further ones of a low rank; `meanwhile(k)` runs
// beside step k, on the vector units.
//
// STREAM: the left factor is not read again soon. HALF: its rows from 16 on are padding, of which the sum has zeros.
template <bool STREAM = false, bool HALF = false, class Meanwhile>
ALWAYS void product(const T* left, const T* right, int steps, float* sum, bool first, Further further, Ahead ahead,
                    Meanwhile&& meanwhile) {
  asm volatile("" ::: "memory");  // the tile loads do not tell the compiler that they read memory
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sum, 128);
    _tile_loadd(1, sum + 16, 128);
    _tile_loadd(2, sum + 512, 128);
    _tile_loadd(3, sum + 528, 128);
  }
  const int lines = (int)(((ahead.right_end - ahead.right) / 64 + steps - 1) / steps);
  for (int k = 0; k < steps; k++) {
    step<HALF>(left, !STREAM, right, !STREAM || k < RESIDENT);
    left += BLOCK, right += BLOCK;
    meanwhile(k);
    for (int i = 0; i < lines && ahead.right < ahead.right_end; i++)
      _mm_prefetch(ahead.right, _MM_HINT_T1), ahead.right += 64;
    if (ahead.sum && k * 6 < 64)
      for (int i = 0; i < 6; i++) _mm_prefetch(ahead.sum, _MM_HINT_T0), ahead.sum += 64;
    if (ahead.block && k * 3 < 32)
      for (int i = 0; i < 3; i++) _mm_prefetch(ahead.block, _MM_HINT_T0), ahead.block += 64;
  }
  for (int k = 0; k < further.steps; k++) step<HALF>(further.left + k * BLOCK, true, further.right + k * BLOCK, true);
  _tile_stored(0, sum, 128);
  _tile_stored(1, sum + 16, 128);
  _tile_stored(2, sum + 512, 128);
  _tile_stored(3, sum + 528, 128);
}
#else
ALWAYS void begin_products() {}
ALWAYS void end_products() {}

#ifdef SM_DOT
enum { DEPTH = 12, STEP = 2 };
typedef lanes Register;
ALWAYS Register multiply_add(Register sum, const T* left, const T* right) {
  int32_t pair;
  memcpy(&pair, left, 4);
  return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)_mm512_loadu_si512(right));
}
// Columns [16 half, 16 half + 16) of the pair of rows k, k + 1.
ALWAYS const T* right_at(const T* block, int k, int half) { return block + half * 512 + k * 16; }
#else
enum { DEPTH = 8, STEP = 1 };
#ifdef __AVX512F__
typedef lanes Register;
#else
typedef floats Register;
#endif
typedef Register AnyRegister __attribute__((aligned(4)));
ALWAYS Register multiply_add(Register sum, const T* left, const T* right) {
  return sum + *left * *(const AnyRegister*)right;
}
ALWAYS const T* right_at(const T* block, int k, int part) { return block + k * SIDE + part * (int)(sizeof(Register) / 4); }
#endif

// As many sums as the registers hold: 8 x 2 of 32 registers, 4 x 2 of 16. At 4 x 2 the eight sums hide the four or
// five cycles of a multiply-add; 6 x 2 was no faster.
#ifdef __AVX512F__
enum { ROWS = 8 };
#else
enum { ROWS = 4 };
#endif
enum { WIDTH = sizeof(Register) / 4, PARTS = SIDE / WIDTH };

// The next rows of the left factor into the first cache: of each block they are half a KB, too little for the
// processor's own prefetching to see a stream in, and in float32 a group's rows do not fit in the second cache.
// Measured with AVX2 alone (+ 7 %), so other builds do without.
ALWAYS void fetch_rows(const T* rows) {
#ifndef __AVX512F__
  for (int i = 0; i < ROWS * SIDE; i += 64 / (int)sizeof(T)) _mm_prefetch((const char*)(rows + i), _MM_HINT_T0);
#else
  (void)rows;
#endif
}

// Rows [row, row + ROWS) and two registers' columns of a product; of its last step `last` inner channels count, and
// `before(k, rows of the left factor)` is called before each.
template <class Before>
ALWAYS void some_sums(const T* left, const T* right, int steps, int last, float* sum, bool first, int row, int part,
                      Before&& before) {
  Register sums[ROWS][2];
  typedef Register Any __attribute__((aligned(4)));
  auto at = [&](int i, int j) { return (Any*)(sum + (row + i) * SIDE + (part + j) * WIDTH); };
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < 2; j++) sums[i][j] = first ? Register{} : (Register)*at(i, j);
  for (int k = 0; k < steps; k++) {
    const T *a = left + (long)k * BLOCK + row * SIDE, *b = right + (long)k * BLOCK;
    const int depth = k + 1 < steps ? +SIDE : last;
    before(k, a);
#pragma GCC unroll 4
    for (int inner = 0; inner < depth; inner += STEP)
#pragma GCC unroll 8
      for (int i = 0; i < ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
          sums[i][j] = multiply_add(sums[i][j], a + i * SIDE + inner, right_at(b, inner, part + j));
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < 2; j++) *at(i, j) = sums[i][j];
}

ALWAYS void product(const T* left, const T* right, int steps, float* sum, bool first, Used used) {
  for (int part = 0; part < PARTS; part += 2) {
    const bool filled = part * WIDTH < used.columns;
    if (!filled && !first) continue;
    for (int row = 0; row < used.rows; row += ROWS)
      some_sums(left, right, filled ? steps : 0, used.inner, sum, first, row, part, [](int, const T*) {});
  }
}

template <bool STREAM = false, bool HALF = false, class Meanwhile>
ALWAYS void product(const T* left, const T* right, int steps, float* sum, bool first, Further further, Ahead ahead,
                    Meanwhile&& meanwhile) {
  const int rows = HALF ? SIDE / 2 : +SIDE;
  if (HALF && first) memset(sum + rows * SIDE, 0, rows * SIDE * sizeof(float));
  for (int part = 0; part < PARTS; part += 2)
    for (int row = 0; row < rows; row += ROWS)
      some_sums(left, right, steps, SIDE, sum, first, row, part, [&](int k, const T* a) {
        if (STREAM && part == 0) fetch_rows(row + ROWS < rows ? a + ROWS * SIDE : ahead.left + (long)k * BLOCK);
      });
  for (int k = 0; k < steps; k++) meanwhile(k);
  if (further.steps)
    product(further.left, further.right, further.steps, sum, false, {rows, SIDE, further.inner});
}
#endif

ALWAYS void product(const T* left, const T* right, int steps, float* sum, bool first) {
  product(left, right, steps, sum, first, Further(), Ahead(), [](int) {});
}

#ifdef SM_AMX
// A product of whole tiles takes as long.
ALWAYS void product(const T* left, const T* right, int steps, float* sum, bool first, Used) {
  product(left, right, steps, sum, first);
}
#endif

// Token blocks: block (m, k) at `at` + m * stride + k * BLOCK.
struct Left {
  const T* at;
  long stride;
  bool half = false;  // the last block's rows from 16 on are padding
};
// A packed matrix: panel n (32 columns), block k at `at` + n * stride + k * BLOCK.
struct Right {
  const T* at;
  long stride;
};
// A low-rank addition: left[m] right[n] over `steps` more blocks, of the last one `inner` channels; none where `left.at`
// is null.
struct Extra {
  Left left{};
  Right right{};
  int steps = 0, inner = SIDE;
};
struct NoExtra {
  Extra operator()(int) const { return {}; }
};
// No other products of a block's own.
struct NoTail {
  void operator()(int, int) const {}
};
// What `then` of a block will read is in the cache, or on its way there without being asked for.
struct NoTouch {
  const T* operator()(int, int) const { return nullptr; }
};

// The sums of panels [n0, n1) for `blocks` token blocks, each handed to `then(m, n, sum, row0, row1)` when complete.
//
// The order n, k, m keeps DEPTH blocks of the matrix in the first cache while all token blocks pass by; the matrix
// comes from memory once per group. `then` of one block runs beside the product of the next, in slices of
// rows. What it needs of the product unit itself `tail(m, n)` does as soon as block (m, n) is complete; blocks follow each
// other m by m, so that of what `tail` leaves, two are needed at a time. `touch(m, n)`: a block that `then` will read.
//
// sums: where block (m, n) is summed: sums + m * sum_m + n * sum_n. begin: whether the sums start at zero;
// finish: whether this call completes them. Sums that nobody asks for later (sum_n = 0) and that one go completes take
// turns in two blocks, which stay in the first cache.
template <class Also, class Then, class Tail = NoTail, class Touch = NoTouch>
STAGE void products(Left left, int blocks, Right right, int n0, int n1, int steps, float* sums, long sum_m,
                     long sum_n, bool begin, bool finish, const T* next, Also&& also, Then&& then,
                     Tail&& tail = NoTail(), Touch&& touch = NoTouch()) {
  int waiting_m = -1, waiting_n = 0;
  float* waiting = nullptr;
  const bool ring = sum_n == 0 && begin && finish && steps <= DEPTH;
  int turn = 0;
  for (int n = n0; n < n1; n++) {
    Extra extra = also(n);
    const T* panel = right.at + n * right.stride;
    for (int k = 0; k < steps; k += DEPTH) {
      int some = steps - k < DEPTH ? steps - k : +DEPTH;
      const int slice = (SIDE + some - 1) / some;
      const int left_over = steps - k - some;
      bool complete = finish && !left_over;
      // Each product fetches its share of the blocks of the right factor that follow.
      const int following = !left_over ? some : left_over < DEPTH ? left_over : +DEPTH;
      const char* coming = (const char*)(left_over    ? panel + (long)(k + some) * BLOCK
                                         : n + 1 < n1 ? panel + right.stride
                                                      : next);
      const long lines = following * (long)(BLOCK * sizeof(T) / 64);
      for (int m = 0; m < blocks; m++) {
        float* sum = ring ? sums + (turn ^= 1) * BLOCK : sums + m * sum_m + n * sum_n;
        const T* a = left.at + m * left.stride + (long)k * BLOCK;
        bool first = begin && k == 0;
        const float* after = ring ? nullptr : m + 1 < blocks ? (first ? nullptr : sum + sum_m)
                             : left_over ? sums + n * sum_n
                             : begin || n + 1 == n1 ? nullptr : sums + (n + 1) * sum_n;
        const T* a_next = m + 1 < blocks ? a + left.stride : left.at + (long)(left_over ? k + some : 0) * BLOCK;
        Ahead ahead{coming + lines * m / blocks * 64, coming + lines * (m + 1) / blocks * 64, a_next, (const char*)after,
                    complete ? (const char*)touch(m, n) : nullptr};
        Further further;
        if (complete && extra.left.at)
          further = {extra.left.at + m * extra.left.stride, extra.right.at + n * extra.right.stride, extra.steps, extra.inner};
        auto multiply = [&](auto&& meanwhile) {
          if (left.half && m + 1 == blocks)
            product<true, true>(a, panel + (long)k * BLOCK, some, sum, first, further, ahead, meanwhile);
          else
            product<true>(a, panel + (long)k * BLOCK, some, sum, first, further, ahead, meanwhile);
        };
        if (waiting) {
          multiply([&](int i) {
            const int from = i * slice, to = from + slice;
            if (from < SIDE) then(waiting_m, waiting_n, waiting, from, to < SIDE ? to : +SIDE);
          });
          waiting = nullptr;
        } else {
          multiply([](int) {});
        }
        if (!complete) continue;
        tail(m, n);
        if (blocks > 1) {
          waiting = sum, waiting_m = m, waiting_n = n;
        } else {
          then(m, n, sum, 0, SIDE);
        }
      }
    }
  }
  if (waiting) then(waiting_m, waiting_n, waiting, 0, SIDE);
}
