// NEON (arm64): vectors of 16 floats in four registers of 4, and 32 registers.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#include "vector_pair.hpp"

namespace submillion {

typedef float f32x4 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint32_t u32x4 __attribute__((vector_size(16)));
typedef VectorPair<f32x4, float> f32x8;
typedef VectorPair<i32x4, int32_t> i32x8;
typedef VectorPair<u32x4, uint32_t> u32x8;
typedef VectorPair<f32x8, float> f32x16;
typedef VectorPair<i32x8, int32_t> i32x16;
typedef VectorPair<u32x8, uint32_t> u32x16;

FORCE_INLINE f32x16 broadcast(float value) { return value; }
FORCE_INLINE f32x8 load_8(const float* from) { return {(f32x4)vld1q_f32(from), (f32x4)vld1q_f32(from + 4)}; }
FORCE_INLINE f32x16 load(const float* from) { return {load_8(from), load_8(from + 8)}; }
FORCE_INLINE void store_8(float* to, f32x8 value) {
  vst1q_f32(to, (float32x4_t)value.low), vst1q_f32(to + 4, (float32x4_t)value.high);
}
FORCE_INLINE void store(float* to, f32x16 value) { store_8(to, value.low), store_8(to + 8, value.high); }
// An ordinary store: NEON has no intrinsic for a non-temporal one.
FORCE_INLINE void store_nt(float* to, f32x16 value) { store(to, value); }
FORCE_INLINE f32x8 select_8(i32x8 mask, f32x8 a, f32x8 b) {
  return {mask.low ? a.low : b.low, mask.high ? a.high : b.high};
}
FORCE_INLINE f32x16 select(i32x16 mask, f32x16 a, f32x16 b) {
  return {select_8(mask.low, a.low, b.low), select_8(mask.high, a.high, b.high)};
}
FORCE_INLINE float reduce_add(f32x16 value) {
  const f32x8 eight = value.low + value.high;
  return vaddvq_f32((float32x4_t)(eight.low + eight.high));
}
FORCE_INLINE float reduce_max(f32x16 value) {
  float32x4_t low = vmaxq_f32((float32x4_t)value.low.low, (float32x4_t)value.low.high),
              high = vmaxq_f32((float32x4_t)value.high.low, (float32x4_t)value.high.high);
  return vmaxvq_f32(vmaxq_f32(low, high));
}
FORCE_INLINE f32x16 reciprocal(f32x16 x) { return 1.f / x; }

// Returns a mask whose bit i tells whether the i-th 16 bits of `value` are below `threshold`.
FORCE_INLINE uint32_t halves_below(u32x16 value, uint32_t threshold) {
  const uint8x8_t bit = {1, 2, 4, 8, 16, 32, 64, 128};
  const u32x4 quarters[4] = {value.low.low, value.low.high, value.high.low, value.high.high};
  uint32_t mask = 0;
  for (int i = 0; i < 4; i++) {
    const uint16x8_t below = vcltq_u16((uint16x8_t)quarters[i], vdupq_n_u16((uint16_t)threshold));
    mask |= (uint32_t)vaddv_u8(vand_u8(vmovn_u16(below), bit)) << (8 * i);
  }
  return mask;
}
// Zeroes the lanes whose mask bit is not set.
FORCE_INLINE f32x16 zero_dropped(f32x16 value, uint32_t mask) {
  const u32x16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return (f32x16)((u32x16)value & (u32x16)((bit & mask) != u32x16{}));
}

enum { FLOAT_TILE_SIDE = 4 };
// Transposes FLOAT_TILE_SIDE rows of as many floats; strides are in floats.
FORCE_INLINE void transpose_tile(const float* from, long from_stride, float* to, long to_stride) {
  const float32x4x2_t upper = vtrnq_f32(vld1q_f32(from), vld1q_f32(from + from_stride)),
                      lower = vtrnq_f32(vld1q_f32(from + 2 * from_stride), vld1q_f32(from + 3 * from_stride));
  for (int i = 0; i < 2; i++) {
    vst1q_f32(to + i * to_stride, vcombine_f32(vget_low_f32(upper.val[i]), vget_low_f32(lower.val[i])));
    vst1q_f32(to + (i + 2) * to_stride,
              vcombine_f32(vget_high_f32(upper.val[i]), vget_high_f32(lower.val[i])));
  }
}

#ifdef SM_BF16
FORCE_INLINE f32x8 widen(uint16x8_t value) {
  return {(f32x4)vshll_n_u16(vget_low_u16(value), 16), (f32x4)vshll_high_n_u16(value, 16)};
}
// Rounds to the nearest bfloat16, ties to even.
FORCE_INLINE uint16x8_t narrow(f32x8 value) {
  const bfloat16x8_t low = vcvtq_low_bf16_f32((float32x4_t)value.low);
  return vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(low, (float32x4_t)value.high));
}
FORCE_INLINE f32x16 load(const elem_t* from) { return {widen(vld1q_u16(from)), widen(vld1q_u16(from + 8))}; }
FORCE_INLINE void store(elem_t* to, f32x16 value) {
  vst1q_u16(to, narrow(value.low)), vst1q_u16(to + 8, narrow(value.high));
}
FORCE_INLINE void store_row(elem_t* to, f32x16 low, f32x16 high) { store(to, low), store(to + 16, high); }
FORCE_INLINE void store_row_nt(elem_t* to, f32x16 low, f32x16 high) { store_row(to, low, high); }
FORCE_INLINE void load_row(const elem_t* from, f32x16& low, f32x16& high) {
  low = load(from), high = load(from + 16);
}

enum { TILE_SIDE = 8 };
// Transposes TILE_SIDE rows of as many bfloat16; strides are in elements.
FORCE_INLINE void transpose_tile(const elem_t* from, long from_stride, elem_t* to, long to_stride) {
  uint16x8_t r[8];
  for (int i = 0; i < 8; i++) r[i] = vld1q_u16(from + i * from_stride);
  // Swaps the off-diagonal quarters of each 2 x 2 square of squares: of one element, of two, of four.
  for (int i = 0; i < 8; i += 2) {
    const uint16x8x2_t t = vtrnq_u16(r[i], r[i + 1]);
    r[i] = t.val[0], r[i + 1] = t.val[1];
  }
  for (int i = 0; i < 8; i += i % 4 == 1 ? 3 : 1) {
    const uint32x4x2_t t = vtrnq_u32(vreinterpretq_u32_u16(r[i]), vreinterpretq_u32_u16(r[i + 2]));
    r[i] = vreinterpretq_u16_u32(t.val[0]), r[i + 2] = vreinterpretq_u16_u32(t.val[1]);
  }
  for (int i = 0; i < 4; i++) {
    const uint64x2_t a = vreinterpretq_u64_u16(r[i]), b = vreinterpretq_u64_u16(r[i + 4]);
    r[i] = vreinterpretq_u16_u64(vtrn1q_u64(a, b)), r[i + 4] = vreinterpretq_u16_u64(vtrn2q_u64(a, b));
  }
  for (int i = 0; i < 8; i++) vst1q_u16(to + i * to_stride, r[i]);
}
#else
enum { TILE_SIDE = FLOAT_TILE_SIDE };
#endif

}  // namespace submillion
