// Backward pass of the encoder, and the sums of the groups' gradients.
#pragma once
#include "encoder.hpp"
#include "layer_backward.hpp"
#include "pre_norm_backward.hpp"

namespace submillion {
namespace {

// Writes the gradient of the last layer's output: every token of a text gets an equal share of the mean's.
inline void Encoder::spread_gradient(const TextGroup& g, const float* gradient) const {
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

inline void Encoder::backward(const float* gradient) {
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
  sum_gradients();
}

// Adds up the gradients of the groups in their order, so that the sums do not depend on the threads.
inline void Encoder::sum_gradients() {
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
      add_gradients(at, s.da[t], s.db[t], s.dgain[t]);
      if (t <= KEY && s.position_da[t])
        add_gradients(at, s.position_da[t], s.position_db[t], s.position_dgain[t]);
    }
  });
}

// Adds a group's gradients of an adapter to those of the batch; dgain is null without DoRA.
inline void Encoder::add_gradients(int at, const float* da, const float* db, const float* dgain) const {
  const SmAdapter& a = batch.adapters[at];
  const LoraAdapter& lora = adapters[at];
  const int t = at % NUM_TARGETS;
  for (long e = 0; e < lora.r * lora.inputs; e++) a.da[e] += da[e];
  for (long r = 0; r < lora.r; r++)
    for (long o = 0; o < lora.outputs; o++)
      a.db[config.output_of(t, o) * lora.r + r] += db[r * lora.outputs + o];
  for (long o = 0; dgain && o < lora.outputs; o++)
    a.dmagnitude[config.output_of(t, o)] += dgain[o] / lora.norms[o];
}

}  // namespace
}  // namespace submillion
