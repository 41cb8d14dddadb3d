// Structures of the C interface. `submillion/native/interface.py` declares the same ones with ctypes.
#pragma once
#include <cstdint>

namespace submillion {
extern "C" {

// Sizes are in channels.
struct SmEncoderConfig {
  int64_t layers, hidden, ffn, heads;
  double epsilon, attention_dropout, attention_output_dropout, ffn_output_dropout;
  int64_t pre_norm;  // the layers are as in ModernBERT, otherwise as in BERT
};
// Row-major float32 [outputs][inputs] matrices, and vectors. gate and its bias: of pre-norm layers only,
// whose norm1 may be null.
struct SmLayerWeights {
  const float *q, *q_bias, *k, *k_bias, *v, *v_bias, *out, *out_bias, *norm1_gamma, *norm1_beta, *up,
      *up_bias, *gate, *gate_bias, *down, *down_bias, *norm2_gamma, *norm2_beta;
};
// Which operands of a layer's frozen matrices are packed; values to add up. SM_STEP_INT8: those of a training
// step in int8, see frozen.hpp.
enum SmLayout { SM_FORWARD = 1, SM_BACKWARD = 2, SM_STEP_INT8 = 4 };
// The attention of a pre-norm layer. cos and sin: float32 [positions][half of a head's channels], which must
// outlive the encoder; window: how far from a query its keys may be, or -1.
struct SmRotaryAttention {
  const float *cos, *sin;
  int64_t positions, window;
};
// The relative positions of disentangled attention, in the terms that are set. embeddings: float32
// [rows][hidden]; row_of_distance: [2 reach - 1], ascending, by query - key + reach - 1; both must outlive
// the encoder. dropout: of the embeddings, in each layer.
struct SmRelativePositions {
  const float* embeddings;
  const int32_t* row_of_distance;
  int64_t reach, content_to_position, position_to_content;
  double dropout;
};
// Tables of rows of `channels` channels, which must outlive the encoder. `positions` includes the token type,
// and may be null. projection: row-major float32 [hidden][channels], applied after norm and dropout, and its
// bias; null if the tables have the encoder's hidden size.
struct SmEmbeddings {
  const float *words, *positions, *norm_gamma, *norm_beta, *projection, *projection_bias;
  double dropout;
  int64_t word_rows, position_rows, channels;
};
// a [r][inputs] and b [outputs][r]; the backward pass writes da and db, shaped alike. r = 0: no adapter.
// magnitude [outputs], of DoRA, is null for plain LoRA; its gradient is dmagnitude. weight_squares [outputs]
// holds the sum of the squares of each row of the adapted matrix.
struct SmAdapter {
  const float *a, *b, *magnitude, *weight_squares;
  float *da, *db, *dmagnitude;
  int64_t r;
  double scale, dropout;
};
// Which of a text's states become its features: that of the first token, or the mean over all tokens.
enum SmPooling { SM_FIRST, SM_MEAN };
struct SmBatch {
  int64_t texts;
  const int64_t* offsets;  // [texts + 1]: where each text's tokens begin
  const int32_t *token_ids, *position_ids;
  const void* input_states;  // [tokens][hidden] of elem_t, the input of layer `first_layer`; null: embeddings
  int64_t first_layer, end_layer;  // runs layers [first_layer, end_layer)
  int64_t training, save_activations, threads, group_rows;
  uint64_t seed;
  const SmAdapter* adapters;  // [layers][6]
  float* features;            // [texts][hidden]: the last layer's output, pooled, or null
  void* output_states;        // [tokens][hidden] of elem_t, the output of layer `end_layer` - 1, or null
  int64_t pooling;            // an SmPooling
};
// One application of dropout; `site` is a DropoutSite of dropout.hpp.
struct SmDropout {
  double p;
  uint64_t seed;
  int64_t layer, site;
};

}  // extern "C"
}  // namespace submillion
