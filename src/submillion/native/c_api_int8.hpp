// Structures of the C interface to the int8 kernels.
// `submillion/native/int8.py` declares the same ones with ctypes.
#pragma once
#include "c_api.hpp"

namespace submillion {
extern "C" {

// Sizes are in channels. pre_norm: as in SmEncoderConfig.
struct SmInt8Config {
  int64_t layers, hidden, ffn, heads, pre_norm;
  double epsilon;
};
// A matrix in int8 [outputs][inputs] with scales [groups][outputs], or in float32 [outputs][inputs]; the
// other pointers are null.
struct SmInt8Matrix {
  const int8_t* values;
  const float *scales, *floats, *bias;
};
// gate and norm1: as in SmLayerWeights; a gate that does not exist has null pointers.
struct SmInt8Layer {
  SmInt8Matrix q, k, v, out, up, gate, down;
  const float *norm1_gamma, *norm1_beta, *norm2_gamma, *norm2_beta;
};
struct SmInt8Batch {
  int64_t texts;
  const int64_t* offsets;  // [texts + 1]: where each text's tokens begin
  const int32_t *token_ids, *position_ids;
  const float* input_states;       // [tokens][hidden], the input of layer `first_layer`; null: embeddings
  int64_t first_layer, end_layer;  // runs layers [first_layer, end_layer)
  int64_t threads, group_rows, pooling;
  float *features, *output_states;  // as in SmBatch, each may be null
};

}  // extern "C"
}  // namespace submillion
