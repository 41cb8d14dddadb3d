// Divides a batch among groups and threads, and allocates what a pass needs.
#pragma once
#include "encoder.hpp"

namespace submillion {
namespace {

inline void Encoder::form_groups() {
  const int multiple = std::max<int>(2, (int)batch.threads);
  long total = batch.offsets[batch.texts];
  long wanted = (total + batch.group_rows - 1) / batch.group_rows;
  long count = std::min<long>(batch.texts, (wanted + multiple - 1) / multiple * multiple);
  std::vector<long> lengths(batch.texts);
  for (int i = 0; i < batch.texts; i++) lengths[i] = batch.offsets[i + 1] - batch.offsets[i];
  const Grouping grouping = group_texts(lengths, count, BLOCK_SIDE / 2);
  groups.assign(count, TextGroup());
  for (long g = 0; g < count; g++) {
    groups[g].texts = grouping.texts[g];
    int row = 0;
    for (int text : grouping.texts[g]) {
      groups[g].starts.push_back(row), groups[g].lengths.push_back((int)lengths[text]);
      row += (int)lengths[text];
    }
  }
  batch_arena.reset();
  for (Arena* arena : {&weight_arena, &batch_arena, &scratch_arena}) arena->promote();
  const int D = config.hidden_blocks;
  for (size_t i = 0; i < groups.size(); i++) {
    TextGroup& g = groups[i];
    g.m_blocks = (int)((grouping.rows[i] + BLOCK_SIDE - 1) / BLOCK_SIDE);
    g.cls_blocks = (int)((g.texts.size() + BLOCK_SIDE - 1) / BLOCK_SIDE);
    auto half_last = [](long rows) { return rows % BLOCK_SIDE > 0 && rows % BLOCK_SIDE <= BLOCK_SIDE / 2; };
    g.half_last = half_last(grouping.rows[i]), g.cls_half_last = half_last((long)g.texts.size());
    g.row_ids = batch_arena.allocate<uint64_t>(g.rows());
    g.cls_row_ids = batch_arena.allocate<uint64_t>(g.cls_blocks * BLOCK_SIDE);
    std::fill(g.row_ids, g.row_ids + g.rows(), PADDING_ROW);
    std::fill(g.cls_row_ids, g.cls_row_ids + g.cls_blocks * BLOCK_SIDE, PADDING_ROW);
    for (size_t t = 0; t < g.texts.size(); t++) {
      g.cls_row_ids[t] = (uint64_t)g.texts[t] << 16;
      for (int r = 0; r < g.lengths[t]; r++)
        g.row_ids[g.starts[t] + r] = (uint64_t)g.texts[t] << 16 | (uint64_t)r;
    }
    const long values = (long)g.m_blocks * D * BLOCK_ELEMS;
    g.ping = config.pre_norm ? nullptr : batch_arena.allocate<elem_t>(values);
    g.pong = config.pre_norm ? nullptr : batch_arena.allocate<elem_t>(values);
    g.states = config.pre_norm ? batch_arena.allocate<float>(values) : nullptr;
    g.dstates =
        batch.save_activations ? batch_arena.allocate<float>((long)g.m_blocks * D * BLOCK_ELEMS) : nullptr;
  }
  groups_of_thread.assign(batch.threads, {});
  std::vector<long> load(batch.threads);
  for (size_t i = 0; i < groups.size(); i++) {
    long t = std::min_element(load.begin(), load.end()) - load.begin();
    groups_of_thread[t].push_back((int)i), load[t] += groups[i].m_blocks;
  }
}

inline void Encoder::allocate_scratch() {
  long max_blocks = 0, max_cls_blocks = 0, longest = 0;
  for (const TextGroup& g : groups) {
    max_blocks = std::max<long>(max_blocks, g.m_blocks);
    max_cls_blocks = std::max<long>(max_cls_blocks, g.cls_blocks);
    for (int length : g.lengths)
      longest = std::max<long>(longest, (length + BLOCK_SIDE - 1) / BLOCK_SIDE * BLOCK_SIDE);
  }
  const long D = config.hidden_blocks, F = config.ffn_blocks, text_blocks = longest / BLOCK_SIDE,
             head_blocks = text_blocks * config.head.head_blocks;
  const long m_blocks = std::max({max_blocks, max_cls_blocks, position_blocks});
  bool unchunked_ffn = false;
  long rank_blocks = 1, dora_blocks = 0;  // of the largest rank; of the widest rows of DoRA with dropout
  for (int l = 0; l < config.layers; l++) {
    unchunked_ffn |=
        adapters[l * NUM_TARGETS + FFN_UP].enabled() || adapters[l * NUM_TARGETS + FFN_DOWN].enabled();
    for (int t = 0; t < NUM_TARGETS; t++) {
      const LoraAdapter& lora = adapters[l * NUM_TARGETS + t];
      rank_blocks = std::max<long>(rank_blocks, lora.rank_blocks());
      if (lora.drops_base_input())
        dora_blocks = std::max({dora_blocks, 3 * D, lora.inputs / BLOCK_SIDE, lora.outputs / BLOCK_SIDE});
    }
  }
  scratch_arena.reset();
  scratch.resize(batch.threads);
  for (LayerScratch& s : scratch) {
    auto blocks = [&](long count) { return scratch_arena.allocate<elem_t>(count * BLOCK_ELEMS); };
    auto f32_blocks = [&](long count) { return scratch_arena.allocate<float>(count * BLOCK_ELEMS); };
    const long widest = std::max<long>(D, embeddings.blocks());
    s.qkv = blocks(m_blocks * 3 * D), s.context = blocks(m_blocks * widest);
    s.ffn_input = blocks(m_blocks * D);
    s.ffn_act = blocks(m_blocks * (config.pre_norm ? 2 * F
                                   : unchunked_ffn ? F
                                                   : std::min<long>(F, FFN_CHUNK)));
    s.gelu_column = blocks(config.pre_norm ? m_blocks : 0);
    s.dbranch = blocks(m_blocks * D), s.dresidual = blocks(m_blocks * D);
    s.dropped_rows = blocks(KC_BLOCKS);
    s.cls_x = blocks(max_cls_blocks * D), s.cls_q = blocks(max_cls_blocks * D);
    for (elem_t*& u : s.lora_u) u = blocks(m_blocks * rank_blocks);
    s.pack_buffer = blocks(m_blocks * (1 + rank_blocks));
    s.acc_f32 = f32_blocks(m_blocks * widest), s.acc_column = f32_blocks(std::max<long>(m_blocks, 2));
    s.dora_rows = blocks(m_blocks * dora_blocks), s.dora_stride = m_blocks * D * BLOCK_ELEMS;
    s.lora_acc = f32_blocks(rank_blocks), s.lora_dx = f32_blocks(6);
    s.row_keys = scratch_arena.allocate<uint64_t>(3 * m_blocks * BLOCK_SIDE);
    s.row_keys2 = scratch_arena.allocate<uint64_t>(m_blocks * BLOCK_SIDE);
#ifdef SM_INT8_PRODUCTS
    bool has_int8 = false;
    for (const LayerWeights& w : weights) has_int8 |= w.out.int8_forward.panels > 0;
    // The widest product: the FFN's, if it is not cut, or a part of those to queries, keys and values.
    const bool cuts = !unchunked_ffn && !config.pre_norm;
    const long widest_cut = has_int8 ? std::max<long>({D, cuts ? +FFN_CHUNK : F, 2 * SECTION_BLOCKS}) : 0;
    for (RoundedRows& r : s.rounded) {
      const long rows = has_int8 ? m_blocks * BLOCK_SIDE : 0, sections = widest_cut / FFN_CHUNK + 4;
      r.rows.capacity = rows;
      r.rows.data = scratch_arena.allocate<activation_t>((widest_cut / 2 + 4) * rows * LINE);
      r.rows.scales = scratch_arena.allocate<float>(sections * rows);
      r.rows.zeros = scratch_arena.allocate<float>(sections * rows);
      r.row = scratch_arena.allocate<float>(SECTION_BLOCKS * BLOCK_SIDE);
    }
#endif
    AttentionScratch& a = s.attention;
    for (elem_t** each : {&a.q, &a.k, &a.v, &a.dcontext, &a.k_panels, &a.v_panels, &a.panels})
      *each = blocks(head_blocks);
    // The forward pass has the probabilities of 32 queries at a time, the backward pass those of all.
    a.probs = blocks(batch.save_activations ? text_blocks * text_blocks : text_blocks);
    for (elem_t** each : {&a.dscores, &a.probs_t, &a.dscores_t})
      *each = blocks(batch.save_activations ? text_blocks * text_blocks : 0);
    a.scores = f32_blocks(text_blocks), a.dprobs = f32_blocks(text_blocks);
    a.acc = f32_blocks(config.head.head_blocks);
    allocate_position_scratch(text_blocks, s);
  }
}

inline void Encoder::allocate_saved() {
  saved.assign(groups.size(), {});
  if (!batch.save_activations) return;
  const long D = config.hidden_blocks, F = config.ffn_blocks;
  for (size_t i = 0; i < groups.size(); i++) {
    saved[i].resize(config.layers);
    for (int l = std::max<int>(lowest_adapted, (int)batch.first_layer); l < batch.end_layer; l++) {
      const TextGroup& g = groups[i];
      SavedActivations& s = saved[i][l];
      const LoraAdapter* lora = &adapters[l * NUM_TARGETS];
      const bool cls = cls_only(l);
      const long m_blocks = cls ? g.cls_blocks : g.m_blocks;
      auto blocks = [&](long count) { return batch_arena.allocate<elem_t>(count * BLOCK_ELEMS); };
      s.qkv = blocks(g.m_blocks * 3 * D);
      if (cls && !config.pre_norm) s.cls_x = blocks(m_blocks * D), s.cls_q = blocks(m_blocks * D);
      if (lora[ATTENTION_OUT].enabled()) s.context = blocks(m_blocks * D);
      if (lora[FFN_UP].enabled() && !config.pre_norm) s.ffn_input = blocks(m_blocks * D);
      if (lora[FFN_DOWN].enabled()) s.gelu_output = blocks(m_blocks * F);
      const long m_blocks1 = config.pre_norm ? g.m_blocks : m_blocks;  // before attention, or after
      s.x_hat1 = blocks(m_blocks1 * D), s.x_hat2 = blocks(m_blocks * D);
      s.gelu_derivative = blocks(m_blocks * F);
      if (config.pre_norm) s.gelu_value = blocks(m_blocks * F);
      s.log_sum_exp = batch_arena.allocate<float>(config.heads * m_blocks * BLOCK_SIDE);
      s.rstd1 = batch_arena.allocate<float>(m_blocks1 * BLOCK_SIDE);
      s.rstd2 = batch_arena.allocate<float>(m_blocks * BLOCK_SIDE);
      if (config.pre_norm && is_averaged(l)) {
        s.x_hat_final = blocks(m_blocks * D);
        s.rstd_final = batch_arena.allocate<float>(m_blocks * BLOCK_SIDE);
      }
      for (int t = 0; t < NUM_TARGETS; t++) {
        if (!lora[t].enabled()) continue;
        const bool all_rows = t == KEY || t == VALUE || (t == QUERY && config.pre_norm);
        s.lora_u[t] = blocks((all_rows ? g.m_blocks : m_blocks) * lora[t].rank_blocks());
        s.da[t] = batch_arena.allocate<float>(lora[t].r * lora[t].inputs);
        s.db[t] = batch_arena.allocate<float>(lora[t].r * lora[t].outputs);
        if (!lora[t].gain) continue;
        s.dora_z[t] = blocks((all_rows ? g.m_blocks : m_blocks) * config.output_blocks(t));
        s.dgain[t] = batch_arena.allocate<float>(lora[t].outputs);
      }
      allocate_position_gradients(l, s);
    }
  }
}

}  // namespace
}  // namespace submillion
