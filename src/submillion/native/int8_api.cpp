// C interface of the int8 kernels, called from Python through ctypes.
#include "int8_encoder.hpp"
#include "library_state.hpp"

namespace submillion {

// Functions that return const char* return null, or an error message.
#pragma GCC visibility push(default)
extern "C" {

const char* sm_init() { return catch_errors(request_processor_state); }
const char* sm_create(const SmInt8Config* config, void** to) {
  return catch_errors([&] {
    auto* e = new Int8Encoder();
    e->hidden = config->hidden, e->ffn = config->ffn, e->heads = (int)config->heads;
    e->epsilon = (float)config->epsilon, e->pre_norm = config->pre_norm != 0;
    AttentionShape attention;
    attention.head_channels = (int)(config->hidden / config->heads);
    attention.scale = 1.f / std::sqrt((float)attention.head_channels);
    e->layers.resize(config->layers);
    e->attention.assign(config->layers, attention);
    *to = e;
  });
}
void sm_destroy(void* encoder) { delete (Int8Encoder*)encoder; }
const char* sm_load_layer(void* encoder, int64_t layer, const SmInt8Layer* weights, int64_t threads) {
  return catch_errors([&] { ((Int8Encoder*)encoder)->load_layer((int)layer, *weights, (int)threads); });
}
const char* sm_set_embeddings(void* encoder, const SmEmbeddings* embeddings, int64_t threads) {
  return catch_errors([&] { ((Int8Encoder*)encoder)->set_embeddings(*embeddings, (int)threads); });
}
// table: float32 [heads][2 reach - 1], as HeadConfig::position_bias.
const char* sm_set_position_bias(void* encoder, const float* table, int64_t reach) {
  return catch_errors([&] {
    auto* e = (Int8Encoder*)encoder;
    // The copy is padded, because attention loads 16 entries at a time, also past the end of the table.
    const long count = e->heads * (2 * reach - 1);
    float* copy = e->weight_arena.allocate<float>(count + 16);
    memcpy(copy, table, count * sizeof(float)), memset(copy + count, 0, 16 * sizeof(float));
    for (AttentionShape& shape : e->attention) shape.position_bias = copy, shape.reach = reach;
  });
}
// The rotary positions and the window of a pre-norm layer.
void sm_set_attention(void* encoder, int64_t layer, const SmRotaryAttention* attention) {
  AttentionShape& shape = ((Int8Encoder*)encoder)->attention[layer];
  shape.cos = attention->cos, shape.sin = attention->sin, shape.reach = attention->positions;
  if (attention->window >= 0) shape.window = attention->window;
}
// The norm after the last pre-norm layer.
const char* sm_set_final_norm(void* encoder, const float* gamma, const float* beta) {
  return catch_errors([&] {
    auto* e = (Int8Encoder*)encoder;
    e->final_norm = e->copy_norm(gamma, beta);
  });
}
const char* sm_forward(void* encoder, const SmInt8Batch* batch) {
  return catch_errors([&] {
    auto* e = (Int8Encoder*)encoder;
    e->batch = *batch;
    e->forward();
  });
}
// Computes y = x W^T + bias for float32 x [rows][inputs] and y [rows][outputs], as the encoder does.
const char* sm_multiply(const SmInt8Matrix* matrix, int64_t outputs, int64_t inputs, const float* x,
                        int64_t rows, float* y) {
  return catch_errors([&] { multiply_rows(*matrix, outputs, inputs, x, rows, y); });
}
// Returns sizeof of structure `index`, which the caller compares with its own declaration.
int64_t sm_struct_size(int64_t index) {
  const size_t sizes[] = {sizeof(SmInt8Config), sizeof(SmInt8Matrix), sizeof(SmInt8Layer),
                          sizeof(SmInt8Batch),  sizeof(SmEmbeddings), sizeof(SmRotaryAttention)};
  return (int64_t)sizes[index];
}

}  // extern "C"
#pragma GCC visibility pop
}  // namespace submillion
