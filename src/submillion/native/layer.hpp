// One post-norm encoder layer (the layout of BERT), run over one group of texts at a time.
//
// A group is small enough for its activations to stay in L2.
#pragma once
#include <algorithm>

#include "layer_state.hpp"

namespace submillion {

// In the member functions, D and F are the blocks of 32 hidden and FFN channels, m and n the indices of a
// block's rows and columns, and i a row of a block.
struct Layer {
  const EncoderConfig& config;
  const LayerWeights& weights;
  const LoraAdapter* adapters;  // [NUM_TARGETS]
  int index;
  bool training;  // apply dropout
  uint64_t seed;
  bool cls_only;  // the last layer: only the cls rows of its output are needed
  float* means;   // the last layer: [texts][channels] for the mean of each text's output, or null
  const PositionRows* positions;  // of disentangled attention, or null
  bool int8;                      // the forward pass uses the int8 matrices that there are

  Dropout dropout(double p, int site) const {
    return training && p > 0 ? Dropout(p, seed, index, site) : Dropout();
  }
  static const uint64_t* row_keys(const Dropout& dropout, const uint64_t* row_ids, int m_blocks,
                                  uint64_t* to) {
    for (int i = 0; i < m_blocks * BLOCK_SIDE; i++) to[i] = dropout.row_key(row_ids[i]);
    return to;
  }
  // Panel n of a target's matrix.
  LowRankTerm low_rank_term(int target, const elem_t* u, int n) const {
    const LoraAdapter& lora = adapters[target];
    if (!lora.enabled()) return {};
    return {{u, (long)lora.rank_blocks() * BLOCK_ELEMS},
            {lora.b.forward + (long)n * lora.rank_blocks() * BLOCK_ELEMS, 0},
            lora.rank_blocks(),
            lora.ranks_in_last()};
  }

  // Zeroes the padding rows: attention does not write them, and a NaN there would spread in sums over rows.
  static void clear_padding(const TextGroup& g, elem_t* rows, int col_blocks) {
    if (g.texts.empty()) return;
    for (long row = g.starts.back() + g.lengths.back(); row < g.rows(); row++)
      for (int c = 0; c < col_blocks; c++)
        memset(rows + row_offset(row, col_blocks) + c * BLOCK_ELEMS, 0, BLOCK_SIDE * sizeof(elem_t));
  }

  // Computes u = A dropout(x) if the target has an adapter, and prepares the product of a DoRA adapter.
  void adapter_down(int target, const elem_t* x, int m_blocks, const uint64_t* row_ids, elem_t* u,
                    const SavedActivations* saved, LayerScratch& s) const {
    const LoraAdapter& lora = adapters[target];
    s.dora[target] = DoraProduct();
    if (!lora.enabled()) return;
    const uint64_t* keys = row_keys(lora.dropout, row_ids, m_blocks, s.row_keys);
    lora_down(lora, x, m_blocks, keys, u, s.dropped_rows, s.lora_acc);
    if (!lora.gain) return;
    elem_t* dropped = dora_rows(target, s);
    if (dropped) drop_rows(lora.dropout, keys, x, m_blocks, (int)(lora.inputs / BLOCK_SIDE), dropped);
    s.dora[target] = {&lora, dropped, u, saved ? saved->dora_z[target] : nullptr, s.lora_dx, m_blocks};
  }
  // Room for rows of a target's DoRA adapter, or null if it needs none.
  elem_t* dora_rows(int target, const LayerScratch& s) const {
    if (!adapters[target].drops_base_input()) return nullptr;
    return s.dora_rows + (target <= VALUE ? target : 0) * s.dora_stride;
  }

  // Epilogue: dropout(acc + bias) + residual, in place.
  static void bias_dropout_residual(float* acc, const float* bias, const elem_t* residual,
                                    const Dropout& dropout, const uint64_t* row_keys, int n, int row_begin,
                                    int row_end) {
    f32x16 b0 = load(bias + n * BLOCK_SIDE), b1 = load(bias + n * BLOCK_SIDE + 16);
    for (int i = row_begin; i < row_end; i++) {
      f32x16 low = load(acc + i * BLOCK_SIDE) + b0, high = load(acc + i * BLOCK_SIDE + 16) + b1, r0, r1;
      load_row(residual + i * BLOCK_SIDE, r0, r1);
      if (dropout.enabled()) {
        uint32_t mask = dropout.mask(row_keys[i], (uint32_t)n);
        low = zero_dropped(low * dropout.scale, mask), high = zero_dropped(high * dropout.scale, mask >> 16);
      }
      store_row(acc + i * BLOCK_SIDE, low + r0, high + r1);
    }
  }

  // Where projected panels are written: panel n of token block m to block m * col_blocks + n - first_panel of
  // `data`, and, unless `saved` is null, to its place in the saved [m_blocks][3 hidden_blocks].
  struct ProjectionOutput {
    elem_t* data;
    long col_blocks, first_panel;
    elem_t* saved;
  };

  // The target whose adapter adds to panel n of the projections to queries, keys and values, and the panel of
  // that target.
  int qkv_target(int n) const { return config.pre_norm ? +QUERY : n / config.hidden_blocks; }
  int qkv_panel(int n) const { return config.pre_norm ? n : n % config.hidden_blocks; }

  template <class LoraU, class Attend>
  void project_heads(const elem_t* x, int m_blocks, bool half_last, LoraU&& lora_u, SavedActivations* saved,
                     LayerScratch& s, Attend&& attend) const;
  template <class LoraU>
  void project_qkv(const elem_t* x, int m_blocks, bool half_last, int n_begin, int n_end,
                   ProjectionOutput out, const elem_t* next_b, LoraU&& lora_u, LayerScratch& s,
                   bool rounded = false) const;
  void forward(const TextGroup& g, const elem_t* x, elem_t* y, float* features, SavedActivations* saved,
               LayerScratch& s) const;
  template <class LoraU>
  void forward_after_attention(int m_blocks, bool half_last, const uint64_t* row_ids, const elem_t* context,
                               const elem_t* x, elem_t* y, float* features, SavedActivations* saved,
                               LoraU&& lora_u, LayerScratch& s) const;
  void attend_cls(const TextGroup& g, elem_t* q, elem_t* qkv, elem_t* context, float* log_sum_exp,
                  LayerScratch& s) const;
  void add_to_sums(const uint64_t* row_ids, const float* rows) const;
  void divide_sums(const TextGroup& g) const;
  void recompute_output(const TextGroup& g, const SavedActivations& saved, SavedActivations& next,
                        LayerScratch& s) const;
  void backward(const TextGroup& g, float* cls_gradient, SavedActivations& saved, bool needs_dx,
                LayerScratch& s) const;
  void backward_to_context(int m_blocks, bool half_last, const uint64_t* row_ids, float* gradient,
                           SavedActivations& saved, elem_t* dz, elem_t* dcontext, LayerScratch& s) const;
  void adapter_backward(int target, const elem_t* x, OperandA dy, int m_blocks, const uint64_t* row_ids,
                        SavedActivations& saved, elem_t* du, LayerScratch& s) const;

  void heads_backward(const TextGroup& g, const SavedActivations& saved, const elem_t* dcontext,
                      bool needs_dx, LayerScratch& s) const;

  // layer_positions.hpp
  const RelativeHead* relative_heads(const TextGroup& g, int head, int heads, bool backward,
                                     LayerScratch& s) const;
  // The row of P_Q (QUERY) or P_K (KEY) that a distance, column - row, has; see relative_attention.hpp.
  long position_row(Target target, long distance) const {
    return config.relative.row(target == QUERY ? distance : -distance) - positions->first_row;
  }
  void copy_by_distance(Target target, int head, long center, long longest, elem_t* to) const;
  void store_position_gradients(const TextGroup& g, int head, LayerScratch& s) const;
  void position_adapters_backward(const SavedActivations& saved, LayerScratch& s) const;
  void project_positions(bool save, LayerScratch& s) const;

  // Copies the first token's row of each text.
  void gather_cls(const TextGroup& g, const elem_t* x, elem_t* to) const {
    const int D = config.hidden_blocks;
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int c = 0; c < D; c++)
        memcpy(to + row_offset((long)t, D) + c * BLOCK_ELEMS,
               x + row_offset(g.starts[t], D) + c * BLOCK_ELEMS, BLOCK_SIDE * sizeof(elem_t));
    clear_cls_padding(g, to, D);
  }
  static void clear_cls_padding(const TextGroup& g, elem_t* rows, int col_blocks) {
    for (long row = (long)g.texts.size(); row < g.cls_blocks * BLOCK_SIDE; row++)
      for (int c = 0; c < col_blocks; c++)
        memset(rows + row_offset(row, col_blocks) + c * BLOCK_ELEMS, 0, BLOCK_SIDE * sizeof(elem_t));
  }
};

}  // namespace submillion
