// Data of an encoder layer: configuration, weights, groups of texts, saved activations and scratch buffers.
#pragma once
#include <vector>

#include "attention.hpp"
#include "dora.hpp"
#include "frozen.hpp"

namespace submillion {

// Blocks of channels of the heads that are projected before attention reads them, so that they are still in
// L2.
enum { HEADS_CHUNK = 4 };

enum Target { QUERY, KEY, VALUE, ATTENTION_OUT, FFN_UP, FFN_DOWN, NUM_TARGETS };

// The relative positions of disentangled attention, which every layer projects with its matrices of queries
// and keys.
struct RelativePositions {
  const float* embeddings = nullptr;         // [rows][channels]; null: the encoder has none
  const int32_t* row_of_distance = nullptr;  // [2 reach - 1], ascending, by query - key + reach - 1
  long reach = 0;                            // positions
  double dropout = 0;                        // of the embeddings, in each layer
  bool content_to_position = false, position_to_content = false;  // the terms of a score
  long row(long distance) const { return row_of_distance[distance + reach - 1]; }
};

struct EncoderConfig {
  int layers, hidden_blocks, ffn_blocks, heads;  // blocks of 32 channels
  float epsilon;
  double attention_dropout, attention_output_dropout, ffn_output_dropout;
  HeadConfig head;
  bool pre_norm = false;  // PreNormLayer, otherwise Layer
  RelativePositions relative;

  // The channels that enter and leave a target's matrix, in blocks.
  int input_blocks(int target) const { return target == FFN_DOWN ? ffn_blocks : hidden_blocks; }
  int output_blocks(int target) const {
    if (target == FFN_UP) return pre_norm ? 2 * ffn_blocks : ffn_blocks;
    return pre_norm && target == QUERY ? 3 * hidden_blocks : hidden_blocks;
  }
  // The row of a target's matrix that makes channel `channel` of its packed panels.
  long output_of(int target, long channel) const {
    if (!pre_norm || target != FFN_UP) return channel;
    const long panel = channel / BLOCK_SIDE;  // the panels of the two halves alternate
    return (panel % 2 * ffn_blocks + panel / 2) * BLOCK_SIDE + channel % BLOCK_SIDE;
  }
};

constexpr uint64_t PADDING_ROW = ~0ull;
constexpr uint64_t POSITION_ROW = 1ull << 63;  // with the row of a relative embedding

// The frozen weights of a layer; biases and layer norms in float32. norm1 may be null in a pre-norm layer.
struct LayerWeights {
  FrozenMatrix qkv, out, up, down;
  float *qkv_bias = nullptr, *out_bias, *up_bias, *down_bias, *norm1_gamma, *norm1_beta, *norm2_gamma,
        *norm2_beta;
};

// Whole texts laid end to end and padded to blocks. Groups share nothing but the weights, so each runs on one
// thread.
//
// cls: the rows of each text's first token alone, one per text, which are all that the last layer computes
// after K and V if only they become features.
struct TextGroup {
  int m_blocks, cls_blocks;
  bool half_last, cls_half_last;  // the last block has at most 16 rows
  std::vector<int> texts, starts, lengths;
  uint64_t *row_ids, *cls_row_ids;  // text << 16 | position, or PADDING_ROW
  elem_t *ping, *pong;              // alternating inputs and outputs of layers, if they are not saved
  float* states;                    // the states between pre-norm layers: [m_blocks][hidden_blocks]
  float* dstates;  // gradient of the layer's output, then of its input: [m_blocks][hidden_blocks]
  int rows() const { return m_blocks * BLOCK_SIDE; }
};

// What the backward pass of a layer needs from the forward pass of one group. If only cls rows become
// features, everything but K and V of the last layer has cls rows only.
struct SavedActivations {
  const elem_t* x = nullptr;  // the layer's input
  elem_t *cls_x = nullptr, *cls_q = nullptr;
  elem_t *qkv = nullptr, *context = nullptr, *x_hat1 = nullptr, *ffn_input = nullptr,
         *gelu_derivative = nullptr, *gelu_output = nullptr, *x_hat2 = nullptr;
  elem_t *gelu_value = nullptr, *x_hat_final = nullptr;  // of pre-norm layers
  elem_t* lora_u[NUM_TARGETS] = {};                      // A dropout(x)
  elem_t* dora_z[NUM_TARGETS] = {};                      // z of DoraProduct
  float *log_sum_exp = nullptr, *rstd1 = nullptr, *rstd2 = nullptr, *rstd_final = nullptr;
  // This group's gradients of A and B, [r][inputs] and [r][outputs], and of the gains, [outputs].
  float *da[NUM_TARGETS] = {}, *db[NUM_TARGETS] = {}, *dgain[NUM_TARGETS] = {};
  // The same, of QUERY and KEY through the relative positions.
  float *position_da[2] = {}, *position_db[2] = {}, *position_dgain[2] = {};
};

// The relative embeddings in one layer, those rows that the distances of a batch have.
struct PositionRows {
  long first_row = 0, rows = 0;
  int blocks = 0;
  bool pending = false, frozen = false;  // not projected yet; the same for all batches
  // Of the batch that projects them: POSITION_ROW | row, and the embeddings, [blocks][hidden_blocks].
  const uint64_t* row_ids = nullptr;
  elem_t* x = nullptr;
  elem_t* projected = nullptr;              // P_Q and P_K, [blocks][2 hidden_blocks]
  elem_t *lora_u[2] = {}, *dora_z[2] = {};  // as in SavedActivations, of QUERY and KEY
};

// Tables of the heads that a thread works on, two for each, and room to make them.
struct PositionScratch {
  RelativeHead heads[HEADS_CHUNK];
  elem_t *by_distance, *channels, *rows;
  float *gradient, *row_gradient;  // of one head: by distance, and of P_Q or P_K
  elem_t* dprojected;              // gradient of PositionRows::projected
};

// Buffers of one thread, large enough for every group of the batch.
struct LayerScratch {
  elem_t *qkv, *context, *ffn_input, *ffn_act, *dbranch, *dresidual, *dropped_rows, *cls_x, *cls_q,
      *gelu_column, *lora_u[NUM_TARGETS], *pack_buffer;
  float* acc_f32;     // [m_blocks][hidden_blocks]: all output blocks of a matrix product
  float* acc_column;  // [m_blocks]: one panel's output blocks
  float *lora_acc, *lora_dx;
  elem_t* dora_rows;  // three times [m_blocks][hidden_blocks], or once [m_blocks] of any target's width
  long dora_stride;   // elements between the rows of query, key and value
  DoraProduct dora[NUM_TARGETS];
  uint64_t *row_keys, *row_keys2;  // dropout keys
  RoundedRows rounded[2];          // of a layer's input to a product, and of the FFN activations
  AttentionScratch attention;
  PositionScratch positions;
};

// FFN channels computed at a time, in blocks: their activations stay in L2.
#ifdef SM_AMX
enum { FFN_CHUNK = 16 };
#else
enum { FFN_CHUNK = 12 };
#endif

}  // namespace submillion
