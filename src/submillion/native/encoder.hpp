// Encoder: packs the frozen weights once, and runs batches forward and backward.
#pragma once
#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "arena.hpp"
#include "c_api.hpp"
#include "embeddings.hpp"
#include "flush_denormals.hpp"
#include "grouping.hpp"
#include "layer_backward.hpp"
#include "layer_forward.hpp"
#include "layer_norm.hpp"
#include "parallel.hpp"
#include "pre_norm_backward.hpp"
#include "pre_norm_forward.hpp"

namespace submillion {
namespace {

struct Encoder {
  EncoderConfig config{};
  Embeddings embeddings;
  std::vector<LayerWeights> weights;
  std::vector<HeadConfig> heads;  // of pre-norm layers, which differ in their attention
  const float *final_gamma = nullptr, *final_beta = nullptr;  // of the norm after the last pre-norm layer
  std::vector<LoraAdapter> adapters;                          // [layers][NUM_TARGETS]
  Arena weight_arena, adapter_arena, batch_arena, scratch_arena;
  // State of the last forward pass, for the backward pass.
  SmBatch batch{};
  std::vector<TextGroup> groups;
  // [groups][layers]; empty in layers without a backward pass.
  std::vector<std::vector<SavedActivations>> saved;
  std::vector<LayerScratch> scratch;  // [threads]
  std::vector<std::vector<int>> groups_of_thread;
  int lowest_adapted = 0;  // the lowest layer with an adapter, where the backward pass ends

  float* copy_vector(const float* from, long count) {
    float* to = weight_arena.allocate<float>(count);
    memcpy(to, from, count * sizeof(float));
    return to;
  }

  // Packs matrices [rows][columns], stacked on top of each other, or with alternating panels.
  static PackedMatrix pack(Arena& arena, std::vector<const float*> matrices, long rows, long columns,
                           float scale, int threads, bool backward = true, bool alternating = false) {
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

  // The tables must outlive the encoder; the projection is copied.
  void set_embeddings(const SmEmbeddings& tables, int threads) {
    const long hidden = config.hidden_blocks * BLOCK_SIDE;
    embeddings = {tables, {}, nullptr};
    if (!tables.projection) return;
    embeddings.projection =
        pack(weight_arena, {tables.projection}, hidden, tables.channels, 1, threads, false);
    embeddings.projection_bias = copy_vector(tables.projection_bias, hidden);
  }

  void load_layer(int index, const SmLayerWeights& l, bool backward, int threads) {
    const long hidden = config.hidden_blocks * BLOCK_SIDE, ffn = config.ffn_blocks * BLOCK_SIDE;
    LayerWeights& w = weights[index];
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

  // Returns the biases of two matrices whose panels alternate.
  float* alternate(const float* first, const float* second) {
    float* to = weight_arena.allocate<float>(2l * config.ffn_blocks * BLOCK_SIDE);
    for (int n = 0; n < config.ffn_blocks; n++) {
      memcpy(to + 2l * n * BLOCK_SIDE, first + n * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
      memcpy(to + (2l * n + 1) * BLOCK_SIDE, second + n * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
    }
    return to;
  }

  void pack_adapters() {
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
        lora.inputs = config.input_blocks(t) * BLOCK_SIDE,
        lora.outputs = config.output_blocks(t) * BLOCK_SIDE;
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

  void prepare_dora(LoraAdapter& lora, int layer, int target) {
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

  // Computes the norms and gains of all DoRA adapters, each on one thread.
  void compute_gains() {
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

  // Distributes the texts among groups and the groups among threads. The number of groups is a multiple of
  // the threads, of at least 2, so that one thread and two threads form the same groups.
  void form_groups() {
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

  void allocate_scratch() {
    long max_blocks = 0, max_cls_blocks = 0, longest = 0;
    for (const TextGroup& g : groups) {
      max_blocks = std::max<long>(max_blocks, g.m_blocks);
      max_cls_blocks = std::max<long>(max_cls_blocks, g.cls_blocks);
      for (int length : g.lengths)
        longest = std::max<long>(longest, (length + BLOCK_SIDE - 1) / BLOCK_SIDE * BLOCK_SIDE);
    }
    const long D = config.hidden_blocks, F = config.ffn_blocks, text_blocks = longest / BLOCK_SIDE,
               head_blocks = text_blocks * config.head.head_blocks;
    const long m_blocks = std::max(max_blocks, max_cls_blocks);
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
      AttentionScratch& a = s.attention;
      for (elem_t** each : {&a.q, &a.k, &a.v, &a.dcontext, &a.k_panels, &a.v_panels, &a.panels})
        *each = blocks(head_blocks);
      // The forward pass has the probabilities of 32 queries at a time, the backward pass those of all.
      a.probs = blocks(batch.save_activations ? text_blocks * text_blocks : text_blocks);
      for (elem_t** each : {&a.dscores, &a.probs_t, &a.dscores_t})
        *each = blocks(batch.save_activations ? text_blocks * text_blocks : 0);
      a.scores = f32_blocks(text_blocks), a.dprobs = f32_blocks(text_blocks);
      a.acc = f32_blocks(config.head.head_blocks);
    }
  }

  // Whether the layer's output is pooled into features, by one of the two ways below, and not needed
  // otherwise.
  bool is_pooled(int layer) const { return batch.features && layer == config.layers - 1; }
  bool cls_only(int layer) const { return is_pooled(layer) && batch.pooling == SM_FIRST; }
  bool is_averaged(int layer) const { return is_pooled(layer) && batch.pooling == SM_MEAN; }
  // Whether the gradient of an adapter needs the layer's input.
  bool gradients_need_input(int layer) const {
    const LoraAdapter* lora = &adapters[layer * NUM_TARGETS];
    return lora[QUERY].enabled() || lora[KEY].enabled() || lora[VALUE].enabled();
  }
  bool saves(int layer) const { return batch.save_activations && layer >= lowest_adapted; }

  void allocate_saved() {
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
      }
    }
  }

  // Writes the input of the first layer: the embeddings, or the states that the batch provides.
  void load_input(const TextGroup& g, LayerScratch& s, elem_t* x) const {
    const int D = config.hidden_blocks;
    if (!batch.input_states) {
      const bool runs_layers = batch.first_layer < batch.end_layer;
      const PackedMatrix& next = runs_layers ? weights[batch.first_layer].qkv : embeddings.projection;
      return embeddings.forward(g, batch, config, next.forward, s, x);
    }
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int r = 0; r < g.lengths[t]; r++) {
        const elem_t* from =
            (const elem_t*)batch.input_states + (batch.offsets[g.texts[t]] + r) * D * BLOCK_SIDE;
        for (int c = 0; c < D; c++)
          memcpy(x + row_offset(g.starts[t] + r, D) + c * BLOCK_ELEMS, from + c * BLOCK_SIDE,
                 BLOCK_SIDE * sizeof(elem_t));
      }
    Layer::clear_padding(g, x, D);
  }

  void store_output(const TextGroup& g, const elem_t* x) const {
    const int D = config.hidden_blocks;
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int r = 0; r < g.lengths[t]; r++) {
        elem_t* to = (elem_t*)batch.output_states + (batch.offsets[g.texts[t]] + r) * D * BLOCK_SIDE;
        for (int c = 0; c < D; c++)
          memcpy(to + c * BLOCK_SIDE, x + row_offset(g.starts[t] + r, D) + c * BLOCK_ELEMS,
                 BLOCK_SIDE * sizeof(elem_t));
      }
  }

  Layer layer(int index) const {
    const LoraAdapter* lora = &adapters[index * NUM_TARGETS];
    float* means = is_averaged(index) ? batch.features : nullptr;
    return {config, weights[index], lora, index, batch.training != 0, batch.seed, cls_only(index), means};
  }

  PreNormLayer pre_norm_layer(int index) const {
    return {layer(index), heads[index], final_gamma, final_beta};
  }
  void load_states(const TextGroup& g) const;
  void round_states(const TextGroup& g) const;
  void store_states(const TextGroup& g) const;
  void run_pre_norm_layers();

  // Calls task(thread) on every thread.
  template <class Task>
  void run_on_threads(Task&& task) {
    parallel_for((int)batch.threads, (int)batch.threads, [&](int t) {
      FlushDenormals flush;
      configure_tiles();
      task(t);
      release_tiles();
    });
  }

  // Refuses a batch that would be read or written out of bounds: its ids come from a user's files.
  void check_batch() const {
    if (batch.texts < 1 || batch.threads < 1 || batch.group_rows < 1 || batch.first_layer < 0 ||
        batch.end_layer > config.layers || batch.first_layer > batch.end_layer || batch.offsets[0] != 0 ||
        (batch.pooling != SM_FIRST && batch.pooling != SM_MEAN))
      throw std::invalid_argument("the batch is not valid");
    long longest = 0;
    for (long i = 0; i < batch.texts; i++) {
      const long length = batch.offsets[i + 1] - batch.offsets[i];
      if (length < 1) throw std::invalid_argument("a text has no tokens");
      longest = std::max(longest, length);
    }
    bool too_long = longest > 65536;  // a row id has 16 bits for the position
    too_long |= config.head.position_bias && longest > config.head.reach;
    for (const HeadConfig& head : heads) too_long |= longest > head.rotation.positions;
    if (too_long) throw std::out_of_range("a text has more tokens than the encoder has positions");
    if (batch.input_states) return;
    auto within = [&](const int32_t* ids, long rows) {
      bool outside = false;
      for (long i = 0; i < batch.offsets[batch.texts]; i++) outside |= (uint32_t)ids[i] >= (uint64_t)rows;
      return !outside;
    };
    if (!within(batch.token_ids, embeddings.tables.word_rows))
      throw std::out_of_range("a token id is not a row of the embeddings");
    if (embeddings.tables.positions && !within(batch.position_ids, embeddings.tables.position_rows))
      throw std::out_of_range("a position is not a row of the embeddings");
  }

  void forward() {
    check_batch();
    pack_adapters();
    form_groups();
    allocate_scratch();
    allocate_saved();
    allocate_features();
    config.pre_norm ? run_pre_norm_layers() : run_layers();
  }

  void allocate_features() {
    feature_rows = nullptr, feature_blocks = 0;
    if (!batch.features) return;
    feature_blocks = 1;
    for (const TextGroup& g : groups)
      if (batch.pooling == SM_FIRST) feature_blocks = std::max<long>(feature_blocks, g.cls_blocks);
    feature_rows =
        batch_arena.allocate<float>(batch.threads * feature_blocks * config.hidden_blocks * BLOCK_ELEMS);
  }
  // The pooled rows of thread `t`, or null unless the layer is pooled.
  float* features_of(int layer, int t) const {
    return is_pooled(layer) ? feature_rows + t * feature_blocks * config.hidden_blocks * BLOCK_ELEMS
                            : nullptr;
  }
  // Copies the rows of the first tokens to the batch's features.
  void store_features(const TextGroup& g, const float* rows) const {
    const long width = (long)config.hidden_blocks * BLOCK_SIDE;
    for (size_t n = 0; n < g.texts.size(); n++)
      memcpy(batch.features + g.texts[n] * width, rows + (long)n * width, width * sizeof(float));
  }

  void run_layers() {
    const long D = config.hidden_blocks;
    std::vector<elem_t*> x(groups.size());
    // The input of the lowest saved layer needs memory of its own, because the backward pass reads it. The
    // layers above recompute theirs.
    std::vector<std::vector<elem_t*>> outputs(groups.size());
    for (size_t i = 0; i < groups.size(); i++) {
      auto own = [&] { return batch_arena.allocate<elem_t>((long)groups[i].m_blocks * D * BLOCK_ELEMS); };
      x[i] = saves((int)batch.first_layer) ? own() : groups[i].ping;
      for (int l = (int)batch.first_layer; l < batch.end_layer; l++) {
        const bool persists = l + 1 < batch.end_layer && saves(l + 1) && !saves(l);
        outputs[i].push_back(is_pooled(l)                  ? nullptr
                             : persists                    ? own()
                             : (l - batch.first_layer) % 2 ? groups[i].ping
                                                           : groups[i].pong);
      }
    }
    run_on_threads([&](int t) {
      LayerScratch& s = scratch[t];
      for (int i : groups_of_thread[t]) load_input(groups[i], s, x[i]);
      for (int l = (int)batch.first_layer; l < batch.end_layer; l++)
        for (int i : groups_of_thread[t]) {
          const TextGroup& g = groups[i];
          SavedActivations* save = saves(l) ? &saved[i][l] : nullptr;
          if (save) save->x = x[i];
          elem_t* y = outputs[i][l - batch.first_layer];
          float* features = features_of(l, t);
          layer(l).forward(g, x[i], y, features, save, s);
          if (cls_only(l)) store_features(g, features);
          if (is_averaged(l)) layer(l).divide_sums(g);
          x[i] = y;
        }
      if (batch.output_states)
        for (int i : groups_of_thread[t]) store_output(groups[i], x[i]);
    });
  }

  // Writes the gradient of the last layer's output: every token of a text gets an equal share of the mean's.
  void spread_gradient(const TextGroup& g, const float* gradient) const {
    const long D = config.hidden_blocks;
    for (size_t t = 0; t < g.texts.size(); t++) {
      const float* from = gradient + g.texts[t] * D * BLOCK_SIDE;
      const float share = 1.f / (float)g.lengths[t];
      for (long row = g.starts[t]; row < g.starts[t] + g.lengths[t]; row++)
        for (int c = 0; c < D; c++) {
          float* to = g.dstates + row_offset(row, D) + c * BLOCK_ELEMS;
          store_row(to, load(from + c * BLOCK_SIDE) * share, load(from + c * BLOCK_SIDE + 16) * share);
        }
    }
    for (long row = g.starts.back() + g.lengths.back(); row < g.rows(); row++)
      for (int c = 0; c < D; c++)
        memset(g.dstates + row_offset(row, D) + c * BLOCK_ELEMS, 0, BLOCK_SIDE * sizeof(float));
  }

  // gradient: of the features, float32 [texts][hidden].
  void backward(const float* gradient) {
    const long D = config.hidden_blocks;
    run_on_threads([&](int t) {
      LayerScratch& s = scratch[t];
      float* cls_gradient = feature_rows + (long)t * feature_blocks * D * BLOCK_ELEMS;
      for (int l = (int)batch.end_layer - 1; l >= std::max<int>(lowest_adapted, (int)batch.first_layer); l--)
        for (int i : groups_of_thread[t]) {
          const TextGroup& g = groups[i];
          if (cls_only(l)) {
            memset(cls_gradient, 0, (size_t)g.cls_blocks * D * BLOCK_ELEMS * sizeof(float));
            for (size_t n = 0; n < g.texts.size(); n++)
              for (int c = 0; c < D; c++)
                memcpy(cls_gradient + row_offset((long)n, D) + c * BLOCK_ELEMS,
                       gradient + g.texts[n] * D * BLOCK_SIDE + c * BLOCK_SIDE, BLOCK_SIDE * sizeof(float));
          }
          if (is_averaged(l)) spread_gradient(g, gradient);
          if (config.pre_norm) {
            pre_norm_layer(l).backward(g, cls_gradient, saved[i][l], l > lowest_adapted, s);
            continue;
          }
          if (l > lowest_adapted && l > batch.first_layer && gradients_need_input(l))
            layer(l - 1).recompute_output(g, saved[i][l - 1], saved[i][l], s);
          layer(l).backward(g, cls_gradient, saved[i][l], l > lowest_adapted, s);
        }
    });
    // Groups are summed in their order, so that the sum does not depend on the threads.
    parallel_for((int)(config.layers * NUM_TARGETS), (int)batch.threads, [&](int at) {
      const SmAdapter& a = batch.adapters[at];
      int l = at / NUM_TARGETS, t = at % NUM_TARGETS;
      if (!a.r || l < batch.first_layer || l >= batch.end_layer) return;
      const LoraAdapter& lora = adapters[at];
      memset(a.da, 0, lora.r * lora.inputs * sizeof(float));
      memset(a.db, 0, lora.r * lora.outputs * sizeof(float));
      if (lora.gain) memset(a.dmagnitude, 0, lora.outputs * sizeof(float));
      for (size_t i = 0; i < groups.size(); i++) {
        const SavedActivations& s = saved[i][l];
        for (long e = 0; e < lora.r * lora.inputs; e++) a.da[e] += s.da[t][e];
        for (long r = 0; r < lora.r; r++)
          for (long o = 0; o < lora.outputs; o++)
            a.db[config.output_of(t, o) * lora.r + r] += s.db[t][r * lora.outputs + o];
        for (long o = 0; lora.gain && o < lora.outputs; o++)
          a.dmagnitude[config.output_of(t, o)] += s.dgain[t][o] / lora.norms[o];
      }
    });
  }

  long feature_blocks = 0;
  // [threads][feature_blocks][hidden_blocks]: the rows that are pooled; those of the first tokens are
  // overwritten with their gradient.
  float* feature_rows = nullptr;
};

}  // namespace
}  // namespace submillion
