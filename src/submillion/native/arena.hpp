// Arena allocator on huge pages: allocations are sequential, and all are freed at once.
#pragma once
#include <sys/mman.h>

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

 private:
  struct Chunk {
    char* data;
    size_t bytes;
  };
  std::vector<Chunk> chunks_;
  size_t used_ = 0;  // bytes of the last chunk

  void grow(size_t bytes) {
    const size_t page = 2u << 20;
    bytes = (bytes + page - 1) / page * page;
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    madvise(data, bytes, MADV_HUGEPAGE);  // only a hint; without huge pages there are more TLB misses
    chunks_.push_back({(char*)data, bytes});
    used_ = 0;
  }
  void release() {
    for (const Chunk& chunk : chunks_) munmap(chunk.data, chunk.bytes);
    chunks_.clear();
    used_ = 0;
  }
};

}  // namespace submillion
