// Arena allocator: allocations are sequential, and all are freed at once.
//
// Huge pages save misses of the TLB. But in a virtual machine whose host takes back free memory, the first
// touch of a huge page can take 25 ms, ten times as long as that of the same bytes in small pages: seconds
// before the first batch. So memory begins in small pages, and each batch turns a part of it into huge ones.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <new>
#include <vector>

namespace submillion {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { release(); }

  // Returns uninitialized memory for `count` elements, aligned to 64 bytes.
  template <class E>
  E* allocate(size_t count) {
    size_t bytes = (count * sizeof(E) + 63) / 64 * 64;
    if (chunks_.empty() || used_ + bytes > chunks_.back().bytes) grow(bytes);
    E* memory = (E*)(chunks_.back().data + used_);
    used_ += bytes;
    return memory;
  }

  // Frees everything for reuse, and merges the chunks into one.
  void reset() {
    if (chunks_.size() > 1) {
      size_t total = 0;
      for (const Chunk& chunk : chunks_) total += chunk.bytes;
      release();
      grow(total);
    }
    used_ = 0;
  }

  // Turns 1/128 of the memory into huge pages, until all of it has them; to be called once per batch, so that
  // few batches do not pay for what only many gain from.
  void promote() {
    if (!collapses()) return;
    size_t total = 0;
    for (const Chunk& chunk : chunks_) total += chunk.bytes;
    size_t left = round_up(total / 128);
    for (Chunk& chunk : chunks_) {
      const size_t part = std::min(left, chunk.bytes - chunk.promoted);
      // Without a free huge page this part stays as it is.
      if (part > 0) madvise(chunk.data + chunk.promoted, part, COLLAPSE);
      chunk.promoted += part, left -= part;
    }
  }

 private:
  struct Chunk {
    char* data;  // aligned to HUGE_PAGE
    size_t bytes, promoted;
  };
  static constexpr size_t HUGE_PAGE = 2u << 20;
  static constexpr int COLLAPSE = 25;  // MADV_COLLAPSE of Linux 6.1, which older headers lack
  std::vector<Chunk> chunks_;
  size_t used_ = 0;  // bytes of the last chunk

  static size_t round_up(size_t bytes) { return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE; }

  // Returns memory aligned to a huge page, so that it can consist of them.
  static char* map(size_t bytes) {
    void* data = mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    char* begin = (char*)round_up((size_t)data);
    const size_t before = (size_t)(begin - (char*)data);
    if (before > 0) munmap(data, before);
    if (before < HUGE_PAGE) munmap(begin + bytes, HUGE_PAGE - before);
    return begin;
  }

  // Whether this system can turn small pages into a huge one on request. Others get it at the first touch.
  static bool collapses() {
    static const bool can = [] {
      char* data = map(HUGE_PAGE);
      *(volatile char*)data = 1;
      const bool done = madvise(data, HUGE_PAGE, COLLAPSE) == 0;
      munmap(data, HUGE_PAGE);
      return done;
    }();
    return can;
  }

  void grow(size_t bytes) {
    bytes = round_up(bytes);
    char* data = map(bytes);
    if (!collapses()) madvise(data, bytes, MADV_HUGEPAGE);  // a hint
    chunks_.push_back({data, bytes, 0});
    used_ = 0;
  }
  void release() {
    for (const Chunk& chunk : chunks_) munmap(chunk.data, chunk.bytes);
    chunks_.clear();
    used_ = 0;
  }
};

}  // namespace submillion
