// What is measured: problems of exact numbers, and the package's own kernels on them.
#pragma once
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "memory.hpp"
#include "products.hpp"

enum { RANK = 8, TOKENS = 53, HEAD = 64, HEADS = 12 };
enum { COLD_BYTES = 96 << 20 };  // of weights that pass by before the first come again

// One way to compute a result: `run` with one of the copies of the weights, `result` in order of rows and columns.
struct Contender {
  std::string name;
  bool whole;  // with a low-rank addition, bias and residual, as the encoder needs it
  std::function<void(int copy)> run;
  std::function<void(float* to)> result;
};

struct Shape {
  const char* name;
  int rows, inner, columns;
  bool cached;
};

inline std::vector<float> drawn(size_t count) {
  static uint32_t state = 1;
  std::vector<float> values(count);
  for (float& value : values) {
    state = state * 1664525u + 1013904223u;
    value = ((int)(state >> 27) - 16) / 16.f;
  }
  return values;
}

// y = x W^T + u B^T + bias + residual, all by rows: x [rows][inner], W [columns][inner], u [rows][RANK] and
// B [columns][RANK].
struct Problem {
  int rows, inner, columns, copies;
  std::vector<float> x, w, u, b, bias, residual;
  Arena arena;

  explicit Problem(const Shape& s) : rows(s.rows), inner(s.inner), columns(s.columns) {
    copies = s.cached ? 1 : (int)(COLD_BYTES / (sizeof(T) * inner * columns)) + 1;
    x = drawn((size_t)rows * inner), w = drawn((size_t)columns * inner), u = drawn((size_t)rows * RANK);
    b = drawn((size_t)columns * RANK), bias = drawn(columns), residual = drawn((size_t)rows * columns);
  }

  // Copies of packed weights, one behind the other.
  T* repeated(const T* packed, size_t count) {
    T* to = arena.take<T>(count * copies);
    for (int i = 0; i < copies; i++) memcpy(to + i * count, packed, count * sizeof(T));
    return to;
  }
  // Blocks of a row-major matrix, zero beyond its edges.
  T* blocks_of(const std::vector<float>& matrix, int height, int width) {
    const int high = (height + SIDE - 1) / SIDE, wide = (width + SIDE - 1) / SIDE;
    T* to = arena.take<T>((size_t)high * wide * BLOCK);
    for (int m = 0; m < high; m++)
      for (int k = 0; k < wide; k++)
        block_of(matrix.data(), height, width, m * SIDE, k * SIDE, 1, to + ((long)m * wide + k) * BLOCK);
    return to;
  }
};

inline std::vector<float> plain_result(const Problem& p, bool whole) {
  std::vector<float> y((size_t)p.rows * p.columns), turned((size_t)p.inner * p.columns);
  for (int n = 0; n < p.columns; n++)
    for (int k = 0; k < p.inner; k++) turned[(size_t)k * p.columns + n] = p.w[(size_t)n * p.inner + k];
  for (int m = 0; m < p.rows; m++) {
    float* row = &y[(size_t)m * p.columns];
    for (int k = 0; k < p.inner; k++)
      for (int n = 0; n < p.columns; n++) row[n] += p.x[(size_t)m * p.inner + k] * turned[(size_t)k * p.columns + n];
    for (int n = 0; whole && n < p.columns; n++) {
      for (int k = 0; k < RANK; k++) row[n] += p.u[m * RANK + k] * p.b[n * RANK + k];
      row[n] += p.bias[n] + p.residual[(size_t)m * p.columns + n];
    }
  }
  return y;
}

// Row by row from [rows / 32][columns / width][32][width].
inline void flatten(const Problem& p, const float* blocks, int width, float* to) {
  for (int m = 0; m < p.rows; m++)
    for (int n = 0; n < p.columns; n++)
      to[(size_t)m * p.columns + n] =
          blocks[((long)(m / SIDE) * (p.columns / width) + n / width) * SIDE * width + m % SIDE * width + n % width];
}

// The package's kernels. piece: inner blocks at a time, as the encoder goes through the feed-forward network.
inline Contender own(Problem& p, const std::string& name, bool whole, int piece) {
  const int deep = p.inner / SIDE, wide = p.columns / SIDE, high = p.rows / SIDE;
  const T *left = p.blocks_of(p.x, p.rows, p.inner), *low = p.blocks_of(p.u, p.rows, RANK);
  const T* rest = p.blocks_of(p.residual, p.rows, p.columns);
  auto factors = [&](const std::vector<float>& matrix, int width) {
    const T* blocks = p.blocks_of(matrix, p.columns, width);
    const size_t count = (size_t)wide * ((width + SIDE - 1) / SIDE);
    T* to = p.arena.take<T>(count * BLOCK);
    for (size_t i = 0; i < count; i++) factor_from_columns(blocks + i * BLOCK, to + i * BLOCK);
    return to;
  };
  const T *packed = p.repeated(factors(p.w, p.inner), (size_t)wide * deep * BLOCK), *b = factors(p.b, RANK);
  float* out = p.arena.take<float>((size_t)p.rows * p.columns);
  auto run = [=, &p](int copy) {
    begin_products();
    const T *right = packed + (size_t)(copy % p.copies) * wide * deep * BLOCK,
            *next = packed + (size_t)((copy + 1) % p.copies) * wide * deep * BLOCK;
    for (int c = 0; c < deep; c += piece) {
      const int some = std::min(piece, deep - c);
      const bool last = c + some == deep;
      const Left from{left + (long)c * BLOCK, (long)deep * BLOCK};
      const Right to{right + (long)c * BLOCK, (long)deep * BLOCK};
      if (whole)
        products(
            from, high, to, 0, wide, some, out, (long)wide * BLOCK, BLOCK, c == 0, last,
            last ? next : to.at + some * BLOCK,
            [&](int n) { return Extra{{low, BLOCK}, {b + (long)n * BLOCK, 0}, 1}; },
            [&](int m, int n, float* sum, int i0, int i1) {
              lanes b0 = load(&p.bias[n * SIDE]), b1 = load(&p.bias[n * SIDE + 16]), r0, r1;
              for (int i = i0; i < i1; i++) {
                load_row(rest + ((long)m * wide + n) * BLOCK + i * SIDE, r0, r1);
                store_row(sum + i * SIDE, load(sum + i * SIDE) + b0 + r0, load(sum + i * SIDE + 16) + b1 + r1);
              }
            });
      else
        products(from, high, to, 0, wide, some, out, (long)wide * BLOCK, BLOCK, c == 0, last,
                 last ? next : to.at + some * BLOCK, NoExtra(), [](int, int, float*, int, int) {});
    }
    end_products();
  };
  return {name, whole, run, [=, &p](float* to) { flatten(p, out, SIDE, to); }};
}

// Scores and context of a text, head by head, from factors that are ready, as attention.hpp multiplies them.
struct Attention {
  std::vector<float> q = drawn(TOKENS * HEAD), k = drawn(TOKENS * HEAD), v = drawn(TOKENS * HEAD);
  std::vector<float> p = drawn(TOKENS * TOKENS);
  Arena arena;

  // Scores [TOKENS][TOKENS], then context [TOKENS][HEAD].
  std::vector<float> plain() const {
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
  const int wide = HEAD / SIDE, side = (TOKENS + SIDE - 1) / SIDE;
  T* room = a.arena.take<T>(6 * 4 * BLOCK);
  T *q = room, *k = q + 4 * BLOCK, *v = k + 4 * BLOCK, *p = v + 4 * BLOCK;
  T *keys = p + 4 * BLOCK, *values = keys + 4 * BLOCK;
  float *scores = a.arena.take<float>(4 * BLOCK), *context = a.arena.take<float>(4 * BLOCK);
  for (int m = 0; m < 2; m++)
    for (int n = 0; n < 2; n++) {
      const int at = (2 * m + n) * BLOCK;
      block_of(a.q.data(), TOKENS, HEAD, m * SIDE, n * SIDE, 1, q + at);
      block_of(a.k.data(), TOKENS, HEAD, m * SIDE, n * SIDE, 1, k + at);
      block_of(a.v.data(), TOKENS, HEAD, m * SIDE, n * SIDE, 1, v + at);
      block_of(a.p.data(), TOKENS, TOKENS, m * SIDE, n * SIDE, 1, p + at);
      factor_from_columns(k + at, keys + at);
      factor_from_rows(v + at, values + (2 * n + m) * BLOCK);
    }
  auto run = [=](int) {
    begin_products();
    for (int head = 0; head < HEADS; head++)
      for (int block = 0; block < side; block++) {
        for (int b = 0; b < side; b++)
          product(q + block * wide * BLOCK, keys + b * wide * BLOCK, wide, scores + (block * side + b) * BLOCK, true);
        for (int c = 0; c < wide; c++)
          product(p + block * side * BLOCK, values + c * side * BLOCK, side, context + (block * wide + c) * BLOCK,
                  true);
      }
    end_products();
  };
  auto result = [=](float* to) {
    auto at = [](const float* blocks, int i, int j) {
      return blocks[(i / SIDE * 2 + j / SIDE) * BLOCK + i % SIDE * SIDE + j % SIDE];
    };
    for (int i = 0; i < TOKENS; i++) {
      for (int j = 0; j < TOKENS; j++) to[i * TOKENS + j] = at(scores, i, j);
      for (int c = 0; c < HEAD; c++) to[TOKENS * TOKENS + i * HEAD + c] = at(context, i, c);
    }
  };
  return {"own", false, run, result};
}
