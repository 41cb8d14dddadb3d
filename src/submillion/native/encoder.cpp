// The encoder as Python sees it: packs the frozen weights once, then runs batches forward and backward. C interface.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "grouping.hpp"
#include "layer.hpp"
#include "parallel.hpp"
#ifdef SM_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

extern "C" {
struct SmShape {
  int64_t layers, hidden, inner, heads;  // channels
  double epsilon, hidden_dropout, attention_dropout;
};
// Row-major float32 [outputs][inputs] and vectors.
struct SmLayer {
  const float *q, *q_bias, *k, *k_bias, *v, *v_bias, *out, *out_bias, *norm1_g, *norm1_b, *up, *up_bias, *down, *down_bias,
      *norm2_g, *norm2_b;
};
struct SmEmbeddings {
  const float *words, *positions, *norm_g, *norm_b;  // rows of `hidden` channels; positions hold the token type's row too
  double dropout;
};
// r = 0: none. a [r][inputs], b [outputs][r]; da, db alike, written by the backward pass.
struct SmAdapter {
  const float *a, *b;
  float *da, *db;
  int64_t r;
  double scale, dropout;
};
struct SmBatch {
  int64_t texts;
  const int64_t* offsets;   // [texts + 1], in tokens
  const int32_t *ids, *positions;
  const void* states;       // [tokens][hidden] in T entering layer `first`, or null: the embeddings are the input
  int64_t first, last;      // layers [first, last) run
  int64_t training, save, threads, group_rows;
  uint64_t seed;
  const SmAdapter* adapters;  // [layers][6]
  float* features;          // [texts][hidden]: each text's first row after the last layer, or null
  void* states_out;         // [tokens][hidden] in T after layer `last` - 1, or null
};
}

namespace {

struct Encoder {
  Model model{};
  SmEmbeddings embeddings{};
  std::vector<Weights> weights;
  std::vector<Lora> loras;  // [layers][TARGETS]
  Arena packed, adapters, step, room;
  // The batch last run forward.
  SmBatch batch{};
  std::vector<Group> groups;
  std::vector<std::vector<Saved>> saved;  // [groups][layers]; empty for layers that keep nothing
  std::vector<Scratch> scratch;           // [threads]
  std::vector<std::vector<int>> shares;   // groups of each thread
  int lowest = 0;                         // the lowest layer with an adapter

  float* copy(const float* from, long count) {
    float* to = packed.take<float>(count);
    memcpy(to, from, count * sizeof(float));
    return to;
  }

  // Packs matrices [n_i][k] on top of each other.
  static Packed pack(Arena& arena, std::vector<const float*> parts, long rows, long columns, float scale, int threads,
                     bool backward = true) {
    Packed p;
    long each = (rows + SIDE - 1) / SIDE;
    p.n = each * (long)parts.size(), p.k = (columns + SIDE - 1) / SIDE;
    p.forward = arena.take<T>(p.n * p.k * BLOCK);
    if (backward) p.backward = arena.take<T>(p.n * p.k * BLOCK);
    parallel((int)p.n, threads, [&](int n) {
      alignas(64) T block[BLOCK];
      for (long k = 0; k < p.k; k++) {
        block_of(parts[n / each], rows, columns, n % each * SIDE, k * SIDE, scale, block);
        factor_from_columns(block, p.forward + (n * p.k + k) * BLOCK);
        if (p.backward) factor_from_rows(block, p.backward + (k * p.n + n) * BLOCK);
      }
    });
    return p;
  }

  void load(int index, const SmLayer& l, bool backward, int threads) {
    const long D = model.hidden * SIDE, F = model.inner * SIDE;
    Weights& w = weights[index];
    w.qkv = pack(packed, {l.q, l.k, l.v}, D, D, 1, threads, backward);
    w.out = pack(packed, {l.out}, D, D, 1, threads, backward);
    w.up = pack(packed, {l.up}, F, D, 1, threads, backward);
    w.down = pack(packed, {l.down}, D, F, 1, threads, backward);
    w.qkv_bias = packed.take<float>(3 * D);
    memcpy(w.qkv_bias, l.q_bias, D * 4), memcpy(w.qkv_bias + D, l.k_bias, D * 4);
    memcpy(w.qkv_bias + 2 * D, l.v_bias, D * 4);
    w.out_bias = copy(l.out_bias, D), w.up_bias = copy(l.up_bias, F), w.down_bias = copy(l.down_bias, D);
    w.norm1_g = copy(l.norm1_g, D), w.norm1_b = copy(l.norm1_b, D);
    w.norm2_g = copy(l.norm2_g, D), w.norm2_b = copy(l.norm2_b, D);
  }

  void adapt() {
    const long D = model.hidden * SIDE, F = model.inner * SIDE;
    adapters.reset();
    lowest = model.layers;
    for (int l = model.layers - 1; l >= 0; l--)
      for (int t = 0; t < TARGETS; t++) {
        const SmAdapter& a = batch.adapters[l * TARGETS + t];
        Lora& lora = loras[l * TARGETS + t];
        lora = Lora();
        lora.r = a.r;
        if (!a.r) continue;
        lowest = l;
        if (l < batch.first || l >= batch.last) continue;
        lora.inputs = t == DOWN ? F : D, lora.outputs = t == UP ? F : D;
        lora.scale = (float)a.scale;
        if (batch.training && a.dropout > 0) lora.drop = Dropout(a.dropout, batch.seed, l, LORA + t);
        lora.a = pack(adapters, {a.a}, a.r, lora.inputs, 1, (int)batch.threads);
        lora.b = pack(adapters, {a.b}, lora.outputs, a.r, lora.scale, (int)batch.threads);
      }
  }

  // Shares the texts among groups of alike size. More threads than 2 may mean smaller groups; 1 and 2 have the same.
  void group() {
    const int even = std::max<int>(2, (int)batch.threads);
    long total = batch.offsets[batch.texts];
    long wanted = (total + batch.group_rows - 1) / batch.group_rows;
    long count = std::min<long>(batch.texts, (wanted + even - 1) / even * even);
    std::vector<long> lengths(batch.texts);
    for (int i = 0; i < batch.texts; i++) lengths[i] = batch.offsets[i + 1] - batch.offsets[i];
    const Grouping shared = grouped(lengths, count, SIDE / 2);
    groups.assign(count, Group());
    for (long g = 0; g < count; g++) {
      groups[g].texts = shared.texts[g];
      int row = 0;
      for (int text : shared.texts[g]) {
        groups[g].starts.push_back(row), groups[g].lengths.push_back((int)lengths[text]);
        row += (int)lengths[text];
      }
    }
    step.reset();
    const int D = model.hidden;
    for (size_t i = 0; i < groups.size(); i++) {
      Group& g = groups[i];
      g.blocks = (int)((shared.rows[i] + SIDE - 1) / SIDE), g.first_blocks = (int)((g.texts.size() + SIDE - 1) / SIDE);
      auto half = [](long rows) { return rows % SIDE > 0 && rows % SIDE <= SIDE / 2; };
      g.half = half(shared.rows[i]), g.first_half = half((long)g.texts.size());
      g.ids = step.take<uint64_t>(g.rows()), g.first_ids = step.take<uint64_t>(g.first_blocks * SIDE);
      std::fill(g.ids, g.ids + g.rows(), ~0ull), std::fill(g.first_ids, g.first_ids + g.first_blocks * SIDE, ~0ull);
      for (size_t t = 0; t < g.texts.size(); t++) {
        g.first_ids[t] = (uint64_t)g.texts[t] << 16;
        for (int r = 0; r < g.lengths[t]; r++) g.ids[g.starts[t] + r] = (uint64_t)g.texts[t] << 16 | (uint64_t)r;
      }
      g.x = step.take<T>((long)g.blocks * D * BLOCK), g.other = step.take<T>((long)g.blocks * D * BLOCK);
      g.gradient = batch.save ? step.take<float>((long)g.blocks * D * BLOCK) : nullptr;
    }
    shares.assign(batch.threads, {});
    std::vector<long> load(batch.threads);
    for (size_t i = 0; i < groups.size(); i++) {
      long t = std::min_element(load.begin(), load.end()) - load.begin();
      shares[t].push_back((int)i), load[t] += groups[i].blocks;
    }
  }

  void make_room() {
    long most = 0, first = 0, longest = 0;
    for (const Group& g : groups) {
      most = std::max<long>(most, g.blocks), first = std::max<long>(first, g.first_blocks);
      for (int length : g.lengths) longest = std::max<long>(longest, (length + SIDE - 1) / SIDE * SIDE);
    }
    const long D = model.hidden, F = model.inner, side = longest / SIDE, head = side * model.head.wide;
    const long rows = std::max(most, first);
    bool whole = false;
    long ranks = 1;  // blocks of the largest rank
    for (int l = 0; l < model.layers; l++) {
      whole |= loras[l * TARGETS + UP].on() || loras[l * TARGETS + DOWN].on();
      for (int t = 0; t < TARGETS; t++) ranks = std::max<long>(ranks, loras[l * TARGETS + t].blocks());
    }
    room.reset();
    scratch.resize(batch.threads);
    for (Scratch& s : scratch) {
      auto blocks = [&](long count) { return room.take<T>(count * BLOCK); };
      auto floats = [&](long count) { return room.take<float>(count * BLOCK); };
      s.qkv = blocks(rows * 3 * D), s.context = blocks(rows * D), s.x1 = blocks(rows * D);
      s.act = blocks(rows * (whole ? F : std::min<long>(F, PIECE)));
      s.branch = blocks(rows * D), s.residual = blocks(rows * D), s.line = blocks(DEPTH);
      s.first_x = blocks(first * D), s.first_q = blocks(first * D);
      for (T*& u : s.u) u = blocks(rows * ranks);
      s.room = blocks(rows * (1 + ranks));
      s.wide = floats(rows * D), s.sums = floats(std::max<long>(rows, 2)), s.low = floats(ranks), s.shares = floats(6);
      s.keys = room.take<uint64_t>(3 * rows * SIDE), s.other_keys = room.take<uint64_t>(rows * SIDE);
      AttentionScratch& a = s.attention;
      for (T** each : {&a.q, &a.k, &a.v, &a.out, &a.a, &a.b, &a.c}) *each = blocks(head);
      for (T** each : {&a.p, &a.ps, &a.pt, &a.pst}) *each = blocks(side * side);
      a.scores = floats(side), a.other = floats(side), a.sums = floats(model.head.wide);
    }
  }

  bool first_only(int layer) const { return batch.features && layer == model.layers - 1; }
  // Whether an adapter's gradient takes the layer's input.
  bool reads_input(int layer) const {
    const Lora* lora = &loras[layer * TARGETS];
    return lora[QUERY].on() || lora[KEY].on() || lora[VALUE].on();
  }
  bool keeps(int layer) const { return batch.save && layer >= lowest; }

  void make_saved() {
    saved.assign(groups.size(), {});
    if (!batch.save) return;
    const long D = model.hidden, F = model.inner;
    for (size_t i = 0; i < groups.size(); i++) {
      saved[i].resize(model.layers);
      for (int l = std::max<int>(lowest, (int)batch.first); l < batch.last; l++) {
        const Group& g = groups[i];
        Saved& s = saved[i][l];
        const Lora* lora = &loras[l * TARGETS];
        const bool first = first_only(l);
        const long blocks = first ? g.first_blocks : g.blocks;
        auto take = [&](long count) { return step.take<T>(count * BLOCK); };
        s.qkv = take(g.blocks * 3 * D);
        if (first) s.first_x = take(blocks * D), s.first_q = take(blocks * D);
        if (lora[OUT].on()) s.context = take(blocks * D);
        if (lora[UP].on()) s.x1 = take(blocks * D);
        if (lora[DOWN].on()) s.act = take(blocks * F);
        s.normed1 = take(blocks * D), s.normed2 = take(blocks * D), s.slope = take(blocks * F);
        s.log_sums = step.take<float>(model.heads * blocks * SIDE);
        s.spread1 = step.take<float>(blocks * SIDE), s.spread2 = step.take<float>(blocks * SIDE);
        for (int t = 0; t < TARGETS; t++) {
          if (!lora[t].on()) continue;
          s.u[t] = take((t == KEY || t == VALUE ? g.blocks : blocks) * lora[t].blocks());
          s.da[t] = step.take<float>(lora[t].r * lora[t].inputs), s.db[t] = step.take<float>(lora[t].r * lora[t].outputs);
        }
      }
    }
  }

  // The states entering the first layer: from the embeddings, or as they were given.
  void enter(const Group& g, Scratch& s, T* x) const {
    const int D = model.hidden;
    const long width = (long)D * SIDE;
    const Dropout drop = batch.training && embeddings.dropout > 0
                             ? Dropout(embeddings.dropout, batch.seed, -1, EMBEDDING)
                             : Dropout();
    memset(s.wide, 0, (size_t)g.blocks * D * BLOCK * sizeof(float));
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int r = 0; r < g.lengths[t]; r++) {
        long token = batch.offsets[g.texts[t]] + r, row = g.starts[t] + r;
        if (batch.states) {
          const T* from = (const T*)batch.states + token * width;
          for (int c = 0; c < D; c++) memcpy(x + row_at(row, D) + c * BLOCK, from + c * SIDE, SIDE * sizeof(T));
          continue;
        }
        const float *word = embeddings.words + batch.ids[token] * width,
                    *position = embeddings.positions + batch.positions[token] * width;
        float* to = s.wide + row_at(row, D);
        for (int c = 0; c < D; c++, word += SIDE, position += SIDE)
          store_row(to + c * BLOCK, ::load(word) + ::load(position), ::load(word + 16) + ::load(position + 16));
      }
    if (batch.states) return Layer::clear_padding(g, x, D);
    for (int m = 0; m < g.blocks; m++) {
      long at = (long)m * D * BLOCK;
      norm_forward(s.wide + at, D, embeddings.norm_g, embeddings.norm_b, model.epsilon, nullptr, x + at, nullptr, nullptr);
      if (!drop.on()) continue;
      for (int i = 0; i < SIDE; i++) {
        uint64_t row = drop.row(g.ids[m * SIDE + i]);
        for (int c = 0; c < D; c++) {
          T* here = x + at + c * BLOCK + i * SIDE;
          uint32_t bits = drop.bits(row, (uint32_t)c);
          lanes low, high;
          load_row(here, low, high);
          store_row(here, keep(low * drop.scale, bits), keep(high * drop.scale, bits >> 16));
        }
      }
    }
  }

  void leave(const Group& g, const T* x) const {
    const int D = model.hidden;
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int r = 0; r < g.lengths[t]; r++) {
        T* to = (T*)batch.states_out + (batch.offsets[g.texts[t]] + r) * D * SIDE;
        for (int c = 0; c < D; c++)
          memcpy(to + c * SIDE, x + row_at(g.starts[t] + r, D) + c * BLOCK, SIDE * sizeof(T));
      }
  }

  Layer layer(int index) const {
    return {model, weights[index], &loras[index * TARGETS], index, batch.training != 0, batch.seed, first_only(index)};
  }

  // Denormals cost a hundred times what other numbers do and mean nothing here.
  template <class Work>
  void on_threads(Work&& work) {
    parallel((int)batch.threads, (int)batch.threads, [&](int t) {
      unsigned mode = _mm_getcsr();
      _mm_setcsr(mode | 0x8040);
      begin_products();
      work(t);
      end_products();
      _mm_setcsr(mode);
    });
  }

  void forward() {
    adapt();
    group();
    make_room();
    make_saved();
    const long D = model.hidden;
    std::vector<T*> x(groups.size());
    // What the lowest kept layer reads must stay: it gets memory of its own. Those above compute their input again.
    std::vector<std::vector<T*>> outputs(groups.size());
    for (size_t i = 0; i < groups.size(); i++) {
      auto own = [&] { return step.take<T>((long)groups[i].blocks * D * BLOCK); };
      x[i] = keeps((int)batch.first) ? own() : groups[i].x;
      for (int l = (int)batch.first; l < batch.last; l++) {
        const bool stays = l + 1 < batch.last && keeps(l + 1) && !keeps(l);
        outputs[i].push_back(first_only(l) ? nullptr
                             : stays       ? own()
                             : (l - batch.first) % 2 ? groups[i].x : groups[i].other);
      }
    }
    float* rows = nullptr;
    if (batch.features) {
      long most = 0;
      for (const Group& g : groups) most = std::max<long>(most, g.first_blocks);
      rows = step.take<float>(batch.threads * most * D * BLOCK);
      first_rows = most;
    }
    on_threads([&](int t) {
      Scratch& s = scratch[t];
      for (int i : shares[t]) enter(groups[i], s, x[i]);
      for (int l = (int)batch.first; l < batch.last; l++)
        for (int i : shares[t]) {
          const Group& g = groups[i];
          Saved* keep = keeps(l) ? &saved[i][l] : nullptr;
          if (keep) keep->x = x[i];
          T* out = outputs[i][l - batch.first];
          float* features = first_only(l) ? rows + (long)t * first_rows * D * BLOCK : nullptr;
          layer(l).forward(g, x[i], out, features, keep, s);
          for (size_t n = 0; features && n < g.texts.size(); n++)
            memcpy(batch.features + g.texts[n] * D * SIDE, features + (long)n * D * SIDE, D * SIDE * sizeof(float));
          x[i] = out;
        }
      if (batch.states_out)
        for (int i : shares[t]) leave(groups[i], x[i]);
    });
    gradient_rows = rows;
  }

  void backward(const float* gradient) {
    const long D = model.hidden;
    on_threads([&](int t) {
      Scratch& s = scratch[t];
      float* first = gradient_rows + (long)t * first_rows * D * BLOCK;
      for (int l = (int)batch.last - 1; l >= std::max<int>(lowest, (int)batch.first); l--)
        for (int i : shares[t]) {
          const Group& g = groups[i];
          if (first_only(l)) {
            memset(first, 0, (size_t)g.first_blocks * D * BLOCK * sizeof(float));
            for (size_t n = 0; n < g.texts.size(); n++)
              for (int c = 0; c < D; c++)
                memcpy(first + row_at((long)n, D) + c * BLOCK, gradient + g.texts[n] * D * SIDE + c * SIDE,
                       SIDE * sizeof(float));
          }
          if (l > lowest && l > batch.first && reads_input(l)) layer(l - 1).output(g, saved[i][l - 1], saved[i][l], s);
          layer(l).backward(g, first, saved[i][l], l > lowest, s);
        }
    });
    // Groups are summed in their order, so the sum does not depend on who computed them.
    parallel((int)(model.layers * TARGETS), (int)batch.threads, [&](int at) {
      const SmAdapter& a = batch.adapters[at];
      int l = at / TARGETS, t = at % TARGETS;
      if (!a.r || l < batch.first || l >= batch.last) return;
      const Lora& lora = loras[at];
      memset(a.da, 0, lora.r * lora.inputs * sizeof(float)), memset(a.db, 0, lora.r * lora.outputs * sizeof(float));
      for (size_t i = 0; i < groups.size(); i++) {
        const Saved& s = saved[i][l];
        for (long e = 0; e < lora.r * lora.inputs; e++) a.da[e] += s.da[t][e];
        for (long r = 0; r < lora.r; r++)
          for (long o = 0; o < lora.outputs; o++) a.db[o * lora.r + r] += s.db[t][r * lora.outputs + o];
      }
    });
  }

  long first_rows = 0;
  float* gradient_rows = nullptr;
};

thread_local std::string said;

// Runs `work`; returns null, or what went wrong in words.
template <class Work>
const char* guarded(Work&& work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    said = error.what();
    return said.c_str();
  }
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {
// Asks the system for what the processor needs to run these kernels; to be called before all others, once a process.
const char* sm_ready() {
  return guarded([] {
#ifdef SM_AMX
    // Tile registers are given to a process that asks (arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA).
    if (syscall(SYS_arch_prctl, 0x1023, 18) != 0) throw std::runtime_error("the system does not grant tile registers");
#endif
  });
}
const char* sm_create(const SmShape* shape, void** to) {
  return guarded([&] {
    auto* e = new Encoder();
    Model& m = e->model;
    m.layers = (int)shape->layers, m.heads = (int)shape->heads;
    m.hidden = (int)(shape->hidden / SIDE), m.inner = (int)(shape->inner / SIDE);
    m.epsilon = (float)shape->epsilon;
    m.hidden_dropout = shape->hidden_dropout, m.attention_dropout = shape->attention_dropout;
    int wide = m.hidden / m.heads;
    m.head = {m.heads, wide, 1.f / std::sqrt((float)(wide * SIDE)), nullptr, 0};
    e->weights.resize(m.layers), e->loras.resize(m.layers * TARGETS);
    *to = e;
  });
}
void sm_destroy(void* encoder) { delete (Encoder*)encoder; }
const char* sm_load(void* encoder, int64_t layer, const SmLayer* weights, int64_t backward, int64_t threads) {
  return guarded([&] { ((Encoder*)encoder)->load((int)layer, *weights, backward != 0, (int)threads); });
}
void sm_embeddings(void* encoder, const SmEmbeddings* embeddings) { ((Encoder*)encoder)->embeddings = *embeddings; }
// table: [heads][2 reach - 1], as Heads::bias.
const char* sm_position_bias(void* encoder, const float* table, int64_t reach) {
  return guarded([&] {
    auto* e = (Encoder*)encoder;
    // Scores are read 16 at a time, the last ones past the end of the table.
    long count = e->model.heads * (2 * reach - 1);
    float* copy = e->packed.take<float>(count + 64);
    memcpy(copy, table, count * sizeof(float)), memset(copy + count, 0, 64 * sizeof(float));
    e->model.head.bias = copy, e->model.head.reach = reach;
  });
}
const char* sm_forward(void* encoder, const SmBatch* batch) {
  return guarded([&] {
    auto* e = (Encoder*)encoder;
    e->batch = *batch;
    e->forward();
  });
}
const char* sm_backward(void* encoder, const float* gradient) {
  return guarded([&] { ((Encoder*)encoder)->backward(gradient); });
}
// kept[rows][chunks * 32] of 0 and 1, and the scale: what dropout does at a place, for tests and for replaying it.
float sm_mask(double share, uint64_t seed, int64_t layer, int64_t place, const uint64_t* rows, int64_t count,
              int64_t chunks, uint8_t* kept) {
  Dropout drop(share, seed, (int)layer, (int)place);
  for (int64_t i = 0; i < count; i++)
    for (int64_t c = 0; c < chunks; c++) {
      uint32_t bits = drop.bits(drop.row(rows[i]), (uint32_t)c);
      for (int j = 0; j < SIDE; j++) kept[(i * chunks + c) * SIDE + j] = bits >> j & 1;
    }
  return drop.scale;
}
// Each text's group, when texts of these lengths are shared among `count` groups of rows in multiples of `side`.
void sm_group(const int64_t* lengths, int64_t texts, int64_t count, int64_t side, int64_t* group) {
  const Grouping g = grouped({lengths, lengths + texts}, count, side);
  for (size_t i = 0; i < g.texts.size(); i++)
    for (int text : g.texts[i]) group[text] = (int64_t)i;
}
// The size of structure `index` of this interface, in the order above: what a caller's must be.
int64_t sm_size_of(int64_t index) {
  const size_t sizes[] = {sizeof(SmShape), sizeof(SmLayer), sizeof(SmEmbeddings), sizeof(SmAdapter), sizeof(SmBatch)};
  return (int64_t)sizes[index];
}
}
#pragma GCC visibility pop
