// Two vectors side by side that behave as one, with the operators of GCC's vector extensions.
//
// GCC can emulate vectors that are longer than a register, but it then spills them to memory after every
// operation.
#pragma once
#include <cstdint>

#include "macros.hpp"

namespace submillion {

// V: a vector of E, or a pair of them.
template <class V, class E>
struct VectorPair {
  V low, high;

  VectorPair() = default;
  FORCE_INLINE_MEMBER VectorPair(V low, V high) : low(low), high(high) {}
  FORCE_INLINE_MEMBER VectorPair(E value) : low(value - V{}), high(value - V{}) {}
  FORCE_INLINE_MEMBER VectorPair(E a, E b, E c, E d, E e, E f, E g, E h)
      : low{a, b, c, d}, high{e, f, g, h} {}
  FORCE_INLINE_MEMBER VectorPair(E a, E b, E c, E d, E e, E f, E g, E h, E i, E j, E k, E l, E m, E n, E o,
                                 E p)
      : low{a, b, c, d, e, f, g, h}, high{i, j, k, l, m, n, o, p} {}
  // Reinterprets the bits as lanes of another type.
  template <class W, class F>
  FORCE_INLINE_MEMBER explicit VectorPair(VectorPair<W, F> other) : low((V)other.low), high((V)other.high) {}

#define VECTOR_PAIR_OPERATOR(op)                                                  \
  FORCE_INLINE_MEMBER friend VectorPair operator op(VectorPair a, VectorPair b) { \
    return {(V)(a.low op b.low), (V)(a.high op b.high)};                          \
  }                                                                               \
  FORCE_INLINE_MEMBER VectorPair& operator op## = (VectorPair other) { return *this = *this op other; }
  VECTOR_PAIR_OPERATOR(+)
  VECTOR_PAIR_OPERATOR(-)
  VECTOR_PAIR_OPERATOR(*)
  VECTOR_PAIR_OPERATOR(/)
  VECTOR_PAIR_OPERATOR(&)
  VECTOR_PAIR_OPERATOR(^)
#undef VECTOR_PAIR_OPERATOR
  FORCE_INLINE_MEMBER friend VectorPair operator>>(VectorPair a, int bits) {
    return {a.low >> bits, a.high >> bits};
  }
  FORCE_INLINE_MEMBER friend VectorPair operator<<(VectorPair a, int bits) {
    return {a.low << bits, a.high << bits};
  }

  // Comparisons set all bits of a lane where they hold, and none elsewhere.
  typedef VectorPair<decltype(V{} < V{}), int32_t> Mask;
  FORCE_INLINE_MEMBER friend Mask operator<(VectorPair a, VectorPair b) {
    return {a.low < b.low, a.high < b.high};
  }
  FORCE_INLINE_MEMBER friend Mask operator>(VectorPair a, VectorPair b) {
    return {a.low > b.low, a.high > b.high};
  }
  FORCE_INLINE_MEMBER friend Mask operator>=(VectorPair a, VectorPair b) {
    return {a.low >= b.low, a.high >= b.high};
  }
  FORCE_INLINE_MEMBER friend Mask operator!=(VectorPair a, VectorPair b) {
    return {a.low != b.low, a.high != b.high};
  }
};

}  // namespace submillion
