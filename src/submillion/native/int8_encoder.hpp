// Encoder in int8, for inference: matrices in int8, everything between them in float32.
//
// A group of texts runs through all layers on one thread. Its rows lie end to end without padding, and no row
// depends on another text, so neither the groups nor the threads change a result.
#pragma once
#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <vector>

#include "activation.hpp"
#include "arena.hpp"
#include "int8_attention.hpp"
#include "int8_input.hpp"

namespace submillion {
namespace {

struct Int8Layer {
  Int8Matrix q, k, v, out, up, down;
  float *norm1_gamma, *norm1_beta, *norm2_gamma, *norm2_beta;
};

// Texts [begin, end) of the batch, and the offset of their first row.
struct Int8Group {
  long begin, end, rows;
};

// Buffers of one thread, for the rows of the largest group.
struct Int8Scratch {
  float *x, *branch, *wide, *partial;    // [rows][hidden] twice; queries, keys and values, or FFN channels
  float* first;                          // [texts][hidden]: the first tokens' rows of x
  ProductInput input, first_input, act;  // of hidden channels; the same of first tokens; of FFN channels
  InferenceAttentionScratch attention;
};

struct Int8Encoder {
  long hidden = 0, ffn = 0;
  int heads = 0;
  float epsilon = 0;
  AttentionShape attention;
  SmEmbeddings embeddings{};
  Int8Matrix projection;  // of the embeddings, in float; no panels if they have the hidden size
  std::vector<Int8Layer> layers;
  Arena weight_arena, scratch_arena;
  SmInt8Batch batch{};
  std::vector<Int8Group> groups;

  float* copy(const float* from, long count) {
    float* to = weight_arena.allocate<float>(count);
    memcpy(to, from, count * sizeof(float));
    return to;
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
    l.norm1_gamma = copy(from.norm1_gamma, hidden), l.norm1_beta = copy(from.norm1_beta, hidden);
    l.norm2_gamma = copy(from.norm2_gamma, hidden), l.norm2_beta = copy(from.norm2_beta, hidden);
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
    const long widest = std::max<long>(hidden, embeddings.channels);
    scratch_arena.reset();
    std::vector<Int8Scratch> all(threads);
    for (Int8Scratch& s : all) {
      auto floats = [&](long count) { return scratch_arena.allocate<float>(count); };
      s.x = floats(rows * hidden), s.branch = floats(rows * widest), s.first = floats(texts * hidden);
      s.wide = floats(rows * std::max<long>(3 * chunk_heads() * attention.head_channels,
                                            ChannelGroups((int)(ffn / BLOCK_SIDE)).widest()));
      s.partial = floats(rows * BLOCK_SIDE);
      s.input = allocate_input(scratch_arena, widest, rows), s.act = allocate_input(scratch_arena, ffn, rows);
      s.first_input = allocate_input(scratch_arena, hidden, texts);
      const long padded = (longest + 15) / 16 * 16;
      s.attention = {floats(padded * attention.head_channels), floats(padded * ATTENTION_ROWS)};
    }
    return all;
  }

  // Heads whose queries, keys and values are computed before attention reads them, so that they are still in
  // L2.
  int chunk_heads() const { return std::max(1, std::min(heads, 384 / attention.head_channels)); }

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
      const float *word = embeddings.words + batch.token_ids[first + i] * channels,
                  *position = embeddings.positions + batch.position_ids[first + i] * channels;
      memcpy(to + i * channels, position, channels * sizeof(float));
      normalize_row(word, true, channels, embeddings.norm_gamma, embeddings.norm_beta, epsilon,
                    to + i * channels);
    }
    if (!projection.panels) return;
    prepare_rows(to, g.rows, projection.groups, {&projection}, s.input);
    multiply(projection, s.input, (int)g.rows, 0, projection.panels, s.partial,
             [&](long row, int n, f32x16 low, f32x16 high) {
               store_row(s.x + row * hidden + n * BLOCK_SIDE, low, high);
             });
  }

  // Runs a layer on the rows of a group. `first_only`: only the first token's row of each text is computed
  // after keys and values; s.first then holds them.
  void run_layer(const Int8Group& g, const Int8Layer& l, bool first_only, Int8Scratch& s) const {
    const ChannelGroups of_hidden((int)(hidden / BLOCK_SIDE)), of_ffn((int)(ffn / BLOCK_SIDE));
    const long texts = g.end - g.begin, start = batch.offsets[g.begin], rows = first_only ? texts : g.rows;
    float* x = first_only ? s.first : s.x;
    const ProductInput& query_input = first_only ? s.first_input : s.input;
    prepare_rows(s.x, g.rows, of_hidden, {&l.q, &l.k, &l.v}, s.input);
    if (first_only) {
      for (long t = 0; t < texts; t++)
        memcpy(x + t * hidden, s.x + (batch.offsets[g.begin + t] - start) * hidden, hidden * sizeof(float));
      prepare_rows(x, texts, of_hidden, {&l.q}, s.first_input);
    }
    const int chunk = chunk_heads(), head_blocks = attention.head_channels / BLOCK_SIDE;
    for (int head = 0; head < heads; head += chunk) {
      const int count = std::min(chunk, heads - head), begin = head * head_blocks,
                end = begin + count * head_blocks;
      const long width = (long)count * attention.head_channels, stride = 3 * width;
      auto project = [&](const Int8Matrix& m, const ProductInput& input, long of_rows, float* to) {
        multiply(m, input, (int)of_rows, begin, end, s.partial,
                 [&](long row, int n, f32x16 low, f32x16 high) {
                   store_row(to + row * stride + (n - begin) * BLOCK_SIDE, low, high);
                 });
      };
      project(l.q, query_input, rows, s.wide);
      project(l.k, s.input, g.rows, s.wide + width);
      project(l.v, s.input, g.rows, s.wide + 2 * width);
      for (long t = 0; t < texts; t++) {
        const long row = batch.offsets[g.begin + t] - start,
                   keys = batch.offsets[g.begin + t + 1] - start - row;
        const long query_row = first_only ? t : row;
        attend(attention, head, count,
               {s.wide + query_row * stride, s.wide + row * stride + width, s.wide + row * stride + 2 * width,
                stride, first_only ? 1 : keys, keys},
               s.branch + query_row * hidden + begin * BLOCK_SIDE, hidden, s.attention);
      }
    }
    prepare_rows(s.branch, rows, of_hidden, {&l.out}, query_input);
    auto to_branch = [&](long row, int n, f32x16 low, f32x16 high) {
      store_row(s.branch + row * hidden + n * BLOCK_SIDE, low, high);
    };
    multiply(l.out, query_input, (int)rows, 0, l.out.panels, s.partial, to_branch);
    for (long i = 0; i < rows; i++)
      normalize_row(s.branch + i * hidden, true, hidden, l.norm1_gamma, l.norm1_beta, epsilon,
                    x + i * hidden);
    prepare_rows(x, rows, of_hidden, {&l.up}, query_input);
    for (int group = 0; group < of_ffn.count(); group++) {
      const int begin = of_ffn.all[group].first_block, channels = of_ffn.all[group].channels;
      multiply(l.up, query_input, (int)rows, begin, begin + channels / BLOCK_SIDE, s.partial,
               [&](long row, int n, f32x16 low, f32x16 high) {
                 f32x16 y0, y1, derivative;
                 gelu(low, y0, derivative), gelu(high, y1, derivative);
                 store_row(s.wide + row * channels + (n - begin) * BLOCK_SIDE, y0, y1);
               });
      for (long i = 0; i < rows; i++)
        prepare_group(s.wide + i * channels, i, of_ffn, group, !l.down.floats, l.down.floats != nullptr,
                      s.act);
    }
    multiply(l.down, s.act, (int)rows, 0, l.down.panels, s.partial, to_branch);
    for (long i = 0; i < rows; i++)
      normalize_row(s.branch + i * hidden, true, hidden, l.norm2_gamma, l.norm2_beta, epsilon,
                    x + i * hidden);
  }

  void pool(const Int8Group& g, const Int8Scratch& s) const {
    for (long t = g.begin; t < g.end; t++) {
      float* to = batch.features + t * hidden;
      if (batch.pooling == SM_FIRST) {
        memcpy(to, s.first + (t - g.begin) * hidden, hidden * sizeof(float));
        continue;
      }
      const long length = batch.offsets[t + 1] - batch.offsets[t];
      const float* row = s.x + (batch.offsets[t] - batch.offsets[g.begin]) * hidden;
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
      run_layer(g, layers[l], last && batch.pooling == SM_FIRST, s);
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
      // Denormals are flushed to zero (MXCSR bits FTZ and DAZ): arithmetic on them is a hundred times slower.
      const unsigned mxcsr = _mm_getcsr();
      _mm_setcsr(mxcsr | 0x8040);
      configure_tiles();
      for (size_t i; (i = next++) < groups.size();) run_group(groups[i], scratch[t]);
      release_tiles();
      _mm_setcsr(mxcsr);
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
      if (attention.position_bias && length > attention.reach)
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
    if (!within(batch.position_ids, embeddings.position_rows))
      throw std::out_of_range("a position is not a row of the embeddings");
  }
};

}  // namespace
}  // namespace submillion
