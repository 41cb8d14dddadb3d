// Encoder in int8, for inference: matrices in int8, everything between them in float32.
//
// A group of texts runs through all layers on one thread. Its rows lie end to end without padding, and no row
// depends on another text, so neither the groups nor the threads change a result.
#pragma once
#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "flush_denormals.hpp"
#include "int8_layer.hpp"

namespace submillion {
namespace {

struct Int8Encoder : Int8Layers {
  Int8Norm final_norm;  // after the last pre-norm layer, where the mean is pooled
  SmEmbeddings embeddings{};
  Int8Matrix projection;  // of the embeddings, in float; no panels if they have the hidden size
  Arena weight_arena, scratch_arena;
  std::vector<Int8Group> groups;

  float* copy(const float* from, long count) {
    float* to = weight_arena.allocate<float>(count);
    memcpy(to, from, count * sizeof(float));
    return to;
  }

  Int8Norm copy_norm(const float* gamma, const float* beta) {
    return gamma ? Int8Norm{copy(gamma, hidden), copy(beta, hidden)} : Int8Norm{};
  }

  void set_embeddings(const SmEmbeddings& from, int threads) {
    embeddings = from;
    if (from.projection)
      projection = pack_int8(weight_arena, {nullptr, nullptr, from.projection, from.projection_bias}, hidden,
                             from.channels, threads);
  }

  void load_layer(int index, const SmInt8Layer& from, int threads) {
    Int8Layer& l = layers[index];
    auto pack = [&](const SmInt8Matrix& m, long outputs, long inputs) {
      return pack_int8(weight_arena, m, outputs, inputs, threads);
    };
    l.q = pack(from.q, hidden, hidden), l.k = pack(from.k, hidden, hidden),
    l.v = pack(from.v, hidden, hidden);
    l.out = pack(from.out, hidden, hidden), l.up = pack(from.up, ffn, hidden),
    l.down = pack(from.down, hidden, ffn);
    if (pre_norm) l.gate = pack(from.gate, ffn, hidden);
    l.norm1 = copy_norm(from.norm1_gamma, from.norm1_beta);
    l.norm2 = copy_norm(from.norm2_gamma, from.norm2_beta);
  }

  // Cuts the batch into groups of about equal size, a multiple of the threads if there are enough texts.
  void form_groups() {
    const long total = batch.offsets[batch.texts], threads = batch.threads;
    const long wanted = (total + batch.group_rows - 1) / batch.group_rows;
    const long count = std::min<long>(batch.texts, (wanted + threads - 1) / threads * threads);
    groups.clear();
    for (long text = 0; text < batch.texts;) {
      const long done = batch.offsets[text], left = count - (long)groups.size();
      const long target = done + (left > 1 ? (total - done + left - 1) / left : total - done);
      long end = text + 1;
      // A text goes to the group that it overlaps more.
      while (end < batch.texts && batch.offsets[end] + batch.offsets[end + 1] <= 2 * target) end++;
      groups.push_back({text, end, batch.offsets[end] - done});
      text = end;
    }
  }

  std::vector<Int8Scratch> allocate_scratch(long threads) {
    long rows = 0, texts = 0, longest = 0;
    for (const Int8Group& g : groups) rows = std::max(rows, g.rows), texts = std::max(texts, g.end - g.begin);
    for (long i = 0; i < batch.texts; i++)
      longest = std::max(longest, batch.offsets[i + 1] - batch.offsets[i]);
    const long widest = std::max<long>(hidden, embeddings.channels), head_channels = hidden / heads;
    scratch_arena.reset();
    for (Arena* arena : {&weight_arena, &scratch_arena}) arena->promote();
    std::vector<Int8Scratch> all(threads);
    for (Int8Scratch& s : all) {
      auto floats = [&](long count) { return scratch_arena.allocate<float>(count); };
      s.x = floats(rows * hidden), s.branch = floats(rows * widest), s.first = floats(texts * hidden);
      s.wide = floats(rows * std::max<long>(3 * chunk_heads() * head_channels,
                                            ChannelGroups((int)(ffn / BLOCK_SIDE)).widest()));
      s.partial = floats(rows * BLOCK_SIDE);
      s.input = allocate_input(scratch_arena, widest, rows), s.act = allocate_input(scratch_arena, ffn, rows);
      s.first_input = allocate_input(scratch_arena, hidden, texts);
      const long padded = (longest + 15) / 16 * 16;
      s.attention = {floats(padded * head_channels), floats(padded * ATTENTION_ROWS)};
    }
    return all;
  }

  // Writes the embeddings' rows, or the states that the batch provides.
  void load_input(const Int8Group& g, const Int8Scratch& s) const {
    const long first = batch.offsets[g.begin];
    if (batch.input_states) {
      memcpy(s.x, batch.input_states + first * hidden, g.rows * hidden * sizeof(float));
      return;
    }
    const long channels = embeddings.channels;
    float* to = projection.panels ? s.branch : s.x;
    for (long i = 0; i < g.rows; i++) {
      const float* word = embeddings.words + batch.token_ids[first + i] * channels;
      if (embeddings.positions)
        memcpy(to + i * channels, embeddings.positions + batch.position_ids[first + i] * channels,
               channels * sizeof(float));
      normalize_row(word, embeddings.positions != nullptr, channels, embeddings.norm_gamma,
                    embeddings.norm_beta, epsilon, to + i * channels);
    }
    if (!projection.panels) return;
    prepare_rows(to, g.rows, projection.groups, {&projection}, s.input);
    multiply(projection, s.input, (int)g.rows, 0, projection.panels, s.partial,
             [&](long row, int n, f32x16 low, f32x16 high) {
               store_row(s.x + row * hidden + n * BLOCK_SIDE, low, high);
             });
  }

  void pool(const Int8Group& g, Int8Scratch& s) const {
    const float* rows = batch.pooling == SM_MEAN ? normalized(s.x, g.rows, final_norm, s) : s.x;
    for (long t = g.begin; t < g.end; t++) {
      float* to = batch.features + t * hidden;
      if (batch.pooling == SM_FIRST) {
        memcpy(to, s.first + (t - g.begin) * hidden, hidden * sizeof(float));
        continue;
      }
      const long length = batch.offsets[t + 1] - batch.offsets[t];
      const float* row = rows + (batch.offsets[t] - batch.offsets[g.begin]) * hidden;
      for (long c = 0; c < hidden; c += 16) {
        f32x16 sum{};
        for (long i = 0; i < length; i++) sum += load(row + i * hidden + c);
        store(to + c, sum / (float)length);
      }
    }
  }

  void run_group(const Int8Group& g, Int8Scratch& s) const {
    load_input(g, s);
    for (long l = batch.first_layer; l < batch.end_layer; l++) {
      const bool last = batch.features && l + 1 == (long)layers.size();
      run_layer(g, l, last && batch.pooling == SM_FIRST, s);
    }
    if (batch.features) pool(g, s);
    if (batch.output_states)
      memcpy(batch.output_states + batch.offsets[g.begin] * hidden, s.x, g.rows * hidden * sizeof(float));
  }

  void forward() {
    check_batch();
    form_groups();
    std::vector<Int8Scratch> scratch = allocate_scratch(batch.threads);
    std::atomic<size_t> next{0};
    parallel_for((int)batch.threads, (int)batch.threads, [&](int t) {
      const FlushDenormals guard;
      configure_tiles();
      for (size_t i; (i = next++) < groups.size();) run_group(groups[i], scratch[t]);
      release_tiles();
    });
  }

  // Refuses a batch that would be read or written out of bounds: its ids come from a user's files.
  void check_batch() const {
    if (batch.texts < 1 || batch.threads < 1 || batch.group_rows < 1 || batch.first_layer < 0 ||
        batch.end_layer > (long)layers.size() || batch.first_layer > batch.end_layer ||
        batch.offsets[0] != 0 || (batch.pooling != SM_FIRST && batch.pooling != SM_MEAN) ||
        (batch.features && (batch.output_states || batch.end_layer != (long)layers.size())))
      throw std::invalid_argument("the batch is not valid");
    for (long i = 0; i < batch.texts; i++) {
      const long length = batch.offsets[i + 1] - batch.offsets[i];
      if (length < 1) throw std::invalid_argument("a text has no tokens");
      if (attention[0].reach && length > attention[0].reach)
        throw std::out_of_range("a text has more tokens than the encoder has positions");
    }
    if (batch.input_states) return;
    auto within = [&](const int32_t* ids, long rows) {
      bool outside = false;
      for (long i = 0; i < batch.offsets[batch.texts]; i++) outside |= (uint32_t)ids[i] >= (uint64_t)rows;
      return !outside;
    };
    if (!within(batch.token_ids, embeddings.word_rows))
      throw std::out_of_range("a token id is not a row of the embeddings");
    if (embeddings.positions && !within(batch.position_ids, embeddings.position_rows))
      throw std::out_of_range("a position is not a row of the embeddings");
  }
};

}  // namespace
}  // namespace submillion
