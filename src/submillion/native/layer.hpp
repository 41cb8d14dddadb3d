// One post-norm layer (BERT, RoBERTa, MPNet) over one group of texts, forward and backward, without leaving the cache.
#pragma once
#include <algorithm>

#include "activation.hpp"
#include "attention.hpp"
#include "lora.hpp"
#include "memory.hpp"
#include "norm.hpp"

enum Target { QUERY, KEY, VALUE, OUT, UP, DOWN, TARGETS };

struct Model {
  int layers, hidden, inner, heads;  // hidden and inner in blocks of 32 channels
  float epsilon;
  double hidden_dropout, attention_dropout;
  Heads head;
};

// The frozen weights of a layer; biases and norms in float32.
struct Weights {
  Packed qkv, out, up, down;
  float *qkv_bias, *out_bias, *up_bias, *down_bias, *norm1_g, *norm1_b, *norm2_g, *norm2_b;
};

// Some whole texts laid end to end, padded to blocks; nothing outside a group touches it but the weights.
struct Group {
  int blocks, first_blocks;             // of all rows; of the texts' first rows alone
  bool half, first_half;                // whether the last of them holds 16 rows at most
  std::vector<int> texts, starts, lengths;
  uint64_t *ids, *first_ids;            // text << 16 | position of each row
  T *x, *other;                         // states that need not be kept, in turn
  float* gradient;                      // of the states, float32 [blocks][hidden]
  int rows() const { return blocks * SIDE; }
};

// What the backward pass of a layer needs of one group's forward pass. In the last layer, where only each text's
// first row goes on, everything from q to the output has first rows only.
struct Saved {
  const T* x = nullptr;                 // the layer's input
  T *first_x = nullptr, *first_q = nullptr;
  T *qkv = nullptr, *context = nullptr, *normed1 = nullptr, *x1 = nullptr, *slope = nullptr, *act = nullptr,
    *normed2 = nullptr;
  T* u[TARGETS] = {};
  float *log_sums = nullptr, *spread1 = nullptr, *spread2 = nullptr;
  float *da[TARGETS] = {}, *db[TARGETS] = {};  // [r][inputs] and [r][outputs]
};

// Room of one thread for any group of the batch.
struct Scratch {
  T *qkv, *context, *x1, *act, *branch, *residual, *line, *first_x, *first_q, *u[TARGETS], *room;
  float *wide, *sums, *low, *shares;
  uint64_t *keys, *other_keys;
  AttentionScratch attention;
};

// Blocks of the inner channels at a time: their activations stay in the second cache.
#ifdef SM_AMX
enum { PIECE = 16 };
#else
enum { PIECE = 12 };
#endif
enum { HEADS_WIDE = 4 };  // blocks of channels of the heads that attention takes at a time, for the same reason

struct Layer {
  const Model& model;
  const Weights& w;
  const Lora* lora;  // [TARGETS]
  int index;
  bool training;     // dropout
  uint64_t seed;
  bool first_only;   // the last layer: only each text's first row goes on

  Dropout dropout(double share, int place) const {
    return training && share > 0 ? Dropout(share, seed, index, place) : Dropout();
  }
  static const uint64_t* keys(const Dropout& drop, const uint64_t* ids, int blocks, uint64_t* to) {
    for (int i = 0; i < blocks * SIDE; i++) to[i] = drop.row(ids[i]);
    return to;
  }
  Extra extra(int target, const T* u, int n) const {
    const Lora& l = lora[target];
    if (!l.on()) return {};
    return {{u, (long)l.blocks() * BLOCK}, {l.b.forward + (long)n * l.blocks() * BLOCK, 0}, l.blocks(), l.last()};
  }

  // Rows of padding stay out of attention and must not bring what is not a number into sums over rows.
  static void clear_padding(const Group& g, T* rows, int chunks) {
    if (g.texts.empty()) return;
    for (long row = g.starts.back() + g.lengths.back(); row < g.rows(); row++)
      for (int c = 0; c < chunks; c++) memset(rows + row_at(row, chunks) + c * BLOCK, 0, SIDE * sizeof(T));
  }

  void low_rank(int target, const T* x, int blocks, const uint64_t* ids, T* u, Scratch& s) const {
    if (lora[target].on())
      lora_down(lora[target], x, blocks, keys(lora[target].drop, ids, blocks, s.keys), u, s.line, s.low);
  }

  // dropout(product + bias) + residual, in place of the product.
  static void add_residual(float* sum, const float* bias, const T* residual, const Dropout& drop, const uint64_t* keys,
                           int n, int from, int to) {
    lanes b0 = load(bias + n * SIDE), b1 = load(bias + n * SIDE + 16);
    for (int i = from; i < to; i++) {
      lanes low = load(sum + i * SIDE) + b0, high = load(sum + i * SIDE + 16) + b1, r0, r1;
      load_row(residual + i * SIDE, r0, r1);
      if (drop.on()) {
        uint32_t bits = drop.bits(keys[i], (uint32_t)n);
        low = keep(low * drop.scale, bits), high = keep(high * drop.scale, bits >> 16);
      }
      store_row(sum + i * SIDE, low + r0, high + r1);
    }
  }

  // Where projected panels go: panel n of block m to `to` + m * chunks + n - at, in blocks, and to its place in `kept`,
  // unless that is null.
  struct Projected {
    T* to;
    long chunks, at;
    T* kept;
  };
  // Panels [n0, n1) of the projections to queries, keys and values, one after the other.
  template <class U>
  void project(const T* x, int blocks, bool half, int n0, int n1, Projected out, const T* next, U&& u, Scratch& s) const {
    const int D = model.hidden;
    products({x, (long)D * BLOCK, half}, blocks, w.qkv.times_transposed(), n0, n1, D, s.sums, BLOCK, 0, true, true, next,
             [&](int n) { return extra(n / D, u(n / D), n % D); },
             [&](int m, int n, const float* sum, int i0, int i1) {
               lanes b0 = load(w.qkv_bias + n * SIDE), b1 = load(w.qkv_bias + n * SIDE + 16);
               T* block = out.to + (m * out.chunks + n - out.at) * BLOCK;
               T* kept = out.kept ? out.kept + ((long)m * 3 * D + n) * BLOCK : nullptr;
               for (int i = i0; i < i1; i++) {
                 lanes low = load(sum + i * SIDE) + b0, high = load(sum + i * SIDE + 16) + b1;
                 store_row(block + i * SIDE, low, high);
                 if (kept) stream_row(kept + i * SIDE, low, high);
               }
             });
  }

  // x: [blocks][hidden]. to: the layer's output, or, in the last layer, features: float32 [first_blocks * 32][channels].
  void forward(const Group& g, const T* x, T* to, float* features, Saved* saved, Scratch& s) const {
    const int D = model.hidden;
    T* context = saved && saved->context ? saved->context : s.context;
    auto u = [&](int target) { return saved && lora[target].on() ? saved->u[target] : s.u[target]; };
    const int blocks = first_only ? g.first_blocks : g.blocks;
    const bool half = first_only ? g.first_half : g.half;
    const uint64_t* ids = first_only ? g.first_ids : g.ids;
    const T* mine = x;
    if (first_only) {
      T* first = saved ? saved->first_x : s.first_x;
      take_first(g, x, first);
      mine = first;
    }
    low_rank(QUERY, mine, blocks, ids, u(QUERY), s);
    low_rank(KEY, x, g.blocks, g.ids, u(KEY), s);
    low_rank(VALUE, x, g.blocks, g.ids, u(VALUE), s);
    const Dropout drop = dropout(model.attention_dropout, ATTENTION);
    auto attend = [&](size_t t, int head, int heads, Slice q, Slice k, Slice v) {
      attention_forward(model.head, head, heads, q, k, v, {context, D, 0, q.row, q.count}, drop, (uint64_t)g.texts[t],
                        saved ? saved->log_sums + q.row : nullptr, (long)blocks * SIDE, s.attention);
    };
    if (first_only) {
      T *q = saved ? saved->first_q : s.first_q, *qkv = saved ? saved->qkv : s.qkv;
      project(mine, blocks, half, 0, D, {q, D, 0, nullptr}, w.qkv.forward + (long)D * D * BLOCK, u, s);
      project(x, g.blocks, g.half, D, 3 * D, {qkv, 3 * D, 0, nullptr}, w.out.forward, u, s);
      for (size_t t = 0; t < g.texts.size(); t++) {
        Slice k{qkv, 3 * D, D, g.starts[t], g.lengths[t]}, v = k;
        v.chunk = 2 * D;
        attend(t, 0, model.heads, {q, D, 0, (long)t, 1}, k, v);
      }
      clear_first_padding(g, context, D);
    } else {
      // Some heads at a time: what they project is still in the second cache when attention reads it.
      const int wide = model.head.wide, together = wide < HEADS_WIDE ? HEADS_WIDE / wide : 1;
      for (int head = 0; head < model.heads; head += together) {
        const int heads = std::min(together, model.heads - head), c = heads * wide;
        for (int t = QUERY; t <= VALUE; t++) {
          const int n0 = t * D + head * wide, n1 = n0 + c, after = t < VALUE ? n0 + D : head * wide + c;
          const T* next = n1 < 3 * D ? w.qkv.forward + (long)after * D * BLOCK : w.out.forward;
          project(x, blocks, half, n0, n1, {s.qkv, 3 * c, n0 - t * c, saved ? saved->qkv : nullptr}, next, u, s);
        }
        for (size_t t = 0; t < g.texts.size(); t++) {
          Slice q{s.qkv, 3 * c, 0, g.starts[t], g.lengths[t]}, k = q, v = q;
          k.chunk = c, v.chunk = 2 * c;
          attend(t, head, heads, q, k, v);
        }
      }
      clear_padding(g, context, D);
    }
    after_attention(blocks, half, ids, context, mine, to, features, saved, u, s);
  }

  template <class U>
  void after_attention(int blocks, bool half, const uint64_t* ids, const T* context, const T* x, T* to, float* features,
                       Saved* saved, U&& u, Scratch& s) const {
    const int D = model.hidden, F = model.inner;
    low_rank(OUT, context, blocks, ids, u(OUT), s);
    Dropout drop = dropout(model.hidden_dropout, ATTENTION_OUT);
    const uint64_t* k1 = keys(drop, ids, blocks, s.keys);
    products({context, (long)D * BLOCK, half}, blocks, w.out.times_transposed(), 0, D, D, s.wide, (long)D * BLOCK, BLOCK,
             true, true, w.up.forward, [&](int n) { return extra(OUT, u(OUT), n); },
             [&](int m, int n, float* sum, int i0, int i1) {
               add_residual(sum, w.out_bias, x + ((long)m * D + n) * BLOCK, drop, k1 + m * SIDE, n, i0, i1);
             });
    T* x1 = saved && saved->x1 ? saved->x1 : s.x1;
    for (int m = 0; m < blocks; m++) {
      long at = (long)m * D * BLOCK;
      norm_forward(s.wide + at, D, w.norm1_g, w.norm1_b, model.epsilon, saved ? saved->normed1 + at : nullptr, x1 + at,
                   saved ? saved->spread1 + m * SIDE : nullptr, nullptr);
    }
    low_rank(UP, x1, blocks, ids, u(UP), s);
    drop = dropout(model.hidden_dropout, FFN_OUT);
    const uint64_t* k2 = keys(drop, ids, blocks, s.other_keys);
    const bool all_at_once = lora[DOWN].on();  // A multiplies all inner channels before the product with B
    T* act = saved && saved->act ? saved->act : s.act;
    const int piece = all_at_once ? F : PIECE;
    const int wide = all_at_once ? F : (F < PIECE ? F : +PIECE);
    for (int c = 0; c < F; c += piece) {
      int some = F - c < piece ? F - c : piece;
      products({x1, (long)D * BLOCK, half}, blocks, w.up.times_transposed(), c, c + some, D, s.sums, BLOCK, 0, true, true,
               w.down.forward + (long)c * BLOCK, [&](int n) { return extra(UP, u(UP), n); },
               [&](int m, int n, const float* sum, int i0, int i1) {
                 lanes b0 = load(w.up_bias + n * SIDE), b1 = load(w.up_bias + n * SIDE + 16);
                 T* block = act + ((long)m * wide + n - c) * BLOCK;
                 T* slope = saved ? saved->slope + ((long)n * blocks + m) * BLOCK : nullptr;
                 lanes y0, y1, d0, d1;
                 for (int i = i0; i < i1; i++) {
                   gelu(load(sum + i * SIDE) + b0, y0, d0);
                   gelu(load(sum + i * SIDE + 16) + b1, y1, d1);
                   store_row(block + i * SIDE, y0, y1);
                   if (slope) stream_row(slope + i * SIDE, d0, d1);
                 }
               });
      if (all_at_once) low_rank(DOWN, act, blocks, ids, u(DOWN), s);
      Right down{w.down.forward + (long)c * BLOCK, (long)F * BLOCK};
      products({act, (long)wide * BLOCK, half}, blocks, down, 0, D, some, s.wide, (long)D * BLOCK, BLOCK, c == 0,
               c + some == F, w.up.forward, [&](int n) { return extra(DOWN, u(DOWN), n); },
               [&](int m, int n, float* sum, int i0, int i1) {
                 add_residual(sum, w.down_bias, x1 + ((long)m * D + n) * BLOCK, drop, k2 + m * SIDE, n, i0, i1);
               });
    }
    for (int m = 0; m < blocks; m++) {
      long at = (long)m * D * BLOCK;
      norm_forward(s.wide + at, D, w.norm2_g, w.norm2_b, model.epsilon, saved ? saved->normed2 + at : nullptr,
                   to ? to + at : nullptr, saved ? saved->spread2 + m * SIDE : nullptr, features ? features + at : nullptr);
    }
  }

  // The layer's output once more, as the next one's input: kept, it would take a tenth of what a step keeps.
  void output(const Group& g, const Saved& saved, Saved& next, Scratch& s) const {
    for (int m = 0; m < g.blocks; m++) {
      const long at = (long)m * model.hidden * BLOCK;
      norm_output(saved.normed2 + at, model.hidden, w.norm2_g, w.norm2_b, s.x1 + at);
    }
    next.x = s.x1;
  }

  // gradient: of the layer's output, float32 [blocks][hidden] (in the last layer [first_blocks], `first_gradient`);
  // becomes that of its input where `lower` is set; the adapters' gradients go to `saved`.
  void backward(const Group& g, float* first_gradient, Saved& saved, bool lower, Scratch& s) const {
    const int D = model.hidden, blocks = first_only ? g.first_blocks : g.blocks;
    const uint64_t* ids = first_only ? g.first_ids : g.ids;
    T *dz = s.residual, *dcontext = s.context, *dqkv = s.qkv;
    before_attention(blocks, first_only ? g.first_half : g.half, ids, first_only ? first_gradient : g.gradient, saved, dz, dcontext, s);
    const bool want[3] = {lower || lora[QUERY].on(), lower || lora[KEY].on(), lower || lora[VALUE].on()};
    Dropout drop = dropout(model.attention_dropout, ATTENTION);
    T *q = first_only ? saved.first_q : saved.qkv, *dq = first_only ? s.first_q : dqkv;
    const long stride = first_only ? g.first_blocks * SIDE : g.rows(), chunks = first_only ? D : 3 * D;
    for (size_t t = 0; t < g.texts.size(); t++) {
      long start = g.starts[t], length = g.lengths[t], row = first_only ? (long)t : start;
      Slice mine{q, chunks, 0, row, first_only ? 1 : length};
      Slice k{saved.qkv, 3 * D, D, start, length}, v{saved.qkv, 3 * D, 2 * D, start, length};
      Slice to_q = mine, to_k = k, to_v = v;
      to_q.at = want[0] ? dq : nullptr, to_k.at = want[1] ? dqkv : nullptr, to_v.at = want[2] ? dqkv : nullptr;
      attention_backward(model.head, mine, k, v, {dcontext, D, 0, row, mine.count}, to_q, to_k, to_v, drop,
                         (uint64_t)g.texts[t], saved.log_sums + row, stride, s.attention);
    }
    clear_padding(g, dqkv, 3 * D);
    if (first_only) clear_first_padding(g, dq, D);
    T* du[3];
    for (int t = QUERY; t <= VALUE; t++) {
      const Lora& l = lora[t];
      du[t] = s.u[t];
      if (!l.on()) continue;
      bool first = first_only && t == QUERY;
      Left dy = first ? Left{dq, (long)D * BLOCK} : Left{dqkv + (long)t * D * BLOCK, 3l * D * BLOCK};
      gradients(t, first ? saved.first_x : saved.x, dy, first ? blocks : g.blocks, first ? ids : g.ids, saved, du[t], s);
    }
    if (!lower) return;
    // The input's gradient: back through the three projections, their adapters, and the residual.
    auto back = [&](const T* from, long chunks, int count, bool half, int n0, int n1, const T* residual, const uint64_t* rows, float* to) {
      Right right{w.qkv.backward + (long)n0 * BLOCK, w.qkv.n * BLOCK};
      // A long inner dimension goes in pieces, all panels for each: the left factor's piece stays in the second cache.
      const int inner = n1 - n0, piece = inner > 2 * DEPTH ? +DEPTH : inner;
      const uint64_t* k[3];
      auto share_of = [&](int t, int m, int n) { return s.shares + (2l * t + (n * count + m) % 2) * BLOCK; };
      for (int t = n0 / D; t < n1 / D; t++)
        if (lora[t].on()) k[t] = keys(lora[t].drop, rows, count, s.keys + (long)t * g.rows());
      for (int c = 0; c < inner; c += piece) {
        int some = inner - c < piece ? inner - c : piece;
        products({from + (long)c * BLOCK, chunks * BLOCK, half}, count, {right.at + (long)c * BLOCK, right.stride}, 0, D,
                 some, to, (long)D * BLOCK, BLOCK, c == 0, c + some == inner,
                 right.at + (long)(c + some < inner ? c + some : 0) * BLOCK, NoExtra(),
                 [&](int m, int n, float* sum, int i0, int i1) {
                   const T* rest = residual ? residual + ((long)m * D + n) * BLOCK : nullptr;
                   for (int i = i0; i < i1; i++) {
                     lanes low = load(sum + i * SIDE), high = load(sum + i * SIDE + 16), r0, r1;
                     if (rest) load_row(rest + i * SIDE, r0, r1), low += r0, high += r1;
                     for (int t = n0 / D; t < n1 / D; t++)
                       if (lora[t].on()) add_share(lora[t], share_of(t, m, n), m, n, i, k[t], low, high);
                     store_row(sum + i * SIDE, low, high);
                   }
                 },
                 [&](int m, int n) {
                   for (int t = n0 / D; t < n1 / D; t++)
                     if (lora[t].on()) lora_share(lora[t], du[t], m, n, share_of(t, m, n));
                 });
      }
    };
    if (!first_only) return back(dqkv, 3 * D, g.blocks, g.half, 0, 3 * D, dz, g.ids, g.gradient);
    back(dqkv + (long)D * BLOCK, 3 * D, g.blocks, g.half, D, 3 * D, nullptr, g.ids, g.gradient);
    back(dq, D, blocks, g.first_half, 0, D, dz, ids, first_gradient);
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int c = 0; c < D; c++) {
        float* at = g.gradient + row_at(g.starts[t], D) + c * BLOCK;
        const float* from = first_gradient + row_at((long)t, D) + c * BLOCK;
        store_row(at, load(at) + load(from), load(at + 16) + load(from + 16));
      }
  }

  // From the output's gradient to that of the context, through the second half of the layer; the first is overwritten.
  void before_attention(int blocks, bool half, const uint64_t* ids, float* gradient, Saved& saved, T* dz, T* dcontext,
                        Scratch& s) const {
    const int D = model.hidden, F = model.inner;
    Dropout drop = dropout(model.hidden_dropout, FFN_OUT);
    const uint64_t* k2 = keys(drop, ids, blocks, s.keys);
    for (int m = 0; m < blocks; m++) {
      long at = (long)m * D * BLOCK;
      norm_backward(gradient + at, D, w.norm2_g, saved.normed2 + at, saved.spread2 + m * SIDE, drop, k2 + m * SIDE, dz + at,
                    s.branch + at);
    }
    auto share_of = [&](int m, int n) { return s.shares + (long)((n * blocks + m) % 2) * BLOCK; };
    const Lora& down = lora[DOWN];
    if (down.on()) gradients(DOWN, saved.act, {s.branch, (long)D * BLOCK}, blocks, ids, saved, s.u[DOWN], s);
    const uint64_t* kd = down.on() ? keys(down.drop, ids, blocks, s.keys) : nullptr;
    const bool whole = lora[UP].on();  // its gradients take all inner channels
    const int piece = whole ? F : PIECE, wide = whole ? F : (F < PIECE ? F : +PIECE);
    T* dact = s.act;
    auto slope_at = [&](int m, int n) { return saved.slope + ((long)n * blocks + m) * BLOCK; };
    for (int c = 0; c < F; c += piece) {
      int some = F - c < piece ? F - c : piece;
      products({s.branch, (long)D * BLOCK, half}, blocks, w.down.times(), c, c + some, D, s.sums, BLOCK, 0, true, true,
               w.up.backward + (long)c * BLOCK, NoExtra(),
               [&](int m, int n, const float* sum, int i0, int i1) {
                 const T* slope = slope_at(m, n);
                 T* block = dact + ((long)m * wide + n - c) * BLOCK;
                 for (int i = i0; i < i1; i++) {
                   lanes low = load(sum + i * SIDE), high = load(sum + i * SIDE + 16), d0, d1;
                   if (down.on()) add_share(down, share_of(m, n), m, n, i, kd, low, high);
                   load_row(slope + i * SIDE, d0, d1);
                   store_row(block + i * SIDE, low * d0, high * d1);
                 }
               },
               [&](int m, int n) {
                 if (down.on()) lora_share(down, s.u[DOWN], m, n, share_of(m, n));
               },
               slope_at);
      Right up{w.up.backward + (long)c * BLOCK, (long)F * BLOCK};
      products({dact, (long)wide * BLOCK, half}, blocks, up, 0, D, some, gradient, (long)D * BLOCK, BLOCK, c == 0,
               c + some == F, w.down.backward, NoExtra(),
               [&](int m, int n, float* sum, int i0, int i1) {
                 const T* residual = dz + ((long)m * D + n) * BLOCK;
                 for (int i = i0; i < i1; i++) {
                   lanes r0, r1;
                   load_row(residual + i * SIDE, r0, r1);
                   store_row(sum + i * SIDE, load(sum + i * SIDE) + r0, load(sum + i * SIDE + 16) + r1);
                 }
               });
    }
    if (whole) {
      gradients(UP, saved.x1, {dact, (long)F * BLOCK}, blocks, ids, saved, s.u[UP], s);
      const uint64_t* k = keys(lora[UP].drop, ids, blocks, s.keys);
      for (int m = 0; m < blocks; m++)
        for (int c = 0; c < D; c++)
          lora_down_backward(lora[UP], s.u[UP], m, c, k, gradient + ((long)m * D + c) * BLOCK, s.low);
    }
    drop = dropout(model.hidden_dropout, ATTENTION_OUT);
    const uint64_t* k1 = keys(drop, ids, blocks, s.keys);
    for (int m = 0; m < blocks; m++) {
      long at = (long)m * D * BLOCK;
      norm_backward(gradient + at, D, w.norm1_g, saved.normed1 + at, saved.spread1 + m * SIDE, drop, k1 + m * SIDE, dz + at,
                    s.branch + at);
    }
    const Lora& out = lora[OUT];
    if (out.on()) gradients(OUT, saved.context, {s.branch, (long)D * BLOCK}, blocks, ids, saved, s.u[OUT], s);
    const uint64_t* ko = out.on() ? keys(out.drop, ids, blocks, s.keys) : nullptr;
    products({s.branch, (long)D * BLOCK, half}, blocks, w.out.times(), 0, D, D, s.sums, BLOCK, 0, true, true, w.qkv.backward,
             NoExtra(),
             [&](int m, int n, const float* sum, int i0, int i1) {
               T* block = dcontext + ((long)m * D + n) * BLOCK;
               for (int i = i0; i < i1; i++) {
                 lanes low = load(sum + i * SIDE), high = load(sum + i * SIDE + 16);
                 if (out.on()) add_share(out, share_of(m, n), m, n, i, ko, low, high);
                 store_row(block + i * SIDE, low, high);
               }
             },
             [&](int m, int n) {
               if (out.on()) lora_share(out, s.u[OUT], m, n, share_of(m, n));
             });
  }

  // du = dy B of an adapter, and the gradients of its A and B for this group.
  void gradients(int target, const T* x, Left dy, int blocks, const uint64_t* ids, Saved& saved, T* du, Scratch& s) const {
    const Lora& l = lora[target];
    lora_up_backward(l, dy, blocks, du, s.low);
    const uint64_t* k = keys(l.drop, ids, blocks, s.other_keys);
    int in = (int)(l.inputs / SIDE), out = (int)(l.outputs / SIDE);
    lora_gradient(l, du, {x, (long)in * BLOCK}, in, 0, blocks, &l.drop, k, l.drop.scale, saved.da[target], l.inputs, s.room,
                  s.low);
    lora_gradient(l, saved.u[target], dy, out, 0, blocks, nullptr, nullptr, l.scale, saved.db[target], l.outputs, s.room,
                  s.low);
  }

  void take_first(const Group& g, const T* x, T* to) const {
    const int D = model.hidden;
    for (size_t t = 0; t < g.texts.size(); t++)
      for (int c = 0; c < D; c++)
        memcpy(to + row_at((long)t, D) + c * BLOCK, x + row_at(g.starts[t], D) + c * BLOCK, SIDE * sizeof(T));
    clear_first_padding(g, to, D);
  }
  static void clear_first_padding(const Group& g, T* rows, int chunks) {
    for (long row = (long)g.texts.size(); row < g.first_blocks * SIDE; row++)
      for (int c = 0; c < chunks; c++) memset(rows + row_at(row, chunks) + c * BLOCK, 0, SIDE * sizeof(T));
  }
};
