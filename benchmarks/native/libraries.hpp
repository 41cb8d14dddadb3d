// The kernels of libxsmm and oneDNN on the same problems, if CMake finds the libraries.
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

namespace submillion {

// Limits the libraries to one thread and to the instruction set of this build.
inline void limit_libraries() {
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

// Packs element (k, n) of a B operand into [inner / s][width][s], which both libraries read; s is 2 in
// bfloat16, 1 in float32.
template <class At>
void interleave(int inner, int width, elem_t* to, At&& at) {
  const int s = 4 / sizeof(elem_t);
  alignas(64) float row[BLOCK_SIDE] = {};
  alignas(64) elem_t block[BLOCK_SIDE];
  for (int k = 0; k < inner; k++)
    for (int n = 0; n < width; n++) {
      row[0] = at(k, n);
      store_row(block, load(row), load(row + 16));
      to[((long)(k / s) * width + n) * s + k % s] = block[0];
    }
}

// kernel(a, b, acc, blocks, zero_init): acc[32][width] (+)= a[blocks][32][32] b[32 blocks][width].
using BlockKernel =
    std::function<void(const elem_t* a, const elem_t* b, float* acc, int blocks, bool zero_init)>;

// Runs a library's kernel in the loops of the package's gemm, with panels of `width` columns.
inline Contender in_own_loop(Problem& p, const std::string& name, int width, BlockKernel kernel) {
  const int k_blocks = p.inner / BLOCK_SIDE, n_blocks = p.columns / width, m_blocks = p.rows / BLOCK_SIDE;
  const int kc = std::max(1, KC_BLOCKS * BLOCK_SIDE / width);
  const size_t count = (size_t)p.inner * p.columns;
  std::vector<elem_t> panels(count);
  for (int n = 0; n < n_blocks; n++)
    interleave(p.inner, width, &panels[(size_t)n * p.inner * width],
               [&](int k, int j) { return p.w[(size_t)(n * width + j) * p.inner + k]; });
  const elem_t *packed = p.copies_of(panels.data(), count), *a = p.to_blocks(p.x, p.rows, p.inner);
  float* out = p.arena.allocate<float>((size_t)p.rows * p.columns);
  auto run = [=, &p](int copy) {
    const elem_t* b = packed + (size_t)(copy % p.copies) * count;
    for (int n = 0; n < n_blocks; n++)
      for (int k = 0; k < k_blocks; k += kc)
        for (int m = 0; m < m_blocks; m++)
          kernel(a + ((long)m * k_blocks + k) * BLOCK_ELEMS,
                 b + ((long)n * k_blocks + k) * BLOCK_SIDE * width,
                 out + ((long)m * n_blocks + n) * BLOCK_SIDE * width, std::min(kc, k_blocks - k), k == 0);
  };
  return {name + ", panels of " + std::to_string(width), false, run,
          [=, &p](float* to) { flatten(p, out, width, to); }};
}

#ifdef HAVE_XSMM
// libxsmm 1.17 is older than AMX, so only float32 is measured. A and B are swapped: it is column-major.
inline void add_libxsmm(Problem& p, std::vector<Contender>& to) {
  if (sizeof(elem_t) != 4) return;
  for (int width : {32, 48, 64}) {
    if (p.columns % width) continue;
    const float one = 1, zero = 0;
    const int ld = width, side = BLOCK_SIDE;
    libxsmm_smmfunction_reducebatch_strd kernels[2];
    for (int zero_init = 0; zero_init < 2; zero_init++)
      kernels[zero_init] = libxsmm_smmdispatch_reducebatch_strd(
          width, BLOCK_SIDE, BLOCK_SIDE, BLOCK_SIDE * width * 4, BLOCK_ELEMS * 4, &ld, &side, &ld, &one,
          zero_init ? &zero : &one, nullptr, nullptr);
    if (!kernels[0] || !kernels[1]) continue;
    libxsmm_smmfunction_reducebatch_strd more = kernels[0], begin = kernels[1];
    BlockKernel kernel = [=](const elem_t* a, const elem_t* b, float* acc, int blocks, bool zero_init) {
      unsigned long long count = blocks;
      (zero_init ? begin : more)((const float*)b, (const float*)a, acc, &count);
    };
    to.push_back(in_own_loop(p, "libxsmm", width, kernel));
  }
}
#endif

#ifdef HAVE_DNNL
using dnnl::memory;
inline memory::data_type elem_type() {
  return sizeof(elem_t) == 2 ? memory::data_type::bf16 : memory::data_type::f32;
}
inline dnnl::engine& engine() {
  static dnnl::engine it(dnnl::engine::kind::cpu, 0);
  return it;
}

#ifdef DNNL_EXPERIMENTAL_UKERNEL
// A oneDNN brgemm microkernel, rows x width x `inner`, over `blocks` blocks of k.
struct Microkernel {
  dnnl::ukernel::brgemm kernel;
  std::vector<std::pair<memory::dim, memory::dim>> offsets;
  std::vector<uint8_t> scratchpad;

  Microkernel(int rows, int width, int inner, int blocks, int lda, int ldb, bool zero_init)
      : kernel(rows, width, inner, blocks, lda, ldb, ldb, elem_type(), elem_type(), memory::data_type::f32) {
    kernel.set_add_C(!zero_init);
    if (!kernel.finalize()) throw dnnl::error(dnnl_unimplemented, "no such microkernel");
    kernel.generate();
    scratchpad.resize(kernel.get_scratchpad_size() + 64);
    for (int i = 0; i < blocks; i++)
      offsets.push_back({(memory::dim)(i * BLOCK_ELEMS * sizeof(elem_t)),
                         (memory::dim)(i * BLOCK_SIDE * width * sizeof(elem_t))});
  }
  void run(const elem_t* a, const elem_t* b, float* acc) {
    kernel.execute(a, b, offsets, acc, scratchpad.data());
  }
};

inline void add_ukernels(Problem& p, std::vector<Contender>& to) {
  for (int width : {32, 48, 64}) {
    if (p.columns % width) continue;
    try {
      const int k_blocks = p.inner / BLOCK_SIDE, kc = std::max(1, KC_BLOCKS * BLOCK_SIDE / width);
      auto microkernels = std::make_shared<std::map<std::pair<int, bool>, std::shared_ptr<Microkernel>>>();
      for (int blocks : {std::min(kc, k_blocks), k_blocks % kc})
        for (bool zero_init : {false, true})
          if (blocks)
            (*microkernels)[{blocks, zero_init}] = std::make_shared<Microkernel>(
                BLOCK_SIDE, width, BLOCK_SIDE, blocks, BLOCK_SIDE, width, zero_init);
      BlockKernel kernel = [=](const elem_t* a, const elem_t* b, float* acc, int blocks, bool zero_init) {
        microkernels->find({blocks, zero_init})->second->run(a, b, acc);
      };
      Contender it = in_own_loop(p, "oneDNN ukernel", width, kernel);
      auto run = it.run;
      it.run = [=](int copy) {
        microkernels->begin()->second->kernel.set_hw_context();
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

// oneDNN's matmul with weights in its preferred layout. fused: another matmul first adds the low-rank term.
inline void add_matmul(Problem& p, bool fused, std::vector<Contender>& to) {
  using tag = memory::format_tag;
  const auto f32 = memory::data_type::f32;
  auto stream = std::make_shared<dnnl::stream>(engine());
  const memory::desc x_desc({p.rows, p.inner}, elem_type(), tag::ab),
      y_desc({p.rows, p.columns}, f32, tag::ab);
  const memory::desc bias_desc({1, p.columns}, f32, tag::ab),
      residual_desc({p.rows, p.columns}, elem_type(), tag::ab);
  const memory::desc u_desc({p.rows, RANK}, elem_type(), tag::ab);
  auto reordered = [&](const memory::desc& desc, const std::vector<float>& values, tag from) {
    memory plain({desc.get_dims(), f32, from}, engine(), (void*)values.data());
    memory packed(desc, engine(), p.arena.allocate<char>(desc.get_size()));
    dnnl::reorder(plain, packed).execute(*stream, plain, packed);
    stream->wait();
    return packed;
  };
  dnnl::primitive_attr attributes;
  if (fused) {
    dnnl::post_ops ops;
    ops.append_sum(1);
    ops.append_binary(dnnl::algorithm::binary_add, residual_desc);
    attributes.set_post_ops(ops);
  }
  const memory::desc any({p.inner, p.columns}, elem_type(), tag::any),
      low_rank_any({RANK, p.columns}, elem_type(), tag::any);
  const dnnl::matmul::primitive_desc desc =
      fused ? dnnl::matmul::primitive_desc(engine(), x_desc, any, bias_desc, y_desc, attributes)
            : dnnl::matmul::primitive_desc(engine(), x_desc, any, y_desc, attributes);
  const dnnl::matmul::primitive_desc low_rank_desc(engine(), u_desc, low_rank_any, y_desc);
  std::vector<memory> weights;
  const size_t bytes = desc.weights_desc().get_size();
  const memory first = reordered(desc.weights_desc(), p.w, tag::ba);
  const elem_t* all = p.copies_of((const elem_t*)first.get_data_handle(), bytes / sizeof(elem_t));
  for (int i = 0; i < p.copies; i++)
    weights.emplace_back(desc.weights_desc(), engine(), (char*)all + i * bytes);
  memory x = reordered(x_desc, p.x, tag::ab), u = reordered(u_desc, p.u, tag::ab);
  memory b = reordered(low_rank_desc.weights_desc(), p.b, tag::ba);
  memory bias = reordered(bias_desc, p.bias, tag::ab),
         residual = reordered(residual_desc, p.residual, tag::ab);
  float* out = p.arena.allocate<float>((size_t)p.rows * p.columns);
  memory y(y_desc, engine(), out);
  dnnl::matmul main(desc), low_rank(low_rank_desc);
  auto run = [=, &p](int copy) {
    std::unordered_map<int, memory> arguments{{DNNL_ARG_SRC, x}, {DNNL_ARG_DST, y}};
    arguments[DNNL_ARG_WEIGHTS] = weights[copy % p.copies];
    if (fused) {
      low_rank.execute(*stream, {{DNNL_ARG_SRC, u}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, y}});
      arguments[DNNL_ARG_BIAS] = bias,
      arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(1) | DNNL_ARG_SRC_1] = residual;
    }
    main.execute(*stream, arguments);
    stream->wait();
  };
  const std::string name = std::string("oneDNN matmul (") + desc.impl_info_str() + ")";
  to.push_back({fused ? name + ", low rank, bias, residual" : name, fused, run,
                [=, &p](float* row_major) { memcpy(row_major, out, sizeof(float) * p.rows * p.columns); }});
}
#endif

inline std::vector<Contender> gemm_contenders(Problem& p) {
  const int k_blocks = p.inner / BLOCK_SIDE, chunk = 12;  // FFN_CHUNK of layer_state.hpp without AMX
  std::vector<Contender> all{own_gemm(p, "own", false, k_blocks)};
  // The encoder computes the down projection of the FFN in chunks.
  const bool chunked = p.inner > p.columns && p.copies > 1;
  if (chunked) all.push_back(own_gemm(p, "own, 384 inner channels at a time", false, chunk));
  all.push_back(own_gemm(p, "own, low rank, bias, residual", true, chunked ? chunk : k_blocks));
#ifdef HAVE_XSMM
  add_libxsmm(p, all);
#endif
#ifdef HAVE_DNNL
#ifdef DNNL_EXPERIMENTAL_UKERNEL
  add_ukernels(p, all);
#endif
  for (bool fused : {false, true}) add_matmul(p, fused, all);
#endif
  return all;
}

// The libraries need no padding of the text to 64 tokens: the columns of scores are padded to whole
// registers, keys to pairs.
inline std::vector<Contender> attention_contenders(Attention& a) {
  std::vector<Contender> all{own_attention(a)};
  const int keys = sizeof(elem_t) == 2 ? 64 : TOKENS, columns = 64;
  std::vector<elem_t> key(HEAD * columns), value(keys * HEAD), query(TOKENS * HEAD), probs(TOKENS * columns);
  auto at = [](const std::vector<float>& rows, int i, int j, int width) {
    return i < TOKENS && j < width ? rows[i * width + j] : 0.f;
  };
  interleave(HEAD, columns, key.data(), [&](int c, int j) { return at(a.k, j, c, HEAD); });
  interleave(keys, HEAD, value.data(), [&](int j, int c) { return at(a.v, j, c, HEAD); });
  auto rows = [&](const std::vector<float>& from, int width, elem_t* to) {
    alignas(64) elem_t block[BLOCK_ELEMS];
    for (int i = 0; i < 2 * BLOCK_SIDE; i += BLOCK_SIDE)
      for (int j = 0; j < 64; j += BLOCK_SIDE) {
        block_from_matrix(from.data(), TOKENS, width, i, j, 1, block);
        for (int r = 0; r < BLOCK_SIDE && i + r < TOKENS; r++)
          memcpy(to + (i + r) * 64 + j, block + r * BLOCK_SIDE, BLOCK_SIDE * sizeof(elem_t));
      }
  };
  rows(a.q, HEAD, query.data()), rows(a.p, TOKENS, probs.data());
  auto keep = [&](const std::vector<elem_t>& from) {
    elem_t* to = a.arena.allocate<elem_t>(from.size());
    memcpy(to, from.data(), from.size() * sizeof(elem_t));
    return to;
  };
  const elem_t *k = keep(key), *v = keep(value), *q = keep(query), *s = keep(probs);
  using Both = std::function<void(float* scores, float* context)>;
  auto add = [&](const std::string& name, Both both) {
    float *scores = a.arena.allocate<float>(TOKENS * columns),
          *context = a.arena.allocate<float>(TOKENS * HEAD);
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
  if (sizeof(elem_t) == 4) {
    const int ld = 64;
    const float one = 1, zero = 0;
    libxsmm_smmfunction first = libxsmm_smmdispatch(56, TOKENS, HEAD, &ld, &ld, &ld, &one, &zero, nullptr,
                                                    nullptr),
                        second = libxsmm_smmdispatch(HEAD, TOKENS, keys, &ld, &ld, &ld, &one, &zero, nullptr,
                                                     nullptr);
    if (first && second)
      add("libxsmm, 53 x 56 x 64 and 53 x 64 x 53", [=](float* scores, float* context) {
        first((const float*)k, (const float*)q, scores);
        second((const float*)v, (const float*)s, context);
      });
  }
#endif
#if defined(HAVE_DNNL) && defined(DNNL_EXPERIMENTAL_UKERNEL)
  try {
    auto first = std::make_shared<Microkernel>(TOKENS, 56, HEAD, 1, HEAD, columns, true);
    auto second = std::make_shared<Microkernel>(TOKENS, HEAD, keys, 1, columns, HEAD, true);
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

}  // namespace submillion
