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
#include "layer_forward.hpp"
#include "layer_norm.hpp"
#include "parallel.hpp"
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
  std::vector<PositionRows> positions;         // [layers]; empty without relative positions
  std::vector<PositionRows> frozen_positions;  // [layers]: those that no batch changes, once projected
  long position_blocks = 0;                    // of each layer's rows
  int lowest_adapted = 0;  // the lowest layer with an adapter, where the backward pass ends

  // encoder_weights.hpp
  float* copy_vector(const float* from, long count);
  // Packs matrices [rows][columns], stacked on top of each other, or with alternating panels.
  static PackedMatrix pack(Arena& arena, std::vector<const float*> matrices, long rows, long columns,
                           float scale, int threads, bool forward = true, bool backward = true,
                           bool alternating = false);
  // The tables must outlive the encoder; the projection is copied.
  void set_embeddings(const SmEmbeddings& tables, int threads);
  // Packs what is not packed yet of a layer; layout: SmLayout values.
  void load_layer(int index, const SmLayerWeights& l, int layout, int threads);
  void pack_frozen(FrozenMatrix& m, std::vector<const float*> matrices, long rows, long columns,
                   SectionSizes sections, int layout, int threads, bool alternating = false);
  // Returns the biases of two matrices whose panels alternate.
  float* alternate(const float* first, const float* second);
  void pack_adapters();
  void prepare_dora(LoraAdapter& lora, int layer, int target);
  // Computes the norms and gains of all DoRA adapters, each on one thread.
  void compute_gains();

  // encoder_memory.hpp
  // Distributes the texts among groups and the groups among threads. The number of groups is a multiple of
  // the threads, of at least 2, so that one thread and two threads form the same groups.
  void form_groups();
  void allocate_scratch();
  void allocate_saved();

  // encoder_positions.hpp
  // The tables must outlive the encoder.
  void set_relative_positions(const SmRelativePositions& table);
  PositionRows position_rows(long longest);
  void allocate_positions();
  void load_positions(int layer);
  void project_positions();
  void allocate_position_gradients(int layer, SavedActivations& s);
  void allocate_position_scratch(long longest_blocks, LayerScratch& s);

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

  // Writes the input of the first layer: the embeddings, or the states that the batch provides.
  void load_input(const TextGroup& g, LayerScratch& s, elem_t* x) const {
    const int D = config.hidden_blocks;
    if (!batch.input_states) {
      const bool runs_layers = batch.first_layer < batch.end_layer;
      const PackedMatrix& next = runs_layers ? weights[batch.first_layer].qkv.floats : embeddings.projection;
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
    const PositionRows* rows = positions.empty() ? nullptr : &positions[index];
    return {config,     weights[index],  lora,  index, batch.training != 0,
            batch.seed, cls_only(index), means, rows,  batch.save_activations != 0};
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
    too_long |= config.relative.embeddings && longest > config.relative.reach;
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
    allocate_positions();
    allocate_scratch();
    allocate_saved();
    allocate_features();
    project_positions();
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

  // encoder_backward.hpp
  void spread_gradient(const TextGroup& g, const float* gradient) const;
  // gradient: of the features, float32 [texts][hidden].
  void backward(const float* gradient);
  void sum_gradients();
  void add_gradients(int at, const float* da, const float* db, const float* dgain) const;

  long feature_blocks = 0;
  // [threads][feature_blocks][hidden_blocks]: the rows that are pooled; those of the first tokens are
  // overwritten with their gradient.
  float* feature_rows = nullptr;
};

}  // namespace
}  // namespace submillion
