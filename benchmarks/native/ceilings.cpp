// Measures the processor's peak rates of multiply-adds and of memory reads, and prints one line of JSON.
//
//   cmake -S benchmarks/native -B FOLDER && cmake --build FOLDER --target ceilings
//
// All threads run at the same time, each on its own data, and are timed together. The result is the median of
// ROUNDS rounds. `python -m benchmarks.ceilings` compares it with the arithmetic of a training step.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

#include "simd.hpp"
#include "processor.hpp"

namespace submillion {
namespace {

enum { ROUNDS = 9 };
constexpr double SECONDS = 0.2;  // approximate length of a round

// Calls work(thread) in all threads at once; returns the seconds until the last one is done.
template <class Work>
double time_threads(int threads, Work&& work) {
  auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (int i = 1; i < threads; i++) workers.emplace_back([&, i] { work(i); });
  work(0);
  for (std::thread& worker : workers) worker.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Returns how many repetitions of `work` fill a round.
template <class Work>
long repetitions_for(Work&& work) {
  return std::max(1l, (long)(SECONDS / (time_threads(1, [&](int) { work(); }) + 1e-9)));
}

// Returns the median rate over the rounds, per second; work(thread) returns the amount of work that it did.
template <class Work>
double median_rate(int threads, Work&& work) {
  std::vector<double> rates, amounts(threads);
  for (int round = 0; round < ROUNDS; round++) {
    double seconds = time_threads(threads, [&](int i) { amounts[i] = work(i); });
    double total = 0;
    for (double amount : amounts) total += amount;
    rates.push_back(total / seconds);
  }
  std::sort(rates.begin(), rates.end());
  return rates[ROUNDS / 2];
}

// Reads memory repeatedly, 64 bytes at a time, and returns the bytes read. The compiler cannot remove the
// loads, because the sums are used.
double read(const std::vector<float>& values, long repetitions) {
  f32x16 sums[4] = {f32x16{}, f32x16{}, f32x16{}, f32x16{}};
  for (long t = 0; t < repetitions; t++)
    for (size_t i = 0; i < values.size(); i += 64)
      for (int j = 0; j < 4; j++) sums[j] += load(values.data() + i + 16 * j);
  float lanes[16];
  store(lanes, sums[0] + sums[1] + sums[2] + sums[3]);
  volatile float result = lanes[0];
  (void)result;
  return (double)repetitions * values.size() * sizeof(float);
}

int run(int count, char** arguments) {
  if (const char* reason = unsupported_reason()) {
    fprintf(stderr, "%s: %s\n", BUILD_NAME, reason);
    return 0;
  }
  const int threads = count > 1 ? atoi(arguments[1]) : (int)std::thread::hardware_concurrency();
  printf("{\"kernels\": \"%s\", \"bytes\": %d, \"threads\": %d", BUILD_NAME, (int)sizeof(elem_t), threads);
  const long repetitions = repetitions_for([] { register_fma_flops(); });
  printf(", \"multiply_adds_flops\": %.4g", median_rate(threads, [&](int) {
           double flops = 0;
           for (long i = 0; i < repetitions; i++) flops += register_fma_flops();
           return flops;
         }));
  // Sizes per thread that fit in L1, in L2, in a shared L3, and in no cache.
  const std::pair<const char*, size_t> sizes[] = {
      {"16kb", 16 << 10}, {"192kb", 192 << 10}, {"1mb", 1 << 20}, {"256mb", 256u << 20}};
  for (auto [name, bytes] : sizes) {
    std::vector<std::vector<float>> values(threads, std::vector<float>(bytes / sizeof(float), 0.5f));
    const long repetitions = repetitions_for([&] { read(values[0], 1); });
    printf(", \"read_%s_bytes_per_s\": %.4g", name,
           median_rate(threads, [&](int i) { return read(values[i], repetitions); }));
  }
  printf("}\n");
  return 0;
}

}  // namespace
}  // namespace submillion

int main(int count, char** arguments) { return submillion::run(count, arguments); }
