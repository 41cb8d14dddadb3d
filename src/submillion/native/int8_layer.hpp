// Layers in int8, run over one group of texts at a time.
#pragma once
#include <algorithm>
#include <vector>

#include "activation.hpp"
#include "arena.hpp"
#include "int8_attention.hpp"
#include "int8_input.hpp"

namespace submillion {
namespace {

struct Int8Norm {
  float *gamma = nullptr, *beta = nullptr;
};
// gate: of pre-norm layers, without panels in others; norm1 may be null in pre-norm layers.
struct Int8Layer {
  Int8Matrix q, k, v, out, up, gate, down;
  Int8Norm norm1, norm2;
};

// Texts [begin, end) of the batch, and the offset of their first row.
struct Int8Group {
  long begin, end, rows;
};

// Buffers of one thread, for the rows of the largest group.
struct Int8Scratch {
  float *x, *branch, *wide, *partial;    // [rows][hidden] twice; queries, keys and values, or FFN channels
  float* first;                          // [texts][hidden]: the first tokens' rows of x
  ProductInput input, first_input, act;  // of hidden channels; the same of first tokens; of FFN channels
  InferenceAttentionScratch attention;
};

// Layers of one shape, and the batch that they run on.
struct Int8Layers {
  long hidden = 0, ffn = 0;
  int heads = 0;
  float epsilon = 0;
  bool pre_norm = false;  // the layers are as in pre_norm_layer.hpp, otherwise as in layer.hpp
  std::vector<Int8Layer> layers;
  std::vector<AttentionShape> attention;  // by layer
  SmInt8Batch batch{};

  // Heads whose queries, keys and values are computed before attention reads them, so that they are still in
  // L2.
  int chunk_heads() const { return std::max(1, std::min(heads, 384 / (int)(hidden / heads))); }

  // Runs a layer on the rows of a group. `first_only`: only the first token's row of each text is computed
  // after keys and values; s.first then holds them.
  void run_layer(const Int8Group& g, long index, bool first_only, Int8Scratch& s) const {
    const Int8Layer& l = layers[index];
    const ChannelGroups of_hidden((int)(hidden / BLOCK_SIDE));
    const long rows = first_only ? g.end - g.begin : g.rows;
    float* x = first_only ? s.first : s.x;
    const ProductInput& input = first_only ? s.first_input : s.input;
    prepare_rows(normalized(s.x, g.rows, l.norm1, s), g.rows, of_hidden, {&l.q, &l.k, &l.v}, s.input);
    if (first_only) {
      for (long t = g.begin; t < g.end; t++)
        memcpy(x + (t - g.begin) * hidden, s.x + (batch.offsets[t] - batch.offsets[g.begin]) * hidden,
               hidden * sizeof(float));
      prepare_rows(normalized(x, rows, l.norm1, s), rows, of_hidden, {&l.q}, s.first_input);
    }
    attend_heads(g, index, first_only, s);
    prepare_rows(s.branch, rows, of_hidden, {&l.out}, input);
    add_product(l.out, input, rows, l.norm1, x, s);
    prepare_rows(normalized(x, rows, l.norm2, s), rows, of_hidden, {&l.up}, input);
    widen(l, input, rows, s);
    add_product(l.down, s.act, rows, l.norm2, x, s);
  }

  // Returns the input of a branch: x or, in a pre-norm layer with this norm, its rows normalized, in
  // s.branch.
  const float* normalized(const float* x, long rows, const Int8Norm& norm, Int8Scratch& s) const {
    if (!pre_norm || !norm.gamma) return x;
    for (long i = 0; i < rows; i++)
      normalize_row(x + i * hidden, false, hidden, norm.gamma, norm.beta, epsilon, s.branch + i * hidden);
    return s.branch;
  }

  // x += product, then in a post-norm layer x = norm(x).
  void add_product(const Int8Matrix& m, const ProductInput& input, long rows, const Int8Norm& norm, float* x,
                   Int8Scratch& s) const {
    if (pre_norm)
      return multiply(m, input, (int)rows, 0, m.panels, s.partial,
                      [&](long row, int n, f32x16 low, f32x16 high) {
                        float* at = x + row * hidden + n * BLOCK_SIDE;
                        store_row(at, load(at) + low, load(at + 16) + high);
                      });
    multiply(m, input, (int)rows, 0, m.panels, s.partial, [&](long row, int n, f32x16 low, f32x16 high) {
      store_row(s.branch + row * hidden + n * BLOCK_SIDE, low, high);
    });
    for (long i = 0; i < rows; i++)
      normalize_row(s.branch + i * hidden, true, hidden, norm.gamma, norm.beta, epsilon, x + i * hidden);
  }

  // Computes the attention context of a group's rows, or of its first tokens, in s.branch, chunk by chunk of
  // heads.
  void attend_heads(const Int8Group& g, long index, bool first_only, Int8Scratch& s) const {
    const Int8Layer& l = layers[index];
    const AttentionShape& shape = attention[index];
    const long rows = first_only ? g.end - g.begin : g.rows, start = batch.offsets[g.begin];
    const int chunk = chunk_heads(), head_blocks = shape.head_channels / BLOCK_SIDE;
    for (int head = 0; head < heads; head += chunk) {
      const int count = std::min(chunk, heads - head), begin = head * head_blocks,
                end = begin + count * head_blocks;
      const long width = (long)count * shape.head_channels, stride = 3 * width;
      auto project = [&](const Int8Matrix& m, const ProductInput& input, long of_rows, float* to) {
        multiply(m, input, (int)of_rows, begin, end, s.partial,
                 [&](long row, int n, f32x16 low, f32x16 high) {
                   store_row(to + row * stride + (n - begin) * BLOCK_SIDE, low, high);
                 });
      };
      project(l.q, first_only ? s.first_input : s.input, rows, s.wide);
      project(l.k, s.input, g.rows, s.wide + width);
      project(l.v, s.input, g.rows, s.wide + 2 * width);
      for (long t = g.begin; t < g.end; t++) {
        const long row = batch.offsets[t] - start, keys = batch.offsets[t + 1] - start - row;
        const long query_row = first_only ? t - g.begin : row, queries = first_only ? 1 : keys;
        float *q = s.wide + query_row * stride, *k = s.wide + row * stride + width;
        if (shape.cos) {
          rotate_rows(shape, count, q, stride, queries);
          rotate_rows(shape, count, k, stride, keys);
        }
        attend(shape, head, count, {q, k, k + width, stride, queries, keys},
               s.branch + query_row * hidden + begin * BLOCK_SIDE, hidden, s.attention);
      }
    }
  }

  // Prepares the input of l.down, gelu(up(x)) or gelu(up(x)) gate(x), in s.act, group by group of channels.
  void widen(const Int8Layer& l, const ProductInput& input, long rows, Int8Scratch& s) const {
    const ChannelGroups of_ffn((int)(ffn / BLOCK_SIDE));
    for (int group = 0; group < of_ffn.count(); group++) {
      const int begin = of_ffn.all[group].first_block, channels = of_ffn.all[group].channels,
                end = begin + channels / BLOCK_SIDE;
      auto at = [&](long row, int n) { return s.wide + row * channels + (n - begin) * BLOCK_SIDE; };
      multiply(l.up, input, (int)rows, begin, end, s.partial, [&](long row, int n, f32x16 low, f32x16 high) {
        f32x16 y0, y1, derivative;
        gelu(low, y0, derivative), gelu(high, y1, derivative);
        store_row(at(row, n), y0, y1);
      });
      if (l.gate.panels)
        multiply(l.gate, input, (int)rows, begin, end, s.partial,
                 [&](long row, int n, f32x16 low, f32x16 high) {
                   float* value = at(row, n);
                   store_row(value, load(value) * low, load(value + 16) * high);
                 });
      for (long i = 0; i < rows; i++)
        prepare_group(s.wide + i * channels, i, of_ffn, group, !l.down.floats, l.down.floats != nullptr,
                      s.act);
    }
  }
};

}  // namespace
}  // namespace submillion
