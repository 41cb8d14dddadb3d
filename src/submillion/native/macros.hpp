// Compiler attributes of the kernels.
#pragma once

// The microkernels rely on being inlined: their accumulators must stay in registers.
#define FORCE_INLINE static inline __attribute__((always_inline))
#define FORCE_INLINE_MEMBER inline __attribute__((always_inline))
// A whole pass over a group's rows. Never inlined, so that a profiler shows it by name.
#define NOINLINE static __attribute__((noinline))
