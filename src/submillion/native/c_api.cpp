// C interface of the kernels, called from Python through ctypes.
#include "encoder.hpp"
#include "encoder_backward.hpp"
#include "encoder_memory.hpp"
#include "encoder_positions.hpp"
#include "encoder_pre_norm.hpp"
#include "encoder_weights.hpp"
#include "library_state.hpp"

namespace submillion {

// Functions that return const char* return null, or an error message.
#pragma GCC visibility push(default)
extern "C" {

// Requests the processor state that these kernels need from the operating system. Must be called first.
const char* sm_init() { return catch_errors(request_processor_state); }
const char* sm_create(const SmEncoderConfig* config, void** to) {
  return catch_errors([&] {
    auto* e = new Encoder();
    EncoderConfig& c = e->config;
    c.layers = (int)config->layers, c.heads = (int)config->heads;
    c.hidden_blocks = (int)(config->hidden / BLOCK_SIDE), c.ffn_blocks = (int)(config->ffn / BLOCK_SIDE);
    c.epsilon = (float)config->epsilon;
    c.attention_dropout = config->attention_dropout;
    c.attention_output_dropout = config->attention_output_dropout;
    c.ffn_output_dropout = config->ffn_output_dropout;
    c.pre_norm = config->pre_norm != 0;
    int head_blocks = c.hidden_blocks / c.heads;
    c.head.heads = c.heads, c.head.head_blocks = head_blocks;
    c.head.scale = 1.f / std::sqrt((float)(head_blocks * BLOCK_SIDE));
    if (c.pre_norm) e->heads.assign(c.layers, c.head);
    e->weights.resize(c.layers), e->adapters.resize(c.layers * NUM_TARGETS);
    *to = e;
  });
}
// Whether this build can train with frozen matrices in int8.
int64_t sm_has_int8() {
#ifdef SM_INT8_PRODUCTS
  return 1;
#else
  return 0;
#endif
}
void sm_destroy(void* encoder) { delete (Encoder*)encoder; }
// Packs what is not packed yet of a layer's weights; layout: SmLayout values, SM_FORWARD among them.
const char* sm_load_layer(void* encoder, int64_t layer, const SmLayerWeights* weights, int64_t layout,
                          int64_t threads) {
  return catch_errors(
      [&] { ((Encoder*)encoder)->load_layer((int)layer, *weights, (int)layout, (int)threads); });
}
const char* sm_set_embeddings(void* encoder, const SmEmbeddings* embeddings, int64_t threads) {
  return catch_errors([&] { ((Encoder*)encoder)->set_embeddings(*embeddings, (int)threads); });
}
// table: float32 [heads][2 reach - 1], as HeadConfig::position_bias.
const char* sm_set_position_bias(void* encoder, const float* table, int64_t reach) {
  return catch_errors([&] {
    auto* e = (Encoder*)encoder;
    // The copy is padded, because attention loads 16 entries at a time, also past the end of the table.
    long count = e->config.heads * (2 * reach - 1);
    float* copy = e->weight_arena.allocate<float>(count + 64);
    memcpy(copy, table, count * sizeof(float)), memset(copy + count, 0, 64 * sizeof(float));
    e->config.head.position_bias = copy, e->config.head.reach = reach;
  });
}
void sm_set_relative_positions(void* encoder, const SmRelativePositions* positions) {
  ((Encoder*)encoder)->set_relative_positions(*positions);
}
void sm_set_attention(void* encoder, int64_t layer, const SmRotaryAttention* attention) {
  HeadConfig& head = ((Encoder*)encoder)->heads[layer];
  head.rotation = {attention->cos, attention->sin, (long)attention->positions};
  head.window = attention->window < 0 ? NO_WINDOW : (long)attention->window;
}
// The norm after the last pre-norm layer.
const char* sm_set_final_norm(void* encoder, const float* gamma, const float* beta) {
  return catch_errors([&] {
    auto* e = (Encoder*)encoder;
    const long hidden = e->config.hidden_blocks * BLOCK_SIDE;
    e->final_gamma = e->copy_vector(gamma, hidden), e->final_beta = e->copy_vector(beta, hidden);
  });
}
const char* sm_forward(void* encoder, const SmBatch* batch) {
  return catch_errors([&] {
    auto* e = (Encoder*)encoder;
    e->batch = *batch;
    e->forward();
  });
}
// gradient: of the features of the last forward pass, float32 [texts][hidden].
const char* sm_backward(void* encoder, const float* gradient) {
  return catch_errors([&] { ((Encoder*)encoder)->backward(gradient); });
}
// Writes a dropout mask of 0 and 1, [rows][col_blocks * 32], and returns the scale of the kept elements.
float sm_dropout_mask(const SmDropout* settings, const uint64_t* row_ids, int64_t rows, int64_t col_blocks,
                      uint8_t* mask) {
  Dropout dropout(settings->p, settings->seed, (int)settings->layer, (int)settings->site);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t c = 0; c < col_blocks; c++) {
      uint32_t bits = dropout.mask(dropout.row_key(row_ids[i]), (uint32_t)c);
      for (int j = 0; j < BLOCK_SIDE; j++) mask[(i * col_blocks + c) * BLOCK_SIDE + j] = bits >> j & 1;
    }
  return dropout.scale;
}
// Writes each text's group for texts of these lengths; see group_texts.
void sm_group_texts(const int64_t* lengths, int64_t texts, int64_t count, int64_t multiple, int64_t* group) {
  const Grouping g = group_texts({lengths, lengths + texts}, count, multiple);
  for (size_t i = 0; i < g.texts.size(); i++)
    for (int text : g.texts[i]) group[text] = (int64_t)i;
}
// Returns sizeof of structure `index` of c_api.hpp, which the caller compares with its own declaration.
int64_t sm_struct_size(int64_t index) {
  const size_t sizes[] = {sizeof(SmEncoderConfig),   sizeof(SmLayerWeights),
                          sizeof(SmEmbeddings),      sizeof(SmAdapter),
                          sizeof(SmBatch),           sizeof(SmDropout),
                          sizeof(SmRotaryAttention), sizeof(SmRelativePositions)};
  return (int64_t)sizes[index];
}

}  // extern "C"
#pragma GCC visibility pop
}  // namespace submillion
