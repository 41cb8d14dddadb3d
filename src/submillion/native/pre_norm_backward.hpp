// Backward pass of a pre-norm layer over one group of texts.
#pragma once
#include "pre_norm_layer.hpp"

namespace submillion {

// Rounds a gradient for a matrix product, after the branch's dropout.
inline void round_gradient(const float* gradient, int m_blocks, int col_blocks, const Dropout& dropout,
                           const uint64_t* row_keys, elem_t* to) {
  for (int m = 0; m < m_blocks; m++)
    for (int c = 0; c < col_blocks; c++) {
      const long at = ((long)m * col_blocks + c) * BLOCK_ELEMS;
      for (int i = 0; i < BLOCK_SIDE; i++) {
        f32x16 low, high;
        load_row(gradient + at + i * BLOCK_SIDE, low, high);
        if (dropout.enabled()) {
          const uint32_t mask = dropout.mask(row_keys[m * BLOCK_SIDE + i], (uint32_t)c);
          low = zero_dropped(low * dropout.scale, mask);
          high = zero_dropped(high * dropout.scale, mask >> 16);
        }
        store_row(to + at + i * BLOCK_SIDE, low, high);
      }
    }
}

// Turns the gradient of the layer's output, g.dstates (in the last layer, if only the first tokens count,
// `cls_gradient`, float32 [cls_blocks][hidden_blocks]), into that of its input if `needs_dx` is set. The
// gradients of the adapters go to `saved`.
inline void PreNormLayer::backward(const TextGroup& g, float* cls_gradient, SavedActivations& saved,
                                   bool needs_dx, LayerScratch& s) const {
  const int D = config.hidden_blocks;
  const Rows rows = rows_after_attention(g), all{g.m_blocks, g.half_last, g.row_ids};
  float* gradient = cls_only ? cls_gradient : g.dstates;
  for (int m = 0; means && m < rows.m_blocks; m++) {
    const long at = (long)m * D * BLOCK_ELEMS;
    replace_with_layer_norm_gradient(gradient + at, D, final_gamma, saved.x_hat_final + at,
                                     saved.rstd_final + m * BLOCK_SIDE);
  }
  ffn_backward(rows, gradient, saved, s);
  context_backward(rows, gradient, saved, s);
  if (!needs_dx && !adapters[QUERY].enabled()) return;
  attention_heads_backward(g, rows, saved, s);
  const OperandA dqkv{s.qkv, 3l * D * BLOCK_ELEMS};
  if (adapters[QUERY].enabled())
    norm_output(g.m_blocks, saved.x_hat1, weights.norm1_gamma, weights.norm1_beta, s.ffn_input);
  if (!needs_dx) {
    if (adapters[QUERY].enabled())
      adapter_backward(QUERY, s.ffn_input, dqkv, g.m_blocks, g.row_ids, saved, s.lora_u[QUERY], s);
    return;
  }
  float* dnormed = s.acc_f32;
  project_back(
      QUERY, s.ffn_input, dqkv, weights.qkv, all, {dnormed, (long)D * BLOCK_ELEMS, BLOCK_ELEMS},
      weights.down.backward_block(), saved,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        store_row(dnormed + ((long)m * D + n) * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
      },
      s);
  if (cls_only) {
    memset(g.dstates, 0, (size_t)g.m_blocks * D * BLOCK_ELEMS * sizeof(float));
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int c = 0; c < D; c++)
        memcpy(g.dstates + row_offset(g.starts[t], D) + c * BLOCK_ELEMS,
               cls_gradient + row_offset((long)t, D) + c * BLOCK_ELEMS, BLOCK_SIDE * sizeof(float));
  }
  for (int m = 0; m < g.m_blocks; m++) {
    const long at = (long)m * D * BLOCK_ELEMS;
    add_layer_norm_gradient(dnormed + at, D, weights.norm1_gamma, saved.x_hat1 + at,
                            saved.rstd1 + m * BLOCK_SIDE, g.dstates + at);
  }
}

// Adds the gradient that passes through the feed-forward branch to `gradient`.
inline void PreNormLayer::ffn_backward(Rows rows, float* gradient, SavedActivations& saved,
                                       LayerScratch& s) const {
  const int D = config.hidden_blocks, F = config.ffn_blocks;
  round_gradient(gradient, rows.m_blocks, D, Dropout(), nullptr, s.dbranch);
  const Dropout act_dropout = dropout(config.ffn_output_dropout, FFN_OUTPUT);
  const uint64_t* keys =
      row_keys(act_dropout, rows.ids, rows.m_blocks, s.row_keys + (long)rows.m_blocks * BLOCK_SIDE);
  elem_t* dglu = s.ffn_act;  // [m_blocks][2 ffn_blocks], in the order of the panels of `up`
  project_back(
      FFN_DOWN, saved.gelu_output, {s.dbranch, (long)D * BLOCK_ELEMS}, weights.down, rows,
      {s.acc_column, BLOCK_ELEMS, 0}, weights.up.backward_block(), saved,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        if (act_dropout.enabled()) {
          const uint32_t mask = act_dropout.mask(keys[m * BLOCK_SIDE + i], (uint32_t)n);
          low = zero_dropped(low * act_dropout.scale, mask);
          high = zero_dropped(high * act_dropout.scale, mask >> 16);
        }
        const long at = ((long)n * rows.m_blocks + m) * BLOCK_ELEMS + i * BLOCK_SIDE;
        elem_t* to = dglu + ((long)m * 2 * F + 2 * n) * BLOCK_ELEMS + i * BLOCK_SIDE;
        f32x16 f0, f1;
        load_row(saved.gelu_derivative + at, f0, f1);
        store_row(to, low * f0, high * f1);
        load_row(saved.gelu_value + at, f0, f1);
        store_row(to + BLOCK_ELEMS, low * f0, high * f1);
      },
      s);
  if (adapters[FFN_UP].enabled())
    norm_output(rows.m_blocks, saved.x_hat2, weights.norm2_gamma, weights.norm2_beta, s.ffn_input);
  float* dnormed = s.acc_f32;
  project_back(
      FFN_UP, s.ffn_input, {dglu, 2l * F * BLOCK_ELEMS}, weights.up, rows,
      {dnormed, (long)D * BLOCK_ELEMS, BLOCK_ELEMS}, weights.out.backward_block(), saved,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        store_row(dnormed + ((long)m * D + n) * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
      },
      s);
  for (int m = 0; m < rows.m_blocks; m++) {
    const long at = (long)m * D * BLOCK_ELEMS;
    add_layer_norm_gradient(dnormed + at, D, weights.norm2_gamma, saved.x_hat2 + at,
                            saved.rstd2 + m * BLOCK_SIDE, gradient + at);
  }
}

// Computes the gradient of the attention context, in s.context.
inline void PreNormLayer::context_backward(Rows rows, const float* gradient, SavedActivations& saved,
                                           LayerScratch& s) const {
  const int D = config.hidden_blocks;
  const Dropout branch_dropout = dropout(config.attention_output_dropout, ATTENTION_OUTPUT);
  round_gradient(gradient, rows.m_blocks, D, branch_dropout,
                 row_keys(branch_dropout, rows.ids, rows.m_blocks, s.row_keys), s.dbranch);
  elem_t* dcontext = s.context;
  project_back(
      ATTENTION_OUT, saved.context, {s.dbranch, (long)D * BLOCK_ELEMS}, weights.out, rows,
      {s.acc_column, BLOCK_ELEMS, 0}, weights.qkv.backward_block(), saved,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        store_row(dcontext + ((long)m * D + n) * BLOCK_ELEMS + i * BLOCK_SIDE, low, high);
      },
      s);
}

// Computes the gradients of queries, keys and values, [m_blocks][3 hidden_blocks] in s.qkv.
inline void PreNormLayer::attention_heads_backward(const TextGroup& g, Rows rows,
                                                   const SavedActivations& saved, LayerScratch& s) const {
  const int D = config.hidden_blocks;
  elem_t *dcontext = s.context, *dqkv = s.qkv;
  if (cls_only) memset(dqkv, 0, (size_t)g.m_blocks * 3 * D * BLOCK_ELEMS * sizeof(elem_t));
  const Dropout attention_dropout = dropout(config.attention_dropout, ATTENTION);
  for (size_t t = 0; t < g.texts.size(); t++) {
    const long row = cls_only ? (long)t : g.starts[t];
    RowView k{saved.qkv, 3l * D, D, g.starts[t], g.lengths[t]}, q = k, v = k;
    q.first_col = 0, v.first_col = 2 * D;
    if (cls_only) q.rows = 1;
    RowView dq = q, dk = k, dv = v;
    dq.data = dk.data = dv.data = dqkv;
    attention_backward(head, 0, head.heads, q, k, v, {dcontext, D, 0, row, q.rows}, dq, dk, dv,
                       attention_dropout, (uint64_t)g.texts[t], nullptr, saved.log_sum_exp + row,
                       (long)rows.m_blocks * BLOCK_SIDE, s.attention);
  }
  clear_padding(g, dqkv, 3 * D);
}

// Computes dy W and the share of the adapter of `target`, and calls `store(m, n, i, low, high)` with each
// row. x: the input of the matrix; needed if it has an adapter, whose gradients go to `saved`.
template <class Store>
void PreNormLayer::project_back(int target, const elem_t* x, OperandA dy, const FrozenMatrix& matrix,
                                Rows rows, Accumulator acc, const elem_t* next_b, SavedActivations& saved,
                                Store&& store, LayerScratch& s) const {
  const LoraAdapter& lora = adapters[target];
  elem_t* du = s.lora_u[target];
  if (lora.enabled()) adapter_backward(target, x, dy, rows.m_blocks, rows.ids, saved, du, s);
  const uint64_t* keys =
      lora.enabled() ? row_keys(lora.dropout, rows.ids, rows.m_blocks, s.row_keys) : nullptr;
  // Blocks complete in the order n, m, and two results of lora_dx_block are needed at a time.
  auto lora_dx = [&](int m, int n) { return s.lora_dx + (long)((n * rows.m_blocks + m) % 2) * BLOCK_ELEMS; };
  // A long k dimension is split, with all panels for each part: that part of A stays in L2.
  const int k_blocks = config.output_blocks(target),
            most = matrix.int8_backward.panels ? +SECTION_BLOCKS : +KC_BLOCKS,
            part = acc.n_stride && k_blocks > 2 * KC_BLOCKS ? most : k_blocks;
  for (int k = 0; k < k_blocks; k += part) {
    const int part_blocks = k_blocks - k < part ? k_blocks - k : part;
    const bool last = k + part_blocks == k_blocks;
    acc.zero_init = k == 0, acc.complete = last;
    frozen_gemm(
        {{dy.data + (long)k * BLOCK_ELEMS, dy.m_stride, rows.half_last}, s.rounded[0]},
        matrix.backward_operand(k),
        {rows.m_blocks, 0, config.input_blocks(target), part_blocks,
         last ? next_b : matrix.backward_block(k + part_blocks)},
        acc, NoLowRankTerm(),
        [&](int m, int n, const float* block, int row_begin, int row_end) {
          for (int i = row_begin; i < row_end; i++) {
            f32x16 low = load(block + i * BLOCK_SIDE), high = load(block + i * BLOCK_SIDE + 16);
            if (lora.enabled()) add_lora_dx_row(lora, lora_dx(m, n), m, n, i, keys, low, high);
            store(m, n, i, low, high);
          }
        },
        [&](int m, int n) {
          if (lora.enabled()) lora_dx_block(lora, du, dora_rows(target, s), m, n, lora_dx(m, n));
        });
  }
}

// Recomputes the output of a norm, which is the input of a branch. Saving it would add a fifth to what a step
// saves.
inline void PreNormLayer::norm_output(int m_blocks, const elem_t* x_hat, const float* gamma,
                                      const float* beta, elem_t* y) const {
  if (!gamma) {  // the lowest layer has no norm before attention, and its input was saved
    memcpy(y, x_hat, (size_t)m_blocks * config.hidden_blocks * BLOCK_ELEMS * sizeof(elem_t));
    return;
  }
  for (int m = 0; m < m_blocks; m++) {
    const long at = (long)m * config.hidden_blocks * BLOCK_ELEMS;
    layer_norm_output(x_hat + at, config.hidden_blocks, gamma, beta, y + at);
  }
}

}  // namespace submillion
