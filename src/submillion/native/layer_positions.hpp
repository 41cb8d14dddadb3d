// The relative positions of a layer with disentangled attention: tables of its heads, and their gradients.
#pragma once
#include "layer.hpp"

namespace submillion {

// Returns the tables of `heads` heads, from `head` on, for the longest text of a group; null if the layer has
// no relative positions. `backward`: also what the backward pass needs, of one head, with gradients of zero.
inline const RelativeHead* Layer::relative_heads(const TextGroup& g, int head, int heads, bool backward,
                                                 LayerScratch& s) const {
  if (!positions) return nullptr;
  const int head_blocks = config.head.head_blocks;
  const long longest = *std::max_element(g.lengths.begin(), g.lengths.end()),
             center = (longest + BLOCK_SIDE - 1) / BLOCK_SIDE, table_blocks = 2 * center * head_blocks;
  PositionScratch& p = s.positions;
  auto fill = [&](int i, Target target, long number) {
    DistanceTable table;
    table.center = center;
    copy_by_distance(target, head + i, center, longest, p.by_distance);
    elem_t* channels = p.channels + number * table_blocks * BLOCK_ELEMS;
    pack_channels_as_k(p.by_distance, 2 * center, head_blocks, channels);
    table.channels = channels;
    if (!backward) return table;
    elem_t* rows = p.rows + number * table_blocks * BLOCK_ELEMS;
    pack_rows_as_k(p.by_distance, 2 * center, head_blocks, rows);
    table.rows = rows;
    if (!adapters[target].enabled()) return table;
    table.gradient = p.gradient + number * table_blocks * BLOCK_ELEMS;
    memset(table.gradient, 0, table_blocks * BLOCK_ELEMS * sizeof(float));
    return table;
  };
  for (int i = 0; i < heads; i++) {
    p.heads[i] = RelativeHead();
    if (config.relative.content_to_position) p.heads[i].keys = fill(i, KEY, 2 * i);
    if (config.relative.position_to_content) p.heads[i].queries = fill(i, QUERY, 2 * i + 1);
  }
  return p.heads;
}

// Copies the rows of a head's P_K (KEY) or P_Q (QUERY) in the order of their distances, [2 center] x
// [head_blocks].
inline void Layer::copy_by_distance(Target target, int head, long center, long longest, elem_t* to) const {
  const int D = config.hidden_blocks, head_blocks = config.head.head_blocks,
            first_col = (target == KEY ? D : 0) + head * head_blocks;
  for (long i = 0; i < 2 * center * BLOCK_SIDE; i++) {
    const long distance = i - center * BLOCK_SIDE;
    const bool occurs = -longest < distance && distance < longest;
    const long row = occurs ? position_row(target, distance) : 0;
    for (int c = 0; c < head_blocks; c++) {
      elem_t* at = to + row_offset(i, head_blocks) + c * BLOCK_ELEMS;
      if (occurs)
        memcpy(at, positions->projected + row_offset(row, 2 * D) + (first_col + c) * BLOCK_ELEMS,
               BLOCK_SIDE * sizeof(elem_t));
      else
        memset(at, 0, BLOCK_SIDE * sizeof(elem_t));
    }
  }
}

// Adds up a head's gradients by distance for each row of P_K and P_Q, and writes the sums to `dprojected`.
inline void Layer::store_position_gradients(const TextGroup& g, int head, LayerScratch& s) const {
  const int D = config.hidden_blocks, head_blocks = config.head.head_blocks;
  const long longest = *std::max_element(g.lengths.begin(), g.lengths.end());
  PositionScratch& p = s.positions;
  for (Target target : {QUERY, KEY}) {
    const DistanceTable& table = target == KEY ? p.heads[0].keys : p.heads[0].queries;
    const int first_col = (target == KEY ? D : 0) + head * head_blocks;
    if (!adapters[target].enabled()) continue;
    memset(p.row_gradient, 0, (size_t)positions->blocks * head_blocks * BLOCK_ELEMS * sizeof(float));
    for (long distance = 1 - longest; table.gradient && distance < longest; distance++) {
      const float* from = table.gradient + row_offset(distance + table.center * BLOCK_SIDE, head_blocks);
      float* to = p.row_gradient + row_offset(position_row(target, distance), head_blocks);
      for (int c = 0; c < head_blocks; c++, from += BLOCK_ELEMS, to += BLOCK_ELEMS)
        store_row(to, load(to) + load(from), load(to + 16) + load(from + 16));
    }
    for (long row = 0; row < positions->blocks * BLOCK_SIDE; row++)
      for (int c = 0; c < head_blocks; c++) {
        const float* from = p.row_gradient + row_offset(row, head_blocks) + c * BLOCK_ELEMS;
        store_row(p.dprojected + row_offset(row, 2 * D) + (first_col + c) * BLOCK_ELEMS, load(from),
                  load(from + 16));
      }
  }
}

// Computes the gradients that the adapters of queries and keys get through the relative positions.
inline void Layer::position_adapters_backward(const SavedActivations& saved, LayerScratch& s) const {
  const long D = config.hidden_blocks;
  for (Target t : {QUERY, KEY}) {
    if (!adapters[t].enabled()) continue;
    SavedActivations own;
    own.lora_u[t] = positions->lora_u[t], own.dora_z[t] = positions->dora_z[t];
    own.da[t] = saved.position_da[t], own.db[t] = saved.position_db[t];
    own.dgain[t] = saved.position_dgain[t];
    const OperandA dy{s.positions.dprojected + t * D * BLOCK_ELEMS, 2 * D * BLOCK_ELEMS};
    adapter_backward(t, positions->x, dy, positions->blocks, positions->row_ids, own, s.lora_u[t], s);
  }
}

// Projects the relative embeddings to P_Q and P_K, with the matrices and adapters of queries and keys.
inline void Layer::project_positions(bool save, LayerScratch& s) const {
  SavedActivations own;
  own.dora_z[QUERY] = positions->dora_z[QUERY], own.dora_z[KEY] = positions->dora_z[KEY];
  const int D = config.hidden_blocks;
  for (Target t : {QUERY, KEY})
    adapter_down(t, positions->x, positions->blocks, positions->row_ids, positions->lora_u[t],
                 save ? &own : nullptr, s);
  project_qkv(
      positions->x, positions->blocks, false, 0, 2 * D, {positions->projected, 2 * D, 0, nullptr},
      weights.qkv.floats.forward, [&](int target) { return positions->lora_u[target]; }, s);
}

}  // namespace submillion
