// What the processor can do at most, one line of JSON: multiply-adds on registers, and reading from caches and memory.
//
//   cmake -S benchmarks/native -B FOLDER && cmake --build FOLDER --target ceilings
//
// All threads work at the same time, each on data of its own, and are timed together; of ROUNDS rounds the median is told.
// `python -m benchmarks.ceilings` sets a training step's arithmetic beside it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "lanes.hpp"
#include "processor.hpp"

namespace {

enum { ROUNDS = 9 };
constexpr double SECONDS = 0.2;  // of a round, about

// Calls work(thread) in as many threads at a time; returns the seconds until the last one is done.
template <class Work>
double together(int threads, Work&& work) {
  auto began = std::chrono::steady_clock::now();
  std::vector<std::thread> team;
  for (int i = 1; i < threads; i++) team.emplace_back([&, i] { work(i); });
  work(0);
  for (std::thread& one : team) one.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// How often something is done in a round.
template <class Work>
long times_for(Work&& work) {
  return std::max(1l, (long)(SECONDS / (together(1, [&](int) { work(); }) + 1e-9)));
}

// The median over rounds of what `work` does in a second; it returns how much one thread did.
template <class Work>
double speed(int threads, Work&& work) {
  std::vector<double> found, done(threads);
  for (int round = 0; round < ROUNDS; round++) {
    double seconds = together(threads, [&](int i) { done[i] = work(i); });
    double all = 0;
    for (double each : done) all += each;
    found.push_back(all / seconds);
  }
  std::sort(found.begin(), found.end());
  return found[ROUNDS / 2];
}

// Reads memory again and again, 64 bytes at a time, into sums that are looked at, so that no reading is left out.
double read(const std::vector<float>& values, long times) {
  lanes sums[4] = {lanes{}, lanes{}, lanes{}, lanes{}};
  for (long t = 0; t < times; t++)
    for (size_t i = 0; i < values.size(); i += 64)
      for (int j = 0; j < 4; j++) sums[j] += load(values.data() + i + 16 * j);
  float seen[16];
  store(seen, sums[0] + sums[1] + sums[2] + sums[3]);
  volatile float kept = seen[0];
  (void)kept;
  return (double)times * values.size() * sizeof(float);
}

}  // namespace

int main(int count, char** arguments) {
  if (const char* missing = not_here()) {
    fprintf(stderr, "%s: %s\n", PATH_NAME, missing);
    return 0;
  }
  const int threads = count > 1 ? atoi(arguments[1]) : (int)std::thread::hardware_concurrency();
  printf("{\"kernels\": \"%s\", \"bytes\": %d, \"threads\": %d", PATH_NAME, (int)sizeof(T), threads);
  const long again = times_for([] { on_registers(); });
  printf(", \"multiply_adds_flops\": %.4g", speed(threads, [&](int) {
           double flops = 0;
           for (long i = 0; i < again; i++) flops += on_registers();
           return flops;
         }));
  // Of each thread: within a first, a second and a shared cache of usual size, and beyond any.
  const std::pair<const char*, size_t> places[] = {
      {"16kb", 16 << 10}, {"192kb", 192 << 10}, {"1mb", 1 << 20}, {"256mb", 256u << 20}};
  for (auto [name, bytes] : places) {
    std::vector<std::vector<float>> values(threads, std::vector<float>(bytes / sizeof(float), 0.5f));
    const long times = times_for([&] { read(values[0], 1); });
    printf(", \"read_%s_bytes_per_s\": %.4g", name, speed(threads, [&](int i) { return read(values[i], times); }));
  }
  printf("}\n");
}
