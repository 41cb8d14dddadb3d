// Benchmark problems with exactly representable results, and the package's own kernels on them.
#pragma once
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "arena.hpp"
#include "gemm.hpp"

namespace submillion {

enum { RANK = 8, TOKENS = 53, HEAD = 64, HEADS = 12 };
enum { COLD_BYTES = 96 << 20 };  // total size of the copies of the weights: more than the caches hold

// One implementation. `run` computes with one of the copies of the weights; `result` writes the output,
// row-major.
struct Contender {
  std::string name;
  bool fused;  // adds a u-rank term, bias and residual, as the encoder does
  std::function<void(int copy)> run;
  std::function<void(float* to)> result;
};

struct Shape {
  const char* name;
  int rows, inner, columns;
  bool cached;
};

inline std::vector<float> random_values(size_t count) {
  static uint32_t state = 1;
  std::vector<float> values(count);
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = ((int)(state >> 27) - 16) / 16.f;
  }
  return values;
}

// y = x W^T + u B^T + bias + residual, row-major: x [rows][inner], W [columns][inner], u [rows][RANK], B
// [columns][RANK]. `cached`: one copy of the weights, so that they stay in the caches.
struct Problem {
  int rows, inner, columns, copies;
  std::vector<float> x, w, u, b, bias, residual;
  Arena arena;

  explicit Problem(const Shape& s) : rows(s.rows), inner(s.inner), columns(s.columns) {
    copies = s.cached ? 1 : (int)(COLD_BYTES / (sizeof(elem_t) * inner * columns)) + 1;
    x = random_values((size_t)rows * inner), w = random_values((size_t)columns * inner),
    u = random_values((size_t)rows * RANK);
    b = random_values((size_t)columns * RANK), bias = random_values(columns),
    residual = random_values((size_t)rows * columns);
  }

  // Returns copies of packed weights, one after the other.
  elem_t* copies_of(const elem_t* packed, size_t count) {
    elem_t* to = arena.allocate<elem_t>(count * copies);
    for (int i = 0; i < copies; i++) memcpy(to + i * count, packed, count * sizeof(elem_t));
    return to;
  }
  // Converts a row-major matrix to block layout, zero-padded.
  elem_t* to_blocks(const std::vector<float>& matrix, int height, int width) {
    const int m_blocks = (height + BLOCK_SIDE - 1) / BLOCK_SIDE,
              n_blocks = (width + BLOCK_SIDE - 1) / BLOCK_SIDE;
    elem_t* to = arena.allocate<elem_t>((size_t)m_blocks * n_blocks * BLOCK_ELEMS);
    for (int m = 0; m < m_blocks; m++)
      for (int k = 0; k < n_blocks; k++)
        block_from_matrix(matrix.data(), height, width, m * BLOCK_SIDE, k * BLOCK_SIDE, 1,
                          to + ((long)m * n_blocks + k) * BLOCK_ELEMS);
    return to;
  }
};

inline std::vector<float> reference_result(const Problem& p, bool fused) {
  std::vector<float> y((size_t)p.rows * p.columns), transposed((size_t)p.inner * p.columns);
  for (int n = 0; n < p.columns; n++)
    for (int k = 0; k < p.inner; k++) transposed[(size_t)k * p.columns + n] = p.w[(size_t)n * p.inner + k];
  for (int m = 0; m < p.rows; m++) {
    float* row = &y[(size_t)m * p.columns];
    for (int k = 0; k < p.inner; k++)
      for (int n = 0; n < p.columns; n++)
        row[n] += p.x[(size_t)m * p.inner + k] * transposed[(size_t)k * p.columns + n];
    for (int n = 0; fused && n < p.columns; n++) {
      for (int k = 0; k < RANK; k++) row[n] += p.u[m * RANK + k] * p.b[n * RANK + k];
      row[n] += p.bias[n] + p.residual[(size_t)m * p.columns + n];
    }
  }
  return y;
}

// Converts [rows / 32][columns / width][32][width] to row-major.
inline void flatten(const Problem& p, const float* blocks, int width, float* to) {
  for (int m = 0; m < p.rows; m++)
    for (int n = 0; n < p.columns; n++)
      to[(size_t)m * p.columns + n] =
          blocks[((long)(m / BLOCK_SIDE) * (p.columns / width) + n / width) * BLOCK_SIDE * width +
                 m % BLOCK_SIDE * width + n % width];
}

// The package's kernels. chunk: k blocks per call, because the encoder runs its FFN in chunks.
inline Contender own_gemm(Problem& p, const std::string& name, bool fused, int chunk) {
  const int k_blocks = p.inner / BLOCK_SIDE, n_blocks = p.columns / BLOCK_SIDE,
            m_blocks = p.rows / BLOCK_SIDE;
  const elem_t *a = p.to_blocks(p.x, p.rows, p.inner), *u = p.to_blocks(p.u, p.rows, RANK);
  const elem_t* residual = p.to_blocks(p.residual, p.rows, p.columns);
  auto pack = [&](const std::vector<float>& matrix, int width) {
    const elem_t* blocks = p.to_blocks(matrix, p.columns, width);
    const size_t count = (size_t)n_blocks * ((width + BLOCK_SIDE - 1) / BLOCK_SIDE);
    elem_t* to = p.arena.allocate<elem_t>(count * BLOCK_ELEMS);
    for (size_t i = 0; i < count; i++) pack_b_from_nk(blocks + i * BLOCK_ELEMS, to + i * BLOCK_ELEMS);
    return to;
  };
  const elem_t *packed = p.copies_of(pack(p.w, p.inner), (size_t)n_blocks * k_blocks * BLOCK_ELEMS),
               *b = pack(p.b, RANK);
  float* out = p.arena.allocate<float>((size_t)p.rows * p.columns);
  auto run = [=, &p](int copy) {
    configure_tiles();
    const elem_t *weights = packed + (size_t)(copy % p.copies) * n_blocks * k_blocks * BLOCK_ELEMS,
                 *next_b = packed + (size_t)((copy + 1) % p.copies) * n_blocks * k_blocks * BLOCK_ELEMS;
    for (int c = 0; c < k_blocks; c += chunk) {
      const int chunk_blocks = std::min(chunk, k_blocks - c);
      const bool last = c + chunk_blocks == k_blocks;
      const OperandA operand_a{a + (long)c * BLOCK_ELEMS, (long)k_blocks * BLOCK_ELEMS};
      const OperandB operand_b{weights + (long)c * BLOCK_ELEMS, (long)k_blocks * BLOCK_ELEMS};
      const GemmShape shape{m_blocks, 0, n_blocks, chunk_blocks,
                            last ? next_b : operand_b.data + chunk_blocks * BLOCK_ELEMS};
      const Accumulator acc{out, (long)n_blocks * BLOCK_ELEMS, BLOCK_ELEMS, c == 0, last};
      if (fused)
        gemm(
            operand_a, operand_b, shape, acc,
            [&](int n) { return LowRankTerm{{u, BLOCK_ELEMS}, {b + (long)n * BLOCK_ELEMS, 0}, 1}; },
            [&](int m, int n, float* acc, int row_begin, int row_end) {
              f32x16 b0 = load(&p.bias[n * BLOCK_SIDE]), b1 = load(&p.bias[n * BLOCK_SIDE + 16]), r0, r1;
              for (int i = row_begin; i < row_end; i++) {
                load_row(residual + ((long)m * n_blocks + n) * BLOCK_ELEMS + i * BLOCK_SIDE, r0, r1);
                store_row(acc + i * BLOCK_SIDE, load(acc + i * BLOCK_SIDE) + b0 + r0,
                          load(acc + i * BLOCK_SIDE + 16) + b1 + r1);
              }
            });
      else
        gemm(operand_a, operand_b, shape, acc, NoLowRankTerm(), [](int, int, float*, int, int) {});
    }
    release_tiles();
  };
  return {name, fused, run, [=, &p](float* to) { flatten(p, out, BLOCK_SIDE, to); }};
}

// Scores and context of one text, head by head, from packed operands, as attention.hpp computes them.
struct Attention {
  std::vector<float> q = random_values(TOKENS * HEAD), k = random_values(TOKENS * HEAD),
                     v = random_values(TOKENS * HEAD);
  std::vector<float> p = random_values(TOKENS * TOKENS);
  Arena arena;

  // Returns scores [TOKENS][TOKENS], followed by the context [TOKENS][HEAD].
  std::vector<float> reference() const {
    std::vector<float> y(TOKENS * (TOKENS + HEAD));
    for (int i = 0; i < TOKENS; i++)
      for (int j = 0; j < TOKENS; j++) {
        for (int c = 0; c < HEAD; c++) {
          y[i * TOKENS + j] += q[i * HEAD + c] * k[j * HEAD + c];
          y[TOKENS * TOKENS + i * HEAD + c] += p[i * TOKENS + j] * v[j * HEAD + c];
        }
      }
    return y;
  }
};

inline Contender own_attention(Attention& a) {
  const int head_blocks = HEAD / BLOCK_SIDE, text_blocks = (TOKENS + BLOCK_SIDE - 1) / BLOCK_SIDE;
  elem_t* buffers = a.arena.allocate<elem_t>(6 * 4 * BLOCK_ELEMS);
  elem_t *q = buffers, *k = q + 4 * BLOCK_ELEMS, *v = k + 4 * BLOCK_ELEMS, *p = v + 4 * BLOCK_ELEMS;
  elem_t *k_panels = p + 4 * BLOCK_ELEMS, *v_panels = k_panels + 4 * BLOCK_ELEMS;
  float *scores = a.arena.allocate<float>(4 * BLOCK_ELEMS),
        *context = a.arena.allocate<float>(4 * BLOCK_ELEMS);
  for (int m = 0; m < 2; m++)
    for (int n = 0; n < 2; n++) {
      const int at = (2 * m + n) * BLOCK_ELEMS;
      block_from_matrix(a.q.data(), TOKENS, HEAD, m * BLOCK_SIDE, n * BLOCK_SIDE, 1, q + at);
      block_from_matrix(a.k.data(), TOKENS, HEAD, m * BLOCK_SIDE, n * BLOCK_SIDE, 1, k + at);
      block_from_matrix(a.v.data(), TOKENS, HEAD, m * BLOCK_SIDE, n * BLOCK_SIDE, 1, v + at);
      block_from_matrix(a.p.data(), TOKENS, TOKENS, m * BLOCK_SIDE, n * BLOCK_SIDE, 1, p + at);
      pack_b_from_nk(k + at, k_panels + at);
      pack_b_from_kn(v + at, v_panels + (2 * n + m) * BLOCK_ELEMS);
    }
  auto run = [=](int) {
    configure_tiles();
    for (int head = 0; head < HEADS; head++)
      for (int block = 0; block < text_blocks; block++) {
        for (int b = 0; b < text_blocks; b++)
          brgemm(q + block * head_blocks * BLOCK_ELEMS, k_panels + b * head_blocks * BLOCK_ELEMS, head_blocks,
                 scores + (block * text_blocks + b) * BLOCK_ELEMS, true);
        for (int c = 0; c < head_blocks; c++)
          brgemm(p + block * text_blocks * BLOCK_ELEMS, v_panels + c * text_blocks * BLOCK_ELEMS, text_blocks,
                 context + (block * head_blocks + c) * BLOCK_ELEMS, true);
      }
    release_tiles();
  };
  auto result = [=](float* to) {
    auto at = [](const float* blocks, int i, int j) {
      return blocks[(i / BLOCK_SIDE * 2 + j / BLOCK_SIDE) * BLOCK_ELEMS + i % BLOCK_SIDE * BLOCK_SIDE +
                    j % BLOCK_SIDE];
    };
    for (int i = 0; i < TOKENS; i++) {
      for (int j = 0; j < TOKENS; j++) to[i * TOKENS + j] = at(scores, i, j);
      for (int c = 0; c < HEAD; c++) to[TOKENS * TOKENS + i * HEAD + c] = at(context, i, c);
    }
  };
  return {"own", false, run, result};
}

}  // namespace submillion
