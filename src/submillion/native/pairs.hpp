// Sixteen lanes where registers hold eight: two registers side by side, with the operators of the compiler's vectors.
//
// GCC keeps its own vectors of 64 bytes in memory on such processors, operation by operation.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define IN_LINE inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));
typedef uint32_t words __attribute__((vector_size(32)));

template <class V, class E>
struct Pair {
  V low, high;

  Pair() = default;
  IN_LINE Pair(V low, V high) : low(low), high(high) {}
  IN_LINE Pair(E value) : low(value - V{}), high(value - V{}) {}
  IN_LINE Pair(E a, E b, E c, E d, E e, E f, E g, E h, E i, E j, E k, E l, E m, E n, E o, E p)
      : low{a, b, c, d, e, f, g, h}, high{i, j, k, l, m, n, o, p} {}
  // The same bits as lanes of another type.
  template <class W, class F>
  IN_LINE explicit Pair(Pair<W, F> other) : low((V)other.low), high((V)other.high) {}

#define PAIR_OPERATOR(op)                                                                                    \
  IN_LINE friend Pair operator op(Pair a, Pair b) { return {(V)(a.low op b.low), (V)(a.high op b.high)}; } \
  IN_LINE Pair& operator op##=(Pair other) { return *this = *this op other; }
  PAIR_OPERATOR(+)
  PAIR_OPERATOR(-)
  PAIR_OPERATOR(*)
  PAIR_OPERATOR(/)
  PAIR_OPERATOR(&)
  PAIR_OPERATOR(^)
#undef PAIR_OPERATOR
  IN_LINE friend Pair operator>>(Pair a, int bits) { return {a.low >> bits, a.high >> bits}; }
  IN_LINE friend Pair operator<<(Pair a, int bits) { return {a.low << bits, a.high << bits}; }
  // All bits of a lane are set where it holds.
  IN_LINE friend Pair<ints, int32_t> operator<(Pair a, Pair b) { return {a.low < b.low, a.high < b.high}; }
  IN_LINE friend Pair<ints, int32_t> operator>(Pair a, Pair b) { return {a.low > b.low, a.high > b.high}; }
  IN_LINE friend Pair<ints, int32_t> operator>=(Pair a, Pair b) { return {a.low >= b.low, a.high >= b.high}; }
  IN_LINE friend Pair<ints, int32_t> operator!=(Pair a, Pair b) { return {a.low != b.low, a.high != b.high}; }
};
