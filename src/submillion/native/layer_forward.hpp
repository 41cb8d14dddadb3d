// Forward pass of a layer over one group of texts.
#pragma once
#include "activation.hpp"
#include "layer.hpp"
#include "layer_norm.hpp"
#include "layer_positions.hpp"

namespace submillion {

// Computes panels [n_begin, n_end) of the projections to queries, keys and values, which lie side by side.
template <class LoraU>
void Layer::project_qkv(const elem_t* x, int m_blocks, bool half_last, int n_begin, int n_end,
                        ProjectionOutput out, const elem_t* next_b, LoraU&& lora_u, LayerScratch& s,
                        bool rounded) const {
  const int D = config.hidden_blocks;
  frozen_gemm(
      {{x, (long)D * BLOCK_ELEMS, half_last}, s.rounded[0], rounded}, weights.qkv.forward_operand(int8),
      {m_blocks, n_begin, n_end, D, next_b}, {s.acc_column, BLOCK_ELEMS, 0},
      [&](int n) { return low_rank_term(qkv_target(n), lora_u(qkv_target(n)), qkv_panel(n)); },
      [&](int m, int n, float* acc, int row_begin, int row_end) {
        f32x16 b0 = load(weights.qkv_bias + n * BLOCK_SIDE),
               b1 = load(weights.qkv_bias + n * BLOCK_SIDE + 16);
        elem_t* block = out.data + (m * out.col_blocks + n - out.first_panel) * BLOCK_ELEMS;
        elem_t* saved = out.saved ? out.saved + ((long)m * 3 * D + n) * BLOCK_ELEMS : nullptr;
        s.dora[qkv_target(n)].apply(m, qkv_panel(n), n, acc, row_begin, row_end);
        for (int i = row_begin; i < row_end; i++) {
          f32x16 low = load(acc + i * BLOCK_SIDE) + b0, high = load(acc + i * BLOCK_SIDE + 16) + b1;
          store_row(block + i * BLOCK_SIDE, low, high);
          if (saved) store_row_nt(saved + i * BLOCK_SIDE, low, high);
        }
      },
      [&](int m, int n) { s.dora[qkv_target(n)].after_block(m, qkv_panel(n), n); });
}

// Projects x to queries, keys and values, a few heads at a time, so that they are still in L2 when attention
// reads them, and calls `attend(first head, heads, their blocks)` on each; s.qkv is then [m_blocks][3
// blocks].
template <class LoraU, class Attend>
void Layer::project_heads(const elem_t* x, int m_blocks, bool half_last, LoraU&& lora_u,
                          SavedActivations* saved, LayerScratch& s, Attend&& attend) const {
  const int D = config.hidden_blocks, head_blocks = config.head.head_blocks,
            heads_per_chunk = head_blocks < HEADS_CHUNK ? HEADS_CHUNK / head_blocks : 1;
  for (int head = 0; head < config.heads; head += heads_per_chunk) {
    const int heads = std::min(heads_per_chunk, config.heads - head), chunk_blocks = heads * head_blocks;
    for (int t = QUERY; t <= VALUE; t++) {
      const int n_begin = t * D + head * head_blocks, n_end = n_begin + chunk_blocks,
                next_n = t < VALUE ? n_begin + D : head * head_blocks + chunk_blocks;
      const elem_t* next_b = n_end < 3 * D ? weights.qkv.floats.forward + (long)next_n * D * BLOCK_ELEMS
                                           : weights.out.floats.forward;
      project_qkv(x, m_blocks, half_last, n_begin, n_end,
                  {s.qkv, 3 * chunk_blocks, n_begin - t * chunk_blocks, saved ? saved->qkv : nullptr}, next_b,
                  lora_u, s, head || t != QUERY);
    }
    attend(head, heads, chunk_blocks);
  }
}

// Runs the layer on x [m_blocks][hidden_blocks].
//
// y: the output, alike. Null in the last layer if it is pooled; `features` then takes output rows in float32:
// [cls_blocks * 32][channels], or, if `means` takes the result, [32][channels], which the blocks use in turn.
// saved: null if there is no backward pass through this layer.
inline void Layer::forward(const TextGroup& g, const elem_t* x, elem_t* y, float* features,
                           SavedActivations* saved, LayerScratch& s) const {
  const int D = config.hidden_blocks;
  elem_t* context = saved && saved->context ? saved->context : s.context;
  auto lora_u = [&](int target) {
    return saved && adapters[target].enabled() ? saved->lora_u[target] : s.lora_u[target];
  };
  const int m_blocks = cls_only ? g.cls_blocks : g.m_blocks;
  const bool half_last = cls_only ? g.cls_half_last : g.half_last;
  const uint64_t* row_ids = cls_only ? g.cls_row_ids : g.row_ids;
  const elem_t* query_x = x;
  if (cls_only) {
    elem_t* cls_x = saved ? saved->cls_x : s.cls_x;
    gather_cls(g, x, cls_x);
    query_x = cls_x;
  }
  adapter_down(QUERY, query_x, m_blocks, row_ids, lora_u(QUERY), saved, s);
  adapter_down(KEY, x, g.m_blocks, g.row_ids, lora_u(KEY), saved, s);
  adapter_down(VALUE, x, g.m_blocks, g.row_ids, lora_u(VALUE), saved, s);
  if (cls_only) {
    elem_t *q = saved ? saved->cls_q : s.cls_q, *qkv = saved ? saved->qkv : s.qkv;
    project_qkv(query_x, m_blocks, half_last, 0, D, {q, D, 0, nullptr},
                weights.qkv.floats.forward + (long)D * D * BLOCK_ELEMS, lora_u, s);
    project_qkv(x, g.m_blocks, g.half_last, D, 3 * D, {qkv, 3 * D, 0, nullptr}, weights.out.floats.forward,
                lora_u, s);
    attend_cls(g, q, qkv, context, saved ? saved->log_sum_exp : nullptr, s);
    clear_cls_padding(g, context, D);
  } else {
    const Dropout attention_dropout = dropout(config.attention_dropout, ATTENTION);
    project_heads(x, m_blocks, half_last, lora_u, saved, s, [&](int head, int heads, int chunk_blocks) {
      const RelativeHead* relative = relative_heads(g, head, heads, false, s);
      for (size_t t = 0; t < g.texts.size(); t++) {
        RowView q{s.qkv, 3 * chunk_blocks, 0, g.starts[t], g.lengths[t]}, k = q, v = q;
        k.first_col = chunk_blocks, v.first_col = 2 * chunk_blocks;
        attention_forward(config.head, head, heads, q, k, v, {context, D, 0, q.first_row, q.rows},
                          attention_dropout, (uint64_t)g.texts[t], relative,
                          saved ? saved->log_sum_exp + q.first_row : nullptr, (long)m_blocks * BLOCK_SIDE,
                          s.attention);
      }
    });
    clear_padding(g, context, D);
  }
  forward_after_attention(m_blocks, half_last, row_ids, context, query_x, y, features, saved, lora_u, s);
}

// Attends from the first token of each text. q: [cls_blocks][hidden_blocks]; qkv: [m_blocks][3
// hidden_blocks], of which keys and values are read.
inline void Layer::attend_cls(const TextGroup& g, elem_t* q, elem_t* qkv, elem_t* context, float* log_sum_exp,
                              LayerScratch& s) const {
  const int D = config.hidden_blocks, heads = positions ? 1 : config.heads;  // tables are made for few heads
  const Dropout attention_dropout = dropout(config.attention_dropout, ATTENTION);
  for (int head = 0; head < config.heads; head += heads) {
    const RelativeHead* relative = relative_heads(g, head, heads, false, s);
    for (size_t t = 0; t < g.texts.size(); t++) {
      const long col = head * config.head.head_blocks, row = (long)t;
      RowView k{qkv, 3 * D, D + col, g.starts[t], g.lengths[t]}, v = k;
      v.first_col = 2 * D + col;
      attention_forward(config.head, head, heads, {q, D, col, row, 1}, k, v, {context, D, 0, row, 1},
                        attention_dropout, (uint64_t)g.texts[t], relative,
                        log_sum_exp ? log_sum_exp + row : nullptr, (long)g.cls_blocks * BLOCK_SIDE,
                        s.attention);
    }
  }
}

// Runs the rest of the layer from the attention context: output projection, norm, FFN, norm.
template <class LoraU>
void Layer::forward_after_attention(int m_blocks, bool half_last, const uint64_t* row_ids,
                                    const elem_t* context, const elem_t* x, elem_t* y, float* features,
                                    SavedActivations* saved, LoraU&& lora_u, LayerScratch& s) const {
  const int D = config.hidden_blocks, F = config.ffn_blocks;
  adapter_down(ATTENTION_OUT, context, m_blocks, row_ids, lora_u(ATTENTION_OUT), saved, s);
  Dropout branch_dropout = dropout(config.attention_output_dropout, ATTENTION_OUTPUT);
  const uint64_t* attention_keys = row_keys(branch_dropout, row_ids, m_blocks, s.row_keys);
  frozen_gemm(
      {{context, (long)D * BLOCK_ELEMS, half_last}, s.rounded[0]}, weights.out.forward_operand(int8),
      {m_blocks, 0, D, D, weights.up.floats.forward}, {s.acc_f32, (long)D * BLOCK_ELEMS, BLOCK_ELEMS},
      [&](int n) { return low_rank_term(ATTENTION_OUT, lora_u(ATTENTION_OUT), n); },
      [&](int m, int n, float* acc, int row_begin, int row_end) {
        s.dora[ATTENTION_OUT].apply(m, n, n, acc, row_begin, row_end);
        bias_dropout_residual(acc, weights.out_bias, x + ((long)m * D + n) * BLOCK_ELEMS, branch_dropout,
                              attention_keys + m * BLOCK_SIDE, n, row_begin, row_end);
      },
      [&](int m, int n) { s.dora[ATTENTION_OUT].after_block(m, n, n); });
  elem_t* ffn_input = saved && saved->ffn_input ? saved->ffn_input : s.ffn_input;
  for (int m = 0; m < m_blocks; m++) {
    long at = (long)m * D * BLOCK_ELEMS;
    layer_norm_forward(s.acc_f32 + at, D, weights.norm1_gamma, weights.norm1_beta, config.epsilon,
                       saved ? saved->x_hat1 + at : nullptr, ffn_input + at,
                       saved ? saved->rstd1 + m * BLOCK_SIDE : nullptr, nullptr);
  }
  adapter_down(FFN_UP, ffn_input, m_blocks, row_ids, lora_u(FFN_UP), saved, s);
  branch_dropout = dropout(config.ffn_output_dropout, FFN_OUTPUT);
  const uint64_t* ffn_keys = row_keys(branch_dropout, row_ids, m_blocks, s.row_keys2);
  // The FFN runs in chunks of its channels, unless an adapter of FFN_DOWN needs A x of all channels first.
  const bool unchunked = adapters[FFN_DOWN].enabled();
  elem_t* act = saved && saved->gelu_output ? saved->gelu_output : s.ffn_act;
  const int chunk = unchunked ? F : FFN_CHUNK;
  const int act_blocks = unchunked ? F : (F < FFN_CHUNK ? F : +FFN_CHUNK);
  for (int c = 0; c < F; c += chunk) {
    int chunk_blocks = F - c < chunk ? F - c : chunk;
    frozen_gemm(
        {{ffn_input, (long)D * BLOCK_ELEMS, half_last}, s.rounded[0], c > 0},
        weights.up.forward_operand(int8),
        {m_blocks, c, c + chunk_blocks, D, weights.down.floats.forward + (long)c * BLOCK_ELEMS},
        {s.acc_column, BLOCK_ELEMS, 0}, [&](int n) { return low_rank_term(FFN_UP, lora_u(FFN_UP), n); },
        [&](int m, int n, float* acc, int row_begin, int row_end) {
          f32x16 b0 = load(weights.up_bias + n * BLOCK_SIDE),
                 b1 = load(weights.up_bias + n * BLOCK_SIDE + 16);
          elem_t* block = act + ((long)m * act_blocks + n - c) * BLOCK_ELEMS;
          elem_t* derivative =
              saved ? saved->gelu_derivative + ((long)n * m_blocks + m) * BLOCK_ELEMS : nullptr;
          s.dora[FFN_UP].apply(m, n, n, acc, row_begin, row_end);
          f32x16 y0, y1, d0, d1;
          for (int i = row_begin; i < row_end; i++) {
            gelu(load(acc + i * BLOCK_SIDE) + b0, y0, d0);
            gelu(load(acc + i * BLOCK_SIDE + 16) + b1, y1, d1);
            store_row(block + i * BLOCK_SIDE, y0, y1);
            if (derivative) store_row_nt(derivative + i * BLOCK_SIDE, d0, d1);
          }
        },
        [&](int m, int n) { s.dora[FFN_UP].after_block(m, n, n); });
    if (c == 0) adapter_down(FFN_DOWN, act, m_blocks, row_ids, lora_u(FFN_DOWN), saved, s);
    frozen_gemm(
        {{act, (long)act_blocks * BLOCK_ELEMS, half_last}, s.rounded[1]},
        weights.down.forward_operand(int8, c), {m_blocks, 0, D, chunk_blocks, weights.up.floats.forward},
        {s.acc_f32, (long)D * BLOCK_ELEMS, BLOCK_ELEMS, c == 0, c + chunk_blocks == F},
        [&](int n) { return low_rank_term(FFN_DOWN, lora_u(FFN_DOWN), n); },
        [&](int m, int n, float* acc, int row_begin, int row_end) {
          s.dora[FFN_DOWN].apply(m, n, n, acc, row_begin, row_end);
          bias_dropout_residual(acc, weights.down_bias, ffn_input + ((long)m * D + n) * BLOCK_ELEMS,
                                branch_dropout, ffn_keys + m * BLOCK_SIDE, n, row_begin, row_end);
        },
        [&](int m, int n) { s.dora[FFN_DOWN].after_block(m, n, n); });
  }
  for (int m = 0; m < m_blocks; m++) {
    long at = (long)m * D * BLOCK_ELEMS;
    layer_norm_forward(s.acc_f32 + at, D, weights.norm2_gamma, weights.norm2_beta, config.epsilon,
                       saved ? saved->x_hat2 + at : nullptr, y ? y + at : nullptr,
                       saved ? saved->rstd2 + m * BLOCK_SIDE : nullptr,
                       features ? features + (means ? 0 : at) : nullptr);
    if (means) add_to_sums(row_ids + m * BLOCK_SIDE, features);
  }
}

// Adds 32 rows of the output, [32][channels], to the sums of their texts in `means`. A text's rows come in
// the order of its tokens, so its sum does not depend on the group.
inline void Layer::add_to_sums(const uint64_t* row_ids, const float* rows) const {
  const long width = (long)config.hidden_blocks * BLOCK_SIDE;
  for (int i = 0; i < BLOCK_SIDE && row_ids[i] != PADDING_ROW; i++, rows += width) {
    float* sum = means + (long)(row_ids[i] >> 16) * width;
    if (row_ids[i] % 65536 == 0) {
      memcpy(sum, rows, width * sizeof(float));
    } else {
      for (long c = 0; c < width; c += 16) store(sum + c, load(sum + c) + load(rows + c));
    }
  }
}

inline void Layer::divide_sums(const TextGroup& g) const {
  const long width = (long)config.hidden_blocks * BLOCK_SIDE;
  for (size_t t = 0; t < g.texts.size(); t++) {
    float *sum = means + g.texts[t] * width, inverse_length = 1.f / (float)g.lengths[t];
    for (long c = 0; c < width; c += 16) store(sum + c, load(sum + c) * inverse_length);
  }
}

// Recomputes the layer's output, which is the input of the next one. Saving it would add a tenth to what a
// step saves.
inline void Layer::recompute_output(const TextGroup& g, const SavedActivations& saved, SavedActivations& next,
                                    LayerScratch& s) const {
  for (int m = 0; m < g.m_blocks; m++) {
    const long at = (long)m * config.hidden_blocks * BLOCK_ELEMS;
    layer_norm_output(saved.x_hat2 + at, config.hidden_blocks, weights.norm2_gamma, weights.norm2_beta,
                      s.ffn_input + at);
  }
  next.x = s.ffn_input;
}

}  // namespace submillion
