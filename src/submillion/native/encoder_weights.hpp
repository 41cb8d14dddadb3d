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
                                  float scale, int threads, bool forward, bool backward, bool alternating) {
  PackedMatrix p;
  long blocks_each = (rows + BLOCK_SIDE - 1) / BLOCK_SIDE;
  p.n_blocks = blocks_each * (long)matrices.size(), p.k_blocks = (columns + BLOCK_SIDE - 1) / BLOCK_SIDE;
  if (forward) p.forward = arena.allocate<elem_t>(p.n_blocks * p.k_blocks * BLOCK_ELEMS);
  if (backward) p.backward = arena.allocate<elem_t>(p.n_blocks * p.k_blocks * BLOCK_ELEMS);
  parallel_for((int)p.n_blocks, threads, [&](int n) {
    alignas(64) elem_t block[BLOCK_ELEMS];
    const long count = (long)matrices.size(), matrix = alternating ? n % count : n / blocks_each,
               panel = alternating ? n / count : n % blocks_each;
    for (long k = 0; k < p.k_blocks; k++) {
      block_from_matrix(matrices[matrix], rows, columns, panel * BLOCK_SIDE, k * BLOCK_SIDE, scale, block);
      if (p.forward) pack_b_from_nk(block, p.forward + (n * p.k_blocks + k) * BLOCK_ELEMS);
      if (p.backward) pack_b_from_kn(block, p.backward + (k * p.n_blocks + n) * BLOCK_ELEMS);
    }
  });
  return p;
}

inline void Encoder::set_embeddings(const SmEmbeddings& tables, int threads) {
  const long hidden = config.hidden_blocks * BLOCK_SIDE;
  embeddings = {tables, {}, nullptr};
  if (!tables.projection) return;
  embeddings.projection =
      pack(weight_arena, {tables.projection}, hidden, tables.channels, 1, threads, true, false);
  embeddings.projection_bias = copy_vector(tables.projection_bias, hidden);
}

// Whether frozen matrices are packed for dy W too. Blocks of float32 are transposed each time a product reads
// them, which halves the memory of the weights and takes no time that could be measured on AVX2: a product
// reads a block for hundreds of token rows. Products in bfloat16 are too fast for that.
#ifdef SM_BF16
constexpr bool PACKS_BACKWARD = true;
#else
constexpr bool PACKS_BACKWARD = false;
#endif

inline void Encoder::pack_frozen(FrozenMatrix& m, std::vector<const float*> matrices, long rows, long columns,
                                 [[maybe_unused]] SectionSizes sections, int layout, int threads,
                                 bool alternating) {
#ifdef SM_INT8_PRODUCTS
  const long count = (long)matrices.size();
  auto value = [&](long output, long input) {
    const long panel = output / BLOCK_SIDE, each = rows / BLOCK_SIDE;
    const float* matrix = matrices[alternating ? panel % count : panel / each];
    const long row = (alternating ? panel / count : panel % each) * BLOCK_SIDE + output % BLOCK_SIDE;
    return matrix[row * columns + input];
  };
  if (layout & SM_STEP_INT8 && !m.int8_forward.panels)
    m.int8_forward =
        pack_int8_operand(weight_arena, count * rows, columns, 1, sections.inputs, threads, value);
  if (layout & SM_STEP_INT8 && layout & SM_BACKWARD && !m.int8_backward.panels)
    m.int8_backward =
        pack_int8_operand(weight_arena, columns, count * rows, alternating ? 1 : (int)count, sections.outputs,
                          threads, [&](long output, long input) { return value(input, output); });
#endif
  const bool forward = !m.floats.forward, backward = PACKS_BACKWARD && layout & SM_BACKWARD &&
                                                     !m.int8_backward.panels && !m.floats.backward;
  if (!forward && !backward) return;
  PackedMatrix packed =
      pack(weight_arena, matrices, rows, columns, 1, threads, forward, backward, alternating);
  if (!forward) packed.forward = m.floats.forward;
  if (!backward) packed.backward = m.floats.backward;
  m.floats = packed;
}

inline void Encoder::load_layer(int index, const SmLayerWeights& l, int layout, int threads) {
  const long hidden = config.hidden_blocks * BLOCK_SIDE, ffn = config.ffn_blocks * BLOCK_SIDE;
  LayerWeights& w = weights[index];
  if (!frozen_positions.empty()) frozen_positions[index] = PositionRows();
  const int cut = config.pre_norm ? +SECTION_BLOCKS : +FFN_CHUNK;
  pack_frozen(w.qkv, {l.q, l.k, l.v}, hidden, hidden, {}, layout, threads);
  pack_frozen(w.out, {l.out}, hidden, hidden, {}, layout, threads);
  if (config.pre_norm) {
    pack_frozen(w.up, {l.up, l.gate}, ffn, hidden, {}, layout, threads, true);
  } else {
    pack_frozen(w.up, {l.up}, ffn, hidden, {SECTION_BLOCKS, cut}, layout, threads);
  }
  pack_frozen(w.down, {l.down}, hidden, ffn, {cut, SECTION_BLOCKS}, layout, threads);
  if (w.qkv_bias) return;
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
                                  (int)batch.threads, true, true, true)
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
  const PackedMatrix* matrices[NUM_TARGETS] = {&w.qkv.floats, &w.qkv.floats, &w.qkv.floats,
                                               &w.out.floats, &w.up.floats,  &w.down.floats};
  const PackedMatrix& matrix = *matrices[target];
  lora.base_forward = matrix.forward_operand(), lora.base_backward = matrix.backward_operand();
  if (target > VALUE || config.pre_norm) return;
  const long first_panel = (long)target * config.hidden_blocks;  // of the three stacked matrices
  lora.base_forward.data += first_panel * lora.base_forward.n_stride;
  lora.base_backward.data += first_panel * lora.base_backward.k_stride;
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
