// The relative positions of an encoder with disentangled attention: their table, and its rows in each batch.
#pragma once
#include "encoder.hpp"
#include "layer_positions.hpp"

namespace submillion {
namespace {

inline void Encoder::set_relative_positions(const SmRelativePositions& table) {
  RelativePositions& relative = config.relative;
  relative.embeddings = table.embeddings, relative.row_of_distance = table.row_of_distance;
  relative.reach = (long)table.reach, relative.dropout = table.dropout;
  relative.content_to_position = table.content_to_position != 0;
  relative.position_to_content = table.position_to_content != 0;
  const int terms = 1 + relative.content_to_position + relative.position_to_content;
  config.head.scale = 1.f / std::sqrt((float)(config.head.head_blocks * BLOCK_SIDE * terms));
}

// Returns the rows of the table that the distances within texts of `longest` tokens have.
inline PositionRows Encoder::position_rows(long longest) {
  PositionRows p;
  p.first_row = config.relative.row(1 - longest);
  p.rows = config.relative.row(longest - 1) + 1 - p.first_row;
  p.blocks = (int)((p.rows + BLOCK_SIDE - 1) / BLOCK_SIDE);
  uint64_t* row_ids = batch_arena.allocate<uint64_t>(p.blocks * BLOCK_SIDE);
  for (long i = 0; i < p.blocks * BLOCK_SIDE; i++)
    row_ids[i] = i < p.rows ? POSITION_ROW | (uint64_t)(p.first_row + i) : PADDING_ROW;
  p.row_ids = row_ids;
  return p;
}

// Allocates memory for the relative positions of each layer.
//
// If nothing in a layer changes them, neither dropout nor adapters, all of them are projected once and kept.
inline void Encoder::allocate_positions() {
  positions.clear(), position_blocks = 0;
  if (!config.relative.embeddings) return;
  long longest = 1;
  for (long i = 0; i < batch.texts; i++)
    longest = std::max<long>(longest, batch.offsets[i + 1] - batch.offsets[i]);
  positions.resize(config.layers), frozen_positions.resize(config.layers);
  const bool drops = batch.training && config.relative.dropout > 0;
  for (int l = (int)batch.first_layer; l < batch.end_layer; l++) {
    const LoraAdapter* lora = &adapters[l * NUM_TARGETS];
    const bool frozen = !drops && !lora[QUERY].enabled() && !lora[KEY].enabled();
    PositionRows& p = positions[l];
    if (frozen) p = frozen_positions[l];
    if (p.projected) continue;
    p = position_rows(frozen ? config.relative.reach : longest);
    p.pending = true, p.frozen = frozen;
    position_blocks = std::max<long>(position_blocks, p.blocks);
    const long values = (long)p.blocks * config.hidden_blocks * BLOCK_ELEMS;
    p.x = batch_arena.allocate<elem_t>(values);
    p.projected = (frozen ? weight_arena : batch_arena).allocate<elem_t>(2 * values);
    for (int t : {QUERY, KEY}) {
      if (!lora[t].enabled()) continue;
      p.lora_u[t] = batch_arena.allocate<elem_t>((long)p.blocks * lora[t].rank_blocks() * BLOCK_ELEMS);
      if (lora[t].gain) p.dora_z[t] = batch_arena.allocate<elem_t>(values);
    }
  }
}

// Writes the rows of the relative embeddings that enter a layer, [blocks][hidden_blocks].
inline void Encoder::load_positions(int layer) {
  const PositionRows& p = positions[layer];
  const long D = config.hidden_blocks;
  const bool drops = batch.training && config.relative.dropout > 0;
  const Dropout dropout =
      drops ? Dropout(config.relative.dropout, batch.seed, layer, RELATIVE_POSITIONS) : Dropout();
  for (long row = 0; row < p.blocks * BLOCK_SIDE; row++) {
    const float* from = config.relative.embeddings + (p.first_row + row) * D * BLOCK_SIDE;
    const uint64_t row_key = dropout.row_key(p.row_ids[row]);
    for (int c = 0; c < D; c++) {
      f32x16 low = {}, high = {};
      if (row < p.rows) low = load(from + c * BLOCK_SIDE), high = load(from + c * BLOCK_SIDE + 16);
      const uint32_t mask = dropout.mask(row_key, (uint32_t)c);
      store_row(p.x + row_offset(row, D) + c * BLOCK_ELEMS, zero_dropped(low * dropout.scale, mask),
                zero_dropped(high * dropout.scale, mask >> 16));
    }
  }
}

// Projects the relative positions in every layer; each is projected by one thread.
inline void Encoder::project_positions() {
  if (positions.empty()) return;
  std::atomic<int> next{(int)batch.first_layer};
  run_on_threads([&](int t) {
    for (int l; (l = next++) < batch.end_layer;) {
      PositionRows& p = positions[l];
      if (!p.pending) continue;
      load_positions(l);
      layer(l).project_positions(saves(l), scratch[t]);
      p.pending = false;
      if (p.frozen) frozen_positions[l] = p;
    }
  });
}

// Memory for the gradients that a group's relative positions give to the adapters of a layer.
inline void Encoder::allocate_position_gradients(int layer, SavedActivations& s) {
  if (positions.empty()) return;
  for (int t : {QUERY, KEY}) {
    const LoraAdapter& lora = adapters[layer * NUM_TARGETS + t];
    if (!lora.enabled()) continue;
    s.position_da[t] = batch_arena.allocate<float>(lora.r * lora.inputs);
    s.position_db[t] = batch_arena.allocate<float>(lora.r * lora.outputs);
    if (lora.gain) s.position_dgain[t] = batch_arena.allocate<float>(lora.outputs);
  }
}

// n: blocks of the longest text.
inline void Encoder::allocate_position_scratch(long n, LayerScratch& s) {
  if (positions.empty()) return;
  const long head_blocks = config.head.head_blocks, table = 2 * n * head_blocks,
             heads = std::max<long>(1, HEADS_CHUNK / head_blocks);
  auto blocks = [&](long count) { return scratch_arena.allocate<elem_t>(count * BLOCK_ELEMS); };
  auto f32_blocks = [&](long count) { return scratch_arena.allocate<float>(count * BLOCK_ELEMS); };
  const bool backward = batch.save_activations != 0;
  RelativeScratch& r = s.attention.relative;
  r.scores = f32_blocks(n * n), r.transposed = f32_blocks(n), r.by_distance = f32_blocks(n + 1);
  r.line = scratch_arena.allocate<float>((n + 1) * BLOCK_SIDE);
  r.skewed = blocks(backward ? n * (n + 1) : 0), r.column = blocks(backward ? n : 0);
  PositionScratch& p = s.positions;
  p.by_distance = blocks(table), p.channels = blocks(2 * heads * table);
  p.rows = blocks(backward ? 2 * table : 0), p.gradient = f32_blocks(backward ? 2 * table : 0);
  p.row_gradient = f32_blocks(backward ? position_blocks * head_blocks : 0);
  p.dprojected = blocks(backward ? position_blocks * 2 * config.hidden_blocks : 0);
}

}  // namespace
}  // namespace submillion
