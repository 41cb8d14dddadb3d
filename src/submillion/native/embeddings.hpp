// The input of the first layer: embeddings, their norm and dropout, and a projection to the hidden size.
#pragma once
#include "c_api.hpp"
#include "layer_norm.hpp"
#include "layer_state.hpp"

namespace submillion {

struct Embeddings {
  SmEmbeddings tables{};
  PackedMatrix projection;  // empty if the tables have the hidden size
  const float* projection_bias = nullptr;

  int blocks() const { return (int)(tables.channels / BLOCK_SIDE); }

  // Writes the states of a group's tokens, [m_blocks][hidden_blocks].
  //
  // next_b: the weights that are used next, to prefetch.
  void forward(const TextGroup& g, const SmBatch& batch, const EncoderConfig& config, const elem_t* next_b,
               LayerScratch& s, elem_t* x) const {
    const int E = blocks();
    elem_t* normed = projection.forward ? s.context : x;
    add_rows(g, batch, s.acc_f32);
    for (int m = 0; m < g.m_blocks; m++) {
      const long at = (long)m * E * BLOCK_ELEMS;
      layer_norm_forward(s.acc_f32 + at, E, tables.norm_gamma, tables.norm_beta, config.epsilon, nullptr,
                         normed + at, nullptr, nullptr);
    }
    if (batch.training && tables.dropout > 0)
      drop(g, Dropout(tables.dropout, batch.seed, -1, EMBEDDING), normed);
    if (projection.forward) project(g, config.hidden_blocks, next_b, s, x);
  }

  // Writes the states of a group's tokens in float32, [m_blocks][blocks()], for pre-norm layers.
  void forward(const TextGroup& g, const SmBatch& batch, const EncoderConfig& config, float* states) const {
    const int E = blocks();
    add_rows(g, batch, states);
    for (int m = 0; m < g.m_blocks; m++) {
      float* at = states + (long)m * E * BLOCK_ELEMS;
      layer_norm_forward(at, E, tables.norm_gamma, tables.norm_beta, config.epsilon, nullptr, at, nullptr,
                         nullptr);
    }
    if (batch.training && tables.dropout > 0)
      drop(g, Dropout(tables.dropout, batch.seed, -1, EMBEDDING), states);
  }

 private:
  // Writes the sums of word and, if there are any, position embeddings, [m_blocks][blocks()]; padding rows
  // are zero.
  void add_rows(const TextGroup& g, const SmBatch& batch, float* sums) const {
    const int E = blocks();
    memset(sums, 0, (size_t)g.m_blocks * E * BLOCK_ELEMS * sizeof(float));
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int r = 0; r < g.lengths[t]; r++) {
        const long token = batch.offsets[g.texts[t]] + r;
        const float* word = tables.words + batch.token_ids[token] * tables.channels;
        float* to = sums + row_offset(g.starts[t] + r, E);
        if (!tables.positions) {
          for (int c = 0; c < E; c++)
            memcpy(to + c * BLOCK_ELEMS, word + c * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
          continue;
        }
        const float* position = tables.positions + batch.position_ids[token] * tables.channels;
        for (int c = 0; c < E; c++, word += BLOCK_SIDE, position += BLOCK_SIDE)
          store_row(to + c * BLOCK_ELEMS, load(word) + load(position), load(word + 16) + load(position + 16));
      }
  }

  // Applies dropout to rows [m_blocks][blocks()].
  template <class Value>
  void drop(const TextGroup& g, const Dropout& dropout, Value* rows) const {
    const int E = blocks();
    for (long i = 0; i < g.rows(); i++) {
      const uint64_t row_key = dropout.row_key(g.row_ids[i]);
      for (int c = 0; c < E; c++) {
        auto* row = rows + row_offset(i, E) + c * BLOCK_ELEMS;
        const uint32_t mask = dropout.mask(row_key, (uint32_t)c);
        f32x16 low, high;
        load_row(row, low, high);
        store_row(row, zero_dropped(low * dropout.scale, mask),
                  zero_dropped(high * dropout.scale, mask >> 16));
      }
    }
  }

  void project(const TextGroup& g, int hidden_blocks, const elem_t* next_b, LayerScratch& s,
               elem_t* x) const {
    const int E = blocks();
    gemm({s.context, (long)E * BLOCK_ELEMS, g.half_last}, projection.forward_operand(),
         {g.m_blocks, 0, hidden_blocks, E, next_b}, {s.acc_column, BLOCK_ELEMS, 0}, NoLowRankTerm(),
         [&](int m, int n, const float* acc, int row_begin, int row_end) {
           const f32x16 b0 = load(projection_bias + n * BLOCK_SIDE),
                        b1 = load(projection_bias + n * BLOCK_SIDE + 16);
           elem_t* block = x + ((long)m * hidden_blocks + n) * BLOCK_ELEMS;
           for (int i = row_begin; i < row_end; i++)
             store_row(block + i * BLOCK_SIDE, load(acc + i * BLOCK_SIDE) + b0,
                       load(acc + i * BLOCK_SIDE + 16) + b1);
         });
  }
};

}  // namespace submillion
