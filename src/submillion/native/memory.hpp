// Memory in large pieces on large pages, taken in order and given back all at once.
#pragma once
#include <sys/mman.h>

#include <new>
#include <vector>

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { release(); }

  // Room for `count` elements at a multiple of 64 bytes; what it holds is not known.
  template <class E>
  E* take(size_t count) {
    size_t bytes = (count * sizeof(E) + 63) / 64 * 64;
    if (pieces_.empty() || used_ + bytes > pieces_.back().bytes) grow(bytes);
    E* room = (E*)(pieces_.back().at + used_);
    used_ += bytes;
    return room;
  }

  // Everything taken is free again; pieces that came one by one become one.
  void reset() {
    if (pieces_.size() > 1) {
      size_t total = 0;
      for (const Piece& piece : pieces_) total += piece.bytes;
      release();
      grow(total);
    }
    used_ = 0;
  }

 private:
  struct Piece {
    char* at;
    size_t bytes;
  };
  std::vector<Piece> pieces_;
  size_t used_ = 0;

  void grow(size_t bytes) {
    const size_t page = 2u << 20;
    bytes = (bytes + page - 1) / page * page;
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    madvise(at, bytes, MADV_HUGEPAGE);  // a wish: without it the same, with more misses of the page table's cache
    pieces_.push_back({(char*)at, bytes});
    used_ = 0;
  }
  void release() {
    for (const Piece& piece : pieces_) munmap(piece.at, piece.bytes);
    pieces_.clear();
    used_ = 0;
  }
};
