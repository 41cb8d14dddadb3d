// Parallel loops on torch's own thread pool, through the OpenMP runtime that the process has loaded.
// No other runtime is linked or started.
#pragma once
#include <dlfcn.h>

#include <atomic>
#include <thread>
#include <vector>

namespace submillion {

// Calls task(i) for i in [0, tasks), at most `threads` at a time.
template <class Task>
void parallel_for(int tasks, int threads, Task&& task) {
  struct Queue {
    Task& task;
    int tasks;
    std::atomic<int> next{0};
    void run() {
      for (int i; (i = next++) < tasks;) task(i);
    }
  } queue{task, tasks};
  if (threads > tasks) threads = tasks;
  if (threads <= 1) return queue.run();
  // GCC's entry point of a parallel region; LLVM's and Intel's OpenMP runtimes export it too.
  using ParallelRegion = void (*)(void (*)(void*), void*, unsigned, unsigned);
  static const ParallelRegion parallel_region = (ParallelRegion)dlsym(RTLD_DEFAULT, "GOMP_parallel");
  if (parallel_region)
    return parallel_region([](void* it) { ((Queue*)it)->run(); }, &queue, (unsigned)threads, 0);
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; i++) workers.emplace_back([&] { queue.run(); });
  queue.run();
  for (std::thread& worker : workers) worker.join();
}

}  // namespace submillion
