// Packs an encoder's frozen weights, its embeddings and its adapters.
#pragma once
#include "encoder.hpp"

namespace submillion {
namespace {

inline float* Encoder::copy_vector(const float* from, long count) {
  float* to = weight_arena.allocate<float>(count);
  memcpy(to, from, count * sizeof(float));
  return to;
}

inline PackedMatrix Encoder::pack(Arena& arena, std::vector<const float*> matrices, long rows, long columns,
                                  float scale, int threads, bool backward, bool alternating) {
  PackedMatrix p;
  long blocks_each = (rows + BLOCK_SIDE - 1) / BLOCK_SIDE;
  p.n_blocks = blocks_each * (long)matrices.size(), p.k_blocks = (columns + BLOCK_SIDE - 1) / BLOCK_SIDE;
  p.forward = arena.allocate<elem_t>(p.n_blocks * p.k_blocks * BLOCK_ELEMS);
  if (backward) p.backward = arena.allocate<elem_t>(p.n_blocks * p.k_blocks * BLOCK_ELEMS);
  parallel_for((int)p.n_blocks, threads, [&](int n) {
    alignas(64) elem_t block[BLOCK_ELEMS];
    const long count = (long)matrices.size(), matrix = alternating ? n % count : n / blocks_each,
               panel = alternating ? n / count : n % blocks_each;
    for (long k = 0; k < p.k_blocks; k++) {
      block_from_matrix(matrices[matrix], rows, columns, panel * BLOCK_SIDE, k * BLOCK_SIDE, scale, block);
      pack_b_from_nk(block, p.forward + (n * p.k_blocks + k) * BLOCK_ELEMS);
      if (p.backward) pack_b_from_kn(block, p.backward + (k * p.n_blocks + n) * BLOCK_ELEMS);
    }
  });
  return p;
}

inline void Encoder::set_embeddings(const SmEmbeddings& tables, int threads) {
  const long hidden = config.hidden_blocks * BLOCK_SIDE;
  embeddings = {tables, {}, nullptr};
  if (!tables.projection) return;
  embeddings.projection = pack(weight_arena, {tables.projection}, hidden, tables.channels, 1, threads, false);
  embeddings.projection_bias = copy_vector(tables.projection_bias, hidden);
}

inline void Encoder::load_layer(int index, const SmLayerWeights& l, bool backward, int threads) {
  const long hidden = config.hidden_blocks * BLOCK_SIDE, ffn = config.ffn_blocks * BLOCK_SIDE;
  LayerWeights& w = weights[index];
  if (!frozen_positions.empty()) frozen_positions[index] = PositionRows();
  w.qkv = pack(weight_arena, {l.q, l.k, l.v}, hidden, hidden, 1, threads, backward);
  w.out = pack(weight_arena, {l.out}, hidden, hidden, 1, threads, backward);
  w.up = config.pre_norm ? pack(weight_arena, {l.up, l.gate}, ffn, hidden, 1, threads, backward, true)
                         : pack(weight_arena, {l.up}, ffn, hidden, 1, threads, backward);
  w.down = pack(weight_arena, {l.down}, hidden, ffn, 1, threads, backward);
  w.qkv_bias = weight_arena.allocate<float>(3 * hidden);
  memcpy(w.qkv_bias, l.q_bias, hidden * 4), memcpy(w.qkv_bias + hidden, l.k_bias, hidden * 4);
  memcpy(w.qkv_bias + 2 * hidden, l.v_bias, hidden * 4);
  w.out_bias = copy_vector(l.out_bias, hidden);
  w.up_bias = config.pre_norm ? alternate(l.up_bias, l.gate_bias) : copy_vector(l.up_bias, ffn);
  w.down_bias = copy_vector(l.down_bias, hidden);
  w.norm1_gamma = l.norm1_gamma ? copy_vector(l.norm1_gamma, hidden) : nullptr;
  w.norm1_beta = l.norm1_beta ? copy_vector(l.norm1_beta, hidden) : nullptr;
  w.norm2_gamma = copy_vector(l.norm2_gamma, hidden), w.norm2_beta = copy_vector(l.norm2_beta, hidden);
}

inline float* Encoder::alternate(const float* first, const float* second) {
  float* to = weight_arena.allocate<float>(2l * config.ffn_blocks * BLOCK_SIDE);
  for (int n = 0; n < config.ffn_blocks; n++) {
    memcpy(to + 2l * n * BLOCK_SIDE, first + n * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
    memcpy(to + (2l * n + 1) * BLOCK_SIDE, second + n * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
  }
  return to;
}

inline void Encoder::pack_adapters() {
  adapter_arena.reset();
  lowest_adapted = config.layers;
  for (int l = config.layers - 1; l >= 0; l--)
    for (int t = 0; t < NUM_TARGETS; t++) {
      const SmAdapter& a = batch.adapters[l * NUM_TARGETS + t];
      LoraAdapter& lora = adapters[l * NUM_TARGETS + t];
      lora = LoraAdapter();
      lora.r = a.r;
      if (!a.r) continue;
      lowest_adapted = l;
      if (l < batch.first_layer || l >= batch.end_layer) continue;
      lora.inputs = config.input_blocks(t) * BLOCK_SIDE, lora.outputs = config.output_blocks(t) * BLOCK_SIDE;
      lora.scale = (float)a.scale;
      if (batch.training && a.dropout > 0) lora.dropout = Dropout(a.dropout, batch.seed, l, LORA_INPUT + t);
      lora.a = pack(adapter_arena, {a.a}, a.r, lora.inputs, 1, (int)batch.threads);
      const bool alternating = config.pre_norm && t == FFN_UP;
      const long half = lora.outputs / 2;
      lora.b = alternating ? pack(adapter_arena, {a.b, a.b + half * a.r}, half, a.r, lora.scale,
                                  (int)batch.threads, true, true)
                           : pack(adapter_arena, {a.b}, lora.outputs, a.r, lora.scale, (int)batch.threads);
      if (a.magnitude) prepare_dora(lora, l, t);
    }
  compute_gains();
}

inline void Encoder::prepare_dora(LoraAdapter& lora, int layer, int target) {
  lora.norms = adapter_arena.allocate<float>(lora.outputs);
  lora.gain = adapter_arena.allocate<float>(lora.outputs);
  lora.norm_rows = adapter_arena.allocate<elem_t>(lora.rank_blocks() * lora.inputs * BLOCK_SIDE);
  const LayerWeights& w = weights[layer];
  const PackedMatrix* matrices[NUM_TARGETS] = {&w.qkv, &w.qkv, &w.qkv, &w.out, &w.up, &w.down};
  const PackedMatrix& matrix = *matrices[target];
  lora.base_forward = matrix.forward_operand(), lora.base_backward = matrix.backward_operand();
  if (target > VALUE || config.pre_norm) return;
  const long first_panel = (long)target * config.hidden_blocks;  // of the three stacked matrices
  lora.base_forward.data += first_panel * lora.base_forward.n_stride;
  if (matrix.backward) lora.base_backward.data += first_panel * BLOCK_ELEMS;
}

inline void Encoder::compute_gains() {
  std::atomic<int> next{0};
  run_on_threads([&](int) {
    for (int at; (at = next++) < (int)adapters.size();) {
      const LoraAdapter& lora = adapters[at];
      if (!lora.gain) continue;
      const SmAdapter& a = batch.adapters[at];
      auto row_of = [&](long channel) { return config.output_of(at % NUM_TARGETS, channel); };
      dora_norms(lora, a.a, a.b, a.weight_squares, row_of, lora.norm_rows, lora.norms);
      for (long o = 0; o < lora.outputs; o++) lora.gain[o] = a.magnitude[row_of(o)] / lora.norms[o];
    }
  });
}

}  // namespace
}  // namespace submillion
