// Work on torch's own threads: its OpenMP runtime is found in the process, none is linked or started beside it.
#pragma once
#include <dlfcn.h>

#include <atomic>
#include <thread>
#include <vector>

// Calls work(i) for i in [0, parts), at most `threads` at a time.
template <class Work>
void parallel(int parts, int threads, Work&& work) {
  struct Shared {
    Work& work;
    int parts;
    std::atomic<int> next{0};
    void run() {
      for (int i; (i = next++) < parts;) work(i);
    }
  } shared{work, parts};
  if (threads > parts) threads = parts;
  if (threads <= 1) return shared.run();
  // GCC's entry to a parallel region; LLVM's and Intel's runtimes have it too.
  using Region = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const Region region = (Region)dlsym(RTLD_DEFAULT, "GOMP_parallel");
  if (region) return region([](void* it) { ((Shared*)it)->run(); }, &shared, (unsigned)threads, 0);
  std::vector<std::thread> team;
  for (int i = 1; i < threads; i++) team.emplace_back([&] { shared.run(); });
  shared.run();
  for (std::thread& one : team) one.join();
}
