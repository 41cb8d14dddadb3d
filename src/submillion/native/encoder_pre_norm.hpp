// Runs an encoder of pre-norm layers, whose states stay in float32 between layers.
#pragma once
#include "encoder.hpp"

namespace submillion {
namespace {

// Writes the input of the first layer: the embeddings, or the states that the batch provides.
inline void Encoder::load_states(const TextGroup& g) const {
  const int D = config.hidden_blocks;
  if (!batch.input_states) return embeddings.forward(g, batch, config, g.states);
  memset(g.states, 0, (size_t)g.m_blocks * D * BLOCK_ELEMS * sizeof(float));
  for (size_t t = 0; t < g.texts.size(); t++)
    for (int r = 0; r < g.lengths[t]; r++) {
      const elem_t* from =
          (const elem_t*)batch.input_states + (batch.offsets[g.texts[t]] + r) * D * BLOCK_SIDE;
      for (int c = 0; c < D; c++) {
        f32x16 low, high;
        load_row(from + c * BLOCK_SIDE, low, high);
        store_row(g.states + row_offset(g.starts[t] + r, D) + c * BLOCK_ELEMS, low, high);
      }
    }
}

// Rounds the states to elem_t, as those are that the prefix cache holds.
inline void Encoder::round_states(const TextGroup& g) const {
  alignas(64) elem_t rounded[BLOCK_SIDE];
  for (long at = 0; at < (long)g.m_blocks * config.hidden_blocks * BLOCK_ELEMS; at += BLOCK_SIDE) {
    f32x16 low, high;
    load_row(g.states + at, low, high);
    store_row(rounded, low, high);
    load_row(rounded, low, high);
    store_row(g.states + at, low, high);
  }
}

inline void Encoder::store_states(const TextGroup& g) const {
  const int D = config.hidden_blocks;
  for (size_t t = 0; t < g.texts.size(); t++)
    for (int r = 0; r < g.lengths[t]; r++) {
      elem_t* to = (elem_t*)batch.output_states + (batch.offsets[g.texts[t]] + r) * D * BLOCK_SIDE;
      for (int c = 0; c < D; c++) {
        f32x16 low, high;
        load_row(g.states + row_offset(g.starts[t] + r, D) + c * BLOCK_ELEMS, low, high);
        store_row(to + c * BLOCK_SIDE, low, high);
      }
    }
}

inline void Encoder::run_pre_norm_layers() {
  run_on_threads([&](int t) {
    for (int i : groups_of_thread[t]) load_states(groups[i]);
    for (int l = (int)batch.first_layer; l < batch.end_layer; l++)
      for (int i : groups_of_thread[t]) {
        const TextGroup& g = groups[i];
        // A pass gives the same bits whether it begins at the lowest adapted layer, with cached states, or
        // below.
        if (l > batch.first_layer && l == lowest_adapted) round_states(g);
        float* features = features_of(l, t);
        pre_norm_layer(l).forward(g, g.states, features, saves(l) ? &saved[i][l] : nullptr, scratch[t]);
        if (cls_only(l)) store_features(g, features);
        if (is_averaged(l)) layer(l).divide_sums(g);
      }
    if (batch.output_states)
      for (int i : groups_of_thread[t]) store_states(groups[i]);
  });
}

}  // namespace
}  // namespace submillion
