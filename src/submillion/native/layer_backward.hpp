// Backward pass of a layer over one group of texts.
#pragma once
#include "layer.hpp"
#include "layer_norm.hpp"
#include "layer_positions.hpp"

namespace submillion {

// Turns the gradient of the layer's output, g.dstates (in the last layer `cls_gradient`, float32
// [cls_blocks][hidden_blocks]), into that of its input if `needs_dx` is set. The gradients of
// the adapters go to `saved`.
inline void Layer::backward(const TextGroup& g, float* cls_gradient, SavedActivations& saved, bool needs_dx,
                            LayerScratch& s) const {
  const int D = config.hidden_blocks, m_blocks = cls_only ? g.cls_blocks : g.m_blocks;
  const uint64_t* row_ids = cls_only ? g.cls_row_ids : g.row_ids;
  elem_t *dz = s.dresidual, *dcontext = s.context, *dqkv = s.qkv;
  backward_to_context(m_blocks, cls_only ? g.cls_half_last : g.half_last, row_ids,
                      cls_only ? cls_gradient : g.dstates, saved, dz, dcontext, s);
  heads_backward(g, saved, dcontext, needs_dx, s);
  elem_t* dq = cls_only ? s.cls_q : dqkv;
  clear_padding(g, dqkv, 3 * D);
  if (cls_only) clear_cls_padding(g, dq, D);
  if (positions) position_adapters_backward(saved, s);
  elem_t* du[3];
  for (int t = QUERY; t <= VALUE; t++) {
    const LoraAdapter& lora = adapters[t];
    du[t] = s.lora_u[t];
    if (!lora.enabled()) continue;
    bool cls = cls_only && t == QUERY;
    OperandA dy = cls ? OperandA{dq, (long)D * BLOCK_ELEMS}
                      : OperandA{dqkv + (long)t * D * BLOCK_ELEMS, 3l * D * BLOCK_ELEMS};
    adapter_backward(t, cls ? saved.cls_x : saved.x, dy, cls ? m_blocks : g.m_blocks,
                     cls ? row_ids : g.row_ids, saved, du[t], s);
  }
  if (!needs_dx) return;
  // dx: back through the three projections, their adapters, and the residual.
  auto project_back = [&](const elem_t* from, long col_blocks, int count, bool half_last, int n_begin,
                          int n_end, const elem_t* residual, const uint64_t* ids, float* dx) {
    // A long k dimension is split, with all panels for each part: that part of A stays in L2.
    const int k_blocks = n_end - n_begin, part = weights.qkv.int8_backward.panels ? D
                                                 : k_blocks > 2 * KC_BLOCKS       ? +KC_BLOCKS
                                                                                  : k_blocks;
    const uint64_t* keys[3];
    auto lora_dx = [&](int t, int m, int n) {
      return s.lora_dx + (2l * t + (n * count + m) % 2) * BLOCK_ELEMS;
    };
    for (int t = n_begin / D; t < n_end / D; t++)
      if (adapters[t].enabled())
        keys[t] = row_keys(adapters[t].dropout, ids, count, s.row_keys + (long)t * g.rows());
    for (int k = 0; k < k_blocks; k += part) {
      int part_blocks = k_blocks - k < part ? k_blocks - k : part;
      const int next_k = n_begin + (k + part_blocks < k_blocks ? k + part_blocks : 0);
      frozen_gemm(
          {{from + (long)k * BLOCK_ELEMS, col_blocks * BLOCK_ELEMS, half_last}, s.rounded[0]},
          weights.qkv.backward_operand(n_begin + k),
          {count, 0, D, part_blocks, weights.qkv.backward_block(next_k)},
          {dx, (long)D * BLOCK_ELEMS, BLOCK_ELEMS, k == 0, k + part_blocks == k_blocks}, NoLowRankTerm(),
          [&](int m, int n, float* acc, int row_begin, int row_end) {
            const elem_t* residual_block = residual ? residual + ((long)m * D + n) * BLOCK_ELEMS : nullptr;
            for (int i = row_begin; i < row_end; i++) {
              f32x16 low = load(acc + i * BLOCK_SIDE), high = load(acc + i * BLOCK_SIDE + 16), r0, r1;
              if (residual_block) load_row(residual_block + i * BLOCK_SIDE, r0, r1), low += r0, high += r1;
              for (int t = n_begin / D; t < n_end / D; t++)
                if (adapters[t].enabled())
                  add_lora_dx_row(adapters[t], lora_dx(t, m, n), m, n, i, keys[t], low, high);
              store_row(acc + i * BLOCK_SIDE, low, high);
            }
          },
          [&](int m, int n) {
            for (int t = n_begin / D; t < n_end / D; t++)
              if (adapters[t].enabled())
                lora_dx_block(adapters[t], du[t], dora_rows(t, s), m, n, lora_dx(t, m, n));
          });
    }
  };
  if (!cls_only)
    return project_back(dqkv, 3 * D, g.m_blocks, g.half_last, 0, 3 * D, dz, g.row_ids, g.dstates);
  project_back(dqkv + (long)D * BLOCK_ELEMS, 3 * D, g.m_blocks, g.half_last, D, 3 * D, nullptr, g.row_ids,
               g.dstates);
  project_back(dq, D, m_blocks, g.cls_half_last, 0, D, dz, row_ids, cls_gradient);
  for (size_t t = 0; t < g.texts.size(); t++)
    for (int c = 0; c < D; c++) {
      float* at = g.dstates + row_offset(g.starts[t], D) + c * BLOCK_ELEMS;
      const float* from = cls_gradient + row_offset((long)t, D) + c * BLOCK_ELEMS;
      store_row(at, load(at) + load(from), load(at + 16) + load(from + 16));
    }
}

// Computes the gradients of queries, keys and values, [m_blocks][3 hidden_blocks] in s.qkv, those of cls
// queries in s.cls_q, and those of the projected positions.
inline void Layer::heads_backward(const TextGroup& g, const SavedActivations& saved, const elem_t* dcontext,
                                  bool needs_dx, LayerScratch& s) const {
  const int D = config.hidden_blocks, heads = positions ? 1 : config.heads;  // tables are made for few heads
  auto wanted = [&](Target t, elem_t* gradient) {
    return needs_dx || adapters[t].enabled() ? gradient : nullptr;
  };
  const Dropout attention_dropout = dropout(config.attention_dropout, ATTENTION);
  elem_t* q = cls_only ? saved.cls_q : saved.qkv;
  const long stride = cls_only ? g.cls_blocks * BLOCK_SIDE : g.rows(), q_col_blocks = cls_only ? D : 3 * D;
  for (int head = 0; head < config.heads; head += heads) {
    const RelativeHead* relative = relative_heads(g, head, heads, true, s);
    for (size_t t = 0; t < g.texts.size(); t++) {
      long start = g.starts[t], length = g.lengths[t], row = cls_only ? (long)t : start;
      RowView q_rows{q, q_col_blocks, 0, row, cls_only ? 1 : length};
      RowView k_rows{saved.qkv, 3 * D, D, start, length}, v_rows{saved.qkv, 3 * D, 2 * D, start, length};
      RowView dq_rows = q_rows, dk_rows = k_rows, dv_rows = v_rows;
      dq_rows.data = wanted(QUERY, cls_only ? s.cls_q : s.qkv), dk_rows.data = wanted(KEY, s.qkv);
      dv_rows.data = wanted(VALUE, s.qkv);
      attention_backward(config.head, head, heads, q_rows, k_rows, v_rows,
                         {const_cast<elem_t*>(dcontext), D, 0, row, q_rows.rows}, dq_rows, dk_rows, dv_rows,
                         attention_dropout, (uint64_t)g.texts[t], relative, saved.log_sum_exp + row, stride,
                         s.attention);
    }
    if (positions) store_position_gradients(g, head, s);
  }
}

// Computes the gradient of the attention context from that of the output, which is overwritten; dz is the
// gradient that passes through the residual around attention.
inline void Layer::backward_to_context(int m_blocks, bool half_last, const uint64_t* row_ids, float* gradient,
                                       SavedActivations& saved, elem_t* dz, elem_t* dcontext,
                                       LayerScratch& s) const {
  const int D = config.hidden_blocks, F = config.ffn_blocks;
  Dropout branch_dropout = dropout(config.ffn_output_dropout, FFN_OUTPUT);
  const uint64_t* ffn_keys = row_keys(branch_dropout, row_ids, m_blocks, s.row_keys);
  for (int m = 0; m < m_blocks; m++) {
    long at = (long)m * D * BLOCK_ELEMS;
    layer_norm_backward(gradient + at, D, weights.norm2_gamma, saved.x_hat2 + at,
                        saved.rstd2 + m * BLOCK_SIDE, branch_dropout, ffn_keys + m * BLOCK_SIDE, dz + at,
                        s.dbranch + at);
  }
  // Blocks complete in the order n, m, and two results of lora_dx_block are needed at a time.
  auto lora_dx = [&](int m, int n) { return s.lora_dx + (long)((n * m_blocks + m) % 2) * BLOCK_ELEMS; };
  const LoraAdapter& down = adapters[FFN_DOWN];
  if (down.enabled())
    adapter_backward(FFN_DOWN, saved.gelu_output, {s.dbranch, (long)D * BLOCK_ELEMS}, m_blocks, row_ids,
                     saved, s.lora_u[FFN_DOWN], s);
  const uint64_t* down_keys =
      down.enabled() ? row_keys(down.dropout, row_ids, m_blocks, s.row_keys) : nullptr;
  const bool unchunked = adapters[FFN_UP].enabled();  // its gradients need all FFN channels
  const int chunk = unchunked ? F : FFN_CHUNK, act_blocks = unchunked ? F : (F < FFN_CHUNK ? F : +FFN_CHUNK);
  elem_t* dact = s.ffn_act;
  auto gelu_derivative = [&](int m, int n) {
    return saved.gelu_derivative + ((long)n * m_blocks + m) * BLOCK_ELEMS;
  };
  for (int c = 0; c < F; c += chunk) {
    int chunk_blocks = F - c < chunk ? F - c : chunk;
    frozen_gemm(
        {{s.dbranch, (long)D * BLOCK_ELEMS, half_last}, s.rounded[0], c > 0}, weights.down.backward_operand(),
        {m_blocks, c, c + chunk_blocks, D, weights.up.backward_block(c)}, {s.acc_column, BLOCK_ELEMS, 0},
        NoLowRankTerm(),
        [&](int m, int n, const float* acc, int row_begin, int row_end) {
          const elem_t* derivative = gelu_derivative(m, n);
          elem_t* block = dact + ((long)m * act_blocks + n - c) * BLOCK_ELEMS;
          for (int i = row_begin; i < row_end; i++) {
            f32x16 low = load(acc + i * BLOCK_SIDE), high = load(acc + i * BLOCK_SIDE + 16), d0, d1;
            if (down.enabled()) add_lora_dx_row(down, lora_dx(m, n), m, n, i, down_keys, low, high);
            load_row(derivative + i * BLOCK_SIDE, d0, d1);
            store_row(block + i * BLOCK_SIDE, low * d0, high * d1);
          }
        },
        [&](int m, int n) {
          if (down.enabled())
            lora_dx_block(down, s.lora_u[FFN_DOWN], dora_rows(FFN_DOWN, s), m, n, lora_dx(m, n));
        },
        gelu_derivative);
    if (unchunked)
      adapter_backward(FFN_UP, saved.ffn_input, {dact, (long)F * BLOCK_ELEMS}, m_blocks, row_ids, saved,
                       s.lora_u[FFN_UP], s);
    frozen_gemm({{dact, (long)act_blocks * BLOCK_ELEMS, half_last}, s.rounded[1]},
                weights.up.backward_operand(c), {m_blocks, 0, D, chunk_blocks, weights.down.backward_block()},
                {gradient, (long)D * BLOCK_ELEMS, BLOCK_ELEMS, c == 0, c + chunk_blocks == F},
                NoLowRankTerm(), [&](int m, int n, float* acc, int row_begin, int row_end) {
                  const elem_t* residual = dz + ((long)m * D + n) * BLOCK_ELEMS;
                  for (int i = row_begin; i < row_end; i++) {
                    f32x16 r0, r1;
                    load_row(residual + i * BLOCK_SIDE, r0, r1);
                    store_row(acc + i * BLOCK_SIDE, load(acc + i * BLOCK_SIDE) + r0,
                              load(acc + i * BLOCK_SIDE + 16) + r1);
                  }
                });
  }
  if (unchunked) {
    const uint64_t* up_keys = row_keys(adapters[FFN_UP].dropout, row_ids, m_blocks, s.row_keys);
    for (int m = 0; m < m_blocks; m++)
      for (int n = 0; n < D; n++)
        lora_down_backward(adapters[FFN_UP], s.lora_u[FFN_UP], dora_rows(FFN_UP, s), m, n, up_keys,
                           gradient + ((long)m * D + n) * BLOCK_ELEMS, s.lora_acc);
  }
  branch_dropout = dropout(config.attention_output_dropout, ATTENTION_OUTPUT);
  const uint64_t* attention_keys = row_keys(branch_dropout, row_ids, m_blocks, s.row_keys);
  for (int m = 0; m < m_blocks; m++) {
    long at = (long)m * D * BLOCK_ELEMS;
    layer_norm_backward(gradient + at, D, weights.norm1_gamma, saved.x_hat1 + at,
                        saved.rstd1 + m * BLOCK_SIDE, branch_dropout, attention_keys + m * BLOCK_SIDE,
                        dz + at, s.dbranch + at);
  }
  const LoraAdapter& out = adapters[ATTENTION_OUT];
  if (out.enabled())
    adapter_backward(ATTENTION_OUT, saved.context, {s.dbranch, (long)D * BLOCK_ELEMS}, m_blocks, row_ids,
                     saved, s.lora_u[ATTENTION_OUT], s);
  const uint64_t* out_keys = out.enabled() ? row_keys(out.dropout, row_ids, m_blocks, s.row_keys) : nullptr;
  frozen_gemm(
      {{s.dbranch, (long)D * BLOCK_ELEMS, half_last}, s.rounded[0]}, weights.out.backward_operand(),
      {m_blocks, 0, D, D, weights.qkv.backward_block()}, {s.acc_column, BLOCK_ELEMS, 0}, NoLowRankTerm(),
      [&](int m, int n, const float* acc, int row_begin, int row_end) {
        elem_t* block = dcontext + ((long)m * D + n) * BLOCK_ELEMS;
        for (int i = row_begin; i < row_end; i++) {
          f32x16 low = load(acc + i * BLOCK_SIDE), high = load(acc + i * BLOCK_SIDE + 16);
          if (out.enabled()) add_lora_dx_row(out, lora_dx(m, n), m, n, i, out_keys, low, high);
          store_row(block + i * BLOCK_SIDE, low, high);
        }
      },
      [&](int m, int n) {
        if (out.enabled())
          lora_dx_block(out, s.lora_u[ATTENTION_OUT], dora_rows(ATTENTION_OUT, s), m, n, lora_dx(m, n));
      });
}

// Computes du = dy B of an adapter, and the gradients of its parameters for this group.
//
// Must be called before the product dy W: without dropout, DoRA replaces dy with gain dy. With dropout,
// dora_rows(target) becomes (gain - 1) dy.
inline void Layer::adapter_backward(int target, const elem_t* x, OperandA dy, int m_blocks,
                                    const uint64_t* row_ids, SavedActivations& saved, elem_t* du,
                                    LayerScratch& s) const {
  const LoraAdapter& lora = adapters[target];
  const OperandA full_dy = dy;
  elem_t* rows = dora_rows(target, s);
  const long row_stride = lora.outputs * BLOCK_SIDE;
  if (lora.gain) {
    gain_gradient(lora, dy, saved.dora_z[target], m_blocks, saved.dgain[target]);
    elem_t* to = rows ? rows : const_cast<elem_t*>(dy.data);
    scale_by_gain(lora, dy, 0, m_blocks, to, rows ? row_stride : dy.m_stride);
    if (rows) dy = {rows, row_stride};
  }
  lora_up_backward(lora, dy, m_blocks, du, s.lora_acc);
  const uint64_t* keys = row_keys(lora.dropout, row_ids, m_blocks, s.row_keys2);
  int in_blocks = (int)(lora.inputs / BLOCK_SIDE), out_blocks = (int)(lora.outputs / BLOCK_SIDE);
  lora_gradient(lora, du, {x, (long)in_blocks * BLOCK_ELEMS}, in_blocks, 0, m_blocks, &lora.dropout, keys,
                lora.dropout.scale, saved.da[target], lora.inputs, s.pack_buffer, s.lora_acc);
  lora_gradient(lora, saved.lora_u[target], dy, out_blocks, 0, m_blocks, nullptr, nullptr, lora.scale,
                saved.db[target], lora.outputs, s.pack_buffer, s.lora_acc);
  if (rows) scale_by_gain(lora, full_dy, -1, m_blocks, rows, row_stride);
}

}  // namespace submillion
