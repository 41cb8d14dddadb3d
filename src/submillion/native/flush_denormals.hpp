// Guard that flushes denormals to zero.
// Arithmetic on denormals is up to a hundred times slower, and no result needs them.
#pragma once
#include <cstdint>

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace submillion {

// While it exists, the thread that made it flushes denormal operands and results to zero.
class FlushDenormals {
 public:
  FlushDenormals() { write(saved_ | FLUSH_BITS); }
  ~FlushDenormals() { write(saved_); }

 private:
#ifdef __x86_64__
  enum : unsigned { FLUSH_BITS = 0x8040 };  // FTZ and DAZ of MXCSR
  static unsigned read() { return _mm_getcsr(); }
  static void write(unsigned value) { _mm_setcsr(value); }
  const unsigned saved_ = read();
#else
  enum : uint64_t { FLUSH_BITS = 1u << 24 };  // FZ of FPCR
  static uint64_t read() {
    uint64_t value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(uint64_t value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
  const uint64_t saved_ = read();
#endif
};

}  // namespace submillion
