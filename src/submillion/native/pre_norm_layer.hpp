// One pre-norm encoder layer (ModernBERT), run over one group of texts at a time.
//
// The states between layers are float32, because every layer adds to them and none normalizes them (He et al.
// 2016, arXiv:1603.05027, section 3): rounded to bfloat16, they would lose more than all matrix products do.
#pragma once
#include "layer.hpp"
#include "layer_norm.hpp"

namespace submillion {

// states += attention(norm1(states)); states += down(gelu(up(x)) gate(x)) with x = norm2(states) (Warner et
// al. 2024, arXiv:2412.13663; GeGLU: Shazeer 2020, arXiv:2002.05202, eq. 6).
//
// One matrix makes queries, keys and values, with one adapter, that of QUERY. One matrix makes up and gate,
// with the adapter of FFN_UP; its panels alternate, those of `up` at even indices.
struct PreNormLayer : Layer {
  const HeadConfig& head;
  const float *final_gamma, *final_beta;  // of the norm before the mean; used if `means` is not null

  void forward(const TextGroup& g, float* states, float* features, SavedActivations* saved,
               LayerScratch& s) const;
  void backward(const TextGroup& g, float* cls_gradient, SavedActivations& saved, bool needs_dx,
                LayerScratch& s) const;

 private:
  elem_t* lora_u(int target, const SavedActivations* saved, const LayerScratch& s) const {
    return saved && adapters[target].enabled() ? saved->lora_u[target] : s.lora_u[target];
  }
  // The rows that the layer computes after attention: all, or those of the first tokens.
  struct Rows {
    int m_blocks;
    bool half_last;
    const uint64_t* ids;
  };
  Rows rows_after_attention(const TextGroup& g) const {
    return cls_only ? Rows{g.cls_blocks, g.cls_half_last, g.cls_row_ids}
                    : Rows{g.m_blocks, g.half_last, g.row_ids};
  }

  void normalize(int m_blocks, const float* states, const float* gamma, const float* beta, elem_t* x_hat,
                 float* rstd, elem_t* y) const;
  static void round_rows(const float* from, long blocks, elem_t* to, elem_t* also);
  void attention_branch(const TextGroup& g, const elem_t* x, elem_t* context, SavedActivations* saved,
                        LayerScratch& s) const;
  template <class Store>
  void project(int target, const elem_t* x, const FrozenMatrix& matrix, Rows rows, int n_blocks,
               const elem_t* next_b, const elem_t* u, Store&& store, LayerScratch& s) const;
  void add_projection(int target, const elem_t* x, const FrozenMatrix& matrix, const float* bias,
                      const Dropout& dropout, Rows rows, const elem_t* next_b, float* states,
                      SavedActivations* saved, LayerScratch& s) const;
  void gated_ffn(Rows rows, const elem_t* x, elem_t* act, SavedActivations* saved, LayerScratch& s) const;
  void average(Rows rows, const float* states, float* features, SavedActivations* saved) const;

  void ffn_backward(Rows rows, float* gradient, SavedActivations& saved, LayerScratch& s) const;
  void context_backward(Rows rows, const float* gradient, SavedActivations& saved, LayerScratch& s) const;
  void attention_heads_backward(const TextGroup& g, Rows rows, const SavedActivations& saved,
                                LayerScratch& s) const;
  template <class Store>
  void project_back(int target, const elem_t* x, OperandA dy, const FrozenMatrix& matrix, Rows rows,
                    Accumulator acc, const elem_t* next_b, SavedActivations& saved, Store&& store,
                    LayerScratch& s) const;
  void norm_output(int m_blocks, const elem_t* x_hat, const float* gamma, const float* beta, elem_t* y) const;
};

// Copies the first token's row of each text, and zeroes the rows after the last one.
inline void gather_cls_states(const TextGroup& g, const float* states, int col_blocks, float* to) {
  for (long row = 0; row < g.cls_blocks * BLOCK_SIDE; row++)
    for (int c = 0; c < col_blocks; c++) {
      float* at = to + row_offset(row, col_blocks) + c * BLOCK_ELEMS;
      if (row < (long)g.texts.size())
        memcpy(at, states + row_offset(g.starts[row], col_blocks) + c * BLOCK_ELEMS,
               BLOCK_SIDE * sizeof(float));
      else
        memset(at, 0, BLOCK_SIDE * sizeof(float));
    }
}

}  // namespace submillion
