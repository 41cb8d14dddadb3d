// Forward pass of a pre-norm layer over one group of texts.
#pragma once
#include "activation.hpp"
#include "pre_norm_layer.hpp"

namespace submillion {

// Runs the layer on `states`, float32 [m_blocks][hidden_blocks], in place.
//
// features: in the last layer, if it is pooled, either takes the states of the first tokens, [cls_blocks *
// 32] [channels], in which case `states` is not updated, or is room for 32 rows of channels, if `means` takes
// the result. saved: null if there is no backward pass through this layer.
inline void PreNormLayer::forward(const TextGroup& g, float* states, float* features, SavedActivations* saved,
                                  LayerScratch& s) const {
  const int D = config.hidden_blocks;
  if (weights.norm1_gamma)
    normalize(g.m_blocks, states, weights.norm1_gamma, weights.norm1_beta, saved ? saved->x_hat1 : nullptr,
              saved ? saved->rstd1 : nullptr, s.ffn_input);
  else
    round_rows(states, g.m_blocks * D, s.ffn_input, saved ? saved->x_hat1 : nullptr);
  elem_t* context = saved && saved->context ? saved->context : s.context;
  attention_branch(g, s.ffn_input, context, saved, s);
  const Rows rows = rows_after_attention(g);
  if (cls_only) gather_cls_states(g, states, D, s.acc_f32), states = s.acc_f32;
  add_projection(ATTENTION_OUT, context, weights.out, weights.out_bias,
                 dropout(config.attention_output_dropout, ATTENTION_OUTPUT), rows, weights.up.floats.forward,
                 states, saved, s);
  normalize(rows.m_blocks, states, weights.norm2_gamma, weights.norm2_beta, saved ? saved->x_hat2 : nullptr,
            saved ? saved->rstd2 : nullptr, s.ffn_input);
  elem_t* act = saved && saved->gelu_output ? saved->gelu_output : s.ffn_act;
  gated_ffn(rows, s.ffn_input, act, saved, s);
  add_projection(FFN_DOWN, act, weights.down, weights.down_bias, Dropout(), rows, weights.qkv.floats.forward,
                 states, saved, s);
  if (means) return average(rows, states, features, saved);
  for (long row = 0; features && row < rows.m_blocks * BLOCK_SIDE; row++)
    for (int c = 0; c < D; c++)
      memcpy(features + (row * D + c) * BLOCK_SIDE, states + row_offset(row, D) + c * BLOCK_ELEMS,
             BLOCK_SIDE * sizeof(float));
}

// y = norm(states), [m_blocks][hidden_blocks]. x_hat and rstd: the norm's saved values, or null.
inline void PreNormLayer::normalize(int m_blocks, const float* states, const float* gamma, const float* beta,
                                    elem_t* x_hat, float* rstd, elem_t* y) const {
  for (int m = 0; m < m_blocks; m++) {
    const long at = (long)m * config.hidden_blocks * BLOCK_ELEMS;
    layer_norm_forward(states + at, config.hidden_blocks, gamma, beta, config.epsilon,
                       x_hat ? x_hat + at : nullptr, y + at, rstd ? rstd + m * BLOCK_SIDE : nullptr, nullptr);
  }
}

// Copies blocks of float32, rounded to elem_t, to `to`, and to `also` unless it is null.
inline void PreNormLayer::round_rows(const float* from, long blocks, elem_t* to, elem_t* also) {
  for (long at = 0; at < blocks * BLOCK_ELEMS; at += BLOCK_SIDE) {
    f32x16 low, high;
    load_row(from + at, low, high);
    store_row(to + at, low, high);
    if (also) store_row(also + at, low, high);
  }
}

// Computes the attention context of the group's rows, or, if only those count, of the first tokens.
inline void PreNormLayer::attention_branch(const TextGroup& g, const elem_t* x, elem_t* context,
                                           SavedActivations* saved, LayerScratch& s) const {
  elem_t* u = lora_u(QUERY, saved, s);
  adapter_down(QUERY, x, g.m_blocks, g.row_ids, u, saved, s);
  const Dropout attention_dropout = dropout(config.attention_dropout, ATTENTION);
  const long context_rows = (long)(cls_only ? g.cls_blocks : g.m_blocks) * BLOCK_SIDE;
  project_heads(
      x, g.m_blocks, g.half_last, [&](int) { return u; }, saved, s,
      [&](int first, int heads, int chunk_blocks) {
        for (size_t t = 0; t < g.texts.size(); t++) {
          RowView k{s.qkv, 3l * chunk_blocks, chunk_blocks, g.starts[t], g.lengths[t]}, q = k, v = k;
          q.first_col = 0, v.first_col = 2 * chunk_blocks;
          if (cls_only) q.rows = 1;
          const long row = cls_only ? (long)t : g.starts[t];
          attention_forward(head, first, heads, q, k, v, {context, config.hidden_blocks, 0, row, q.rows},
                            attention_dropout, (uint64_t)g.texts[t], nullptr,
                            saved ? saved->log_sum_exp + row : nullptr, context_rows, s.attention);
        }
      });
  if (cls_only)
    clear_cls_padding(g, context, config.hidden_blocks);
  else
    clear_padding(g, context, config.hidden_blocks);
}

// Computes panels [0, n_blocks) of x W^T and its adapter, and calls `store(m, n, i, low, high)` with each
// row.
template <class Store>
void PreNormLayer::project(int target, const elem_t* x, const FrozenMatrix& matrix, Rows rows, int n_blocks,
                           const elem_t* next_b, const elem_t* u, Store&& store, LayerScratch& s) const {
  const int k_blocks = config.input_blocks(target);
  frozen_gemm(
      {{x, (long)k_blocks * BLOCK_ELEMS, rows.half_last}, s.rounded[0]}, matrix.forward_operand(int8),
      {rows.m_blocks, 0, n_blocks, k_blocks, next_b}, {s.acc_column, BLOCK_ELEMS, 0},
      [&](int n) { return low_rank_term(target, u, n); },
      [&](int m, int n, float* acc, int row_begin, int row_end) {
        s.dora[target].apply(m, n, n, acc, row_begin, row_end);
        for (int i = row_begin; i < row_end; i++)
          store(m, n, i, load(acc + i * BLOCK_SIDE), load(acc + i * BLOCK_SIDE + 16));
      },
      [&](int m, int n) { s.dora[target].after_block(m, n, n); });
}

// states += dropout(x W^T + bias), with the adapter of `target`.
inline void PreNormLayer::add_projection(int target, const elem_t* x, const FrozenMatrix& matrix,
                                         const float* bias, const Dropout& dropout, Rows rows,
                                         const elem_t* next_b, float* states, SavedActivations* saved,
                                         LayerScratch& s) const {
  const int D = config.hidden_blocks;
  elem_t* u = lora_u(target, saved, s);
  adapter_down(target, x, rows.m_blocks, rows.ids, u, saved, s);
  const uint64_t* keys = row_keys(dropout, rows.ids, rows.m_blocks, s.row_keys2);
  project(
      target, x, matrix, rows, D, next_b, u,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        low += load(bias + n * BLOCK_SIDE), high += load(bias + n * BLOCK_SIDE + 16);
        if (dropout.enabled()) {
          const uint32_t mask = dropout.mask(keys[m * BLOCK_SIDE + i], (uint32_t)n);
          low = zero_dropped(low * dropout.scale, mask);
          high = zero_dropped(high * dropout.scale, mask >> 16);
        }
        float* at = states + ((long)m * D + n) * BLOCK_ELEMS + i * BLOCK_SIDE;
        store_row(at, load(at) + low, load(at + 16) + high);
      },
      s);
}

// act = dropout(gelu(up(x)) gate(x)): [m_blocks][ffn_blocks]. Saves gelu(up(x)), and gelu'(up(x)) gate(x).
inline void PreNormLayer::gated_ffn(Rows rows, const elem_t* x, elem_t* act, SavedActivations* saved,
                                    LayerScratch& s) const {
  const int F = config.ffn_blocks;
  elem_t* u = lora_u(FFN_UP, saved, s);
  adapter_down(FFN_UP, x, rows.m_blocks, rows.ids, u, saved, s);
  const Dropout act_dropout = dropout(config.ffn_output_dropout, FFN_OUTPUT);
  const uint64_t* keys = row_keys(act_dropout, rows.ids, rows.m_blocks, s.row_keys2);
  project(
      FFN_UP, x, weights.up, rows, 2 * F, weights.down.floats.forward, u,
      [&](int m, int n, int i, f32x16 low, f32x16 high) {
        low += load(weights.up_bias + n * BLOCK_SIDE), high += load(weights.up_bias + n * BLOCK_SIDE + 16);
        const long in_block = i * BLOCK_SIDE, column = n / 2;
        elem_t* value = act + ((long)m * F + column) * BLOCK_ELEMS + in_block;
        // The panels alternate, so a row of `up` is still in L2 when that of `gate` needs it.
        elem_t* derivative = s.gelu_column + (long)m * BLOCK_ELEMS + in_block;
        f32x16 y0, y1, d0, d1;
        if (n % 2 == 0) {
          gelu(low, y0, d0), gelu(high, y1, d1);
          store_row(value, y0, y1);
          if (saved) store_row(derivative, d0, d1);
          return;
        }
        load_row(value, y0, y1);
        if (saved) {
          const long at = (column * rows.m_blocks + m) * BLOCK_ELEMS + in_block;
          load_row(derivative, d0, d1);
          store_row_nt(saved->gelu_derivative + at, d0 * low, d1 * high);
          store_row_nt(saved->gelu_value + at, y0, y1);
        }
        y0 *= low, y1 *= high;
        if (act_dropout.enabled()) {
          const uint32_t mask = act_dropout.mask(keys[m * BLOCK_SIDE + i], (uint32_t)column);
          y0 = zero_dropped(y0 * act_dropout.scale, mask);
          y1 = zero_dropped(y1 * act_dropout.scale, mask >> 16);
        }
        store_row(value, y0, y1);
      },
      s);
}

// Adds the normalized states to the sums of their texts.
inline void PreNormLayer::average(Rows rows, const float* states, float* features,
                                  SavedActivations* saved) const {
  const int D = config.hidden_blocks;
  for (int m = 0; m < rows.m_blocks; m++) {
    const long at = (long)m * D * BLOCK_ELEMS;
    layer_norm_forward(states + at, D, final_gamma, final_beta, config.epsilon,
                       saved ? saved->x_hat_final + at : nullptr, (elem_t*)nullptr,
                       saved ? saved->rstd_final + m * BLOCK_SIDE : nullptr, features);
    add_to_sums(rows.ids + m * BLOCK_SIDE, features);
  }
}

}  // namespace submillion
