// libxsmm's and oneDNN's kernels on the same problems, where they were found when this was built.
#pragma once
#include <map>
#include <memory>
#include <unordered_map>

#include "contenders.hpp"
#ifdef HAVE_XSMM
#include <libxsmm.h>
#endif
#ifdef HAVE_DNNL
#include <oneapi/dnnl/dnnl.hpp>
#ifdef DNNL_EXPERIMENTAL_UKERNEL
#include <oneapi/dnnl/dnnl_ukernel.hpp>
#endif
#endif

extern "C" void omp_set_num_threads(int) __attribute__((weak));

// One thread, and no more instructions than this build's own kernels use.
inline void set_up() {
  if (omp_set_num_threads) omp_set_num_threads(1);
#ifdef HAVE_XSMM
#if defined(__AVX512F__)
  libxsmm_set_target_arch("skx");
#else
  libxsmm_set_target_arch("hsw");
#endif
#endif
#ifdef HAVE_DNNL
  using dnnl::cpu_isa;
#if defined(SM_AMX)
  dnnl::set_max_cpu_isa(cpu_isa::avx512_core_amx);
#elif defined(SM_DOT)
  dnnl::set_max_cpu_isa(cpu_isa::avx512_core_bf16);
#elif defined(__AVX512F__)
  dnnl::set_max_cpu_isa(cpu_isa::avx512_core);
#else
  dnnl::set_max_cpu_isa(cpu_isa::avx2);
#endif
#endif
}

// [inner / s][width][s] from element (k, n) of a right factor: what both libraries read; s is 2 in bf16, else 1.
template <class At>
void interleave(int inner, int width, T* to, At&& at) {
  const int s = 4 / sizeof(T);
  alignas(64) float line[SIDE] = {};
  alignas(64) T block[SIDE];
  for (int k = 0; k < inner; k++)
    for (int n = 0; n < width; n++) {
      line[0] = at(k, n);
      store_row(block, load(line), load(line + 16));
      to[((long)(k / s) * width + n) * s + k % s] = block[0];
    }
}

// kernel(left, right, sum, blocks, first): sum[32][width] (+)= left[blocks][32][32] right[32 blocks][width].
using Kernel = std::function<void(const T* left, const T* right, float* sum, int blocks, bool first)>;

// A library's kernel in the place of the package's own: the same order of loops, panels of `width` columns.
inline Contender in_our_loop(Problem& p, const std::string& name, int width, Kernel kernel) {
  const int deep = p.inner / SIDE, wide = p.columns / width, high = p.rows / SIDE;
  const int depth = std::max(1, DEPTH * SIDE / width);
  const size_t count = (size_t)p.inner * p.columns;
  std::vector<T> panels(count);
  for (int n = 0; n < wide; n++)
    interleave(p.inner, width, &panels[(size_t)n * p.inner * width],
               [&](int k, int j) { return p.w[(size_t)(n * width + j) * p.inner + k]; });
  const T *packed = p.repeated(panels.data(), count), *left = p.blocks_of(p.x, p.rows, p.inner);
  float* out = p.arena.take<float>((size_t)p.rows * p.columns);
  auto run = [=, &p](int copy) {
    const T* right = packed + (size_t)(copy % p.copies) * count;
    for (int n = 0; n < wide; n++)
      for (int k = 0; k < deep; k += depth)
        for (int m = 0; m < high; m++)
          kernel(left + ((long)m * deep + k) * BLOCK, right + ((long)n * deep + k) * SIDE * width,
                 out + ((long)m * wide + n) * SIDE * width, std::min(depth, deep - k), k == 0);
  };
  return {name + ", panels of " + std::to_string(width), false, run,
          [=, &p](float* to) { flatten(p, out, width, to); }};
}

#ifdef HAVE_XSMM
// Of libxsmm 1.17 float32 alone: it is older than AMX. Its matrices lie by columns, so factors change places.
inline void add_libxsmm(Problem& p, std::vector<Contender>& to) {
  if (sizeof(T) != 4) return;
  for (int width : {32, 48, 64}) {
    if (p.columns % width) continue;
    const float one = 1, zero = 0;
    const int ld = width, side = SIDE;
    libxsmm_smmfunction_reducebatch_strd kernels[2];
    for (int first = 0; first < 2; first++)
      kernels[first] =
          libxsmm_smmdispatch_reducebatch_strd(width, SIDE, SIDE, SIDE * width * 4, BLOCK * 4, &ld, &side, &ld, &one,
                                               first ? &zero : &one, nullptr, nullptr);
    if (!kernels[0] || !kernels[1]) continue;
    libxsmm_smmfunction_reducebatch_strd more = kernels[0], begin = kernels[1];
    Kernel kernel = [=](const T* left, const T* right, float* sum, int blocks, bool first) {
      unsigned long long count = blocks;
      (first ? begin : more)((const float*)right, (const float*)left, sum, &count);
    };
    to.push_back(in_our_loop(p, "libxsmm", width, kernel));
  }
}
#endif

#ifdef HAVE_DNNL
using dnnl::memory;
inline memory::data_type kind() { return sizeof(T) == 2 ? memory::data_type::bf16 : memory::data_type::f32; }
inline dnnl::engine& engine() {
  static dnnl::engine it(dnnl::engine::kind::cpu, 0);
  return it;
}

#ifdef DNNL_EXPERIMENTAL_UKERNEL
// One micro-kernel with its offsets; rows x width, `inner` deep, `blocks` times.
struct Micro {
  dnnl::ukernel::brgemm kernel;
  std::vector<std::pair<memory::dim, memory::dim>> offsets;
  std::vector<uint8_t> room;

  Micro(int rows, int width, int inner, int blocks, int lda, int ldb, bool first)
      : kernel(rows, width, inner, blocks, lda, ldb, ldb, kind(), kind(), memory::data_type::f32) {
    kernel.set_add_C(!first);
    if (!kernel.finalize()) throw dnnl::error(dnnl_unimplemented, "no such micro-kernel");
    kernel.generate();
    room.resize(kernel.get_scratchpad_size() + 64);
    for (int i = 0; i < blocks; i++)
      offsets.push_back({(memory::dim)(i * BLOCK * sizeof(T)), (memory::dim)(i * SIDE * width * sizeof(T))});
  }
  void run(const T* left, const T* right, float* sum) { kernel.execute(left, right, offsets, sum, room.data()); }
};

inline void add_ukernels(Problem& p, std::vector<Contender>& to) {
  for (int width : {32, 48, 64}) {
    if (p.columns % width) continue;
    try {
      const int deep = p.inner / SIDE, depth = std::max(1, DEPTH * SIDE / width);
      auto made = std::make_shared<std::map<std::pair<int, bool>, std::shared_ptr<Micro>>>();
      for (int blocks : {std::min(depth, deep), deep % depth})
        for (bool first : {false, true})
          if (blocks) (*made)[{blocks, first}] = std::make_shared<Micro>(SIDE, width, SIDE, blocks, SIDE, width, first);
      Kernel kernel = [=](const T* left, const T* right, float* sum, int blocks, bool first) {
        made->find({blocks, first})->second->run(left, right, sum);
      };
      Contender it = in_our_loop(p, "oneDNN ukernel", width, kernel);
      auto run = it.run;
      it.run = [=](int copy) {
        made->begin()->second->kernel.set_hw_context();
        run(copy);
        dnnl::ukernel::brgemm::release_hw_context();
      };
      to.push_back(it);
    } catch (const dnnl::error& error) {
      fprintf(stderr, "oneDNN ukernel, panels of %d: %s\n", width, error.what());
    }
  }
}
#endif

// oneDNN's matmul with weights in the layout that it wishes; whole: the low-rank part by a second matmul before it.
inline void add_matmul(Problem& p, bool whole, std::vector<Contender>& to) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  auto stream = std::make_shared<dnnl::stream>(engine());
  const memory::desc x_desc({p.rows, p.inner}, kind(), tag::ab), y_desc({p.rows, p.columns}, f32, tag::ab);
  const memory::desc bias_desc({1, p.columns}, f32, tag::ab), rest_desc({p.rows, p.columns}, kind(), tag::ab);
  const memory::desc u_desc({p.rows, RANK}, kind(), tag::ab);
  auto filled = [&](const memory::desc& desc, const std::vector<float>& values, tag from) {
    memory plain({desc.get_dims(), f32, from}, engine(), (void*)values.data());
    memory packed(desc, engine(), p.arena.take<char>(desc.get_size()));
    dnnl::reorder(plain, packed).execute(*stream, plain, packed);
    stream->wait();
    return packed;
  };
  dnnl::primitive_attr attributes;
  if (whole) {
    dnnl::post_ops ops;
    ops.append_sum(1);
    ops.append_binary(dnnl::algorithm::binary_add, rest_desc);
    attributes.set_post_ops(ops);
  }
  const memory::desc any({p.inner, p.columns}, kind(), tag::any), low_any({RANK, p.columns}, kind(), tag::any);
  const dnnl::matmul::primitive_desc desc =
      whole ? dnnl::matmul::primitive_desc(engine(), x_desc, any, bias_desc, y_desc, attributes)
            : dnnl::matmul::primitive_desc(engine(), x_desc, any, y_desc, attributes);
  const dnnl::matmul::primitive_desc low_desc(engine(), u_desc, low_any, y_desc);
  std::vector<memory> weights;
  const size_t bytes = desc.weights_desc().get_size();
  const memory first = filled(desc.weights_desc(), p.w, tag::ba);
  const T* all = p.repeated((const T*)first.get_data_handle(), bytes / sizeof(T));
  for (int i = 0; i < p.copies; i++) weights.emplace_back(desc.weights_desc(), engine(), (char*)all + i * bytes);
  memory x = filled(x_desc, p.x, tag::ab), u = filled(u_desc, p.u, tag::ab);
  memory b = filled(low_desc.weights_desc(), p.b, tag::ba);
  memory bias = filled(bias_desc, p.bias, tag::ab), rest = filled(rest_desc, p.residual, tag::ab);
  float* out = p.arena.take<float>((size_t)p.rows * p.columns);
  memory y(y_desc, engine(), out);
  dnnl::matmul main(desc), low(low_desc);
  auto run = [=, &p](int copy) {
    std::unordered_map<int, memory> given{{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}};
    given[DNNL_ARG_WEIGHTS] = weights[copy % p.copies];
    if (whole) {
      low.execute(*stream, {{DNNL_ARG_SRC, u}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, y}});
      given[DNNL_ARG_BIAS] = bias, given[DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1] = rest;
    }
    main.execute(*stream, given);
    stream->wait();
  };
  const std::string name = std::string("oneDNN matmul (") + desc.impl_info_str() + ")";
  to.push_back({whole ? name + ", low rank, bias, residual" : name, whole, run,
                [=, &p](float* row_major) { memcpy(row_major, out, sizeof(float) * p.rows * p.columns); }});
}
#endif

inline std::vector<Contender> of_matrix(Problem& p) {
  const int deep = p.inner / SIDE, piece = 12;  // PIECE of layer.hpp
  std::vector<Contender> all{own(p, "own", false, deep)};
  // Down from the inner channels of a feed-forward network the encoder goes in pieces.
  const bool pieces = p.inner > p.columns && p.copies > 1;
  if (pieces) all.push_back(own(p, "own, 384 inner channels at a time", false, piece));
  all.push_back(own(p, "own, low rank, bias, residual", true, pieces ? piece : deep));
#ifdef HAVE_XSMM
  add_libxsmm(p, all);
#endif
#ifdef HAVE_DNNL
#ifdef DNNL_EXPERIMENTAL_UKERNEL
  add_ukernels(p, all);
#endif
  for (bool whole : {false, true}) add_matmul(p, whole, all);
#endif
  return all;
}

// Libraries need not fill up the text to 64 tokens; columns of scores are rounded up to a register, keys to a pair.
inline std::vector<Contender> of_attention(Attention& a) {
  std::vector<Contender> all{own_attention(a)};
  const int keys = sizeof(T) == 2 ? 64 : TOKENS, columns = 64;
  std::vector<T> key(HEAD * columns), value(keys * HEAD), query(TOKENS * HEAD), share(TOKENS * columns);
  auto at = [](const std::vector<float>& rows, int i, int j, int width) {
    return i < TOKENS && j < width ? rows[i * width + j] : 0.f;
  };
  interleave(HEAD, columns, key.data(), [&](int c, int j) { return at(a.k, j, c, HEAD); });
  interleave(keys, HEAD, value.data(), [&](int j, int c) { return at(a.v, j, c, HEAD); });
  auto rows = [&](const std::vector<float>& from, int width, T* to) {
    alignas(64) T block[BLOCK];
    for (int i = 0; i < 2 * SIDE; i += SIDE)
      for (int j = 0; j < 64; j += SIDE) {
        block_of(from.data(), TOKENS, width, i, j, 1, block);
        for (int r = 0; r < SIDE && i + r < TOKENS; r++)
          memcpy(to + (i + r) * 64 + j, block + r * SIDE, SIDE * sizeof(T));
      }
  };
  rows(a.q, HEAD, query.data()), rows(a.p, TOKENS, share.data());
  auto keep = [&](const std::vector<T>& from) {
    T* to = a.arena.take<T>(from.size());
    memcpy(to, from.data(), from.size() * sizeof(T));
    return to;
  };
  const T *k = keep(key), *v = keep(value), *q = keep(query), *s = keep(share);
  using Both = std::function<void(float* scores, float* context)>;
  auto add = [&](const std::string& name, Both both) {
    float *scores = a.arena.take<float>(TOKENS * columns), *context = a.arena.take<float>(TOKENS * HEAD);
    auto run = [=](int) {
      for (int head = 0; head < HEADS; head++) both(scores, context);
    };
    all.push_back({name, false, run, [=](float* to) {
                     for (int i = 0; i < TOKENS; i++)
                       memcpy(to + i * TOKENS, scores + i * columns, TOKENS * sizeof(float));
                     memcpy(to + TOKENS * TOKENS, context, TOKENS * HEAD * sizeof(float));
                   }});
  };
  (void)add, (void)k, (void)v, (void)q, (void)s, (void)keys;
#ifdef HAVE_XSMM
  if (sizeof(T) == 4) {
    const int ld = 64;
    const float one = 1, zero = 0;
    libxsmm_smmfunction first = libxsmm_smmdispatch(56, TOKENS, HEAD, &ld, &ld, &ld, &one, &zero, nullptr, nullptr),
                        second = libxsmm_smmdispatch(HEAD, TOKENS, keys, &ld, &ld, &ld, &one, &zero, nullptr, nullptr);
    if (first && second)
      add("libxsmm, 53 x 56 x 64 and 53 x 64 x 53", [=](float* scores, float* context) {
        first((const float*)k, (const float*)q, scores);
        second((const float*)v, (const float*)s, context);
      });
  }
#endif
#if defined(HAVE_DNNL) && defined(DNNL_EXPERIMENTAL_UKERNEL)
  try {
    auto first = std::make_shared<Micro>(TOKENS, 56, HEAD, 1, HEAD, columns, true);
    auto second = std::make_shared<Micro>(TOKENS, HEAD, keys, 1, columns, HEAD, true);
    add("oneDNN ukernel, 53 x 56 x 64 and 53 x 64 x 53", [=](float* scores, float* context) {
      first->kernel.set_hw_context();
      first->run(q, k, scores);
      second->kernel.set_hw_context();
      second->run(s, v, context);
      dnnl::ukernel::brgemm::release_hw_context();
    });
  } catch (const dnnl::error& error) {
    fprintf(stderr, "oneDNN ukernel for attention: %s\n", error.what());
  }
#endif
  return all;
}
